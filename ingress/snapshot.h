/* One immutable picture of everything a worker needs to serve: routes, upstreams, certificates, limits. Built
 * on the main thread (ingress/build.h), read by all workers without locks, swapped whole.
 *
 * Invariants
 *  1. Immutable after publication; reference-counted with atomics; the last unref frees on whatever thread it
 * is.
 *  2. Hosts, upstreams and certificates are shared between generations by reference: a change of one rebuilds
 * one, and an old generation that is still held costs little.
 *  3. Connections belong to no generation: a request holds the snapshot it was routed by until it ends, no
 * longer.
 *  4. Health, counters and pools live with the workers, keyed by stable ids (upstream->id, endpoint address).
 */
#ifndef INGRESS_SNAPSHOT_H
#define INGRESS_SNAPSHOT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/addr.h"
#include "base/str.h"
#include "conf/object.h"

typedef struct ssl_ctx_st SSL_CTX;

/* ---- upstream: the endpoints of one service port ---- */

#define UPSTREAM_NONE 0

struct upstream {
	atomic_uint refs;
	uint32_t id; /* not UPSTREAM_NONE; the same for (namespace, service, port) as long as routes name it,
			reused never */
	const char *name;      /* "namespace-service-port", ingress-nginx's $proxy_upstream_name */
	bool missing;          /* no such Service or port; endpoint_count is 0 then */
	size_t endpoint_count; /* 0: answer 503 */
	struct endpoint_addr
	    *endpoints; /* ready ones (serving && terminating ones when none is ready), sorted */
};

/* ---- authentication: ingress/auth.h ---- */
struct auth; /* the users of one auth-secret, immutable, reference-counted */

/* ---- route: what one Ingress path says ---- */

struct route {
	const char *path; /* the rule's path, normalised; never empty */
	size_t path_len;
	enum path_type type;
	const char *ns, *ingress, *service, *port; /* for logs and metrics */
	uint32_t upstream_id;    /* snapshot_route_upstream finds it; UPSTREAM_NONE: the built-in default
				    backend, 404 */
	bool denied;             /* an annotation of it is invalid: 503 */
	bool ssl_redirect;       /* 308 to https on plain connections */
	const struct auth *auth; /* NULL: none */
	const char *auth_realm;
	uint64_t body_max_bytes; /* 0: unlimited */
	double connect_timeout_s, read_timeout_s, send_timeout_s;
	unsigned tries; /* endpoints tried before the first byte, >= 1 */
};

struct host_index;

/* One host's routes. Built once, read lock-free. */
struct host {
	atomic_uint refs;
	const char *name; /* "shop.example.com", "*.example.com" or "_" (catch-all) */
	bool has_tls;
	struct route
	    *routes; /* in order of preference: longest path first; Exact before Prefix at equal length */
	size_t route_count;
	struct route *fallback;   /* the host's "/" when no rule has it: default backend or 404 */
	struct host_index *index; /* ingress/route.h */
};

struct ingress_settings {
	uint32_t head_bytes_max, field_count_max, start_line_bytes_max;
	uint64_t body_max_bytes;                                    /* default of routes */
	double head_timeout_s, body_idle_timeout_s, idle_timeout_s; /* 10, 60, 75 */
	uint32_t requests_per_connection_max;                       /* 0: unlimited */
	uint32_t upstream_idle_per_endpoint_max;
	double upstream_idle_timeout_s;
	bool hsts;
	uint32_t hsts_max_age_s;
	bool hsts_include_subdomains;
	bool trust_forwarded; /* use-forwarded-headers */
};

struct snapshot;

struct snapshot *snapshot_ref(const struct snapshot *snapshot);
struct snapshot *snapshot_unref(struct snapshot *snapshot); /* NULL allowed; returns NULL */

const struct ingress_settings *snapshot_settings(const struct snapshot *snapshot);

/* The host that serves a Host header (any case, port and trailing dot allowed): exact, then one-label
 * wildcard, then the catch-all (never NULL). */
const struct host *snapshot_host(const struct snapshot *snapshot, struct str authority);

/* The route for a normalised path (route_path_normalise); never NULL. */
const struct route *host_route(const struct host *host, struct str path);

/* Percent-decodes, resolves . and .., merges //, into out (len bytes at least); what the match is made on,
 * while the backend gets the original target. Returns the length, or -EBADMSG (bad escape, NUL, escapes above
 * the root). */
ssize_t route_path_normalise(struct str path, char *out);

/* The certificate context for a server name (lower case, no trailing dot; empty: none was sent): exact name,
 * one-label wildcard, default. Never NULL once a snapshot is published. Borrowed: SSL_set_SSL_CTX takes its
 * own reference. */
SSL_CTX *snapshot_certificate(const struct snapshot *snapshot, struct str server_name);

/* Where a route leads in this snapshot. NULL: the built-in default backend, 404. An upstream without
 * endpoints: 503. Routes name upstreams by id, so that an endpoint change makes one new upstream and no new
 * host. */
const struct upstream *snapshot_route_upstream(const struct snapshot *snapshot, const struct route *route);

/* The same upstream in this snapshot, by id; NULL when it is gone. Used to see that an endpoint left. */
const struct upstream *snapshot_upstream(const struct snapshot *snapshot, uint32_t id);
size_t snapshot_upstream_count(const struct snapshot *snapshot);

#endif
