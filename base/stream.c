/* Client connections: connect, TLS handshake, then both directions through buffers.
 *
 *     CONNECTING --tcp up--> HANDSHAKE (TLS only) --> OPEN --peer's FIN--> OPEN, input ended --> freed by the
 * owner
 *          '---------------------'-------------------'-- error or time-out --> FAILED (one CLOSED event)
 *
 * One watcher with an event mask that interest() derives from the state; a timer for the connect time-out,
 * then for silence. */
#include "base/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"

#define READ_BYTES           16384
#define READS_PER_WAKE_UP    16 /* then others on the loop have their turn */
#define INPUT_MAX_BYTES      (1u << 20)
#define DEAD_PEER_TIMEOUT_MS 30000 /* unacknowledged bytes or probes: TCP_USER_TIMEOUT */

enum stream_state { STREAM_CONNECTING, STREAM_HANDSHAKE, STREAM_OPEN, STREAM_FAILED };

struct stream {
	struct ev_loop *loop;
	stream_fn *fn;
	void *ctx;
	enum stream_state state;
	int fd;
	ev_io io;
	ev_timer timer;
	ev_tstamp last_read;
	double idle_timeout_s;
	size_t input_max_bytes;
	struct buf input, output;
	SSL *ssl;
	int handshake_wants;                     /* EV_READ or EV_WRITE */
	bool read_wants_write, write_wants_read; /* TLS: the other direction must move first */
	bool eof;
	bool *freed;      /* set while a callback runs, to see whether it freed the stream */
	struct err error; /* STREAM_FAILED before the event was told */
};

static int interest(const struct stream *stream)
{
	switch (stream->state) {
	case STREAM_CONNECTING:
		return EV_WRITE;
	case STREAM_HANDSHAKE:
		return stream->handshake_wants;
	case STREAM_OPEN: {
		bool reads = !stream->eof && buf_len(&stream->input) < stream->input_max_bytes;
		bool writes = buf_len(&stream->output) && !stream->write_wants_read;

		return (reads || stream->write_wants_read ? EV_READ : 0) |
		       (writes || stream->read_wants_write ? EV_WRITE : 0);
	}
	case STREAM_FAILED:
		break;
	}
	return 0;
}

static void watch(struct stream *stream)
{
	int events = interest(stream);

	if (ev_is_active(&stream->io) && stream->io.events == (events | EV__IOFDSET))
		return;
	ev_io_stop(stream->loop, &stream->io);
	if (!events || stream->fd < 0)
		return;
	ev_io_set(&stream->io, stream->fd, events);
	ev_io_start(stream->loop, &stream->io);
}

/* False when the callback freed the stream. */
static bool tell(struct stream *stream, enum stream_event event, const struct err *err)
{
	bool freed = false;
	bool *outer = stream->freed;

	stream->freed = &freed;
	stream->fn(stream->ctx, stream, event, err);
	if (freed) {
		if (outer)
			*outer = true;
		return false;
	}
	stream->freed = outer;
	return true;
}

/* The one end a stream comes to by itself. */
static void fail(struct stream *stream)
{
	if (stream->state == STREAM_FAILED)
		return;
	stream->state = STREAM_FAILED;
	ev_io_stop(stream->loop, &stream->io);
	ev_timer_stop(stream->loop, &stream->timer);
	(void)tell(stream, STREAM_EVENT_CLOSED, &stream->error);
}

static void fail_with(struct stream *stream, int code, const char *doing)
{
	(void)err_set(&stream->error, code, "%s: %s", doing, strerror(-code));
	fail(stream);
}

static void fail_tls(struct stream *stream, const char *doing, int ssl_error, int system_error)
{
	long verdict = SSL_get_verify_result(stream->ssl);
	char text[256];

	if (verdict != X509_V_OK)
		(void)err_set(&stream->error, -EPROTO, "%s: server certificate: %s", doing,
			      X509_verify_cert_error_string(verdict));
	else if (ssl_error == SSL_ERROR_SYSCALL && system_error)
		(void)err_set(&stream->error, -system_error, "%s: %s", doing, strerror(system_error));
	else if (ERR_peek_error()) {
		ERR_error_string_n(ERR_peek_error(), text, sizeof(text));
		(void)err_set(&stream->error, -EPROTO, "%s: %s", doing, text);
	} else
		(void)err_set(&stream->error, -ECONNRESET, "%s: connection closed by the peer", doing);
	ERR_clear_error();
	fail(stream);
}

/* EV_READ or EV_WRITE when OpenSSL waits for that; 0 when it is an error, then told: the stream may be gone.
 */
static int tls_waits(struct stream *stream, int result, const char *doing)
{
	int system_error = errno;
	int ssl_error = SSL_get_error(stream->ssl, result);

	if (ssl_error == SSL_ERROR_WANT_READ)
		return EV_READ;
	if (ssl_error == SSL_ERROR_WANT_WRITE)
		return EV_WRITE;
	fail_tls(stream, doing, ssl_error, system_error);
	return 0;
}

/* Both: bytes moved, 0 when it would block, -1 when the stream failed (and may be gone). */
static ssize_t write_some_tls(struct stream *stream)
{
	size_t written = 0;
	int result, waits;

	ERR_clear_error();
	result = SSL_write_ex(stream->ssl, buf_head(&stream->output), buf_len(&stream->output), &written);
	stream->write_wants_read = false;
	if (result > 0)
		return (ssize_t)written;
	waits = tls_waits(stream, result, "write");
	if (!waits)
		return -1;
	stream->write_wants_read = waits == EV_READ;
	return 0;
}

static ssize_t write_some(struct stream *stream)
{
	ssize_t count;

	if (stream->ssl)
		return write_some_tls(stream);
	count = send(stream->fd, buf_head(&stream->output), buf_len(&stream->output), MSG_NOSIGNAL);
	if (count >= 0)
		return count;
	if (errno == EAGAIN || errno == EINTR)
		return 0;
	fail_with(stream, -errno, "write");
	return -1;
}

static bool flush(struct stream *stream)
{
	if (buf_len(&stream->output) == 0)
		return true;
	while (buf_len(&stream->output)) {
		ssize_t count = write_some(stream);

		if (count < 0)
			return false;
		if (count == 0)
			return true;
		buf_consume(&stream->output, (size_t)count);
	}
	return tell(stream, STREAM_EVENT_DRAINED, NULL);
}

/* Both: bytes read, 0 when it would block or the input ended (eof set), -1 when the stream failed (and may be
 * gone). */
static ssize_t read_some_tls(struct stream *stream, char *room)
{
	size_t got = 0;
	int result, waits;

	ERR_clear_error();
	result = SSL_read_ex(stream->ssl, room, READ_BYTES, &got);
	stream->read_wants_write = false;
	if (result > 0)
		return (ssize_t)got;
	stream->eof = SSL_get_error(stream->ssl, result) == SSL_ERROR_ZERO_RETURN;
	if (stream->eof)
		return 0;
	waits = tls_waits(stream, result, "read");
	if (!waits)
		return -1;
	stream->read_wants_write = waits == EV_WRITE;
	return 0;
}

static ssize_t read_some(struct stream *stream, char *room)
{
	ssize_t count;

	if (stream->ssl)
		return read_some_tls(stream, room);
	count = recv(stream->fd, room, READ_BYTES, 0);
	if (count > 0)
		return count;
	stream->eof = count == 0;
	if (count == 0 || errno == EAGAIN || errno == EINTR)
		return 0;
	fail_with(stream, -errno, "read");
	return -1;
}

static bool fill(struct stream *stream)
{
	size_t before = buf_len(&stream->input);

	for (int i = 0;
	     i < READS_PER_WAKE_UP && buf_len(&stream->input) < stream->input_max_bytes && !stream->eof;
	     i++) {
		char *room = buf_reserve(&stream->input, READ_BYTES);

		if (!room) {
			fail_with(stream, -ENOMEM, "read");
			return false;
		}
		ssize_t count = read_some(stream, room);
		if (count < 0)
			return false;
		if (count == 0)
			break;
		buf_commit(&stream->input, (size_t)count);
	}
	if (buf_len(&stream->input) > before) {
		stream->last_read = ev_now(stream->loop);
		if (!tell(stream, STREAM_EVENT_DATA, NULL))
			return false;
	}
	return true;
}

/* TLS may hold decrypted bytes no file descriptor will announce. */
static void resume_held_bytes(struct stream *stream)
{
	if (stream->ssl && SSL_pending(stream->ssl) > 0 && buf_len(&stream->input) < stream->input_max_bytes)
		ev_feed_event(stream->loop, &stream->io, EV_READ);
}

static void plan_idle_timer(struct stream *stream)
{
	ev_timer_stop(stream->loop, &stream->timer);
	if (stream->idle_timeout_s <= 0)
		return;
	ev_timer_set(&stream->timer, stream->last_read + stream->idle_timeout_s - ev_now(stream->loop), 0);
	ev_timer_start(stream->loop, &stream->timer);
}

static bool now_open(struct stream *stream)
{
	stream->state = STREAM_OPEN;
	stream->last_read = ev_now(stream->loop);
	plan_idle_timer(stream);
	return tell(stream, STREAM_EVENT_CONNECTED, NULL);
}

static bool shake_hands(struct stream *stream)
{
	ERR_clear_error();
	int result = SSL_connect(stream->ssl);

	if (result == 1)
		return now_open(stream);
	int waits = tls_waits(stream, result, "TLS handshake");
	if (!waits)
		return false;
	stream->handshake_wants = waits;
	return true;
}

static bool finish_connect(struct stream *stream)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error) {
		fail_with(stream, -error, "connect");
		return false;
	}
	if (!stream->ssl)
		return now_open(stream);
	stream->state = STREAM_HANDSHAKE;
	return shake_hands(stream);
}

static bool move_bytes(struct stream *stream, int events)
{
	bool had_eof = stream->eof;

	if (!flush(stream))
		return false;
	if ((events & EV_READ || stream->ssl) && !fill(stream))
		return false;
	return !stream->eof || had_eof || tell(stream, STREAM_EVENT_EOF, NULL);
}

static void on_io(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct stream *stream = watcher->data;
	bool alive = true;

	(void)loop;
	switch (stream->state) {
	case STREAM_CONNECTING:
		alive = finish_connect(stream);
		break;
	case STREAM_HANDSHAKE:
		alive = shake_hands(stream);
		break;
	case STREAM_OPEN:
		alive = move_bytes(stream, events);
		break;
	case STREAM_FAILED:
		return;
	}
	if (!alive)
		return;
	watch(stream);
	resume_held_bytes(stream);
}

static void on_timer(struct ev_loop *loop, ev_timer *watcher, int events)
{
	struct stream *stream = watcher->data;

	(void)events;
	if (stream->error.text[0]) { /* connect() failed at once */
		fail(stream);
	} else if (stream->state != STREAM_OPEN) {
		fail_with(stream, -ETIMEDOUT,
			  stream->state == STREAM_CONNECTING ? "connect" : "TLS handshake");
	} else if (ev_now(loop) - stream->last_read + 0.001 >= stream->idle_timeout_s) {
		fail_with(stream, -ETIMEDOUT, "read");
	} else {
		plan_idle_timer(stream);
	}
}

static int open_socket(int family)
{
	int on = 1, idle_s = 15, interval_s = 5, probes = 3, user_timeout_ms = DEAD_PEER_TIMEOUT_MS;
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof(user_timeout_ms));
	return fd;
}

/* SNI carries names only (RFC 6066 section 3); a literal is verified against the IP subject alternative
 * names. */
static int set_up_tls(struct stream *stream, const struct stream_options *options)
{
	const char *name = options->server_name ? options->server_name : "";
	struct ip literal;
	bool is_literal = ip_parse(str_of(name), &literal) == 0;
	char sni[256]; /* OpenSSL's macro wants it writable */

	stream->ssl = SSL_new(options->tls);
	if (!stream->ssl || SSL_set_fd(stream->ssl, stream->fd) != 1)
		return -ENOMEM;
	SSL_set_mode(stream->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	if (is_literal)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(stream->ssl), name) == 1 ? 0 : -EINVAL;
	if (!name[0])
		return 0;
	if (strlen(name) >= sizeof(sni))
		return -EINVAL;
	memcpy(sni, name, strlen(name) + 1);
	if (SSL_set_tlsext_host_name(stream->ssl, sni) != 1 || SSL_set1_host(stream->ssl, name) != 1)
		return -EINVAL;
	return 0;
}

struct stream *stream_connect(struct ev_loop *loop, const struct stream_options *options, stream_fn *fn,
			      void *ctx, struct err *err)
{
	struct stream *stream = calloc(1, sizeof(*stream));
	struct sockaddr_storage address;
	socklen_t address_len = endpoint_addr_to_sockaddr(&options->addr, &address);
	double wait_s = options->connect_timeout_s > 0 ? options->connect_timeout_s : 10;

	if (!stream) {
		(void)err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	stream->loop = loop;
	stream->fn = fn;
	stream->ctx = ctx;
	stream->idle_timeout_s = options->idle_timeout_s;
	stream->input_max_bytes = options->input_max_bytes ? options->input_max_bytes : INPUT_MAX_BYTES;
	ev_init(&stream->io, on_io);
	stream->io.data = stream;
	ev_init(&stream->timer, on_timer);
	stream->timer.data = stream;
	stream->fd = open_socket(options->addr.ip.family);
	if (stream->fd < 0) {
		(void)err_set(err, stream->fd, "socket: %s", strerror(-stream->fd));
		return stream_free(stream);
	}
	if (options->tls && set_up_tls(stream, options) < 0) {
		(void)err_set(err, -EIO, "TLS cannot be set up");
		return stream_free(stream);
	}
	if (connect(stream->fd, (const struct sockaddr *)&address, address_len) < 0 && errno != EINPROGRESS) {
		(void)err_set(&stream->error, -errno, "connect: %s", strerror(errno));
		wait_s = 0;
	}
	if (wait_s > 0)
		watch(stream);
	ev_timer_set(&stream->timer, wait_s, 0);
	ev_timer_start(loop, &stream->timer);
	return stream;
}

struct stream *stream_free(struct stream *stream)
{
	if (!stream)
		return NULL;
	if (stream->freed)
		*stream->freed = true;
	ev_io_stop(stream->loop, &stream->io);
	ev_clear_pending(stream->loop, &stream->io);
	ev_timer_stop(stream->loop, &stream->timer);
	if (stream->ssl && stream->state == STREAM_OPEN) {
		ERR_clear_error();
		(void)SSL_shutdown(stream->ssl); /* one try to say goodbye; nobody waits for the answer */
		ERR_clear_error();
	}
	SSL_free(stream->ssl);
	if (stream->fd >= 0)
		(void)close(stream->fd);
	buf_done(&stream->input);
	buf_done(&stream->output);
	free(stream);
	return NULL;
}

struct buf *stream_input(struct stream *stream)
{
	return &stream->input;
}

void stream_resume(struct stream *stream)
{
	if (stream->state != STREAM_OPEN)
		return;
	watch(stream);
	resume_held_bytes(stream);
}

int stream_write(struct stream *stream, const void *data, size_t len_bytes)
{
	int code = buf_append(&stream->output, data, len_bytes);

	if (code < 0)
		return code;
	if (stream->state == STREAM_OPEN && !stream->freed)
		watch(stream);
	return 0;
}
