/* The kinds of values annotations have, each read as ingress-nginx reads it. Pure. All return 0 or -EINVAL.
 */
#ifndef INGRESS_ANNOTATIONS_VALUE_H
#define INGRESS_ANNOTATIONS_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* 1 t T true True TRUE, 0 f F false False FALSE (Go's strconv.ParseBool). */
int value_bool(struct str text, bool *ret);
/* Decimal, from least to most. */
int value_count(struct str text, uint32_t least, uint32_t most, uint32_t *ret);
/* "8m": digits and one of b, k, m, g in either case. */
int value_size(struct str text, uint64_t *ret_bytes);
/* "name" or "ns/name", each a DNS subdomain name (RFC 1123); *ret_ns is empty without one. */
int value_object_name(struct str text, struct str *ret_ns, struct str *ret_name);
/* Does a comma-separated list of prefixes hold 0.0.0.0/0? -EINVAL when one of them is none. */
int value_cidrs_cover_ipv4(struct str text, bool *ret);

#endif
