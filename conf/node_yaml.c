/* YAML text to node trees, through libyaml's events, one document at a time.
 *
 * A document is read by descending: build() takes the event a value begins with and consumes the rest of it.
 * The children of unfinished lists and maps wait on one stack (`pending`), innermost last.
 *
 * The text is cut into documents before it is parsed, as kubectl does it, so that an unreadable one costs itself
 * only. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "base/cleanup.h"
#include "base/map.h"
#include "conf/node.h"
#include "conf/node_scalar.h"

#define MERGED_MAPS_MAX 64

struct node_yaml {
	struct str piece;          /* the text being parsed: one document, mostly */
	struct str rest;           /* the text after it */
	int piece_line, rest_line; /* where they begin */
	int error_line;            /* where the last error was found */
	size_t node_count;         /* of the current document, aliases expanded */
	struct arena arena;        /* of the current document */
	struct map anchors;        /* of the current document: name -> struct built */
	struct node_entry *pending;
	size_t pending_count, pending_size;
	yaml_parser_t parser;
	bool parsing; /* parser is initialised */
	struct err *err;
};

/* A finished value, and what using it once more by an alias would cost. */
struct built {
	struct node *node;
	size_t node_count;
	unsigned depth; /* levels, 1 for a scalar */
};

static int line_of(const struct node_yaml *yaml, yaml_mark_t mark)
{
	return yaml->piece_line + (int)mark.line;
}

/* ---- errors ---- */

static int fail(struct node_yaml *yaml, int line, const char *why)
{
	yaml->error_line = line;
	(void)err_set(yaml->err, -EBADMSG, "%s", why);
	return -EBADMSG;
}

/* The reader (encoding errors) knows the byte only. */
static int line_of_byte(const struct node_yaml *yaml, size_t offset)
{
	int line = yaml->piece_line;

	for (size_t i = 0; i < offset && i < yaml->piece.len; i++)
		line += yaml->piece.p[i] == '\n';
	return line;
}

static int parser_failed(struct node_yaml *yaml)
{
	const yaml_parser_t *parser = &yaml->parser;
	const char *problem = parser->problem ? parser->problem : "unreadable";

	if (parser->error == YAML_MEMORY_ERROR)
		return -ENOMEM;
	if (parser->error == YAML_READER_ERROR)
		return fail(yaml, line_of_byte(yaml, parser->problem_offset), problem);
	yaml->error_line = line_of(yaml, parser->problem_mark);
	if (!parser->context)
		return err_set(yaml->err, -EBADMSG, "%s", problem);
	return err_set(yaml->err, -EBADMSG, "%s: %s", parser->context, problem);
}

static int next_event(struct node_yaml *yaml, yaml_event_t *ret)
{
	return yaml_parser_parse(&yaml->parser, ret) ? 0 : parser_failed(yaml);
}

/* ---- values ---- */

static int count_nodes(struct node_yaml *yaml, size_t count, unsigned depth, yaml_mark_t mark)
{
	if (depth > NODE_DEPTH_MAX)
		return fail(yaml, line_of(yaml, mark), "nested too deeply");
	yaml->node_count += count;
	if (yaml->node_count > NODE_COUNT_MAX)
		return fail(yaml, line_of(yaml, mark), "too many values in one document");
	return 0;
}

static struct node *node_new(struct node_yaml *yaml, enum node_type type, yaml_mark_t mark)
{
	struct node *node = arena_alloc(&yaml->arena, sizeof(*node));

	if (!node)
		return NULL;
	node->type = type;
	node->line = line_of(yaml, mark);
	node->text = STR_LIT("");
	return node;
}

static int pending_push(struct node_yaml *yaml, struct str key, int line, struct node *value)
{
	if (yaml->pending_count == yaml->pending_size) {
		size_t size = yaml->pending_size ? yaml->pending_size * 2 : 64;
		struct node_entry *pending = reallocarray(yaml->pending, size, sizeof(*pending));
		if (!pending)
			return -ENOMEM;
		yaml->pending = pending;
		yaml->pending_size = size;
	}
	yaml->pending[yaml->pending_count++] = (struct node_entry){key, line, value};
	return 0;
}

static int remember_anchor(struct node_yaml *yaml, const yaml_char_t *anchor, const struct built *built)
{
	struct built *copy;

	if (!anchor)
		return 0;
	copy = arena_alloc(&yaml->arena, sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	*copy = *built;
	return map_set(&yaml->anchors, str_of((const char *)anchor), copy, NULL);
}

static int build_alias(struct node_yaml *yaml, const yaml_event_t *event, unsigned depth, struct built *ret)
{
	const struct built *built = map_get(&yaml->anchors, str_of((const char *)event->data.alias.anchor));
	int rc;

	if (!built)
		return fail(yaml, line_of(yaml, event->start_mark),
			    "an alias to nothing that stands before it");
	rc = count_nodes(yaml, built->node_count, depth + built->depth - 1, event->start_mark);
	if (rc == 0)
		*ret = *built;
	return rc;
}

static int copy_text(struct node_yaml *yaml, const yaml_event_t *event, struct str *ret)
{
	struct str text = {(const char *)event->data.scalar.value, event->data.scalar.length};
	char *copy;

	if (memchr(text.p, '\0', text.len))
		return fail(yaml, line_of(yaml, event->start_mark), "a NUL character in a string");
	copy = arena_dup(&yaml->arena, text);
	if (!copy)
		return -ENOMEM;
	*ret = (struct str){copy, text.len};
	return 0;
}

static bool is_plain(const yaml_event_t *event)
{
	return event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && event->data.scalar.plain_implicit;
}

static bool is_resolved_by_text(const char *tag)
{
	return strcmp(tag, YAML_INT_TAG) == 0 || strcmp(tag, YAML_FLOAT_TAG) == 0 ||
	       strcmp(tag, YAML_BOOL_TAG) == 0 || strcmp(tag, YAML_NULL_TAG) == 0;
}

static int build_scalar(struct node_yaml *yaml, const yaml_event_t *event, struct built *ret)
{
	const char *tag = (const char *)event->data.scalar.tag;
	struct node *node = node_new(yaml, NODE_STRING, event->start_mark);
	int rc;

	if (!node)
		return -ENOMEM;
	rc = copy_text(yaml, event, &node->text);
	if (rc != 0)
		return rc;
	if (is_plain(event) || (tag && is_resolved_by_text(tag)))
		node_scalar_resolve(node);
	else if (tag && strcmp(tag, YAML_STR_TAG) != 0 && strcmp(tag, "!") != 0)
		return fail(yaml, node->line, "a tag that is not understood");
	*ret = (struct built){node, 1, 1};
	return remember_anchor(yaml, event->data.scalar.anchor, ret);
}

static int build(struct node_yaml *yaml, const yaml_event_t *event, unsigned depth, struct built *ret);

/* A list's or map's cost grows with each child. */
static void add_child(struct built *parent, const struct built *child)
{
	parent->node_count += child->node_count;
	if (parent->depth < child->depth + 1)
		parent->depth = child->depth + 1;
}

static int build_list(struct node_yaml *yaml, const yaml_event_t *start, unsigned depth, struct built *ret)
{
	const size_t first = yaml->pending_count;
	struct node *node = node_new(yaml, NODE_LIST, start->start_mark);
	struct built built = {node, 1, 1};

	if (!node)
		return -ENOMEM;
	for (;;) {
		yaml_event_t event cleanup(yaml_event_delete) = {0};
		struct built item;
		int rc = next_event(yaml, &event);
		if (rc != 0)
			return rc;
		if (event.type == YAML_SEQUENCE_END_EVENT)
			break;
		rc = build(yaml, &event, depth + 1, &item);
		if (rc == 0)
			rc = pending_push(yaml, STR_LIT(""), item.node->line, item.node);
		if (rc != 0)
			return rc;
		add_child(&built, &item);
	}
	node->count = yaml->pending_count - first;
	node->items = arena_array(&yaml->arena, node->count, sizeof(struct node *));
	if (!node->items)
		return -ENOMEM;
	for (size_t i = 0; i < node->count; i++)
		node->items[i] = yaml->pending[first + i].value;
	yaml->pending_count = first;
	*ret = built;
	return remember_anchor(yaml, start->data.sequence_start.anchor, ret);
}

/* ---- maps ---- */

static int compare_entries(const void *a_void, const void *b_void)
{
	const struct node_entry *a = a_void, *b = b_void;
	int order = str_compare(a->key, b->key);

	return order != 0 ? order : a->line - b->line;
}

static void sort_entries(struct node_yaml *yaml, size_t first)
{
	if (yaml->pending_count > first)
		qsort(yaml->pending + first, yaml->pending_count - first, sizeof(struct node_entry),
		      compare_entries);
}

static int check_duplicates(struct node_yaml *yaml, size_t first)
{
	for (size_t i = first + 1; i < yaml->pending_count; i++) {
		const struct node_entry *entry = &yaml->pending[i];
		if (!str_equal(entry->key, entry[-1].key))
			continue;
		yaml->error_line = entry->line;
		return err_set(yaml->err, -EBADMSG, "the key \"%.100s\" stands twice, first in line %d",
			       entry->key.p, entry[-1].line);
	}
	return 0;
}

static int compare_key(const void *key, const void *entry)
{
	return str_compare(*(const struct str *)key, ((const struct node_entry *)entry)->key);
}

/* Adds what the map does not have itself. */
static int merge_map(struct node_yaml *yaml, size_t first, const struct node *source, int line)
{
	const size_t own_count = yaml->pending_count - first;

	if (source->type != NODE_MAP)
		return fail(yaml, line, "\"<<\" takes a map or a list of maps");
	for (size_t i = 0; i < source->count; i++) {
		const struct node_entry *entry = &source->entries[i];
		int rc;
		if (bsearch(&entry->key, yaml->pending + first, own_count, sizeof(struct node_entry),
			    compare_key))
			continue;
		rc = pending_push(yaml, entry->key, entry->line, entry->value);
		if (rc != 0)
			return rc;
	}
	sort_entries(yaml, first);
	return 0;
}

static int merge(struct node_yaml *yaml, size_t first, const struct node *source, int line)
{
	if (source->type != NODE_LIST)
		return merge_map(yaml, first, source, line);
	if (source->count > MERGED_MAPS_MAX)
		return fail(yaml, line, "too many maps to merge");
	for (size_t i = 0; i < source->count; i++) {
		int rc = merge_map(yaml, first, source->items[i], line);
		if (rc != 0)
			return rc;
	}
	return 0;
}

static int read_key(struct node_yaml *yaml, const yaml_event_t *event, struct node_entry *ret,
		    bool *ret_merge)
{
	*ret = (struct node_entry){.line = line_of(yaml, event->start_mark)};
	*ret_merge = false;
	if (event->type != YAML_SCALAR_EVENT)
		return fail(yaml, ret->line, "a key must be a plain value");
	*ret_merge =
	    event->data.scalar.plain_implicit && strcmp((const char *)event->data.scalar.value, "<<") == 0;
	return copy_text(yaml, event, &ret->key);
}

static int finish_map(struct node_yaml *yaml, size_t first, const struct node_entry *merged,
		      struct node *node)
{
	int rc;

	sort_entries(yaml, first);
	rc = check_duplicates(yaml, first);
	if (rc == 0 && merged->value)
		rc = merge(yaml, first, merged->value, merged->line);
	if (rc != 0)
		return rc;
	node->count = yaml->pending_count - first;
	node->entries = arena_array(&yaml->arena, node->count, sizeof(struct node_entry));
	if (!node->entries)
		return -ENOMEM;
	if (node->count > 0)
		memcpy(node->entries, yaml->pending + first, node->count * sizeof(struct node_entry));
	yaml->pending_count = first;
	return 0;
}

static int build_entry(struct node_yaml *yaml, const yaml_event_t *key_event, unsigned depth,
		       struct built *map, struct node_entry *merged)
{
	yaml_event_t event cleanup(yaml_event_delete) = {0};
	struct node_entry entry;
	struct built value;
	bool is_merge;
	int rc = read_key(yaml, key_event, &entry, &is_merge);

	if (rc == 0)
		rc = next_event(yaml, &event);
	if (rc == 0)
		rc = build(yaml, &event, depth + 1, &value);
	if (rc != 0)
		return rc;
	add_child(map, &value);
	if (!is_merge)
		return pending_push(yaml, entry.key, entry.line, value.node);
	if (merged->value)
		return fail(yaml, entry.line, "the key \"<<\" stands twice");
	entry.value = value.node;
	*merged = entry;
	return 0;
}

static int build_map(struct node_yaml *yaml, const yaml_event_t *start, unsigned depth, struct built *ret)
{
	const size_t first = yaml->pending_count;
	struct node *node = node_new(yaml, NODE_MAP, start->start_mark);
	struct built built = {node, 1, 1};
	struct node_entry merged = {0};
	int rc;

	if (!node)
		return -ENOMEM;
	for (;;) {
		yaml_event_t event cleanup(yaml_event_delete) = {0};
		rc = next_event(yaml, &event);
		if (rc != 0)
			return rc;
		if (event.type == YAML_MAPPING_END_EVENT)
			break;
		rc = build_entry(yaml, &event, depth, &built, &merged);
		if (rc != 0)
			return rc;
	}
	rc = finish_map(yaml, first, &merged, node);
	if (rc != 0)
		return rc;
	*ret = built;
	return remember_anchor(yaml, start->data.mapping_start.anchor, ret);
}

static int build(struct node_yaml *yaml, const yaml_event_t *event, unsigned depth, struct built *ret)
{
	int rc;

	if (event->type == YAML_ALIAS_EVENT)
		return build_alias(yaml, event, depth, ret);
	rc = count_nodes(yaml, 1, depth, event->start_mark);
	if (rc != 0)
		return rc;
	if (event->type == YAML_SCALAR_EVENT)
		return build_scalar(yaml, event, ret);
	if (event->type == YAML_SEQUENCE_START_EVENT)
		return build_list(yaml, event, depth, ret);
	return build_map(yaml, event, depth, ret);
}

/* ---- cutting ---- */

static bool is_marker(struct str line, const char *marker)
{
	return str_has_prefix(line, str_of(marker)) && (line.len == 3 || strchr(" \t\r", line.p[3]));
}

/* Blank lines, comments and directives may stand in front of a document's "---". */
static bool is_preamble(struct str line)
{
	struct str text = str_trim(line);

	return text.len == 0 || text.p[0] == '#' || line.p[0] == '%';
}

bool node_yaml_cut(struct str *rest, int *line, struct str *ret_document, int *ret_line)
{
	const char *start = rest->p, *end;
	bool begun = false, ended = false;

	if (rest->len == 0)
		return false;
	end = start + rest->len;
	*ret_line = *line;
	while (rest->len > 0 && !ended) {
		struct str text, next = str_cut(*rest, '\n', &text);
		if (begun && is_marker(text, "---"))
			break;
		begun |= !is_preamble(text);
		ended = is_marker(text, "...");
		*rest = next;
		*line += 1;
	}
	*ret_document = (struct str){start, (size_t)((rest->len > 0 ? rest->p : end) - start)};
	return true;
}

/* ---- documents ---- */

static void forget_document(struct node_yaml *yaml)
{
	arena_done(&yaml->arena);
	map_done(&yaml->anchors);
	yaml->pending_count = 0;
	yaml->node_count = 0;
}

static void parser_stop(struct node_yaml *yaml)
{
	if (yaml->parsing)
		yaml_parser_delete(&yaml->parser);
	yaml->parsing = false;
}

/* Begins with the next piece of text, if there is one (yaml->parsing). */
static int parser_start(struct node_yaml *yaml)
{
	if (!node_yaml_cut(&yaml->rest, &yaml->rest_line, &yaml->piece, &yaml->piece_line))
		return 0;
	if (!yaml_parser_initialize(&yaml->parser))
		return -ENOMEM;
	yaml->parsing = true;
	yaml_parser_set_encoding(&yaml->parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&yaml->parser, (const unsigned char *)yaml->piece.p, yaml->piece.len);
	return 0;
}

/* *ret: the next document's root, NULL at the end of the piece. */
static int read_document(struct node_yaml *yaml, struct node **ret)
{
	for (;;) {
		yaml_event_t event cleanup(yaml_event_delete) = {0};
		struct built built = {0};
		int rc = next_event(yaml, &event);
		if (rc != 0)
			return rc;
		if (event.type == YAML_STREAM_START_EVENT || event.type == YAML_DOCUMENT_START_EVENT ||
		    event.type == YAML_DOCUMENT_END_EVENT)
			continue;
		if (event.type != YAML_STREAM_END_EVENT)
			rc = build(yaml, &event, 1, &built);
		*ret = built.node;
		return rc;
	}
}

struct node_yaml *node_yaml_open(const char *text, size_t len_bytes)
{
	return node_yaml_open_at(text, len_bytes, 1);
}

struct node_yaml *node_yaml_open_at(const char *text, size_t len_bytes, int first_line)
{
	struct node_yaml *yaml = calloc(1, sizeof(*yaml));

	if (!yaml)
		return NULL;
	yaml->rest = (struct str){text, len_bytes};
	yaml->rest_line = first_line;
	return yaml;
}

struct node_yaml *node_yaml_close(struct node_yaml *yaml)
{
	if (!yaml)
		return NULL;
	parser_stop(yaml);
	forget_document(yaml);
	free(yaml->pending);
	free(yaml);
	return NULL;
}

int node_yaml_next(struct node_yaml *yaml, const struct node **ret, int *ret_line, struct err *err)
{
	yaml->err = err;
	for (;;) {
		struct node *node = NULL;
		int rc = yaml->parsing ? 0 : parser_start(yaml);
		if (rc != 0 || !yaml->parsing)
			return rc;
		forget_document(yaml);
		rc = read_document(yaml, &node);
		if (rc != 0 || !node)
			parser_stop(yaml);
		if (rc == -EBADMSG)
			*ret_line = yaml->error_line;
		if (rc != 0)
			return rc;
		if (node && node->type != NODE_NULL) {
			*ret = node;
			return 1;
		}
	}
}

DEFINE_CLEANUP(struct node_yaml *, node_yaml_close)

int node_parse_yaml(const char *text, size_t len_bytes, node_fn *fn, void *ctx, int *ret_line,
		    struct err *err)
{
	struct node_yaml *yaml cleanup(node_yaml_close_p) = node_yaml_open(text, len_bytes);
	int result = 0;

	if (!yaml)
		return -ENOMEM;
	for (;;) {
		const struct node *document = NULL;
		int line;
		struct err why;
		int rc = node_yaml_next(yaml, &document, &line, &why);
		if (rc == 0)
			return result;
		if (rc == -EBADMSG && result == 0) {
			result = err_set(err, rc, "%s", why.text);
			*ret_line = line;
		}
		if (rc == 1)
			rc = fn(ctx, document);
		else if (rc == -EBADMSG)
			rc = 0;
		if (rc != 0)
			return rc;
	}
}
