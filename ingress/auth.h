/* Basic authentication (RFC 7617): the users of one auth-secret, and verifying them without holding up a
 * worker.
 *
 *     worker: auth_check --known pair--> AUTH_GRANTED at once
 *                        --otherwise---> AUTH_PENDING -> pool thread hashes -> fn(verdict) on the worker's
 * own loop
 *
 * bcrypt is meant to take 50 ms and more, so hashing happens on a few threads of its own. A pair of user and
 * password that was verified once is remembered inside the user's entry as a keyed digest (never the
 * password), so that the usual request is answered synchronously; what is remembered dies with the struct
 * auth, which a Secret change replaces.
 *
 * Invariants
 *  1. A struct auth is immutable to its readers and reference-counted with atomics: any thread may ref, unref
 * and check.
 *  2. fn is called exactly once for each AUTH_PENDING that is not cancelled, on the loop of its auth_client,
 * never from inside auth_check.
 *  3. At most waiting_max checks wait in a pool; beyond that auth_check says AUTH_BUSY (answer 503).
 *  4. A wrong password, an unknown user and an Authorization that is none cannot be told apart by the
 * verdict, and the first two not by the time either: an unknown user is hashed against some user's hash. */
#ifndef INGRESS_AUTH_H
#define INGRESS_AUTH_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"
#include "conf/object.h"
#include "ingress/finding.h"

/* ---- the users of one Secret ---- */

struct auth;

enum auth_secret_type {
	AUTH_SECRET_FILE, /* key "auth": htpasswd lines */
	AUTH_SECRET_MAP,  /* one key per user, the value is the hash */
};

/* Lines and keys that cannot be used (unknown kind of hash, a cost beyond reason) are left out with a finding
 * each; a Secret without the key "auth" is an error. findings may be NULL. NULL with *err. */
struct auth *auth_from_secret(const struct secret *secret, enum auth_secret_type type,
			      struct findings *findings, struct err *err);
/* The text of an htpasswd file; NULL when out of memory. */
struct auth *auth_from_htpasswd(struct str text, struct findings *findings);

struct auth *auth_ref(const struct auth *auth);
struct auth *auth_unref(const struct auth *auth); /* NULL allowed; returns NULL */
size_t auth_user_count(const struct auth *auth);

/* ---- credentials of one request ---- */

#define AUTH_CREDENTIALS_MAX 512 /* user, colon and password; longer ones are refused */

struct auth_credentials {
	char text[AUTH_CREDENTIALS_MAX + 1]; /* user NUL password NUL */
	size_t user_len, password_len;
};

/* The value of an Authorization field, "Basic <base64 of user:password>". 0, or -EBADMSG (another scheme, bad
 * base64, no colon, a NUL inside, too long): answer 401. The user (for the access log) is text[0 ..
 * user_len). */
int auth_credentials_parse(struct str authorization, struct auth_credentials *ret);

/* ---- verification ---- */

enum auth_verdict {
	AUTH_GRANTED,
	AUTH_DENIED,  /* 401 with WWW-Authenticate */
	AUTH_PENDING, /* fn will be called */
	AUTH_BUSY,    /* 503 */
};

struct auth_pool;   /* the threads; one for all workers */
struct auth_client; /* one worker's end of it */
struct auth_query;  /* a check that is pending */

/* thread_count 0: a quarter of the cores, at least one. waiting_max 0: 256. NULL with *err. */
struct auth_pool *auth_pool_new(unsigned thread_count, unsigned waiting_max, struct err *err);
/* After all its clients; waits for the hashes being computed. NULL allowed; returns NULL. */
struct auth_pool *auth_pool_free(struct auth_pool *pool);

/* Called on (and only used from) the thread that runs loop. NULL when out of memory. */
struct auth_client *auth_client_new(struct auth_pool *pool, struct ev_loop *loop);
/* Forgets what is pending without calling back; waits for nothing. Not inside an auth_fn. NULL allowed;
 * returns NULL. */
struct auth_client *auth_client_free(struct auth_client *client);

/* verdict: AUTH_GRANTED or AUTH_DENIED. The query is gone. */
typedef void auth_fn(void *ctx, enum auth_verdict verdict);

/* *ret_query is only set with AUTH_PENDING; the credentials are copied. Takes its own reference to auth while
 * it needs it. */
enum auth_verdict auth_check(struct auth_client *client, const struct auth *auth,
			     const struct auth_credentials *credentials, auth_fn *fn, void *ctx,
			     struct auth_query **ret_query);
/* The client went away: fn will not be called. */
void auth_cancel(struct auth_client *client, struct auth_query *query);

#endif
