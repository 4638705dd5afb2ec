/* All workers: listeners, threads, publication, the end. */
#include "ingress/worker.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "ingress/thread.h"
#include "ingress/worker_thread.h"

#define BACKLOG     4096
#define WORKERS_MAX 256

struct workers {
	struct worker_shared shared;
	struct metrics *metrics;
	struct endpoint_addr *addrs; /* http first, then https, as bound */
	size_t http_count, addr_count;
	struct worker *workers;
	struct stats **stats;
	size_t count, started;
};

/* ---- listeners ---- */

static int option_set(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) == 0 ? 0 : -errno;
}

static int socket_configure(int fd, const struct endpoint_addr *addr, int family, bool shared)
{
	int code = option_set(fd, SOL_SOCKET, SO_REUSEADDR, 1);

	if (code == 0 && shared)
		code = option_set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (code == 0 && family == AF_INET6)
		code = option_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, addr->ip.family == AF_INET6);
	if (code == 0)
		code = option_set(fd, IPPROTO_TCP, TCP_NODELAY, 1); /* accepted sockets inherit it */
	return code;
}

/* A socket bound to addr; family 0: all addresses of both families. shared: with SO_REUSEPORT. Or -errno. */
static int socket_bind(const struct endpoint_addr *addr, bool shared)
{
	struct sockaddr_storage sockaddr;
	socklen_t len = endpoint_addr_to_sockaddr(addr, &sockaddr);
	int fd = socket(sockaddr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int code;

	if (fd < 0)
		return -errno;
	code = socket_configure(fd, addr, sockaddr.ss_family, shared);
	if (code == 0 && bind(fd, (struct sockaddr *)&sockaddr, len) != 0)
		code = -errno;
	if (code == 0)
		return fd;
	(void)close(fd);
	return code;
}

static int socket_port(int fd, uint16_t *ret_port)
{
	struct sockaddr_storage sockaddr;
	socklen_t len = sizeof(sockaddr);
	struct endpoint_addr addr;
	int code;

	if (getsockname(fd, (struct sockaddr *)&sockaddr, &len) != 0)
		return -errno;
	code = endpoint_addr_from_sockaddr((struct sockaddr *)&sockaddr, &addr);
	if (code == 0)
		*ret_port = addr.port;
	return code;
}

static int probe(struct endpoint_addr *addr)
{
	struct endpoint_addr ipv4_only = {.ip = {.family = AF_INET}, .port = addr->port};
	cleanup_close int fd = socket_bind(addr, false);

	if (fd == -EAFNOSUPPORT && addr->ip.family == 0) {
		*addr = ipv4_only; /* a host without IPv6 */
		fd = socket_bind(addr, false);
	}
	return fd < 0 ? fd : socket_port(fd, &addr->port);
}

/* Binds once without sharing: a port that another program shares with SO_REUSEPORT would else be taken for free. Settles port 0,
 * and where there is no IPv6, "all addresses". */
static int addrs_settle(struct workers *workers, struct err *err)
{
	char text[ADDR_TEXT_MAX];

	for (size_t i = 0; i < workers->addr_count; i++) {
		int code = probe(&workers->addrs[i]);

		if (code != 0)
			return err_set(err, code, "cannot listen on %s: %s",
				       endpoint_addr_format(&workers->addrs[i], text), strerror(-code));
	}
	return 0;
}

static int listener_open(const struct workers *workers, size_t index, struct listener *ret)
{
	const struct endpoint_addr *addr = &workers->addrs[index];
	int fd = socket_bind(addr, true);

	if (fd < 0)
		return fd;
	if (listen(fd, BACKLOG) != 0) {
		int code = -errno;

		(void)close(fd);
		return code;
	}
	*ret = (struct listener){.port = addr->port, .https = index >= workers->http_count};
	ret->io.fd = fd;
	return 0;
}

static void listeners_free(struct listener *listeners, size_t count)
{
	for (size_t i = 0; i < count; i++)
		(void)close(listeners[i].io.fd);
	free(listeners);
}

/* One worker's listeners. NULL with *err. */
static struct listener *listeners_open(const struct workers *workers, struct err *err)
{
	struct listener *listeners = calloc(workers->addr_count + 1, sizeof(*listeners));
	char text[ADDR_TEXT_MAX];

	if (!listeners) {
		(void)err_set(err, -ENOMEM, "workers: out of memory");
		return NULL;
	}
	for (size_t i = 0; i < workers->addr_count; i++) {
		int code = listener_open(workers, i, &listeners[i]);

		if (code != 0) {
			(void)err_set(err, code, "cannot listen on %s: %s",
				      endpoint_addr_format(&workers->addrs[i], text), strerror(-code));
			listeners_free(listeners, i);
			return NULL;
		}
	}
	return listeners;
}

/* ---- starting ---- */

static size_t cores_available(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		return 1;
	return CPU_COUNT(&set) > 0 ? (size_t)CPU_COUNT(&set) : 1;
}

static int addrs_copy(struct workers *workers, const struct workers_config *config)
{
	workers->http_count = config->http_addr_count;
	workers->addr_count = config->http_addr_count + config->https_addr_count;
	workers->addrs = calloc(workers->addr_count + 1, sizeof(*workers->addrs));
	if (!workers->addrs)
		return -ENOMEM;
	if (config->http_addr_count > 0)
		memcpy(workers->addrs, config->http_addrs, config->http_addr_count * sizeof(*workers->addrs));
	if (config->https_addr_count > 0)
		memcpy(workers->addrs + config->http_addr_count, config->https_addrs,
		       config->https_addr_count * sizeof(*workers->addrs));
	return 0;
}

static int shared_init(struct worker_shared *shared, const struct workers_config *config, struct err *err)
{
	shared->connections_max = config->connections_max;
	shared->access_log = config->access_log;
	shared->tls_keys = tls_keys_new(err);
	if (!shared->tls_keys)
		return -EIO;
	shared->auth_pool = auth_pool_new(0, 0, err);
	return shared->auth_pool ? 0 : -EIO;
}

static int workers_init(struct workers *workers, size_t wanted, struct err *err)
{
	workers->workers = calloc(wanted, sizeof(*workers->workers));
	workers->stats = calloc(wanted, sizeof(struct stats *));
	if (!workers->workers || !workers->stats)
		return err_set(err, -ENOMEM, "workers: out of memory");
	while (workers->count < wanted) {
		struct worker *worker = &workers->workers[workers->count];
		struct listener *listeners = listeners_open(workers, err);
		int code;

		if (!listeners)
			return -EIO;
		workers->stats[workers->count++] = &worker->stats;
		code = worker_init(worker, &workers->shared, listeners, workers->addr_count, err);
		if (code != 0)
			return code;
	}
	return 0;
}

static int threads_start(struct workers *workers, struct err *err)
{
	for (; workers->started < workers->count; workers->started++) {
		struct worker *worker = &workers->workers[workers->started];
		int code = thread_start(&worker->thread, worker_main, worker);

		if (code != 0)
			return err_set(err, code, "workers: cannot start a thread: %s", strerror(-code));
	}
	return 0;
}

static void collect(void *ctx, struct buf *out)
{
	const struct workers *workers = ctx;

	stats_collect(out, workers->stats, workers->count);
}

static struct workers *workers_free(struct workers *workers)
{
	if (!workers)
		return NULL;
	if (workers->metrics)
		metrics_collector_remove(workers->metrics, workers);
	for (size_t i = 0; i < workers->count; i++)
		worker_done(&workers->workers[i]);
	(void)auth_pool_free(workers->shared.auth_pool);
	(void)tls_keys_free(workers->shared.tls_keys);
	free(workers->stats);
	free(workers->workers);
	free(workers->addrs);
	free(workers);
	return NULL;
}

struct workers *workers_stop(struct workers *workers, double grace_s)
{
	if (!workers)
		return NULL;
	workers->shared.grace_s = grace_s;
	for (size_t i = 0; i < workers->started; i++)
		worker_stop(&workers->workers[i]);
	for (size_t i = 0; i < workers->started; i++)
		(void)pthread_join(workers->workers[i].thread, NULL);
	return workers_free(workers);
}

static struct workers *workers_stop_at_once(struct workers *workers)
{
	return workers_stop(workers, 0);
}
DEFINE_CLEANUP(struct workers *, workers_stop_at_once)

struct workers *workers_start(const struct workers_config *config, struct metrics *metrics, struct err *err)
{
	cleanup(workers_stop_at_once_p) struct workers *workers = calloc(1, sizeof(*workers));
	size_t count = config->count > 0 ? config->count : cores_available();

	if (!workers || addrs_copy(workers, config) != 0) {
		(void)err_set(err, -ENOMEM, "workers: out of memory");
		return NULL;
	}
	if (addrs_settle(workers, err) != 0 || shared_init(&workers->shared, config, err) != 0 ||
	    workers_init(workers, count < WORKERS_MAX ? count : WORKERS_MAX, err) != 0 ||
	    threads_start(workers, err) != 0)
		return NULL;
	workers->metrics = metrics;
	if (metrics)
		metrics_collector(metrics, collect, workers);
	return TAKE(workers);
}

/* ---- while they run ---- */

void workers_publish(struct workers *workers, struct snapshot *snapshot)
{
	for (size_t i = 0; i < workers->count; i++)
		worker_publish(&workers->workers[i], snapshot_ref(snapshot));
	(void)snapshot_unref(snapshot);
}

uint16_t workers_http_port(const struct workers *workers, size_t index)
{
	return workers->addrs[index].port;
}

uint16_t workers_https_port(const struct workers *workers, size_t index)
{
	return workers->addrs[workers->http_count + index].port;
}
