/* One connection to the API server: finds its address, connects, then carries one exchange after the other.
 *
 *     resolving -> connecting (each address in turn) -> ready -> kube_conn_send -> head -> body ... -> ended
 *                                                         ^------------------------------------------'
 *     and from anywhere: broken
 *
 * Invariants
 *  1. Callbacks run from the loop, never inside a kube_conn_* call. kube_conn_free is allowed in each of
 * them; the body callback must then return other than 0.
 *  2. broken is the last call; the owner frees the connection in it.
 *  3. A connection whose answer ended badly, or that the server wants closed, is never reused. */
#ifndef CONF_KUBE_CONN_H
#define CONF_KUBE_CONN_H

#include <ev.h>
#include <stdbool.h>

#include <openssl/types.h>

#include "base/dns.h"
#include "base/err.h"
#include "base/str.h"
#include "conf/kube_timing.h"
#include "conf/kubeconfig.h"

struct kube_conn;

struct kube_conn_ops {
	void (*ready)(void *ctx);
	void (*head)(void *ctx, unsigned status, double retry_after_s);
	int (*body)(void *ctx, struct str bytes, struct err *err);
	void (*ended)(void *ctx, bool reusable);
	/* answered: bytes of an answer had come. */
	void (*broken)(void *ctx, int code, bool answered, const struct err *err);
};

struct kube_conn_options {
	struct ev_loop *loop;
	struct dns *dns;
	const struct kube_config *config;
	SSL_CTX *tls; /* NULL: plain */
	const struct kube_timing *timing;
	struct ip prefer; /* tried first when the name still has it; family 0: none */
	const struct kube_conn_ops *ops;
	void *ctx;
};

/* NULL when out of memory. */
struct kube_conn *kube_conn_open(const struct kube_conn_options *options);
struct kube_conn *kube_conn_free(struct kube_conn *conn); /* closes at once; NULL allowed; returns NULL */

/* A whole request, head and body. Once ready, and after each `ended` that was reusable. answer_s: the answer
 * must have ended by then; 0: it may last. 0 or -ENOMEM. */
int kube_conn_send(struct kube_conn *conn, struct str request, struct str method, double answer_s);

struct ip kube_conn_ip(const struct kube_conn *conn); /* the address connected to */

#endif
