/* The hosts that served Ingresses name, and rebuilding those that something changed for.
 *
 *     hosts_claim / hosts_release / hosts_mark --> marked --hosts_settle--> draft (host and certificate)
 *
 * Invariants
 *  1. A change costs the hosts it concerns. A host that fails to build, or waits for a Secret, stays marked and what it was
 *     stays in force.
 *  2. A host uses exactly the upstreams its routes name. */
#ifndef INGRESS_INGRESS_HOSTS_H
#define INGRESS_INGRESS_HOSTS_H

#include "ingress/build.h"
#include "ingress/ingress_secrets.h"
#include "ingress/upstreams.h"

struct hosts;

typedef void host_finding_fn(void *ctx, const struct object *object, const char *field, const char *why);

struct hosts_config {
	struct upstreams *upstreams;
	struct secrets *secrets;
	const struct annotations_options *annotations;
	uint32_t default_upstream;
	host_finding_fn *finding; /* from hosts_settle: those that were not there before */
	void *ctx;
};

struct hosts *hosts_new(const struct hosts_config *config); /* NULL when out of memory */
struct hosts *hosts_free(struct hosts *hosts);              /* NULL allowed; returns NULL */

/* An Ingress has a say in all its hosts from now on; they are marked. ingress is borrowed until released. 0 or -ENOMEM, and
 * then it has a say in none. */
int hosts_claim(struct hosts *hosts, const struct build_ingress *ingress);
void hosts_release(struct hosts *hosts, const struct build_ingress *ingress);
void hosts_mark(struct hosts *hosts, const struct build_ingress *ingress); /* all of its hosts */

/* Rebuilds what is marked, but for hosts that wait for Secrets to become known. *ret_changed is set when the draft was.
 * 0 or -ENOMEM. */
int hosts_settle(struct hosts *hosts, struct draft *draft, bool *ret_changed);
bool hosts_waiting(const struct hosts *hosts); /* is one still marked? */
size_t hosts_count(const struct hosts *hosts);

#endif
