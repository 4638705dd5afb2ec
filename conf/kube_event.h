/* One event of a watch, read. Pure. */
#ifndef CONF_KUBE_EVENT_H
#define CONF_KUBE_EVENT_H

#include "conf/node.h"

enum kube_event_type {
	KUBE_EVENT_PUT, /* ADDED or MODIFIED: the object as it is now */
	KUBE_EVENT_DELETED,
	KUBE_EVENT_BOOKMARK,
	KUBE_EVENT_ERROR, /* the object is a Status */
};

struct kube_event {
	enum kube_event_type type;
	const struct node *object;
	const char *ns, *name, *version; /* of its metadata; "" when absent */
	bool ends_initial;               /* BOOKMARK: all there was at the start has been sent */
	int64_t code;                    /* ERROR: as an HTTP status; 0 when absent */
	double pause_s;                  /* ERROR: details.retryAfterSeconds; 0 when absent */
	const char *message;             /* ERROR */
};

/* The event lives in the arena. 0, -EBADMSG with *err, -ENOMEM. */
int kube_event_parse(struct arena *arena, struct str text, struct kube_event *ret, struct err *err);

/* metadata.FIELD of an object; "" when absent. */
const char *kube_metadata(const struct node *object, const char *field);

/* resourceVersions are opaque, but where both are numbers they may be compared (KEP-5504). False when unsure. */
bool kube_version_is_older(const char *version, const char *than);

#endif
