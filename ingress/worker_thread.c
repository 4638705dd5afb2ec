/* One worker: its loop, its listeners, the snapshot it serves by, and its end. */
#include "ingress/worker_thread.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "ingress/downstream.h"
#include "ingress/exchange.h"
#include "ingress/upconn.h"

#define ACCEPTS_PER_TURN 64

static double monotonic_s(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void on_clock(struct ev_loop *loop, struct ev_check *check, int events)
{
	struct worker *worker = ev_userdata(loop);

	(void)check;
	(void)events;
	worker->now_s = monotonic_s();
}

/* ---- generations ---- */

static void hsts_format(const struct ingress_settings *settings, char *text, size_t size)
{
	text[0] = '\0';
	if (settings->hsts)
		(void)snprintf(text, size, "max-age=%u%s", settings->hsts_max_age_s,
			       settings->hsts_include_subdomains ? "; includeSubDomains" : "");
}

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
	return value > 0 ? value : otherwise;
}

static struct http1_limits limits_of(const struct ingress_settings *settings)
{
	struct http1_limits limits = http1_default_limits;

	limits.start_line_bytes = or_default(settings->start_line_bytes_max, limits.start_line_bytes);
	limits.head_bytes = or_default(settings->head_bytes_max, limits.head_bytes);
	limits.field_count = or_default(settings->field_count_max, limits.field_count);
	if (limits.field_count > HTTP_FIELDS_MAX)
		limits.field_count = HTTP_FIELDS_MAX;
	return limits;
}

static struct generation *generation_new(struct snapshot *snapshot)
{
	struct generation *generation = calloc(1, sizeof(*generation));

	if (!generation)
		return NULL;
	generation->snapshot = snapshot;
	generation->users = 1;
	generation->limits = limits_of(snapshot_settings(snapshot));
	hsts_format(snapshot_settings(snapshot), generation->hsts, sizeof(generation->hsts));
	return generation;
}

struct generation *generation_hold(struct worker *worker)
{
	worker->generation->users++;
	return worker->generation;
}

void generation_release(struct generation *generation)
{
	if (--generation->users > 0)
		return;
	(void)snapshot_unref(generation->snapshot);
	free(generation);
}

/* ---- what a new snapshot means for connections kept open ---- */

static bool has_endpoint(const struct upstream *upstream, const struct endpoint_addr *addr)
{
	for (size_t i = 0; upstream && i < upstream->endpoint_count; i++)
		if (memcmp(&upstream->endpoints[i], addr, sizeof(*addr)) == 0)
			return true;
	return false;
}

struct succession {
	struct worker *worker;
	const struct snapshot *old, *new;
};

/* Endpoints that left an upstream get no connection kept open. Returns whether the upstream still is. */
static bool forget_departed(void *ctx, uint32_t upstream_id)
{
	const struct succession *succession = ctx;
	const struct upstream *old = snapshot_upstream(succession->old, upstream_id);
	const struct upstream *new = snapshot_upstream(succession->new, upstream_id);

	for (size_t i = 0; old && old != new &&i < old->endpoint_count; i++)
		if (pool_knows(&succession->worker->pool, &old->endpoints[i]) &&
		    !has_endpoint(new, &old->endpoints[i]))
			pool_forget(&succession->worker->pool, &old->endpoints[i]);
	return new != NULL;
}

static void listeners_start(struct worker *worker)
{
	for (size_t i = 0; i < worker->listener_count; i++)
		ev_io_start(worker->loop, &worker->listeners[i].io);
}

static void listeners_stop(struct worker *worker)
{
	for (size_t i = 0; i < worker->listener_count; i++)
		ev_io_stop(worker->loop, &worker->listeners[i].io);
}

static void adopt(struct worker *worker, struct snapshot *snapshot)
{
	struct generation *old = worker->generation;
	struct generation *new = generation_new(snapshot);
	struct succession succession = {.worker = worker, .new = snapshot};

	if (!new) {
		log_error("a worker has no memory for a new snapshot and serves by the old one");
		(void)snapshot_unref(snapshot);
		return;
	}
	worker->generation = new;
	if (!old) {
		listeners_start(worker);
		return;
	}
	succession.old = old->snapshot;
	balance_sweep(&worker->balance, forget_departed, &succession);
	generation_release(old);
}

/* ---- accepting ---- */

static void peer_of(const struct sockaddr_storage *sockaddr, struct ip *ret)
{
	struct endpoint_addr addr = {0};

	(void)endpoint_addr_from_sockaddr((const struct sockaddr *)sockaddr, &addr);
	*ret = addr.ip;
}

static bool connection_allowed(struct worker *worker)
{
	struct worker_shared *shared = worker->shared;
	unsigned open = atomic_fetch_add_explicit(&shared->connections_open, 1, memory_order_relaxed);

	if (shared->connections_max == 0 || open < shared->connections_max)
		return true;
	atomic_fetch_sub_explicit(&shared->connections_open, 1, memory_order_relaxed);
	return false;
}

static void turn_away(struct worker *worker, int fd)
{
	(void)close(fd);
	count_add(&worker->stats.connections_refused, 1);
}

static void accepted(struct listener *listener, int fd, const struct sockaddr_storage *sockaddr)
{
	struct ip peer;

	if (!connection_allowed(listener->worker)) {
		turn_away(listener->worker, fd);
		return;
	}
	peer_of(sockaddr, &peer);
	downstream_open(listener, fd, &peer);
}

static int accept_one(struct listener *listener, struct sockaddr_storage *sockaddr)
{
	socklen_t len = sizeof(*sockaddr);
	int fd;

	do {
		fd =
		    accept4(listener->io.fd, (struct sockaddr *)sockaddr, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	} while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
	return fd < 0 ? -errno : fd;
}

static int reserve_open(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* No descriptor is left. One was kept for this: clients are taken and turned away with it, or they would be reported as waiting
 * over and over. Without even that one, listening pauses until the next tick. */
static void shed(struct listener *listener)
{
	struct worker *worker = listener->worker;
	struct sockaddr_storage sockaddr;
	int fd;

	for (int i = 0; i < ACCEPTS_PER_TURN && worker->reserve_fd >= 0; i++) {
		(void)close(worker->reserve_fd);
		fd = accept_one(listener, &sockaddr);
		if (fd >= 0)
			turn_away(worker, fd);
		worker->reserve_fd = reserve_open();
		if (fd < 0)
			break;
	}
	if (worker->reserve_fd < 0) {
		listeners_stop(worker);
		worker->listening_paused = true;
		ev_timer_again(worker->loop, &worker->tick);
	}
}

/* Returns whether more may be waiting. */
static bool accept_some(struct listener *listener)
{
	struct sockaddr_storage sockaddr;
	int fd;

	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		fd = accept_one(listener, &sockaddr);
		if (fd == -EMFILE || fd == -ENFILE || fd == -ENOBUFS || fd == -ENOMEM)
			shed(listener);
		if (fd < 0)
			return false;
		accepted(listener, fd, &sockaddr);
	}
	return true;
}

static void on_acceptable(struct ev_loop *loop, struct ev_io *io, int events)
{
	(void)loop;
	(void)events;
	(void)accept_some(container_of(io, struct listener, io));
}

static void listening_resume(struct worker *worker)
{
	if (worker->reserve_fd < 0)
		worker->reserve_fd = reserve_open();
	if (worker->reserve_fd < 0 || worker->draining)
		return;
	worker->listening_paused = false;
	listeners_start(worker);
}

/* ---- time ---- */

static void on_tick(struct ev_loop *loop, struct ev_timer *tick, int events)
{
	struct worker *worker = ev_userdata(loop);

	(void)events;
	wheel_advance(&worker->wheel, worker->now_s);
	if (worker->access)
		access_writer_flush(worker->access);
	if (worker->listening_paused)
		listening_resume(worker);
	if (worker->wheel.armed_count == 0 && !worker->listening_paused)
		ev_timer_stop(loop, tick);
}

void worker_deadline(struct worker *worker, struct deadline *deadline, double due_s)
{
	if (!ev_is_active(&worker->tick)) {
		wheel_advance(&worker->wheel, worker->now_s);
		ev_timer_again(worker->loop, &worker->tick);
	}
	deadline_set(&worker->wheel, deadline, due_s);
}

struct str worker_date(struct worker *worker)
{
	time_t now = time(NULL);
	struct tm tm;

	if (now != worker->date_second && gmtime_r(&now, &tm)) {
		worker->date_second = now;
		(void)strftime(worker->date, sizeof(worker->date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
	}
	return str_of(worker->date);
}

/* xorshift128+: request ids have to differ, not to be secret. */
uint64_t worker_random(struct worker *worker)
{
	uint64_t a = worker->random[0], b = worker->random[1];

	worker->random[0] = b;
	a ^= a << 23;
	worker->random[1] = a ^ b ^ (a >> 18) ^ (b >> 5);
	return worker->random[1] + b;
}

/* ---- turns ---- */

void worker_yield(struct worker *worker, struct downstream *downstream)
{
	if (downstream->yielding)
		return;
	downstream->yielding = true;
	downstream->next_yielding = worker->yielding;
	worker->yielding = downstream;
	ev_idle_start(worker->loop, &worker->yielded);
}

/* Those that yield again wait for the next turn. */
static void on_yielded(struct ev_loop *loop, struct ev_idle *idle, int events)
{
	struct worker *worker = ev_userdata(loop);
	struct downstream *d;

	(void)events;
	ev_idle_stop(loop, idle);
	worker->resuming = worker->yielding;
	worker->yielding = NULL;
	while ((d = worker->resuming)) {
		worker->resuming = d->next_yielding;
		d->yielding = false;
		downstream_run(d, 0, 0);
	}
}

static void list_remove(struct downstream **list, const struct downstream *downstream)
{
	while (*list && *list != downstream)
		list = &(*list)->next_yielding;
	if (*list)
		*list = downstream->next_yielding;
}

void worker_connection_opened(struct worker *worker, struct downstream *downstream)
{
	downstream->next = worker->connections;
	if (downstream->next)
		downstream->next->prev = downstream;
	worker->connections = downstream;
	count_add(&worker->stats.connections_accepted, 1);
}

void worker_connection_closed(struct worker *worker, struct downstream *downstream)
{
	if (downstream->prev)
		downstream->prev->next = downstream->next;
	else
		worker->connections = downstream->next;
	if (downstream->next)
		downstream->next->prev = downstream->prev;
	if (downstream->yielding) {
		list_remove(&worker->yielding, downstream);
		list_remove(&worker->resuming, downstream);
	}
	count_add(&worker->stats.connections_closed, 1);
	atomic_fetch_sub_explicit(&worker->shared->connections_open, 1, memory_order_relaxed);
	if (worker->draining && !worker->connections)
		ev_break(worker->loop, EVBREAK_ALL);
}

/* ---- stopping ---- */

/* What waits in the accept queue was promised service; it is taken before the socket closes. */
static void listeners_close(struct worker *worker)
{
	for (size_t i = 0; i < worker->listener_count; i++) {
		struct listener *listener = &worker->listeners[i];

		while (worker->generation && accept_some(listener))
			;
		ev_io_stop(worker->loop, &listener->io);
		(void)close(listener->io.fd);
		listener->io.fd = -1;
	}
}

static void drain(struct worker *worker)
{
	if (worker->draining)
		return;
	listeners_close(worker);
	worker->draining = true;
	pool_close_idle(&worker->pool);
	for (struct downstream *d = worker->connections, *next; d; d = next) {
		next = d->next;
		downstream_drain(d);
	}
	if (!worker->connections)
		ev_break(worker->loop, EVBREAK_ALL);
	ev_timer_set(&worker->grace, worker->shared->grace_s, 0);
	ev_timer_start(worker->loop, &worker->grace);
}

static void on_grace_over(struct ev_loop *loop, struct ev_timer *grace, int events)
{
	struct worker *worker = ev_userdata(loop);

	(void)grace;
	(void)events;
	while (worker->connections)
		downstream_kill(worker->connections);
	ev_break(loop, EVBREAK_ALL);
}

/* ---- the thread ---- */

static void on_wakeup(struct ev_loop *loop, struct ev_async *async, int events)
{
	struct worker *worker = ev_userdata(loop);
	struct snapshot *snapshot = atomic_exchange(&worker->published, NULL);

	(void)async;
	(void)events;
	if (snapshot)
		adopt(worker, snapshot);
	if (atomic_load(&worker->stopping))
		drain(worker);
}

void worker_publish(struct worker *worker, struct snapshot *snapshot)
{
	(void)snapshot_unref(atomic_exchange(&worker->published, snapshot));
	ev_async_send(worker->loop, &worker->wakeup);
}

void worker_stop(struct worker *worker)
{
	atomic_store(&worker->stopping, true);
	ev_async_send(worker->loop, &worker->wakeup);
}

void *worker_main(void *ctx)
{
	struct worker *worker = ctx;

	ev_run(worker->loop, 0);
	return NULL;
}

static SSL_CTX *certificate_for(void *ctx, struct str server_name)
{
	const struct worker *worker = ctx;

	return snapshot_certificate(worker->generation->snapshot, server_name);
}

static int watchers_init(struct worker *worker, struct err *err)
{
	worker->loop = ev_loop_new(EVFLAG_AUTO);
	if (!worker->loop)
		return err_set(err, -EIO, "worker: no event loop can be had");
	ev_set_userdata(worker->loop, worker);
	ev_async_init(&worker->wakeup, on_wakeup);
	ev_async_start(worker->loop, &worker->wakeup);
	ev_check_init(&worker->clock, on_clock);
	ev_set_priority(&worker->clock, EV_MAXPRI); /* before anything else looks at the time */
	ev_check_start(worker->loop, &worker->clock);
	ev_timer_init(&worker->tick, on_tick, 0, WHEEL_TICK_S);
	ev_init(&worker->grace, on_grace_over);
	ev_idle_init(&worker->yielded, on_yielded);
	ev_set_priority(&worker->yielded, EV_MAXPRI); /* its turn comes however busy the others are */
	for (size_t i = 0; i < worker->listener_count; i++)
		ev_io_init(&worker->listeners[i].io, on_acceptable, worker->listeners[i].io.fd, EV_READ);
	return 0;
}

static int parts_init(struct worker *worker, struct err *err)
{
	struct worker_shared *shared = worker->shared;

	if (getrandom(worker->random, sizeof(worker->random), 0) != sizeof(worker->random))
		return err_set(err, -EIO, "worker: no random numbers can be had");
	worker->auth = auth_client_new(shared->auth_pool, worker->loop);
	if (!worker->auth)
		return err_set(err, -ENOMEM, "worker: out of memory");
	if (shared->access_log) {
		worker->access = access_writer_new(shared->access_log);
		if (!worker->access)
			return err_set(err, -ENOMEM, "worker: out of memory");
	}
	worker->tls = tls_server_new(shared->tls_keys, certificate_for, worker, err);
	return worker->tls ? 0 : -EIO;
}

int worker_init(struct worker *worker, struct worker_shared *shared, struct listener *listeners,
		size_t listener_count, struct err *err)
{
	int code;

	*worker = (struct worker){.shared = shared,
				  .listeners = listeners,
				  .listener_count = listener_count,
				  .reserve_fd = reserve_open()};
	for (size_t i = 0; i < listener_count; i++)
		listeners[i].worker = worker;
	worker->now_s = monotonic_s();
	wheel_init(&worker->wheel, worker->now_s);
	code = stats_init(&worker->stats);
	if (code != 0)
		return err_set(err, code, "worker: out of memory");
	code = watchers_init(worker, err);
	if (code != 0)
		return code;
	return parts_init(worker, err);
}

static void listeners_done(struct worker *worker)
{
	for (size_t i = 0; i < worker->listener_count; i++)
		if (worker->listeners[i].io.fd >= 0)
			(void)close(worker->listeners[i].io.fd);
	free(worker->listeners);
}

void worker_done(struct worker *worker)
{
	(void)snapshot_unref(atomic_exchange(&worker->published, NULL));
	pool_close_idle(&worker->pool);
	pool_done(&worker->pool);
	(void)auth_client_free(worker->auth);
	(void)access_writer_free(worker->access);
	(void)tls_server_free(worker->tls);
	balance_done(&worker->balance);
	exchange_free_spares(worker);
	if (worker->generation)
		generation_release(worker->generation);
	block_pool_done(&worker->blocks);
	stats_done(&worker->stats);
	listeners_done(worker);
	if (worker->reserve_fd >= 0)
		(void)close(worker->reserve_fd);
	if (worker->loop)
		ev_loop_destroy(worker->loop);
}
