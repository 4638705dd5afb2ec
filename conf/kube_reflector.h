/* Keeps up with some objects of one kind: a complete list, then a watch from there, again and again.
 *
 *   WAITING --no version--> STREAMING --initial-events-end--> WATCHING <--last page-- LISTING
 *                               '---refused: no streaming lists here---------------------^
 *   WAITING --has a version------------------------------------^
 *   STREAMING, LISTING, WATCHING --failure, end--> WAITING
 *   WATCHING --410: the version is forgotten--> STREAMING or LISTING
 *
 * Invariants
 *  1. Between begin and end (or abort) what is put is a complete list; nothing else is inferred from silence.
 *     Whatever the server does, what is in force is dropped only by a delete event or by a complete list.
 *  2. Two tries begin at least timing.apart_s apart, where the list that follows a 410 is part of its watch's
 *     try once in a while. Failures in a row wait longer and longer (conf/kube_backoff), and at least as long as
 *     the server asked for (Retry-After).
 *  3. A watch goes on from the last version heard. The list is read again when the server no longer knows that
 *     version (410, as status or as ERROR event), when versions go back, or when an event was not readable.
 *  4. An object that cannot be used leaves its last good version alone. If it cannot even be told which object it
 *     was, a later list drops nothing.
 *  5. A list or a stream of initial events is never held whole. */
#ifndef CONF_KUBE_REFLECTOR_H
#define CONF_KUBE_REFLECTOR_H

#include <ev.h>
#include <stdbool.h>

#include "base/metrics.h"
#include "conf/kube_client.h"
#include "conf/kube_path.h"

#define KUBE_PAGE_ITEMS 500

struct kube_reflector;

/* Where the objects go. The reflector must not be freed in any of these but `refused`. */
struct kube_sink {
	void (*begin)(void *ctx);
	/* Takes over the reference. 0, or -ENOMEM: the object will be given again. */
	int (*put)(void *ctx, struct object *object);
	void (*keep)(void *ctx, const char *ns, const char *name);
	void (*drop)(void *ctx, const char *ns, const char *name);
	void (*end)(void *ctx);
	void (*abort)(void *ctx);
	void (*settle)(void *ctx); /* what one read brought is through */
	/* 403 or 404 before the first list: the owner, who knows another way, frees the reflector in this. NULL: tried
	 * again like any failure. */
	void (*refused)(void *ctx);
};

/* What the server can do, learnt by any of its reflectors. */
struct kube_traits {
	bool no_streaming_lists;
};

/* NULL pointers are allowed, as everywhere with metrics. */
struct kube_reflector_metrics {
	struct metric *connected, *restarts, *last_event, *decode_errors;
};

struct kube_reflector_options {
	struct ev_loop *loop;
	struct kube_client *client;
	struct kube_scope scope; /* its strings are borrowed */
	bool absent_is_empty; /* 404 before the first list: there are none, and we look again now and then */
	struct kube_traits *traits;
	const struct kube_timing *timing;
	struct kube_reflector_metrics metrics;
	const struct kube_sink *sink;
	void *ctx;
};

/* Begins at once, calling nothing yet. NULL when out of memory. */
struct kube_reflector *kube_reflector_new(const struct kube_reflector_options *options);
/* Stops at once, calling nothing. NULL allowed; returns NULL. */
struct kube_reflector *kube_reflector_free(struct kube_reflector *reflector);

/* The server was away and is back: waiting begins anew, from the shortest wait, unless the server asked for it. */
void kube_reflector_hurry(struct kube_reflector *reflector);

#endif
