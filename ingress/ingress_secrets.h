/* The Secrets that served Ingresses name, and what was made of them: certificates and users.
 *
 * Invariants
 *  1. The source is asked for a Secret when the first user comes and told when the last one goes.
 *  2. What is made of a Secret is made once, when first asked for, and again only after the Secret changed.
 *  3. A Secret is known once the store has it or the source says that there is none. */
#ifndef INGRESS_INGRESS_SECRETS_H
#define INGRESS_INGRESS_SECRETS_H

#include "conf/source.h"
#include "conf/store.h"
#include "ingress/auth.h"
#include "ingress/certs.h"

struct secrets;

struct secrets_config {
	const struct store *store;
	struct source *source; /* NULL: the store has all there is */
	/* Bad lines in a Secret of users, when it is read. */
	void (*finding)(void *ctx, const struct object *object, const char *field, const char *why);
	void *ctx;
};

struct secrets *secrets_new(const struct secrets_config *config); /* NULL when out of memory */
struct secrets *secrets_free(struct secrets *secrets);            /* NULL allowed; returns NULL */

/* user is whatever the caller wants to hear back from secrets_users; the same one may use a Secret more than once.
 * 0 or a negative errno. */
int secrets_use(struct secrets *secrets, const char *ns, const char *name, void *user);
void secrets_drop(struct secrets *secrets, const char *ns, const char *name, void *user);

/* A Secret changed in the store: what was made of it is forgotten. Returns its users (borrowed until the next use or drop). */
void *const *secrets_changed(struct secrets *secrets, const struct object *object, size_t *ret_count);

bool secrets_known(struct secrets *secrets, const char *ns, const char *name);

/* Borrowed until the Secret changes or its last user goes. NULL with *ret_why ("does not exist", "has no tls.key" ...). */
struct certificate *secrets_certificate(struct secrets *secrets, const char *ns, const char *name,
					const char **ret_why);
const struct auth *secrets_auth(struct secrets *secrets, const char *ns, const char *name,
				enum auth_secret_type type, const char **ret_why);

#endif
