/* A parsed document as a plain tree, whatever it was written in. Lives in an arena; immutable.
 *
 * Limits (hostile input): depth 64, 4 million nodes a document, aliases expand by reference, never by copy,
 * and count against the node limit each time they are used. No string holds a NUL; all are valid UTF-8. */
#ifndef CONF_NODE_H
#define CONF_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#define NODE_DEPTH_MAX 64
#define NODE_COUNT_MAX ((size_t)4 * 1000 * 1000)

enum node_type { NODE_NULL, NODE_BOOL, NODE_INT, NODE_FLOAT, NODE_STRING, NODE_LIST, NODE_MAP };

struct node_entry;

struct node {
	enum node_type type;
	int line;        /* 1-based; 0 when unknown (JSON) */
	struct str text; /* scalars: as written, also of numbers and booleans; NUL-terminated; else "" */
	union {          /* by type */
		bool boolean;
		int64_t integer;
		double real;
	};
	size_t count; /* lists and maps; else 0 */
	union {
		struct node **items;
		struct node_entry *entries;
	};
};

struct node_entry {
	struct str key; /* NUL-terminated */
	int line;
	struct node *value;
};

/* NULL when absent or not a map. Keys are unique: a document with a duplicate key is refused when parsed. */
const struct node *node_get(const struct node *map, const char *key);

/* Equal for trees that say the same in the same order, line numbers aside; seeded per process. */
uint64_t node_hash(const struct node *node);

/* JSON text (RFC 8259), one value, nothing after it. 0, -EBADMSG with *err, -ENOMEM. */
int node_parse_json(struct arena *arena, const char *text, size_t len_bytes, struct node **ret,
		    struct err *err);

/* YAML 1.1 text with any number of documents, read one after the other. Scalars resolve by the YAML 1.2 core
 * schema plus what Kubernetes' own parser takes as booleans (true, false and their case forms; not yes/no);
 * merge keys ("<<") are honoured. */
struct node_yaml;

/* text: borrowed; first_line: its line in the file. NULL when out of memory. */
struct node_yaml *node_yaml_open(const char *text, size_t len_bytes);
struct node_yaml *node_yaml_open_at(const char *text, size_t len_bytes, int first_line);
struct node_yaml *node_yaml_close(struct node_yaml *yaml); /* NULL allowed; returns NULL */

/* 1 with the next document that is not empty, which lives until the next call; 0 at the end; -EBADMSG with
 * *err and *ret_line for a document that cannot be read (the next call goes on after it); -ENOMEM.
 */
int node_yaml_next(struct node_yaml *yaml, const struct node **ret, int *ret_line, struct err *err);

/* Cuts the next document off a text of many, at lines that begin with "---": what is cut off is YAML by itself, or
 * nothing but blank lines and comments. *line: where the text begins, 1 at first. False at the end. Pure. */
bool node_yaml_cut(struct str *rest, int *line, struct str *ret_document, int *ret_line);

/* The same as a loop: fn for each document; it ends the loop by returning other than 0, which is returned.
 * -EBADMSG with *err and *ret_line of the first unreadable document, after all others were delivered. */
typedef int node_fn(void *ctx, const struct node *document);
int node_parse_yaml(const char *text, size_t len_bytes, node_fn *fn, void *ctx, int *ret_line,
		    struct err *err);

#endif
