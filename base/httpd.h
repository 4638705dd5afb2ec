/* A small HTTP/1.1 server for health, metrics and status pages: one loop, short answers from memory, GET and
 * HEAD, bounded connections and times. Not for the ingress's clients.
 *
 * Invariants
 *  1. At most HTTPD_CONNECTIONS_MAX connections; beyond that the oldest idle one goes.
 *  2. A request that is not complete after 5 s and an idle connection after 30 s are closed. */
#ifndef BASE_HTTPD_H
#define BASE_HTTPD_H

#include <ev.h>
#include <stdbool.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/http1.h"

#define HTTPD_CONNECTIONS_MAX 256

struct httpd;

struct httpd_answer {
	unsigned status;          /* 200 unless set */
	const char *content_type; /* text/plain; charset=utf-8 unless set */
	struct buf headers;       /* extra "Name: value\r\n" lines */
	struct buf body;
};

/* Fills *answer. head->path and head->query say what was asked; HEAD is answered like GET, its body left out.
 * Must not free the httpd. */
typedef void httpd_fn(void *ctx, const struct http_head *head, struct httpd_answer *answer);

/* addr with family 0: all addresses, both families (one dual-stack socket). NULL with *err, the address in it. */
struct httpd *httpd_listen(struct ev_loop *loop, const struct endpoint_addr *addr, httpd_fn *fn, void *ctx,
			   struct err *err);
/* Requests of every method are given to fn; without this, others than GET and HEAD are answered 405. */
void httpd_take_any_method(struct httpd *httpd);
struct httpd *httpd_free(struct httpd *httpd);  /* closes all connections at once; returns NULL */
uint16_t httpd_port(const struct httpd *httpd); /* the port bound, when 0 was asked for */

#endif
