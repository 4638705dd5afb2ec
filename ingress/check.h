/* What in a set of Ingresses would not work although each object alone is fine: conflicts and who loses, missing Services,
 * ports and Secrets, certificates that do not cover their host, annotations without effect. For `fairlead check`. */
#ifndef INGRESS_CHECK_H
#define INGRESS_CHECK_H

#include "conf/store.h"
#include "ingress/ingress.h"

/* field and why are borrowed during the call. */
typedef void ingress_check_fn(void *ctx, const struct object *object, const char *field, const char *why);

/* Calls fn for each finding, objects in the order of their names. The store must be synced. 0 or -ENOMEM. */
int ingress_check(struct store *store, const struct ingress_config *config, ingress_check_fn *fn, void *ctx);

#endif
