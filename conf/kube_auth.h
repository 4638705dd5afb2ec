/* Who we say we are to the API server, now: the value of the Authorization header, kept fresh from a token, a
 * token file that is rotated, a name and password, or a credential plugin (whose client certificate goes to
 * conf/kube_tls).
 *
 * Invariants
 *  1. A token file that is empty or cannot be read leaves the last good token in force.
 *  2. At most one plugin runs at a time, and a failed one is not started again at once.
 *  3. No token is ever part of an error or a log line. */
#ifndef CONF_KUBE_AUTH_H
#define CONF_KUBE_AUTH_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "conf/kube_timing.h"
#include "conf/kube_tls.h"
#include "conf/kubeconfig.h"

struct kube_auth;

/* config and tls (NULL for plain HTTP): borrowed. ready(ctx) is called from the loop when credentials that
 * kube_auth_get had none of are there, or cannot be had. NULL with *err. */
struct kube_auth *kube_auth_new(struct ev_loop *loop, const struct kube_config *config, struct kube_tls *tls,
				const struct kube_timing *timing, void (*ready)(void *ctx), void *ctx,
				struct err *err);
struct kube_auth *kube_auth_free(struct kube_auth *auth); /* NULL allowed; returns NULL */

struct kube_authorization {
	const char *header;  /* "Bearer ..."; "" when there is none. Borrowed until the next call */
	uint64_t generation; /* of these credentials */
};

/* 0; -EAGAIN while they are being fetched (ready will be called); else -errno with *err. */
int kube_auth_get(struct kube_auth *auth, struct kube_authorization *ret, struct err *err);

/* The server refused credentials of that generation (401). True when there are or will be others: try again.
 */
bool kube_auth_refused(struct kube_auth *auth, uint64_t generation);

#endif
