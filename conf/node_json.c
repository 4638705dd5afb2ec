/* JSON text to a node tree, through jansson. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "conf/node.h"

struct json_build {
	struct arena *arena;
	size_t node_count;
	struct err *err;
};

static void json_decref_p(json_t **json)
{
	json_decref(*json);
}

static int build(struct json_build *state, json_t *json, unsigned depth, struct node **ret);

static int build_list(struct json_build *state, json_t *json, unsigned depth, struct node *node)
{
	size_t index;
	json_t *item;

	node->type = NODE_LIST;
	node->count = json_array_size(json);
	node->items = arena_array(state->arena, node->count, sizeof(struct node *));
	if (!node->items)
		return -ENOMEM;
	json_array_foreach(json, index, item)
	{
		int rc = build(state, item, depth + 1, &node->items[index]);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int build_map(struct json_build *state, json_t *json, unsigned depth, struct node *node)
{
	const char *key;
	json_t *value;
	size_t index = 0;

	node->type = NODE_MAP;
	node->count = json_object_size(json);
	node->entries = arena_array(state->arena, node->count, sizeof(struct node_entry));
	if (!node->entries)
		return -ENOMEM;
	json_object_foreach(json, key, value)
	{
		struct node_entry *entry = &node->entries[index++];
		struct str key_str = str_of(key);
		int rc;

		entry->key = (struct str){arena_dup(state->arena, key_str), key_str.len};
		if (!entry->key.p)
			return -ENOMEM;
		rc = build(state, value, depth + 1, &entry->value);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int build_text(struct json_build *state, enum node_type type, struct str text, struct node *node)
{
	node->type = type;
	node->text = (struct str){arena_dup(state->arena, text), text.len};
	return node->text.p ? 0 : -ENOMEM;
}

static int build_integer(struct json_build *state, json_int_t integer, struct node *node)
{
	char text[32];

	snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, integer);
	node->integer = integer;
	return build_text(state, NODE_INT, str_of(text), node);
}

static int build_real(struct json_build *state, double real, struct node *node)
{
	char text[64];

	snprintf(text, sizeof(text), "%.17g", real);
	node->real = real;
	return build_text(state, NODE_FLOAT, str_of(text), node);
}

static int build(struct json_build *state, json_t *json, unsigned depth, struct node **ret)
{
	struct node *node;

	if (depth > NODE_DEPTH_MAX)
		return err_set(state->err, -EBADMSG, "nested deeper than %d levels", NODE_DEPTH_MAX);
	if (++state->node_count > NODE_COUNT_MAX)
		return err_set(state->err, -EBADMSG, "more than %zu values", NODE_COUNT_MAX);
	node = arena_alloc(state->arena, sizeof(*node));
	if (!node)
		return -ENOMEM;
	*ret = node;
	node->text = STR_LIT("");
	switch (json_typeof(json)) {
	case JSON_OBJECT:
		return build_map(state, json, depth, node);
	case JSON_ARRAY:
		return build_list(state, json, depth, node);
	case JSON_STRING:
		return build_text(state, NODE_STRING,
				  (struct str){json_string_value(json), json_string_length(json)}, node);
	case JSON_INTEGER:
		return build_integer(state, json_integer_value(json), node);
	case JSON_REAL:
		return build_real(state, json_real_value(json), node);
	case JSON_TRUE:
		node->boolean = true;
		return build_text(state, NODE_BOOL, STR_LIT("true"), node);
	case JSON_FALSE:
		return build_text(state, NODE_BOOL, STR_LIT("false"), node);
	case JSON_NULL:
		return build_text(state, NODE_NULL, STR_LIT("null"), node);
	}
	return -EBADMSG;
}

/* jansson quotes what stands there ("... near 'x'"), which may be part of a key or password: cut off. */
static int syntax_error(const json_error_t *error, struct err *err)
{
	const char *near = strstr(error->text, " near ");
	int len = near ? (int)(near - error->text) : (int)strlen(error->text);

	return err_set(err, -EBADMSG, "line %d: %.*s", error->line, len, error->text);
}

int node_parse_json(struct arena *arena, const char *text, size_t len_bytes, struct node **ret,
		    struct err *err)
{
	struct json_build state = {.arena = arena, .err = err};
	struct node *node;
	json_error_t error;
	json_t *json cleanup(json_decref_p) =
	    json_loadb(text, len_bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
	int rc;

	if (!json) {
		if (json_error_code(&error) == json_error_out_of_memory)
			return -ENOMEM;
		return syntax_error(&error, err);
	}
	rc = build(&state, json, 1, &node);
	if (rc == 0)
		*ret = node;
	return rc;
}
