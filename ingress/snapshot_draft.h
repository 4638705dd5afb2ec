/* The writable side of snapshots: a draft is what the controller (or a test) edits, a snapshot is what it
 * looked like at one moment. Main thread only.
 *
 *     draft_new -> draft_put_* / draft_remove_* -> snapshot_from_draft -> workers_publish
 *                            ^------------------------------'
 *
 * Invariants
 *  1. snapshot_from_draft copies no host, upstream or certificate: its cost is a few hundred bytes per 64 of
 * each.
 *  2. Editing a draft never touches a snapshot made of it.
 *
 * By hand, as tests do:
 *
 *     struct endpoint_addr pod = {...};
 *     struct route route = {.path = "/", .type = PATH_PREFIX, .ns = "shop", .ingress = "web", .service =
 * "web", .port = "80", .upstream_id = 1, .tries = 1}; route_set_defaults(&route, &settings); timeouts and
 * limits draft_put_upstream(draft, upstream_new(1, "shop-web-80", false, &pod, 1)); draft_put_host(draft,
 * host_new("shop.example.com", false, &route, 1, NULL)); draft_put_certificate(draft, "shop.example.com",
 * ctx); snapshot = snapshot_from_draft(draft);                                                          */
#ifndef INGRESS_SNAPSHOT_DRAFT_H
#define INGRESS_SNAPSHOT_DRAFT_H

#include "ingress/snapshot.h"

struct draft;

/* Settings are copied. default_certificate: for names nobody has one for; may be NULL where no TLS is served;
 * a reference is taken. The draft begins with an empty catch-all host. NULL when out of memory. */
struct draft *draft_new(const struct ingress_settings *settings, SSL_CTX *default_certificate);
struct draft *draft_free(struct draft *draft); /* NULL allowed; returns NULL */

void draft_set_settings(struct draft *draft, const struct ingress_settings *settings);
void draft_set_default_certificate(struct draft *draft, SSL_CTX *default_certificate); /* takes a reference */

/* Where requests for hosts that nobody named go, as long as no "_" was put; UPSTREAM_NONE (the default): the built-in 404.
 * 0 or -ENOMEM. */
int draft_set_default_upstream(struct draft *draft, uint32_t upstream_id);

/* The puts take over the caller's reference, also on failure; NULL is taken for a failed new. They replace
 * what has the same name or id. 0 or -ENOMEM. */
int draft_put_host(struct draft *draft, struct host *host);
int draft_put_upstream(struct draft *draft, struct upstream *upstream);
/* name: lower case, "*.example.com" for a wildcard. Takes a reference of its own to ctx. */
int draft_put_certificate(struct draft *draft, const char *name, SSL_CTX *ctx);

/* Absent ones are passed over. 0 or -ENOMEM. Removing "_" puts the empty catch-all back. */
int draft_remove_host(struct draft *draft, const char *name);
int draft_remove_upstream(struct draft *draft, uint32_t id);
int draft_remove_certificate(struct draft *draft, const char *name);

/* Borrowed; NULL when absent. */
const struct host *draft_host(const struct draft *draft, const char *name);
const struct upstream *draft_upstream(const struct draft *draft, uint32_t id);
SSL_CTX *draft_certificate(const struct draft *draft, const char *name);

struct snapshot *snapshot_from_draft(const struct draft *draft); /* NULL when out of memory */

/* Copies routes and all their strings; takes a reference to each route's auth. Sorts them by preference; a
 * route that another one makes unreachable (same path and the same kind of match) stays listed but never
 * matches. fallback: what a miss gets; NULL: the built-in 404. NULL when out of memory. */
struct host *host_new(const char *name, bool has_tls, const struct route *routes, size_t route_count,
		      const struct route *fallback);
struct host *host_unref(struct host *host); /* NULL allowed; returns NULL */

/* endpoints are copied, sorted, and those given twice count once. NULL when out of memory. */
struct upstream *upstream_new(uint32_t id, const char *name, bool missing,
			      const struct endpoint_addr *endpoints, size_t endpoint_count);
struct upstream *upstream_ref(const struct upstream *upstream);
struct upstream *upstream_unref(struct upstream *upstream); /* NULL allowed; returns NULL */

/* Body limit from the settings, ingress-nginx's timeouts (5, 60, 60 s) and three tries. */
void route_set_defaults(struct route *route, const struct ingress_settings *settings);

#endif
