/* Name resolution: c-ares does the protocol and keeps the sockets, libev watches them. Answers are always
 * delivered from a timer, so that no callback runs inside a dns_* call, and queries may be cancelled at any
 * moment. */
#include "base/dns.h"

#include <ares.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#define SOCKETS_MAX   32 /* c-ares opens a few per server */
#define ADDRESSES_MAX 64 /* of one answer */

struct dns_socket {
	ev_io watcher;
	struct dns *dns;
	bool used;
};

struct dns {
	struct ev_loop *loop;
	ares_channel channel;
	ev_timer timeout; /* c-ares wants to be called for its retries */
	struct dns_socket sockets[SOCKETS_MAX];
	struct dns_query *queries;
};

/* Owned by the dns; c-ares holds a pointer until it called back, so a cancelled query lives on till then. */
struct dns_query {
	struct dns *dns;
	struct dns_query *next, **link;
	dns_fn *fn; /* NULL: cancelled */
	void *ctx;
	ev_timer deliver;
	int family;
	bool answered;
	int code;
	unsigned ttl_s;
	size_t ip_count;
	struct ip ips[ADDRESSES_MAX];
};

static int library_state = ARES_ENOTINITIALIZED;

static void init_library(void)
{
	library_state = ares_library_init(ARES_LIB_INIT_ALL);
}

static void plan_timeout(struct dns *dns)
{
	struct timeval longest = {.tv_sec = 60}, wait;
	const struct timeval *next = dns->queries ? ares_timeout(dns->channel, &longest, &wait) : NULL;

	ev_timer_stop(dns->loop, &dns->timeout);
	if (!next)
		return;
	ev_timer_set(&dns->timeout, (double)next->tv_sec + (double)next->tv_usec * 1e-6 + 0.001, 0);
	ev_timer_start(dns->loop, &dns->timeout);
}

static void on_timeout(struct ev_loop *loop, ev_timer *watcher, int events)
{
	struct dns *dns = watcher->data;

	(void)loop;
	(void)events;
	ares_process_fd(dns->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	plan_timeout(dns);
}

static void on_socket(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct dns_socket *socket = watcher->data;
	struct dns *dns = socket->dns;
	int fd = watcher->fd;

	(void)loop;
	ares_process_fd(dns->channel, events & EV_READ ? fd : ARES_SOCKET_BAD,
			events & EV_WRITE ? fd : ARES_SOCKET_BAD);
	plan_timeout(dns);
}

static struct dns_socket *find_socket(struct dns *dns, int fd)
{
	struct dns_socket *unused = NULL;

	for (size_t i = 0; i < SOCKETS_MAX; i++) {
		struct dns_socket *socket = &dns->sockets[i];

		if (socket->used && socket->watcher.fd == fd)
			return socket;
		if (!socket->used && !unused)
			unused = socket;
	}
	return unused;
}

/* ares_sock_state_cb. A socket beyond SOCKETS_MAX is not watched: its query times out and is tried again. */
static void on_socket_state(void *data, ares_socket_t fd, int readable, int writable)
{
	struct dns *dns = data;
	struct dns_socket *socket = find_socket(dns, fd);
	int events = (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0);

	if (!socket)
		return;
	if (socket->used)
		ev_io_stop(dns->loop, &socket->watcher);
	socket->used = events != 0;
	if (!socket->used)
		return;
	ev_io_init(&socket->watcher, on_socket, fd, events);
	socket->watcher.data = socket;
	socket->dns = dns;
	ev_io_start(dns->loop, &socket->watcher);
}

struct dns *dns_new(struct ev_loop *loop, const char *servers, struct err *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct ares_options options = {.sock_state_cb = on_socket_state, .timeout = 2000, .tries = 3};
	struct dns *dns = calloc(1, sizeof(*dns));
	int status;

	if (!dns) {
		(void)err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	(void)pthread_once(&once, init_library);
	dns->loop = loop;
	options.sock_state_cb_data = dns;
	status = library_state == ARES_SUCCESS
		     ? ares_init_options(&dns->channel, &options,
					 ARES_OPT_SOCK_STATE_CB | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES)
		     : library_state;
	if (status != ARES_SUCCESS) {
		(void)err_set(err, -EIO, "name resolution cannot start: %s", ares_strerror(status));
		free(dns);
		return NULL;
	}
	if (servers && (status = ares_set_servers_ports_csv(dns->channel, servers)) != ARES_SUCCESS) {
		(void)err_set(err, -EINVAL, "name servers \"%s\": %s", servers, ares_strerror(status));
		ares_destroy(dns->channel);
		free(dns);
		return NULL;
	}
	ev_timer_init(&dns->timeout, on_timeout, 0, 0);
	dns->timeout.data = dns;
	return dns;
}

static void query_free(struct dns_query *query)
{
	*query->link = query->next;
	if (query->next)
		query->next->link = query->link;
	ev_timer_stop(query->dns->loop, &query->deliver);
	free(query);
}

struct dns *dns_free(struct dns *dns)
{
	if (!dns)
		return NULL;
	for (struct dns_query *query = dns->queries; query; query = query->next)
		query->fn = NULL;
	ares_destroy(dns->channel); /* answers every open query with ARES_EDESTRUCTION */
	for (struct dns_query *query = dns->queries, *next; query; query = next) {
		next = query->next;
		query_free(query);
	}
	ev_timer_stop(dns->loop, &dns->timeout);
	free(dns);
	return NULL;
}

static void on_deliver(struct ev_loop *loop, ev_timer *watcher, int events)
{
	struct dns_query *query = watcher->data;
	struct dns_query done = *query;

	(void)loop;
	(void)events;
	query_free(query);
	if (done.fn)
		done.fn(done.ctx, done.code, done.ips, done.ip_count, done.ttl_s);
}

static int code_of(int status)
{
	switch (status) {
	case ARES_SUCCESS:
		return 0;
	case ARES_ENOTFOUND:
	case ARES_ENODATA:
	case ARES_EBADNAME:
	case ARES_ENONAME:
		return -ENOENT;
	case ARES_ETIMEOUT:
		return -ETIMEDOUT;
	case ARES_ENOMEM:
		return -ENOMEM;
	default:
		return -EIO;
	}
}

static bool is_wanted(const struct dns_query *query, const struct ip *ip)
{
	return query->family == AF_UNSPEC || query->family == ip->family;
}

static void take_address(struct dns_query *query, const struct ares_addrinfo_node *node)
{
	struct endpoint_addr addr;
	unsigned ttl_s = node->ai_ttl > 0 ? (unsigned)node->ai_ttl : 0;

	if (query->ip_count == ADDRESSES_MAX || endpoint_addr_from_sockaddr(node->ai_addr, &addr) < 0 ||
	    !is_wanted(query, &addr.ip))
		return;
	query->ttl_s = query->ip_count == 0 || ttl_s < query->ttl_s ? ttl_s : query->ttl_s;
	query->ips[query->ip_count++] = addr.ip;
}

static void answered(struct dns_query *query, int code)
{
	query->code = code == 0 && query->ip_count == 0 ? -ENOENT : code;
	query->answered = true;
	ev_timer_start(query->dns->loop, &query->deliver);
}

/* c-ares would ask the name servers for some literals, which may be out of reach until we are done. */
static bool answer_literal(struct dns_query *query, const char *name)
{
	struct ip ip;

	if (ip_parse(str_of(name), &ip) < 0)
		return false;
	if (is_wanted(query, &ip))
		query->ips[query->ip_count++] = ip;
	answered(query, 0);
	return true;
}

/* ares_addrinfo_callback; may run inside ares_getaddrinfo. */
static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *result)
{
	struct dns_query *query = arg;

	(void)timeouts;
	for (const struct ares_addrinfo_node *node = result ? result->nodes : NULL; node;
	     node = node->ai_next)
		take_address(query, node);
	if (result)
		ares_freeaddrinfo(result);
	answered(query, code_of(status));
}

struct dns_query *dns_resolve(struct dns *dns, const char *name, int family, dns_fn *fn, void *ctx)
{
	struct ares_addrinfo_hints hints = {.ai_family = family, .ai_flags = ARES_AI_NOSORT};
	struct dns_query *query = calloc(1, sizeof(*query));

	if (!query)
		return NULL;
	*query = (struct dns_query){
	    .dns = dns, .next = dns->queries, .link = &dns->queries, .fn = fn, .ctx = ctx, .family = family};
	if (query->next)
		query->next->link = &query->next;
	dns->queries = query;
	ev_timer_init(&query->deliver, on_deliver, 0, 0);
	query->deliver.data = query;
	if (!answer_literal(query, name))
		ares_getaddrinfo(dns->channel, name, NULL, &hints, on_answer, query);
	plan_timeout(dns);
	return query;
}

void dns_cancel(struct dns_query *query)
{
	if (!query)
		return;
	query->fn = NULL;
	if (query->answered)
		query_free(query);
}
