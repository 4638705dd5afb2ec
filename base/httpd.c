/* The small HTTP server: accepts, reads a request's head, has it answered from memory, writes.
 *
 *     READING --head complete, answered--> WRITING --all out--> READING (keep-alive)
 *        |  \--refused--------------------/    \--closing--> LINGERING --peer closed, 1 s--> gone
 *        '--peer closed, time-out, error--> gone
 *
 * A connection in READING without a byte of a request is idle. */
#include "base/httpd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define REQUEST_TIMEOUT_S 5.0
#define IDLE_TIMEOUT_S    30.0
#define LINGER_TIMEOUT_S  1.0
#define ACCEPT_PAUSE_S    0.1 /* after running out of file descriptors */
#define ACCEPTS_PER_TURN  64
#define READ_BYTES        4096

static const struct http1_limits request_limits = {
    .start_line_bytes = 4096,
    .head_bytes = 16384,
    .field_count = 64,
};

enum connection_state { READING, WRITING, LINGERING, CLOSING };

struct connection {
	TAILQ_ENTRY(connection) link;
	struct httpd *httpd;
	enum connection_state state;
	int fd;
	ev_io io;
	ev_timer deadline;
	struct http1 parser;
	struct buf input, output;
	size_t head_bytes; /* of the request being answered */
	bool close_after;
};

TAILQ_HEAD(connection_list, connection);

struct httpd {
	struct ev_loop *loop;
	httpd_fn *fn;
	void *ctx;
	bool any_method;
	int fd;
	ev_io accept;
	ev_timer accept_again;
	struct connection_list connections; /* the one idle longest comes first among the idle */
	unsigned connection_count;
};

/* ---- Connections ---- */

static void connection_close(struct connection *connection)
{
	struct httpd *httpd = connection->httpd;

	ev_io_stop(httpd->loop, &connection->io);
	ev_timer_stop(httpd->loop, &connection->deadline);
	TAILQ_REMOVE(&httpd->connections, connection, link);
	httpd->connection_count--;
	(void)close(connection->fd);
	buf_done(&connection->input);
	buf_done(&connection->output);
	free(connection);
}

static bool is_idle(const struct connection *connection)
{
	return connection->state == READING && buf_len(&connection->input) == 0;
}

static void set_deadline(struct connection *connection, double seconds)
{
	connection->deadline.repeat = seconds;
	ev_timer_again(connection->httpd->loop, &connection->deadline);
}

static void watch(struct connection *connection)
{
	int events = connection->state == WRITING ? EV_WRITE : EV_READ;

	if (ev_is_active(&connection->io) && (connection->io.events & (EV_READ | EV_WRITE)) == events)
		return;
	ev_io_stop(connection->httpd->loop, &connection->io);
	ev_io_set(&connection->io, connection->fd, events);
	ev_io_start(connection->httpd->loop, &connection->io);
}

/* ---- Answers ---- */

static void append_date(struct buf *out)
{
	static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	time_t now = time(NULL);
	struct tm utc;

	(void)gmtime_r(&now, &utc);
	(void)buf_printf(out, "Date: %s, %02d %s %04d %02d:%02d:%02d GMT\r\n", days[utc.tm_wday], utc.tm_mday,
			 months[utc.tm_mon], utc.tm_year + 1900, utc.tm_hour, utc.tm_min, utc.tm_sec);
}

static void append_answer(struct connection *connection, const struct httpd_answer *answer, bool with_body)
{
	struct buf *out = &connection->output;

	(void)buf_printf(out, "HTTP/1.1 %u %s\r\n", answer->status, http_reason(answer->status));
	append_date(out);
	(void)buf_printf(out, "Content-Type: %s\r\nContent-Length: %zu\r\n", answer->content_type,
			 buf_len(&answer->body));
	(void)buf_append_str(out, buf_str(&answer->headers));
	(void)buf_append_text(out, connection->close_after ? "Connection: close\r\n\r\n" : "\r\n");
	if (with_body)
		(void)buf_append_str(out, buf_str(&answer->body));
}

static struct httpd_answer answer_begin(unsigned status)
{
	return (struct httpd_answer){.status = status, .content_type = "text/plain; charset=utf-8"};
}

static void answer_end(struct connection *connection, struct httpd_answer *answer, bool with_body)
{
	append_answer(connection, answer, with_body);
	if (buf_failed(&answer->headers) || buf_failed(&answer->body) || buf_failed(&connection->output))
		connection->state = CLOSING;
	else
		connection->state = WRITING;
	buf_done(&answer->headers);
	buf_done(&answer->body);
	set_deadline(connection, REQUEST_TIMEOUT_S);
}

static void refuse(struct connection *connection)
{
	struct httpd_answer answer = answer_begin(connection->parser.error_status);

	connection->close_after = true;
	(void)buf_printf(&answer.body, "%s\n", connection->parser.error_reason);
	answer_end(connection, &answer, true);
}

static void answer_request(struct connection *connection, const struct http_head *head)
{
	struct httpd *httpd = connection->httpd;
	struct httpd_answer answer = answer_begin(200);
	bool is_head = str_is(head->method, "HEAD");

	/* A request with a body is answered without reading that. */
	connection->close_after = !head->keep_alive || !http1_done(&connection->parser);
	if (httpd->any_method || is_head || str_is(head->method, "GET")) {
		httpd->fn(httpd->ctx, head, &answer);
	} else {
		answer.status = 405;
		(void)buf_append_text(&answer.headers, "Allow: GET, HEAD\r\n");
		(void)buf_append_text(&answer.body, "method not allowed\n");
	}
	answer_end(connection, &answer, !is_head);
}

/* ---- Turns: each step returns whether the next one may follow at once ---- */

static bool read_request(struct connection *connection)
{
	struct http_head head;
	ssize_t len =
	    http1_head(&connection->parser, buf_head(&connection->input), buf_len(&connection->input), &head);

	if (len == 0)
		return false;
	if (len < 0) {
		refuse(connection);
		return true;
	}
	connection->head_bytes = (size_t)len;
	answer_request(connection, &head);
	return true;
}

static void next_request(struct connection *connection)
{
	struct connection_list *list = &connection->httpd->connections;

	buf_consume(&connection->input, connection->head_bytes);
	http1_next(&connection->parser);
	connection->state = READING;
	TAILQ_REMOVE(list, connection, link);
	TAILQ_INSERT_TAIL(list, connection, link);
	set_deadline(connection, is_idle(connection) ? IDLE_TIMEOUT_S : REQUEST_TIMEOUT_S);
}

/* Closing while the peer still sends would have the kernel reset the connection, and the answer be lost. */
static void linger(struct connection *connection)
{
	connection->state = shutdown(connection->fd, SHUT_WR) == 0 ? LINGERING : CLOSING;
	set_deadline(connection, LINGER_TIMEOUT_S);
}

static bool write_answer(struct connection *connection)
{
	struct buf *out = &connection->output;
	ssize_t len = send(connection->fd, buf_head(out), buf_len(out), MSG_NOSIGNAL);

	if (len < 0) {
		if (errno != EAGAIN && errno != EINTR)
			connection->state = CLOSING;
		return false;
	}
	buf_consume(out, (size_t)len);
	if (buf_len(out) > 0) {
		set_deadline(connection, REQUEST_TIMEOUT_S);
		return false;
	}
	if (connection->close_after)
		linger(connection);
	else
		next_request(connection);
	return true;
}

static void connection_turn(struct connection *connection)
{
	bool more = true;

	while (more) {
		switch (connection->state) {
		case READING:
			more = read_request(connection);
			break;
		case WRITING:
			more = write_answer(connection);
			break;
		case LINGERING:
		case CLOSING:
			more = false;
			break;
		}
	}
	if (connection->state == CLOSING)
		connection_close(connection);
	else
		watch(connection);
}

static void receive(struct connection *connection)
{
	bool was_idle = is_idle(connection);
	char *to = buf_reserve(&connection->input, READ_BYTES);
	ssize_t len = to ? recv(connection->fd, to, READ_BYTES, 0) : 0;

	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (len <= 0)
		connection->state = CLOSING;
	else if (connection->state == READING)
		buf_commit(&connection->input, (size_t)len);
	if (was_idle)
		set_deadline(connection, REQUEST_TIMEOUT_S);
}

static void on_io(struct ev_loop *loop, ev_io *io, int events)
{
	struct connection *connection = io->data;

	(void)loop;
	if (events & EV_READ)
		receive(connection);
	connection_turn(connection);
}

static void on_deadline(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	connection_close(timer->data);
}

/* ---- Accepting ---- */

static void connection_open(struct httpd *httpd, int fd)
{
	struct connection *connection = calloc(1, sizeof(*connection));

	if (!connection) {
		(void)close(fd);
		return;
	}
	connection->httpd = httpd;
	connection->fd = fd;
	http1_init(&connection->parser, HTTP1_REQUEST, &request_limits);
	ev_io_init(&connection->io, on_io, fd, EV_READ);
	ev_init(&connection->deadline, on_deadline);
	connection->io.data = connection;
	connection->deadline.data = connection;
	TAILQ_INSERT_TAIL(&httpd->connections, connection, link);
	httpd->connection_count++;
	set_deadline(connection, IDLE_TIMEOUT_S);
	ev_io_start(httpd->loop, &connection->io);
}

static bool close_oldest_idle(struct httpd *httpd)
{
	struct connection *connection = TAILQ_FIRST(&httpd->connections);

	while (connection && !is_idle(connection))
		connection = TAILQ_NEXT(connection, link);
	if (connection)
		connection_close(connection);
	return connection != NULL;
}

static void pause_accepting(struct httpd *httpd)
{
	ev_io_stop(httpd->loop, &httpd->accept);
	ev_timer_set(&httpd->accept_again, ACCEPT_PAUSE_S, 0);
	ev_timer_start(httpd->loop, &httpd->accept_again);
}

static void on_accept_again(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct httpd *httpd = timer->data;

	(void)events;
	ev_io_start(loop, &httpd->accept);
}

static void on_accept(struct ev_loop *loop, ev_io *io, int events)
{
	struct httpd *httpd = io->data;

	(void)loop;
	(void)events;
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		int fd = accept4(httpd->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0 && (errno == EMFILE || errno == ENFILE) && !close_oldest_idle(httpd))
			pause_accepting(httpd);
		if (fd < 0)
			return;
		if (httpd->connection_count < HTTPD_CONNECTIONS_MAX || close_oldest_idle(httpd))
			connection_open(httpd, fd);
		else
			(void)close(fd);
	}
}

/* ---- The public side ---- */

static int bind_and_listen(int fd, const struct endpoint_addr *addr)
{
	struct sockaddr_storage storage;
	socklen_t len = endpoint_addr_to_sockaddr(addr, &storage);
	int yes = 1, ipv6_only = addr->ip.family == AF_INET6;

	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (storage.ss_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &ipv6_only, sizeof(ipv6_only));
	if (bind(fd, (const struct sockaddr *)&storage, len) != 0 || listen(fd, SOMAXCONN) != 0)
		return -errno;
	return 0;
}

/* For all addresses one socket serves both families, unless the kernel has no IPv6. */
static int open_listener(const struct endpoint_addr *addr)
{
	struct endpoint_addr ipv4_any = {.ip = {.family = AF_INET}, .port = addr->port};
	int family = addr->ip.family == AF_INET ? AF_INET : AF_INET6;
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), r;

	if (fd < 0)
		return errno == EAFNOSUPPORT && addr->ip.family == 0 ? open_listener(&ipv4_any) : -errno;
	r = bind_and_listen(fd, addr);
	if (r == 0)
		return fd;
	(void)close(fd);
	return r;
}

struct httpd *httpd_listen(struct ev_loop *loop, const struct endpoint_addr *addr, httpd_fn *fn, void *ctx,
			   struct err *err)
{
	struct httpd *httpd = calloc(1, sizeof(*httpd));
	char text[ADDR_TEXT_MAX];

	if (!httpd) {
		(void)err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	*httpd = (struct httpd){.loop = loop, .fn = fn, .ctx = ctx, .fd = open_listener(addr)};
	if (httpd->fd < 0) {
		(void)err_set(err, httpd->fd, "cannot listen on %s: %s", endpoint_addr_format(addr, text),
			      strerror(-httpd->fd));
		free(httpd);
		return NULL;
	}
	TAILQ_INIT(&httpd->connections);
	ev_io_init(&httpd->accept, on_accept, httpd->fd, EV_READ);
	ev_init(&httpd->accept_again, on_accept_again);
	httpd->accept.data = httpd;
	httpd->accept_again.data = httpd;
	ev_io_start(loop, &httpd->accept);
	return httpd;
}

void httpd_take_any_method(struct httpd *httpd)
{
	httpd->any_method = true;
}

struct httpd *httpd_free(struct httpd *httpd)
{
	if (!httpd)
		return NULL;
	for (struct connection *connection = TAILQ_FIRST(&httpd->connections), *next; connection;
	     connection = next) {
		next = TAILQ_NEXT(connection, link);
		connection_close(connection);
	}
	ev_io_stop(httpd->loop, &httpd->accept);
	ev_timer_stop(httpd->loop, &httpd->accept_again);
	(void)close(httpd->fd);
	free(httpd);
	return NULL;
}

uint16_t httpd_port(const struct httpd *httpd)
{
	struct sockaddr_storage storage = {0};
	socklen_t len = sizeof(storage);
	struct endpoint_addr addr = {0};

	if (getsockname(httpd->fd, (struct sockaddr *)&storage, &len) != 0)
		return 0;
	return endpoint_addr_from_sockaddr((const struct sockaddr *)&storage, &addr) == 0 ? addr.port : 0;
}
