/* The other way: building a document (conf/node.h) and writing it as YAML or JSON text. */
#ifndef CONF_NODE_WRITE_H
#define CONF_NODE_WRITE_H

#include "base/buf.h"
#include "conf/node.h"

/* Nodes in the arena, NULL when out of memory. Strings are copied. Each taker of nodes takes NULL as well and then
 * returns NULL or -ENOMEM, so that a builder may check once at its end. */
struct node *node_new_map(struct arena *arena);
struct node *node_new_list(struct arena *arena);
struct node *node_new_string(struct arena *arena, struct str text);
struct node *node_new_int(struct arena *arena, int64_t value);
struct node *node_new_bool(struct arena *arena, bool value);

/* 0 or -ENOMEM. A key must be new. */
int node_add_entry(struct arena *arena, struct node *map, const char *key, struct node *value);
int node_add_item(struct arena *arena, struct node *list, struct node *value);

/* Appends one document. Reading it back gives the same tree, but for lines. 0 or -ENOMEM. */
int node_write_yaml(const struct node *node, struct buf *out);
int node_write_json(const struct node *node, struct buf *out);

#endif
