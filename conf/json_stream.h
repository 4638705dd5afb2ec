/* Cuts whole JSON objects out of a byte stream as it arrives, without parsing what is inside them: the events
 * of a watch, or the items of a list that is never held whole. Pure: bytes in, slices out.
 *
 *     JSON_STREAM_OBJECTS  {...} {...} {...}                      -> each top-level object
 *     JSON_STREAM_LIST     {"kind": K, "metadata": M, "items": [{...}, {...}]}
 *                                                                 -> each item, then K and M's two fields
 *
 * Invariants
 *  1. How the bytes are split into calls changes nothing of what comes out, nor whether the input is refused.
 *  2. An item given out is balanced ({} and [] match, strings are closed), at most limits.item_bytes long and
 *     limits.depth deep. Whether it is JSON all through is for its parser to say.
 *  3. A list's frame is checked here: one object, keys without escapes, "items" once, an array of objects or
 *     null: what cannot be told for a list never passes for an empty one.
 *  4. At most one item is held, and only when it came in pieces.
 *  5. After an error every call gives the same error. */
#ifndef CONF_JSON_STREAM_H
#define CONF_JSON_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#define JSON_STREAM_DEPTH_MAX 128 /* limits.depth is at most this */

enum json_stream_mode { JSON_STREAM_OBJECTS, JSON_STREAM_LIST };

struct json_stream_limits {
	size_t item_bytes;
	unsigned depth; /* of an item, itself included */
};
extern const struct json_stream_limits json_stream_default_limits; /* 16 MiB, 64 */

/* item: one object's text, borrowed. What is not 0 stops the feeding and is returned by it. */
typedef int json_stream_fn(void *ctx, struct str item);

struct json_stream {
	/* all private */
	const struct json_stream_limits *limits;
	json_stream_fn *fn;
	void *ctx;
	int failed;
	const char *why;
	uint64_t offset; /* of the stream's next byte, for messages */
	enum json_stream_mode mode;
	uint8_t expect, value_type, target;
	bool in_string, escaped;
	bool seen_items, seen_kind, seen_metadata;
	unsigned depth;                               /* open brackets of the value being read */
	uint64_t objects[JSON_STREAM_DEPTH_MAX / 64]; /* which of them are {: one bit a level */
	char key[12];
	size_t key_len;
	struct buf held; /* the value being kept, as far as earlier calls brought it */
	struct buf kind, metadata;
};

/* limits: NULL for the defaults; must outlive the stream. */
void json_stream_init(struct json_stream *stream, enum json_stream_mode mode,
		      const struct json_stream_limits *limits, json_stream_fn *fn, void *ctx);
void json_stream_done(struct json_stream *stream);

/* 0; -EBADMSG with *err when the text is none of ours; -ENOMEM; or what fn returned. fn must return non-zero
 * when it freed the bytes or the stream: then nothing is touched any more. */
int json_stream_feed(struct json_stream *stream, struct str bytes, struct err *err);

/* The stream ended. 0 if it ended between objects or after the whole list; else -EBADMSG with *err. */
int json_stream_end(struct json_stream *stream, struct err *err);

/* What stood around the items. Strings live in the arena given; "" when absent. */
struct json_list_meta {
	const char *kind; /* "ServiceList" */
	const char *resource_version, *continue_token;
};

/* After json_stream_end gave 0, LIST only. 0, -EBADMSG with *err (no resourceVersion ...), -ENOMEM. */
int json_stream_list_meta(const struct json_stream *stream, struct arena *arena, struct json_list_meta *ret,
			  struct err *err);

#endif
