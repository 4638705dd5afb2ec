/* Which UDP entries of the connection table must go (service-proxy contract row 33): clients that keep sending from one
 * port keep their entry alive, and with it the way to a server that is gone.
 *
 *     entry to one of our frontends, whose server no longer serves             -> goes
 *     ... not translated at all, made before the frontend had endpoints        -> goes, once it has some
 *     entry to a frontend that was ours until just now, and was translated     -> goes
 *     anything else                                                            -> stays
 *
 * A node port is a frontend on this machine's addresses only. */
#ifndef PROXY_UDP_H
#define PROXY_UDP_H

#include "proxy/conntrack.h"
#include "proxy/registry.h"

struct udp {
	struct table *tables[TABLE_COUNT]; /* borrowed, NULL: the family is not served */
	struct map gone[TABLE_COUNT];      /* frontends that vanished since the last sweep began */
	struct map gone_before;            /* ... before it began: what the sweep looks for */
	struct map local_addresses;        /* this machine's, during a sweep */
	/* How to ask for a service's endpoints. */
	void (*request)(void *ctx, const struct proxied *proxied, int family, struct service_request *ret);
	void *ctx;
};

/* A service's state has changed and is in force: is a sweep needed? Remembers frontends that vanished. */
bool udp_changed(struct udp *udp, unsigned table_index, const struct service_state *before,
		 const struct service_state *now);

void udp_sweep_begins(struct udp *udp, int family);
bool udp_stale(const struct udp *udp, const struct conntrack_entry *entry);
void udp_sweep_ends(struct udp *udp);

void udp_done(struct udp *udp);

#endif
