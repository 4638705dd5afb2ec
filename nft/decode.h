/* The kernel's netlink messages to a ruleset: what a dump of one table says. Pure: bytes in, items out;
 * nothing in the bytes is trusted.
 *
 * Invariants
 *  1. Messages of other tables and families are passed over.
 *  2. A malformed message is -EBADMSG and adds nothing; the ruleset stays a valid one.
 *  3. Everything is copied into the ruleset's arena. */
#ifndef NFT_DECODE_H
#define NFT_DECODE_H

#include "nft/ruleset.h"

struct nlmsghdr;

/* Takes the next message off a datagram (aligned to 4); NULL at the end, and where the bytes are no message.
 */
const struct nlmsghdr *nft_next_message(struct str *datagram);

/* The number in NLMSG_ERROR and NLMSG_DONE: 0 or -errno. */
int nft_message_code(const struct nlmsghdr *message);

struct nft_decoder {
	struct nft_table_id table;
	struct nft_ruleset *ruleset;
	const struct nft_set_spec *set; /* of the set whose elements are read */
	size_t set_start;               /* its first item in the ruleset */
	struct nft_ruleset ends;        /* of its ranges, until nft_decode_set_end */
	bool chain_is_foreign;          /* the chain whose rules are read has a rule that is not ours */
};

/* One message: NFT_MSG_NEWSET, NEWCHAIN, NEWRULE, NEWOBJ, with the rules of a chain in their order; between
 * nft_decode_set_begin and nft_decode_set_end NFT_MSG_NEWSETELEM instead. Others are passed over.
 * 0, -EBADMSG, -ENOMEM, -ENAMETOOLONG. */
int nft_decode(struct nft_decoder *decoder, const struct nlmsghdr *message);

/* Elements of this set follow. */
void nft_decode_set_begin(struct nft_decoder *decoder, const struct nft_set_spec *spec);
/* They were all: the kernel's two elements of each range become one item. 0 or -ENOMEM. */
int nft_decode_set_end(struct nft_decoder *decoder);

void nft_decoder_done(struct nft_decoder *decoder); /* not the ruleset */

/* ---- generations and notifications ---- */

struct nft_notification {
	uint8_t family; /* NFPROTO_* */
	bool is_generation, is_table_deletion;
	char table[NFT_NAME_MAX + 1]; /* empty for generations */
	uint32_t pid;                 /* generations: who made it */
	char process[16];
};

/* The ruleset's generation, from the answer to NFT_MSG_GETGEN. 0 or -EBADMSG. */
int nft_decode_generation(const struct nlmsghdr *message, uint32_t *ret);

/* 0, or -EBADMSG: not one of nf_tables or malformed. */
int nft_decode_notification(const struct nlmsghdr *message, struct nft_notification *ret);

#endif
