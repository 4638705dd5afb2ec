/* What is to become of a request: the order of ingress-nginx's phases as one pure function.
 *
 *     method -> route -> body size 413 -> denied 503 -> redirect to https 308 -> password 401 -> endpoints
 * (404, 503)
 */
#ifndef INGRESS_PLAN_H
#define INGRESS_PLAN_H

#include "base/http1.h"
#include "ingress/exchange_end.h"
#include "ingress/forward.h"
#include "ingress/page.h"
#include "ingress/snapshot.h"

enum plan_action {
	PLAN_FORWARD,
	PLAN_ANSWER,   /* with the status of `end` */
	PLAN_REDIRECT, /* 308 to https */
	PLAN_HEALTHY,  /* 200, empty */
};

struct plan {
	enum plan_action action;
	enum exchange_end end; /* what it ends for unless forwarded */
	bool needs_password;   /* before the action is taken */
	const struct host *host;
	const struct route *route;       /* NULL when the request was refused before it was looked up */
	const struct upstream *upstream; /* with PLAN_FORWARD: has endpoints */
};

/* path_buffer: head->path.len bytes for the normalised path. */
struct plan plan_request(const struct http_head *head, const struct forward_identity *identity,
			 const struct snapshot *snapshot, char *path_buffer);

/* The same target on https: the host without its port, and without one slash at the very end, as
 * ingress-nginx writes it. */
struct page_redirect plan_redirect(const struct http_head *head);

#endif
