/* Client streams over real loopback sockets, plain and TLS, against a scripted server in a thread. */
/* LINK: base/stream.c base/addr.c base/buf.c base/str.c base/err.c */
/* LIBS: -lev -lssl -lcrypto */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/cleanup.h"
#include "base/stream.h"

#define PATIENCE_S  10.0
#define LARGE_BYTES ((size_t)3 * 1024 * 1024)

/* ---- Certificates made here ---- */

struct identity {
	EVP_PKEY *key;
	X509 *certificate;
};

static void add_extension(X509 *certificate, int nid, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *extension;

	X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	assert_non_null(extension);
	assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
	X509_EXTENSION_free(extension);
}

/* Signed by issuer, or by itself when that is NULL. */
static struct identity make_identity(const char *name, const char *alt_names, const struct identity *issuer)
{
	static long serial = 1;
	struct identity made = {.key = EVP_EC_gen("P-256"), .certificate = X509_new()};
	X509_NAME *subject;

	assert_non_null(made.key);
	assert_non_null(made.certificate);
	assert_int_equal(X509_set_version(made.certificate, 2), 1);
	ASN1_INTEGER_set(X509_get_serialNumber(made.certificate), serial++);
	X509_gmtime_adj(X509_getm_notBefore(made.certificate), -60);
	X509_gmtime_adj(X509_getm_notAfter(made.certificate), 3600);
	X509_set_pubkey(made.certificate, made.key);
	subject = X509_get_subject_name(made.certificate);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(made.certificate, issuer ? X509_get_subject_name(issuer->certificate) : subject);
	if (alt_names)
		add_extension(made.certificate, NID_subject_alt_name, alt_names);
	else
		add_extension(made.certificate, NID_basic_constraints, "critical,CA:TRUE");
	assert_true(X509_sign(made.certificate, issuer ? issuer->key : made.key, EVP_sha256()) > 0);
	return made;
}

static void identity_free(struct identity identity)
{
	EVP_PKEY_free(identity.key);
	X509_free(identity.certificate);
}

/* ---- The server ---- */

struct server;
typedef void script_fn(struct server *server);

struct server {
	int listener, fd;
	uint16_t port;
	SSL_CTX *context; /* NULL: plain */
	SSL *ssl;
	script_fn *script;
	pthread_t thread;
	char server_name[256]; /* what SNI said */
	bool handshake_failed;
};

static void server_send(struct server *server, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t sent = server->ssl ? SSL_write(server->ssl, bytes, (int)len)
					   : send(server->fd, bytes, len, MSG_NOSIGNAL);

		if (sent <= 0)
			return;
		bytes += sent;
		len -= (size_t)sent;
	}
}

static ssize_t server_receive(struct server *server, char *to, size_t size)
{
	return server->ssl ? SSL_read(server->ssl, to, (int)size) : recv(server->fd, to, size, 0);
}

static void *server_run(void *arg)
{
	struct server *server = arg;

	server->fd = accept(server->listener, NULL, NULL);
	if (server->context) {
		server->ssl = SSL_new(server->context);
		SSL_set_fd(server->ssl, server->fd);
		server->handshake_failed = SSL_accept(server->ssl) != 1;
	}
	if (!server->handshake_failed) {
		const char *name =
		    server->ssl ? SSL_get_servername(server->ssl, TLSEXT_NAMETYPE_host_name) : NULL;

		(void)snprintf(server->server_name, sizeof(server->server_name), "%s", name ? name : "");
		server->script(server);
	}
	SSL_free(server->ssl);
	(void)close(server->fd);
	return NULL;
}

static int open_listener(int backlog, uint16_t *ret_port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(fd, backlog), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	*ret_port = ntohs(address.sin_port);
	return fd;
}

static void server_start(struct server *server, const struct identity *identity, script_fn *script)
{
	*server = (struct server){.script = script};
	server->listener = open_listener(16, &server->port);
	if (identity) {
		server->context = SSL_CTX_new(TLS_server_method());
		assert_non_null(server->context);
		assert_int_equal(SSL_CTX_use_certificate(server->context, identity->certificate), 1);
		assert_int_equal(SSL_CTX_use_PrivateKey(server->context, identity->key), 1);
	}
	assert_int_equal(pthread_create(&server->thread, NULL, server_run, server), 0);
}

static void server_join(struct server *server)
{
	assert_int_equal(pthread_join(server->thread, NULL), 0);
	(void)close(server->listener);
	SSL_CTX_free(server->context);
}

static void wait_for_end(struct server *server)
{
	char byte;

	while (server_receive(server, &byte, 1) > 0)
		;
}

static void script_echo(struct server *server)
{
	char bytes[4096];
	ssize_t len;

	while ((len = server_receive(server, bytes, sizeof(bytes))) > 0)
		server_send(server, bytes, (size_t)len);
}

static void script_say_hello_and_end(struct server *server)
{
	server_send(server, "hello", 5);
	if (server->ssl)
		(void)SSL_shutdown(server->ssl);
	else
		(void)shutdown(server->fd, SHUT_WR);
	wait_for_end(server);
}

static void script_say_hello_and_cut(struct server *server)
{
	server_send(server, "hello", 5);
}

static void script_be_silent(struct server *server)
{
	wait_for_end(server);
}

static void script_send_a_lot(struct server *server)
{
	char *bytes = calloc(1, LARGE_BYTES);

	server_send(server, bytes, LARGE_BYTES);
	free(bytes);
	wait_for_end(server);
}

/* ---- The client ---- */

struct client {
	struct ev_loop *loop;
	struct stream *stream;
	unsigned counts[STREAM_EVENT_CLOSED + 1];
	bool free_at[STREAM_EVENT_CLOSED + 1]; /* frees the stream when this event comes */
	bool inside;                           /* a stream_* call is running */
	struct err err;
	size_t bytes_at_close;
};

static void on_event(void *ctx, struct stream *stream, enum stream_event event, const struct err *err)
{
	struct client *client = ctx;

	assert_false(client->inside);
	assert_int_equal(client->counts[STREAM_EVENT_CLOSED], 0);
	client->counts[event]++;
	if (event == STREAM_EVENT_CLOSED) {
		client->err = *err;
		client->bytes_at_close = buf_len(stream_input(stream));
	}
	if (client->free_at[event])
		client->stream = stream_free(stream);
}

static struct stream_options options_to(uint16_t port)
{
	return (struct stream_options){.addr = {.ip = {AF_INET, {127, 0, 0, 1}}, .port = port}};
}

static void client_connect(struct client *client, const struct stream_options *options)
{
	struct err err;

	client->loop = ev_loop_new(EVFLAG_AUTO);
	assert_non_null(client->loop);
	client->inside = true;
	client->stream = stream_connect(client->loop, options, on_event, client, &err);
	client->inside = false;
	assert_non_null(client->stream);
}

static void client_write(struct client *client, const char *bytes, size_t len)
{
	client->inside = true;
	assert_int_equal(stream_write(client->stream, bytes, len), 0);
	client->inside = false;
}

static void client_done(struct client *client)
{
	client->stream = stream_free(client->stream);
	ev_loop_destroy(client->loop);
}

static double now_s(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void wake(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop;
	(void)timer;
	(void)events;
}

/* One turn of the loop, at most a moment long. */
static void turn(struct client *client, double begin)
{
	ev_timer timer;

	ev_timer_init(&timer, wake, 0.02, 0);
	ev_timer_start(client->loop, &timer);
	ev_run(client->loop, EVRUN_ONCE);
	ev_timer_stop(client->loop, &timer);
	if (now_s() - begin > PATIENCE_S)
		fail_msg("waited too long");
}

static void wait_for(struct client *client, enum stream_event event)
{
	double begin = now_s();

	while (client->counts[event] == 0) {
		if (client->counts[STREAM_EVENT_CLOSED] > 0)
			fail_msg("closed: %s", client->err.text);
		turn(client, begin);
	}
}

static void wait_for_bytes(struct client *client, size_t count)
{
	double begin = now_s();

	while (buf_len(stream_input(client->stream)) < count)
		turn(client, begin);
}

static void assert_contains(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\" does not say \"%s\"", text, part);
}

/* ---- Plain ---- */

static void bytes_go_both_ways(void **state)
{
	struct client client = {0};
	struct stream_options options;
	struct server server;

	(void)state;
	server_start(&server, NULL, script_echo);
	options = options_to(server.port);
	client_connect(&client, &options);
	client_write(&client, "before", 6); /* it waits for the connection */
	wait_for(&client, STREAM_EVENT_CONNECTED);
	wait_for_bytes(&client, 6);
	assert_true(str_is(buf_str(stream_input(client.stream)), "before"));
	assert_int_equal(client.counts[STREAM_EVENT_DRAINED], 1);
	client_done(&client);
	server_join(&server);
}

static void after_the_peers_end_writing_goes_on(void **state)
{
	struct client client = {0};
	struct stream_options options;
	struct server server;

	(void)state;
	server_start(&server, NULL, script_say_hello_and_end);
	options = options_to(server.port);
	client_connect(&client, &options);
	wait_for(&client, STREAM_EVENT_EOF);
	assert_int_equal(buf_len(stream_input(client.stream)), 5);
	client_write(&client, "still here", 10);
	wait_for(&client, STREAM_EVENT_DRAINED);
	assert_int_equal(client.counts[STREAM_EVENT_EOF], 1);
	assert_int_equal(client.counts[STREAM_EVENT_CLOSED], 0);
	client_done(&client);
	server_join(&server);
}

static void a_refused_connection_is_told_later_with_its_address(void **state)
{
	struct client client = {0};
	struct stream_options options;
	char expected[64];
	uint16_t port;
	double begin = now_s();

	(void)state;
	(void)close(open_listener(1, &port));
	options = options_to(port);
	client_connect(&client, &options);
	while (client.counts[STREAM_EVENT_CLOSED] == 0)
		turn(&client, begin);
	(void)snprintf(expected, sizeof(expected), "connect to 127.0.0.1:%u: Connection refused", port);
	assert_string_equal(client.err.text, expected);
	assert_int_equal(stream_write(client.stream, "x", 1), 0);
	turn(&client, begin);
	client_done(&client);
}

static void an_address_without_a_route_is_told_later_too(void **state)
{
	struct client client = {0};
	struct stream_options options = {.addr = {.ip = {AF_INET, {255, 255, 255, 255}}, .port = 9}};
	double begin = now_s();

	(void)state;
	client_connect(&client, &options);
	assert_int_equal(client.counts[STREAM_EVENT_CLOSED], 0);
	while (client.counts[STREAM_EVENT_CLOSED] == 0)
		turn(&client, begin);
	assert_contains(client.err.text, "connect to 255.255.255.255:9: ");
	client_done(&client);
}

static void silence_beyond_the_idle_time_ends_the_stream(void **state)
{
	struct client client = {0};
	struct stream_options options;
	struct server server;
	double begin = now_s();

	(void)state;
	server_start(&server, NULL, script_be_silent);
	options = options_to(server.port);
	options.idle_timeout_s = 0.2;
	client_connect(&client, &options);
	while (client.counts[STREAM_EVENT_CLOSED] == 0)
		turn(&client, begin);
	assert_contains(client.err.text, "timed out");
	assert_int_equal(client.counts[STREAM_EVENT_CONNECTED], 1);
	client_done(&client);
	server_join(&server);
}

static void reading_pauses_while_the_reader_does_not_consume(struct server *server,
							     struct stream_options *options)
{
	struct client client = {0};
	size_t total = 0;
	double begin = now_s();

	options->input_max_bytes = 65536;
	options->idle_timeout_s = 0.3; /* does not count while it is we who pause */
	client_connect(&client, options);
	wait_for_bytes(&client, 65536);
	while (now_s() - begin < 0.7)
		turn(&client, begin);
	while (total < LARGE_BYTES) {
		struct buf *input = stream_input(client.stream);

		assert_true(buf_len(input) <= 65536 + 16384);
		total += buf_len(input);
		buf_consume(input, buf_len(input));
		client.inside = true;
		stream_resume(client.stream);
		client.inside = false;
		if (total < LARGE_BYTES)
			turn(&client, begin);
	}
	assert_int_equal(total, LARGE_BYTES);
	client_done(&client);
	server_join(server);
}

static void reading_pauses_at_the_limit(void **state)
{
	struct stream_options options;
	struct server server;

	(void)state;
	server_start(&server, NULL, script_send_a_lot);
	options = options_to(server.port);
	reading_pauses_while_the_reader_does_not_consume(&server, &options);
}

static void the_owner_may_free_the_stream_in_any_event(void **state)
{
	(void)state;
	for (int event = STREAM_EVENT_CONNECTED; event < STREAM_EVENT_CLOSED; event++) {
		struct client client = {0};
		struct stream_options options;
		struct server server;

		client.free_at[event] = true;
		server_start(&server, NULL, script_say_hello_and_end);
		options = options_to(server.port);
		client_connect(&client, &options);
		client_write(&client, "x", 1);
		wait_for(&client, (enum stream_event)event);
		assert_null(client.stream);
		turn(&client, now_s());
		client_done(&client);
		server_join(&server);
	}
}

/* ---- TLS ---- */

struct tls_fixture {
	struct identity authority, stranger, server;
	SSL_CTX *context; /* trusts the authority */
};

static int tls_set_up(void **state)
{
	struct tls_fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	fixture->authority = make_identity("authority", NULL, NULL);
	fixture->stranger = make_identity("stranger", NULL, NULL);
	fixture->server =
	    make_identity("server", "DNS:api.test,DNS:*.wild.test,IP:127.0.0.1", &fixture->authority);
	fixture->context = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_verify(fixture->context, SSL_VERIFY_PEER, NULL);
	assert_int_equal(
	    X509_STORE_add_cert(SSL_CTX_get_cert_store(fixture->context), fixture->authority.certificate), 1);
	*state = fixture;
	return 0;
}

static int tls_tear_down(void **state)
{
	struct tls_fixture *fixture = *state;

	identity_free(fixture->authority);
	identity_free(fixture->stranger);
	identity_free(fixture->server);
	SSL_CTX_free(fixture->context);
	free(fixture);
	return 0;
}

/* "" when the handshake succeeded, else why not. */
static struct err tls_try(const struct tls_fixture *fixture, const struct identity *identity,
			  const char *name, char sni[256])
{
	struct client client = {0};
	struct stream_options options;
	struct server server;
	double begin = now_s();

	server_start(&server, identity, script_be_silent);
	options = options_to(server.port);
	options.tls = fixture->context;
	options.server_name = name;
	client_connect(&client, &options);
	while (client.counts[STREAM_EVENT_CLOSED] + client.counts[STREAM_EVENT_CONNECTED] == 0)
		turn(&client, begin);
	client_done(&client);
	server_join(&server);
	memcpy(sni, server.server_name, sizeof(server.server_name));
	return client.err;
}

static void the_servers_name_is_sent_and_verified(void **state)
{
	static const struct {
		const char *name, *sni, *error;
	} cases[] = {
	    {"api.test", "api.test", NULL},
	    {"a.wild.test", "a.wild.test", NULL},
	    {"127.0.0.1", "", NULL},
	    {NULL, "", NULL}, /* the address itself */
	    {"other.test", NULL, "hostname mismatch"},
	    {"a.b.wild.test", NULL, "hostname mismatch"},
	    {"wild.test", NULL, "hostname mismatch"},
	    {"127.0.0.2", NULL, "IP address mismatch"},
	    {"::1", NULL, "IP address mismatch"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct tls_fixture *fixture = *state;
		char sni[256];
		struct err err = tls_try(fixture, &fixture->server, cases[i].name, sni);

		if (cases[i].error) {
			assert_contains(err.text, "TLS handshake with 127.0.0.1:");
			assert_contains(err.text, cases[i].error);
		} else {
			assert_string_equal(err.text, "");
			assert_string_equal(sni, cases[i].sni);
		}
	}
}

static void a_certificate_of_a_stranger_is_refused(void **state)
{
	const struct tls_fixture *fixture = *state;
	struct identity forged = make_identity("server", "DNS:api.test", &fixture->stranger);
	char sni[256];
	struct err err = tls_try(fixture, &forged, "api.test", sni);

	assert_contains(err.text, "unable to get local issuer certificate");
	identity_free(forged);
}

static void a_server_that_does_not_speak_tls_is_told_apart(void **state)
{
	const struct tls_fixture *fixture = *state;
	struct client client = {0};
	struct stream_options options;
	struct server server;
	double begin = now_s();

	server_start(&server, NULL, script_say_hello_and_end);
	options = options_to(server.port);
	options.tls = fixture->context;
	client_connect(&client, &options);
	while (client.counts[STREAM_EVENT_CLOSED] == 0)
		turn(&client, begin);
	assert_contains(client.err.text, "TLS handshake with 127.0.0.1:");
	client_done(&client);
	server_join(&server);
}

static void a_handshake_that_never_ends_times_out(void **state)
{
	const struct tls_fixture *fixture = *state;
	struct client client = {0};
	struct stream_options options;
	struct server server;
	double begin = now_s();

	server_start(&server, NULL, script_be_silent);
	options = options_to(server.port);
	options.tls = fixture->context;
	options.connect_timeout_s = 0.2;
	client_connect(&client, &options);
	while (client.counts[STREAM_EVENT_CLOSED] == 0)
		turn(&client, begin);
	assert_contains(client.err.text, "TLS handshake with 127.0.0.1:");
	assert_contains(client.err.text, "timed out");
	client_done(&client);
	server_join(&server);
}

static void large_amounts_go_both_ways_over_tls(void **state)
{
	const struct tls_fixture *fixture = *state;
	struct client client = {0};
	struct stream_options options;
	struct server server;
	char *bytes = malloc(LARGE_BYTES);

	assert_non_null(bytes);
	for (size_t i = 0; i < LARGE_BYTES; i++)
		bytes[i] = (char)(i * 7 + i / 251);
	server_start(&server, &fixture->server, script_echo);
	options = options_to(server.port);
	options.tls = fixture->context;
	options.server_name = "api.test";
	options.input_max_bytes = 2 * LARGE_BYTES;
	client_connect(&client, &options);
	client_write(&client, bytes, LARGE_BYTES);
	wait_for_bytes(&client, LARGE_BYTES);
	assert_memory_equal(buf_head(stream_input(client.stream)), bytes, LARGE_BYTES);
	client_done(&client);
	server_join(&server);
	free(bytes);
}

static void reading_pauses_at_the_limit_over_tls(void **state)
{
	const struct tls_fixture *fixture = *state;
	struct stream_options options;
	struct server server;

	server_start(&server, &fixture->server, script_send_a_lot);
	options = options_to(server.port);
	options.tls = fixture->context;
	reading_pauses_while_the_reader_does_not_consume(&server, &options);
}

static void an_orderly_end_is_told_from_a_cut(void **state)
{
	const struct tls_fixture *fixture = *state;
	script_fn *const scripts[] = {script_say_hello_and_end, script_say_hello_and_cut};

	for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
		struct client client = {0};
		struct stream_options options;
		struct server server;
		double begin = now_s();

		server_start(&server, &fixture->server, scripts[i]);
		options = options_to(server.port);
		options.tls = fixture->context;
		client_connect(&client, &options);
		while (client.counts[STREAM_EVENT_EOF] + client.counts[STREAM_EVENT_CLOSED] == 0)
			turn(&client, begin);
		assert_int_equal(client.counts[STREAM_EVENT_EOF], i == 0);
		assert_int_equal(client.counts[STREAM_EVENT_CLOSED], i == 1);
		/* What came before the cut was told first, and is there. */
		assert_int_equal(client.counts[STREAM_EVENT_DATA], 1);
		assert_int_equal(buf_len(stream_input(client.stream)), 5);
		client_done(&client);
		server_join(&server);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(bytes_go_both_ways),
	    cmocka_unit_test(after_the_peers_end_writing_goes_on),
	    cmocka_unit_test(a_refused_connection_is_told_later_with_its_address),
	    cmocka_unit_test(an_address_without_a_route_is_told_later_too),
	    cmocka_unit_test(silence_beyond_the_idle_time_ends_the_stream),
	    cmocka_unit_test(reading_pauses_at_the_limit),
	    cmocka_unit_test(the_owner_may_free_the_stream_in_any_event),
	    cmocka_unit_test_setup_teardown(the_servers_name_is_sent_and_verified, tls_set_up, tls_tear_down),
	    cmocka_unit_test_setup_teardown(a_certificate_of_a_stranger_is_refused, tls_set_up,
					    tls_tear_down),
	    cmocka_unit_test_setup_teardown(a_server_that_does_not_speak_tls_is_told_apart, tls_set_up,
					    tls_tear_down),
	    cmocka_unit_test_setup_teardown(a_handshake_that_never_ends_times_out, tls_set_up, tls_tear_down),
	    cmocka_unit_test_setup_teardown(large_amounts_go_both_ways_over_tls, tls_set_up, tls_tear_down),
	    cmocka_unit_test_setup_teardown(reading_pauses_at_the_limit_over_tls, tls_set_up, tls_tear_down),
	    cmocka_unit_test_setup_teardown(an_orderly_end_is_told_from_a_cut, tls_set_up, tls_tear_down),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
