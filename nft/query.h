/* Questions to nf_tables: one message out, the messages of the answer handed on. */
#ifndef NFT_QUERY_H
#define NFT_QUERY_H

#include "nft/ruleset.h"
#include "nft/socket.h"

struct nft_query {
	_Alignas(struct nlmsghdr) char bytes[2048];
	struct nlmsghdr *message;
	bool any_generation; /* an answer from several generations will do */
};

/* type: NFT_MSG_GET*; flags: NLM_F_DUMP, or NLM_F_ACK for a single answer. */
void nft_query_begin(struct nft_query *query, struct nft_socket *socket, unsigned type, uint16_t flags,
		     struct nft_table_id table);
void nft_query_add_name(struct nft_query *query, unsigned attribute, const char *name);

typedef int nft_query_handle_fn(void *ctx, const struct nlmsghdr *message);

/* 0, what `handle` returned, the kernel's error, or -EINTR: the answer is not whole. */
int nft_query_run(const struct nft_query *query, struct nft_socket *socket, nft_query_handle_fn *handle,
		  void *ctx);

/* The generation of all rules of the network namespace: one more with each transaction. */
int nft_query_generation(struct nft_socket *socket, uint32_t *ret);

#endif
