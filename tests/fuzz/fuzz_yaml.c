/* Any bytes as YAML: every document or error comes in finite time, trees are within their limits. */
/* LINK: conf/node.c conf/node_yaml.c conf/node_scalar.c */
/* LINK: base/arena.c base/err.c base/map.c base/str.c */
/* LIBS: -lyaml -lxxhash -lm */
#include <assert.h>
#include <errno.h>

#include "conf/node.h"

static size_t visit(const struct node *node, unsigned depth)
{
	size_t count = 1;

	assert(depth <= NODE_DEPTH_MAX);
	assert(memchr(node->text.p, '\0', node->text.len + 1) == node->text.p + node->text.len);
	for (size_t i = 0; i < node->count; i++) {
		if (node->type == NODE_LIST) {
			count += visit(node->items[i], depth + 1);
			continue;
		}
		assert(i == 0 || !str_equal(node->entries[i].key, node->entries[i - 1].key));
		assert(node_get(node, node->entries[i].key.p) == node->entries[i].value);
		count += visit(node->entries[i].value, depth + 1);
	}
	return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct node_yaml *yaml = node_yaml_open((const char *)data, size);
	size_t calls = 0;
	int rc;

	assert(yaml);
	do {
		const struct node *document;
		struct err err;
		int line = 0;
		rc = node_yaml_next(yaml, &document, &line, &err);
		assert(rc == 0 || rc == 1 || rc == -EBADMSG);
		assert(++calls <= size + 2);
		if (rc == 1) {
			assert(document->type != NODE_NULL);
			assert(visit(document, 1) <= NODE_COUNT_MAX);
			(void)node_hash(document);
		}
		if (rc == -EBADMSG)
			assert(line >= 1 && err.text[0] != '\0');
	} while (rc != 0);
	node_yaml_close(yaml);
	return 0;
}
