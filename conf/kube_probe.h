/* Notices that an API server which refused connections accepts them again, so that those who wait ever longer
 * between tries need not wait that long: one bare TCP connection a second, whatever the number of waiters.
 *
 *     [idle] --suspect--> connects? --yes, it never was away: the trouble is another--> [idle]
 *                            | no  ^
 *                            v     | probe_s later
 *                          [away] -'--yes--> back(ctx) --> [idle]
 */
#ifndef CONF_KUBE_PROBE_H
#define CONF_KUBE_PROBE_H

#include "conf/kube_conn.h"

struct kube_probe;

/* dns, config, timing: borrowed. NULL: out of memory. */
struct kube_probe *kube_probe_new(struct ev_loop *loop, struct dns *dns, const struct kube_config *config,
				  const struct kube_timing *timing, void (*back)(void *ctx), void *ctx);
struct kube_probe *kube_probe_free(
    struct kube_probe *probe); /* NULL allowed; returns NULL; not inside back */

/* A request found nobody to answer it. */
void kube_probe_suspect(struct kube_probe *probe);

#endif
