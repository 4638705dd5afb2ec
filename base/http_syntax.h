/* The small grammars inside HTTP messages (RFC 9110, 9112, 3986) as pure functions: what a token is, a host,
 * a request target; which field names a proxy acts on. Stricter than the grammars where leniency is only ever
 * used to smuggle: says so at each function. */
#ifndef BASE_HTTP_SYNTAX_H
#define BASE_HTTP_SYNTAX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/http1.h"
#include "base/str.h"

/* Why a message is refused: the status a request deserves, and what was wrong with it. */
struct http_refusal {
	uint16_t status;
	const char *reason;
};

/* The first byte that is a control (0x00 to 0x1f, 0x7f), tabs included, or end. */
const char *http_find_control(const char *p, const char *end);

bool http_is_token(struct str text); /* 1*tchar, RFC 9110 section 5.6.2 */
bool http_is_token_byte(char c);

enum http_name http_name_of(struct str name);

/* May a trailer section carry this field on (RFC 9110 section 6.5.1)? Not what frames, routes, authenticates
 * or changes the meaning of the message. */
bool http_name_may_trail(struct str name);

/* Cuts optional white space (blanks and tabs) at both ends. */
struct str http_trim(struct str text);

/* Steps through a comma-separated list without quoted strings: false at the end; items are trimmed and may be
 * empty. `list` must not be empty at the start. */
bool http_list_next(struct str *list, struct str *ret_item);

/* host [":" port] (RFC 9110 section 4.2, RFC 3986 section 3.2.2): a name of letters, digits, "-", ".", "_"
 * and "~" up to 255 bytes, or an IPv6 address in brackets. Escapes and sub-delimiters, allowed in a reg-name
 * but in no DNS name, are refused, as is a port above 65535. An empty port is cut off. False when refused. */
bool http_authority_parse(struct str text, struct str *ret_authority);

struct http_target {
	struct str scheme, authority; /* absolute form; authority also with CONNECT */
	struct str path, query;
};

/* The four forms of a request target (RFC 9112 section 3.2). Refused: fragments, bytes outside visible ASCII,
 * in the path also backslashes, "%00" and escapes that are none. Escapes in the query are the application's.
 */
int http_target_parse(struct str method, struct str target, struct http_target *ret,
		      struct http_refusal *refusal);

#endif
