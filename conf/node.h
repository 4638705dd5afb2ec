/* A parsed document as a plain tree, whatever it was written in. Lives in an arena; immutable.
 *
 * Limits (hostile input): depth 64, 4 million nodes a document, aliases expand by reference, never by copy, and
 * count against the node limit each time they are used. */
#ifndef CONF_NODE_H
#define CONF_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

enum node_type { NODE_NULL, NODE_BOOL, NODE_INT, NODE_FLOAT, NODE_STRING, NODE_LIST, NODE_MAP };

struct node_entry;

struct node {
	enum node_type type;
	int line;        /* 1-based; 0 when unknown (JSON) */
	struct str text; /* scalars: as written, also of numbers and booleans */
	bool boolean;
	int64_t integer;
	double real;
	size_t count; /* lists and maps */
	struct node **items;
	struct node_entry *entries;
};

struct node_entry {
	struct str key;
	int line;
	struct node *value;
};

/* NULL when absent or not a map. Keys are unique: a document with a duplicate key is refused when parsed. */
const struct node *node_get(const struct node *map, const char *key);

/* JSON text (RFC 8259), one value, nothing after it. 0, -EBADMSG with *err, -ENOMEM. */
int node_parse_json(struct arena *arena, const char *text, size_t len_bytes, struct node **ret, struct err *err);

/* YAML 1.1 text with any number of documents: fn for each that is not empty; scalars resolve by the YAML 1.2 core
 * schema plus what Kubernetes' own parser takes as booleans (true, false and their case forms; not yes/no).
 * 0, -EBADMSG with *err and *ret_line, -ENOMEM. */
typedef int node_fn(void *ctx, const struct node *document);
int node_parse_yaml(const char *text, size_t len_bytes, node_fn *fn, void *ctx, int *ret_line, struct err *err);

#endif
