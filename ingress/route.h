/* Matching a path against one host's routes, and the normal form both sides have. Pure.
 *
 * Exact routes are a sorted array. Prefix routes are a sorted array too, in an order where '/' is the lowest
 * byte, so that all paths under a prefix follow it directly; each entry knows the next shorter prefix it lies
 * under. The longest prefix that matches a path is then the path's predecessor in that order or one of that
 * entry's ancestors.
 *
 *     sorted:   /   /a   /a/b   /a/b/c   /a-x           find /a/b/d:
 *     under:    -   /    /a     /a/b     /              predecessor /a/b/c no, its parent /a/b yes
 *
 * Invariants
 *  1. An index speaks of routes by position and points to their paths: it is good as long as the array it was built from.
 *  2. Of several routes with the same path and kind of match the first in the array is found, the others
 * never.
 *  3. A lookup costs O(log n) comparisons and one walk up the ancestors, whatever the request's path looks
 * like. */
#ifndef INGRESS_ROUTE_H
#define INGRESS_ROUTE_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "ingress/snapshot.h"

/* A rule's path as it is matched: "" is "/"; a Prefix (or ImplementationSpecific) loses its trailing slashes
 * but for the root's. A slice of path, or of a constant. */
struct str route_rule_path(struct str path, enum path_type type);

/* Preference: longer path first, then Exact before the others. <0: a comes first. */
int route_compare(const struct route *a, const struct route *b);

struct host_index;

size_t route_index_bytes(size_t route_count); /* what an index of so many routes needs, 8-byte aligned */
/* index: route_index_bytes(route_count) bytes. */
void route_index_build(struct host_index *index, const struct route *routes, size_t route_count);

#define ROUTE_NOT_FOUND UINT32_MAX
uint32_t route_index_find(const struct host_index *index, struct str path);

#endif
