/* Transactions and dumps over one socket. The kernel works inside sendmsg: when that returns, all answers are
 * queued. */
#include "nft/kernel.h"

#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <time.h>

#include "base/cleanup.h"
#include "nft/attribute.h"
#include "nft/decode.h"
#include "nft/encode.h"
#include "nft/monitor.h"
#include "nft/socket.h"

#define RECEIVE_BYTES      ((size_t)64 * 1024) /* the kernel fills 32 KiB at a time */
#define RECEIVE_ROOM_BYTES (16 * 1024 * 1024)  /* for the answers to a batch */
#define RECEIVE_TRIES      20
#define LARGE_BATCH_BYTES  ((size_t)64 * 1024)
#define SEND_TRIES         5
#define DUMP_TRIES         20
#define CHAIN_TRIES        6
#define CHAIN_PAUSE_MS     20
#define QUERY_BYTES        2048 /* a request and its names */

struct nft_kernel {
	int fd;
	uint32_t port, seq;
	struct nft_monitor *monitor; /* NULL: none */
	size_t send_room_bytes;
	_Alignas(struct nlmsghdr) char received[RECEIVE_BYTES];
};

uint32_t nft_kernel_port(const struct nft_kernel *kernel)
{
	return kernel->port;
}

void nft_kernel_set_monitor(struct nft_kernel *kernel, struct nft_monitor *monitor)
{
	kernel->monitor = monitor;
}

static void pause_ms(long ms)
{
	struct timespec rest = {.tv_nsec = ms * 1000000};

	while (nanosleep(&rest, &rest) != 0 && errno == EINTR)
		;
}

/* ---- bytes out, messages in ---- */

static int send_once(struct nft_kernel *kernel, struct str bytes)
{
	static const struct sockaddr_nl to_kernel = {.nl_family = AF_NETLINK};

	if (sendto(kernel->fd, bytes.p, bytes.len, 0, (const struct sockaddr *)&to_kernel,
		   sizeof(to_kernel)) < 0)
		return -errno;
	return 0;
}

/* Nothing of a message that was not taken has been done, so it may be sent again. */
static int send_bytes(struct nft_kernel *kernel, struct str bytes)
{
	int result = 0;

	if (bytes.len > kernel->send_room_bytes) {
		nft_socket_send_room(kernel->fd, bytes.len < INT32_MAX / 2 ? (int)bytes.len : INT32_MAX / 2);
		kernel->send_room_bytes = bytes.len;
	}
	for (int tries = 0; tries < SEND_TRIES; tries++) {
		result = send_once(kernel, bytes);
		if (result != -EINTR && result != -ENOBUFS && result != -EAGAIN)
			break;
		if (result != -EINTR)
			pause_ms(1 << tries);
	}
	return result;
}

/* Receives one datagram. 0 with *ret; -EAGAIN when there is none. That some were lost (ENOBUFS) is passed over: of the
 * answers to a batch the first are always kept, and a dump that is not whole has no end. */
static int receive(struct nft_kernel *kernel, struct str *ret)
{
	for (int tries = 0; tries < RECEIVE_TRIES; tries++) {
		ssize_t len = recv(kernel->fd, kernel->received, sizeof(kernel->received), MSG_DONTWAIT);

		if (len >= 0) {
			*ret = (struct str){kernel->received, (size_t)len};
			return 0;
		}
		if (errno != EINTR && errno != ENOBUFS)
			return -errno;
	}
	return -ENOBUFS;
}

/* Whatever an earlier, broken off request left. */
static void drain(struct nft_kernel *kernel)
{
	struct str datagram;

	while (receive(kernel, &datagram) == 0)
		;
}

/* The number in NLMSG_ERROR and NLMSG_DONE: 0 or -errno. */
static int message_code(const struct nlmsghdr *message)
{
	int code = 0;

	if (message->nlmsg_len >= NLMSG_HDRLEN + sizeof(code))
		memcpy(&code, (const char *)message + NLMSG_HDRLEN, sizeof(code));
	return code <= 0 ? code : -EBADMSG;
}

/* ---- queries ---- */

struct query {
	_Alignas(struct nlmsghdr) char bytes[QUERY_BYTES];
	struct nlmsghdr *message;
};

static void query_begin(struct nft_kernel *kernel, struct query *query, unsigned type, uint16_t flags,
			struct nft_table_id table)
{
	struct nfgenmsg *head;

	query->message = mnl_nlmsg_put_header(query->bytes);
	query->message->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
	query->message->nlmsg_flags = NLM_F_REQUEST | flags;
	query->message->nlmsg_seq = ++kernel->seq;
	head = mnl_nlmsg_put_extra_header(query->message, sizeof(*head));
	*head = (struct nfgenmsg){.nfgen_family = nft_family_number(table.family), .version = NFNETLINK_V0};
}

/* The name is one of NFT_NAME_MAX bytes at most, or cut and then not found. */
static void query_name(struct query *query, unsigned attribute, const char *name)
{
	char text[NFT_NAME_MAX + 2] = {0};

	memcpy(text, name, strnlen(name, sizeof(text) - 1));
	attribute_put_text(query->message, attribute, text);
}

typedef int handle_fn(void *ctx, const struct nlmsghdr *message);

/* One datagram of an answer: 1 when the answer is complete, 0 when more is to come, or -errno. */
static int handle_datagram(struct str datagram, uint32_t seq, handle_fn *handle, void *ctx)
{
	const struct nlmsghdr *message;

	while ((message = nft_next_message(&datagram))) {
		int result;

		if (message->nlmsg_seq != seq)
			continue;
		if (message->nlmsg_flags & NLM_F_DUMP_INTR)
			return -EINTR;
		if (message->nlmsg_type == NLMSG_ERROR || message->nlmsg_type == NLMSG_DONE) {
			result = message_code(message);
			return result != 0 ? result : 1;
		}
		result = handle(ctx, message);
		if (result != 0)
			return result;
	}
	return 0;
}

/* Sends the query and hands each message of the answer to `handle`. 0, what `handle` returned, the kernel's
 * error, or -EINTR: the answer is not whole. */
static int query_run(struct nft_kernel *kernel, const struct query *query, handle_fn *handle, void *ctx)
{
	struct str datagram;
	int result;

	drain(kernel);
	result = send_bytes(kernel, (struct str){query->bytes, query->message->nlmsg_len});
	while (result == 0) {
		result = receive(kernel, &datagram);
		if (result == -EAGAIN)
			return -EINTR;
		if (result == 0)
			result = handle_datagram(datagram, query->message->nlmsg_seq, handle, ctx);
	}
	return result == 1 ? 0 : result;
}

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

static int read_generation(void *ctx, const struct nlmsghdr *message)
{
	return nft_decode_generation(message, ctx);
}

static int generation(struct nft_kernel *kernel, struct nft_table_id table, uint32_t *ret)
{
	struct query query;

	query_begin(kernel, &query, NFT_MSG_GETGEN, NLM_F_ACK, table);
	return query_run(kernel, &query, read_generation, ret);
}

/* ---- transactions ---- */

/* What the kernel said to a batch. */
struct answer {
	int code;              /* 0, or of the first message refused */
	uint32_t index;        /* its number in the batch */
	bool acked;            /* the last message was answered */
	bool only_busy_chains; /* all that was refused is deletions of chains in use */
};

static bool is_chain_deletion(const struct nft_op *op)
{
	return op->type == NFT_OP_DELETE && op->item->type == NFT_ITEM_CHAIN;
}

static bool is_busy_chain(const struct nft_batch *batch, const struct nft_ops *ops, uint32_t index, int code)
{
	const struct nft_message *message = &batch->messages[index];

	return (code == -EBUSY || code == -EMLINK) && message->count == 1 &&
	       is_chain_deletion(&ops->ops[batch->order[message->start]]);
}

static void note_answer(struct answer *answer, const struct nft_batch *batch, const struct nft_ops *ops,
			const struct nlmsghdr *message)
{
	uint32_t index = message->nlmsg_seq - batch->seq_first;
	int code = message_code(message);

	if (message->nlmsg_type != NLMSG_ERROR || index >= batch->message_count)
		return;
	if (code == 0) {
		answer->acked = true;
		return;
	}
	if (answer->code == 0) {
		answer->code = code;
		answer->index = index;
		answer->only_busy_chains = true;
	}
	answer->only_busy_chains &= is_busy_chain(batch, ops, index, code);
}

/* All answers are queued already. An error comes for each message refused and, whatever else happens, an answer to the
 * last one: only that without any error is success. */
static int read_answer(struct nft_kernel *kernel, const struct nft_batch *batch, const struct nft_ops *ops,
		       struct answer *ret)
{
	struct str datagram;
	int result;

	*ret = (struct answer){.code = 0};
	while ((result = receive(kernel, &datagram)) == 0) {
		const struct nlmsghdr *message;

		while ((message = nft_next_message(&datagram)))
			note_answer(ret, batch, ops, message);
	}
	if (result != -EAGAIN)
		return result;
	return ret->code == 0 && !ret->acked ? -EPROTO : 0;
}

static int run_batch(struct nft_kernel *kernel, const struct nft_batch *batch, const struct nft_ops *ops,
		     struct answer *ret)
{
	int result;

	drain(kernel);
	kernel->seq += (uint32_t)batch->message_count;
	result = send_bytes(kernel, buf_str(&batch->bytes));
	return result == 0 ? read_answer(kernel, batch, ops, ret) : result;
}

/* A large batch without our own monitor listening. It makes one generation, or none; another number of them means that
 * somebody did something meanwhile. */
static int run_batch_unheard(struct nft_kernel *kernel, struct nft_table_id table,
			     const struct nft_batch *batch, const struct nft_ops *ops, struct answer *ret)
{
	uint32_t before = 0, after = 0;
	bool known = generation(kernel, table, &before) == 0;
	int result;

	nft_monitor_pause(kernel->monitor);
	result = run_batch(kernel, batch, ops, ret);
	nft_monitor_resume(kernel->monitor);
	known = known && generation(kernel, table, &after) == 0;
	if (!known || after - before != (result == 0 && ret->code == 0))
		nft_monitor_tell_loss(kernel->monitor);
	return result;
}

/* Which of the elements in one message the kernel refuses: everything up to them is tried once more, they one
 * to a message, in a transaction without an end. ops->count if now all are taken. */
static size_t find_element(struct nft_kernel *kernel, struct nft_table_id table, const struct nft_ops *ops,
			   struct nft_message packed)
{
	const struct nft_encode_options options = {
	    .seq_first = kernel->seq, .end = NFT_BATCH_ABORT, .unpacked = packed};
	struct nft_batch batch = {0};
	struct answer answer = {0};
	size_t found = ops->count;

	if (nft_encode(&batch, table, ops, &options, NULL) == 0 &&
	    run_batch(kernel, &batch, ops, &answer) == 0 && answer.code != 0 &&
	    batch.messages[answer.index].count == 1)
		found = batch.order[batch.messages[answer.index].start];
	nft_batch_done(&batch);
	return found;
}

static size_t failed_op(struct nft_kernel *kernel, struct nft_table_id table, const struct nft_ops *ops,
			const struct nft_batch *batch, const struct answer *answer)
{
	struct nft_message message = batch->messages[answer->index];

	if (message.count == 0)
		return ops->count;
	if (message.count == 1)
		return batch->order[message.start];
	return find_element(kernel, table, ops, message);
}

static const char *op_word(enum nft_op_type type)
{
	switch (type) {
	case NFT_OP_ADD:
		return "add";
	case NFT_OP_DELETE:
		return "delete";
	case NFT_OP_REPLACE:
		break;
	}
	return "replace";
}

static int describe_refusal(struct err *err, int code, struct nft_table_id table, const struct nft_ops *ops,
			    size_t failed)
{
	char text[NFT_ITEM_TEXT_MAX];

	if (failed >= ops->count)
		return err_set(err, code, "nftables table %s: the kernel refused the transaction: %s",
			       table.name, strerror(-code));
	return err_set(err, code, "nftables table %s: the kernel refused to %s %s: %s", table.name,
		       op_word(ops->ops[failed].type), nft_item_text(ops->ops[failed].item, text),
		       strerror(-code));
}

/* One transaction. *ret_busy_chains: it would have passed but for deletions of chains in use. */
static int transact(struct nft_kernel *kernel, struct nft_table_id table, const struct nft_ops *ops,
		    size_t *ret_failed_op, bool *ret_busy_chains, struct err *err)
{
	const struct nft_encode_options options = {.seq_first = kernel->seq, .end = NFT_BATCH_COMMIT};
	struct answer answer = {0};
	struct nft_batch batch = {0};
	int result;

	*ret_failed_op = ops->count;
	*ret_busy_chains = false;
	result = nft_encode(&batch, table, ops, &options, ret_failed_op);
	if (result == 0 && kernel->monitor && buf_len(&batch.bytes) >= LARGE_BATCH_BYTES)
		result = run_batch_unheard(kernel, table, &batch, ops, &answer);
	else if (result == 0)
		result = run_batch(kernel, &batch, ops, &answer);
	if (result == 0 && answer.code != 0) {
		result = answer.code;
		*ret_busy_chains = answer.only_busy_chains;
		*ret_failed_op = failed_op(kernel, table, ops, &batch, &answer);
	}
	if (result == -EMSGSIZE)
		(void)err_set(err, result,
			      "nftables table %s: %zu bytes are more than this socket may send (privileges)",
			      table.name, buf_len(&batch.bytes));
	else if (result != 0)
		(void)describe_refusal(err, result, table, ops, *ret_failed_op);
	nft_batch_done(&batch);
	return result;
}

/* The operations that are (not) deletions of chains, and where each was. */
struct part {
	struct nft_ops ops;
	size_t *index;
};

static void part_done(struct part *part)
{
	free(part->ops.ops);
	free(part->index);
}

static int part_of(const struct nft_ops *ops, bool chain_deletions, struct part *ret)
{
	ret->ops.ops = calloc(ops->count + 1, sizeof(*ret->ops.ops));
	ret->index = calloc(ops->count + 1, sizeof(*ret->index));
	if (!ret->ops.ops || !ret->index)
		return -ENOMEM;
	for (size_t i = 0; i < ops->count; i++) {
		if (is_chain_deletion(&ops->ops[i]) != chain_deletions)
			continue;
		ret->index[ret->ops.count] = i;
		ret->ops.ops[ret->ops.count++] = ops->ops[i];
	}
	if (!chain_deletions)
		ret->ops.rebuild = ops->rebuild;
	ret->index[ret->ops.count] = ops->count;
	return 0;
}

/* The references are dropped when the kernel's worker gets to it, some milliseconds after the first
 * transaction. */
static int delete_chains(struct nft_kernel *kernel, struct nft_table_id table, const struct nft_ops *ops,
			 size_t *ret_failed_op, struct err *err)
{
	bool busy = true;
	int result = 0;

	for (int tries = 0; tries < CHAIN_TRIES && busy; tries++) {
		if (tries > 0)
			pause_ms(CHAIN_PAUSE_MS);
		result = transact(kernel, table, ops, ret_failed_op, &busy, err);
	}
	return result == 0 ? 0 : -EUCLEAN;
}

static int apply_parts(struct nft_kernel *kernel, struct nft_table_id table, const struct part *first,
		       const struct part *second, size_t *ret_failed_op, struct err *err)
{
	size_t failed = 0;
	bool busy;
	int result = transact(kernel, table, &first->ops, &failed, &busy, err);

	*ret_failed_op = first->index[failed];
	if (result != 0)
		return result;
	result = delete_chains(kernel, table, &second->ops, &failed, err);
	*ret_failed_op = second->index[failed];
	return result;
}

static int apply_in_two(struct nft_kernel *kernel, struct nft_table_id table, const struct nft_ops *ops,
			size_t *ret_failed_op, struct err *err)
{
	struct part first = {.index = NULL}, second = {.index = NULL};
	int result;

	if (part_of(ops, false, &first) == 0 && part_of(ops, true, &second) == 0)
		result = apply_parts(kernel, table, &first, &second, ret_failed_op, err);
	else
		result = err_set(err, -ENOMEM, "nftables table %s: out of memory", table.name);
	part_done(&first);
	part_done(&second);
	return result;
}

int nft_kernel_apply(struct nft_kernel *kernel, struct nft_table_id table, const struct nft_ops *ops,
		     size_t *ret_failed_op, struct err *err)
{
	struct err refusal;
	size_t failed;
	bool busy_chains;
	int result = transact(kernel, table, ops, &failed, &busy_chains, &refusal);

	if (busy_chains)
		result = apply_in_two(kernel, table, ops, &failed, &refusal);
	if (result != 0 && err)
		*err = refusal;
	if (result != 0 && ret_failed_op)
		*ret_failed_op = failed;
	return result;
}

/* ---- dumps ---- */

static int dump_kind(struct nft_kernel *kernel, struct nft_decoder *decoder, unsigned type)
{
	struct query query;

	query_begin(kernel, &query, type, NLM_F_DUMP, decoder->table);
	query_name(&query, NFTA_TABLE_NAME, decoder->table.name); /* attribute 1 of them all */
	return query_run(kernel, &query, decode_message, decoder);
}

static int dump_elements(struct nft_kernel *kernel, struct nft_decoder *decoder, const char *set,
			 const struct nft_set_spec *spec)
{
	struct query query;
	int result;

	query_begin(kernel, &query, NFT_MSG_GETSETELEM, NLM_F_DUMP, decoder->table);
	query_name(&query, NFTA_SET_ELEM_LIST_TABLE, decoder->table.name);
	query_name(&query, NFTA_SET_ELEM_LIST_SET, set);
	nft_decode_set_begin(decoder, spec);
	result = query_run(kernel, &query, decode_message, decoder);
	return result == 0 ? nft_decode_set_end(decoder) : result;
}

static int dump_all_elements(struct nft_kernel *kernel, struct nft_decoder *decoder)
{
	size_t count = decoder->ruleset->count; /* only sets so far */
	int result = 0;

	for (size_t i = 0; i < count && result == 0; i++) {
		struct nft_item item = decoder->ruleset->items[i];

		if (!(item.set->flags & NFT_SET_FLAG_DYNAMIC))
			result = dump_elements(kernel, decoder, item.name, item.set);
	}
	return result;
}

static int find_table(struct nft_kernel *kernel, struct nft_table_id table)
{
	struct query query;

	query_begin(kernel, &query, NFT_MSG_GETTABLE, NLM_F_ACK, table);
	query_name(&query, NFTA_TABLE_NAME, table.name);
	return query_run(kernel, &query, pass_over, NULL);
}

static int dump_table(struct nft_kernel *kernel, struct nft_decoder *decoder, const char *unused)
{
	int result = find_table(kernel, decoder->table);

	(void)unused;
	if (result == 0)
		result = dump_kind(kernel, decoder, NFT_MSG_GETSET);
	if (result == 0)
		result = dump_all_elements(kernel, decoder);
	if (result == 0)
		result = dump_kind(kernel, decoder, NFT_MSG_GETOBJ);
	if (result == 0)
		result = dump_kind(kernel, decoder, NFT_MSG_GETCHAIN);
	if (result == 0)
		result = dump_kind(kernel, decoder, NFT_MSG_GETRULE);
	return result;
}

static int dump_counters(struct nft_kernel *kernel, struct nft_decoder *decoder, const char *unused)
{
	(void)unused;
	return dump_kind(kernel, decoder, NFT_MSG_GETOBJ);
}

/* The set's own item is taken out again: only its nature was needed. */
static int dump_set(struct nft_kernel *kernel, struct nft_decoder *decoder, const char *set)
{
	struct nft_ruleset *ruleset = decoder->ruleset;
	struct nft_set_spec spec;
	struct query query;
	int result;

	query_begin(kernel, &query, NFT_MSG_GETSET, NLM_F_ACK, decoder->table);
	query_name(&query, NFTA_SET_TABLE, decoder->table.name);
	query_name(&query, NFTA_SET_NAME, set);
	result = query_run(kernel, &query, decode_message, decoder);
	if (result == 0 && (ruleset->count != 1 || ruleset->items[0].type != NFT_ITEM_SET))
		result = -ENOENT;
	if (result != 0)
		return result;
	spec = *ruleset->items[0].set;
	ruleset->count = 0;
	return dump_elements(kernel, decoder, set, &spec);
}

typedef int dump_fn(struct nft_kernel *kernel, struct nft_decoder *decoder, const char *set);

/* A dump counts only if the generation was the same before and after, and if nothing came twice: a hash table
 * that the kernel enlarges meanwhile is walked in another order, and what is left out is then made up for by
 * what is repeated. */
static int dump_once(struct nft_kernel *kernel, struct nft_table_id table, dump_fn *dump, const char *set,
		     struct nft_ruleset *ruleset)
{
	struct nft_decoder decoder = {.table = table, .ruleset = ruleset};
	uint32_t before = 0, after = 0;
	int result = generation(kernel, table, &before);

	if (result == 0)
		result = dump(kernel, &decoder, set);
	if (result == 0)
		result = generation(kernel, table, &after);
	nft_decoder_done(&decoder);
	if (result == 0)
		result = before == after ? nft_ruleset_sort(ruleset, NULL) : -EINTR;
	return result == -EEXIST ? -EINTR : result;
}

static int dump_until_whole(struct nft_kernel *kernel, struct nft_table_id table, dump_fn *dump,
			    const char *set, struct nft_ruleset *ret, struct err *err)
{
	struct nft_ruleset ruleset = {.failed = 0};
	int result = -EINTR;

	for (int tries = 0; tries < DUMP_TRIES && result == -EINTR; tries++) {
		if (tries > 0)
			pause_ms(tries);
		nft_ruleset_done(&ruleset);
		result = dump_once(kernel, table, dump, set, &ruleset);
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

/* ---- open, close, delete ---- */

int nft_kernel_delete_table(struct nft_kernel *kernel, struct nft_table_id table, struct err *err)
{
	static const struct nft_ops nothing;
	const struct nft_encode_options options = {
	    .seq_first = kernel->seq, .end = NFT_BATCH_COMMIT, .delete_table = true};
	struct answer answer = {0};
	struct nft_batch batch = {0};
	int result = nft_encode(&batch, table, &nothing, &options, NULL);

	if (result == 0)
		result = run_batch(kernel, &batch, &nothing, &answer);
	if (result == 0)
		result = answer.code;
	if (result != 0)
		(void)err_set(err, result, "nftables table %s: deleting it: %s", table.name,
			      strerror(-result));
	nft_batch_done(&batch);
	return result;
}

struct nft_kernel *nft_kernel_open(struct err *err)
{
	struct nft_kernel *kernel = calloc(1, sizeof(*kernel));
	const int on = 1;
	uint32_t unused;
	int result;

	if (!kernel) {
		(void)err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	kernel->fd = nft_socket_open(0, &kernel->port, err);
	if (kernel->fd < 0)
		return nft_kernel_close(kernel);
	/* Errors then do not carry the message refused: up to 60 KiB each. */
	(void)setsockopt(kernel->fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	nft_socket_receive_room(kernel->fd, RECEIVE_ROOM_BYTES);
	result = generation(kernel, (struct nft_table_id){.family = AF_INET, .name = ""}, &unused);
	if (result == 0)
		return kernel;
	(void)err_set(err, result, "nftables: %s",
		      result == -EPERM ? "not permitted (CAP_NET_ADMIN is needed)" : strerror(-result));
	return nft_kernel_close(kernel);
}

struct nft_kernel *nft_kernel_close(struct nft_kernel *kernel)
{
	if (kernel) {
		if (kernel->fd >= 0)
			(void)close(kernel->fd);
		free(kernel);
	}
	return NULL;
}
