/* Cuts whole JSON objects out of a byte stream: a small machine for the frame around the objects, and one
 * scanner for what is inside a value, which only looks at strings and brackets. */
#include "conf/json_stream.h"

#include <errno.h>

#include "conf/node.h"

#define METADATA_MAX_BYTES (1u << 20) /* of a list; a continue token is a few hundred bytes */
#define KIND_MAX_BYTES     256
#define HELD_KEEP_BYTES    (256u << 10) /* memory an unusually large item may leave behind */

const struct json_stream_limits json_stream_default_limits = {.item_bytes = 16u << 20, .depth = 64};

/* What the frame may continue with. */
enum {
	EXPECT_OBJECT, /* between objects */
	EXPECT_KEY_OR_END,
	EXPECT_KEY,
	EXPECT_REST_OF_KEY,
	EXPECT_COLON,
	EXPECT_VALUE,
	EXPECT_REST_OF_VALUE,
	EXPECT_COMMA_OR_END,
	EXPECT_ITEM_OR_END,
	EXPECT_ITEM,
	EXPECT_ITEM_COMMA_OR_END,
	EXPECT_NOTHING, /* the list is over */
};

enum { VALUE_ENCLOSED, VALUE_SCALAR }; /* {...} [...] "..." or a run of letters and digits */

/* What becomes of a value. */
enum { TARGET_SKIP, TARGET_ITEM, TARGET_KIND, TARGET_METADATA, TARGET_NO_ITEMS };

/* The bytes of one call. */
struct run {
	const char *p, *end;
	const char *kept_from; /* the value being read, as far as these bytes have it */
	bool stopped;          /* by the receiver, which may have freed the stream */
};

void json_stream_init(struct json_stream *stream, enum json_stream_mode mode,
		      const struct json_stream_limits *limits, json_stream_fn *fn, void *ctx)
{
	*stream = (struct json_stream){
	    .limits = limits ? limits : &json_stream_default_limits,
	    .fn = fn,
	    .ctx = ctx,
	    .mode = mode,
	    .expect = EXPECT_OBJECT,
	};
}

void json_stream_done(struct json_stream *stream)
{
	buf_done(&stream->held);
	buf_done(&stream->kind);
	buf_done(&stream->metadata);
}

static int fail(struct json_stream *stream, int code, const char *why)
{
	stream->failed = code;
	stream->why = why;
	return code;
}

static int refuse(struct json_stream *stream, const char *why)
{
	return fail(stream, -EBADMSG, why);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static bool is_scalar(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
	       c == '+' || c == '.';
}

static size_t target_max_bytes(const struct json_stream *stream)
{
	switch (stream->target) {
	case TARGET_ITEM:
		return stream->limits->item_bytes;
	case TARGET_METADATA:
		return METADATA_MAX_BYTES;
	default:
		return KIND_MAX_BYTES;
	}
}

/* ---- inside a value ---- */

static int open_bracket(struct json_stream *stream, bool object)
{
	unsigned depth_max =
	    stream->limits->depth < JSON_STREAM_DEPTH_MAX ? stream->limits->depth : JSON_STREAM_DEPTH_MAX;
	if (stream->depth >= depth_max)
		return refuse(stream, "nested too deep");
	uint64_t bit = UINT64_C(1) << (stream->depth % 64);
	if (object)
		stream->objects[stream->depth / 64] |= bit;
	else
		stream->objects[stream->depth / 64] &= ~bit;
	stream->depth++;
	return 0;
}

static int close_bracket(struct json_stream *stream, bool object)
{
	if (stream->depth == 0)
		return refuse(stream, "a bracket closes that was never opened");
	stream->depth--;
	if ((bool)(stream->objects[stream->depth / 64] >> (stream->depth % 64) & 1) != object)
		return refuse(stream, "brackets do not match");
	return 0;
}

static int step_in_string(struct json_stream *stream, char c)
{
	if (stream->escaped)
		stream->escaped = false;
	else if (c == '\\')
		stream->escaped = true;
	else if (c == '"')
		stream->in_string = false;
	if ((unsigned char)c < 0x20)
		return refuse(stream, "a control character in a string");
	return 0;
}

static int step_in_brackets(struct json_stream *stream, char c)
{
	switch (c) {
	case '"':
		stream->in_string = true;
		return 0;
	case '{':
	case '[':
		return open_bracket(stream, c == '{');
	case '}':
	case ']':
		return close_bracket(stream, c == '}');
	default:
		return 0;
	}
}

/* Moves over the value; *ret_complete when its last byte was reached. */
static int scan_enclosed(struct json_stream *stream, struct run *run, bool *ret_complete)
{
	while (run->p < run->end) {
		char c = *run->p++;
		int r = stream->in_string ? step_in_string(stream, c) : step_in_brackets(stream, c);
		if (r < 0)
			return r;
		if (!stream->in_string && stream->depth == 0) {
			*ret_complete = true;
			return 0;
		}
	}
	return 0;
}

static void scan_scalar(struct run *run, bool *ret_complete)
{
	while (run->p < run->end && is_scalar(*run->p))
		run->p++;
	*ret_complete = run->p < run->end;
}

/* ---- a value's end ---- */

/* Puts what this call's bytes have of the value behind what earlier ones had. */
static int hold(struct json_stream *stream, struct run *run)
{
	size_t len = (size_t)(run->p - run->kept_from);
	if (buf_len(&stream->held) + len > target_max_bytes(stream))
		return refuse(stream, "too large");
	if (buf_append(&stream->held, run->kept_from, len) < 0)
		return fail(stream, -ENOMEM, "out of memory");
	run->kept_from = run->p;
	return 0;
}

static int move_held(struct json_stream *stream, struct run *run, struct buf *to)
{
	int r = hold(stream, run);
	if (r < 0)
		return r;
	*to = stream->held;
	stream->held = (struct buf){0};
	return 0;
}

static int give_item(struct json_stream *stream, struct run *run)
{
	struct str item = {run->kept_from, (size_t)(run->p - run->kept_from)};
	if (buf_len(&stream->held) > 0) {
		int r = hold(stream, run);
		if (r < 0)
			return r;
		item = buf_str(&stream->held);
	} else if (item.len > stream->limits->item_bytes) {
		return refuse(stream, "too large");
	}
	int r = stream->fn(stream->ctx, item);
	run->stopped = r != 0;
	if (run->stopped)
		return r;
	if (stream->held.size > HELD_KEEP_BYTES)
		buf_done(&stream->held);
	else
		buf_clear(&stream->held);
	return 0;
}

static int finish_value(struct json_stream *stream, struct run *run)
{
	int r = 0;
	switch (stream->target) {
	case TARGET_ITEM:
		stream->expect =
		    stream->mode == JSON_STREAM_OBJECTS ? EXPECT_OBJECT : EXPECT_ITEM_COMMA_OR_END;
		return give_item(stream, run);
	case TARGET_KIND:
		r = move_held(stream, run, &stream->kind);
		break;
	case TARGET_METADATA:
		r = move_held(stream, run, &stream->metadata);
		break;
	case TARGET_NO_ITEMS:
		r = hold(stream, run);
		if (r == 0 && !str_is(buf_str(&stream->held), "null"))
			r = refuse(stream, "items is not an array");
		buf_clear(&stream->held);
		break;
	default:
		break;
	}
	stream->expect = EXPECT_COMMA_OR_END;
	return r;
}

static int scan_value(struct json_stream *stream, struct run *run)
{
	bool complete = false;
	int r = 0;
	if (stream->value_type == VALUE_ENCLOSED)
		r = scan_enclosed(stream, run, &complete);
	else
		scan_scalar(run, &complete);
	if (r < 0)
		return r;
	return complete ? finish_value(stream, run) : 0;
}

/* ---- the frame around values ---- */

static int begin_value(struct json_stream *stream, struct run *run, char c)
{
	run->kept_from = run->p - 1;
	stream->depth = 0;
	stream->in_string = stream->escaped = false;
	stream->expect = EXPECT_REST_OF_VALUE;
	if (c == '{' || c == '[' || c == '"') {
		stream->value_type = VALUE_ENCLOSED;
		return step_in_brackets(stream, c);
	}
	stream->value_type = VALUE_SCALAR;
	return is_scalar(c) ? 0 : refuse(stream, "expected a value");
}

static int begin_item(struct json_stream *stream, struct run *run, char c)
{
	if (c != '{')
		return refuse(stream, "expected an object");
	stream->target = TARGET_ITEM;
	return begin_value(stream, run, c);
}

static int step_key(struct json_stream *stream, char c)
{
	if (c == '"') {
		stream->expect = EXPECT_COLON;
		return 0;
	}
	if (c == '\\' || (unsigned char)c < 0x20)
		return refuse(stream, "an escape in a key of the list");
	if (stream->key_len < sizeof(stream->key))
		stream->key[stream->key_len] = c;
	stream->key_len++;
	return 0;
}

static bool key_is(const struct json_stream *stream, const char *name)
{
	return stream->key_len <= sizeof(stream->key) &&
	       str_is((struct str){stream->key, stream->key_len}, name);
}

static int once(struct json_stream *stream, bool *seen)
{
	if (*seen)
		return refuse(stream, "a key of the list comes twice");
	*seen = true;
	return 0;
}

static int begin_member(struct json_stream *stream, struct run *run, char c)
{
	int r = 0;
	stream->target = TARGET_SKIP;
	if (key_is(stream, "items")) {
		stream->target = TARGET_NO_ITEMS;
		r = once(stream, &stream->seen_items);
		if (r == 0 && c == '[') {
			stream->expect = EXPECT_ITEM_OR_END;
			return 0;
		}
		if (r == 0 && !is_scalar(c))
			r = refuse(stream, "items is not an array");
	} else if (key_is(stream, "kind")) {
		stream->target = TARGET_KIND;
		r = c == '"' ? once(stream, &stream->seen_kind) : refuse(stream, "kind is not a string");
	} else if (key_is(stream, "metadata")) {
		stream->target = TARGET_METADATA;
		r = c == '{' ? once(stream, &stream->seen_metadata)
			     : refuse(stream, "metadata is not an object");
	}
	return r < 0 ? r : begin_value(stream, run, c);
}

static int begin_key(struct json_stream *stream, char c)
{
	if (c == '}' && stream->expect == EXPECT_KEY_OR_END) {
		stream->expect = EXPECT_NOTHING;
		return 0;
	}
	if (c != '"')
		return refuse(stream, "expected a key");
	stream->key_len = 0;
	stream->expect = EXPECT_REST_OF_KEY;
	return 0;
}

static int begin_object(struct json_stream *stream, struct run *run, char c)
{
	if (stream->mode == JSON_STREAM_OBJECTS)
		return begin_item(stream, run, c);
	if (c != '{')
		return refuse(stream, "expected an object");
	stream->expect = EXPECT_KEY_OR_END;
	return 0;
}

/* After a value: a comma leads to one thing, the closing bracket to another. */
static int step_after(struct json_stream *stream, char c, char closing, uint8_t after_comma,
		      uint8_t after_closing)
{
	if (c != ',' && c != closing)
		return refuse(stream, "expected a comma or a closing bracket");
	stream->expect = c == ',' ? after_comma : after_closing;
	return 0;
}

static int step_frame(struct json_stream *stream, struct run *run)
{
	char c = *run->p++;
	if (stream->expect == EXPECT_REST_OF_KEY)
		return step_key(stream, c);
	if (is_space(c))
		return 0;
	switch (stream->expect) {
	case EXPECT_OBJECT:
		return begin_object(stream, run, c);
	case EXPECT_KEY_OR_END:
	case EXPECT_KEY:
		return begin_key(stream, c);
	case EXPECT_COLON:
		stream->expect = EXPECT_VALUE;
		return c == ':' ? 0 : refuse(stream, "expected a colon");
	case EXPECT_VALUE:
		return begin_member(stream, run, c);
	case EXPECT_COMMA_OR_END:
		return step_after(stream, c, '}', EXPECT_KEY, EXPECT_NOTHING);
	case EXPECT_ITEM_OR_END:
		if (c == ']') {
			stream->expect = EXPECT_COMMA_OR_END;
			return 0;
		}
		return begin_item(stream, run, c);
	case EXPECT_ITEM:
		return begin_item(stream, run, c);
	case EXPECT_ITEM_COMMA_OR_END:
		return step_after(stream, c, ']', EXPECT_ITEM, EXPECT_COMMA_OR_END);
	default:
		return refuse(stream, "text after the list's end");
	}
}

/* ---- the outside ---- */

static int report(const struct json_stream *stream, struct err *err)
{
	return err_set(err, stream->failed, "not the JSON expected: byte %llu: %s",
		       (unsigned long long)stream->offset, stream->why);
}

static int read_run(struct json_stream *stream, struct run *run)
{
	while (run->p < run->end) {
		int r = stream->expect == EXPECT_REST_OF_VALUE ? scan_value(stream, run)
							       : step_frame(stream, run);

		if (r != 0)
			return r;
	}
	bool unfinished = stream->expect == EXPECT_REST_OF_VALUE && stream->target != TARGET_SKIP;

	return unfinished ? hold(stream, run) : 0;
}

int json_stream_feed(struct json_stream *stream, struct str bytes, struct err *err)
{
	struct run run = {.p = bytes.p, .end = bytes.p + bytes.len, .kept_from = bytes.p};

	if (stream->failed < 0)
		return report(stream, err);
	int r = read_run(stream, &run);

	if (run.stopped)
		return r;
	stream->offset += (uint64_t)(run.p - bytes.p);
	return r < 0 ? report(stream, err) : 0;
}

int json_stream_end(struct json_stream *stream, struct err *err)
{
	uint8_t last = stream->mode == JSON_STREAM_OBJECTS ? EXPECT_OBJECT : EXPECT_NOTHING;
	if (stream->failed == 0 && stream->expect != last)
		refuse(stream, "it ends in the middle");
	if (stream->failed == 0 && stream->mode == JSON_STREAM_LIST && !stream->seen_items)
		refuse(stream, "a list without items");
	return stream->failed < 0 ? report(stream, err) : 0;
}

static const char *string_member(const struct node *map, const char *key, const char *absent)
{
	const struct node *value = node_get(map, key);
	return value && value->type == NODE_STRING ? value->text.p : absent;
}

int json_stream_list_meta(const struct json_stream *stream, struct arena *arena, struct json_list_meta *ret,
			  struct err *err)
{
	struct node *kind = NULL, *metadata = NULL;
	struct str text = buf_str(&stream->metadata);
	int r = node_parse_json(arena, text.p, text.len, &metadata, err);
	if (r < 0)
		return err_wrap(err, r, "the list's metadata");
	text = buf_str(&stream->kind);
	r = stream->seen_kind ? node_parse_json(arena, text.p, text.len, &kind, err) : 0;
	if (r < 0)
		return err_wrap(err, r, "the list's kind");
	struct json_list_meta meta = {
	    .kind = kind ? kind->text.p : "",
	    .resource_version = string_member(metadata, "resourceVersion", ""),
	    .continue_token = string_member(metadata, "continue", ""),
	};
	if (meta.resource_version[0] == '\0')
		return err_set(err, -EBADMSG, "the list has no metadata.resourceVersion");
	*ret = meta;
	return 0;
}
