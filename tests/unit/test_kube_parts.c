/* The API client's pure parts: what is asked, how long to wait, what an event and a credential say. */
/* LINK: conf/kube_path.c conf/kube_backoff.c conf/kube_event.c conf/kube_exec.c conf/kube_file.c */
/* LINK: conf/kubeconfig.c conf/node.c conf/node_json.c conf/node_yaml.c conf/node_scalar.c */
/* LINK: base/addr.c base/arena.c base/buf.c base/err.c base/map.c base/str.c */
/* LIBS: -lev -lcrypto -ljansson -lyaml -lxxhash */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "conf/kube_backoff.h"
#include "conf/kube_event.h"
#include "conf/kube_exec.h"
#include "conf/kube_path.h"

/* ---- paths ---- */

static void expect_text(struct buf *text, const char *expected)
{
	buf_append_char(text, '\0');
	assert_string_equal(buf_head(text), expected);
	buf_done(text);
}

static void expect_list(struct kube_scope scope, const char *expected)
{
	struct buf text = {0};

	scope.ns = scope.ns ? scope.ns : "";
	scope.name = scope.name ? scope.name : "";
	kube_path_list(&text, &scope, 500, "");
	expect_text(&text, expected);
}

static void each_kind_has_its_path(void **state)
{
	(void)state;
	expect_list((struct kube_scope){.kind = KIND_SERVICE}, "/api/v1/services?limit=500");
	expect_list((struct kube_scope){.kind = KIND_ENDPOINTS}, "/api/v1/endpoints?limit=500");
	expect_list((struct kube_scope){.kind = KIND_SECRET}, "/api/v1/secrets?limit=500");
	expect_list((struct kube_scope){.kind = KIND_CONFIGMAP}, "/api/v1/configmaps?limit=500");
	expect_list((struct kube_scope){.kind = KIND_NAMESPACE}, "/api/v1/namespaces?limit=500");
	expect_list((struct kube_scope){.kind = KIND_NODE}, "/api/v1/nodes?limit=500");
	expect_list((struct kube_scope){.kind = KIND_ENDPOINTSLICE},
		    "/apis/discovery.k8s.io/v1/endpointslices?limit=500");
	expect_list((struct kube_scope){.kind = KIND_INGRESS},
		    "/apis/networking.k8s.io/v1/ingresses?limit=500");
	expect_list((struct kube_scope){.kind = KIND_INGRESSCLASS},
		    "/apis/networking.k8s.io/v1/ingressclasses?limit=500");
	expect_list((struct kube_scope){.kind = KIND_SERVICECIDR},
		    "/apis/networking.k8s.io/v1/servicecidrs?limit=500");
	expect_list((struct kube_scope){.kind = KIND_LEASE}, "/apis/coordination.k8s.io/v1/leases?limit=500");
}

static void a_namespace_and_selectors_narrow_what_is_asked(void **state)
{
	(void)state;
	expect_list((struct kube_scope){.kind = KIND_INGRESS, .ns = "shop"},
		    "/apis/networking.k8s.io/v1/namespaces/shop/ingresses?limit=500");
	expect_list((struct kube_scope){.kind = KIND_NODE, .ns = "shop", .name = "n1"},
		    "/api/v1/nodes?limit=500&fieldSelector=metadata.name%3Dn1");
	expect_list(
	    (struct kube_scope){.kind = KIND_SERVICE, .proxy_selector = true},
	    "/api/v1/services?limit=500&labelSelector=%21service.kubernetes.io%2Fservice-proxy-name%2C"
	    "%21service.kubernetes.io%2Fheadless");
	expect_list((struct kube_scope){.kind = KIND_NODE, .proxy_selector = true},
		    "/api/v1/nodes?limit=500");
	/* What a name cannot be does not get out of its place. */
	expect_list(
	    (struct kube_scope){.kind = KIND_SECRET, .ns = "../x", .name = "a&b=c d"},
	    "/api/v1/namespaces/..%2Fx/secrets?limit=500&fieldSelector=metadata.name%3Da%26b%3Dc%20d");
}

static void a_watch_goes_on_or_begins_with_all_there_is(void **state)
{
	const struct kube_scope scope = {.kind = KIND_SERVICE, .ns = "", .name = ""};
	struct buf text = {0};

	(void)state;
	kube_path_watch(&text, &scope, "12", 300);
	expect_text(
	    &text,
	    "/api/v1/services?watch=true&allowWatchBookmarks=true&timeoutSeconds=300&resourceVersion=12");
	kube_path_watch(&text, &scope, "", 300);
	expect_text(&text, "/api/v1/services?watch=true&allowWatchBookmarks=true&timeoutSeconds=300"
			   "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan");
}

static void one_object_is_asked_for_by_its_name(void **state)
{
	const struct kube_scope scope = {.kind = KIND_SECRET, .ns = "shop", .name = "tls"};
	struct buf text = {0};

	(void)state;
	kube_path_get(&text, &scope);
	expect_text(&text, "/api/v1/namespaces/shop/secrets/tls");
}

/* ---- waits ---- */

static void waits_grow_from_less_than_a_second_to_half_a_minute(void **state)
{
	static const double least[] = {0.8, 1.6, 3.2, 6.4, 12.8, 15, 15, 15};

	(void)state;
	for (int random = 0; random <= 9; random++) {
		struct kube_backoff backoff = {0};

		for (size_t i = 0; i < sizeof(least) / sizeof(least[0]); i++) {
			double wait = kube_backoff_next(&backoff, 0.8, 30, random / 10.);

			assert_true(wait > least[i] * (1 + random / 10.) - 0.001);
			assert_true(wait < least[i] * (1 + random / 10.) + 0.001);
		}
		kube_backoff_reset(&backoff);
		assert_true(kube_backoff_next(&backoff, 0.8, 30, 0) < 0.801);
	}
}

static void random_numbers_differ_and_stay_below_one(void **state)
{
	double first = kube_random(), sum = 0;
	bool differ = false;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		double random = kube_random();

		assert_true(random >= 0 && random < 1);
		differ = differ || random < first || random > first;
		sum += random;
	}
	assert_true(differ);
	assert_true(sum > 400 && sum < 600);
}

/* ---- events ---- */

static int parse_event(struct arena *arena, const char *text, struct kube_event *ret, struct err *err)
{
	*ret = (struct kube_event){0};
	return kube_event_parse(arena, str_of(text), ret, err);
}

static void events_say_what_happened_to_whom(void **state)
{
	struct arena arena = {0};
	struct kube_event event;
	struct err err;

	(void)state;
	assert_int_equal(
	    parse_event(&arena,
			"{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\",\"namespace\":\"n\","
			"\"resourceVersion\":\"7\"}}}",
			&event, &err),
	    0);
	assert_int_equal(event.type, KUBE_EVENT_PUT);
	assert_string_equal(event.name, "a");
	assert_string_equal(event.ns, "n");
	assert_string_equal(event.version, "7");
	assert_int_equal(parse_event(&arena, "{\"object\":{},\"type\":\"MODIFIED\"}", &event, &err), 0);
	assert_int_equal(event.type, KUBE_EVENT_PUT);
	assert_string_equal(event.name, "");
	assert_int_equal(parse_event(&arena, "{\"type\":\"DELETED\",\"object\":{}}", &event, &err), 0);
	assert_int_equal(event.type, KUBE_EVENT_DELETED);
	arena_done(&arena);
}

static void a_bookmark_may_end_the_initial_events(void **state)
{
	struct arena arena = {0};
	struct kube_event event;
	struct err err;

	(void)state;
	assert_int_equal(
	    parse_event(&arena,
			"{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"9\","
			"\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}}",
			&event, &err),
	    0);
	assert_int_equal(event.type, KUBE_EVENT_BOOKMARK);
	assert_true(event.ends_initial);
	assert_string_equal(event.version, "9");
	assert_int_equal(parse_event(&arena, "{\"type\":\"BOOKMARK\",\"object\":{}}", &event, &err), 0);
	assert_false(event.ends_initial);
	arena_done(&arena);
}

static void an_error_event_has_code_message_and_pause(void **state)
{
	struct arena arena = {0};
	struct kube_event event;
	struct err err;

	(void)state;
	assert_int_equal(
	    parse_event(
		&arena,
		"{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":429,\"message\":\"busy\","
		"\"details\":{\"retryAfterSeconds\":5}}}",
		&event, &err),
	    0);
	assert_int_equal(event.type, KUBE_EVENT_ERROR);
	assert_int_equal(event.code, 429);
	assert_string_equal(event.message, "busy");
	assert_true(event.pause_s > 4.9 && event.pause_s < 5.1);
	assert_int_equal(
	    parse_event(
		&arena,
		"{\"type\":\"ERROR\",\"object\":{\"code\":\"x\",\"details\":{\"retryAfterSeconds\":-1}}}",
		&event, &err),
	    0);
	assert_int_equal(event.code, 0);
	assert_true(event.pause_s < 0.1);
	arena_done(&arena);
}

static void what_is_no_event_is_refused(void **state)
{
	static const char *const texts[] = {
	    "",
	    "[]",
	    "{}",
	    "{\"type\":\"ADDED\"}",
	    "{\"type\":\"ADDED\",\"object\":[]}",
	    "null",
	    "{\"a",
	    "{\"type\":1,\"object\":{}}",
	    "{\"type\":\"\",\"object\":{}}",
	};
	struct arena arena = {0};
	struct kube_event event;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct err err = {{0}};

		assert_int_equal(parse_event(&arena, texts[i], &event, &err), -EBADMSG);
		assert_true(err.text[0] != '\0');
	}
	arena_done(&arena);
}

static void only_numbers_are_compared_as_versions(void **state)
{
	(void)state;
	assert_true(kube_version_is_older("9", "10"));
	assert_false(kube_version_is_older("10", "10"));
	assert_false(kube_version_is_older("11", "10"));
	assert_false(kube_version_is_older("a", "b"));
	assert_false(kube_version_is_older("", "10"));
	assert_false(kube_version_is_older("9", "10x"));
	assert_true(kube_version_is_older("18446744073709551614", "18446744073709551615"));
}

/* ---- credentials ---- */

#define V1 "client.authentication.k8s.io/v1"

static void a_credential_is_read_with_its_end(void **state)
{
	static const char text[] =
	    "{\"apiVersion\":\"" V1 "\",\"kind\":\"ExecCredential\",\"status\":{\"token\":\"t\","
	    "\"clientCertificateData\":\"c\",\"clientKeyData\":\"k\","
	    "\"expirationTimestamp\":\"2030-01-02T03:04:05Z\"}}";
	struct kube_credential credential;
	struct err err;

	(void)state;
	assert_int_equal(kube_credential_parse(STR_LIT(text), V1, &credential, &err), 0);
	assert_string_equal(credential.token, "t");
	assert_string_equal(credential.certificate, "c");
	assert_string_equal(credential.key, "k");
	assert_int_equal(credential.expires_s, 1893553445);
	kube_credential_done(&credential);
	assert_int_equal(kube_credential_parse(STR_LIT(text), V1 "beta1", &credential, &err), -EBADMSG);
	assert_string_equal(err.text, "apiVersion: expected " V1 "beta1");
}

static void times_are_read_with_fractions_and_offsets(void **state)
{
	int64_t time;

	(void)state;
	assert_int_equal(kube_time_parse(STR_LIT("1970-01-01T00:00:10Z"), &time), 0);
	assert_int_equal(time, 10);
	assert_int_equal(kube_time_parse(STR_LIT("1970-01-01T01:00:10.123456+01:00"), &time), 0);
	assert_int_equal(time, 10);
	assert_int_equal(kube_time_parse(STR_LIT("1969-12-31T23:30:10-00:30"), &time), 0);
	assert_int_equal(time, 10);
	static const char *const wrong[] = {"",
					    "now",
					    "1970-01-01",
					    "1970-01-01T00:00:10",
					    "1970-01-01T00:00:10Zx",
					    "1970-01-01T00:00:10+1",
					    "1970-01-01T00:00:10+25:00"};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(kube_time_parse(str_of(wrong[i]), &time), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_kind_has_its_path),
	    cmocka_unit_test(a_namespace_and_selectors_narrow_what_is_asked),
	    cmocka_unit_test(a_watch_goes_on_or_begins_with_all_there_is),
	    cmocka_unit_test(one_object_is_asked_for_by_its_name),
	    cmocka_unit_test(waits_grow_from_less_than_a_second_to_half_a_minute),
	    cmocka_unit_test(random_numbers_differ_and_stay_below_one),
	    cmocka_unit_test(events_say_what_happened_to_whom),
	    cmocka_unit_test(a_bookmark_may_end_the_initial_events),
	    cmocka_unit_test(an_error_event_has_code_message_and_pause),
	    cmocka_unit_test(what_is_no_event_is_refused),
	    cmocka_unit_test(only_numbers_are_compared_as_versions),
	    cmocka_unit_test(a_credential_is_read_with_its_end),
	    cmocka_unit_test(times_are_read_with_fractions_and_offsets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
