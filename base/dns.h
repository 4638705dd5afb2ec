/* Asynchronous name resolution through c-ares on a libev loop. Answers come with their TTL. */
#ifndef BASE_DNS_H
#define BASE_DNS_H

#include <ev.h>
#include <stddef.h>

#include "base/addr.h"
#include "base/err.h"

struct dns;
struct dns_query;

/* servers: "192.0.2.1:53,[2001:db8::1]"; NULL: the system's (resolv.conf). NULL with *err. */
struct dns *dns_new(struct ev_loop *loop, const char *servers, struct err *err);
struct dns *dns_free(struct dns *dns); /* cancels what runs, without calling back */

/* code: 0, or -ENOENT (no such name), -ETIMEDOUT, -ENOMEM, -EIO. ips are borrowed during the call;
 * ttl_s is the smallest of theirs, 0 for literals and /etc/hosts. */
typedef void dns_fn(void *ctx, int code, const struct ip *ips, size_t ip_count, unsigned ttl_s);

/* family: AF_INET, AF_INET6 or AF_UNSPEC. IP literals and /etc/hosts are answered too. Never calls back
 * before it returns. NULL when out of memory. The query is gone once fn was called. */
struct dns_query *dns_resolve(struct dns *dns, const char *name, int family, dns_fn *fn, void *ctx);
void dns_cancel(struct dns_query *query); /* fn will not be called; NULL allowed */

#endif
