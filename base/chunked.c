/* Reads the chunked transfer coding, one octet at a time but for the payload. */
#include "base/chunked.h"

#include <errno.h>

#include "base/http_syntax.h"

enum chunked_state {
	SIZE,
	EXTENSION, /* before its name */
	EXTENSION_NAME,
	EXTENSION_VALUE, /* before it */
	EXTENSION_TOKEN,
	EXTENSION_QUOTED,
	EXTENSION_ESCAPED, /* behind the backslash in a quoted string */
	EXTENSION_END,     /* behind a quoted string */
	SIZE_LF,
	DATA,
	DATA_CR,
	DATA_LF,
	TRAILER,
	TRAILER_NAME,
	TRAILER_VALUE,
	TRAILER_LF,
	END_LF,
	DONE,
};

void chunked_init(struct chunked *chunked)
{
	*chunked = (struct chunked){.state = SIZE};
}

bool chunked_done(const struct chunked *chunked)
{
	return chunked->state == DONE;
}

static bool is_text(char c)
{
	return c == '\t' || ((unsigned char)c >= 0x20 && c != 0x7f);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static const char *read_size(struct chunked *chunked, char c)
{
	int digit = hex_digit(c);

	if (digit >= 0) {
		if (chunked->left_bytes > (uint64_t)INT64_MAX >> 4)
			return "chunk size too large";
		chunked->left_bytes = chunked->left_bytes << 4 | (uint64_t)digit;
		chunked->has_digits = true;
		return NULL;
	}
	if (!chunked->has_digits || (c != '\r' && c != ';'))
		return "bad chunk size";
	chunked->state = c == '\r' ? SIZE_LF : EXTENSION;
	return NULL;
}

/* What may follow a name or value: the next extension, the end of the line. */
static const char *end_extension(struct chunked *chunked, char c)
{
	if (c != ';' && c != '\r')
		return "bad chunk extension";
	chunked->state = c == ';' ? EXTENSION : SIZE_LF;
	return NULL;
}

/* ";" name [ "=" ( token / quoted-string ) ] (RFC 9112 section 7.1.1). */
static const char *begin_extension(struct chunked *chunked, char c)
{
	chunked->state = EXTENSION_NAME;
	return http_is_token_byte(c) ? NULL : "bad chunk extension";
}

static const char *read_extension_name(struct chunked *chunked, char c)
{
	if (c == '=')
		chunked->state = EXTENSION_VALUE;
	return c == '=' || http_is_token_byte(c) ? NULL : end_extension(chunked, c);
}

static const char *begin_extension_value(struct chunked *chunked, char c)
{
	chunked->state = c == '"' ? EXTENSION_QUOTED : EXTENSION_TOKEN;
	return c == '"' || http_is_token_byte(c) ? NULL : "bad chunk extension";
}

static const char *read_extension_token(struct chunked *chunked, char c)
{
	return http_is_token_byte(c) ? NULL : end_extension(chunked, c);
}

static const char *read_extension_quoted(struct chunked *chunked, char c)
{
	if (chunked->state == EXTENSION_ESCAPED)
		chunked->state = EXTENSION_QUOTED;
	else if (c == '\\')
		chunked->state = EXTENSION_ESCAPED;
	else if (c == '"')
		chunked->state = EXTENSION_END;
	return is_text(c) ? NULL : "bad chunk extension";
}

static const char *expect(struct chunked *chunked, char c, char expected, enum chunked_state next,
			  const char *reason)
{
	if (c != expected)
		return reason;
	chunked->state = (uint8_t)next;
	return NULL;
}

static void begin_size_line(struct chunked *chunked)
{
	chunked->line_bytes = 0;
	chunked->has_digits = false;
}

static const char *begin_trailer(struct chunked *chunked, char c, struct buf *trailers)
{
	chunked->name_bytes = 0;
	chunked->value_begun = false;
	chunked->keep_trailer = trailers != NULL;
	if (c == '\r') {
		chunked->state = END_LF;
		return NULL;
	}
	chunked->state = TRAILER_NAME;
	return http_is_token_byte(c) ? NULL : "bad trailer field name";
}

/* Dropping these would do, but nobody sends them who means well. */
static bool is_framing(enum http_name id)
{
	return id == HTTP_NAME_CONTENT_LENGTH || id == HTTP_NAME_TRANSFER_ENCODING;
}

static const char *read_trailer_name(struct chunked *chunked, char c, struct buf *trailers)
{
	struct str name = {chunked->name, chunked->name_bytes};

	if (http_is_token_byte(c)) {
		if (chunked->name_bytes < CHUNKED_TRAILER_NAME_MAX)
			chunked->name[chunked->name_bytes++] = c;
		else
			chunked->keep_trailer = false;
		return NULL;
	}
	if (c != ':')
		return "bad trailer field name";
	if (is_framing(http_name_of(name)))
		return "framing field in the trailer section";
	chunked->state = TRAILER_VALUE;
	chunked->keep_trailer = chunked->keep_trailer && http_name_may_trail(name);
	if (chunked->keep_trailer) {
		(void)buf_append_str(trailers, name);
		(void)buf_append_text(trailers, ": ");
	}
	return NULL;
}

static const char *read_trailer_value(struct chunked *chunked, char c, struct buf *trailers)
{
	if (c == '\r') {
		chunked->state = TRAILER_LF;
		return NULL;
	}
	if (!is_text(c))
		return "control octet in a trailer field";
	chunked->value_begun = chunked->value_begun || !is_blank(c);
	if (chunked->keep_trailer && chunked->value_begun)
		(void)buf_append_char(trailers, c);
	return NULL;
}

static void end_trailer(struct chunked *chunked, struct buf *trailers)
{
	if (!chunked->keep_trailer || buf_failed(trailers))
		return;
	while (chunked->value_begun && is_blank(trailers->data[trailers->tail - 1]))
		trailers->tail--;
	(void)buf_append_text(trailers, "\r\n");
}

/* One octet that is no payload; NULL or what is wrong with it. */
static const char *read_octet(struct chunked *chunked, char c, struct buf *trailers)
{
	const char *wrong = NULL;

	switch ((enum chunked_state)chunked->state) {
	case SIZE:
		return read_size(chunked, c);
	case EXTENSION:
		return begin_extension(chunked, c);
	case EXTENSION_NAME:
		return read_extension_name(chunked, c);
	case EXTENSION_VALUE:
		return begin_extension_value(chunked, c);
	case EXTENSION_TOKEN:
		return read_extension_token(chunked, c);
	case EXTENSION_QUOTED:
	case EXTENSION_ESCAPED:
		return read_extension_quoted(chunked, c);
	case EXTENSION_END:
		return end_extension(chunked, c);
	case SIZE_LF:
		return expect(chunked, c, '\n', chunked->left_bytes > 0 ? DATA : TRAILER,
			      "bad end of a chunk size line");
	case DATA_CR:
		return expect(chunked, c, '\r', DATA_LF, "chunk longer than its size");
	case DATA_LF:
		begin_size_line(chunked);
		return expect(chunked, c, '\n', SIZE, "bad end of a chunk");
	case TRAILER:
		wrong = begin_trailer(chunked, c, trailers);
		if (!wrong && chunked->state == TRAILER_NAME)
			wrong = read_trailer_name(chunked, c, trailers);
		return wrong;
	case TRAILER_NAME:
		return read_trailer_name(chunked, c, trailers);
	case TRAILER_VALUE:
		return read_trailer_value(chunked, c, trailers);
	case TRAILER_LF:
		end_trailer(chunked, trailers);
		return expect(chunked, c, '\n', TRAILER, "bad end of a trailer field");
	case END_LF:
		return expect(chunked, c, '\n', DONE, "bad end of the trailer section");
	case DATA:
	case DONE:
		break;
	}
	return "unexpected octet";
}

/* Counts the octet against the limit of the line or section it belongs to. */
static const char *count_octet(struct chunked *chunked, const struct chunked_limits *limits)
{
	if (chunked->state <= SIZE_LF && ++chunked->line_bytes > limits->line_bytes)
		return "chunk size line too long";
	if (chunked->state >= TRAILER && ++chunked->trailer_bytes > limits->trailer_bytes)
		return "trailer section too long";
	return NULL;
}

static struct str read_data(struct chunked *chunked, struct str data)
{
	if (data.len >= chunked->left_bytes) {
		data.len = (size_t)chunked->left_bytes;
		chunked->state = DATA_CR;
	}
	chunked->left_bytes -= data.len;
	return data;
}

ssize_t chunked_read(struct chunked *chunked, const struct chunked_limits *limits, struct str data,
		     struct str *ret_body, struct buf *trailers, const char **ret_reason)
{
	const char *wrong;
	size_t at = 0;

	*ret_body = (struct str){data.p, 0};
	while (at < data.len && chunked->state != DONE) {
		if (chunked->state == DATA) {
			*ret_body = read_data(chunked, (struct str){data.p + at, data.len - at});
			return (ssize_t)(at + ret_body->len);
		}
		wrong = count_octet(chunked, limits);
		if (!wrong)
			wrong = read_octet(chunked, data.p[at++], trailers);
		if (wrong) {
			*ret_reason = wrong;
			return -EBADMSG;
		}
	}
	return (ssize_t)at;
}
