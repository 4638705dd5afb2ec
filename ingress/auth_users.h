/* Inside authentication: the users of a struct auth, as auth.c builds them and auth_pool.c verifies against
 * them. */
#ifndef INGRESS_AUTH_USERS_H
#define INGRESS_AUTH_USERS_H

#include <stdint.h>

#include "ingress/auth.h"

/* HMAC-SHA-256 over user and password under a random key of the struct auth. */
struct auth_digest {
	uint64_t words[4];
};

struct auth_user;

/* NULL when there is no such user. */
struct auth_user *auth_find_user(const struct auth *auth, const char *name);

/* The user's hash; for a user nobody knows (NULL) the hash of one who exists, the same one for the same name,
 * so that refusing costs as much time either way. NULL when there are no users at all. */
const char *auth_user_hash(const struct auth *auth, const struct auth_user *user, const char *name);

/* 0 or -EIO (OpenSSL failed). */
int auth_digest_make(const struct auth *auth, const struct auth_credentials *credentials,
		     struct auth_digest *ret);

/* Was this the digest of a pair that verified? Constant time. Any thread. */
bool auth_user_remembers(const struct auth_user *user, const struct auth_digest *digest);
void auth_user_remember(struct auth_user *user, const struct auth_digest *digest);

#endif
