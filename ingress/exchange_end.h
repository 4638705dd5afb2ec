/* Why an exchange (one request and its answer) ended: one word, the same in the access log, the metric and
 * the tests. */
#ifndef INGRESS_EXCHANGE_END_H
#define INGRESS_EXCHANGE_END_H

enum exchange_end {
	EXCHANGE_OK,                 /* an answer came from the endpoint (or /healthz) and went out whole */
	EXCHANGE_REDIRECTED,         /* 308 to https */
	EXCHANGE_UNAUTHORIZED,       /* 401 */
	EXCHANGE_AUTH_BUSY,          /* 503: too many passwords wait to be verified */
	EXCHANGE_DENIED,             /* 503: an annotation of the route is invalid */
	EXCHANGE_NO_ROUTE,           /* 404 */
	EXCHANGE_NO_ENDPOINT,        /* 503: Service missing or nothing ready */
	EXCHANGE_METHOD_NOT_ALLOWED, /* 405: CONNECT, TRACE */
	EXCHANGE_BAD_REQUEST,        /* 400, 414, 431, 501, 505 */
	EXCHANGE_BODY_TOO_LARGE,     /* 413 */
	EXCHANGE_CLIENT_CLOSED,      /* the client went away; logged as 499 when nothing was answered */
	EXCHANGE_CLIENT_TIMEOUT,     /* 408 */
	EXCHANGE_UPSTREAM_REFUSED,   /* 502: no endpoint could be connected to */
	EXCHANGE_UPSTREAM_TIMEOUT,   /* 504 */
	EXCHANGE_UPSTREAM_RESET,     /* 502, or the answer cut short */
	EXCHANGE_UPSTREAM_BAD,       /* 502: no valid HTTP, or more than the limits allow */
	EXCHANGE_SHUTDOWN,           /* cut off at the end of the grace period */
	EXCHANGE_NO_MEMORY,          /* 503 */
};
#define EXCHANGE_END_COUNT 18

const char *exchange_end_name(enum exchange_end end); /* "ok", "client_closed" ... */

/* The status that says it to the client when nothing was answered yet; 499 where nobody listens any more. */
unsigned exchange_end_status(enum exchange_end end);

#endif
