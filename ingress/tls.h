/* TLS towards clients: one context per worker, certificates by server name, session tickets under keys that all
 * workers share.
 *
 * Invariants
 *  1. The certificate is asked for at every handshake, so a new Secret is in force with the next one.
 *  2. A ticket is good for the server name it was issued for and no other: the name is the session id context.
 *  3. Ticket keys are random, live in memory only, and are replaced every few hours; the one before still
 *     opens. */
#ifndef INGRESS_TLS_H
#define INGRESS_TLS_H

#include <openssl/types.h>

#include "base/err.h"
#include "base/str.h"

struct tls_keys;

struct tls_keys *tls_keys_new(struct err *err);        /* NULL with *err */
struct tls_keys *tls_keys_free(struct tls_keys *keys); /* after all servers; NULL allowed; returns NULL */

/* server_name: lower case, no trailing dot; empty when the client sent none. Borrowed; NULL refuses the
 * handshake. */
typedef SSL_CTX *tls_certificate_fn(void *ctx, struct str server_name);

struct tls_server;

struct tls_server *tls_server_new(struct tls_keys *keys, tls_certificate_fn *certificate, void *ctx,
				  struct err *err);
struct tls_server *tls_server_free(struct tls_server *server); /* NULL allowed; returns NULL */

/* A connection that waits for its ClientHello. NULL when out of memory. */
SSL *tls_server_accept(struct tls_server *server, int fd);

enum tls_handshake {
	TLS_HANDSHAKE_DONE,
	TLS_HANDSHAKE_READS,
	TLS_HANDSHAKE_WRITES,
	TLS_HANDSHAKE_FAILED,
	TLS_HANDSHAKE_IS_PLAIN_HTTP
};
enum tls_handshake tls_handshake(SSL *ssl);

#endif
