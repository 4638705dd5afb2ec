/* A kernel for tests of the service proxy: keeps tables as rulesets, applies transactions in order and whole or not at
 * all, refuses what nf_tables would refuse (something exists already, is not there, is still referred to), and says what
 * a table means to a packet, slots aside. */
#ifndef TESTS_PROXY_MODEL_H
#define TESTS_PROXY_MODEL_H

#include "proxy/table.h"

struct model {
	struct nft_ruleset tables[TABLE_COUNT];
	size_t transactions, operations;
	const char *refuse; /* transactions with an item whose text contains this are refused ... */
	int refuse_code;    /* ... with this code, naming the operation unless whole is set */
	bool refuse_whole;
	int dump_code; /* not 0: dumps fail */
};

struct table_kernel model_kernel(struct model *model);
void model_done(struct model *model);
void model_flush(struct model *model); /* `nft flush ruleset` */

/* Lines in order: every frontend with the endpoints it leads to, every other element, chain and rule. From malloc. */
char *model_meaning(const struct model *model, int family);
char *ruleset_meaning(const struct nft_ruleset *ruleset, int family);

#endif
