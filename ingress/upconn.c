/* Connecting, keeping and closing upstream connections. */
#include "ingress/upconn.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "ingress/downstream.h"
#include "ingress/exchange.h"
#include "ingress/worker_thread.h"

static void idle_drop(struct upconn *up)
{
	pool_remove(up);
	(void)upconn_close(up);
}

static void on_event(struct ev_loop *loop, struct ev_io *io, int events)
{
	struct upconn *up = container_of(io, struct upconn, transport.io);

	(void)loop;
	transport_ready(&up->transport, events);
	if (up->exchange)
		downstream_run(up->exchange->client, 0, events);
	else
		idle_drop(up);
}

static void on_expired(struct deadline *deadline)
{
	struct upconn *up = container_of(deadline, struct upconn, deadline);

	if (up->exchange)
		downstream_upstream_expired(up->exchange->client);
	else
		idle_drop(up);
}

static int socket_connect(const struct endpoint_addr *addr, int *ret_fd)
{
	struct sockaddr_storage sockaddr;
	socklen_t len = endpoint_addr_to_sockaddr(addr, &sockaddr);
	int fd = socket(sockaddr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1, code;

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(fd, (struct sockaddr *)&sockaddr, len) != 0 && errno != EINPROGRESS) {
		code = -errno;
		(void)close(fd);
		return code;
	}
	*ret_fd = fd;
	return 0;
}

int upconn_open(struct worker *worker, const struct endpoint_addr *addr, struct exchange *exchange,
		struct upconn **ret_up)
{
	struct upconn *up = calloc(1, sizeof(*up));
	int fd = -1, code;

	if (!up)
		return -ENOMEM;
	up->endpoint = pool_join(&worker->pool, addr);
	code = up->endpoint ? socket_connect(addr, &fd) : -ENOMEM;
	if (code != 0) {
		if (up->endpoint)
			pool_leave(&worker->pool, up->endpoint);
		free(up);
		return code;
	}
	transport_init(&up->transport, fd, on_event);
	up->transport.readable = up->transport.writable = false;
	up->worker = worker;
	up->exchange = exchange;
	up->active_s = worker->now_s;
	up->deadline.expired = on_expired;
	count_add(&worker->stats.upstream_connects, 1);
	*ret_up = up;
	return 0;
}

struct upconn *upconn_reuse(struct worker *worker, const struct endpoint_addr *addr,
			    struct exchange *exchange)
{
	struct upconn *up = pool_take(&worker->pool, addr);

	if (!up)
		return NULL;
	up->exchange = exchange;
	up->reused = true;
	up->active_s = worker->now_s;
	up->transport.readable = false; /* nothing was there when the loop last looked */
	count_add(&worker->stats.upstream_reuses, 1);
	return up;
}

bool upconn_is_stale(const struct upconn *up)
{
	char byte;
	ssize_t n = recv(up->transport.io.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	return n >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

void upconn_release(struct upconn *up, uint32_t idle_max, double idle_timeout_s)
{
	const struct levels idle = {.wants_bytes = true, .has_room = true};
	struct worker *worker = up->worker;

	up->exchange = NULL;
	if (!pool_put(up, idle_max)) {
		(void)upconn_close(up);
		return;
	}
	transport_watch(&up->transport, worker->loop, idle, 0);
	worker_deadline(worker, &up->deadline, worker->now_s + idle_timeout_s);
}

struct upconn *upconn_close(struct upconn *up)
{
	struct worker *worker;

	if (!up)
		return NULL;
	worker = up->worker;
	deadline_done(&worker->wheel, &up->deadline);
	transport_close(&up->transport, worker->loop, TRANSPORT_CLOSE_ORDERLY);
	fifo_done(&up->in, &worker->blocks);
	pool_leave(&worker->pool, up->endpoint);
	free(up);
	return NULL;
}
