/* From the API's JSON to an object of the model. What is wrong with it is logged with its name, once for each of
 * its resourceVersions, and counted.
 *
 * Invariants
 *  1. At most KUBE_COMPLAINTS_MAX lines are logged for one version of one object.
 *  2. What is remembered of complaints is bounded by the bad objects there are: kube_complaints_prune after each
 *     complete list, kube_complaints_forget for each deleted object. */
#ifndef CONF_KUBE_ITEM_H
#define CONF_KUBE_ITEM_H

#include "base/map.h"
#include "base/metrics.h"
#include "conf/node.h"
#include "conf/object.h"
#include "conf/store.h"

#define KUBE_COMPLAINTS_MAX 5

/* All zero but for errors: empty and valid. */
struct kube_complaints {
	struct map seen;       /* "ns/name" -> the version complained of */
	unsigned round;        /* of lists */
	struct metric *errors; /* counts objects that cannot be used; NULL allowed */
};
void kube_complaints_done(struct kube_complaints *complaints);
/* Forgets objects nobody complained of since the last call. */
void kube_complaints_prune(struct kube_complaints *complaints);
void kube_complaints_forget(struct kube_complaints *complaints, const char *ns, const char *name);

struct kube_item {
	struct object *object; /* the caller's reference; NULL when it cannot be used */
	/* Who it is, even then; "" when not even that can be told. Borrowed from the object, arena or node. */
	const char *ns, *name, *resource_version;
};

/* An item of a list, or the answer to a GET: kind is what was asked for. 0 or -ENOMEM. */
int kube_item_from_json(struct kube_complaints *complaints, struct arena *arena, enum kind kind,
			struct str text, struct kube_item *ret);

/* Takes over the reference. 0 or -ENOMEM; what the store cannot hold for other reasons is logged and left out. */
int kube_put(struct store *store, struct object *object);

/* The object of a watch event, which says itself what it is; another kind than this is a complaint. */
int kube_item_from_node(struct kube_complaints *complaints, enum kind kind, const struct node *node,
			struct kube_item *ret);

#endif
