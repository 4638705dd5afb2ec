/* From documents to objects: which kind a document is, lists taken apart, and the two passes of a decoding.
 *
 * An object is decoded twice: once to judge it (complaints) and to learn how much memory it takes, once more
 * into one piece of exactly that size. Tens of thousands of small objects stay small so. */
#include "conf/decode.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "conf/decode_kinds.h"

#define API_VERSIONS_MAX 3

struct decoder {
	const char *api_versions[API_VERSIONS_MAX]; /* "group/version" */
	decode_kind_fn *decode;
};

static const struct decoder decoders[KIND_COUNT] = {
    [KIND_SERVICE] = {{"v1"}, decode_service},
    [KIND_ENDPOINTS] = {{"v1"}, decode_endpoints},
    [KIND_ENDPOINTSLICE] = {{"discovery.k8s.io/v1", "discovery.k8s.io/v1beta1"}, decode_endpointslice},
    [KIND_INGRESS] = {{"networking.k8s.io/v1", "networking.k8s.io/v1beta1", "extensions/v1beta1"},
		      decode_ingress},
    [KIND_INGRESSCLASS] = {{"networking.k8s.io/v1", "networking.k8s.io/v1beta1"}, decode_ingress_class},
    [KIND_SECRET] = {{"v1"}, decode_secret},
    [KIND_CONFIGMAP] = {{"v1"}, decode_config_map},
    [KIND_NAMESPACE] = {{"v1"}, decode_namespace},
    [KIND_NODE] = {{"v1"}, decode_node_object},
    [KIND_SERVICECIDR] = {{"networking.k8s.io/v1", "networking.k8s.io/v1beta1"}, decode_service_cidr},
    [KIND_LEASE] = {{"coordination.k8s.io/v1"}, decode_lease},
};

/* Where documents come from and objects go to: the same for all of a call. */
struct decoding {
	const struct decode_sink *sink;
	const char *file, *default_ns;
	bool unidentified; /* some document could not be told from any other */
};

/* ---- complaints about a document as a whole ---- */

static void complain_of_document(struct decoding *decoding, int line, const char *kind, const char *field,
				 const char *why)
{
	const struct decode_complaint complaint = {
	    .severity = DECODE_ERROR,
	    .file = decoding->file,
	    .line = line,
	    .kind = kind,
	    .ns = "",
	    .name = "",
	    .field = field,
	    .why = why,
	};

	decoding->unidentified = true;
	decoding->sink->complaint(decoding->sink->ctx, &complaint);
}

/* ---- one object ---- */

static void decode_fields(struct field_reader *reader, const struct node *node, const char *default_ns,
			  struct object *object)
{
	const struct field root = field_root(reader, node);

	decode_meta(&root, default_ns, object);
	decoders[object->kind].decode(&root, object);
}

/* 1 when the object is good, and then the memory it takes in *ret_bytes; 0 when it was complained of. */
static int judge(struct decoding *decoding, const struct node *node, enum kind kind, size_t *ret_bytes)
{
	struct object *trial = object_new(kind);
	struct field_reader reader = {
	    .sink = decoding->sink,
	    .file = decoding->file,
	    .kind = kind_name(kind),
	    .ns = "",
	    .name = "",
	};

	if (!trial)
		return -ENOMEM;
	reader.arena = &trial->arena;
	decode_fields(&reader, node, decoding->default_ns, trial);
	decoding->unidentified |= reader.failed && reader.name[0] == '\0';
	object_unref(trial);
	if (reader.out_of_memory)
		return -ENOMEM;
	*ret_bytes = reader.used_bytes;
	return !reader.failed;
}

static int decode_object(struct decoding *decoding, const struct node *node, enum kind kind)
{
	struct field_reader reader = {.file = decoding->file, .kind = kind_name(kind), .ns = "", .name = ""};
	struct object *object;
	int rc = judge(decoding, node, kind, &reader.room_bytes);

	if (rc <= 0)
		return rc;
	object = object_new_with_room(kind, reader.room_bytes, &reader.room);
	if (!object)
		return -ENOMEM;
	decode_fields(&reader, node, decoding->default_ns, object);
	if (decoding->file)
		object->content_hash = node_hash(node);
	decoding->sink->object(decoding->sink->ctx, object);
	return 0;
}

/* ---- which kind ---- */

static bool same_group(const char *api_version, struct str other)
{
	const char *slash = strchr(api_version, '/');
	struct str group = {api_version, slash ? (size_t)(slash - api_version) : 0};
	struct str other_group;
	struct str version = str_cut(other, '/', &other_group);

	return str_equal(group, version.p ? other_group : STR_LIT(""));
}

enum match { MATCH_NOT, MATCH_GROUP, MATCH_VERSION };

static enum match match_api_version(const struct decoder *decoder, struct str api_version)
{
	enum match match = MATCH_NOT;

	for (size_t i = 0; i < API_VERSIONS_MAX && decoder->api_versions[i]; i++) {
		if (str_is(api_version, decoder->api_versions[i]))
			return MATCH_VERSION;
		if (same_group(decoder->api_versions[i], api_version))
			match = MATCH_GROUP;
	}
	return match;
}

static int decode_of_kind(struct decoding *decoding, const struct node *node, struct str name,
			  struct str api_version)
{
	enum kind kind;

	if (!kind_from_name(name, &kind))
		return 0;
	switch (match_api_version(&decoders[kind], api_version)) {
	case MATCH_NOT:
		return 0;
	case MATCH_GROUP:
		complain_of_document(decoding, node->line, kind_name(kind), "apiVersion",
				     "a version that is not understood");
		return 0;
	case MATCH_VERSION:
		return decode_object(decoding, node, kind);
	}
	return 0;
}

/* "ServiceList" -> "Service", "List" -> "". False for what is no list. */
static bool cut_list_suffix(struct str kind, struct str *ret_item_kind)
{
	if (!str_has_suffix(kind, STR_LIT("List")))
		return false;
	*ret_item_kind = (struct str){kind.p, kind.len - strlen("List")};
	return true;
}

static struct str text_or(const struct node *map, const char *key, struct str otherwise)
{
	const struct node *value = node_get(map, key);

	return value && value->type == NODE_STRING ? value->text : otherwise;
}

/* kind, api_version: what the list around it says its items are, "" if nothing. */
static int decode_any(struct decoding *decoding, const struct node *node, struct str kind,
		      struct str api_version)
{
	const struct node *items;
	struct str item_kind;

	if (node->type != NODE_MAP) {
		complain_of_document(decoding, node->line, "", "",
				     "expected an object with apiVersion and kind");
		return 0;
	}
	kind = text_or(node, "kind", kind);
	api_version = text_or(node, "apiVersion", api_version);
	if (kind.len == 0 || api_version.len == 0) {
		complain_of_document(decoding, node->line, "", kind.len == 0 ? "kind" : "apiVersion",
				     "is missing: expected a string");
		return 0;
	}
	if (!cut_list_suffix(kind, &item_kind))
		return decode_of_kind(decoding, node, kind, api_version);
	if (item_kind.len == 0)
		api_version = STR_LIT("");
	items = node_get(node, "items");
	for (size_t i = 0; items && items->type == NODE_LIST && i < items->count; i++) {
		int rc = decode_any(decoding, items->items[i], item_kind, api_version);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* ---- the ways in ---- */

int decode_node(const struct node *node, const char *file, const char *default_ns,
		const struct decode_sink *sink)
{
	struct decoding decoding = {.sink = sink, .file = file, .default_ns = default_ns};

	return decode_any(&decoding, node, STR_LIT(""), STR_LIT(""));
}

static void arena_done_p(struct arena *arena)
{
	arena_done(arena);
}

int decode_json(const char *text, size_t len_bytes, enum kind kind, const struct decode_sink *sink)
{
	struct decoding decoding = {.sink = sink, .default_ns = ""};
	struct arena arena cleanup(arena_done_p) = {0};
	struct node *node;
	struct err err;
	int rc = node_parse_json(&arena, text, len_bytes, &node, &err);

	if (rc == -EBADMSG)
		complain_of_document(&decoding, 0, kind_name(kind), "", err.text);
	return rc < 0 ? rc : decode_object(&decoding, node, kind);
}

/* Of a text that no YAML parser takes but is JSON all the same (surrogate pairs, keys beyond 1024 bytes). */
static int decode_json_manifest(struct decoding *decoding, struct str text)
{
	struct arena arena cleanup(arena_done_p) = {0};
	struct node *node;
	int rc;

	if (!str_has_prefix(str_trim(text), STR_LIT("{")))
		return -EBADMSG;
	rc = node_parse_json(&arena, text.p, text.len, &node, NULL);
	return rc < 0 ? rc : decode_any(decoding, node, STR_LIT(""), STR_LIT(""));
}

DEFINE_CLEANUP(struct node_yaml *, node_yaml_close)

int decode_document(struct str text, int first_line, const char *file, const struct decode_sink *sink)
{
	struct decoding decoding = {.sink = sink, .file = file, .default_ns = "default"};
	struct node_yaml *yaml cleanup(node_yaml_close_p) = node_yaml_open_at(text.p, text.len, first_line);
	bool first = true;

	if (!yaml)
		return -ENOMEM;
	for (;; first = false) {
		const struct node *document;
		struct err err;
		int line = 0;
		int rc = node_yaml_next(yaml, &document, &line, &err);
		if (rc == 0 || (rc == -EBADMSG && first && decode_json_manifest(&decoding, text) == 0))
			return decoding.unidentified ? -EBADMSG : 0;
		if (rc == 1)
			rc = decode_any(&decoding, document, STR_LIT(""), STR_LIT(""));
		else if (rc == -EBADMSG)
			complain_of_document(&decoding, line, "", "", err.text);
		if (rc == -ENOMEM)
			return rc;
	}
}

int decode_manifest(const char *text, size_t len_bytes, const char *file, const struct decode_sink *sink)
{
	struct str rest = {text, len_bytes}, document;
	int line = 1, document_line, result = 0;

	while (node_yaml_cut(&rest, &line, &document, &document_line)) {
		int rc = decode_document(document, document_line, file, sink);
		if (rc == -ENOMEM)
			return rc;
		if (rc < 0)
			result = rc;
	}
	return result;
}

/* ---- complaints as text ---- */

/* Text in a buffer of fixed size; what does not fit is cut off. */
struct line {
	char *text;
	size_t used, size;
};

static void line_add(struct line *line, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void line_add(struct line *line, const char *format, ...)
{
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(line->text + line->used, line->size - line->used, format, args);
	va_end(args);
	if (len > 0)
		line->used +=
		    (size_t)len < line->size - line->used ? (size_t)len : line->size - line->used - 1;
}

static void make_printable(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
}

const char *decode_complaint_text(const struct decode_complaint *complaint, char *buffer, size_t size)
{
	struct line line = {buffer, 0, size};

	if (complaint->file)
		line_add(&line, "%s:", complaint->file);
	if (complaint->file && complaint->line > 0)
		line_add(&line, "%d:", complaint->line);
	if (complaint->file)
		line_add(&line, " ");
	if (complaint->kind[0])
		line_add(&line, "%s", complaint->kind);
	if (complaint->name[0])
		line_add(&line, " %s%s%s", complaint->ns, complaint->ns[0] ? "/" : "", complaint->name);
	if (complaint->kind[0])
		line_add(&line, ": ");
	if (complaint->field[0])
		line_add(&line, "%s: ", complaint->field);
	line_add(&line, "%s", complaint->why);
	make_printable(buffer);
	return buffer;
}
