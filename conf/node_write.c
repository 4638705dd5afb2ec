/* Trees built in an arena, and two writers: libyaml's emitter, and JSON by hand. */
#include "conf/node_write.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <yaml.h>

/* ---- building ---- */

static struct node *new_node(struct arena *arena, enum node_type type, struct str text)
{
	struct node *node = arena_alloc(arena, sizeof(*node));
	char *copy = node ? arena_dup(arena, text) : NULL;

	if (!copy)
		return NULL;
	node->type = type;
	node->text = (struct str){copy, text.len};
	return node;
}

struct node *node_new_map(struct arena *arena)
{
	return new_node(arena, NODE_MAP, STR_LIT(""));
}

struct node *node_new_list(struct arena *arena)
{
	return new_node(arena, NODE_LIST, STR_LIT(""));
}

struct node *node_new_string(struct arena *arena, struct str text)
{
	return new_node(arena, NODE_STRING, text);
}

struct node *node_new_int(struct arena *arena, int64_t value)
{
	char text[32];
	struct node *node;

	(void)snprintf(text, sizeof(text), "%" PRId64, value);
	node = new_node(arena, NODE_INT, str_of(text));
	if (node)
		node->integer = value;
	return node;
}

struct node *node_new_bool(struct arena *arena, bool value)
{
	struct node *node = new_node(arena, NODE_BOOL, str_of(value ? "true" : "false"));

	if (node)
		node->boolean = value;
	return node;
}

/* Documents made here are small: a list grows by one. */
static void *grown(struct arena *arena, const void *items, size_t count, size_t item_bytes)
{
	void *room = arena_array(arena, count + 1, item_bytes);

	if (room && count > 0)
		memcpy(room, items, count * item_bytes);
	return room;
}

int node_add_entry(struct arena *arena, struct node *map, const char *key, struct node *value)
{
	char *copy = arena_dup(arena, str_of(key));
	struct node_entry *entries =
	    map && value ? grown(arena, map->entries, map->count, sizeof(*entries)) : NULL;

	if (!entries || !copy)
		return -ENOMEM;
	entries[map->count++] = (struct node_entry){.key = str_of(copy), .value = value};
	map->entries = entries;
	return 0;
}

int node_add_item(struct arena *arena, struct node *list, struct node *value)
{
	struct node **items =
	    list && value ? grown(arena, list->items, list->count, sizeof(struct node *)) : NULL;

	if (!items)
		return -ENOMEM;
	items[list->count++] = value;
	list->items = items;
	return 0;
}

/* ---- YAML ---- */

struct yaml_writer {
	yaml_emitter_t emitter;
	bool failed;
};

static void emit(struct yaml_writer *writer, yaml_event_t *event, int made)
{
	if (!made || writer->failed || !yaml_emitter_emit(&writer->emitter, event))
		writer->failed = true;
}

static void emit_scalar(struct yaml_writer *writer, struct str text, bool is_string)
{
	yaml_event_t event;
	yaml_scalar_style_t style = is_string ? YAML_DOUBLE_QUOTED_SCALAR_STYLE : YAML_PLAIN_SCALAR_STYLE;

	emit(writer, &event,
	     yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)text.p, (int)text.len, 1,
					  1, style));
}

static void emit_node(struct yaml_writer *writer, const struct node *node)
{
	yaml_event_t event;

	switch (node->type) {
	case NODE_NULL:
		emit_scalar(writer, STR_LIT("null"), false);
		break;
	case NODE_BOOL:
	case NODE_INT:
	case NODE_FLOAT:
	case NODE_STRING:
		emit_scalar(writer, node->text, node->type == NODE_STRING);
		break;
	case NODE_LIST:
		emit(writer, &event,
		     yaml_sequence_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_SEQUENCE_STYLE));
		for (size_t i = 0; i < node->count && !writer->failed; i++)
			emit_node(writer, node->items[i]);
		emit(writer, &event, yaml_sequence_end_event_initialize(&event));
		break;
	case NODE_MAP:
		emit(writer, &event,
		     yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE));
		for (size_t i = 0; i < node->count && !writer->failed; i++) {
			emit_scalar(writer, node->entries[i].key, false);
			emit_node(writer, node->entries[i].value);
		}
		emit(writer, &event, yaml_mapping_end_event_initialize(&event));
		break;
	}
}

static int write_bytes(void *ctx, unsigned char *bytes, size_t len)
{
	return buf_append(ctx, bytes, len) == 0;
}

int node_write_yaml(const struct node *node, struct buf *out)
{
	struct yaml_writer writer = {0};
	yaml_event_t event;

	if (!yaml_emitter_initialize(&writer.emitter))
		return -ENOMEM;
	yaml_emitter_set_output(&writer.emitter, write_bytes, out);
	yaml_emitter_set_unicode(&writer.emitter, 1);
	emit(&writer, &event, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING));
	emit(&writer, &event, yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1));
	emit_node(&writer, node);
	emit(&writer, &event, yaml_document_end_event_initialize(&event, 1));
	emit(&writer, &event, yaml_stream_end_event_initialize(&event));
	yaml_emitter_delete(&writer.emitter);
	return writer.failed ? -ENOMEM : 0;
}

/* ---- JSON ---- */

static void append_string(struct buf *out, struct str text)
{
	(void)buf_append_char(out, '"');
	(void)buf_append_json(out, text);
	(void)buf_append_char(out, '"');
}

static void append_node(struct buf *out, const struct node *node)
{
	switch (node->type) {
	case NODE_NULL:
		(void)buf_append_text(out, "null");
		break;
	case NODE_BOOL:
	case NODE_INT:
	case NODE_FLOAT:
		(void)buf_append_str(out, node->text);
		break;
	case NODE_STRING:
		append_string(out, node->text);
		break;
	case NODE_LIST:
		(void)buf_append_char(out, '[');
		for (size_t i = 0; i < node->count; i++) {
			(void)buf_append_text(out, i ? "," : "");
			append_node(out, node->items[i]);
		}
		(void)buf_append_char(out, ']');
		break;
	case NODE_MAP:
		(void)buf_append_char(out, '{');
		for (size_t i = 0; i < node->count; i++) {
			(void)buf_append_text(out, i ? "," : "");
			append_string(out, node->entries[i].key);
			(void)buf_append_char(out, ':');
			append_node(out, node->entries[i].value);
		}
		(void)buf_append_char(out, '}');
		break;
	}
}

int node_write_json(const struct node *node, struct buf *out)
{
	append_node(out, node);
	return buf_failed(out) ? -ENOMEM : 0;
}
