/* Where desired state comes from: manifest files (conf/files) or a Kubernetes API server (conf/kube). A
 * source fills a store and keeps it true until it is freed.
 *
 * Invariants
 *  1. source_free stops everything at once; the store keeps what it has.
 *  2. A bad object never takes a good one with it: its last good version stays, the error is logged once with
 *     file, line, object and field, and counted. */
#ifndef CONF_SOURCE_H
#define CONF_SOURCE_H

#include <ev.h>

#include "base/err.h"
#include "base/metrics.h"
#include "conf/store.h"

struct source;

struct source_ops {
	struct source *(*free)(struct source *source);
	/* Secrets (and ConfigMaps) by name: counted; files ignore it, since they give all. */
	int (*want)(struct source *source, enum kind kind, const char *ns, const char *name);
	void (*unwant)(struct source *source, enum kind kind, const char *ns, const char *name);
	/* Has the first answer about a wanted object arrived? Then one the store does not have is known to be
	 * absent (or refused to us, which was logged). NULL: always, as with files. */
	bool (*known)(struct source *source, enum kind kind, const char *ns, const char *name);
	/* fn is called when wanted objects became known, after the store has settled; from the event loop,
	 * never inside a call. NULL: never needed. */
	void (*set_known_callback)(struct source *source, void (*fn)(void *ctx), void *ctx);
};

struct source {
	const struct source_ops *ops;
};

static inline struct source *source_free(struct source *source)
{
	return source ? source->ops->free(source) : NULL;
}

static inline int source_want(struct source *source, enum kind kind, const char *ns, const char *name)
{
	return source->ops->want ? source->ops->want(source, kind, ns, name) : 0;
}

/* Once for each want. Its object leaves the store soon, not inside this call: listeners may call it. */
static inline void source_unwant(struct source *source, enum kind kind, const char *ns, const char *name)
{
	if (source->ops->unwant)
		source->ops->unwant(source, kind, ns, name);
}

static inline bool source_known(struct source *source, enum kind kind, const char *ns, const char *name)
{
	return source->ops->known ? source->ops->known(source, kind, ns, name) : true;
}

static inline void source_set_known_callback(struct source *source, void (*fn)(void *ctx), void *ctx)
{
	if (source->ops->set_known_callback)
		source->ops->set_known_callback(source, fn, ctx);
}

/* What a half of the program needs to hear of. Kinds asked for twice are watched once. */
struct source_needs {
	unsigned kinds;             /* KIND_BITs, without KIND_SECRET and KIND_CONFIGMAP: those go by name */
	bool proxy_selectors;       /* Services and EndpointSlices with kube-proxy's label selectors
				       (service-proxy.md rows 1, 2); only when nobody else needs the rest */
	const char *node_name;      /* KIND_NODE: only this one; NULL: all */
	const char *namespace_only; /* Ingresses and what they name from one namespace; NULL: all */
};

/* paths: files or directories (all *.yaml, *.yml, *.json in them, not deeper; names beginning with '.' left
 * out). Reads everything before it returns; a path that cannot be read at the start is an error, later it is
 * survived. metrics may be NULL. NULL with *err. */
struct source *source_files_new(struct ev_loop *loop, struct store *store, const char *const *paths,
				size_t path_count, struct metrics *metrics, struct err *err);

struct kube_config;

/* config: borrowed, must outlive the source (conf/kubeconfig.h). */
struct source *source_kube_new(struct ev_loop *loop, struct store *store, const struct kube_config *config,
			       const struct source_needs *needs, struct metrics *metrics, struct err *err);

#endif
