/* Dumps the chains and rules of a foreign table, then deletes what is doomed. */
#include "nft/foreign_chains.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <linux/netfilter/nf_tables.h>

#include "base/arena.h"
#include "base/cleanup.h"

#define MESSAGES_MAX  500 /* of one transaction */
#define MESSAGE_BYTES 1024
#define DUMP_BYTES    ((size_t)256 * 1024)

struct doomed_rule {
	const char *chain;
	uint64_t handle;
};

struct removal {
	struct nft_table_id table;
	nft_doomed_fn *doomed;
	struct mnl_socket *socket;
	uint32_t seq;
	struct arena arena;
	const char **chains;
	struct doomed_rule *rules;
	size_t chain_count, rule_count;
	bool out_of_memory;
};

/* ---- what is there ---- */

/* Room for one more, in steps of powers of two. */
static void *grown(void *items, size_t count, size_t item_bytes)
{
	bool full = (count & (count - 1)) == 0;

	return full ? reallocarray(items, count ? count * 2 : 1, item_bytes) : items;
}

static void note_chain(struct removal *removal, const char *name)
{
	const char **chains = grown((void *)removal->chains, removal->chain_count, sizeof(*chains));
	const char *copy = arena_dup(&removal->arena, str_of(name));

	if (chains)
		removal->chains = chains;
	if (!chains || !copy)
		removal->out_of_memory = true;
	else
		removal->chains[removal->chain_count++] = copy;
}

static void note_rule(struct removal *removal, const char *chain, uint64_t handle)
{
	struct doomed_rule *rules = grown(removal->rules, removal->rule_count, sizeof(*rules));
	const char *copy = arena_dup(&removal->arena, str_of(chain));

	if (rules)
		removal->rules = rules;
	if (!rules || !copy)
		removal->out_of_memory = true;
	else
		removal->rules[removal->rule_count++] = (struct doomed_rule){copy, handle};
}

static bool is_here(const struct removal *removal, const char *table)
{
	return table && strcmp(table, removal->table.name) == 0;
}

static int on_chain(const struct nlmsghdr *message, void *ctx)
{
	struct removal *removal = ctx;
	struct nftnl_chain *chain = nftnl_chain_alloc();

	if (!chain)
		removal->out_of_memory = true;
	else if (nftnl_chain_nlmsg_parse(message, chain) == 0 &&
		 is_here(removal, nftnl_chain_get_str(chain, NFTNL_CHAIN_TABLE)) &&
		 removal->doomed(nftnl_chain_get_str(chain, NFTNL_CHAIN_NAME)))
		note_chain(removal, nftnl_chain_get_str(chain, NFTNL_CHAIN_NAME));
	if (chain)
		nftnl_chain_free(chain);
	return MNL_CB_OK;
}

/* Below 0, which ends the iteration, if a rule jumps or goes to a doomed chain. */
static int find_doomed_jump(struct nftnl_expr *expr, void *ctx)
{
	const struct removal *removal = ctx;
	const char *name = nftnl_expr_get_str(expr, NFTNL_EXPR_NAME), *target;

	if (!name || strcmp(name, "immediate") != 0 || !nftnl_expr_is_set(expr, NFTNL_EXPR_IMM_CHAIN))
		return 0;
	target = nftnl_expr_get_str(expr, NFTNL_EXPR_IMM_CHAIN);
	return target && removal->doomed(target) ? -1 : 0;
}

static int on_rule(const struct nlmsghdr *message, void *ctx)
{
	struct removal *removal = ctx;
	struct nftnl_rule *rule = nftnl_rule_alloc();
	const char *chain;

	if (!rule) {
		removal->out_of_memory = true;
		return MNL_CB_OK;
	}
	if (nftnl_rule_nlmsg_parse(message, rule) == 0 &&
	    is_here(removal, nftnl_rule_get_str(rule, NFTNL_RULE_TABLE))) {
		chain = nftnl_rule_get_str(rule, NFTNL_RULE_CHAIN);
		if (!removal->doomed(chain) && nftnl_expr_foreach(rule, find_doomed_jump, removal) < 0)
			note_rule(removal, chain, nftnl_rule_get_u64(rule, NFTNL_RULE_HANDLE));
	}
	nftnl_rule_free(rule);
	return MNL_CB_OK;
}

static int receive(struct removal *removal, char *room, mnl_cb_t on_message)
{
	unsigned port = mnl_socket_get_portid(removal->socket);
	int code = MNL_CB_OK;

	while (code > MNL_CB_STOP) {
		ssize_t len = mnl_socket_recvfrom(removal->socket, room, DUMP_BYTES);

		if (len < 0)
			return -errno;
		code = mnl_cb_run(room, (size_t)len, removal->seq, port, on_message, removal);
	}
	return code < 0 ? -errno : 0;
}

static int dump(struct removal *removal, uint16_t type, mnl_cb_t on_message)
{
	cleanup_free char *room = malloc(DUMP_BYTES);

	if (!room)
		return -ENOMEM;
	const struct nlmsghdr *message =
	    nftnl_nlmsg_build_hdr(room, type, (uint16_t)removal->table.family, NLM_F_DUMP, ++removal->seq);
	if (mnl_socket_sendto(removal->socket, message, message->nlmsg_len) < 0)
		return -errno;
	return receive(removal, room, on_message);
}

/* ---- what goes ---- */

enum step { DELETE_JUMPS, EMPTY_CHAINS, DELETE_CHAINS };

static size_t step_count(const struct removal *removal, enum step step)
{
	return step == DELETE_JUMPS ? removal->rule_count : removal->chain_count;
}

static int put_rule_deletion(const struct removal *removal, struct nlmsghdr *message, const char *chain,
			     uint64_t handle)
{
	struct nftnl_rule *rule = nftnl_rule_alloc();

	if (!rule)
		return -ENOMEM;
	(void)nftnl_rule_set_str(rule, NFTNL_RULE_TABLE, removal->table.name);
	(void)nftnl_rule_set_str(rule, NFTNL_RULE_CHAIN, chain);
	if (handle)
		nftnl_rule_set_u64(rule, NFTNL_RULE_HANDLE, handle);
	nftnl_rule_nlmsg_build_payload(message, rule);
	nftnl_rule_free(rule);
	return 0;
}

static int put_chain_deletion(const struct removal *removal, struct nlmsghdr *message, const char *name)
{
	struct nftnl_chain *chain = nftnl_chain_alloc();

	if (!chain)
		return -ENOMEM;
	(void)nftnl_chain_set_str(chain, NFTNL_CHAIN_TABLE, removal->table.name);
	(void)nftnl_chain_set_str(chain, NFTNL_CHAIN_NAME, name);
	nftnl_chain_nlmsg_build_payload(message, chain);
	nftnl_chain_free(chain);
	return 0;
}

static int put_deletion(struct removal *removal, struct mnl_nlmsg_batch *batch, enum step step, size_t i)
{
	uint16_t type = step == DELETE_CHAINS ? NFT_MSG_DELCHAIN : NFT_MSG_DELRULE;
	struct nlmsghdr *message = nftnl_nlmsg_build_hdr(
	    mnl_nlmsg_batch_current(batch), type, (uint16_t)removal->table.family, NLM_F_ACK, removal->seq);
	int code = 0;

	switch (step) {
	case DELETE_JUMPS:
		code = put_rule_deletion(removal, message, removal->rules[i].chain, removal->rules[i].handle);
		break;
	case EMPTY_CHAINS:
		code = put_rule_deletion(removal, message, removal->chains[i], 0);
		break;
	case DELETE_CHAINS:
		code = put_chain_deletion(removal, message, removal->chains[i]);
		break;
	}
	(void)mnl_nlmsg_batch_next(batch);
	return code;
}

/* All answers to a transaction; the first error is its result. A rule or chain that is gone already is no error. */
static int read_acks(struct removal *removal, size_t count)
{
	char room[16 * 1024];
	int code = 0;

	while (count > 0) {
		ssize_t len = mnl_socket_recvfrom(removal->socket, room, sizeof(room));
		int left = (int)len;

		if (len < 0)
			return -errno;
		for (const struct nlmsghdr *message = (const void *)room; mnl_nlmsg_ok(message, left);
		     message = mnl_nlmsg_next(message, &left)) {
			const struct nlmsgerr *answer = mnl_nlmsg_get_payload(message);

			if (message->nlmsg_type != NLMSG_ERROR)
				continue;
			if (answer->error && code == 0)
				code = answer->error;
			count--;
			if (count == 0)
				break;
		}
	}
	return code;
}

static int send_step(struct removal *removal, enum step step, size_t first, size_t count)
{
	size_t room_bytes = (count + 2) * MESSAGE_BYTES;
	cleanup_free char *room = malloc(room_bytes + MESSAGE_BYTES);
	struct mnl_nlmsg_batch *batch = room ? mnl_nlmsg_batch_start(room, room_bytes) : NULL;
	int code = 0;

	if (!batch)
		return -ENOMEM;
	(void)nftnl_batch_begin(mnl_nlmsg_batch_current(batch), ++removal->seq);
	(void)mnl_nlmsg_batch_next(batch);
	for (size_t i = first; i < first + count && code == 0; i++)
		code = put_deletion(removal, batch, step, i);
	(void)nftnl_batch_end(mnl_nlmsg_batch_current(batch), removal->seq);
	(void)mnl_nlmsg_batch_next(batch);
	if (code == 0 &&
	    mnl_socket_sendto(removal->socket, mnl_nlmsg_batch_head(batch), mnl_nlmsg_batch_size(batch)) < 0)
		code = -errno;
	mnl_nlmsg_batch_stop(batch);
	return code < 0 ? code : read_acks(removal, count);
}

static int run_step(struct removal *removal, enum step step)
{
	size_t count = step_count(removal, step);
	int code = 0;

	for (size_t first = 0; first < count && code == 0; first += MESSAGES_MAX)
		code = send_step(removal, step, first,
				 count - first < MESSAGES_MAX ? count - first : MESSAGES_MAX);
	return code;
}

static int remove_doomed(struct removal *removal)
{
	int code = dump(removal, NFT_MSG_GETCHAIN, on_chain);

	if (code == 0 && removal->chain_count > 0)
		code = dump(removal, NFT_MSG_GETRULE, on_rule);
	if (code == 0 && removal->out_of_memory)
		code = -ENOMEM;
	for (enum step step = DELETE_JUMPS; code == 0 && step <= DELETE_CHAINS; step++)
		code = run_step(removal, step);
	return code;
}

int nft_foreign_chains_remove(struct nft_table_id table, nft_doomed_fn *doomed, size_t *ret_count,
			      struct err *err)
{
	struct removal removal = {.table = table, .doomed = doomed, .seq = (uint32_t)time(NULL)};
	int code;

	removal.socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (!removal.socket || mnl_socket_bind(removal.socket, 0, MNL_SOCKET_AUTOPID) < 0)
		code = -errno;
	else
		code = remove_doomed(&removal);
	if (code == 0)
		*ret_count = removal.chain_count;
	else
		(void)err_set(err, code, "table %s %s: %s", table.family == AF_INET ? "ip" : "ip6",
			      table.name, strerror(-code));
	if (removal.socket)
		(void)mnl_socket_close(removal.socket);
	free((void *)removal.chains);
	free(removal.rules);
	arena_done(&removal.arena);
	return code;
}
