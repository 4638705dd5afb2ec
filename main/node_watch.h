/* Changes of this node that the service proxy is restarted for, as kube-proxy is (service-proxy contract row 43). */
#ifndef MAIN_NODE_WATCH_H
#define MAIN_NODE_WATCH_H

#include "conf/store.h"

/* Why a change of the Node object asks for a restart, or NULL. old NULL: it is new; new NULL: it is gone. An address
 * list that was empty so far is only filled. Pure. */
const char *node_change_reason(const struct node_object *old, const struct node_object *new,
			       bool by_pod_cidrs);

struct node_watch;

/* `changed` is called from the store, once for each reason. node_name is borrowed. NULL when out of memory. */
struct node_watch *node_watch_new(struct store *store, const char *node_name, bool by_pod_cidrs,
				  void (*changed)(void *ctx, const char *why), void *ctx);
struct node_watch *node_watch_free(struct node_watch *watch); /* NULL allowed; returns NULL */

#endif
