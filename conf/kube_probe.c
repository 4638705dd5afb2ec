/* Notices that an API server which refused connections accepts them again. */
#include "conf/kube_probe.h"

#include <stdlib.h>

#include "conf/kube_backoff.h"

struct kube_probe {
	struct ev_loop *loop;
	struct dns *dns;
	const struct kube_config *config;
	const struct kube_timing *timing;
	void (*back)(void *ctx);
	void *ctx;
	struct kube_conn *conn; /* under way */
	bool away;              /* a probe failed: the server is not there */
	ev_timer again;         /* until the next probe */
};

static void try_later(struct kube_probe *probe)
{
	/* Spread a little: a fleet notices within the second, not within the millisecond. */
	ev_timer_set(&probe->again, probe->timing->probe_s * (0.8 + 0.4 * kube_random()), 0.);
	ev_timer_start(probe->loop, &probe->again);
}

static void on_ready(void *ctx)
{
	struct kube_probe *probe = ctx;
	bool was_away = probe->away;

	probe->conn = kube_conn_free(probe->conn);
	probe->away = false;
	if (was_away)
		probe->back(probe->ctx);
}

static void on_broken(void *ctx, int code, bool answered, const struct err *err)
{
	struct kube_probe *probe = ctx;

	(void)code, (void)answered, (void)err; /* the request that failed told why */
	probe->conn = kube_conn_free(probe->conn);
	probe->away = true;
	try_later(probe);
}

/* No request is ever sent: head, body and ended are never called. */
static const struct kube_conn_ops probe_ops = {.ready = on_ready, .broken = on_broken};

static void on_again(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct kube_probe *probe = timer->data;
	const struct kube_conn_options options = {
	    .loop = probe->loop,
	    .dns = probe->dns,
	    .config = probe->config,
	    .timing = probe->timing,
	    .ops = &probe_ops,
	    .ctx = probe,
	};

	(void)loop, (void)events;
	probe->conn = kube_conn_open(&options);
	if (!probe->conn)
		try_later(probe);
}

struct kube_probe *kube_probe_new(struct ev_loop *loop, struct dns *dns, const struct kube_config *config,
				  const struct kube_timing *timing, void (*back)(void *ctx), void *ctx)
{
	struct kube_probe *probe = calloc(1, sizeof(*probe));

	if (!probe)
		return NULL;
	*probe = (struct kube_probe){
	    .loop = loop,
	    .dns = dns,
	    .config = config,
	    .timing = timing,
	    .back = back,
	    .ctx = ctx,
	};
	ev_init(&probe->again, on_again);
	probe->again.data = probe;
	return probe;
}

struct kube_probe *kube_probe_free(struct kube_probe *probe)
{
	if (!probe)
		return NULL;
	ev_timer_stop(probe->loop, &probe->again);
	kube_conn_free(probe->conn);
	free(probe);
	return NULL;
}

void kube_probe_suspect(struct kube_probe *probe)
{
	if (!probe->conn && !ev_is_active(&probe->again))
		try_later(probe);
}
