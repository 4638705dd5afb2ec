/* Removes entries from the kernel's connection table: UDP "connections" whose server is gone would otherwise send their
 * packets there for as long as the client goes on. A sweep reads the UDP entries of one family (the kernel filters)
 * in slices between other events of the loop, and asks the owner about each.
 *
 * Invariants
 *  1. Never blocks for longer than one slice (32 KiB of entries) and the deletions in it; holds one slice in memory.
 *  2. A sweep asked for while one of that family runs begins when that has ended: what it has read by then may be
 *     older than the wish.
 *  3. Sweeps take at most a fifth of the time: after each there is a rest of four times its length. */
#ifndef PROXY_CONNTRACK_H
#define PROXY_CONNTRACK_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"

struct conntrack;

struct conntrack_entry {
	struct endpoint_addr to; /* where the client sends (original destination) */
	struct endpoint_addr
	    server; /* who answers (reply source); the same as `to` if nothing was translated */
};

struct conntrack_owner {
	void (*begin)(void *ctx, int family);                          /* a sweep begins */
	bool (*stale)(void *ctx, const struct conntrack_entry *entry); /* must the entry go? */
	void (*end)(void *ctx, int family, uint64_t deleted,
		    double seconds); /* it has ended; seconds it took */
	void *ctx;
};

/* NULL with *err: the kernel has no connection tracking over netlink, or no permission. */
struct conntrack *conntrack_new(struct ev_loop *loop, const struct conntrack_owner *owner, struct err *err);
struct conntrack *conntrack_free(struct conntrack *conntrack);

void conntrack_sweep(struct conntrack *conntrack, int family);

#endif
