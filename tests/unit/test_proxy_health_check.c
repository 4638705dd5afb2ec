/* LINK: proxy/health_check.c proxy/local_ready.c proxy/listen_ips.c proxy/settings.c proxy/endpoints.c proxy/service.c */
/* LINK: conf/store.c conf/object.c conf/node.c conf/node_json.c conf/node_scalar.c conf/node_yaml.c */
/* LINK: conf/decode.c conf/decode_endpoints.c conf/decode_ingress.c conf/decode_meta.c conf/decode_misc.c */
/* LINK: conf/decode_secret.c conf/decode_service.c conf/field.c conf/names.c */
/* LINK: base/httpd.c base/http1.c base/http_syntax.c base/chunked.c base/log.c */
/* LINK: base/addr.c base/arena.c base/buf.c base/err.c base/map.c base/str.c */
/* LIBS: -lev -lyaml -ljansson -lxxhash -lcrypto */
/* healthCheckNodePort servers, asked over real sockets (service-proxy contract rows 37, 38). */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "conf/decode.h"
#include "proxy/health_check.h"
#include "proxy/listen_ips.h"
#include "proxy/local_ready.h"

struct fixture {
	struct ev_loop *loop;
	struct store *store;
	struct health_check *health;
	bool healthy;
	unsigned failures;
};

static bool is_healthy(void *ctx)
{
	return ((struct fixture *)ctx)->healthy;
}

static void on_failed(void *ctx, const struct service *service, const char *why)
{
	struct fixture *fixture = ctx;

	assert_string_equal(service->meta.ns, "shop");
	assert_non_null(strstr(why, "Address already in use"));
	fixture->failures++;
}

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	const struct proxy_config proxy = {.node_name = "node-1", .loopback_endpoints = true};
	struct health_check_config config = {
	    .proxy = &proxy, .healthy = is_healthy, .failed = on_failed, .ctx = fixture};
	struct err err;

	if (!fixture)
		return -1;
	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	fixture->healthy = true;
	fixture->loop = ev_loop_new(EVFLAG_AUTO);
	fixture->store = store_new();
	fixture->health = health_check_new(fixture->loop, fixture->store, &config, &err);
	*state = fixture;
	return fixture->health ? 0 : -1;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	(void)health_check_free(fixture->health);
	(void)store_free(fixture->store);
	ev_loop_destroy(fixture->loop);
	free(fixture);
	return 0;
}

/* ---- objects ---- */

static void put_object(void *ctx, struct object *object)
{
	assert_int_equal(store_put(ctx, object), 0);
}

static void no_complaint(void *ctx, const struct decode_complaint *complaint)
{
	(void)ctx;
	fail_msg("%s: %s", complaint->field, complaint->why);
}

static void put_text(struct fixture *fixture, const char *manifest)
{
	const struct decode_sink sink = {
	    .object = put_object, .complaint = no_complaint, .ctx = fixture->store};

	assert_int_equal(decode_manifest(manifest, strlen(manifest), "t.yaml", &sink), 0);
	store_settle(fixture->store);
}

static void put_service(struct fixture *fixture, const char *name, const char *type, const char *policy,
			uint16_t port)
{
	char text[1024];

	(void)snprintf(text, sizeof(text),
		       "apiVersion: v1\nkind: Service\nmetadata: {name: %s, namespace: shop}\nspec:\n"
		       "  type: %s\n  clusterIP: 10.96.0.1\n  externalTrafficPolicy: %s\n"
		       "  healthCheckNodePort: %u\n  ports: [{port: 80, nodePort: 30080}]\n",
		       name, type, policy, port);
	put_text(fixture, text);
}

static void put_slice(struct fixture *fixture, const char *name, const char *family, const char *endpoints)
{
	char text[2048];

	(void)snprintf(text, sizeof(text),
		       "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
		       "metadata: {name: %s, namespace: shop, labels: {kubernetes.io/service-name: web}}\n"
		       "addressType: %s\nports: [{name: '', port: 8080}]\nendpoints: [%s]\n",
		       name, family, endpoints);
	put_text(fixture, text);
}

#define HERE(address) "{addresses: ['" address "'], nodeName: node-1}"
#define AWAY(address) "{addresses: ['" address "'], nodeName: node-2}"
#define ENDING(address)                                   \
	"{addresses: ['" address "'], nodeName: node-1, " \
	"conditions: {ready: false, serving: true, terminating: true}}"

/* ---- sockets ---- */

static int bound_socket(uint16_t *ret_port)
{
	const struct endpoint_addr any = {0};
	struct sockaddr_storage storage;
	socklen_t len = endpoint_addr_to_sockaddr(&any, &storage);
	int fd = socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct endpoint_addr bound;

	assert_int_equal(bind(fd, (struct sockaddr *)&storage, len), 0);
	assert_int_equal(listen(fd, 1), 0);
	len = sizeof(storage);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&storage, &len), 0);
	assert_int_equal(endpoint_addr_from_sockaddr((struct sockaddr *)&storage, &bound), 0);
	*ret_port = bound.port;
	return fd;
}

static uint16_t free_port(void)
{
	uint16_t port;

	(void)close(bound_socket(&port));
	return port;
}

static int dial(const char *address, uint16_t port)
{
	struct endpoint_addr addr = {.port = port};
	struct sockaddr_storage storage;
	socklen_t len;
	int fd;

	assert_int_equal(ip_parse(str_of(address), &addr.ip), 0);
	len = endpoint_addr_to_sockaddr(&addr, &storage);
	fd = socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(fd, (struct sockaddr *)&storage, len) == 0)
		return fd;
	(void)close(fd);
	return -1;
}

static bool answers(uint16_t port)
{
	int fd = dial("127.0.0.1", port);

	if (fd >= 0)
		(void)close(fd);
	return fd >= 0;
}

/* The whole answer, without its Date line. */
static char *ask(struct fixture *fixture, const char *address, uint16_t port, const char *request)
{
	int fd = dial(address, port);
	struct pollfd readable = {.fd = fd, .events = POLLIN};
	struct buf text = {0};
	char *all, *date;
	ssize_t len;

	assert_true(fd >= 0);
	assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
	do {
		for (int turn = 0; poll(&readable, 1, 1) == 0; turn++) {
			assert_true(turn < 10000);
			ev_run(fixture->loop, EVRUN_NOWAIT);
		}
		len = recv(fd, buf_reserve(&text, 4096), 4096, 0);
		buf_commit(&text, len > 0 ? (size_t)len : 0);
	} while (len > 0);
	(void)close(fd);
	all = buf_take_text(&text);
	date = strstr(all, "Date: ");
	assert_non_null(date);
	memmove(date, strchr(date, '\n') + 1, strlen(strchr(date, '\n') + 1) + 1);
	return all;
}

#define GET "GET / HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n"

static void assert_endpoints(struct fixture *fixture, uint16_t port, unsigned status, unsigned count)
{
	cleanup_free char *text = ask(fixture, "127.0.0.1", port, GET);
	char expected[64];

	(void)snprintf(expected, sizeof(expected), "\"localEndpoints\": %u,", count);
	assert_int_equal(strtoul(text + strlen("HTTP/1.1 "), NULL, 10), status);
	assert_non_null(strstr(text, expected));
}

/* ---- tests ---- */

static void the_answer_has_kube_proxys_bytes(void **state)
{
	struct fixture *fixture = *state;
	uint16_t port = free_port();

	put_service(fixture, "web", "LoadBalancer", "Local", port);
	put_slice(fixture, "web-a", "IPv4", HERE("10.0.0.1") "," AWAY("10.0.0.2"));
	health_check_start(fixture->health);
	for (unsigned i = 0; i < 2; i++) {
		cleanup_free char *text = ask(fixture, i ? "::1" : "127.0.0.1", port, GET);

		assert_string_equal(
		    text, "HTTP/1.1 200 OK\r\n"
			  "Content-Type: application/json\r\n"
			  "Content-Length: 111\r\n"
			  "X-Content-Type-Options: nosniff\r\n"
			  "X-Load-Balancing-Endpoint-Weight: 1\r\n"
			  "Connection: close\r\n\r\n"
			  "{\n\t\"service\": {\n\t\t\"namespace\": \"shop\",\n\t\t\"name\": \"web\"\n\t},\n"
			  "\t\"localEndpoints\": 1,\n\t\"serviceProxyHealthy\": true\n}");
	}
}

static void every_path_and_method_is_answered(void **state)
{
	struct fixture *fixture = *state;
	uint16_t port = free_port();

	put_service(fixture, "web", "LoadBalancer", "Local", port);
	put_slice(fixture, "web-a", "IPv4", HERE("10.0.0.1"));
	health_check_start(fixture->health);
	cleanup_free char *post =
	    ask(fixture, "127.0.0.1", port,
		"POST /any/path?x=1 HTTP/1.1\r\nHost: n\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
	assert_non_null(strstr(post, "HTTP/1.1 200 OK"));
	assert_non_null(strstr(post, "\"localEndpoints\": 1,"));
}

static void without_a_ready_endpoint_here_or_a_healthy_proxy_the_node_is_drained(void **state)
{
	struct fixture *fixture = *state;
	uint16_t port = free_port();

	put_service(fixture, "web", "LoadBalancer", "Local", port);
	health_check_start(fixture->health);
	assert_endpoints(fixture, port, 503, 0);
	put_slice(fixture, "web-a", "IPv4", AWAY("10.0.0.2"));
	assert_endpoints(fixture, port, 503, 0);
	put_slice(fixture, "web-a", "IPv4", HERE("10.0.0.1"));
	assert_endpoints(fixture, port, 200, 1);
	fixture->healthy = false;
	assert_endpoints(fixture, port, 503, 1);
	fixture->healthy = true;
	put_slice(fixture, "web-a", "IPv4", ENDING("10.0.0.1"));
	assert_endpoints(fixture, port, 503, 0);
}

static void addresses_count_once_however_many_slices_and_families_name_them(void **state)
{
	struct fixture *fixture = *state;
	uint16_t port = free_port();

	put_slice(fixture, "web-a", "IPv4", HERE("10.0.0.1") "," HERE("10.0.0.2"));
	put_slice(fixture, "web-b", "IPv4", HERE("10.0.0.2") "," HERE("10.0.0.3"));
	put_slice(fixture, "web-c", "IPv6", HERE("fd00::1") "," HERE("fd00::2"));
	put_service(fixture, "web", "LoadBalancer", "Local", port);
	health_check_start(fixture->health);
	assert_endpoints(fixture, port, 200, 3);
	store_delete(fixture->store, KIND_ENDPOINTSLICE, STR_LIT("shop"), STR_LIT("web-b"));
	store_settle(fixture->store);
	assert_endpoints(fixture, port, 200, 2);
	store_delete(fixture->store, KIND_ENDPOINTSLICE, STR_LIT("shop"), STR_LIT("web-a"));
	store_delete(fixture->store, KIND_ENDPOINTSLICE, STR_LIT("shop"), STR_LIT("web-c"));
	store_settle(fixture->store);
	assert_endpoints(fixture, port, 503, 0);
}

static void only_load_balancers_with_the_local_policy_have_a_port(void **state)
{
	struct fixture *fixture = *state;
	uint16_t port = free_port(), other = free_port();

	health_check_start(fixture->health);
	put_service(fixture, "web", "NodePort", "Local", port);
	assert_false(answers(port));
	put_service(fixture, "web", "LoadBalancer", "Cluster", port);
	assert_false(answers(port));
	put_service(fixture, "web", "LoadBalancer", "Local", port);
	assert_true(answers(port));
	put_service(fixture, "web", "LoadBalancer", "Local", other);
	assert_false(answers(port));
	assert_true(answers(other));
	store_delete(fixture->store, KIND_SERVICE, STR_LIT("shop"), STR_LIT("web"));
	store_settle(fixture->store);
	assert_false(answers(other));
}

static void nothing_listens_before_the_rules_are_in_force(void **state)
{
	struct fixture *fixture = *state;
	uint16_t port = free_port();

	put_service(fixture, "web", "LoadBalancer", "Local", port);
	assert_false(answers(port));
	health_check_start(fixture->health);
	assert_true(answers(port));
}

static void a_port_in_use_is_told_once_and_taken_at_the_next_change(void **state)
{
	struct fixture *fixture = *state;
	uint16_t port, other = free_port();
	int squatter = bound_socket(&port);

	health_check_start(fixture->health);
	put_service(fixture, "web", "LoadBalancer", "Local", port);
	assert_int_equal(fixture->failures, 1);
	put_service(fixture, "second", "LoadBalancer", "Local", other);
	assert_true(answers(other));
	assert_int_equal(fixture->failures, 1);
	(void)close(squatter);
	put_service(fixture, "third", "LoadBalancer", "Local", free_port());
	assert_true(answers(port));
	assert_endpoints(fixture, port, 503, 0);
}

static void a_port_that_goes_from_one_service_to_another_in_one_change_is_taken_over(void **state)
{
	struct fixture *fixture = *state;
	uint16_t port = free_port();

	health_check_start(fixture->health);
	put_service(fixture, "old", "LoadBalancer", "Local", port);
	store_delete(fixture->store, KIND_SERVICE, STR_LIT("shop"), STR_LIT("old"));
	put_service(fixture, "web", "LoadBalancer", "Local", port);
	put_slice(fixture, "web-a", "IPv4", HERE("10.0.0.1"));
	assert_endpoints(fixture, port, 200, 1);
	assert_int_equal(fixture->failures, 0);
}

static struct ip ip_of(const char *text)
{
	struct ip ip;

	assert_int_equal(ip_parse(str_of(text), &ip), 0);
	return ip;
}

static void servers_stand_on_the_addresses_that_node_ports_answer_on(void **state)
{
	cleanup(arena_done) struct arena arena = {0};
	struct ip items[] = {ip_of("127.0.0.1"), ip_of("192.0.2.7"), ip_of("10.1.2.3"), ip_of("fd00::7")};
	const struct listen_ips local = {items, ARRAY_LEN(items)};
	struct cidr prefix, prefix6;
	struct plan_config ipv4 = {.family = AF_INET}, ipv6 = {.family = AF_INET6};
	struct listen_ips ips;

	(void)state;
	assert_int_equal(cidr_parse(STR_LIT("192.0.2.0/24"), &prefix), 0);
	assert_int_equal(cidr_parse(STR_LIT("fd00::/16"), &prefix6), 0);
	assert_int_equal(listen_ips_choose(&arena, &ipv4, &ipv6, &local, &ips), 0);
	assert_int_equal(ips.count, 1);
	assert_int_equal(ips.items[0].family, 0);

	ipv4.nodeport_cidrs = &prefix;
	ipv4.nodeport_cidr_count = 1;
	assert_int_equal(listen_ips_choose(&arena, &ipv4, &ipv6, &local, &ips), 0);
	assert_int_equal(ips.count, 2);
	assert_true(ip_equal(&ips.items[0], &items[1]));
	assert_true(ips.items[1].family == AF_INET6 && ip_is_unspecified(&ips.items[1]));

	ipv6.nodeport_cidrs = &prefix6;
	ipv6.nodeport_cidr_count = 1;
	assert_int_equal(listen_ips_choose(&arena, &ipv4, &ipv6, &local, &ips), 0);
	assert_int_equal(ips.count, 2);
	assert_true(ip_equal(&ips.items[1], &items[3]));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(the_answer_has_kube_proxys_bytes),
	    TEST(every_path_and_method_is_answered),
	    TEST(without_a_ready_endpoint_here_or_a_healthy_proxy_the_node_is_drained),
	    TEST(addresses_count_once_however_many_slices_and_families_name_them),
	    TEST(only_load_balancers_with_the_local_policy_have_a_port),
	    TEST(nothing_listens_before_the_rules_are_in_force),
	    TEST(a_port_in_use_is_told_once_and_taken_at_the_next_change),
	    TEST(a_port_that_goes_from_one_service_to_another_in_one_change_is_taken_over),
	    cmocka_unit_test(servers_stand_on_the_addresses_that_node_ports_answer_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
