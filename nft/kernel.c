/* Transactions over one socket. The kernel works inside sendmsg: when that returns, all answers are queued. */
#include "nft/kernel.h"

#include <errno.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "nft/decode.h"
#include "nft/encode.h"
#include "nft/monitor.h"
#include "nft/query.h"

#define RECEIVE_ROOM_BYTES (16 * 1024 * 1024) /* for the answers to a batch */
#define LARGE_BATCH_BYTES  ((size_t)64 * 1024)
#define CHAIN_TRIES        6
#define CHAIN_PAUSE_MS     20

struct nft_kernel {
	struct nft_monitor *monitor; /* NULL: none */
	struct nft_socket socket;
};

struct nft_socket *nft_kernel_socket(struct nft_kernel *kernel)
{
	return &kernel->socket;
}

void nft_kernel_set_monitor(struct nft_kernel *kernel, struct nft_monitor *monitor)
{
	kernel->monitor = monitor;
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
	int code = nft_message_code(message);

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

/* All answers are queued already; the first of them are never lost. An error comes for each message refused and, whatever else happens, an answer to the
 * last one: only that without any error is success. */
static int read_answer(struct nft_kernel *kernel, const struct nft_batch *batch, const struct nft_ops *ops,
		       struct answer *ret)
{
	struct str datagram;
	int result;

	*ret = (struct answer){.code = 0};
	while ((result = nft_socket_receive(&kernel->socket, &datagram, NULL)) == 0) {
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

	nft_socket_drain(&kernel->socket);
	kernel->socket.seq += (uint32_t)batch->message_count;
	result = nft_socket_send(&kernel->socket, buf_str(&batch->bytes));
	return result == 0 ? read_answer(kernel, batch, ops, ret) : result;
}

/* A large batch without our own monitor listening. It makes one generation, or none; another number of them means that
 * somebody did something meanwhile. */
static int run_batch_unheard(struct nft_kernel *kernel, const struct nft_batch *batch,
			     const struct nft_ops *ops, struct answer *ret)
{
	uint32_t before = 0, after = 0;
	bool known = nft_query_generation(&kernel->socket, &before) == 0;
	int result;

	nft_monitor_pause(kernel->monitor);
	result = run_batch(kernel, batch, ops, ret);
	nft_monitor_resume(kernel->monitor);
	known = known && nft_query_generation(&kernel->socket, &after) == 0;
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
	    .seq_first = kernel->socket.seq, .end = NFT_BATCH_ABORT, .unpacked = packed};
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
	const struct nft_encode_options options = {.seq_first = kernel->socket.seq, .end = NFT_BATCH_COMMIT};
	struct answer answer = {0};
	struct nft_batch batch = {0};
	int result;

	*ret_failed_op = ops->count;
	*ret_busy_chains = false;
	result = nft_encode(&batch, table, ops, &options, ret_failed_op);
	if (result == 0 && kernel->monitor && buf_len(&batch.bytes) >= LARGE_BATCH_BYTES)
		result = run_batch_unheard(kernel, &batch, ops, &answer);
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
			nft_pause_ms(CHAIN_PAUSE_MS);
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

/* ---- waiting ---- */

/* A transaction of nothing: it has its turn after the ones before it, their notifications included. */
int nft_kernel_wait(struct nft_kernel *kernel)
{
	static const struct nft_ops nothing;
	const struct nft_encode_options options = {.seq_first = kernel->socket.seq, .without_table = true};
	struct nft_batch batch = {.seq_first = 0};
	int result = nft_encode(&batch, (struct nft_table_id){.family = AF_INET, .name = ""}, &nothing,
				&options, NULL);

	if (result == 0) {
		kernel->socket.seq += (uint32_t)batch.message_count;
		result = nft_socket_send(&kernel->socket, buf_str(&batch.bytes));
	}
	nft_batch_done(&batch);
	return result;
}

/* ---- open, close, delete ---- */

int nft_kernel_delete_table(struct nft_kernel *kernel, struct nft_table_id table, struct err *err)
{
	static const struct nft_ops nothing;
	const struct nft_encode_options options = {
	    .seq_first = kernel->socket.seq, .end = NFT_BATCH_COMMIT, .delete_table = true};
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

/* Any question will do to see whether there is somebody to answer, and whether we may ask. */
static int open_kernel(struct nft_kernel *kernel, struct err *err)
{
	const int on = 1;
	uint32_t unused;
	int result = nft_socket_open(&kernel->socket, 0, err);

	if (result != 0)
		return result;
	/* Errors then do not carry the message refused: up to 60 KiB each. */
	(void)setsockopt(kernel->socket.fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	nft_socket_receive_room(&kernel->socket, RECEIVE_ROOM_BYTES);
	result = nft_query_generation(&kernel->socket, &unused);
	if (result == -EPERM)
		return err_set(err, result, "nftables: not permitted (CAP_NET_ADMIN is needed)");
	return result == 0 ? 0 : err_set(err, result, "nftables: %s", strerror(-result));
}

struct nft_kernel *nft_kernel_open(struct err *err)
{
	struct nft_kernel *kernel = calloc(1, sizeof(*kernel));

	if (!kernel)
		(void)err_set(err, -ENOMEM, "out of memory");
	else if (open_kernel(kernel, err) != 0)
		return nft_kernel_close(kernel);
	return kernel;
}

struct nft_kernel *nft_kernel_close(struct nft_kernel *kernel)
{
	if (kernel)
		nft_socket_close(&kernel->socket);
	free(kernel);
	return NULL;
}
