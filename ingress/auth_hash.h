/* Password hashes as they stand in htpasswd files: which ones can be used, and comparing a password with one.
 * Pure. */
#ifndef INGRESS_AUTH_HASH_H
#define INGRESS_AUTH_HASH_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/str.h"

/* NULL when it can be used: bcrypt, apr1, {SHA}, {SSHA}, {PLAIN} and crypt(3)'s DES, $1$, $5$, $6$ and $y$,
 * none costlier than about two seconds; otherwise why not. */
const char *auth_hash_problem(struct str hash);

/* Takes as long as the hash asks for. hash: one that auth_hash_problem has nothing against. Any thread. */
bool auth_hash_matches(const char *hash, const char *password);

/* RFC 4648 section 4; the padding may be missing. Returns the length, or -EBADMSG (also when it exceeds max).
 */
ssize_t auth_base64_decode(struct str text, unsigned char *out, size_t max);

#endif
