/* What Ingress objects mean, host by host (design: Ingress a.1 to a.4, a.7). Pure: objects in, hosts out;
 * where services, Secrets and findings go is asked of a struct build_env.
 *
 *     struct ingress --build_ingress_new--> struct build_ingress (annotations compiled, hosts and Secrets
 * listed) all build_ingress that name a host, oldest first --build_host--> struct host and its certificate
 *
 * Decisions
 *  1. Several Ingresses on one host are merged. For the same path and kind of match the oldest wins; of
 * equally old ones (files carry no time) the one whose "namespace/name" sorts last, as in ingress-nginx. The
 * loser gets a finding.
 *  2. Prefix and ImplementationSpecific are the same kind of match.
 *  3. A miss inside a host gets the defaultBackend of the first Ingress that names the host, or else the
 * controller's; it carries that Ingress's annotations. It never falls through to a wildcard or the catch-all.
 *  4. A rule without `http` is a "/" to its Ingress's defaultBackend; an Ingress without rules is that for
 * the catch-all, without redirects.
 *  5. The first Ingress with a tls section makes its hosts TLS hosts and chooses their certificate: that of
 * the entry that lists the host, or else of any entry whose certificate covers it. When that fails the
 * default certificate is served, and plain HTTP is redirected all the same. The catch-all is never a TLS
 * host.
 *  6. Paths under /.well-known/acme-challenge are neither redirected nor protected. */
#ifndef INGRESS_BUILD_H
#define INGRESS_BUILD_H

#include "ingress/annotations.h"
#include "ingress/certs.h"
#include "ingress/finding.h"
#include "ingress/snapshot_draft.h"

#define CATCH_ALL_HOST "_"
#define ACME_PREFIX    "/.well-known/acme-challenge"

enum build_secret_use { BUILD_SECRET_TLS, BUILD_SECRET_AUTH };

struct build_secret {
	const char *ns, *name;
	enum build_secret_use use;
};

/* One Ingress, compiled. */
struct build_ingress {
	const struct ingress *object; /* a reference is held */
	struct annotations annotations;
	struct findings findings; /* of this object alone */
	const char **hosts;       /* it has a say in; each once; CATCH_ALL_HOST for no host */
	size_t host_count;
	struct build_secret *secrets; /* it names; each once per use */
	size_t secret_count;
	struct arena arena;
};

/* NULL when out of memory. */
struct build_ingress *build_ingress_new(struct ingress *object, const struct annotations_options *options);
struct build_ingress *build_ingress_free(struct build_ingress *ingress); /* NULL allowed; returns NULL */

/* Whose rules come first: <0 a's, >0 b's; 0 only for the same Ingress. */
int build_precedence(const struct build_ingress *a, const struct build_ingress *b);

/* What a host is built against. Results are borrowed and good for the duration of build_host. */
struct build_env {
	/* The id of a service's port; port is a number, a name, or "" for the first one. *ret_why: NULL, or what is wrong with
	 * it. UPSTREAM_NONE: out of memory. */
	uint32_t (*upstream)(void *ctx, const char *ns, const char *service, const char *port,
			     const char **ret_why);
	/* NULL with *ret_why. */
	const struct certificate *(*certificate)(void *ctx, const char *ns, const char *name,
						 const char **ret_why);
	const struct auth *(*auth)(void *ctx, const char *ns, const char *name, enum auth_secret_type type,
				   const char **ret_why);
	void (*finding)(void *ctx, const struct build_ingress *ingress, const char *field, const char *why);
	void *ctx;
	const struct annotations_options *annotations;
	uint32_t default_upstream; /* --default-backend-service; UPSTREAM_NONE: the built-in 404 */
	int64_t now_s;             /* for certificates that expired */
};

/* claims: those that list `name` among their hosts, in order of precedence, at least one. *ret_certificate is
 * NULL when the default one is to be served (or none: the host is no TLS host). 0 or -ENOMEM. */
int build_host(const struct build_env *env, const char *name, const struct build_ingress *const *claims,
	       size_t claim_count, struct host **ret_host, const struct certificate **ret_certificate);

#endif
