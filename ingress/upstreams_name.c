/* Watching a DNS name:  ASKING --answer--> fn, then PAUSE (its TTL, or 1, 2, 4 ... 30 s after failures) --> ASKING */
#include "ingress/upstreams_name.h"

#include <errno.h>
#include <stdlib.h>

#include "base/str.h"

#define TTL_LEAST_S  1
#define TTL_MOST_S   3600
#define PAUSE_MOST_S 30

struct name_watch {
	struct ev_loop *loop;
	struct dns *dns;
	struct dns_query *query; /* NULL: PAUSE */
	ev_timer timer;
	unsigned failures;
	name_watch_fn *fn;
	void *ctx;
	char name[];
};

static double pause_after(struct name_watch *watch, int code, unsigned ttl_s)
{
	if (code == 0) {
		watch->failures = 0;
		return ttl_s < TTL_LEAST_S ? TTL_LEAST_S : ttl_s > TTL_MOST_S ? TTL_MOST_S : ttl_s;
	}
	if (watch->failures < 5)
		watch->failures++;
	return watch->failures < 5 ? 1u << (watch->failures - 1) : PAUSE_MOST_S;
}

static void pause_for(struct name_watch *watch, double seconds)
{
	ev_timer_set(&watch->timer, seconds, 0);
	ev_timer_start(watch->loop, &watch->timer);
}

static void on_answer(void *ctx, int code, const struct ip *ips, size_t ip_count, unsigned ttl_s)
{
	struct name_watch *watch = ctx;

	watch->query = NULL;
	if (code == 0 && ip_count == 0)
		code = -ENOENT;
	pause_for(watch, pause_after(watch, code, ttl_s));
	watch->fn(watch->ctx, code, ips, ip_count); /* may free the watch */
}

static void ask(struct name_watch *watch)
{
	watch->query = dns_resolve(watch->dns, watch->name, AF_UNSPEC, on_answer, watch);
	if (!watch->query)
		pause_for(watch, PAUSE_MOST_S);
}

static void on_pause_over(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	ask(timer->data);
}

struct name_watch *name_watch_new(struct ev_loop *loop, struct dns *dns, const char *name, name_watch_fn *fn,
				  void *ctx)
{
	size_t name_bytes = strlen(name) + 1;
	struct name_watch *watch = calloc(1, sizeof(*watch) + name_bytes);

	if (!watch)
		return NULL;
	watch->loop = loop;
	watch->dns = dns;
	watch->fn = fn;
	watch->ctx = ctx;
	memcpy(watch->name, name, name_bytes);
	ev_timer_init(&watch->timer, on_pause_over, 0, 0);
	watch->timer.data = watch;
	ask(watch);
	return watch;
}

struct name_watch *name_watch_free(struct name_watch *watch)
{
	if (!watch)
		return NULL;
	ev_timer_stop(watch->loop, &watch->timer);
	dns_cancel(watch->query);
	free(watch);
	return NULL;
}
