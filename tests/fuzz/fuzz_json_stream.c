/* Any bytes into conf/json_stream, whole and in pieces chosen by the input: the same must come out. */
/* LINK: conf/json_stream.c conf/node.c conf/node_json.c */
/* LINK: base/buf.c base/str.c base/map.c base/arena.c base/err.c */
/* LIBS: -ljansson -lxxhash */
#include <stdlib.h>

#include "conf/json_stream.h"

static const struct json_stream_limits limits = {.item_bytes = 512, .depth = 16};

struct outcome {
	struct buf items;
	int fed, ended;
	struct json_list_meta meta;
	struct arena arena;
};

static int take(void *ctx, struct str item)
{
	struct outcome *outcome = ctx;

	if (item.len == 0 || item.len > limits.item_bytes || item.p[0] != '{' || item.p[item.len - 1] != '}')
		abort();
	buf_append_str(&outcome->items, item);
	buf_append_char(&outcome->items, '|');
	return 0;
}

/* Piece lengths come from the text's own bytes; whole: one piece. */
static void run(struct outcome *outcome, enum json_stream_mode mode, struct str text, bool whole)
{
	struct json_stream stream;

	json_stream_init(&stream, mode, &limits, take, outcome);
	for (size_t at = 0, len; at < text.len && outcome->fed == 0; at += len) {
		len = whole ? text.len : 1 + (unsigned char)text.p[at] % 7;
		if (len > text.len - at)
			len = text.len - at;
		outcome->fed = json_stream_feed(&stream, (struct str){text.p + at, len}, NULL);
	}
	outcome->ended = json_stream_end(&stream, NULL);
	if (mode == JSON_STREAM_LIST && outcome->ended == 0)
		outcome->ended = json_stream_list_meta(&stream, &outcome->arena, &outcome->meta, NULL);
	json_stream_done(&stream);
}

static void expect_same(const struct outcome *a, const struct outcome *b)
{
	if (!str_equal(buf_str(&a->items), buf_str(&b->items)) || a->fed != b->fed || a->ended != b->ended)
		abort();
	if (a->meta.kind && strcmp(a->meta.kind, b->meta.kind) != 0)
		abort();
	if (a->meta.kind && strcmp(a->meta.resource_version, b->meta.resource_version) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	if (len_bytes == 0)
		return 0;
	enum json_stream_mode mode = data[0] == 'L' ? JSON_STREAM_LIST : JSON_STREAM_OBJECTS;
	struct str text = {(const char *)data + 1, len_bytes - 1};
	struct outcome whole = {0}, pieces = {0};

	run(&whole, mode, text, true);
	run(&pieces, mode, text, false);
	expect_same(&whole, &pieces);
	buf_done(&whole.items);
	buf_done(&pieces.items);
	arena_done(&whole.arena);
	arena_done(&pieces.arena);
	return 0;
}
