/* Reads HTTP/1.1 messages: heads (scan, llhttp, meaning), framing, bodies. */
#include "base/http1.h"

#include <assert.h>
#include <errno.h>

#include <llhttp.h>

#include "base/http_syntax.h"

/* A client may send an empty line or two after a body (RFC 9112 section 2.2), not a stream of them. */
#define EMPTY_LINES_MAX        4
#define CONNECTION_OPTIONS_MAX 32

enum http1_state { HEAD, BODY_LENGTH, BODY_CHUNKED, BODY_UNTIL_CLOSE, DONE, FAILED };

const struct http1_limits http1_default_limits = {
    .start_line_bytes = 8192,
    .head_bytes = 32768,
    .field_count = HTTP_FIELDS_MAX,
    .chunk_line_bytes = 272,
    .trailer_bytes = 4096,
};

void http1_init(struct http1 *parser, enum http1_direction direction, const struct http1_limits *limits)
{
	*parser = (struct http1){.direction = direction, .limits = limits ? limits : &http1_default_limits};
	assert(parser->limits->field_count <= HTTP_FIELDS_MAX);
}

void http1_next(struct http1 *parser)
{
	if (parser->state != FAILED)
		http1_init(parser, parser->direction, parser->limits);
}

void http1_expect_response_to(struct http1 *parser, struct str method)
{
	parser->response_to_head = str_is(method, "HEAD");
	parser->response_to_connect = str_is(method, "CONNECT");
}

void http1_trailers(struct http1 *parser, struct buf *out)
{
	parser->trailers = out;
}

static int refuse(struct http1 *parser, uint16_t status, const char *reason)
{
	parser->state = FAILED;
	parser->error_status = parser->direction == HTTP1_REQUEST ? status : 502;
	parser->error_reason = reason;
	return -EBADMSG;
}

/* ---- The start line ---- */

struct start_line {
	struct str method, target; /* requests */
	unsigned status;           /* responses */
	struct str reason;
	uint8_t version_minor;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* "HTTP/" DIGIT "." DIGIT. Versions this program does not speak get 505 (RFC 9110 section 15.6.6). */
static int version_parse(struct http1 *parser, struct str text, uint8_t *ret_minor)
{
	if (text.len != 8 || memcmp(text.p, "HTTP/", 5) != 0 || !is_digit(text.p[5]) || text.p[6] != '.' ||
	    !is_digit(text.p[7]))
		return refuse(parser, 400, "bad HTTP version");
	if (text.p[5] != '1' || text.p[7] > '1')
		return refuse(parser, 505, "HTTP version not supported");
	*ret_minor = (uint8_t)(text.p[7] - '0');
	return 0;
}

/* method SP request-target SP HTTP-version (RFC 9112 section 3), with exactly these spaces. */
static int request_line_parse(struct http1 *parser, struct str line, struct start_line *ret)
{
	struct str rest, version;

	rest = str_cut(line, ' ', &ret->method);
	version = str_cut(rest, ' ', &ret->target);
	if (!http_is_token(ret->method))
		return refuse(parser, 400, "bad method");
	if (!version.p || ret->target.len == 0)
		return refuse(parser, 400, "request line is not: method target version");
	return version_parse(parser, version, &ret->version_minor);
}

/* HTTP-version SP status-code [SP reason-phrase] (RFC 9112 section 4); many servers leave the last space out.
 */
static int status_line_parse(struct http1 *parser, struct str line, struct start_line *ret)
{
	struct str rest, version, code;
	uint64_t status;

	rest = str_cut(line, ' ', &version);
	ret->reason = str_cut(rest, ' ', &code);
	if (version_parse(parser, version, &ret->version_minor) != 0)
		return -EBADMSG;
	if (code.len != 3 || str_to_u64(code, 999, &status) != 0 || status < 100)
		return refuse(parser, 400, "bad status code");
	ret->status = (unsigned)status;
	return 0;
}

static int start_line_parse(struct http1 *parser, struct str line, struct start_line *ret)
{
	*ret = (struct start_line){0};
	return parser->direction == HTTP1_REQUEST ? request_line_parse(parser, line, ret)
						  : status_line_parse(parser, line, ret);
}

/* ---- The scan: where lines end, and that no octet is there that has no business in a head ---- */

/* Garbage (a TLS hello, say) is refused at its first octet. */
static int scan_first_octet(struct http1 *parser, char c)
{
	if (parser->direction == HTTP1_RESPONSE)
		return c == 'H' ? 0 : refuse(parser, 400, "this is not HTTP");
	return http_is_token_byte(c) || c == '\r' ? 0 : refuse(parser, 400, "this is not HTTP");
}

static int scan_empty_line(struct http1 *parser)
{
	parser->start_line = parser->scanned_bytes;
	if (++parser->empty_lines > EMPTY_LINES_MAX)
		return refuse(parser, 400, "empty lines in the place of a request");
	return 0;
}

/* A complete line, its CR LF cut. */
static int scan_line(struct http1 *parser, struct str line)
{
	struct start_line start_line;

	if (parser->line_count == 0 && line.len == 0)
		return scan_empty_line(parser);
	parser->line_count++;
	if (parser->line_count == 1)
		return start_line_parse(parser, line, &start_line);
	if (parser->line_count - 1 > parser->limits->field_count)
		return refuse(parser, 431, "too many header fields");
	if (line.p[0] == ' ' || line.p[0] == '\t')
		return refuse(parser, 400, "folded header field"); /* RFC 9112 section 5.2 */
	return 0;
}

/* Finds the CR LF that ends the line at hand. Returns 1 when *ret_line is complete, 0 when more is needed. */
static int scan_to_line_end(struct http1 *parser, struct str window, struct str *ret_line)
{
	const char *end = window.p + window.len;
	const char *at = window.p + parser->scanned_bytes;

	for (;;) {
		at = http_find_control(at, end);
		parser->scanned_bytes = (uint32_t)(at - window.p);
		if (parser->line_count == 0 &&
		    parser->scanned_bytes - parser->line_begin > parser->limits->start_line_bytes)
			return refuse(parser, 414, "request line too long");
		if (at == end)
			return 0;
		if (*at != '\t')
			break;
		at++;
	}
	if (*at != '\r')
		return refuse(parser, 400, *at == '\n' ? "line feed alone" : "control octet");
	if (at + 1 == end)
		return 0;
	if (at[1] != '\n')
		return refuse(parser, 400, "carriage return alone");
	*ret_line = (struct str){window.p + parser->line_begin, parser->scanned_bytes - parser->line_begin};
	parser->scanned_bytes += 2;
	parser->line_begin = parser->scanned_bytes;
	return 1;
}

/* Returns 1 once the empty line after the fields was seen: the head is scanned_bytes long. */
static int scan(struct http1 *parser, const char *data, size_t len_bytes)
{
	const uint32_t head_bytes = parser->limits->head_bytes;
	struct str window = {data, len_bytes < head_bytes ? len_bytes : head_bytes};
	struct str line;
	int r;

	while (parser->scanned_bytes < window.len) {
		if (parser->line_count == 0 && parser->line_begin < window.len &&
		    scan_first_octet(parser, data[parser->line_begin]) != 0)
			return -EBADMSG;
		r = scan_to_line_end(parser, window, &line);
		if (r < 0)
			return r;
		if (r == 0)
			break;
		if (parser->line_count > 0 && line.len == 0)
			return 1;
		if (scan_line(parser, line) != 0)
			return -EBADMSG;
	}
	return len_bytes >= head_bytes ? refuse(parser, 431, "head too large") : 0;
}

/* ---- llhttp: the names of the fields, and a second opinion on everything ---- */

struct tokens {
	struct http_head *head;
	bool complete;
};

static int on_field_name(llhttp_t *llhttp, const char *at, size_t len)
{
	struct tokens *tokens = llhttp->data;
	struct http_head *head = tokens->head;

	if (head->field_count == HTTP_FIELDS_MAX)
		return -1;
	head->fields[head->field_count++] = (struct http_field){.name = {at, len}};
	return 0;
}

static int on_headers_complete(llhttp_t *llhttp)
{
	struct tokens *tokens = llhttp->data;

	tokens->complete = true;
	return 0;
}

static const llhttp_settings_t llhttp_settings = {
    .on_header_field = on_field_name,
    .on_headers_complete = on_headers_complete,
};

/* Our scan read the request line already, so that what llhttp still finds wrong in it, or in the version, is
 * a method it does not know or one of another protocol. */
static int refuse_for_llhttp(struct http1 *parser, const llhttp_t *llhttp, struct str request_line)
{
	const char *at = llhttp_get_error_pos(llhttp);
	llhttp_errno_t code = llhttp_get_errno(llhttp);
	bool in_request_line = at && at <= request_line.p + request_line.len && code != HPE_INVALID_URL;

	if (parser->direction == HTTP1_REQUEST && (in_request_line || code == HPE_INVALID_VERSION))
		return refuse(parser, 501, "method not known");
	return refuse(parser, 400, "malformed message head");
}

static int tokenise(struct http1 *parser, struct str bytes, struct str start_line, struct http_head *head)
{
	struct tokens tokens = {.head = head};
	llhttp_t llhttp;
	llhttp_errno_t code;

	llhttp_init(&llhttp, parser->direction == HTTP1_REQUEST ? HTTP_REQUEST : HTTP_RESPONSE,
		    &llhttp_settings);
	llhttp.data = &tokens;
	code = llhttp_execute(&llhttp, bytes.p, bytes.len);
	if (code != HPE_OK && code != HPE_PAUSED_UPGRADE)
		return refuse_for_llhttp(parser, &llhttp, start_line);
	/* One field in each line, or the two do not read the same message. */
	if (!tokens.complete || head->field_count != parser->line_count - 1)
		return refuse(parser, 400, "malformed header field");
	return 0;
}

/* ---- Fields ---- */

/* The value is what stands between the colon and the next line. */
static int field_complete(struct http1 *parser, struct http_field *field, const char *next_line)
{
	const char *colon = field->name.p + field->name.len;

	if (field->name.p[-1] != '\n' || *colon != ':' || !http_is_token(field->name))
		return refuse(parser, 400, "bad header field name");
	field->value = http_trim((struct str){colon + 1, (size_t)(next_line - 2 - (colon + 1))});
	field->id = http_name_of(field->name);
	field->underscore = memchr(field->name.p, '_', field->name.len) != NULL;
	return 0;
}

static int fields_complete(struct http1 *parser, struct http_head *head, const char *head_end)
{
	for (unsigned i = head->field_count; i-- > 0;) {
		const char *next_line = i + 1 < head->field_count ? head->fields[i + 1].name.p : head_end - 2;

		if (field_complete(parser, &head->fields[i], next_line) != 0)
			return -EBADMSG;
		head->first[head->fields[i].id] = (uint8_t)(i + 1);
	}
	return 0;
}

/* The next field of the same name; NULL after the last. */
static struct http_field *field_after(struct http_head *head, const struct http_field *field)
{
	for (unsigned i = (unsigned)(field - head->fields) + 1; i < head->field_count; i++) {
		if (head->fields[i].id == field->id)
			return &head->fields[i];
	}
	return NULL;
}

static struct http_field *field_first(struct http_head *head, enum http_name id)
{
	return head->first[id] > 0 ? &head->fields[head->first[id] - 1] : NULL;
}

/* For fields that may stand only once. *ret is NULL when there is none. */
static int field_only(struct http1 *parser, struct http_head *head, enum http_name id, const char *reason,
		      struct http_field **ret)
{
	*ret = field_first(head, id);
	return *ret && field_after(head, *ret) ? refuse(parser, 400, reason) : 0;
}

struct connection_options {
	bool close, keep_alive, upgrade;
};

static void nominate(struct http_head *head, struct str name)
{
	for (unsigned i = 0; i < head->field_count; i++) {
		if (str_equal_nocase(head->fields[i].name, name))
			head->fields[i].nominated = true;
	}
}

/* Nominating what frames or routes the message would have a proxy change its meaning on the way. */
static bool may_nominate(struct str name)
{
	enum http_name id = http_name_of(name);

	return id != HTTP_NAME_HOST && id != HTTP_NAME_CONTENT_LENGTH && id != HTTP_NAME_TRANSFER_ENCODING;
}

static int connection_option(struct http1 *parser, struct http_head *head, struct str option,
			     struct connection_options *options)
{
	if (!may_nominate(option))
		return refuse(parser, 400, "Connection names a field it must not");
	if (str_equal_nocase(option, STR_LIT("close")))
		options->close = true;
	else if (str_equal_nocase(option, STR_LIT("keep-alive")))
		options->keep_alive = true;
	else if (str_equal_nocase(option, STR_LIT("upgrade")))
		options->upgrade = true;
	nominate(head, option);
	return 0;
}

/* RFC 9110 section 7.6.1. */
static int connection_parse(struct http1 *parser, struct http_head *head, struct connection_options *options)
{
	struct http_field *field = field_first(head, HTTP_NAME_CONNECTION);
	unsigned count = 0;

	for (; field; field = field_after(head, field)) {
		struct str list = field->value, option;

		while (http_list_next(&list, &option)) {
			if (++count > CONNECTION_OPTIONS_MAX)
				return refuse(parser, 400, "too many Connection options");
			if (option.len > 0 && connection_option(parser, head, option, options) != 0)
				return -EBADMSG;
		}
	}
	return 0;
}

/* RFC 9110 section 7.8: ignored in HTTP/1.0, and when nobody can say which of several is meant. */
static void upgrade_parse(const struct http1 *parser, struct http_head *head,
			  const struct connection_options *options)
{
	struct http_field *field = field_first(head, HTTP_NAME_UPGRADE);

	if (!field || field->value.len == 0 || field_after(head, field) || !options->upgrade ||
	    head->version_minor == 0)
		return;
	head->upgrade = parser->direction == HTTP1_REQUEST || head->status == 101;
	head->upgrade_protocol = field->value;
}

static int expect_parse(struct http1 *parser, struct http_head *head)
{
	struct http_field *field = field_first(head, HTTP_NAME_EXPECT);

	if (!field || head->version_minor == 0)
		return 0;
	if (field_after(head, field) || !str_equal_nocase(field->value, STR_LIT("100-continue")))
		return refuse(parser, 417, "expectation not known"); /* RFC 9110 section 10.1.1 */
	head->expect_continue = true;
	return 0;
}

/* ---- Host and target ---- */

static int host_parse(struct http1 *parser, struct http_head *head)
{
	struct http_field *field;

	if (field_only(parser, head, HTTP_NAME_HOST, "more than one Host", &field) != 0)
		return -EBADMSG;
	if (!field && head->version_minor > 0)
		return refuse(parser, 400, "no Host"); /* RFC 9112 section 3.2 */
	if (!field)
		return 0;
	if (!http_authority_parse(field->value, &field->value))
		return refuse(parser, 400, "bad Host");
	head->host = field->value;
	return 0;
}

static int target_parse(struct http1 *parser, struct http_head *head)
{
	struct http_refusal refusal;
	struct http_target target;

	if (http_target_parse(head->method, head->target, &target, &refusal) != 0)
		return refuse(parser, refusal.status, refusal.reason);
	head->scheme = target.scheme;
	head->path = target.path;
	head->query = target.query;
	if (!target.authority.p)
		return 0;
	/* RFC 9112 section 3.2.2 has them be the same; two readers could else route by different ones. */
	if (head->host.p && !str_equal_nocase(head->host, target.authority))
		return refuse(parser, 400, "Host is not the authority of the target");
	head->host = target.authority;
	return 0;
}

/* ---- Framing (RFC 9112 section 6) ---- */

static int content_length_parse(struct http1 *parser, struct http_head *head, struct http_field *field)
{
	while (field->value.len > 1 && field->value.p[0] == '0') {
		field->value.p++;
		field->value.len--;
	}
	if (str_to_u64(field->value, INT64_MAX, &head->content_length) != 0)
		return refuse(parser, 400, "bad Content-Length");
	return 0;
}

/* Only "chunked", once and alone, is taken. A message whose last coding is another has no known end: 400;
 * codings before the last one are those we do not speak: 501. */
static int transfer_encoding_parse(struct http1 *parser, struct http_head *head, struct http_field *field)
{
	unsigned coding_count = 0, chunked_count = 0;
	bool chunked_last = false, malformed = false;

	if (head->version_minor == 0)
		return refuse(parser, 400, "Transfer-Encoding in HTTP/1.0");
	for (; field; field = field_after(head, field)) {
		struct str list = field->value, coding;

		while (http_list_next(&list, &coding)) {
			coding_count++;
			chunked_last = str_equal_nocase(coding, STR_LIT("chunked"));
			chunked_count += chunked_last;
			malformed = malformed || !http_is_token(coding);
		}
	}
	if (malformed || !chunked_last || chunked_count > 1)
		return refuse(parser, 400, "bad Transfer-Encoding");
	return coding_count == 1 ? 0 : refuse(parser, 501, "transfer coding not known");
}

static bool status_has_no_body(unsigned status)
{
	return status < 200 || status == 204 || status == 304;
}

static bool response_has_no_body(const struct http1 *parser, const struct http_head *head)
{
	return status_has_no_body(head->status) || parser->response_to_head ||
	       (parser->response_to_connect && head->status < 300);
}

/* RFC 9110 section 8.6, RFC 9112 section 6.1: an interim or empty answer that announces a body leaves open
 * whether one follows. */
static bool announces_body_it_cannot_have(const struct http_head *head)
{
	return (head->status < 200 || head->status == 204) &&
	       (head->content_length > 0 || head->first[HTTP_NAME_TRANSFER_ENCODING] > 0);
}

static int framing_decide(struct http1 *parser, struct http_head *head)
{
	struct http_field *coding = field_first(head, HTTP_NAME_TRANSFER_ENCODING), *length;

	if (field_only(parser, head, HTTP_NAME_CONTENT_LENGTH, "more than one Content-Length", &length) != 0)
		return -EBADMSG;
	if (length && content_length_parse(parser, head, length) != 0)
		return -EBADMSG;
	if (coding && transfer_encoding_parse(parser, head, coding) != 0)
		return -EBADMSG;
	if (coding && length)
		return refuse(parser, 400, "Transfer-Encoding and Content-Length");
	if (parser->direction == HTTP1_RESPONSE && announces_body_it_cannot_have(head))
		return refuse(parser, 400, "a body announced where none can be");
	if (parser->direction == HTTP1_RESPONSE && response_has_no_body(parser, head))
		head->framing = HTTP_BODY_NONE;
	else if (coding)
		head->framing = HTTP_BODY_CHUNKED;
	else if (length)
		head->framing = HTTP_BODY_LENGTH;
	else
		head->framing = parser->direction == HTTP1_RESPONSE ? HTTP_BODY_UNTIL_CLOSE : HTTP_BODY_NONE;
	return 0;
}

static enum http1_state body_state(const struct http_head *head)
{
	switch (head->framing) {
	case HTTP_BODY_NONE:
		return DONE;
	case HTTP_BODY_LENGTH:
		return head->content_length > 0 ? BODY_LENGTH : DONE;
	case HTTP_BODY_CHUNKED:
		return BODY_CHUNKED;
	case HTTP_BODY_UNTIL_CLOSE:
		return BODY_UNTIL_CLOSE;
	}
	return FAILED;
}

/* ---- The head as a whole ---- */

static int interpret(struct http1 *parser, struct http_head *head)
{
	struct connection_options options = {0};

	if (parser->direction == HTTP1_REQUEST &&
	    (host_parse(parser, head) != 0 || target_parse(parser, head) != 0 ||
	     expect_parse(parser, head) != 0))
		return -EBADMSG;
	if (connection_parse(parser, head, &options) != 0 || framing_decide(parser, head) != 0)
		return -EBADMSG;
	upgrade_parse(parser, head, &options);
	head->keep_alive = (head->version_minor > 0 || options.keep_alive) && !options.close &&
			   head->framing != HTTP_BODY_UNTIL_CLOSE;
	return 0;
}

static int head_parse(struct http1 *parser, struct str bytes, struct http_head *head)
{
	const char *line_end = memchr(bytes.p, '\r', bytes.len);
	struct str line = {bytes.p, line_end ? (size_t)(line_end - bytes.p) : bytes.len};
	struct start_line start_line;

	memset(head, 0, offsetof(struct http_head, fields));
	if (start_line_parse(parser, line, &start_line) != 0)
		return -EBADMSG;
	head->method = start_line.method;
	head->target = start_line.target;
	head->status = start_line.status;
	head->reason = start_line.reason;
	head->version_minor = start_line.version_minor;
	if (tokenise(parser, bytes, line, head) != 0 ||
	    fields_complete(parser, head, bytes.p + bytes.len) != 0)
		return -EBADMSG;
	return interpret(parser, head);
}

ssize_t http1_head(struct http1 *parser, const char *data, size_t len_bytes, struct http_head *ret_head)
{
	int r;

	assert(parser->state == HEAD || parser->state == FAILED);
	if (parser->state == FAILED)
		return -EBADMSG;
	r = scan(parser, data, len_bytes);
	if (r <= 0)
		return r;
	r = head_parse(parser,
		       (struct str){data + parser->start_line, parser->scanned_bytes - parser->start_line},
		       ret_head);
	if (r != 0)
		return r;
	parser->state = (uint8_t)body_state(ret_head);
	parser->body_left_bytes = ret_head->content_length;
	chunked_init(&parser->chunked);
	return (ssize_t)parser->scanned_bytes;
}

/* ---- Bodies ---- */

static ssize_t body_with_length(struct http1 *parser, struct str data, struct str *ret_body)
{
	if (data.len >= parser->body_left_bytes) {
		data.len = (size_t)parser->body_left_bytes;
		parser->state = DONE;
	}
	parser->body_left_bytes -= data.len;
	*ret_body = data;
	return (ssize_t)data.len;
}

static ssize_t body_in_chunks(struct http1 *parser, struct str data, struct str *ret_body)
{
	const struct chunked_limits limits = {parser->limits->chunk_line_bytes,
					      parser->limits->trailer_bytes};
	const char *reason;
	ssize_t consumed = chunked_read(&parser->chunked, &limits, data, ret_body, parser->trailers, &reason);

	if (consumed < 0)
		return refuse(parser, 400, reason);
	if (chunked_done(&parser->chunked))
		parser->state = DONE;
	return consumed;
}

ssize_t http1_body(struct http1 *parser, const char *data, size_t len_bytes, struct str *ret_body,
		   bool *ret_done)
{
	struct str bytes = {data, len_bytes};
	ssize_t consumed = -EBADMSG;

	*ret_body = (struct str){data, 0};
	switch ((enum http1_state)parser->state) {
	case BODY_LENGTH:
		consumed = body_with_length(parser, bytes, ret_body);
		break;
	case BODY_CHUNKED:
		consumed = body_in_chunks(parser, bytes, ret_body);
		break;
	case BODY_UNTIL_CLOSE:
		*ret_body = bytes;
		consumed = (ssize_t)len_bytes;
		break;
	case DONE:
		consumed = 0;
		break;
	case HEAD:
	case FAILED:
		break;
	}
	*ret_done = parser->state == DONE;
	return consumed;
}

bool http1_done(const struct http1 *parser)
{
	return parser->state == DONE;
}

int http1_eof(struct http1 *parser)
{
	switch ((enum http1_state)parser->state) {
	case BODY_UNTIL_CLOSE:
		parser->state = DONE;
		return 0;
	case DONE:
		return 0;
	case HEAD:
		if (parser->direction == HTTP1_REQUEST && parser->scanned_bytes == 0)
			return 0;
		return refuse(parser, 400, "closed within a head");
	case BODY_LENGTH:
	case BODY_CHUNKED:
		return refuse(parser, 400, "closed within a body");
	case FAILED:
		break;
	}
	return -EBADMSG;
}

/* ---- What a caller asks of a head ---- */

struct str http_head_get(const struct http_head *head, const char *name)
{
	struct str wanted = str_of(name);

	for (unsigned i = 0; i < head->field_count; i++) {
		if (str_equal_nocase(head->fields[i].name, wanted))
			return head->fields[i].value;
	}
	return (struct str){0};
}

const struct http_field *http_head_find(const struct http_head *head, enum http_name id)
{
	return head->first[id] > 0 ? &head->fields[head->first[id] - 1] : NULL;
}
