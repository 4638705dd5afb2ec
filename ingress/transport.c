/* Reading, writing, registering and closing one socket. */
#include "ingress/transport.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

void transport_init(struct transport *transport, int fd, transport_fn *fn)
{
	*transport = (struct transport){.readable = true, .writable = true};
	ev_io_init(&transport->io, fn, fd, 0);
}

void transport_ready(struct transport *transport, int events)
{
	if (events & EV_READ)
		transport->readable = true;
	if (events & EV_WRITE)
		transport->writable = true;
}

/* ---- plain ---- */

static ssize_t plain_read(struct transport *transport, char *data, size_t size)
{
	ssize_t n;

	do {
		n = recv(transport->io.fd, data, size, 0);
	} while (n < 0 && errno == EINTR);
	/* Less than asked for: the next read would find nothing, and the loop tells when that changes. */
	transport->readable = n == (ssize_t)size;
	if (n == 0)
		transport->at_eof = true;
	if (n < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	return n;
}

static ssize_t plain_write(struct transport *transport, const char *data, size_t len)
{
	ssize_t n;

	do {
		n = send(transport->io.fd, data, len, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	transport->writable = n == (ssize_t)len;
	if (n < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	return n;
}

/* ---- TLS ---- */

static ssize_t tls_failure(struct transport *transport, int code)
{
	int saved_errno = errno;

	switch (SSL_get_error(transport->ssl, code)) {
	case SSL_ERROR_WANT_READ:
		return -EAGAIN;
	case SSL_ERROR_WANT_WRITE:
		transport->writable = false;
		transport->tls_wants_write = true;
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		transport->at_eof = true;
		return 0;
	case SSL_ERROR_SYSCALL:
		transport->tls_failed = true;
		return saved_errno > 0 ? -saved_errno : -ECONNRESET;
	default: /* a record that is none, or an end without close_notify */
		transport->tls_failed = true;
		return -ECONNRESET;
	}
}

static ssize_t tls_read(struct transport *transport, char *data, size_t size)
{
	int n;

	ERR_clear_error();
	transport->tls_wants_write = false;
	n = SSL_read(transport->ssl, data, size < INT_MAX ? (int)size : INT_MAX);
	transport->readable = n > 0 && SSL_has_pending(transport->ssl);
	return n > 0 ? n : tls_failure(transport, n);
}

static ssize_t tls_write(struct transport *transport, const char *data, size_t len)
{
	ssize_t code;
	int n;

	ERR_clear_error();
	n = SSL_write(transport->ssl, data, len < INT_MAX ? (int)len : INT_MAX);
	if (n > 0)
		return n;
	code = tls_failure(transport, n);
	if (code == -EAGAIN)
		transport->writable = false;
	return code == 0 ? -EPIPE : code;
}

/* ---- both ---- */

ssize_t transport_read(struct transport *transport, char *data, size_t size)
{
	return transport->ssl ? tls_read(transport, data, size) : plain_read(transport, data, size);
}

ssize_t transport_write(struct transport *transport, const char *data, size_t len)
{
	return transport->ssl ? tls_write(transport, data, len) : plain_write(transport, data, len);
}

void transport_watch(struct transport *transport, struct ev_loop *loop, struct levels levels, int fired)
{
	struct ev_io *io = &transport->io;
	int registered = ev_is_active(io) ? io->events & (EV_READ | EV_WRITE) : 0;
	int mask;

	levels.at_eof = transport->at_eof;
	levels.has_output |= transport->tls_wants_write;
	levels.write_paused = !transport->writable;
	mask = interest_mask(registered, interest_wanted(levels), fired);
	if (mask == registered)
		return;
	ev_io_stop(loop, io);
	ev_io_set(io, io->fd, mask);
	if (mask != 0)
		ev_io_start(loop, io);
}

void transport_local_addr(const struct transport *transport, struct endpoint_addr *ret)
{
	struct sockaddr_storage sockaddr;
	socklen_t len = sizeof(sockaddr);

	if (getsockname(transport->io.fd, (struct sockaddr *)&sockaddr, &len) == 0)
		(void)endpoint_addr_from_sockaddr((const struct sockaddr *)&sockaddr, ret);
}

void transport_end_writing(struct transport *transport)
{
	if (transport->ssl && !transport->tls_failed) {
		ERR_clear_error();
		(void)SSL_shutdown(transport->ssl);
	}
	(void)shutdown(transport->io.fd, SHUT_WR);
}

void transport_close(struct transport *transport, struct ev_loop *loop, enum transport_close how)
{
	const struct linger reset = {.l_onoff = 1, .l_linger = 0};

	ev_io_stop(loop, &transport->io);
	if (how == TRANSPORT_CLOSE_ABORT)
		(void)setsockopt(transport->io.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	if (transport->ssl && how == TRANSPORT_CLOSE_ORDERLY && !transport->tls_failed &&
	    SSL_is_init_finished(transport->ssl) && !(SSL_get_shutdown(transport->ssl) & SSL_SENT_SHUTDOWN)) {
		ERR_clear_error();
		(void)SSL_shutdown(transport->ssl);
	}
	SSL_free(transport->ssl);
	(void)close(transport->io.fd);
	transport->ssl = NULL;
	transport->io.fd = -1;
}
