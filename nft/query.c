/* Questions to nf_tables: see nft/query.h. */
#include "nft/query.h"

#include <errno.h>
#include <linux/netfilter/nfnetlink.h>

#include "nft/attribute.h"
#include "nft/decode.h"
#include "nft/encode.h"

void nft_query_begin(struct nft_query *query, struct nft_socket *socket, unsigned type, uint16_t flags,
		     struct nft_table_id table)
{
	struct nfgenmsg *head;

	query->any_generation = false;
	query->message = mnl_nlmsg_put_header(query->bytes);
	query->message->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
	query->message->nlmsg_flags = NLM_F_REQUEST | flags;
	query->message->nlmsg_seq = ++socket->seq;
	head = mnl_nlmsg_put_extra_header(query->message, sizeof(*head));
	*head = (struct nfgenmsg){.nfgen_family = nft_family_number(table.family), .version = NFNETLINK_V0};
}

/* A name over NFT_NAME_MAX is cut after that, and then not found. */
void nft_query_add_name(struct nft_query *query, unsigned attribute, const char *name)
{
	char text[NFT_NAME_MAX + 2] = {0};

	memcpy(text, name, strnlen(name, sizeof(text) - 1));
	attribute_put_text(query->message, attribute, text);
}

/* One datagram of an answer: 1 when the answer is complete, 0 when more is to come, or -errno. */
static int handle_datagram(const struct nft_query *query, struct str datagram, nft_query_handle_fn *handle,
			   void *ctx)
{
	const struct nlmsghdr *message;

	while ((message = nft_next_message(&datagram))) {
		int result;

		if (message->nlmsg_seq != query->message->nlmsg_seq)
			continue;
		if (message->nlmsg_flags & NLM_F_DUMP_INTR && !query->any_generation)
			return -EINTR;
		if (message->nlmsg_type == NLMSG_ERROR || message->nlmsg_type == NLMSG_DONE) {
			result = nft_message_code(message);
			return result != 0 ? result : 1;
		}
		result = handle(ctx, message);
		if (result != 0)
			return result;
	}
	return 0;
}

int nft_query_run(const struct nft_query *query, struct nft_socket *socket, nft_query_handle_fn *handle,
		  void *ctx)
{
	struct str datagram;
	int result;

	nft_socket_drain(socket);
	result = nft_socket_send(socket, (struct str){query->bytes, query->message->nlmsg_len});
	while (result == 0) {
		/* Losses are no matter: a dump waits for its reader, and one that is not whole has no end. */
		result = nft_socket_receive(socket, &datagram, NULL);
		if (result == -EAGAIN)
			return -EINTR;
		if (result == 0)
			result = handle_datagram(query, datagram, handle, ctx);
	}
	return result == 1 ? 0 : result;
}

static int read_generation(void *ctx, const struct nlmsghdr *message)
{
	return nft_decode_generation(message, ctx);
}

int nft_query_generation(struct nft_socket *socket, uint32_t *ret)
{
	const struct nft_table_id none = {.family = AF_INET, .name = ""};
	struct nft_query query;

	nft_query_begin(&query, socket, NFT_MSG_GETGEN, NLM_F_ACK, none);
	return nft_query_run(&query, socket, read_generation, ret);
}
