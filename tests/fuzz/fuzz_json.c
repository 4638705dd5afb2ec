/* Any bytes as JSON: a tree within its limits, or a reason. */
/* LINK: conf/node.c conf/node_json.c */
/* LINK: base/arena.c base/err.c base/map.c base/str.c */
/* LIBS: -ljansson -lxxhash */
#include <assert.h>
#include <errno.h>

#include "conf/node.h"

static void visit(const struct node *node, unsigned depth)
{
	assert(depth <= NODE_DEPTH_MAX);
	assert(memchr(node->text.p, '\0', node->text.len + 1) == node->text.p + node->text.len);
	for (size_t i = 0; i < node->count; i++) {
		if (node->type == NODE_LIST) {
			visit(node->items[i], depth + 1);
			continue;
		}
		assert(node_get(node, node->entries[i].key.p) == node->entries[i].value);
		visit(node->entries[i].value, depth + 1);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena arena = {0};
	struct node *node;
	struct err err = {""};
	int rc = node_parse_json(&arena, (const char *)data, size, &node, &err);

	assert(rc == 0 || rc == -EBADMSG);
	if (rc == 0)
		visit(node, 1);
	else
		assert(err.text[0] != '\0');
	arena_done(&arena);
	return 0;
}
