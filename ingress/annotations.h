/* Annotations under our prefix (ingress-nginx's names), compiled once into typed values. Nothing a user wrote
 * is looked at again after that.
 *
 * Invariants
 *  1. Values are trimmed; an empty one is absent; keys are case-sensitive.
 *  2. A value that cannot be used leaves the default and a finding. If the annotation guards access, the
 * paths of the Ingress are denied (503) instead: what was meant to be protected never stands open because of
 * a mistake.
 *  3. Every annotation under the prefix that has no effect is a finding; for those that guard access
 * invariant 2 holds. */
#ifndef INGRESS_ANNOTATIONS_H
#define INGRESS_ANNOTATIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "conf/object.h"
#include "ingress/auth.h"
#include "ingress/finding.h"
#include "ingress/snapshot.h"

#define ANNOTATION_CLASS "kubernetes.io/ingress.class"

struct annotations_options {
	const char *prefix; /* "nginx.ingress.kubernetes.io" */
	const struct ingress_settings *settings;
	bool allow_cross_namespace; /* may auth-secret name another namespace? */
};

struct annotations {
	bool denied; /* every path of the Ingress answers 503 */
	bool canary; /* an alternative to another Ingress, which is not supported: left out */
	bool auth_basic;
	const char *auth_secret_ns, *auth_secret_name; /* with auth_basic and not denied */
	enum auth_secret_type auth_secret_type;
	const char *auth_realm;
	bool ssl_redirect, force_ssl_redirect;
	uint64_t body_max_bytes; /* 0: unlimited */
	unsigned connect_timeout_s, read_timeout_s, send_timeout_s;
	unsigned tries;
};

/* object's annotations; strings point into the object or the arena. 0 or -ENOMEM. */
int annotations_compile(const struct object *object, const struct annotations_options *options,
			struct arena *arena, struct annotations *ret, struct findings *findings);

/* The finding's field for one of them: "metadata.annotations[<prefix>/<name>]", into buffer; returns buffer.
 */
const char *annotation_field(const struct annotations_options *options, const char *name, char *buffer,
			     size_t size);

#endif
