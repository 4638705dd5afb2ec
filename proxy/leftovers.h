/* Removes what kube-proxy left on the node: its nftables tables, its iptables chains, its IPVS device (service-proxy
 * contract row 49). kubelet's and network plugins' chains stay.
 *
 * Invariants
 *  1. What is not there is no error; what cannot be removed does not keep the rest. */
#ifndef PROXY_LEFTOVERS_H
#define PROXY_LEFTOVERS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct leftovers_report {
	void (*removed)(void *ctx, const char *what, size_t count);
	void (*failed)(void *ctx, const char *what, const char *why);
	void *ctx;
};

/* By netlink alone: nftables tables, chains of iptables over nf_tables, the device kube-ipvs0. Blocks for as long as
 * the kernel works. Returns how many parts failed. */
unsigned leftovers_remove_by_netlink(const struct leftovers_report *report);

/* What only other programs can do, where they are installed: iptables-legacy-save and -restore, ipvsadm. For
 * --cleanup, never while serving. */
unsigned leftovers_remove_by_programs(const struct leftovers_report *report);

/* Is a chain one that kube-proxy made and no other program uses? */
bool leftovers_is_kube_proxys(const char *chain);

#endif
