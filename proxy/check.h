/* What in a set of Services would not work on a node although each object alone is fine: two that want the
 * same address and port, endpoints nobody serves. For `fairlead check`. */
#ifndef PROXY_CHECK_H
#define PROXY_CHECK_H

#include "conf/store.h"

/* field and why are borrowed during the call. */
typedef void proxy_check_fn(void *ctx, const struct object *object, const char *field, const char *why);

/* Calls fn for each finding, objects in the order of their names. 0 or -ENOMEM. */
int proxy_check(const struct store *store, proxy_check_fn *fn, void *ctx);

#endif
