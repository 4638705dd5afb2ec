/* A table with every kind of item and expression, for tests of nft/. */
#ifndef TESTS_NET_NFT_SAMPLE_H
#define TESTS_NET_NFT_SAMPLE_H

#include "nft/ruleset.h"

/* The shape of the service proxy and one chain that uses everything else. Sorted; family AF_INET or AF_INET6.
 */
void nft_sample(struct nft_ruleset *ruleset, int family);

/* services services of endpoints endpoints each, shape R. Not sorted. */
void nft_sample_services(struct nft_ruleset *ruleset, unsigned services, unsigned endpoints);

#endif
