/* What an unquoted YAML scalar means: null, boolean, number or string (YAML 1.2 core schema). */
#ifndef CONF_NODE_SCALAR_H
#define CONF_NODE_SCALAR_H

#include "conf/node.h"

/* Sets type and value from node->text, which must be NUL-terminated. Integers beyond 64 bits become floats.
 */
void node_scalar_resolve(struct node *node);

#endif
