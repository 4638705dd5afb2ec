/* Bytes as if the kernel had sent them: a byte that picks the nature of a set, then netlink messages. */
/* LINK: nft/decode.c nft/encode.c nft/encode_rule.c nft/ruleset.c nft/diff.c nft/rule.c */
/* LINK: base/arena.c base/buf.c base/str.c base/addr.c base/err.c */
/* LIBS: -lmnl -lxxhash */
#include <stdlib.h>

#include "nft/decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct nft_set_spec pick_set(uint8_t byte)
{
	uint32_t flags = byte & 4 ? NFT_SET_FLAG_INTERVAL : 0;

	if (byte & 1)
		return nft_set_spec_of(NFT_DATATYPES(NFT_DATATYPE_IPV4_ADDR, NFT_DATATYPE_INET_SERVICE),
				       byte & 2 ? NFT_DATATYPES(NFT_DATATYPE_VERDICT) : NULL, flags);
	return nft_set_spec_of(NFT_DATATYPES(NFT_DATATYPE_MARK),
			       byte & 2 ? NFT_DATATYPES(NFT_DATATYPE_PRIORITY) : NULL, flags);
}

static void decode_all(struct nft_decoder *decoder, struct str datagram)
{
	const struct nlmsghdr *message;
	struct nft_notification notification;
	uint32_t generation;

	while ((message = nft_next_message(&datagram))) {
		(void)nft_decode(decoder, message);
		(void)nft_decode_notification(message, &notification);
		(void)nft_decode_generation(message, &generation);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct nft_set_spec spec = pick_set(size > 0 ? data[0] : 0);
	struct nft_ruleset found = {.failed = 0};
	struct nft_decoder decoder = {.table = {.family = AF_INET, .name = "fairlead"}, .ruleset = &found};
	struct nft_ops ops = {.count = 0};
	char text[NFT_ITEM_TEXT_MAX];
	char *copy = malloc(size + 1); /* aligned, and its end is guarded */

	if (!copy)
		return 0;
	if (size > 0)
		memcpy(copy, data + 1, size - 1);
	nft_decode_set_begin(&decoder, &spec);
	decode_all(&decoder, (struct str){copy, size > 0 ? size - 1 : 0});
	(void)nft_decode_set_end(&decoder);
	decode_all(&decoder, (struct str){copy, size > 0 ? size - 1 : 0});
	for (size_t i = 0; i < found.count; i++)
		(void)nft_item_text(&found.items[i], text);
	if (nft_ruleset_sort(&found, NULL) == 0)
		(void)nft_diff(&found, &found, &ops);
	nft_ops_done(&ops);
	nft_decoder_done(&decoder);
	nft_ruleset_done(&found);
	free(copy);
	return 0;
}
