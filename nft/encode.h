/* Operations on a table to netlink messages: one nf_tables batch, ready for one sendmsg. Pure: bytes in,
 * bytes out.
 *
 * Invariants
 *  1. Messages are ordered so that the kernel accepts them: what is referred to comes before what refers to
 * it and goes after it. The order of the operations given is of no matter.
 *  2. Elements of one set are packed many to a message; all other messages belong to one operation.
 *  3. Message i of `messages` has the sequence number seq_first + i. */
#ifndef NFT_ENCODE_H
#define NFT_ENCODE_H

#include "base/buf.h"
#include "nft/ruleset.h"

struct nlmsghdr;

/* The operations a message stands for: `count` indices from batch->order[start] on; none for batch and table.
 */
struct nft_message {
	uint32_t start, count;
};

struct nft_batch {
	struct buf bytes;
	uint32_t *order; /* indices into ops, in the order they are sent; a replaced one is there twice */
	size_t order_count;
	struct nft_message *messages;
	size_t message_count, message_size;
	uint32_t seq_first;
};

enum nft_batch_end {
	NFT_BATCH_COMMIT,
	NFT_BATCH_ABORT, /* no end: the kernel checks everything and then leaves all as it was */
};

struct nft_encode_options {
	uint32_t seq_first;
	enum nft_batch_end end;
	bool without_table;          /* no table is made: for a batch of nothing */
	bool delete_table;           /* after all operations */
	struct nft_message unpacked; /* elements of these are sent one to a message; count 0: none */
};

/* Fills *batch, which must be zero. 0, -ENOMEM, or -EINVAL for an operation that cannot be said (more
 * expressions in a rule than the kernel takes), its index in *ret_failed_op. */
int nft_encode(struct nft_batch *batch, struct nft_table_id table, const struct nft_ops *ops,
	       const struct nft_encode_options *options, size_t *ret_failed_op);
void nft_batch_done(struct nft_batch *batch);

/* Room for the largest message there is. */
#define NFT_MESSAGE_MAX ((size_t)96 * 1024)

/* The families' numbers in netfilter's messages. */
uint8_t nft_family_number(int family);

/* User data of rules: types of ours beside the nft program's NFTNL_UDATA_RULE_COMMENT (0). */
enum {
	NFT_UDATA_FINGERPRINT = 0x66, /* 8 bytes */
	NFT_UDATA_TAG = 0x74,
};

/* Appends the attributes NFTA_RULE_EXPRESSIONS of one rule's canonical bytes (nft/encode_rule.c). 0 or
 * -EINVAL. */
int nft_encode_expressions(struct nlmsghdr *message, struct str rule);

#endif
