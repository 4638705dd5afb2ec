/* Requests to one API server over HTTP/1.1 and TLS, nothing blocking: short ones share a few kept
 * connections, a watch has one to itself for as long as it lasts.
 *
 *     kube_request -> waits (credentials, a free connection) -> sent -> opened (2xx) -> body ... -> done
 *
 * Invariants
 *  1. For each request done is called exactly once, last, and the request is gone then; not at all after
 *     kube_request_cancel. No callback runs inside kube_request or kube_request_cancel.
 *  2. At most KUBE_SHORT_MAX short requests are under way, the rest waits its turn; watches do not count.
 *  3. A request is sent a second time only when the server cannot have acted on the first: 401 and we have
 * other credentials now, or a kept connection that turned out closed before any answer (not POST and PATCH).
 *  4. A server that stops answering is noticed by time-outs of ours (connect, head, answer), on a silent
 * watch by TCP keep-alive (base/stream.h).
 *  5. When requests found nobody there, the server is looked for each timing.probe_s, and its return is told.
 *  6. No token, password or key is ever part of an error or a log line. */
#ifndef CONF_KUBE_CLIENT_H
#define CONF_KUBE_CLIENT_H

#include <ev.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/metrics.h"
#include "base/str.h"
#include "conf/kube_timing.h"
#include "conf/kubeconfig.h"

#define KUBE_SHORT_MAX 8

struct kube_client;
struct kube_request;

/* loop: the default one if the kubeconfig names a credential plugin. config and timing (NULL: the defaults):
 * borrowed. metrics may be NULL: fairlead_api_requests_total{code}. NULL with *err. */
struct kube_client *kube_client_new(struct ev_loop *loop, const struct kube_config *config,
				    struct metrics *metrics, const struct kube_timing *timing,
				    struct err *err);
/* Cancels what runs. Not inside a callback of a request of its own. NULL allowed; returns NULL. */
struct kube_client *kube_client_free(struct kube_client *client);

/* fn is called from the loop when a server that was away accepts connections again. One at most. */
void kube_client_set_back_callback(struct kube_client *client, void (*fn)(void *ctx), void *ctx);

struct kube_result {
	int code; /* 0: a 2xx answer, whole; -EREMOTEIO: another answer; else why there is none: -errno */
	unsigned status;      /* of the answer; 0: there was none */
	double retry_after_s; /* the server asked for so long a pause; 0: it did not */
	const char *why;      /* one line, "403 Forbidden: services is forbidden: ..."; "" with code 0 */
};

struct kube_request_ops {
	/* A 2xx head arrived. NULL allowed. */
	void (*opened)(void *ctx);
	/* The next bytes of a 2xx answer's body, borrowed. Other than 0 ends the request: done is called with
	 * that code, unless the request was cancelled, which must return other than 0 too. NULL: nobody reads it. */
	int (*body)(void *ctx, struct str bytes, struct err *err);
	void (*done)(void *ctx, const struct kube_result *result);
};

struct kube_request_options {
	const char *method;       /* "GET" */
	const char *path;         /* with query, as conf/kube_path.h makes it */
	struct str body;          /* len 0: none */
	const char *content_type; /* of the body: "application/json" */
	bool watch;               /* lasts: a connection to itself */
	bool patient;             /* no time-out once the head is there: the caller looks after it */
	const struct kube_request_ops *ops;
	void *ctx;
};

/* Copies what it is given, but for ops and ctx. NULL when out of memory. */
struct kube_request *kube_request(struct kube_client *client, const struct kube_request_options *options);

/* NULL allowed; returns NULL. */
struct kube_request *kube_request_cancel(struct kube_request *request);

#endif
