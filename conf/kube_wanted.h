/* Objects wanted by name (Secrets, ConfigMaps), so that nothing else of their kind is ever read: works with RBAC
 * that names them (resourceNames).
 *
 *   want -> FETCHING (one GET) -> known -> WATCHED (list and watch of that one name), while watches are left
 *               |   ^                         | refused: get is allowed, watch is not
 *               |   '-- retry --              v
 *               '-- no watch left --------> POLLED (a GET now and then)
 *
 * Limits. HTTP/1.1 carries one watch a connection: at most KUBE_WATCHES_MAX objects are watched. The others are
 * fetched again in turn, each every timing.poll_s (10 s), but no more than KUBE_POLLS_PER_S in all: with 2,000
 * Secrets a change of one that is not watched is seen within some 100 s. A watch that becomes free goes to the
 * one that waited longest.
 *
 * Invariants
 *  1. An object is known once the server has answered about it: with it, with 404, or with 403 (logged).
 *  2. What no object can be called is known to be absent, and never asked for.
 *  3. After kube_wanted_remove its object leaves the store from the loop, never inside the call. */
#ifndef CONF_KUBE_WANTED_H
#define CONF_KUBE_WANTED_H

#include <ev.h>
#include <stdbool.h>

#include "conf/kube_reflector.h"
#include "conf/store.h"

#define KUBE_WATCHES_MAX 64
#define KUBE_POLLS_PER_S 20

struct kube_wanted;

struct kube_wanted_options {
	struct ev_loop *loop;
	struct kube_client *client;
	struct store *store;
	struct kube_traits *traits;
	const struct kube_timing *timing;
	struct metric *restarts[KIND_COUNT], *decode_errors[KIND_COUNT], *last_event;
	/* Something may have changed in the store, or (became_known) in what is known. */
	void (*changed)(void *ctx, bool became_known);
	void *ctx;
};

struct kube_wanted *kube_wanted_new(const struct kube_wanted_options *options); /* NULL: out of memory */
struct kube_wanted *kube_wanted_free(struct kube_wanted *wanted); /* NULL allowed; returns NULL */

/* Counted. 0 or -ENOMEM. */
int kube_wanted_add(struct kube_wanted *wanted, enum kind kind, const char *ns, const char *name);
void kube_wanted_remove(struct kube_wanted *wanted, enum kind kind, const char *ns, const char *name);

/* The server was away and is back: nobody needs to wait longer for it. */
void kube_wanted_hurry(struct kube_wanted *wanted);

bool kube_wanted_known(const struct kube_wanted *wanted, enum kind kind, const char *ns, const char *name);
/* Are first answers still on their way? */
bool kube_wanted_busy(const struct kube_wanted *wanted);

#endif
