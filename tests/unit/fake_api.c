/* A fake API server for faults no real one shows on demand. */
#include "fake_api.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#define STEPS_MAX 512

struct connection {
	struct connection *next;
	struct fake_api *fake;
	unsigned number;
	int fd;
	SSL *ssl;
	bool accepted, closing, dead;
	ev_io io;
	ev_timer drip;
	struct buf input, output;
	size_t drip_left; /* bytes of output that may go now, when dripping */
	bool dripping;
	bool held; /* a stream is open */
	char *line;
};

struct fake_api {
	struct ev_loop *loop;
	SSL_CTX *tls;
	int fd;
	uint16_t port;
	ev_io io;
	ev_timer sweep;
	struct connection *connections;
	unsigned connection_count;
	struct fake_step steps[STEPS_MAX];
	size_t step_count;
	struct fake_request requests[FAKE_REQUESTS_MAX];
	size_t request_count;
	char *required;
	char *ca, *key;
};

static unsigned at_work; /* callbacks of ours on the stack */

bool fake_is_at_work(void)
{
	return at_work > 0;
}

/* ---- certificates ---- */

static int accept_any(int good, X509_STORE_CTX *ctx)
{
	(void)good, (void)ctx;
	return 1;
}

static char *take_text(BIO *bio)
{
	char *text;
	long len = BIO_get_mem_data(bio, &text);
	char *copy = str_dup((struct str){text, (size_t)len});

	BIO_free(bio);
	return copy;
}

static void make_identity(struct fake_api *fake)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();
	X509_NAME *name = X509_get_subject_name(certificate);
	X509V3_CTX context;
	BIO *pem = BIO_new(BIO_s_mem());

	X509_set_version(certificate, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
	X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
	X509_set_pubkey(certificate, key);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"fake", -1, -1, 0);
	X509_set_issuer_name(certificate, name);
	X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, NID_subject_alt_name, "IP:127.0.0.1");

	X509_add_ext(certificate, extension, -1);
	X509_EXTENSION_free(extension);
	assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
	fake->tls = SSL_CTX_new(TLS_server_method());
	assert_int_equal(SSL_CTX_use_certificate(fake->tls, certificate), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(fake->tls, key), 1);
	SSL_CTX_set_verify(fake->tls, SSL_VERIFY_PEER, accept_any);
	PEM_write_bio_X509(pem, certificate);
	fake->ca = take_text(pem);
	pem = BIO_new(BIO_s_mem());
	PEM_write_bio_PrivateKey(pem, key, NULL, NULL, 0, NULL, NULL);
	fake->key = take_text(pem);
	X509_free(certificate);
	EVP_PKEY_free(key);
}

/* ---- connections ---- */

static void watch(struct connection *connection)
{
	bool may_write = !connection->dripping || connection->drip_left > 0;
	int events = EV_READ | (buf_len(&connection->output) > 0 && may_write ? EV_WRITE : 0);

	ev_io_stop(connection->fake->loop, &connection->io);
	if (connection->dead)
		return;
	ev_io_set(&connection->io, connection->fd, events);
	ev_io_start(connection->fake->loop, &connection->io);
}

/* Freed later: the caller may still hold it. */
static void kill_connection(struct connection *connection)
{
	if (connection->dead)
		return;
	connection->dead = true;
	connection->held = false;
	ev_io_stop(connection->fake->loop, &connection->io);
	ev_timer_stop(connection->fake->loop, &connection->drip);
	close(connection->fd);
	ev_feed_event(connection->fake->loop, &connection->fake->sweep, EV_CUSTOM);
}

static void free_connection(struct connection *connection)
{
	SSL_free(connection->ssl);
	buf_done(&connection->input);
	buf_done(&connection->output);
	free(connection->line);
	free(connection);
}

static void on_sweep(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct fake_api *fake = timer->data;
	struct connection **link = &fake->connections;

	(void)loop, (void)events;
	while (*link) {
		struct connection *connection = *link;

		if (!connection->dead) {
			link = &connection->next;
			continue;
		}
		*link = connection->next;
		free_connection(connection);
	}
}

static void flush(struct connection *connection)
{
	while (buf_len(&connection->output) > 0 && (!connection->dripping || connection->drip_left > 0)) {
		size_t len = connection->dripping ? 1 : buf_len(&connection->output);
		int n = SSL_write(connection->ssl, buf_head(&connection->output), (int)len);

		if (n <= 0)
			break;
		buf_consume(&connection->output, (size_t)n);
		if (connection->dripping)
			connection->drip_left--;
	}
	if (buf_len(&connection->output) == 0 && connection->closing)
		kill_connection(connection);
	else
		watch(connection);
}

static void on_drip(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct connection *connection = timer->data;

	(void)loop, (void)events;
	connection->drip_left = 1;
	flush(connection);
}

/* ---- requests ---- */

static bool wants_credentials(struct fake_api *fake, const char *authorization)
{
	return fake->required && strcmp(fake->required, authorization) != 0;
}

static struct fake_step *find_step(struct fake_api *fake, const char *line)
{
	struct fake_step *found = NULL;

	for (size_t i = 0; i < fake->step_count; i++) {
		struct fake_step *step = &fake->steps[i];

		if (!step->match || !strstr(line, step->match))
			continue;
		if (!step->forever)
			return step;
		found = step;
	}
	return found;
}

static void append_chunk(struct buf *out, const char *text)
{
	if (text[0])
		buf_printf(out, "%zx\r\n%s\r\n", strlen(text), text);
}

static void finish_stream(struct connection *connection, enum fake_after after)
{
	connection->held = after == FAKE_HOLD;
	if (after == FAKE_END)
		buf_append_text(&connection->output, "0\r\n\r\n");
	if (after == FAKE_CUT)
		connection->closing = true;
}

static void append_head(struct buf *out, const struct fake_step *step)
{
	buf_printf(out, "HTTP/1.1 %u X\r\nContent-Type: application/json\r\n%s", step->status,
		   step->headers ? step->headers : "");
}

static void answer(struct connection *connection, const struct fake_step *step)
{
	struct buf *out = &connection->output;

	connection->dripping = step->drip;
	if (step->drip)
		ev_timer_again(connection->fake->loop, &connection->drip);
	if (step->silent)
		return;
	if (step->close_now) {
		kill_connection(connection);
		return;
	}
	append_head(out, step);
	if (step->streamed) {
		buf_append_text(out, "Transfer-Encoding: chunked\r\n\r\n");
		append_chunk(out, step->body);
		finish_stream(connection, step->after);
	} else {
		struct str body = str_of(step->body);

		buf_printf(out, "Content-Length: %zu\r\n\r\n", body.len);
		if (step->cut_bytes > 0 && step->cut_bytes < body.len) {
			body.len = step->cut_bytes;
			connection->closing = true;
		}
		buf_append_str(out, body);
	}
	flush(connection);
}

static uint64_t peer_digest(const struct connection *connection)
{
	X509 *peer = SSL_get1_peer_certificate(connection->ssl);
	unsigned char digest[EVP_MAX_MD_SIZE];
	uint64_t first = 0;

	if (peer && X509_digest(peer, EVP_sha256(), digest, NULL) == 1)
		memcpy(&first, digest, sizeof(first));
	X509_free(peer);
	return first;
}

static void note_request(struct connection *connection, const char *line, const char *authorization,
			 const char *body)
{
	struct fake_api *fake = connection->fake;

	assert_true(fake->request_count < FAKE_REQUESTS_MAX);
	fake->requests[fake->request_count++] = (struct fake_request){
	    .line = str_dup(str_of(line)),
	    .authorization = str_dup(str_of(authorization)),
	    .body = str_dup(str_of(body)),
	    .at = ev_now(fake->loop),
	    .connection = connection->number,
	    .certificate = peer_digest(connection),
	};
	free(connection->line);
	connection->line = str_dup(str_of(line));
}

static void handle(struct connection *connection, const char *line, const char *authorization,
		   const char *body)
{
	struct fake_api *fake = connection->fake;
	/* A watch nobody wrote a script for is held open and says nothing. */
	struct fake_step reply = {.status = 200, .body = "", .streamed = true, .after = FAKE_HOLD};
	struct fake_step *step = find_step(fake, line);

	note_request(connection, line, authorization, body);
	if (wants_credentials(fake, authorization))
		reply = (struct fake_step){.status = 401,
					   .body = "{\"kind\":\"Status\",\"message\":\"Unauthorized\"}"};
	else if (step)
		reply = *step;
	else if (!strstr(line, "watch=true"))
		reply = (struct fake_step){.status = 500, .body = "no script"};
	if (step && !step->forever && !wants_credentials(fake, authorization))
		step->match = NULL;
	answer(connection, &reply);
}

/* The value of a header in a NUL-terminated head, cut out into buffer. */
static void copy_header(const char *head, const char *name, char *buffer, size_t size)
{
	const char *found = strcasestr(head, name);

	buffer[0] = '\0';
	if (found)
		snprintf(buffer, size, "%.*s", (int)strcspn(found + strlen(name), "\r"),
			 found + strlen(name));
}

/* True when a whole request was taken off the input. */
static bool take_request(struct connection *connection)
{
	char line[2048], authorization[512], length[32];
	struct buf *input = &connection->input;
	char *end = buf_len(input) > 0 ? memmem(buf_head(input), buf_len(input), "\r\n\r\n", 4) : NULL;

	if (!end)
		return false;
	*end = '\0';
	const char *head = buf_head(input);

	snprintf(line, sizeof(line), "%.*s", (int)(strstr(head, " HTTP/1.1") - head), head);
	copy_header(head, "\r\nAuthorization: ", authorization, sizeof(authorization));
	copy_header(head, "\r\nContent-Length: ", length, sizeof(length));
	size_t head_len = (size_t)(end - head) + 4, body_len = (size_t)atoi(length);

	*end = '\r';
	if (buf_len(input) < head_len + body_len)
		return false;
	char *body = str_dup((struct str){buf_head(input) + head_len, body_len});

	buf_consume(input, head_len + body_len);
	handle(connection, line, authorization, body);
	free(body);
	return true;
}

static void read_requests(struct connection *connection)
{
	for (;;) {
		char *to = buf_reserve(&connection->input, 4096);
		int n = SSL_read(connection->ssl, to, 4096);

		if (n <= 0) {
			if (SSL_get_error(connection->ssl, n) != SSL_ERROR_WANT_READ)
				kill_connection(connection);
			break;
		}
		buf_commit(&connection->input, (size_t)n);
	}
	while (!connection->dead && take_request(connection))
		;
}

static void on_io_at_work(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct connection *connection = watcher->data;

	(void)loop;
	if (!connection->accepted) {
		int r = SSL_accept(connection->ssl);

		if (r != 1) {
			if (SSL_get_error(connection->ssl, r) != SSL_ERROR_WANT_READ)
				kill_connection(connection);
			return;
		}
		connection->accepted = true;
	}
	if (events & EV_WRITE)
		flush(connection);
	if (!connection->dead && events & EV_READ)
		read_requests(connection);
}

static void on_io(struct ev_loop *loop, ev_io *watcher, int events)
{
	at_work++;
	on_io_at_work(loop, watcher, events);
	at_work--;
}

static void on_accept_at_work(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct fake_api *fake = watcher->data;
	int fd = accept4(fake->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct connection *connection;
	int on = 1;

	(void)loop, (void)events;
	if (fd < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	connection = calloc(1, sizeof(*connection));
	connection->fake = fake;
	connection->fd = fd;
	connection->number = ++fake->connection_count;
	connection->ssl = SSL_new(fake->tls);
	SSL_set_fd(connection->ssl, fd);
	SSL_set_mode(connection->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	ev_init(&connection->io, on_io);
	ev_init(&connection->drip, on_drip);
	connection->drip.repeat = 0.0005;
	connection->io.data = connection->drip.data = connection;
	connection->next = fake->connections;
	fake->connections = connection;
	watch(connection);
}

static void on_accept(struct ev_loop *loop, ev_io *watcher, int events)
{
	at_work++;
	on_accept_at_work(loop, watcher, events);
	at_work--;
}

/* ---- life ---- */

static void open_port(struct fake_api *fake)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(fake->port)};
	socklen_t len = sizeof(address);
	int on = 1;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fake->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(fake->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	assert_int_equal(bind(fake->fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fake->fd, 256), 0);
	assert_int_equal(getsockname(fake->fd, (struct sockaddr *)&address, &len), 0);
	fake->port = ntohs(address.sin_port);
	ev_io_init(&fake->io, on_accept, fake->fd, EV_READ);
	fake->io.data = fake;
	ev_io_start(fake->loop, &fake->io);
}

struct fake_api *fake_api_start(struct ev_loop *loop)
{
	struct fake_api *fake = calloc(1, sizeof(*fake));

	fake->loop = loop;
	make_identity(fake);
	ev_init(&fake->sweep, on_sweep);
	fake->sweep.data = fake;
	open_port(fake);
	return fake;
}

void fake_api_die(struct fake_api *fake)
{
	ev_io_stop(fake->loop, &fake->io);
	if (fake->fd >= 0)
		close(fake->fd);
	fake->fd = -1;
	for (struct connection *connection = fake->connections; connection; connection = connection->next)
		kill_connection(connection);
}

void fake_api_revive(struct fake_api *fake)
{
	open_port(fake);
}

void fake_api_close_idle(struct fake_api *fake)
{
	for (struct connection *connection = fake->connections; connection; connection = connection->next)
		if (!connection->held)
			kill_connection(connection);
}

void fake_forget(struct fake_api *fake)
{
	fake->step_count = 0;
}

struct fake_api *fake_api_stop(struct fake_api *fake)
{
	fake_api_die(fake);
	on_sweep(fake->loop, &fake->sweep, 0);
	ev_clear_pending(fake->loop, &fake->sweep);
	for (size_t i = 0; i < fake->request_count; i++) {
		free(fake->requests[i].line);
		free(fake->requests[i].authorization);
		free(fake->requests[i].body);
	}
	SSL_CTX_free(fake->tls);
	free(fake->required);
	free(fake->ca);
	free(fake->key);
	free(fake);
	return NULL;
}

/* ---- the script ---- */

void fake_say(struct fake_api *fake, struct fake_step step)
{
	assert_true(fake->step_count < STEPS_MAX);
	fake->steps[fake->step_count++] = step;
}

void fake_require(struct fake_api *fake, const char *authorization)
{
	free(fake->required);
	fake->required = authorization ? str_dup(str_of(authorization)) : NULL;
}

static bool is_stream_of(const struct connection *connection, const char *match)
{
	return connection->held && !connection->dead && strstr(connection->line, match);
}

unsigned fake_push(struct fake_api *fake, const char *match, const char *text)
{
	unsigned count = 0;

	for (struct connection *connection = fake->connections; connection; connection = connection->next) {
		if (!is_stream_of(connection, match))
			continue;
		append_chunk(&connection->output, text);
		flush(connection);
		count++;
	}
	return count;
}

unsigned fake_end(struct fake_api *fake, const char *match, enum fake_after after)
{
	unsigned count = 0;

	for (struct connection *connection = fake->connections; connection; connection = connection->next) {
		if (!is_stream_of(connection, match))
			continue;
		finish_stream(connection, after);
		flush(connection);
		count++;
	}
	return count;
}

/* ---- what it heard ---- */

const struct fake_request *fake_nth(const struct fake_api *fake, const char *match, unsigned n)
{
	for (size_t i = 0; i < fake->request_count; i++)
		if (strstr(fake->requests[i].line, match) && n-- == 0)
			return &fake->requests[i];
	return NULL;
}

unsigned fake_count(const struct fake_api *fake, const char *match)
{
	unsigned count = 0;

	for (size_t i = 0; i < fake->request_count; i++)
		count += strstr(fake->requests[i].line, match) != NULL;
	return count;
}

unsigned fake_connections(const struct fake_api *fake)
{
	return fake->connection_count;
}

unsigned fake_open_streams(const struct fake_api *fake)
{
	unsigned count = 0;

	for (struct connection *connection = fake->connections; connection; connection = connection->next)
		count += connection->held && !connection->dead;
	return count;
}

uint16_t fake_port(const struct fake_api *fake)
{
	return fake->port;
}

const char *fake_key(const struct fake_api *fake)
{
	return fake->key;
}

const char *fake_ca(const struct fake_api *fake)
{
	return fake->ca;
}

struct kube_config *fake_kubeconfig(const struct fake_api *fake, const char *user)
{
	char encoded[4096];
	struct buf text = {0};
	struct err err;

	EVP_EncodeBlock((unsigned char *)encoded, (const unsigned char *)fake->ca, (int)strlen(fake->ca));
	buf_printf(&text,
		   "current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n"
		   "clusters: [{name: k, cluster: {server: \"https://127.0.0.1:%u\", "
		   "certificate-authority-data: %s}}]\nusers: [{name: u, user: %s}]\n",
		   fake->port, encoded, user);
	struct kube_config *config = kube_config_parse(buf_str(&text), "/tmp/fake.yaml", NULL, &err);

	buf_done(&text);
	if (!config)
		fail_msg("%s", err.text);
	return config;
}
