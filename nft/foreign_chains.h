/* Removes other programs' chains from a table that is not ours, and the rules that jump to them: iptables rules
 * that nobody maintains any more, where iptables is a front of nf_tables. For a take-over; nothing else does it.
 *
 * Invariants
 *  1. Rules go first, then chains, in transactions of bounded size: in between a packet meets fewer of the doomed
 *     rules, never a dangling one.
 *  2. Chains and rules that are not doomed stay as they are. */
#ifndef NFT_FOREIGN_CHAINS_H
#define NFT_FOREIGN_CHAINS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "nft/ruleset.h"

typedef bool nft_doomed_fn(const char *chain);

/* *ret_count: chains removed. A table that is not there is fine. 0 or -errno with *err. */
int nft_foreign_chains_remove(struct nft_table_id table, nft_doomed_fn *doomed, size_t *ret_count,
			      struct err *err);

#endif
