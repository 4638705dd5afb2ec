/* conf/kube when memory runs out: each allocation of ours is made to fail in turn, from the kubeconfig to the store.
 * Nothing crashes or leaks, and a moment later all is there: nothing was lost on the way. */
/* LINK: tests/unit/fake_api.c conf/kube.c conf/kube_auth.c conf/kube_backoff.c conf/kube_client.c */
/* LINK: conf/kube_conn.c conf/kube_event.c conf/kube_exec.c conf/kube_file.c conf/kube_item.c */
/* LINK: conf/kube_path.c conf/kube_probe.c conf/kube_reflector.c conf/kube_timing.c conf/kube_tls.c */
/* LINK: conf/kube_wanted.c conf/kubeconfig.c conf/json_stream.c conf/node.c conf/node_json.c */
/* LINK: conf/node_scalar.c conf/node_yaml.c conf/object.c conf/store.c conf/decode.c */
/* LINK: conf/decode_endpoints.c conf/decode_ingress.c conf/decode_meta.c conf/decode_misc.c */
/* LINK: conf/decode_secret.c conf/decode_service.c conf/field.c conf/names.c base/addr.c base/arena.c */
/* LINK: base/buf.c base/err.c base/log.c base/map.c base/metrics.c base/str.c base/stream.c base/dns.c */
/* LINK: base/http1.c base/chunked.c base/http_syntax.c */
/* LIBS: -lev -lssl -lcrypto -ljansson -lyaml -lcares -lxxhash -lm -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "conf/kube_source.h"
#include "fake_api.h"

/* ---- the allocator under the code under test ---- */

static long calls_until_failure = -1; /* -1: none fails */

static bool fails_now(void)
{
	return calls_until_failure >= 0 && !fake_is_at_work() && calls_until_failure-- == 0;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

void *__wrap_malloc(size_t size)
{
	return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails_now() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return fails_now() ? NULL : __real_realloc(old, size);
}

/* ---- the server ---- */

#define SERVICE(name, version)                                                       \
	"{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"" name \
	"\",\"namespace\":\"shop\",\"resourceVersion\":\"" version                   \
	"\"},\"spec\":{\"ports\":[{\"port\":80}]}}"
#define EVENT(type, object) "{\"type\":\"" type "\",\"object\":" object "}\n"
#define END(kind)                                                                                  \
	EVENT("BOOKMARK",                                                                          \
	      "{\"kind\":\"" kind                                                                  \
	      "\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"9\",\"annotations\":{" \
	      "\"k8s.io/initial-events-end\":\"true\"}}}")
#define SECRET                                                                                              \
	"{\"kind\":\"Secret\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"tls\",\"namespace\":\"shop\"," \
	"\"resourceVersion\":\"5\"},\"type\":\"Opaque\",\"data\":{\"auth\":\"Zm9v\"}}"

static void say(struct fake_api *fake, const char *match, const char *body, bool streamed)
{
	fake_say(fake,
		 (struct fake_step){
		     .match = match, .status = 200, .body = body, .streamed = streamed, .forever = true});
}

static void say_all(struct fake_api *fake, bool streaming)
{
	if (streaming)
		say(fake, "services?watch=true",
		    EVENT("ADDED", SERVICE("a", "3")) EVENT("ADDED", SERVICE("b", "4")) END("Service"), true);
	else
		fake_say(fake,
			 (struct fake_step){
			     .match = "sendInitialEvents", .status = 400, .body = "{}", .forever = true});
	say(fake, "services?limit=500&continue",
	    "{\"metadata\":{\"resourceVersion\":\"9\"},\"items\":[" SERVICE("b", "4") "]}", false);
	fake_say(
	    fake,
	    (struct fake_step){
		.match = "services?limit=500",
		.status = 200,
		.body = "{\"metadata\":{\"resourceVersion\":\"9\",\"continue\":\"x\"},\"items\":[" SERVICE(
		    "a", "3") "]}",
		.forever = true});
	say(fake, "continue=x",
	    "{\"metadata\":{\"resourceVersion\":\"9\"},\"items\":[" SERVICE("b", "4") "]}", false);
	say(fake, "/secrets/tls", SECRET, false);
	say(fake, "secrets?watch=true", EVENT("ADDED", SECRET) END("Secret"), true);
	/* A change after the list: by the watch that goes on from it. */
	say(fake, "resourceVersion=9", EVENT("MODIFIED", SERVICE("a", "10")), true);
}

/* ---- one try ---- */

static const struct kube_timing quick = {
    .connect_s = 2,
    .head_s = 2,
    .answer_s = 2,
    .probe_s = 0.05,
    .idle_s = 5,
    .silence_s = 2,
    .watch_least_s = 100,
    .watch_most_s = 200,
    .watch_grace_s = 1,
    .retry_first_s = 0.002,
    .retry_most_s = 0.01,
    .apart_s = 0.002,
    .lived_s = 0.05,
    .absent_s = 0.01,
    .poll_s = 0.05,
    .token_file_s = 60,
};

struct world {
	struct ev_loop *loop;
	struct fake_api *fake;
	struct kube_config *config;
	struct store *store;
	struct source *source;
};

static void nothing(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop, (void)timer, (void)events;
}

static bool all_is_there(struct world *world, bool streaming)
{
	const struct object *a = store_get(world->store, KIND_SERVICE, "shop", "a");

	return store_synced(world->store, KIND_BIT(KIND_SERVICE)) && a &&
	       (streaming || strcmp(a->resource_version, "10") == 0) &&
	       store_get(world->store, KIND_SERVICE, "shop", "b") &&
	       source_known(world->source, KIND_SECRET, "shop", "tls") &&
	       store_get(world->store, KIND_SECRET, "shop", "tls");
}

static void start(struct world *world)
{
	const struct source_needs needs = {.kinds = KIND_BIT(KIND_SERVICE)};
	struct err err;

	world->source =
	    source_kube_new_timed(world->loop, world->store, world->config, &needs, NULL, &quick, &err);
	if (world->source && source_want(world->source, KIND_SECRET, "shop", "tls") < 0)
		world->source = source_free(world->source);
}

/* True when the allocation that was to fail was never reached. */
static bool try_with_failure(struct world *world, long nth, bool streaming)
{
	ev_tstamp until = ev_time() + 10;
	ev_timer tick;

	world->store = store_new();
	calls_until_failure = nth;
	start(world);
	if (!world->source) /* refused as a whole: then once more */
		start(world);
	assert_non_null(world->source);
	ev_timer_init(&tick, nothing, 0.001, 0.001);
	ev_timer_start(world->loop, &tick);
	while (!all_is_there(world, streaming) && ev_time() < until)
		ev_run(world->loop, EVRUN_ONCE);
	ev_timer_stop(world->loop, &tick);
	if (!all_is_there(world, streaming))
		fail_msg("allocation %ld: something was lost", nth);
	bool done = calls_until_failure >= 0;

	calls_until_failure = -1;
	world->source = source_free(world->source);
	world->store = store_free(world->store);
	return done;
}

static void fail_each(bool streaming)
{
	struct world world = {.loop = ev_default_loop(0)};
	long nth = 0;

	world.fake = fake_api_start(world.loop);
	world.config = fake_kubeconfig(world.fake, "{token: sesame}");
	say_all(world.fake, streaming);
	while (!try_with_failure(&world, nth, streaming))
		nth++;
	assert_true(nth > 50);
	print_message("%ld allocations failed in turn\n", nth);
	kube_config_free(world.config);
	fake_api_stop(world.fake);
}

static void a_source_survives_each_allocation_failing_with_streaming_lists(void **state)
{
	(void)state;
	fail_each(true);
}

static void a_source_survives_each_allocation_failing_with_pages(void **state)
{
	(void)state;
	fail_each(false);
}

static void a_kubeconfig_is_whole_or_refused_whichever_allocation_fails(void **state)
{
	static const char text[] =
	    "current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n"
	    "clusters: [{name: k, cluster: {server: \"https://h:1/p\", certificate-authority-data: Y2E=}}]\n"
	    "users: [{name: u, user: {client-certificate-data: Y3J0, client-key: key, exec: {apiVersion: "
	    "client.authentication.k8s.io/v1, command: ./x, args: [a, b], env: [{name: A, value: b}]}}}]\n";
	struct kube_config *config = NULL;
	long nth = 0;

	(void)state;
	for (; !config; nth++) {
		struct err err = {{0}};

		calls_until_failure = nth;
		config = kube_config_parse(STR_LIT(text), "dir/kc", NULL, &err);
		if (calls_until_failure >= 0)
			break;
		calls_until_failure = -1;
		assert_null(config);
		assert_non_null(strstr(err.text, "out of memory"));
	}
	calls_until_failure = -1;
	assert_non_null(config);
	assert_true(nth > 5);
	assert_string_equal(config->exec->env[0], "A=b");
	kube_config_free(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_kubeconfig_is_whole_or_refused_whichever_allocation_fails),
	    cmocka_unit_test(a_source_survives_each_allocation_failing_with_streaming_lists),
	    cmocka_unit_test(a_source_survives_each_allocation_failing_with_pages),
	};

	signal(SIGPIPE, SIG_IGN);
	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
