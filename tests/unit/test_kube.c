/* conf/kube: a store kept true by an API server that fails in every way (a fake one, see fake_api.h; the real one is
 * in tests/cluster). */
/* LINK: tests/unit/fake_api.c conf/kube.c conf/kube_auth.c conf/kube_backoff.c conf/kube_client.c */
/* LINK: conf/kube_conn.c conf/kube_event.c conf/kube_exec.c conf/kube_file.c conf/kube_item.c */
/* LINK: conf/kube_path.c conf/kube_probe.c conf/kube_reflector.c conf/kube_timing.c conf/kube_tls.c conf/kube_wanted.c */
/* LINK: conf/kubeconfig.c conf/json_stream.c conf/node.c conf/node_json.c conf/node_scalar.c */
/* LINK: conf/node_yaml.c conf/object.c conf/store.c conf/decode.c conf/decode_endpoints.c */
/* LINK: conf/decode_ingress.c conf/decode_meta.c conf/decode_misc.c conf/decode_secret.c */
/* LINK: conf/decode_service.c conf/field.c conf/names.c base/addr.c base/arena.c base/buf.c base/err.c */
/* LINK: base/log.c base/map.c base/metrics.c base/str.c base/stream.c base/dns.c base/http1.c */
/* LINK: base/chunked.c base/http_syntax.c */
/* LIBS: -lev -lssl -lcrypto -ljansson -lyaml -lcares -lxxhash -lm */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "conf/kube_source.h"
#include "fake_api.h"

/* The client's times, short; what a test measures is far from what it does not. */
static const struct kube_timing quick = {
    .connect_s = 2,
    .head_s = 1,
    .answer_s = 1.2,
    .probe_s = 0.2,
    .idle_s = 5,
    .silence_s = 0.4,
    .watch_least_s = 100,
    .watch_most_s = 200,
    .watch_grace_s = 1,
    .retry_first_s = 0.01,
    .retry_most_s = 0.08,
    .apart_s = 0.02,
    .lived_s = 0.05,
    .absent_s = 0.1,
    .poll_s = 0.2,
    .token_file_s = 0.2,
    .exec_s = 5,
    .exec_apart_s = 0.1,
};

struct world {
	struct ev_loop *loop;
	struct fake_api *fake;
	struct kube_config *config;
	struct metrics *metrics;
	struct store *store;
	struct store_listener listener;
	struct source *source;
	unsigned changes, deletes, settled, known;
};

static void on_changed(void *ctx, enum kind kind, struct object *old, struct object *new)
{
	struct world *world = ctx;

	(void)kind, (void)old;
	world->changes++;
	world->deletes += new == NULL;
}

static void on_settled(void *ctx)
{
	struct world *world = ctx;

	world->settled++;
}

static void on_known(void *ctx)
{
	struct world *world = ctx;

	world->known++;
}

static int set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	world->loop = ev_default_loop(0);
	world->fake = fake_api_start(world->loop);
	world->config = fake_kubeconfig(world->fake, "{token: sesame}");
	world->metrics = metrics_new();
	world->store = store_new();
	world->listener = (struct store_listener){
	    .kinds = (1u << KIND_COUNT) - 1,
	    .changed = on_changed,
	    .settled = on_settled,
	    .ctx = world,
	};
	assert_int_equal(store_listen(world->store, &world->listener), 0);
	*state = world;
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;

	source_free(world->source);
	store_unlisten(world->store, &world->listener);
	store_free(world->store);
	metrics_free(world->metrics);
	kube_config_free(world->config);
	fake_api_stop(world->fake);
	free(world);
	return 0;
}

static void start_with(struct world *world, const struct source_needs *needs)
{
	struct err err;

	world->source = source_kube_new_timed(world->loop, world->store, world->config, needs, world->metrics,
					      &quick, &err);
	if (!world->source)
		fail_msg("%s", err.text);
	source_set_known_callback(world->source, on_known, world);
}

static void start(struct world *world, unsigned kinds)
{
	const struct source_needs needs = {.kinds = kinds};

	start_with(world, &needs);
}

/* ---- waiting for conditions ---- */

static void nothing(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop, (void)timer, (void)events;
}

#define DEADLINE_S 10

/* Runs the loop until the condition holds. */
#define await(world, condition)                                                   \
	do {                                                                      \
		ev_timer tick_;                                                   \
		ev_tstamp until_ = ev_time() + DEADLINE_S;                        \
		ev_timer_init(&tick_, nothing, 0.01, 0.01);                       \
		ev_timer_start((world)->loop, &tick_);                            \
		while (!(condition) && ev_time() < until_)                        \
			ev_run((world)->loop, EVRUN_ONCE);                        \
		ev_timer_stop((world)->loop, &tick_);                             \
		if (!(condition))                                                 \
			fail_msg("line %d: still not: %s", __LINE__, #condition); \
	} while (0)

static void run_for(struct world *world, double seconds)
{
	ev_tstamp until = ev_time() + seconds;

	await(world, ev_time() >= until);
}

/* ---- what the fake says ---- */

#define WATCH  "services?watch=true"
#define STREAM "sendInitialEvents=true"
#define LIST   "services?limit="

#define TLS_GET   "/api/v1/namespaces/shop/secrets/tls"
#define TLS_WATCH "/api/v1/namespaces/shop/secrets?watch=true"

/* A Service as JSON; 8 texts may be in use at a time. */
static const char *service(const char *name, const char *version, const char *more)
{
	static char texts[8][1024];
	static unsigned next;
	char *text = texts[next++ % 8];

	snprintf(text, 1024,
		 "{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"%s\",\"namespace\":"
		 "\"shop\","
		 "\"resourceVersion\":\"%s\"},\"spec\":{\"ports\":[{\"port\":80%s}]}}",
		 name, version, more);
	return text;
}

static const char *event(const char *type, const char *object)
{
	static char texts[8][2048];
	static unsigned next;
	char *text = texts[next++ % 8];

	snprintf(text, 2048, "{\"type\":\"%s\",\"object\":%s}\n", type, object);
	return text;
}

static const char *bookmark(const char *version)
{
	char object[512];

	snprintf(object, sizeof(object),
		 "{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"%s\"}}",
		 version);
	return event("BOOKMARK", object);
}

static const char *initial_end(const char *version)
{
	char object[512];

	snprintf(object, sizeof(object),
		 "{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"%s\","
		 "\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}",
		 version);
	return event("BOOKMARK", object);
}

static const char *error(int code)
{
	char object[512];

	snprintf(object, sizeof(object),
		 "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"because\","
		 "\"code\":%d}",
		 code);
	return event("ERROR", object);
}

static const char *list(const char *version, const char *token, const char *a, const char *b)
{
	static char texts[8][4096];
	static unsigned next;
	char *text = texts[next++ % 8];

	snprintf(text, 4096,
		 "{\"kind\":\"ServiceList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"%s\","
		 "\"continue\":\"%s\"},"
		 "\"items\":[%s%s%s]}",
		 version, token, a, a[0] && b[0] ? "," : "", b);
	return text;
}

/* Texts joined, for a stream's first text. */
static const char *all(const char *a, const char *b, const char *c)
{
	static char texts[8][8192];
	static unsigned next;
	char *text = texts[next++ % 8];

	snprintf(text, 8192, "%s%s%s", a, b, c);
	return text;
}

static void say_stream(struct world *world, const char *text)
{
	fake_say(world->fake,
		 (struct fake_step){.match = STREAM, .status = 200, .body = text, .streamed = true});
}

static void say_list(struct world *world, const char *text)
{
	fake_say(world->fake, (struct fake_step){.match = LIST, .status = 200, .body = text});
}

static void say_no_streaming(struct world *world)
{
	fake_say(world->fake,
		 (struct fake_step){.match = STREAM, .status = 400, .body = "{}", .forever = true});
}

static bool has(const struct world *world, const char *name)
{
	return store_get(world->store, KIND_SERVICE, "shop", name) != NULL;
}

static bool is_at(const struct world *world, const char *name, const char *version)
{
	const struct object *object = store_get(world->store, KIND_SERVICE, "shop", name);

	return object && strcmp(object->resource_version, version) == 0;
}

static bool knows(struct world *world, const char *name)
{
	return source_known(world->source, KIND_SECRET, "shop", name);
}

static bool metric_says(const struct world *world, const char *line)
{
	struct buf out = {0};

	metrics_render(world->metrics, &out);
	buf_append_char(&out, '\0');
	bool says = strstr(buf_head(&out), line) != NULL;

	buf_done(&out);
	return says;
}

/* Starts with services a and b in force at version 10, by a streaming list, the watch held. */
static void start_with_two(struct world *world)
{
	say_stream(world, all(event("ADDED", service("a", "5", "")), event("ADDED", service("b", "7", "")),
			      initial_end("10")));
	start(world, KIND_BIT(KIND_SERVICE));
	await(world, store_synced(world->store, KIND_BIT(KIND_SERVICE)));
	assert_true(has(world, "a") && has(world, "b"));
	world->changes = world->deletes = 0;
}

/* ---- streaming lists and watches ---- */

static void a_streaming_list_fills_the_store_and_its_watch_goes_on(void **state)
{
	struct world *world = *state;

	say_stream(world, event("ADDED", service("a", "5", "")));
	start(world, KIND_BIT(KIND_SERVICE));
	await(world, has(world, "a"));
	assert_false(store_synced(world->store, KIND_BIT(KIND_SERVICE)));
	fake_push(world->fake, WATCH, event("ADDED", service("b", "4", "")));
	fake_push(world->fake, WATCH, initial_end("10"));
	await(world, store_synced(world->store, KIND_BIT(KIND_SERVICE)));
	assert_true(has(world, "b"));
	fake_push(world->fake, WATCH, event("MODIFIED", service("a", "11", "")));
	fake_push(world->fake, WATCH, event("DELETED", service("b", "12", "")));
	await(world, is_at(world, "a", "11") && !has(world, "b"));
	assert_int_equal(fake_count(world->fake, "GET "), 1);
	assert_string_equal(fake_nth(world->fake, "GET ", 0)->authorization, "Bearer sesame");
	assert_true(metric_says(world, "fairlead_api_connected{kind=\"Service\"} 1"));
	assert_true(metric_says(world, "fairlead_api_requests_total{code=\"200\"} 1"));
}

static void what_one_read_brings_is_settled_at_once(void **state)
{
	struct world *world = *state;

	start_with_two(world);
	unsigned before = world->settled;

	fake_push(world->fake, WATCH,
		  all(event("MODIFIED", service("a", "11", "")), event("MODIFIED", service("b", "12", "")),
		      event("ADDED", service("c", "13", ""))));
	await(world, has(world, "c"));
	run_for(world, 0.05);
	assert_int_equal(world->changes, 3);
	assert_int_equal(world->settled, before + 1);
}

static void bytes_may_come_one_at_a_time(void **state)
{
	struct world *world = *state;

	fake_say(world->fake,
		 (struct fake_step){.match = STREAM,
				    .status = 200,
				    .body = all(event("ADDED", service("a", "5", "")), initial_end("10"), ""),
				    .streamed = true,
				    .drip = true});
	start(world, KIND_BIT(KIND_SERVICE));
	await(world, store_synced(world->store, KIND_BIT(KIND_SERVICE)));
	assert_true(has(world, "a"));
	assert_int_equal(fake_count(world->fake, "GET "), 1);
}

static void a_watch_that_ends_in_order_goes_on_from_the_last_version(void **state)
{
	struct world *world = *state;

	start_with_two(world);
	fake_push(world->fake, WATCH, event("MODIFIED", service("a", "11", "")));
	fake_push(world->fake, WATCH, bookmark("15"));
	await(world, is_at(world, "a", "11"));
	fake_end(world->fake, WATCH, FAKE_END);
	await(world, fake_count(world->fake, "resourceVersion=15") == 1);
	run_for(world, 0.1);
	assert_int_equal(fake_count(world->fake, "GET "), 2);
	assert_int_equal(world->deletes, 0);
	assert_true(metric_says(world, "fairlead_api_watch_restarts_total{kind=\"Service\"} 1"));
}

static void a_watch_cut_in_the_middle_of_an_event_goes_on_before_it(void **state)
{
	struct world *world = *state;

	start_with_two(world);
	fake_push(world->fake, WATCH, event("MODIFIED", service("a", "11", "")));
	fake_push(world->fake, WATCH, "{\"type\":\"DELETED\",\"object\":{\"metadata\":{\"name\":\"a\"");
	await(world, is_at(world, "a", "11"));
	fake_end(world->fake, WATCH, FAKE_CUT);
	await(world, fake_count(world->fake, "resourceVersion=11") == 1);
	assert_int_equal(world->deletes, 0);
}

static void a_watch_may_last_longer_than_an_answer(void **state)
{
	struct world *world = *state;

	start_with_two(world);
	run_for(world, 1.5);
	fake_push(world->fake, WATCH, event("MODIFIED", service("a", "11", "")));
	await(world, is_at(world, "a", "11"));
	assert_int_equal(fake_count(world->fake, "GET "), 1);
}

static void a_watch_that_always_closes_at_once_is_no_hot_loop(void **state)
{
	struct world *world = *state;

	start_with_two(world);
	fake_say(world->fake, (struct fake_step){.match = "resourceVersion=10",
						 .status = 200,
						 .body = "",
						 .streamed = true,
						 .after = FAKE_END,
						 .forever = true});
	fake_end(world->fake, WATCH, FAKE_END);
	run_for(world, 1);
	/* The waits grow from 0.01..0.02 s to 0.04..0.08 s. */
	assert_in_range(fake_count(world->fake, "resourceVersion=10"), 3, 40);
	assert_int_equal(world->deletes, 0);
}

static void two_tries_are_a_moment_apart_even_when_each_delivers(void **state)
{
	struct world *world = *state;

	start_with_two(world);
	fake_say(world->fake, (struct fake_step){.match = WATCH,
						 .status = 200,
						 .body = bookmark("10"),
						 .streamed = true,
						 .after = FAKE_END,
						 .forever = true});
	fake_end(world->fake, WATCH, FAKE_END);
	run_for(world, 1);
	assert_in_range(fake_count(world->fake, "resourceVersion=10"), 3, 52); /* apart_s is 0.02 */
}

/* ---- lists by pages ---- */

static void a_server_without_streaming_lists_is_read_by_pages(void **state)
{
	struct world *world = *state;

	say_no_streaming(world);
	say_list(world, list("10", "a/b+c", service("a", "5", ""), ""));
	say_list(world, list("12", "", service("b", "7", ""), ""));
	start(world, KIND_BIT(KIND_SERVICE));
	await(world, store_synced(world->store, KIND_BIT(KIND_SERVICE)));
	assert_true(has(world, "a") && has(world, "b"));
	assert_int_equal(fake_count(world->fake, "/api/v1/services?limit=500"), 2);
	assert_int_equal(fake_count(world->fake, "&continue=a%2Fb%2Bc"), 1);
	await(world, fake_count(world->fake, "resourceVersion=12") == 1);
}

static void that_it_cannot_stream_is_remembered_for_all_kinds(void **state)
{
	struct world *world = *state;

	say_no_streaming(world);
	say_list(world, list("10", "", "", ""));
	start(world, KIND_BIT(KIND_SERVICE));
	await(world, store_synced(world->store, KIND_BIT(KIND_SERVICE)));
	fake_say(world->fake, (struct fake_step){.match = TLS_GET, .status = 404, .body = "{}"});
	source_want(world->source, KIND_SECRET, "shop", "tls");
	await(world, fake_count(world->fake, "secrets?limit=") == 1);
	assert_int_equal(fake_count(world->fake, STREAM), 1);
}

static void streaming_may_also_be_refused_inside_the_stream(void **state)
{
	struct world *world = *state;

	say_stream(world, error(500));
	say_list(world, list("10", "", service("a", "5", ""), ""));
	start(world, KIND_BIT(KIND_SERVICE));
	await(world, store_synced(world->store, KIND_BIT(KIND_SERVICE)));
	assert_true(has(world, "a"));
}

static void a_stream_whose_initial_events_never_end_is_given_up_for_pages(void **state)
{
	struct world *world = *state;

	say_stream(world, event("ADDED", service("a", "5", "")));
	say_list(world, list("10", "", service("a", "5", ""), ""));
	start(world, KIND_BIT(KIND_SERVICE));
	await(world, store_synced(world->store, KIND_BIT(KIND_SERVICE)));
	assert_int_equal(fake_count(world->fake, LIST), 1);
}

static void an_expired_page_restarts_the_list_and_drops_nothing(void **state)
{
	struct world *world = *state;

	start_with_two(world);
	fake_forget(world->fake);
	say_no_streaming(world);
	say_list(world, list("20", "next", service("a", "5", ""), ""));
	fake_say(world->fake, (struct fake_step){.match = "continue=next", .status = 410, .body = "{}"});
	say_list(world, list("30", "", service("a", "5", ""), service("c", "25", "")));
	fake_push(world->fake, WATCH, error(410));
	await(world, fake_count(world->fake, "continue=next") == 1);
	assert_int_equal(world->deletes, 0);
	await(world, has(world, "c") && !has(world, "b"));
	assert_true(has(world, "a"));
	assert_int_equal(world->deletes, 1);
}

static void a_list_that_breaks_off_is_read_again_and_drops_nothing(void **state)
{
	struct world *world = *state;

	start_with_two(world);
	say_no_streaming(world);
	fake_say(world->fake,
		 (struct fake_step){.match = LIST,
				    .status = 200,
				    .body = list("20", "", service("a", "5", ""), service("c", "9", "")),
				    .cut_bytes = 300});
	fake_push(world->fake, WATCH, error(410));
	await(world, fake_count(world->fake, LIST) >= 1);
	run_for(world, 0.05);
	assert_int_equal(world->deletes, 0);
	assert_true(metric_says(world, "fairlead_api_connected{kind=\"Service\"} 0"));
	say_list(world, list("21", "", service("c", "9", ""), ""));
	await(world, !has(world, "a") && !has(world, "b") && has(world, "c"));
	await(world, metric_says(world, "fairlead_api_connected{kind=\"Service\"} 1"));
}

static void what_is_no_list_never_empties_the_store(void **state)
{
	static const char *const answers[] = {
	    "",
	    "{}",
	    "null",
	    "<html>busy</html>",
	    "{\"kind\":\"Status\",\"status\":\"Failure\"}",
	    "{\"kind\":\"ServiceList\",\"items\":[]}",
	    "{\"kind\":\"PodList\",\"metadata\":{\"resourceVersion\":\"9\"},\"items\":[]}",
	    "{\"kind\":\"ServiceList\",\"metadata\":{\"resourceVersion\":\"9\"},\"items\":[",
	};
	struct world *world = *state;

	start_with_two(world);
	say_no_streaming(world);
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
		say_list(world, answers[i]);
	fake_push(world->fake, WATCH, error(410));
	await(world, fake_count(world->fake, LIST) == sizeof(answers) / sizeof(answers[0]));
	run_for(world, 0.05);
	assert_int_equal(world->deletes, 0);
	say_list(world, list("21", "", "", ""));
	await(world, !has(world, "a") && !has(world, "b"));
}

static void a_silent_server_is_given_up_and_asked_again(void **state)
{
	struct world *world = *state;

	fake_say(world->fake, (struct fake_step){.match = STREAM, .silent = true});
	start(world, KIND_BIT(KIND_SERVICE));
	await(world, fake_count(world->fake, "GET ") == 1);
	say_stream(world, initial_end("10"));
	await(world, store_synced(world->store, KIND_BIT(KIND_SERVICE)));
	assert_true(fake_nth(world->fake, "GET ", 1)->at - fake_nth(world->fake, "GET ", 0)->at > 0.9);
}

/* ---- versions the server no longer knows ---- */

static void gone_as_status_lists_again_and_drops_only_then(void **state)
{
	struct world *world = *state;

	start_with_two(world);
	fake_say(world->fake, (struct fake_step){.match = "resourceVersion=10", .status = 410, .body = "{}"});
	say_stream(world, event("ADDED", service("b", "7", "")));
	fake_end(world->fake, WATCH, FAKE_END);
	await(world, fake_count(world->fake, STREAM) == 2);
	run_for(world, 0.05);
	assert_int_equal(world->deletes, 0);
	fake_push(world->fake, STREAM, initial_end("30"));
	await(world, !has(world, "a"));
	assert_true(has(world, "b"));
	assert_int_equal(world->changes, 1);
}

static void gone_as_event_lists_again(void **state)
{
	struct world *world = *state;

	start_with_two(world);
	say_stream(world, all(event("ADDED", service("a", "5", "")), initial_end("30"), ""));
	fake_push(world->fake, WATCH, error(410));
	await(world, !has(world, "b"));
	assert_true(has(world, "a"));
}

static void another_error_event_lists_again_too(void **state)
{
	struct world *world = *state;

	start_with_two(world);
	say_stream(world, all(event("ADDED", service("a", "5", "")), initial_end("30"), ""));
	fake_push(world->fake, WATCH, error(500));
	await(world, !has(world, "b"));
}

static void versions_that_go_back_list_again(void **state)
{
	struct world *world = *state;

	start_with_two(world);
	say_stream(world, all(event("ADDED", service("a", "3", "")), initial_end("4"), ""));
	fake_push(world->fake, WATCH, bookmark("4"));
	await(world, !has(world, "b"));
	assert_true(is_at(world, "a", "3"));
}

static void a_server_that_always_says_gone_is_no_hot_loop(void **state)
{
	struct world *world = *state;

	start_with_two(world);
	fake_say(world->fake, (struct fake_step){
				  .match = "resourceVersion=", .status = 410, .body = "{}", .forever = true});
	fake_say(world->fake,
		 (struct fake_step){.match = STREAM,
				    .status = 200,
				    .body = all(event("ADDED", service("a", "5", "")), initial_end("30"), ""),
				    .streamed = true,
				    .after = FAKE_END,
				    .forever = true});
	fake_end(world->fake, WATCH, FAKE_END);
	run_for(world, 1);
	assert_in_range(fake_count(world->fake, "GET "), 3, 60);
	assert_true(has(world, "a"));
}

/* ---- bad input ---- */

static void garbage_in_a_watch_drops_the_connection_and_keeps_the_state(void **state)
{
	static const char *const garbage[] = {
	    "<html>",
	    "{\"type\":\"ADDED\"}",
	    "{\"type\":\"MOVED\",\"object\":{}}",
	    "{\"type\":\"ADDED\",\"object\":{\"metadata\":{}}}",
	    "{\"type\":\"DELETED\",\"object\":{\"metadata\":{}}}",
	    "{\"type\":\"ADDED\",\"object\":{\"a\":1,\"a\":2}}",
	    "{\"type\":\"ADDED\",\"object\":\"\xff\xfe\"}",
	    "]",
	};
	struct world *world = *state;

	start_with_two(world);
	for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
		say_stream(world, all(event("ADDED", service("a", "5", "")),
				      event("ADDED", service("b", "7", "")), initial_end("10")));
		assert_int_equal(fake_push(world->fake, WATCH, garbage[i]), 1);
		await(world, fake_count(world->fake, STREAM) == i + 2);
		await(world, fake_open_streams(world->fake) == 1 &&
				 metric_says(world, "fairlead_api_connected{kind=\"Service\"} 1"));
	}
	assert_int_equal(world->changes, 0);
}

static void nesting_without_end_is_refused(void **state)
{
	struct world *world = *state;
	char deep[2048];

	start_with_two(world);
	memset(deep, '[', sizeof(deep) - 1);
	deep[0] = '{';
	deep[sizeof(deep) - 1] = '\0';
	say_stream(world, initial_end("30"));
	fake_push(world->fake, WATCH, deep);
	await(world, !has(world, "a")); /* listed again */
}

static void a_bad_object_keeps_its_last_good_version_and_others_go_on(void **state)
{
	struct world *world = *state;

	start_with_two(world);
	fake_push(world->fake, WATCH, event("MODIFIED", service("a", "11", ",\"protocol\":7")));
	fake_push(world->fake, WATCH, event("MODIFIED", service("b", "12", "")));
	await(world, is_at(world, "b", "12"));
	assert_true(is_at(world, "a", "5"));
	assert_true(metric_says(world, "fairlead_api_decode_errors_total{kind=\"Service\"} 1"));
	assert_int_equal(fake_count(world->fake, "GET "), 1);
	/* The watch goes on behind the bad version. */
	fake_end(world->fake, WATCH, FAKE_END);
	await(world, fake_count(world->fake, "resourceVersion=12") == 1);
	/* The bad version again, in a list: the good one stays, and nothing is logged or counted twice. */
	say_stream(world, all(event("ADDED", service("a", "11", ",\"protocol\":7")),
			      event("ADDED", service("b", "12", "")), initial_end("20")));
	fake_push(world->fake, WATCH, error(410));
	await(world, fake_count(world->fake, STREAM) == 2);
	run_for(world, 0.1);
	assert_true(is_at(world, "a", "5"));
	assert_true(metric_says(world, "fairlead_api_decode_errors_total{kind=\"Service\"} 1"));
	fake_push(world->fake, WATCH, event("MODIFIED", service("a", "21", "")));
	await(world, is_at(world, "a", "21"));
}

static void an_item_that_could_be_anybody_lets_a_list_drop_nothing(void **state)
{
	struct world *world = *state;

	start_with_two(world);
	say_no_streaming(world);
	say_list(world,
		 list("20", "", service("a", "15", ""), "{\"metadata\":{\"name\":\"b\",\"name\":\"b\"}}"));
	fake_push(world->fake, WATCH, error(410));
	await(world, is_at(world, "a", "15"));
	await(world, fake_count(world->fake, "resourceVersion=20") == 1);
	assert_true(has(world, "b"));
	assert_int_equal(world->deletes, 0);
}

/* ---- refusals ---- */

static void forbidden_is_asked_again_until_it_is_allowed(void **state)
{
	struct world *world = *state;

	fake_say(world->fake,
		 (struct fake_step){.match = WATCH, .status = 403, .body = "{\"message\":\"no\"}"});
	fake_say(world->fake,
		 (struct fake_step){.match = WATCH, .status = 403, .body = "{\"message\":\"no\"}"});
	say_stream(world, initial_end("10"));
	start(world, KIND_BIT(KIND_SERVICE));
	await(world, fake_count(world->fake, WATCH) >= 1);
	assert_false(store_synced(world->store, KIND_BIT(KIND_SERVICE)));
	await(world, store_synced(world->store, KIND_BIT(KIND_SERVICE)));
	assert_true(metric_says(world, "fairlead_api_requests_total{code=\"403\"} 2"));
}

static void a_kind_the_server_does_not_have_is_empty_and_looked_for_again(void **state)
{
	struct world *world = *state;

	fake_say(world->fake, (struct fake_step){.match = "servicecidrs", .status = 404, .body = "{}"});
	fake_say(world->fake, (struct fake_step){.match = "servicecidrs", .status = 404, .body = "{}"});
	start(world, KIND_BIT(KIND_SERVICECIDR));
	await(world, store_synced(world->store, KIND_BIT(KIND_SERVICECIDR)));
	assert_int_equal(fake_count(world->fake, "servicecidrs"), 2);
	fake_say(world->fake,
		 (struct fake_step){
		     .match = "servicecidrs?limit=",
		     .status = 200,
		     .body =
			 "{\"kind\":\"ServiceCIDRList\",\"metadata\":{\"resourceVersion\":\"9\"},\"items\":"
			 "[{\"metadata\":{\"name\":\"k\"},\"spec\":{\"cidrs\":[\"10.0.0.0/8\"]}}]}"});
	await(world, store_count(world->store, KIND_SERVICECIDR) == 1);
}

static void retry_after_is_honoured(void **state)
{
	struct world *world = *state;

	fake_say(
	    world->fake,
	    (struct fake_step){.match = WATCH, .status = 429, .body = "{}", .headers = "Retry-After: 1\r\n"});
	say_stream(world, initial_end("10"));
	start(world, KIND_BIT(KIND_SERVICE));
	await(world, store_synced(world->store, KIND_BIT(KIND_SERVICE)));
	assert_true(fake_nth(world->fake, WATCH, 1)->at - fake_nth(world->fake, WATCH, 0)->at >= 1);
}

/* ---- a server that goes away ---- */

static void a_dead_server_changes_nothing_and_is_found_again(void **state)
{
	struct world *world = *state;

	start_with_two(world);
	fake_api_die(world->fake);
	run_for(world, 0.5);
	assert_int_equal(world->changes, 0);
	assert_true(metric_says(world, "fairlead_api_connected{kind=\"Service\"} 0"));
	fake_say(world->fake, (struct fake_step){.match = "resourceVersion=10",
						 .status = 200,
						 .body = event("DELETED", service("a", "11", "")),
						 .streamed = true});
	fake_api_revive(world->fake);
	await(world, !has(world, "a"));
	assert_true(has(world, "b"));
	assert_int_equal(fake_count(world->fake, STREAM), 1);
	assert_true(metric_says(world, "fairlead_api_connected{kind=\"Service\"} 1"));
}

static void the_return_of_a_server_is_noticed_however_long_the_waits_have_become(void **state)
{
	struct world *world = *state;
	struct kube_timing patient = quick;
	struct err err;
	const struct source_needs needs = {.kinds = KIND_BIT(KIND_SERVICE) | KIND_BIT(KIND_ENDPOINTSLICE)};

	patient.retry_first_s = 20;
	patient.retry_most_s = 100;
	fake_api_die(world->fake);
	world->source =
	    source_kube_new_timed(world->loop, world->store, world->config, &needs, NULL, &patient, &err);
	assert_non_null(world->source);
	source_want(world->source, KIND_SECRET, "shop", "tls");
	run_for(world, 0.5); /* probe_s is 0.2 */
	fake_say(world->fake, (struct fake_step){.match = TLS_GET, .status = 404, .body = "{}"});
	fake_say(world->fake, (struct fake_step){.match = STREAM,
						 .status = 200,
						 .body = initial_end("10"),
						 .streamed = true,
						 .forever = true});
	fake_api_revive(world->fake);
	ev_tstamp back_at = ev_time();

	await(world, store_synced(world->store, needs.kinds) && knows(world, "tls"));
	assert_true(ev_time() - back_at < 3);
}

static void nothing_is_ready_while_the_server_was_never_there(void **state)
{
	struct world *world = *state;

	fake_api_die(world->fake);
	start(world, KIND_BIT(KIND_SERVICE) | KIND_BIT(KIND_ENDPOINTSLICE));
	run_for(world, 0.3);
	assert_false(store_synced(world->store, KIND_BIT(KIND_SERVICE)));
	fake_say(world->fake, (struct fake_step){.match = STREAM,
						 .status = 200,
						 .body = initial_end("10"),
						 .streamed = true,
						 .forever = true});
	fake_api_revive(world->fake);
	await(world, store_synced(world->store, KIND_BIT(KIND_SERVICE) | KIND_BIT(KIND_ENDPOINTSLICE)));
}

static void kinds_that_no_list_completes_are_synced_from_the_start(void **state)
{
	struct world *world = *state;

	start(world, KIND_BIT(KIND_ENDPOINTS));
	await(world, store_synced(world->store, KIND_BIT(KIND_ENDPOINTS) | KIND_BIT(KIND_SECRET) |
						    KIND_BIT(KIND_CONFIGMAP)));
	assert_int_equal(fake_count(world->fake, "GET "), 0);
}

static void a_source_can_be_freed_at_any_moment(void **state)
{
	struct world *world = *state;

	for (unsigned turns = 0; turns < 40; turns++) {
		say_no_streaming(world);
		say_list(world, list("10", "next", service("a", "5", ""), ""));
		fake_say(world->fake, (struct fake_step){.match = LIST,
							 .status = 200,
							 .body = list("10", "", service("b", "5", ""), ""),
							 .drip = turns % 2});
		start(world, KIND_BIT(KIND_SERVICE) | KIND_BIT(KIND_NODE));
		source_want(world->source, KIND_SECRET, "shop", "tls");
		for (unsigned i = 0; i < 5 * turns; i++) {
			ev_run(world->loop, EVRUN_NOWAIT);
			usleep(200); /* so that a turn finds something to do */
		}
		world->source = source_free(world->source);
		fake_forget(world->fake);
	}
}

/* ---- what is asked for ---- */

static void only_what_is_needed_is_asked_for(void **state)
{
	struct world *world = *state;
	const struct source_needs needs = {
	    .kinds = KIND_BIT(KIND_SERVICE) | KIND_BIT(KIND_ENDPOINTSLICE) | KIND_BIT(KIND_NODE) |
		     KIND_BIT(KIND_NAMESPACE) | KIND_BIT(KIND_INGRESSCLASS),
	    .proxy_selectors = true,
	    .node_name = "n1",
	    .namespace_only = "shop",
	};

	fake_say(
	    world->fake,
	    (struct fake_step){
		.match = STREAM, .status = 200, .body = initial_end("9"), .streamed = true, .forever = true});
	start_with(world, &needs);
	await(world, fake_count(world->fake, "GET ") == 5);
	assert_int_equal(fake_count(world->fake, "/api/v1/namespaces/shop/services?"), 1);
	assert_int_equal(fake_count(world->fake, "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices?"),
			 1);
	assert_int_equal(fake_count(world->fake,
				    "labelSelector=%21service.kubernetes.io%2Fservice-proxy-name%2C"
				    "%21service.kubernetes.io%2Fheadless"),
			 2);
	assert_int_equal(fake_count(world->fake, "/api/v1/nodes?watch=true&"), 1);
	assert_int_equal(fake_count(world->fake, "fieldSelector=metadata.name%3Dn1"), 1);
	assert_int_equal(fake_count(world->fake, "fieldSelector=metadata.name%3Dshop"), 1);
	assert_int_equal(fake_count(world->fake, "/apis/networking.k8s.io/v1/ingressclasses?"), 1);
}

/* ---- objects wanted by name ---- */

static const char *secret(const char *name, const char *version)
{
	static char texts[8][512];
	static unsigned next;
	char *text = texts[next++ % 8];

	snprintf(
	    text, 512,
	    "{\"kind\":\"Secret\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"%s\",\"namespace\":\"shop\","
	    "\"resourceVersion\":\"%s\"},\"type\":\"Opaque\",\"data\":{\"auth\":\"Zm9v\"}}",
	    name, version);
	return text;
}

static bool has_secret(const struct world *world, const char *name, const char *version)
{
	const struct object *object = store_get(world->store, KIND_SECRET, "shop", name);

	return object && strcmp(object->resource_version, version) == 0;
}

static void a_wanted_secret_is_fetched_then_watched_and_forgotten_when_unwanted(void **state)
{
	struct world *world = *state;

	fake_say(world->fake,
		 (struct fake_step){.match = TLS_GET, .status = 200, .body = secret("tls", "5")});
	start(world, 0);
	assert_false(knows(world, "tls"));
	source_want(world->source, KIND_SECRET, "shop", "tls");
	source_want(world->source, KIND_SECRET, "shop", "tls");
	assert_false(knows(world, "tls"));
	await(world, world->known == 1);
	assert_true(knows(world, "tls") && has_secret(world, "tls", "5"));
	await(world, fake_count(world->fake, TLS_WATCH) == 1);
	assert_int_equal(fake_count(world->fake, "fieldSelector=metadata.name%3Dtls"), 1);
	fake_push(world->fake, TLS_WATCH, event("ADDED", secret("tls", "5")));
	fake_push(world->fake, TLS_WATCH, initial_end("9"));
	fake_push(world->fake, TLS_WATCH, event("MODIFIED", secret("tls", "10")));
	await(world, has_secret(world, "tls", "10"));
	fake_push(world->fake, TLS_WATCH, event("DELETED", secret("tls", "11")));
	await(world, store_count(world->store, KIND_SECRET) == 0);
	fake_push(world->fake, TLS_WATCH, event("ADDED", secret("tls", "12")));
	await(world, has_secret(world, "tls", "12"));
	source_unwant(world->source, KIND_SECRET, "shop", "tls");
	run_for(world, 0.05);
	assert_true(has_secret(world, "tls", "12"));
	source_unwant(world->source, KIND_SECRET, "shop", "tls");
	assert_true(has_secret(world, "tls", "12")); /* not inside the call */
	await(world, store_count(world->store, KIND_SECRET) == 0);
	assert_false(knows(world, "tls"));
	await(world, fake_open_streams(world->fake) == 0);
}

static void absence_is_known_and_seen_to_end(void **state)
{
	struct world *world = *state;

	fake_say(world->fake, (struct fake_step){.match = TLS_GET, .status = 404, .body = "{}"});
	say_stream(world, initial_end("9"));
	start(world, 0);
	source_want(world->source, KIND_SECRET, "shop", "tls");
	await(world, world->known == 1);
	assert_true(knows(world, "tls"));
	await(world, fake_open_streams(world->fake) == 1);
	fake_push(world->fake, TLS_WATCH, event("ADDED", secret("tls", "12")));
	await(world, has_secret(world, "tls", "12"));
}

static void a_secret_that_went_while_nobody_looked_goes_with_the_list(void **state)
{
	struct world *world = *state;

	fake_say(world->fake,
		 (struct fake_step){.match = TLS_GET, .status = 200, .body = secret("tls", "5")});
	start(world, 0);
	source_want(world->source, KIND_SECRET, "shop", "tls");
	await(world, has_secret(world, "tls", "5") && fake_open_streams(world->fake) == 1);
	fake_push(world->fake, TLS_WATCH, initial_end("9"));
	await(world, store_count(world->store, KIND_SECRET) == 0);
}

static void a_secret_we_may_not_read_is_known_and_asked_for_again(void **state)
{
	struct world *world = *state;

	fake_say(world->fake,
		 (struct fake_step){.match = TLS_GET, .status = 403, .body = "{}", .forever = true});
	start(world, 0);
	source_want(world->source, KIND_SECRET, "shop", "tls");
	await(world, world->known == 1);
	assert_true(knows(world, "tls"));
	await(world, fake_count(world->fake, TLS_GET) == 3);
	assert_int_equal(fake_count(world->fake, TLS_WATCH), 0); /* refused anyway */
	fake_say(
	    world->fake,
	    (struct fake_step){.match = TLS_GET, .status = 200, .body = secret("tls", "5"), .forever = true});
	await(world, has_secret(world, "tls", "5"));
	await(world, fake_count(world->fake, TLS_WATCH) == 1);
}

static void a_secret_we_may_get_but_not_watch_is_fetched_now_and_then(void **state)
{
	struct world *world = *state;

	fake_say(world->fake,
		 (struct fake_step){.match = TLS_WATCH, .status = 403, .body = "{}", .forever = true});
	fake_say(
	    world->fake,
	    (struct fake_step){.match = TLS_GET, .status = 200, .body = secret("tls", "5"), .forever = true});
	start(world, 0);
	source_want(world->source, KIND_SECRET, "shop", "tls");
	await(world, has_secret(world, "tls", "5"));
	await(world, fake_count(world->fake, TLS_WATCH) == 1);
	fake_say(
	    world->fake,
	    (struct fake_step){.match = TLS_GET, .status = 200, .body = secret("tls", "6"), .forever = true});
	await(world, has_secret(world, "tls", "6"));
	fake_say(world->fake,
		 (struct fake_step){.match = TLS_GET, .status = 404, .body = "{}", .forever = true});
	await(world, store_count(world->store, KIND_SECRET) == 0);
	unsigned before = fake_count(world->fake, TLS_GET);

	run_for(world, 0.5); /* poll_s is 0.2 */
	assert_in_range(fake_count(world->fake, TLS_GET) - before, 1, 3);
}

static void a_watch_refused_later_is_only_a_failure(void **state)
{
	struct world *world = *state;

	fake_say(
	    world->fake,
	    (struct fake_step){.match = TLS_GET, .status = 200, .body = secret("tls", "5"), .forever = true});
	say_stream(world, all(event("ADDED", secret("tls", "5")), initial_end("9"), ""));
	start(world, 0);
	source_want(world->source, KIND_SECRET, "shop", "tls");
	await(world, fake_open_streams(world->fake) == 1);
	fake_say(world->fake, (struct fake_step){.match = TLS_WATCH, .status = 403, .body = "{}"});
	fake_end(world->fake, TLS_WATCH, FAKE_END);
	await(world, fake_count(world->fake, TLS_WATCH) == 3);
	fake_push(world->fake, TLS_WATCH, event("MODIFIED", secret("tls", "10")));
	await(world, has_secret(world, "tls", "10"));
	/* The same while its list is read again. */
	fake_say(world->fake, (struct fake_step){.match = STREAM, .status = 403, .body = "{}"});
	say_stream(world, all(event("ADDED", secret("tls", "12")), initial_end("19"), ""));
	fake_push(world->fake, TLS_WATCH, error(410));
	await(world, has_secret(world, "tls", "12"));
	assert_int_equal(fake_count(world->fake, TLS_GET), 1);
}

static void names_no_secret_can_have_are_known_and_never_asked_for(void **state)
{
	static const char *const names[] = {"", "..", "a/b", "../configmaps/x", "A", "a?watch=1"};
	struct world *world = *state;

	start(world, 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_int_equal(source_want(world->source, KIND_SECRET, "shop", names[i]), 0);
		assert_true(knows(world, names[i]));
		source_unwant(world->source, KIND_SECRET, "shop", names[i]);
	}
	run_for(world, 0.05);
	assert_int_equal(fake_count(world->fake, ""), 0);
}

static void an_answer_that_is_none_leaves_it_unknown(void **state)
{
	struct world *world = *state;

	fake_say(world->fake, (struct fake_step){.match = TLS_GET, .status = 500, .body = "{}"});
	fake_say(world->fake, (struct fake_step){.match = TLS_GET, .close_now = true});
	start(world, 0);
	source_want(world->source, KIND_SECRET, "shop", "tls");
	await(world, fake_count(world->fake, TLS_GET) == 2);
	assert_false(knows(world, "tls"));
	assert_int_equal(world->known, 0);
	fake_say(world->fake, (struct fake_step){.match = TLS_GET, .status = 404, .body = "{}"});
	await(world, knows(world, "tls"));
}

/* Every GET says 404, every watch that there is none. */
static void say_no_secrets(struct world *world)
{
	fake_say(world->fake,
		 (struct fake_step){.match = "/secrets/", .status = 404, .body = "{}", .forever = true});
	fake_say(world->fake, (struct fake_step){.match = TLS_WATCH,
						 .status = 200,
						 .body = initial_end("9"),
						 .streamed = true,
						 .forever = true});
}

static void beyond_the_watches_allowed_secrets_are_polled(void **state)
{
	struct world *world = *state;
	char name[32];

	say_no_secrets(world);
	start(world, 0);
	for (unsigned i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "s%u", i);
		source_want(world->source, KIND_SECRET, "shop", name);
	}
	await(world, fake_open_streams(world->fake) == 64);
	await(world, knows(world, "s99"));
	fake_say(world->fake,
		 (struct fake_step){
		     .match = "/secrets/s99", .status = 200, .body = secret("s99", "7"), .forever = true});
	await(world, has_secret(world, "s99", "7"));
	run_for(world, 0.1);
	assert_int_equal(fake_open_streams(world->fake), 64);
	/* Few connections carried all the short requests. */
	assert_in_range(fake_connections(world->fake), 64, 64 + 2 * 8);
	/* A watch that becomes free goes to one that was polled. */
	source_unwant(world->source, KIND_SECRET, "shop", "s0");
	await(world, fake_count(world->fake, TLS_WATCH) == 65);
}

static void a_crowd_of_first_answers_is_settled_in_few_goes(void **state)
{
	struct world *world = *state;
	char name[32];

	say_no_secrets(world);
	start(world, 0);
	for (unsigned i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "s%u", i);
		source_want(world->source, KIND_SECRET, "shop", name);
	}
	await(world, knows(world, "s499"));
	run_for(world, 0.05);
	assert_in_range(world->known, 1, 100);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    test(a_streaming_list_fills_the_store_and_its_watch_goes_on),
	    test(what_one_read_brings_is_settled_at_once),
	    test(bytes_may_come_one_at_a_time),
	    test(a_watch_that_ends_in_order_goes_on_from_the_last_version),
	    test(a_watch_cut_in_the_middle_of_an_event_goes_on_before_it),
	    test(a_watch_may_last_longer_than_an_answer),
	    test(a_watch_that_always_closes_at_once_is_no_hot_loop),
	    test(two_tries_are_a_moment_apart_even_when_each_delivers),
	    test(a_server_without_streaming_lists_is_read_by_pages),
	    test(that_it_cannot_stream_is_remembered_for_all_kinds),
	    test(streaming_may_also_be_refused_inside_the_stream),
	    test(a_stream_whose_initial_events_never_end_is_given_up_for_pages),
	    test(an_expired_page_restarts_the_list_and_drops_nothing),
	    test(a_list_that_breaks_off_is_read_again_and_drops_nothing),
	    test(what_is_no_list_never_empties_the_store),
	    test(a_silent_server_is_given_up_and_asked_again),
	    test(gone_as_status_lists_again_and_drops_only_then),
	    test(gone_as_event_lists_again),
	    test(another_error_event_lists_again_too),
	    test(versions_that_go_back_list_again),
	    test(a_server_that_always_says_gone_is_no_hot_loop),
	    test(garbage_in_a_watch_drops_the_connection_and_keeps_the_state),
	    test(nesting_without_end_is_refused),
	    test(a_bad_object_keeps_its_last_good_version_and_others_go_on),
	    test(an_item_that_could_be_anybody_lets_a_list_drop_nothing),
	    test(forbidden_is_asked_again_until_it_is_allowed),
	    test(a_kind_the_server_does_not_have_is_empty_and_looked_for_again),
	    test(retry_after_is_honoured),
	    test(a_dead_server_changes_nothing_and_is_found_again),
	    test(the_return_of_a_server_is_noticed_however_long_the_waits_have_become),
	    test(nothing_is_ready_while_the_server_was_never_there),
	    test(kinds_that_no_list_completes_are_synced_from_the_start),
	    test(a_source_can_be_freed_at_any_moment),
	    test(only_what_is_needed_is_asked_for),
	    test(a_wanted_secret_is_fetched_then_watched_and_forgotten_when_unwanted),
	    test(absence_is_known_and_seen_to_end),
	    test(a_secret_that_went_while_nobody_looked_goes_with_the_list),
	    test(a_secret_we_may_not_read_is_known_and_asked_for_again),
	    test(a_secret_we_may_get_but_not_watch_is_fetched_now_and_then),
	    test(a_watch_refused_later_is_only_a_failure),
	    test(names_no_secret_can_have_are_known_and_never_asked_for),
	    test(an_answer_that_is_none_leaves_it_unknown),
	    test(beyond_the_watches_allowed_secrets_are_polled),
	    test(a_crowd_of_first_answers_is_settled_in_few_goes),
	};

	signal(SIGPIPE, SIG_IGN);
	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
