/* Upstreams kept true: which service ports routes use, and what endpoints each has now.
 *
 *     upstreams_use -> id ----------------------------.
 *     upstreams_changed (Service, Endpoints, slices) --+--> marked --upstreams_settle--> draft
 *     a DNS answer (ExternalName) ---------------------'
 *
 * Invariants
 *  1. One upstream for one (namespace, service, port), with one id, as long as somebody uses it; ids are never used again.
 *  2. An event costs the upstreams of the Service it concerns; an upstream that comes out the same is not put again.
 *  3. Main thread only. */
#ifndef INGRESS_UPSTREAMS_H
#define INGRESS_UPSTREAMS_H

#include <ev.h>

#include "conf/store.h"
#include "ingress/snapshot_draft.h"

struct upstreams;

struct upstreams_config {
	struct ev_loop
	    *loop; /* for DNS; NULL: ExternalName Services stay without endpoints (the offline check) */
	const struct store *store;
	bool loopback_allowed;
	/* Called from the loop when DNS changed something that upstreams_settle should see. */
	void (*resolved)(void *ctx);
	/* From upstreams_settle: something else is wrong with one than what its users were told. */
	void (*problem)(void *ctx, const char *ns, const char *service, const char *port, const char *why);
	void *ctx;
};

/* What the store holds already is not read yet (upstreams_reread). NULL when out of memory. */
struct upstreams *upstreams_new(const struct upstreams_config *config);
struct upstreams *upstreams_free(struct upstreams *upstreams); /* NULL allowed; returns NULL */

/* One use more of a service's port (a number, a name, "" for the first); its id, or UPSTREAM_NONE when out of memory. *ret_why:
 * NULL, or what is wrong with it now (borrowed until the next settle). */
uint32_t upstreams_use(struct upstreams *upstreams, const char *ns, const char *service, const char *port,
		       const char **ret_why);
void upstreams_drop(struct upstreams *upstreams, uint32_t id); /* one use less; UPSTREAM_NONE allowed */

/* As a store's listener hears it; other kinds are passed over. 0 or -ENOMEM. */
int upstreams_changed(struct upstreams *upstreams, enum kind kind, struct object *old, struct object *new);

/* Brings the draft up to date with what is marked. *ret_changed is set when an upstream was put or removed. 0 or -ENOMEM, and
 * then what was not done stays marked. */
int upstreams_settle(struct upstreams *upstreams, struct draft *draft, bool *ret_changed);

/* Reads all endpoints from the store: at first, and after memory ran out in upstreams_changed. 0 or -ENOMEM. */
int upstreams_reread(struct upstreams *upstreams);

#endif
