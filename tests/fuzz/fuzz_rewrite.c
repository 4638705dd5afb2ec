/* LINK: ingress/forward.c ingress/text.c base/addr.c base/buf.c base/chunked.c base/http1.c base/http_syntax.c base/str.c */
/* Rewriting of heads: whatever a client (or an endpoint) sends, if it is a message at all, what we pass on parses as exactly
 * one message with the same framing, and says nothing of the client that we did not say.
 *
 * The first octet chooses: bit 0 request or response, bit 1 trusted proxy, bit 2 password dropped, bit 3 HTTP/1.0 client,
 * bit 4 answer to HEAD. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ingress/forward.h"

static struct http_head head, again;

static void check(bool condition)
{
	if (!condition)
		abort();
}

/* One message, to the last byte, into `again`. In exact heap memory, so that any read beyond it is seen; to be freed. */
static char *parse_again(const struct text *out, const char *begin, enum http1_direction direction,
			 bool to_head)
{
	static const struct http1_limits generous = {1 << 20, 1 << 20, HTTP_FIELDS_MAX, 1024, 1024};
	size_t len = (size_t)(out->p - begin);
	char *copy = malloc(len);
	struct http1 parser;

	check(copy != NULL);
	memcpy(copy, begin, len);
	http1_init(&parser, direction, &generous);
	if (to_head)
		http1_expect_response_to(&parser, STR_LIT("HEAD"));
	check(http1_head(&parser, copy, len, &again) == (ssize_t)len);
	return copy;
}

/* The field, there exactly once. */
static struct str only(const char *name)
{
	const struct http_field *found = NULL;

	for (unsigned i = 0; i < again.field_count; i++) {
		if (!str_equal_nocase(again.fields[i].name, str_of(name)))
			continue;
		check(found == NULL);
		found = &again.fields[i];
	}
	check(found != NULL);
	return found->value;
}

static void check_request(const struct forward_request *how)
{
	check(again.framing == head.framing && again.content_length == head.content_length);
	check(str_equal(again.method, head.method) && str_equal(again.path, head.path) &&
	      str_equal(again.query, head.query));
	check(again.version_minor == 1 && again.keep_alive && !again.expect_continue);
	check(again.upgrade == how->upgrade);
	check(only("X-Forwarded-For").len > 0 && only("X-Request-ID").len > 0);
	check(how->trust || str_is(only("X-Real-IP"), "10.9.8.7"));
	check(how->trust || str_is(only("X-Forwarded-Proto"), "https"));
	check(!http_head_find(&again, HTTP_NAME_PROXY) && !http_head_find(&again, HTTP_NAME_TE));
	check(!how->drop_authorization || !http_head_find(&again, HTTP_NAME_AUTHORIZATION));
}

static void rewrite_request(size_t head_len, uint8_t mode)
{
	const struct forward_origin origin = {.peer = {AF_INET, {10, 9, 8, 7}},
					      .local = {{AF_INET6, {[15] = 1}}, 443},
					      .https = true,
					      .trust = (mode & 2) != 0};
	struct forward_request how = {
	    .identity = forward_identify(&head, &origin),
	    .request_id = forward_request_id(&head),
	    .trust = origin.trust,
	    .upgrade = forward_upgrade_allowed(&head),
	    .drop_authorization = (mode & 4) != 0,
	};
	size_t size;
	char *buffer;
	struct text out;

	if (how.request_id.len == 0)
		how.request_id = STR_LIT("0123456789abcdef0123456789abcdef");
	size = forward_request_bytes_max(&head, head_len, &how);
	buffer = malloc(size);
	check(buffer != NULL);
	out = (struct text){.p = buffer, .end = buffer + size};
	forward_request(&out, &head, &how);
	check(!out.overflow);
	if (head.field_count + 12 <= HTTP_FIELDS_MAX) { /* ours come on top: one at the limit passes it */
		char *copy = parse_again(&out, buffer, HTTP1_REQUEST, false);

		check_request(&how);
		free(copy);
	}
	free(buffer);
}

static void rewrite_response(size_t head_len, uint8_t mode)
{
	bool to_head = (mode & 16) != 0;
	struct forward_response how = {
	    .framing = forward_response_framing(&head, (mode & 8) != 0),
	    .client_is_http10 = (mode & 8) != 0,
	    .keep_alive = true,
	    .was_head = to_head,
	    .hsts = STR_LIT("max-age=1"),
	    .date = STR_LIT("Sat, 21 Nov 2026 00:00:00 GMT"),
	};
	size_t size = forward_response_bytes_max(&head, head_len, &how);
	char *buffer = malloc(size);
	struct text out = {.p = buffer, .end = buffer + size};

	check(buffer != NULL);
	if (head.status < 200)
		forward_interim(&out, &head);
	else
		forward_response(&out, &head, &how);
	check(!out.overflow);
	if (head.field_count + 6 <= HTTP_FIELDS_MAX) {
		char *copy = parse_again(&out, buffer, HTTP1_RESPONSE, to_head);

		check(again.status == head.status);
		check(head.status < 200 || again.framing == how.framing);
		free(copy);
	}
	free(buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t mode = size > 0 ? data[0] : 0;
	bool is_response = (mode & 1) != 0;
	struct http1 parser;
	char *bytes;
	ssize_t n;

	if (size < 2)
		return 0;
	bytes = malloc(size - 1);
	check(bytes != NULL);
	memcpy(bytes, data + 1, size - 1);
	http1_init(&parser, is_response ? HTTP1_RESPONSE : HTTP1_REQUEST, NULL);
	if (is_response && (mode & 16))
		http1_expect_response_to(&parser, STR_LIT("HEAD"));
	n = http1_head(&parser, bytes, size - 1, &head);
	if (n > 0 && is_response)
		rewrite_response((size_t)n, mode);
	else if (n > 0 && !str_is(head.method, "CONNECT")) /* refused before it gets here */
		rewrite_request((size_t)n, mode);
	free(bytes);
	return 0;
}
