/* status.loadBalancer.ingress of the Ingresses we serve (design: Ingress a.8): written as soon as an Ingress comes or its
 * status differs from what is published, so that external-dns and cert-manager need not wait.
 *
 * Invariants
 *  1. Only Ingresses of our class are ever written; a foreign one is never touched.
 *  2. An object is written at most once every STATUS_PAUSE_S, so that two controllers that disagree do not fight.
 *  3. Nothing else depends on it: neither readiness nor traffic. */
#ifndef INGRESS_STATUS_H
#define INGRESS_STATUS_H

#include <ev.h>

#include "base/metrics.h"
#include "conf/kube_client.h"
#include "conf/store.h"
#include "ingress/build_class.h"

#define STATUS_PAUSE_S 5.0

struct status_writer;

struct status_config {
	const char *const *addresses; /* IP addresses or host names, in the order they are shown */
	size_t address_count;
	struct class_rules classes;
};

/* client, and the strings of config, must outlive the writer. metrics may be NULL. NULL when out of memory. */
struct status_writer *status_new(struct ev_loop *loop, struct store *store, struct kube_client *client,
				 const struct status_config *config, struct metrics *metrics);
struct status_writer *status_free(struct status_writer *writer); /* NULL allowed; returns NULL */

#endif
