/* Message heads as they are passed on: the request's to the endpoint, the answer's to the client. Pure: parsed
 * head in, bytes out.
 *
 * Invariants
 *  1. Framing fields are written here from the one decision the parser made (http_head.framing), never copied.
 *  2. Hop-by-hop fields and those named in Connection end here, and so does everything a client could say
 *     about its own identity (X-Forwarded-*, X-Real-IP, Forwarded, ssl-client-* ..., names with '_'): the
 *     endpoint sees what we know.
 *  3. All other fields pass in the order they came.
 *  4. What is written parses as exactly one head (tests/fuzz/fuzz_rewrite.c). */
#ifndef INGRESS_FORWARD_H
#define INGRESS_FORWARD_H

#include "base/addr.h"
#include "base/http1.h"
#include "ingress/text.h"

/* Where a request came in. */
struct forward_origin {
	struct ip peer;
	struct endpoint_addr local; /* the address only matters to requests that name no host */
	bool https;
	bool trust; /* use-forwarded-headers: a proxy in front of us says who the client is */
};

/* Who the client is and what it asked, as the endpoint is told. Slices point into the head. */
struct forward_identity {
	struct ip client;
	struct str host;            /* empty (HTTP/1.0): the local address stands for it */
	struct endpoint_addr local; /* its port is the one the client spoke to */
	bool https;
};

struct forward_identity forward_identify(const struct http_head *head, const struct forward_origin *origin);

#define REQUEST_ID_BYTES     32
#define REQUEST_ID_BYTES_MAX 256 /* a client's longer one is replaced */

/* The client's X-Request-ID; empty when a new one is needed. */
struct str forward_request_id(const struct http_head *head);

struct forward_request {
	struct forward_identity identity;
	struct str request_id;
	bool trust;
	bool upgrade;            /* the protocol asked for is passed on */
	bool drop_authorization; /* it was for us */
};

/* May the upgrade that a request asks for be passed on? Not with a body (whose end would decide where the new
 * protocol begins), and never to HTTP/2 or TLS, which would hide the requests that follow from our rules. */
bool forward_upgrade_allowed(const struct http_head *head);

/* Room enough for forward_request, given the length of the head as received. */
size_t forward_request_bytes_max(const struct http_head *head, size_t head_len,
				 const struct forward_request *how);
void forward_request(struct text *out, const struct http_head *head, const struct forward_request *how);

struct forward_response {
	enum http_framing framing; /* towards the client: forward_response_framing */
	bool client_is_http10, keep_alive;
	bool was_head;   /* answer to HEAD: its Content-Length is passed on although no body follows */
	struct str hsts; /* value of Strict-Transport-Security; empty: the endpoint's is kept */
	struct str date; /* for answers that have none */
};

enum http_framing forward_response_framing(const struct http_head *head, bool client_is_http10);

size_t forward_response_bytes_max(const struct http_head *head, size_t head_len,
				  const struct forward_response *how);
void forward_response(struct text *out, const struct http_head *head, const struct forward_response *how);

/* 1xx, 101 included. */
void forward_interim(struct text *out, const struct http_head *head);

#endif
