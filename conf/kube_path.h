/* What is asked of the API server, as paths with queries. Pure. */
#ifndef CONF_KUBE_PATH_H
#define CONF_KUBE_PATH_H

#include <stdbool.h>

#include "base/buf.h"
#include "conf/object.h"

/* Some objects of one kind. */
struct kube_scope {
	enum kind kind;
	const char *ns;      /* "": all namespaces, or a cluster-scoped kind */
	const char *name;    /* "": all; else the one of that name */
	bool proxy_selector; /* leave out headless Services and those of other service proxies, and their
				slices */
};

bool kube_kind_is_namespaced(enum kind kind);

/* All append to *out; buf_failed tells whether memory ran out. */

/* One page of a list. continue_token: "" for the first. */
void kube_path_list(struct buf *out, const struct kube_scope *scope, unsigned limit,
		    const char *continue_token);

/* A watch with bookmarks. resource_version: to go on from; "" for a streaming list: what there is, as ADDED
 * events, ended by a bookmark with the annotation k8s.io/initial-events-end, then a watch from there. */
void kube_path_watch(struct buf *out, const struct kube_scope *scope, const char *resource_version,
		     unsigned timeout_s);

/* The one object scope->name. */
void kube_path_get(struct buf *out, const struct kube_scope *scope);

#endif
