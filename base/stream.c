/* The client connection: connect, TLS handshake, then bytes both ways.
 *
 *     CONNECTING --connect(2) done--> HANDSHAKE --SSL_connect done--> OPEN
 *         \________________ without TLS _____________________________/
 *     any of them --error, time-out--> CLOSED
 *
 * Every turn of the loop does what can be done (stream_turn) and then says what it waits for (interest). */
#include "base/stream.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/cleanup.h"

#define INPUT_MAX_BYTES_DEFAULT   ((size_t)1024 * 1024)
#define CONNECT_TIMEOUT_S_DEFAULT 10.0
#define DEAD_PEER_TIMEOUT_MS      30000 /* bytes or probes that nobody acknowledges: TCP_USER_TIMEOUT */
#define READS_PER_TURN            16    /* then others on the loop have their turn */
#define READ_BYTES                ((size_t)16 * 1024) /* a TLS record */

enum stream_state { CONNECTING, HANDSHAKE, OPEN, CLOSED };

struct stream {
	struct ev_loop *loop;
	stream_fn *fn;
	void *ctx;
	struct endpoint_addr addr;
	double idle_timeout_s;
	size_t input_max_bytes;

	enum stream_state state;
	int fd;
	int connect_errno; /* what connect(2) said at once, told later */
	SSL *ssl;          /* NULL: plain */
	struct buf input, output;
	bool eof;                                /* the peer sends no more */
	bool output_pending;                     /* output was not empty: DRAINED is owed */
	int handshake_wants;                     /* EV_READ or EV_WRITE */
	bool read_wants_write, write_wants_read; /* TLS has something of its own to exchange first */
	bool in_callback, free_asked;            /* freed within the callback: destroyed after it */

	ev_io io;
	ev_timer timer;
};

/* ---- What to wait for ---- */

static bool input_is_full(const struct stream *stream)
{
	return buf_len(&stream->input) >= stream->input_max_bytes;
}

static bool wants_to_read(const struct stream *stream)
{
	return !stream->eof && !input_is_full(stream);
}

static bool wants_to_write(const struct stream *stream)
{
	return buf_len(&stream->output) > 0 && !stream->write_wants_read;
}

static int interest(const struct stream *stream)
{
	int events = 0;

	switch (stream->state) {
	case CONNECTING:
		return EV_WRITE;
	case HANDSHAKE:
		return stream->handshake_wants;
	case OPEN:
		if (wants_to_read(stream) || stream->write_wants_read)
			events |= EV_READ;
		if (wants_to_write(stream) || stream->read_wants_write)
			events |= EV_WRITE;
		return events;
	case CLOSED:
		return 0;
	}
	return 0;
}

static void watch(struct stream *stream)
{
	int events = interest(stream);

	if (!ev_is_active(&stream->io) || events != stream->io.events) {
		ev_io_stop(stream->loop, &stream->io);
		ev_io_set(&stream->io, stream->fd, events);
		if (events)
			ev_io_start(stream->loop, &stream->io);
	}
	/* TLS may hold bytes of a record that no file descriptor will announce any more. */
	if (stream->state == OPEN && wants_to_read(stream) && stream->ssl && SSL_pending(stream->ssl) > 0)
		ev_feed_event(stream->loop, &stream->io, EV_READ);
}

/* ---- Telling the owner ---- */

static void stream_destroy(struct stream *stream)
{
	buf_done(&stream->input);
	buf_done(&stream->output);
	free(stream);
}

/* False when the owner freed the stream: nothing of it may be touched any more. */
static bool emit(struct stream *stream, enum stream_event event, const struct err *err)
{
	stream->in_callback = true;
	stream->fn(stream->ctx, stream, event, err);
	stream->in_callback = false;
	if (!stream->free_asked)
		return true;
	stream_destroy(stream);
	return false;
}

static void disconnect(struct stream *stream)
{
	stream->state = CLOSED;
	ev_io_stop(stream->loop, &stream->io);
	ev_timer_stop(stream->loop, &stream->timer);
	SSL_free(stream->ssl);
	stream->ssl = NULL;
	close_p(&stream->fd);
	stream->fd = -1;
}

static bool fail(struct stream *stream, const char *doing, const char *why)
{
	char addr[ADDR_TEXT_MAX];
	struct err err;

	(void)err_set(&err, -EIO, "%s %s: %s", doing, endpoint_addr_format(&stream->addr, addr), why);
	disconnect(stream);
	return emit(stream, STREAM_EVENT_CLOSED, &err);
}

/* ---- TLS ---- */

static const char *tls_reason(const struct stream *stream)
{
	long verified = SSL_get_verify_result(stream->ssl);
	unsigned long code = ERR_peek_last_error();
	const char *reason;

	if (ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED)
		return X509_verify_cert_error_string(verified);
	if (code == 0)
		return errno != 0 ? strerror(errno) : "closed by the peer";
	reason = ERR_reason_error_string(code);
	return reason ? reason : "unknown TLS error";
}

/* The result of an SSL_ call that did not succeed: EV_READ or EV_WRITE to wait for, 0 for failure. */
static int tls_wants(const struct stream *stream, int result)
{
	switch (SSL_get_error(stream->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		return EV_READ;
	case SSL_ERROR_WANT_WRITE:
		return EV_WRITE;
	}
	return 0;
}

/* SNI carries names only (RFC 6066 section 3); an address is verified against the IP subject alternative names. */
static bool tls_set_name(SSL *ssl, const char *name)
{
	char sni[TLSEXT_MAXLEN_host_name + 1]; /* OpenSSL's macro wants it writable */
	struct ip ip;

	if (ip_parse(str_of(name), &ip) == 0)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
	if (strlen(name) >= sizeof(sni))
		return false;
	memcpy(sni, name, strlen(name) + 1);
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set_tlsext_host_name(ssl, sni) == 1 && SSL_set1_host(ssl, name) == 1;
}

static int tls_prepare(struct stream *stream, const struct stream_options *options, struct err *err)
{
	char text[ADDR_TEXT_MAX];
	const char *name = options->server_name ? options->server_name : ip_format(&options->addr.ip, text);

	stream->ssl = SSL_new(options->tls);
	if (!stream->ssl || SSL_set_fd(stream->ssl, stream->fd) != 1)
		return err_set(err, -ENOMEM, "cannot prepare TLS");
	if (!tls_set_name(stream->ssl, name))
		return err_set(err, -EINVAL, "bad server name \"%s\"", name);
	SSL_set_mode(stream->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_set_connect_state(stream->ssl);
	return 0;
}

/* ---- Connecting; all of these return false when the stream is gone ---- */

static bool connected(struct stream *stream)
{
	stream->state = OPEN;
	ev_timer_stop(stream->loop, &stream->timer);
	if (stream->idle_timeout_s > 0) {
		stream->timer.repeat = stream->idle_timeout_s;
		ev_timer_again(stream->loop, &stream->timer);
	}
	return emit(stream, STREAM_EVENT_CONNECTED, NULL);
}

static bool finish_connect(struct stream *stream)
{
	int code = stream->connect_errno;
	socklen_t len = sizeof(code);

	if (code == 0 && getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &code, &len) != 0)
		code = errno;
	if (code != 0)
		return fail(stream, "connect to", strerror(code));
	if (!stream->ssl)
		return connected(stream);
	stream->state = HANDSHAKE;
	return true;
}

static bool handshake(struct stream *stream)
{
	int result;

	ERR_clear_error();
	errno = 0;
	result = SSL_do_handshake(stream->ssl);
	if (result == 1)
		return connected(stream);
	stream->handshake_wants = tls_wants(stream, result);
	return stream->handshake_wants != 0 || fail(stream, "TLS handshake with", tls_reason(stream));
}

/* ---- Bytes: results as of read(2) and write(2), -EAGAIN when there is nothing to do yet ---- */

static ssize_t tls_read(struct stream *stream, char *to, size_t size)
{
	size_t len;
	int result, wants;

	ERR_clear_error();
	errno = 0;
	result = SSL_read_ex(stream->ssl, to, size, &len);
	if (result == 1)
		return (ssize_t)len;
	wants = tls_wants(stream, result);
	stream->read_wants_write = wants == EV_WRITE;
	if (wants)
		return -EAGAIN;
	return SSL_get_error(stream->ssl, result) == SSL_ERROR_ZERO_RETURN ? 0 : -EIO;
}

static ssize_t tls_write(struct stream *stream, const char *from, size_t size)
{
	size_t len;
	int result, wants;

	ERR_clear_error();
	errno = 0;
	result = SSL_write_ex(stream->ssl, from, size, &len);
	if (result == 1)
		return (ssize_t)len;
	wants = tls_wants(stream, result);
	stream->write_wants_read = wants == EV_READ;
	return wants ? -EAGAIN : -EIO;
}

static ssize_t plain_read(struct stream *stream, char *to, size_t size)
{
	ssize_t len = recv(stream->fd, to, size, 0);

	return len >= 0 ? len : -errno;
}

static ssize_t plain_write(struct stream *stream, const char *from, size_t size)
{
	ssize_t len = send(stream->fd, from, size, MSG_NOSIGNAL);

	return len >= 0 ? len : -errno;
}

static const char *transfer_reason(const struct stream *stream, ssize_t code)
{
	return stream->ssl ? tls_reason(stream) : strerror((int)-code);
}

static bool is_transient(ssize_t code)
{
	return code == -EAGAIN || code == -EWOULDBLOCK || code == -EINTR;
}

/* Reads until there is no more, or no room, or others should have their turn. Returns 1, 0 at the end of the input,
 * or a negative code that is not transient. */
static ssize_t fill_input(struct stream *stream)
{
	for (int i = 0; i < READS_PER_TURN && !input_is_full(stream); i++) {
		char *to = buf_reserve(&stream->input, READ_BYTES);
		ssize_t len;

		if (!to)
			return -ENOMEM;
		len = stream->ssl ? tls_read(stream, to, READ_BYTES) : plain_read(stream, to, READ_BYTES);
		if (len <= 0)
			return is_transient(len) ? 1 : len;
		buf_commit(&stream->input, (size_t)len);
	}
	return 1;
}

static bool read_some(struct stream *stream)
{
	size_t before = buf_len(&stream->input);
	const char *why = NULL;
	ssize_t r;

	if (!wants_to_read(stream))
		return true;
	stream->read_wants_write = false;
	r = fill_input(stream);
	if (r < 0) /* now, while OpenSSL's errors are those of this stream */
		why = r == -ENOMEM ? strerror(ENOMEM) : transfer_reason(stream, r);
	if (buf_len(&stream->input) > before) {
		if (stream->idle_timeout_s > 0)
			ev_timer_again(stream->loop, &stream->timer);
		if (!emit(stream, STREAM_EVENT_DATA, NULL))
			return false;
	}
	if (r == 0) {
		stream->eof = true;
		return emit(stream, STREAM_EVENT_EOF, NULL);
	}
	return r > 0 || fail(stream, "read from", why);
}

static bool write_some(struct stream *stream)
{
	stream->write_wants_read = false;
	while (buf_len(&stream->output) > 0) {
		const char *from = buf_head(&stream->output);
		size_t size = buf_len(&stream->output);
		ssize_t len = stream->ssl ? tls_write(stream, from, size) : plain_write(stream, from, size);

		if (is_transient(len))
			return true;
		if (len < 0)
			return fail(stream, "write to", transfer_reason(stream, len));
		buf_consume(&stream->output, (size_t)len);
	}
	if (!stream->output_pending)
		return true;
	stream->output_pending = false;
	return emit(stream, STREAM_EVENT_DRAINED, NULL);
}

static void stream_turn(struct stream *stream)
{
	bool alive = true;

	if (stream->state == CONNECTING)
		alive = finish_connect(stream);
	if (alive && stream->state == HANDSHAKE)
		alive = handshake(stream);
	if (alive && stream->state == OPEN)
		alive = read_some(stream);
	if (alive && stream->state == OPEN)
		alive = write_some(stream);
	if (alive && stream->state != CLOSED)
		watch(stream);
}

/* ---- Watchers ---- */

static void on_io(struct ev_loop *loop, ev_io *io, int events)
{
	(void)loop;
	(void)events;
	stream_turn(io->data);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct stream *stream = timer->data;

	(void)loop;
	(void)events;
	if (stream->connect_errno != 0)
		stream_turn(stream);
	else if (stream->state == OPEN && !stream->eof && input_is_full(stream))
		return; /* it is our reader who takes his time; the timer repeats */
	else if (stream->state == OPEN)
		(void)fail(stream, "read from", "timed out");
	else
		(void)fail(stream, stream->state == HANDSHAKE ? "TLS handshake with" : "connect to",
			   "timed out");
}

/* ---- The public side ---- */

/* A watch may be silent for minutes; probes tell that from a peer that is gone. */
static void set_socket_options(int fd)
{
	static const struct {
		int level, name, value;
	} options[] = {
	    {IPPROTO_TCP, TCP_NODELAY, 1},   {SOL_SOCKET, SO_KEEPALIVE, 1},
	    {IPPROTO_TCP, TCP_KEEPIDLE, 15}, {IPPROTO_TCP, TCP_KEEPINTVL, 5},
	    {IPPROTO_TCP, TCP_KEEPCNT, 3},   {IPPROTO_TCP, TCP_USER_TIMEOUT, DEAD_PEER_TIMEOUT_MS},
	};

	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		(void)setsockopt(fd, options[i].level, options[i].name, &options[i].value,
				 sizeof(options[i].value));
}

static int open_socket(struct stream *stream, struct err *err)
{
	struct sockaddr_storage storage;
	socklen_t len = endpoint_addr_to_sockaddr(&stream->addr, &storage);

	stream->fd = socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (stream->fd < 0)
		return err_set(err, -errno, "cannot open a socket: %s", strerror(errno));
	set_socket_options(stream->fd);
	if (connect(stream->fd, (const struct sockaddr *)&storage, len) != 0 && errno != EINPROGRESS)
		stream->connect_errno = errno;
	return 0;
}

static void start(struct stream *stream, double connect_timeout_s)
{
	double wait_s = connect_timeout_s > 0 ? connect_timeout_s : CONNECT_TIMEOUT_S_DEFAULT;

	ev_io_init(&stream->io, on_io, stream->fd, 0);
	ev_timer_init(&stream->timer, on_timer, stream->connect_errno != 0 ? 0 : wait_s, 0);
	stream->io.data = stream;
	stream->timer.data = stream;
	if (stream->connect_errno == 0)
		watch(stream);
	ev_timer_start(stream->loop, &stream->timer);
}

struct stream *stream_connect(struct ev_loop *loop, const struct stream_options *options, stream_fn *fn,
			      void *ctx, struct err *err)
{
	struct stream *stream = calloc(1, sizeof(*stream));

	if (!stream) {
		(void)err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	stream->loop = loop;
	stream->fn = fn;
	stream->ctx = ctx;
	stream->addr = options->addr;
	stream->idle_timeout_s = options->idle_timeout_s;
	stream->input_max_bytes =
	    options->input_max_bytes > 0 ? options->input_max_bytes : INPUT_MAX_BYTES_DEFAULT;
	if (open_socket(stream, err) != 0 || (options->tls && tls_prepare(stream, options, err) != 0))
		return stream_free(stream);
	start(stream, options->connect_timeout_s);
	return stream;
}

struct stream *stream_free(struct stream *stream)
{
	if (!stream)
		return NULL;
	if (stream->state == OPEN && stream->ssl) {
		ERR_clear_error();
		(void)SSL_shutdown(stream->ssl); /* says goodbye; nobody waits for the answer */
	}
	if (stream->state != CLOSED)
		disconnect(stream);
	if (stream->in_callback)
		stream->free_asked = true;
	else
		stream_destroy(stream);
	return NULL;
}

struct buf *stream_input(struct stream *stream)
{
	return &stream->input;
}

void stream_resume(struct stream *stream)
{
	if (stream->state == OPEN && !stream->in_callback)
		watch(stream);
}

int stream_write(struct stream *stream, const void *data, size_t len_bytes)
{
	if (stream->state == CLOSED || len_bytes == 0)
		return 0;
	if (buf_append(&stream->output, data, len_bytes) != 0) {
		stream->output.failed = false; /* what is there can still go */
		return -ENOMEM;
	}
	stream->output_pending = true;
	stream_resume(stream);
	return 0;
}
