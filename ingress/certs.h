/* Certificates: from a Secret's bytes to an SSL_CTX that serves them.
 *
 * Invariants
 *  1. A certificate and its key are one value: whoever holds it serves both or neither.
 *  2. Every SSL_CTX made here has the same protocol settings (TLS 1.2 and 1.3, Mozilla's intermediate ciphers
 * without DHE, the client's preference, no renegotiation, no compression) and went through the set-up
 * function.
 *  3. A struct certificate belongs to the main thread; its SSL_CTX may be used by any. */
#ifndef INGRESS_CERTS_H
#define INGRESS_CERTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "conf/object.h"

typedef struct ssl_ctx_st SSL_CTX;

struct certificate {
	unsigned refs;
	SSL_CTX *ctx;
	const char **names; /* of the leaf: SAN dNSNames, then the subject's CN; lower case */
	size_t name_count;
	int64_t not_before_s, not_after_s; /* Unix time */
};

/* fn is called on each new SSL_CTX: the data path puts its ALPN, ticket and SNI callbacks there. Once, at
 * start, before anything else here. */
typedef void certs_setup_fn(void *ctx, SSL_CTX *ssl_ctx);
void certs_set_context_setup(certs_setup_fn *fn, void *ctx);

/* chain: PEM, the leaf first. NULL with *err, which says what is wrong with which of the two. */
struct certificate *certificate_from_pem(struct str chain, struct str key, struct err *err);
/* tls.crt and tls.key. */
struct certificate *certificate_from_secret(const struct secret *secret, struct err *err);
/* ingress-nginx's: CN "Kubernetes Ingress Controller Fake Certificate", O "Acme Co", SAN ingress.local; a
 * fresh P-256 key, good for a year. */
struct certificate *certificate_self_signed(struct err *err);

struct certificate *certificate_ref(struct certificate *certificate);
struct certificate *certificate_unref(struct certificate *certificate); /* NULL allowed; returns NULL */

/* Is host ("shop.example.com", or "*.example.com" itself) among the names, a wildcard standing for one label?
 */
bool certificate_covers(const struct certificate *certificate, struct str host);

/* NULL, or "expired on 2024-05-01" and the like, into buffer. */
const char *certificate_time_problem(const struct certificate *certificate, int64_t now_s, char *buffer,
				     size_t size);

#endif
