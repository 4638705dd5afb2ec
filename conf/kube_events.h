/* Tells people what happened to an object, as Events of the API (events.k8s.io/v1), on a best-effort basis.
 *
 * Invariants
 *  1. The same event about the same object is sent at most once in KUBE_EVENTS_QUIET_S.
 *  2. At most KUBE_EVENTS_PENDING_MAX are under way; beyond that, and when the API refuses, they are dropped. */
#ifndef CONF_KUBE_EVENTS_H
#define CONF_KUBE_EVENTS_H

#include "base/metrics.h"
#include "conf/kube_client.h"

#define KUBE_EVENTS_PENDING_MAX 32
#define KUBE_EVENTS_QUIET_S     600.0

struct kube_events;

/* client: borrowed, must outlive it. instance: the node's name. metrics may be NULL. NULL when out of memory. */
struct kube_events *kube_events_new(struct ev_loop *loop, struct kube_client *client, const char *instance,
				    struct metrics *metrics);
struct kube_events *kube_events_free(struct kube_events *events); /* NULL allowed; returns NULL */

struct kube_event_text {
	const char *kind, *ns, *name,
	    *uid; /* of a v1 object; ns "" for cluster-scoped ones, uid "" if not known */
	bool warning;
	const char *reason, *action; /* CamelCase words */
	const char *note;
};

/* events NULL: nothing happens. */
void kube_events_record(struct kube_events *events, const struct kube_event_text *text);

/* The body of the request, `now` in microseconds since 1970. Pure. */
void kube_events_append(struct buf *out, const struct kube_event_text *text, const char *instance,
			int64_t now_us);

#endif
