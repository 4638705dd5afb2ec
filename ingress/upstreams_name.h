/* A DNS name kept resolved: asked again when its answer's time to live is over, and with growing pauses while it fails. */
#ifndef INGRESS_UPSTREAMS_NAME_H
#define INGRESS_UPSTREAMS_NAME_H

#include "base/dns.h"

struct name_watch;

/* From the event loop, for each answer: code 0 with addresses, or why there are none (-ENOENT, -ETIMEDOUT ...). ips are
 * borrowed. name_watch_free is allowed inside. */
typedef void name_watch_fn(void *ctx, int code, const struct ip *ips, size_t ip_count);

/* Asks at once. NULL when out of memory. */
struct name_watch *name_watch_new(struct ev_loop *loop, struct dns *dns, const char *name, name_watch_fn *fn,
				  void *ctx);
struct name_watch *name_watch_free(struct name_watch *watch); /* NULL allowed; returns NULL */

#endif
