/* The Ingress controller: Ingresses, Services, endpoints and Secrets in, published snapshots out.
 *
 *     store --changed--> marks: ingress_hosts (hosts), upstreams (service ports), ingress_secrets (certificates, users)
 *           --settled--> hosts_settle (build.h: pure, what the objects mean) -> upstreams_settle -> draft
 *                        -> snapshot_from_draft -> workers_publish
 *
 * Invariants
 *  1. Nothing is published before Ingresses, IngressClasses, Services, EndpointSlices and every Secret they name (or its
 *     known absence) are in.
 *  2. One changed object rebuilds what depends on it: an endpoint change one upstream, an Ingress the hosts it touches, a
 *     Secret the certificates and users made from it and the hosts that show them. One snapshot a settle, none when nothing
 *     was rebuilt.
 *  3. A wrong object costs itself only; the reason is logged once, with object and field.
 *  4. A host whose Secrets are asked for but not yet known stays as it was. */
#ifndef INGRESS_INGRESS_H
#define INGRESS_INGRESS_H

#include <ev.h>

#include "base/metrics.h"
#include "conf/source.h"
#include "conf/store.h"
#include "ingress/worker.h"

struct ingress_controller;

struct ingress_config {
	bool any_class;                  /* manifests without a class flag: every Ingress is served */
	const char *ingress_class;       /* --ingress-class, default "fairlead" */
	const char *controller_class;    /* --controller-class, default "fairlead.dev/ingress" */
	bool class_by_name;              /* --ingress-class-by-name */
	bool watch_without_class;        /* --watch-ingress-without-class */
	const char *watch_namespace;     /* NULL: all */
	const char *default_certificate; /* "ns/name" of --default-ssl-certificate; NULL: self-signed */
	const char *default_backend;     /* "ns/name" of --default-backend-service; NULL: built-in 404 */
	const char *annotations_prefix;  /* "nginx.ingress.kubernetes.io" */
	bool loopback_endpoints;
	struct ingress_settings settings;
	/* What is wrong with an object, each finding once until it is gone and comes again. NULL: logged as warnings. */
	void (*finding)(void *ctx, const struct object *object, const char *field, const char *why);
	void *finding_ctx;
};

/* loop: NULL: no DNS. source: told which Secrets are wanted; NULL: the store has all there is. workers: published to; must outlive
 * the controller; NULL: nobody is. config's strings must outlive it too. metrics may be NULL. What the store holds already is taken up; the
 * first snapshot is published as soon as invariant 1 allows, perhaps inside this call. NULL with *err. */
struct ingress_controller *ingress_new(struct ev_loop *loop, struct store *store, struct source *source,
				       struct workers *workers, const struct ingress_config *config,
				       struct metrics *metrics, struct err *err);
struct ingress_controller *ingress_free(
    struct ingress_controller *controller); /* NULL allowed; returns NULL */

/* Has the first snapshot been published? */
bool ingress_ready(const struct ingress_controller *controller);

extern const struct ingress_settings ingress_default_settings;

#endif
