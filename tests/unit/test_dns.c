/* Name resolution against a name server of our own on loopback, on the same loop. */
/* LINK: base/dns.c base/addr.c base/str.c base/err.c */
/* LIBS: -lev -lcares -lpthread */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/dns.h"

#define PATIENCE_S           10.0
#define DNS_HEADER_BYTES     12
#define DNS_TYPE_A           1
#define DNS_TYPE_AAAA        28
#define DNS_CODE_NAME_ERROR  3
#define DNS_CODE_SERVER_FAIL 2

struct record {
	const char *name; /* as in a packet: "\3web\4test" */
	uint16_t type;
	uint8_t ttl_s;
	const char *ip;
};

/* Names that are not here do not exist; "fail" fails; "silent" gets no answer. */
static const struct record records[] = {
    {"\3web\4test", DNS_TYPE_A, 60, "192.0.2.1"},
    {"\3web\4test", DNS_TYPE_A, 30, "192.0.2.2"},
    {"\3web\4test", DNS_TYPE_AAAA, 90, "2001:db8::1"},
    {"\4only\4ipv4\4test", DNS_TYPE_A, 5, "192.0.2.3"},
};

struct fixture {
	struct ev_loop *loop;
	struct dns *dns;
	int fd;
	char servers[64];
	ev_io io;
	unsigned queries;
};

static size_t put_record(uint8_t *to, const struct record *record)
{
	struct ip ip;

	assert_int_equal(ip_parse(str_of(record->ip), &ip), 0);
	memcpy(to,
	       (const uint8_t[]){0xc0, DNS_HEADER_BYTES, 0, (uint8_t)record->type, 0, 1, 0, 0, 0,
				 record->ttl_s, 0, (uint8_t)ip_len(&ip)},
	       12);
	memcpy(to + 12, ip.bytes, ip_len(&ip));
	return 12 + ip_len(&ip);
}

/* Turns a query into its answer; returns the new length. */
static size_t answer(uint8_t *packet, size_t len)
{
	const char *name = (const char *)packet + DNS_HEADER_BYTES;
	size_t at = DNS_HEADER_BYTES + strlen(name) + 1;
	uint16_t type = (uint16_t)(packet[at] << 8 | packet[at + 1]);
	uint8_t count = 0;
	bool known = false;

	(void)len;
	at += 4;
	for (size_t i = 0; i < ARRAY_LEN(records); i++) {
		if (strcmp(records[i].name, name) != 0)
			continue;
		known = true;
		if (records[i].type == type) {
			at += put_record(packet + at, &records[i]);
			count++;
		}
	}
	packet[2] = 0x85;
	packet[3] = strstr(name, "fail") ? DNS_CODE_SERVER_FAIL : known ? 0 : DNS_CODE_NAME_ERROR;
	memset(packet + 6, 0, 6);
	packet[7] = count;
	return at;
}

static void on_query(struct ev_loop *loop, ev_io *io, int events)
{
	struct fixture *fixture = io->data;
	struct sockaddr_in peer;
	socklen_t peer_len = sizeof(peer);
	uint8_t packet[1024] = {0};
	ssize_t len = recvfrom(io->fd, packet, 512, 0, (struct sockaddr *)&peer, &peer_len);

	(void)loop;
	(void)events;
	assert_true(len > DNS_HEADER_BYTES);
	fixture->queries++;
	if (strstr((const char *)packet + DNS_HEADER_BYTES, "silent"))
		return;
	assert_true(
	    sendto(io->fd, packet, answer(packet, (size_t)len), 0, (struct sockaddr *)&peer, peer_len) > 0);
}

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);

	assert_non_null(fixture);
	fixture->loop = ev_loop_new(EVFLAG_AUTO);
	fixture->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fixture->fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(getsockname(fixture->fd, (struct sockaddr *)&address, &len), 0);
	(void)snprintf(fixture->servers, sizeof(fixture->servers), "127.0.0.1:%u", ntohs(address.sin_port));
	ev_io_init(&fixture->io, on_query, fixture->fd, EV_READ);
	fixture->io.data = fixture;
	ev_io_start(fixture->loop, &fixture->io);
	fixture->dns = dns_new(fixture->loop, fixture->servers, NULL);
	assert_non_null(fixture->dns);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	(void)dns_free(fixture->dns);
	ev_loop_destroy(fixture->loop);
	(void)close(fixture->fd);
	free(fixture);
	return 0;
}

struct result {
	unsigned calls;
	int code;
	unsigned ttl_s;
	char ips[256];         /* each followed by a blank, in order of bytes */
	struct dns **free_dns; /* freed within the call */
};

static void on_result(void *ctx, int code, const struct ip *ips, size_t ip_count, unsigned ttl_s)
{
	struct result *result = ctx;
	struct ip sorted[8];

	result->calls++;
	result->code = code;
	result->ttl_s = ttl_s;
	assert_true(ip_count <= ARRAY_LEN(sorted));
	for (size_t i = 0; i < ip_count; i++) {
		size_t at = i;

		for (; at > 0 && memcmp(&sorted[at - 1], &ips[i], sizeof(ips[i])) > 0; at--)
			sorted[at] = sorted[at - 1];
		sorted[at] = ips[i];
	}
	for (size_t i = 0; i < ip_count; i++) {
		char text[ADDR_TEXT_MAX];
		size_t len = strlen(result->ips);

		(void)snprintf(result->ips + len, sizeof(result->ips) - len, "%s ",
			       ip_format(&sorted[i], text));
	}
	if (result->free_dns)
		*result->free_dns = dns_free(*result->free_dns);
}

static double now_s(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void wait_for(struct fixture *fixture, const unsigned *count)
{
	double begin = now_s();

	while (*count == 0) {
		ev_run(fixture->loop, EVRUN_ONCE);
		if (now_s() - begin > PATIENCE_S)
			fail_msg("no answer came");
	}
}

static void names_and_literals_resolve_to_their_addresses(void **state)
{
	static const struct {
		const char *name;
		int family, code;
		unsigned ttl_s;
		const char *ips;
	} cases[] = {
	    {"web.test", AF_INET, 0, 30, "192.0.2.1 192.0.2.2 "},
	    {"web.test", AF_INET6, 0, 90, "2001:db8::1 "},
	    {"web.test", AF_UNSPEC, 0, 30, "192.0.2.1 192.0.2.2 2001:db8::1 "},
	    {"WEB.test", AF_INET, -ENOENT, 0, ""}, /* our server knows no upper case */
	    {"only.ipv4.test", AF_INET6, -ENOENT, 0, ""},
	    {"only.ipv4.test", AF_UNSPEC, 0, 5, "192.0.2.3 "},
	    {"absent.test", AF_UNSPEC, -ENOENT, 0, ""},
	    {"a..b.test", AF_UNSPEC, -ENOENT, 0, ""},
	    {"192.0.2.7", AF_UNSPEC, 0, 0, "192.0.2.7 "},
	    {"2001:db8::7", AF_UNSPEC, 0, 0, "2001:db8::7 "},
	    {"192.0.2.7", AF_INET6, -ENOENT, 0, ""},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct fixture *fixture = *state;
		struct result result = {0};

		assert_non_null(
		    dns_resolve(fixture->dns, cases[i].name, cases[i].family, on_result, &result));
		assert_int_equal(result.calls, 0); /* never before dns_resolve returned */
		wait_for(fixture, &result.calls);
		if (result.code != cases[i].code || strcmp(result.ips, cases[i].ips) != 0 ||
		    (result.code == 0 && result.ttl_s != cases[i].ttl_s))
			fail_msg("%s: code %d, ttl %u, %s", cases[i].name, result.code, result.ttl_s,
				 result.ips);
		assert_int_equal(result.calls, 1);
	}
}

static void literals_are_answered_without_asking_a_name_server(void **state)
{
	static const char *const literals[] = {"192.0.2.7", "2001:db8::7", "::ffff:192.0.2.7"};
	static const int families[] = {AF_UNSPEC, AF_INET, AF_INET6};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_LEN(literals) * ARRAY_LEN(families); i++) {
		struct result result = {0};

		assert_non_null(dns_resolve(fixture->dns, literals[i / ARRAY_LEN(families)],
					    families[i % ARRAY_LEN(families)], on_result, &result));
		wait_for(fixture, &result.calls);
	}
	assert_int_equal(fixture->queries, 0);
}

static void a_failing_name_server_is_no_statement_about_the_name(void **state)
{
	struct fixture *fixture = *state;
	struct result result = {0};

	assert_non_null(dns_resolve(fixture->dns, "fail.test", AF_INET, on_result, &result));
	wait_for(fixture, &result.calls);
	assert_int_equal(result.code, -EIO);
}

static void many_questions_are_answered_each_to_its_asker(void **state)
{
	struct fixture *fixture = *state;
	struct result results[100] = {0};

	for (size_t i = 0; i < ARRAY_LEN(results); i++)
		assert_non_null(dns_resolve(fixture->dns, i % 2 ? "web.test" : "only.ipv4.test", AF_INET,
					    on_result, &results[i]));
	for (size_t i = 0; i < ARRAY_LEN(results); i++) {
		wait_for(fixture, &results[i].calls);
		assert_string_equal(results[i].ips, i % 2 ? "192.0.2.1 192.0.2.2 " : "192.0.2.3 ");
	}
}

static void a_cancelled_question_is_not_answered(void **state)
{
	struct fixture *fixture = *state;
	struct result cancelled[3] = {0}, kept = {0};
	struct dns_query *literal, *name, *silent;

	literal = dns_resolve(fixture->dns, "192.0.2.7", AF_INET, on_result, &cancelled[0]);
	name = dns_resolve(fixture->dns, "web.test", AF_INET, on_result, &cancelled[1]);
	silent = dns_resolve(fixture->dns, "silent.test", AF_INET, on_result, &cancelled[2]);
	dns_cancel(literal);
	dns_cancel(name);
	assert_non_null(dns_resolve(fixture->dns, "web.test", AF_INET, on_result, &kept));
	wait_for(fixture, &kept.calls);
	dns_cancel(silent);
	dns_cancel(NULL);
	assert_int_equal(kept.code, 0);
	assert_int_equal(cancelled[0].calls + cancelled[1].calls + cancelled[2].calls, 0);
}

static void freeing_the_resolver_answers_nobody_even_from_within_an_answer(void **state)
{
	struct fixture *fixture = *state;
	struct result last = {.free_dns = &fixture->dns}, others[2] = {0};

	assert_non_null(dns_resolve(fixture->dns, "silent.test", AF_INET, on_result, &others[0]));
	assert_non_null(dns_resolve(fixture->dns, "web.test", AF_INET, on_result, &last));
	wait_for(fixture, &last.calls);
	assert_null(fixture->dns);
	ev_run(fixture->loop, EVRUN_NOWAIT);
	assert_int_equal(others[0].calls, 0);
}

static void a_bad_list_of_servers_is_an_error(void **state)
{
	struct fixture *fixture = *state;
	struct err err;

	assert_null(dns_new(fixture->loop, "not an address", &err));
	assert_non_null(strstr(err.text, "not an address"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(names_and_literals_resolve_to_their_addresses, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(literals_are_answered_without_asking_a_name_server, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(a_failing_name_server_is_no_statement_about_the_name, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(many_questions_are_answered_each_to_its_asker, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_cancelled_question_is_not_answered, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(freeing_the_resolver_answers_nobody_even_from_within_an_answer,
					    set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_bad_list_of_servers_is_an_error, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
