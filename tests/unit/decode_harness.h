/* For the tests of conf/decode: text in, objects and complaints out. */
#ifndef TESTS_UNIT_DECODE_HARNESS_H
#define TESTS_UNIT_DECODE_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "conf/decode.h"

#define DECODED_MAX 64

struct decoded {
	struct object *objects[DECODED_MAX];
	size_t count;
	struct buf complaints; /* one per line; warnings begin with "warning: " */
	int rc;
};

static void decoded_object(void *ctx, struct object *object)
{
	struct decoded *decoded = ctx;

	if (decoded->count < DECODED_MAX)
		decoded->objects[decoded->count++] = object;
	else
		object_unref(object);
}

static void decoded_complaint(void *ctx, const struct decode_complaint *complaint)
{
	struct decoded *decoded = ctx;
	char text[2048];

	buf_printf(&decoded->complaints, "%s%s\n", complaint->severity == DECODE_WARNING ? "warning: " : "",
		   decode_complaint_text(complaint, text, sizeof(text)));
}

static inline struct decode_sink decoded_sink(struct decoded *decoded)
{
	return (struct decode_sink){decoded_object, decoded_complaint, decoded};
}

static inline struct decoded decoded_yaml(const char *text)
{
	struct decoded decoded = {0};
	struct decode_sink sink = decoded_sink(&decoded);

	decoded.rc = decode_manifest(text, strlen(text), "t.yaml", &sink);
	buf_append_char(&decoded.complaints, '\0');
	return decoded;
}

static inline struct decoded decoded_json(enum kind kind, const char *text)
{
	struct decoded decoded = {0};
	struct decode_sink sink = decoded_sink(&decoded);

	decoded.rc = decode_json(text, strlen(text), kind, &sink);
	buf_append_char(&decoded.complaints, '\0');
	return decoded;
}

static inline void decoded_done(struct decoded *decoded)
{
	for (size_t i = 0; i < decoded->count; i++)
		object_unref(decoded->objects[i]);
	buf_done(&decoded->complaints);
}

static inline const char *decoded_complaints(const struct decoded *decoded)
{
	return decoded->complaints.data;
}

/* One object of the text and nothing said of it; the caller owns it. */
static inline void *decoded_one(const char *text)
{
	struct decoded decoded = decoded_yaml(text);
	struct object *object;

	assert_string_equal(decoded_complaints(&decoded), "");
	assert_int_equal(decoded.count, 1);
	object = object_ref(decoded.objects[0]);
	decoded_done(&decoded);
	return object;
}

/* How many objects come of the text, and exactly what is said. */
static inline void assert_decoded(const char *text, size_t count, const char *complaints)
{
	struct decoded decoded = decoded_yaml(text);

	assert_string_equal(decoded_complaints(&decoded), complaints);
	assert_int_equal(decoded.count, count);
	decoded_done(&decoded);
}

#define assert_refused(text, complaints) assert_decoded(text, 0, complaints)
#define assert_warned(text, complaints)  assert_decoded(text, 1, complaints)

static inline void assert_ip(const struct ip *ip, const char *expected)
{
	char text[ADDR_TEXT_MAX];

	assert_string_equal(ip_format(ip, text), expected);
}

#endif
