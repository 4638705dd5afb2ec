/* The small grammars of HTTP: tokens, lists, authorities, targets, names. */
#include "base/http_syntax.h"

#include <errno.h>

#include "base/addr.h"
#include "base/cleanup.h"

#define HOST_MAX_BYTES 255
#define PORT_MAX_BYTES 5

/* What a byte may be part of. */
enum {
	IN_TOKEN = 1,
	IN_HOST = 2,
	IN_PATH = 4,
	IN_QUERY = 8,
	IS_HEX = 16,
};

#define ALNUM  (IN_TOKEN | IN_HOST | IN_PATH | IN_QUERY)
#define XDIGIT (ALNUM | IS_HEX)
#define TEXT   (IN_PATH | IN_QUERY)

/* clang-format off */
static const uint8_t byte_class[256] = {
	['0'] = XDIGIT, ['1'] = XDIGIT, ['2'] = XDIGIT, ['3'] = XDIGIT, ['4'] = XDIGIT, ['5'] = XDIGIT,
	['6'] = XDIGIT, ['7'] = XDIGIT, ['8'] = XDIGIT, ['9'] = XDIGIT, ['A'] = XDIGIT, ['B'] = XDIGIT,
	['C'] = XDIGIT, ['D'] = XDIGIT, ['E'] = XDIGIT, ['F'] = XDIGIT, ['a'] = XDIGIT, ['b'] = XDIGIT,
	['c'] = XDIGIT, ['d'] = XDIGIT, ['e'] = XDIGIT, ['f'] = XDIGIT,
	['G'] = ALNUM, ['H'] = ALNUM, ['I'] = ALNUM, ['J'] = ALNUM, ['K'] = ALNUM, ['L'] = ALNUM,
	['M'] = ALNUM, ['N'] = ALNUM, ['O'] = ALNUM, ['P'] = ALNUM, ['Q'] = ALNUM, ['R'] = ALNUM,
	['S'] = ALNUM, ['T'] = ALNUM, ['U'] = ALNUM, ['V'] = ALNUM, ['W'] = ALNUM, ['X'] = ALNUM,
	['Y'] = ALNUM, ['Z'] = ALNUM, ['g'] = ALNUM, ['h'] = ALNUM, ['i'] = ALNUM, ['j'] = ALNUM,
	['k'] = ALNUM, ['l'] = ALNUM, ['m'] = ALNUM, ['n'] = ALNUM, ['o'] = ALNUM, ['p'] = ALNUM,
	['q'] = ALNUM, ['r'] = ALNUM, ['s'] = ALNUM, ['t'] = ALNUM, ['u'] = ALNUM, ['v'] = ALNUM,
	['w'] = ALNUM, ['x'] = ALNUM, ['y'] = ALNUM, ['z'] = ALNUM,
	['-'] = ALNUM, ['.'] = ALNUM, ['_'] = ALNUM, ['~'] = ALNUM,
	['!'] = IN_TOKEN | TEXT, ['$'] = IN_TOKEN | TEXT, ['%'] = IN_TOKEN | TEXT, ['&'] = IN_TOKEN | TEXT,
	['\''] = IN_TOKEN | TEXT, ['*'] = IN_TOKEN | TEXT, ['+'] = IN_TOKEN | TEXT, ['^'] = IN_TOKEN | TEXT,
	['`'] = IN_TOKEN | TEXT, ['|'] = IN_TOKEN | TEXT, ['#'] = IN_TOKEN,
	['"'] = TEXT, ['('] = TEXT, [')'] = TEXT, [','] = TEXT, ['/'] = TEXT, [':'] = TEXT, [';'] = TEXT,
	['<'] = TEXT, ['='] = TEXT, ['>'] = TEXT, ['@'] = TEXT, ['['] = TEXT, [']'] = TEXT, ['{'] = TEXT,
	['}'] = TEXT, ['?'] = IN_QUERY, ['\\'] = IN_QUERY,
};
/* clang-format on */

static inline bool is_in(char c, unsigned class)
{
	return byte_class[(unsigned char)c] & class;
}

static bool all_in(struct str text, unsigned class)
{
	for (size_t i = 0; i < text.len; i++) {
		if (!is_in(text.p[i], class))
			return false;
	}
	return true;
}

static inline bool is_control(char c)
{
	return (unsigned char)c < 0x20 || c == 0x7f;
}

#define EACH_BYTE(value) (0x0101010101010101ULL * (value))

/* Does any of the eight bytes hold a control? (The classic test for a zero byte, twice.) */
static inline bool word_has_control(uint64_t word)
{
	uint64_t delete_as_zero = word ^ EACH_BYTE(0x7f);
	uint64_t below_space = (word - EACH_BYTE(0x20)) & ~word;

	return ((below_space | ((delete_as_zero - EACH_BYTE(0x01)) & ~delete_as_zero)) & EACH_BYTE(0x80)) !=
	       0;
}

const char *http_find_control(const char *p, const char *end)
{
	while (end - p >= 8) {
		uint64_t word;

		memcpy(&word, p, sizeof(word));
		if (word_has_control(word))
			break;
		p += 8;
	}
	while (p < end && !is_control(*p))
		p++;
	return p;
}

bool http_is_token_byte(char c)
{
	return is_in(c, IN_TOKEN);
}

bool http_is_token(struct str text)
{
	return text.len > 0 && all_in(text, IN_TOKEN);
}

struct known_name {
	const char *text; /* in small letters */
	enum http_name id;
};

#define KNOWN_NAME_MAX_BYTES 25
#define KNOWN_NAMES_A_LENGTH 4

static const struct known_name known_names[KNOWN_NAME_MAX_BYTES + 1][KNOWN_NAMES_A_LENGTH + 1] = {
    [2] = {{"te", HTTP_NAME_TE}},
    [4] = {{"host", HTTP_NAME_HOST}, {"date", HTTP_NAME_DATE}},
    [5] = {{"proxy", HTTP_NAME_PROXY}},
    [6] = {{"cookie", HTTP_NAME_COOKIE},
	   {"expect", HTTP_NAME_EXPECT},
	   {"origin", HTTP_NAME_ORIGIN},
	   {"server", HTTP_NAME_SERVER}},
    [7] = {{"referer", HTTP_NAME_REFERER}, {"trailer", HTTP_NAME_TRAILER}, {"upgrade", HTTP_NAME_UPGRADE}},
    [8] = {{"location", HTTP_NAME_LOCATION}, {"x-scheme", HTTP_NAME_X_SCHEME}},
    [9] = {{"forwarded", HTTP_NAME_FORWARDED}, {"x-real-ip", HTTP_NAME_X_REAL_IP}},
    [10] = {{"connection", HTTP_NAME_CONNECTION},
	    {"keep-alive", HTTP_NAME_KEEP_ALIVE},
	    {"user-agent", HTTP_NAME_USER_AGENT}},
    [12] = {{"x-request-id", HTTP_NAME_X_REQUEST_ID}},
    [13] = {{"authorization", HTTP_NAME_AUTHORIZATION}},
    [14] = {{"content-length", HTTP_NAME_CONTENT_LENGTH}},
    [16] = {{"proxy-connection", HTTP_NAME_PROXY_CONNECTION}},
    [17] = {{"transfer-encoding", HTTP_NAME_TRANSFER_ENCODING}},
    [18] = {{"proxy-authenticate", HTTP_NAME_PROXY_AUTHENTICATE}},
    [19] = {{"proxy-authorization", HTTP_NAME_PROXY_AUTHORIZATION}},
    [24] = {{"x-original-forwarded-for", HTTP_NAME_X_ORIGINAL_FORWARDED}},
    [25] = {{"strict-transport-security", HTTP_NAME_STRICT_TRANSPORT_SECURITY},
	    {"x-original-forwarded-host", HTTP_NAME_X_ORIGINAL_FORWARDED}},
};

static bool has_prefix_nocase(struct str text, struct str prefix)
{
	return text.len >= prefix.len && str_equal_nocase((struct str){text.p, prefix.len}, prefix);
}

enum http_name http_name_of(struct str name)
{
	if (name.len <= KNOWN_NAME_MAX_BYTES) {
		for (const struct known_name *known = known_names[name.len]; known->text; known++) {
			if (str_equal_nocase(name, (struct str){known->text, name.len}))
				return known->id;
		}
	}
	return has_prefix_nocase(name, STR_LIT("x-forwarded-")) ? HTTP_NAME_X_FORWARDED : HTTP_NAME_OTHER;
}

bool http_name_may_trail(struct str name)
{
	static const struct str prefixes[] = {STR_INIT("content-"), STR_INIT("if-"), STR_INIT("ssl-client-")};
	static const struct str names[] = {
	    STR_INIT("age"),         STR_INIT("cache-control"),
	    STR_INIT("expires"),     STR_INIT("max-forwards"),
	    STR_INIT("pragma"),      STR_INIT("range"),
	    STR_INIT("retry-after"), STR_INIT("set-cookie"),
	    STR_INIT("vary"),        STR_INIT("www-authenticate"),
	};

	if (http_name_of(name) != HTTP_NAME_OTHER || memchr(name.p, '_', name.len))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
		if (has_prefix_nocase(name, prefixes[i]))
			return false;
	}
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (str_equal_nocase(name, names[i]))
			return false;
	}
	return true;
}

struct str http_trim(struct str text)
{
	while (text.len > 0 && (text.p[0] == ' ' || text.p[0] == '\t')) {
		text.p++;
		text.len--;
	}
	while (text.len > 0 && (text.p[text.len - 1] == ' ' || text.p[text.len - 1] == '\t'))
		text.len--;
	return text;
}

bool http_list_next(struct str *list, struct str *ret_item)
{
	struct str item;

	if (!list->p)
		return false;
	*list = str_cut(*list, ',', &item);
	*ret_item = http_trim(item);
	return true;
}

/* The length of the host at the start of text; 0 when there is no valid one. */
static size_t host_len(struct str text)
{
	const char *end;
	struct ip ip;
	size_t len = 0;

	if (text.len > 0 && text.p[0] == '[') {
		end = memchr(text.p, ']', text.len);
		if (!end)
			return 0;
		len = (size_t)(end - text.p) + 1;
		/* The colon tells an IPv6 address from "[1.2.3.4]", which is no IP literal. */
		if (!memchr(text.p, ':', len) || ip_parse((struct str){text.p + 1, len - 2}, &ip) != 0)
			return 0;
		return len;
	}
	while (len < text.len && is_in(text.p[len], IN_HOST))
		len++;
	return len <= HOST_MAX_BYTES ? len : 0;
}

bool http_authority_parse(struct str text, struct str *ret_authority)
{
	size_t len = host_len(text);
	struct str port = {text.p + len, text.len - len};
	uint64_t number;

	if (len == 0)
		return false;
	if (port.len <= 1) {
		if (port.len == 1 && port.p[0] != ':')
			return false;
		*ret_authority = (struct str){text.p, len};
		return true;
	}
	if (port.p[0] != ':' || port.len > 1 + PORT_MAX_BYTES ||
	    str_to_u64((struct str){port.p + 1, port.len - 1}, UINT16_MAX, &number) != 0)
		return false;
	*ret_authority = text;
	return true;
}

static int refuse(struct http_refusal *refusal, uint16_t status, const char *reason)
{
	*refusal = (struct http_refusal){status, reason};
	return -EBADMSG;
}

static bool escapes_are_valid(struct str path)
{
	const char *end = path.p + path.len;

	for (const char *p = path.p; (p = memchr(p, '%', (size_t)(end - p))) != NULL; p += 3) {
		if (end - p < 3 || !is_in(p[1], IS_HEX) || !is_in(p[2], IS_HEX))
			return false;
		if (p[1] == '0' && p[2] == '0')
			return false;
	}
	return true;
}

/* Splits path and query; text begins with '/', or is empty or begins with '?' in the absolute form. */
static int path_parse(struct str text, struct http_target *target, struct http_refusal *refusal)
{
	target->query = str_cut(text, '?', &target->path);
	if (!all_in(target->path, IN_PATH) || !all_in(target->query, IN_QUERY))
		return refuse(refusal, 400, "byte not allowed in the request target");
	if (!escapes_are_valid(target->path))
		return refuse(refusal, 400, "bad escape in the path");
	return 0;
}

static int absolute_parse(struct str method, struct str text, struct http_target *target,
			  struct http_refusal *refusal)
{
	struct str rest, authority;
	size_t authority_len = 0;

	rest = str_cut(text, ':', &target->scheme);
	if (!str_equal_nocase(target->scheme, STR_LIT("http")) &&
	    !str_equal_nocase(target->scheme, STR_LIT("https")))
		return refuse(refusal, 400, "request target is neither a path nor an http URI");
	if (!str_has_prefix(rest, STR_LIT("//")))
		return refuse(refusal, 400, "URI without an authority");
	rest = (struct str){rest.p + 2, rest.len - 2};
	while (authority_len < rest.len && rest.p[authority_len] != '/' && rest.p[authority_len] != '?')
		authority_len++;
	authority = (struct str){rest.p, authority_len};
	if (!http_authority_parse(authority, &target->authority))
		return refuse(refusal, 400, "bad authority in the request target");
	if (path_parse((struct str){rest.p + authority_len, rest.len - authority_len}, target, refusal) != 0)
		return -EBADMSG;
	if (target->path.len == 0) /* RFC 9112 section 3.2.4: to OPTIONS, an empty path means the server */
		target->path = str_is(method, "OPTIONS") && !target->query.p ? STR_LIT("*") : STR_LIT("/");
	return 0;
}

/* RFC 9112 section 3.2.3: the port is required. */
static int authority_parse(struct str text, struct http_target *target, struct http_refusal *refusal)
{
	if (!http_authority_parse(text, &target->authority) || target->authority.len != text.len ||
	    text.p[text.len - 1] == ']' || !memchr(text.p, ':', text.len))
		return refuse(refusal, 400, "CONNECT wants host:port");
	return 0;
}

int http_target_parse(struct str method, struct str target, struct http_target *ret,
		      struct http_refusal *refusal)
{
	struct http_target parsed = {0};
	int r = 0;

	if (str_is(method, "CONNECT")) {
		r = authority_parse(target, &parsed, refusal);
	} else if (target.len > 0 && target.p[0] == '/') {
		r = path_parse(target, &parsed, refusal);
	} else if (str_is(target, "*")) {
		parsed.path = target;
		if (!str_is(method, "OPTIONS"))
			r = refuse(refusal, 400, "asterisk form outside OPTIONS");
	} else {
		r = absolute_parse(method, target, &parsed, refusal);
	}
	if (r == 0)
		*ret = parsed;
	return r;
}

bool http_field_is_hop_by_hop(const struct http_field *field)
{
	static const bool hop_by_hop[HTTP_NAME_COUNT] = {
	    [HTTP_NAME_CONNECTION] = true,
	    [HTTP_NAME_KEEP_ALIVE] = true,
	    [HTTP_NAME_TE] = true,
	    [HTTP_NAME_TRANSFER_ENCODING] = true,
	    [HTTP_NAME_UPGRADE] = true,
	    [HTTP_NAME_PROXY_CONNECTION] = true,
	    [HTTP_NAME_PROXY_AUTHENTICATE] = true,
	    [HTTP_NAME_PROXY_AUTHORIZATION] = true,
	};

	return field->nominated || hop_by_hop[field->id];
}

/* The IANA registry of status codes. */
const char *http_reason(unsigned status)
{
	static const char *const reasons[] = {
	    [100] = "Continue",
	    [101] = "Switching Protocols",
	    [102] = "Processing",
	    [103] = "Early Hints",
	    [200] = "OK",
	    [201] = "Created",
	    [202] = "Accepted",
	    [203] = "Non-Authoritative Information",
	    [204] = "No Content",
	    [205] = "Reset Content",
	    [206] = "Partial Content",
	    [207] = "Multi-Status",
	    [208] = "Already Reported",
	    [226] = "IM Used",
	    [300] = "Multiple Choices",
	    [301] = "Moved Permanently",
	    [302] = "Found",
	    [303] = "See Other",
	    [304] = "Not Modified",
	    [305] = "Use Proxy",
	    [307] = "Temporary Redirect",
	    [308] = "Permanent Redirect",
	    [400] = "Bad Request",
	    [401] = "Unauthorized",
	    [402] = "Payment Required",
	    [403] = "Forbidden",
	    [404] = "Not Found",
	    [405] = "Method Not Allowed",
	    [406] = "Not Acceptable",
	    [407] = "Proxy Authentication Required",
	    [408] = "Request Timeout",
	    [409] = "Conflict",
	    [410] = "Gone",
	    [411] = "Length Required",
	    [412] = "Precondition Failed",
	    [413] = "Content Too Large",
	    [414] = "URI Too Long",
	    [415] = "Unsupported Media Type",
	    [416] = "Range Not Satisfiable",
	    [417] = "Expectation Failed",
	    [421] = "Misdirected Request",
	    [422] = "Unprocessable Content",
	    [423] = "Locked",
	    [424] = "Failed Dependency",
	    [425] = "Too Early",
	    [426] = "Upgrade Required",
	    [428] = "Precondition Required",
	    [429] = "Too Many Requests",
	    [431] = "Request Header Fields Too Large",
	    [451] = "Unavailable For Legal Reasons",
	    [500] = "Internal Server Error",
	    [501] = "Not Implemented",
	    [502] = "Bad Gateway",
	    [503] = "Service Unavailable",
	    [504] = "Gateway Timeout",
	    [505] = "HTTP Version Not Supported",
	    [506] = "Variant Also Negotiates",
	    [507] = "Insufficient Storage",
	    [508] = "Loop Detected",
	    [511] = "Network Authentication Required",
	};

	return status < ARRAY_LEN(reasons) && reasons[status] ? reasons[status] : "Unknown";
}
