/* HTTP/1.1 messages as bytes in, values out (RFC 9110, 9112), strict, no I/O.
 *
 * Heads are read by two: our scan splits the lines and looks at every octet, llhttp tokenises, and both must
 * agree, so that nothing a lenient build or a later version of llhttp lets through passes here. One framing
 * decision is made per message and nobody downstream can disagree with it. Chunks are read by base/chunked.
 *
 * One `struct http1` reads the messages of one direction of one connection, one after the other:
 *
 *     http1_init -> http1_head (until > 0) -> http1_body (until done) -> http1_next -> http1_head ...
 *
 * Invariants
 *  1. All slices in `struct http_head` point into the caller's bytes and are good as long as those are (but the
 *     path of an absolute-form target that has none: a constant).
 *  2. Exactly one of: no body, length known, chunked, until close (responses only) -> enum http_framing.
 *  3. After an error the parser refuses everything; the connection must close after the answer.
 *  4. Never allocates; a struct http1 is a plain value, moved freely between calls.
 *  5. What a message is taken for does not depend on how its bytes were cut into calls. */
#ifndef BASE_HTTP1_H
#define BASE_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/chunked.h"
#include "base/str.h"

#define HTTP_FIELDS_MAX 100 /* RFC 6585 section 5: 431 beyond */

enum http1_direction { HTTP1_REQUEST, HTTP1_RESPONSE };

enum http_framing {
	HTTP_BODY_NONE,
	HTTP_BODY_LENGTH,
	HTTP_BODY_CHUNKED,
	HTTP_BODY_UNTIL_CLOSE, /* responses only */
};

/* Names a proxy acts on, found once while parsing so that nobody compares strings again. */
enum http_name {
	HTTP_NAME_OTHER,
	HTTP_NAME_HOST,
	HTTP_NAME_CONNECTION,
	HTTP_NAME_CONTENT_LENGTH,
	HTTP_NAME_TRANSFER_ENCODING,
	HTTP_NAME_TE,
	HTTP_NAME_TRAILER,
	HTTP_NAME_UPGRADE,
	HTTP_NAME_KEEP_ALIVE,
	HTTP_NAME_PROXY,
	HTTP_NAME_PROXY_CONNECTION,
	HTTP_NAME_PROXY_AUTHENTICATE,
	HTTP_NAME_PROXY_AUTHORIZATION,
	HTTP_NAME_EXPECT,
	HTTP_NAME_AUTHORIZATION,
	HTTP_NAME_COOKIE,
	HTTP_NAME_X_FORWARDED, /* any X-Forwarded-* */
	HTTP_NAME_X_REAL_IP,
	HTTP_NAME_X_REQUEST_ID,
	HTTP_NAME_X_SCHEME,
	HTTP_NAME_X_ORIGINAL_FORWARDED, /* X-Original-Forwarded-For, -Host */
	HTTP_NAME_FORWARDED,
	HTTP_NAME_SERVER,
	HTTP_NAME_DATE,
	HTTP_NAME_LOCATION,
	HTTP_NAME_STRICT_TRANSPORT_SECURITY,
	HTTP_NAME_USER_AGENT,
	HTTP_NAME_REFERER,
	HTTP_NAME_ORIGIN,
};
#define HTTP_NAME_COUNT (HTTP_NAME_ORIGIN + 1)

struct http_field {
	struct str name;  /* as received */
	struct str value; /* optional white space cut; Content-Length without leading zeros */
	enum http_name id;
	bool nominated;  /* named in Connection (RFC 9110 section 7.6.1): not to be forwarded */
	bool underscore; /* the name holds '_', which CGI-like backends cannot tell from '-' */
};

struct http_head {
	struct str method, target; /* requests; target as received */
	struct str scheme;         /* requests: of an absolute-form target, "http" or "https" in any case */
	/* Requests: the authority, from Host or the absolute-form target; p == NULL when an HTTP/1.0 request names none. */
	struct str host;
	/* Requests: the target split at '?'; query without it, p == NULL if there is none; path "*" for the asterisk form,
	 * p == NULL with CONNECT. */
	struct str path, query;
	unsigned status; /* responses */
	struct str reason;
	uint8_t version_minor; /* HTTP/1.x */
	enum http_framing framing;
	uint64_t content_length; /* with HTTP_BODY_LENGTH */
	bool keep_alive;         /* may the connection carry another message after this one */
	bool expect_continue;
	bool upgrade; /* request: asks with Connection: upgrade; response: 101 */
	struct str upgrade_protocol;
	uint8_t first[HTTP_NAME_COUNT]; /* 1 + index in fields of the first field of that name; 0: none */
	unsigned field_count;
	struct http_field fields[HTTP_FIELDS_MAX];
};

struct http1_limits {
	uint32_t start_line_bytes; /* 414 beyond; default 8192 */
	uint32_t head_bytes;       /* 431 beyond; default 32768, start line included */
	uint32_t field_count;      /* 431 beyond; default and at most HTTP_FIELDS_MAX */
	uint32_t chunk_line_bytes; /* size, extensions and CRLF; default 272 */
	uint32_t trailer_bytes;    /* default 4096 */
};
extern const struct http1_limits http1_default_limits;

/* Private but for error_status and error_reason. */
struct http1 {
	const struct http1_limits *limits;
	enum http1_direction direction;
	uint16_t error_status; /* the answer a bad request deserves; 502 for responses */
	const char *error_reason;
	uint8_t state;
	uint8_t empty_lines; /* before the start line */
	bool response_to_head, response_to_connect;
	/* Of the head, as offsets from its first octet. */
	uint32_t scanned_bytes, line_begin, start_line;
	uint32_t line_count; /* complete lines, start line included */
	/* Of the body. */
	uint64_t body_left_bytes;
	struct chunked chunked;
	struct buf *trailers; /* NULL: dropped */
};

/* limits may be NULL for the defaults and must outlive the parser. */
void http1_init(struct http1 *parser, enum http1_direction direction, const struct http1_limits *limits);

/* Responses: says what was asked, which decides the framing (RFC 9112 section 6.3). Before http1_head. */
void http1_expect_response_to(struct http1 *parser, struct str method);

/* Reads a head. data/len_bytes: ALL bytes of this head received so far, from its first octet (the bytes may
 * have moved since the last call, but must not have changed). Returns the length of the head once it is
 * complete and *ret_head is filled; 0 when more is needed; -EBADMSG when refused (then error_status and
 * error_reason say why: 400, 408, 414, 431, 501, 505). Empty lines before a request are skipped and counted
 * in. */
ssize_t http1_head(struct http1 *parser, const char *data, size_t len_bytes, struct http_head *ret_head);

/* Reads body bytes. Consumes up to len_bytes of data; *ret_body is the run of payload found in them (may be
 * empty), *ret_done says that the message ended. Returns bytes consumed, possibly fewer than given (call
 * again), or -EBADMSG. Without a body, or with a length of 0, it is done at once: ask http1_done rather than
 * wait for bytes. Trailers are validated and dropped unless http1_trailers was called. */
ssize_t http1_body(struct http1 *parser, const char *data, size_t len_bytes, struct str *ret_body,
		   bool *ret_done);

/* Has the body ended? */
bool http1_done(const struct http1 *parser);

/* The peer closed. 0 if that ended the message rightly, or came before the first octet of a request;
 * -EBADMSG if it cut a message short. */
int http1_eof(struct http1 *parser);

/* Trailer fields of a chunked message that may be forwarded (no framing, routing or credential fields,
 * RFC 9110 section 6.5.1) are appended to `out` as "Name: value\r\n" lines. Before http1_body. */
void http1_trailers(struct http1 *parser, struct buf *out);

void http1_next(struct http1 *parser); /* ready for the next message on the same connection */

/* The named field's value, first of several; {NULL, 0} when absent. Name compared without case. */
struct str http_head_get(const struct http_head *head, const char *name);
const struct http_field *http_head_find(const struct http_head *head, enum http_name id);

/* Is it hop-by-hop or nominated, thus never forwarded (RFC 9110 section 7.6.1)? */
bool http_field_is_hop_by_hop(const struct http_field *field);

const char *http_reason(unsigned status); /* "Not Found"; "Unknown" for codes nobody registered */

#endif
