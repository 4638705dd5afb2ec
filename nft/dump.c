/* Reading tables back. A dump is made of many answers, each from its own moment: whether they fit together is told by a
 * monitor opened before the first and read after the last. */
#include <errno.h>
#include <linux/netfilter/nf_tables.h>

#include "nft/decode.h"
#include "nft/encode.h"
#include "nft/kernel.h"
#include "nft/monitor.h"
#include "nft/query.h"

#define DUMP_TRIES 20
#define KIND_TRIES 20

struct dump {
	struct nft_socket *socket;
	struct nft_decoder decoder;
};

static int decode_message(void *ctx, const struct nlmsghdr *message)
{
	return nft_decode(ctx, message);
}

static int pass_over(void *ctx, const struct nlmsghdr *message)
{
	(void)ctx;
	(void)message;
	return 0;
}

/* All of a kind. The kernel counts what it has sent over all tables, so that any change in any of them spoils an answer of
 * several parts; it is then asked again. */
static int dump_kind(struct dump *dump, unsigned type)
{
	struct nft_ruleset *ruleset = dump->decoder.ruleset;
	size_t count_before = ruleset->count;
	struct nft_query query;
	int result = -EINTR;

	for (int tries = 0; tries < KIND_TRIES && result == -EINTR; tries++) {
		ruleset->count = count_before;
		nft_query_begin(&query, dump->socket, type, NLM_F_DUMP, dump->decoder.table);
		nft_query_add_name(&query, NFTA_TABLE_NAME,
				   dump->decoder.table.name); /* attribute 1 of them all */
		result = nft_query_run(&query, dump->socket, decode_message, &dump->decoder);
	}
	return result;
}

/* Long answers, which changes of other tables do not touch. */
static int dump_elements(struct dump *dump, const char *set, const struct nft_set_spec *spec)
{
	struct nft_query query;
	int result;

	nft_query_begin(&query, dump->socket, NFT_MSG_GETSETELEM, NLM_F_DUMP, dump->decoder.table);
	nft_query_add_name(&query, NFTA_SET_ELEM_LIST_TABLE, dump->decoder.table.name);
	nft_query_add_name(&query, NFTA_SET_ELEM_LIST_SET, set);
	query.any_generation = true;
	nft_decode_set_begin(&dump->decoder, spec);
	result = nft_query_run(&query, dump->socket, decode_message, &dump->decoder);
	return result == 0 ? nft_decode_set_end(&dump->decoder) : result;
}

static int dump_all_elements(struct dump *dump)
{
	size_t count = dump->decoder.ruleset->count; /* only sets so far */
	int result = 0;

	for (size_t i = 0; i < count && result == 0; i++) {
		struct nft_item item = dump->decoder.ruleset->items[i];

		if (!(item.set->flags & NFT_SET_FLAG_DYNAMIC))
			result = dump_elements(dump, item.name, item.set);
	}
	return result;
}

static int find_table(struct dump *dump)
{
	struct nft_query query;

	nft_query_begin(&query, dump->socket, NFT_MSG_GETTABLE, NLM_F_ACK, dump->decoder.table);
	nft_query_add_name(&query, NFTA_TABLE_NAME, dump->decoder.table.name);
	return nft_query_run(&query, dump->socket, pass_over, NULL);
}

/* ---- what may be asked for ---- */

typedef int dump_fn(struct dump *dump, const char *set);

static int dump_table(struct dump *dump, const char *unused)
{
	static const unsigned others[] = {NFT_MSG_GETOBJ, NFT_MSG_GETCHAIN, NFT_MSG_GETRULE};
	int result = find_table(dump);

	(void)unused;
	if (result == 0)
		result = dump_kind(dump, NFT_MSG_GETSET);
	if (result == 0)
		result = dump_all_elements(dump);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]) && result == 0; i++)
		result = dump_kind(dump, others[i]);
	return result;
}

static int dump_counters(struct dump *dump, const char *unused)
{
	(void)unused;
	return dump_kind(dump, NFT_MSG_GETOBJ);
}

/* The set's own item is taken out again: only its nature was needed. */
static int dump_set(struct dump *dump, const char *set)
{
	struct nft_ruleset *ruleset = dump->decoder.ruleset;
	struct nft_set_spec spec;
	struct nft_query query;
	int result;

	nft_query_begin(&query, dump->socket, NFT_MSG_GETSET, NLM_F_ACK, dump->decoder.table);
	nft_query_add_name(&query, NFTA_SET_TABLE, dump->decoder.table.name);
	nft_query_add_name(&query, NFTA_SET_NAME, set);
	result = nft_query_run(&query, dump->socket, decode_message, &dump->decoder);
	if (result == 0 && (ruleset->count != 1 || ruleset->items[0].type != NFT_ITEM_SET))
		result = -ENOENT;
	if (result != 0)
		return result;
	spec = *ruleset->items[0].set;
	ruleset->count = 0;
	return dump_elements(dump, set, &spec);
}

/* ---- one dump, and as many as it takes ---- */

/* Did anybody change the table since the monitor was opened? */
static int require_unchanged(struct nft_kernel *kernel, struct nft_table_id table,
			     struct nft_monitor *monitor)
{
	struct nft_foreign_change change;
	int result = nft_kernel_wait(kernel);

	if (result == 0)
		result = nft_monitor_read(monitor, table.name, &change);
	if (result != 0)
		return result;
	return change.lost || (table.family == AF_INET ? change.ip : change.ip6) ? -EINTR : 0;
}

/* A dump counts only if nobody changed the table meanwhile, and if nothing came twice: a hash table that the kernel enlarges
 * at the time is walked in another order, and what is left out is then made up for by what is repeated. */
static int dump_once(struct nft_kernel *kernel, struct nft_table_id table, dump_fn *fn, const char *set,
		     struct nft_ruleset *ruleset)
{
	struct dump dump = {.socket = nft_kernel_socket(kernel),
			    .decoder = {.table = table, .ruleset = ruleset}};
	struct nft_monitor *monitor = nft_monitor_open_for_all(NULL);
	int result;

	if (!monitor)
		return -ENOMEM;
	result = fn(&dump, set);
	if (result == 0)
		result = require_unchanged(kernel, table, monitor);
	if (result == 0)
		result = nft_ruleset_sort(ruleset, NULL);
	nft_decoder_done(&dump.decoder);
	(void)nft_monitor_close(monitor);
	return result == -EEXIST ? -EINTR : result;
}

static int dump_until_whole(struct nft_kernel *kernel, struct nft_table_id table, dump_fn *fn,
			    const char *set, struct nft_ruleset *ret, struct err *err)
{
	struct nft_ruleset ruleset = {.failed = 0};
	int result = -EINTR;

	for (int tries = 0; tries < DUMP_TRIES && result == -EINTR; tries++) {
		if (tries > 0)
			nft_pause_ms(tries);
		nft_ruleset_done(&ruleset);
		result = dump_once(kernel, table, fn, set, &ruleset);
	}
	if (result == 0) {
		*ret = ruleset;
		return 0;
	}
	nft_ruleset_done(&ruleset);
	if (result == -EINTR)
		return err_set(err, -EAGAIN, "nftables table %s: reading it: it changes all the time",
			       table.name);
	return err_set(err, result, "nftables table %s: reading it: %s", table.name, strerror(-result));
}

int nft_kernel_dump(struct nft_kernel *kernel, struct nft_table_id table, struct nft_ruleset *ret,
		    struct err *err)
{
	return dump_until_whole(kernel, table, dump_table, NULL, ret, err);
}

int nft_kernel_dump_set(struct nft_kernel *kernel, struct nft_table_id table, const char *set,
			struct nft_ruleset *ret, struct err *err)
{
	return dump_until_whole(kernel, table, dump_set, set, ret, err);
}

int nft_kernel_dump_counters(struct nft_kernel *kernel, struct nft_table_id table, struct nft_ruleset *ret,
			     struct err *err)
{
	return dump_until_whole(kernel, table, dump_counters, NULL, ret, err);
}
