/* LINK: conf/kube_events.c tests/unit/fake_api.c conf/kube_auth.c conf/kube_client.c conf/kube_conn.c conf/kube_exec.c */
/* LINK: conf/kube_backoff.c conf/kube_probe.c conf/kube_file.c conf/kube_timing.c conf/kube_tls.c conf/kubeconfig.c */
/* LINK: conf/node.c conf/node_json.c conf/node_scalar.c conf/node_yaml.c base/addr.c base/arena.c base/buf.c */
/* LINK: base/err.c base/log.c base/map.c base/metrics.c base/str.c base/stream.c base/dns.c base/http1.c */
/* LINK: base/chunked.c base/http_syntax.c */
/* LIBS: -lev -lssl -lcrypto -ljansson -lyaml -lcares -lxxhash -lm */
/* Events of the API: their words, once each, and never more than a few under way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "conf/kube_events.h"
#include "fake_api.h"

struct world {
	struct ev_loop *loop;
	struct fake_api *fake;
	struct kube_config *config;
	struct kube_client *client;
	struct metrics *metrics;
	struct kube_events *events;
};

static const struct kube_event_text on_node = {.kind = "Node",
					       .ns = "",
					       .name = "node-1",
					       .uid = "node-1",
					       .reason = "Starting",
					       .action = "StartKubeProxy",
					       .note = ""};
static const struct kube_event_text on_service = {.kind = "Service",
						  .ns = "shop",
						  .name = "web",
						  .uid = "u-1",
						  .warning = true,
						  .reason = "FailedToStartServiceHealthcheck",
						  .action = "Listen",
						  .note = "cannot listen on \"x\""};

static int set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	struct err err;

	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	world->loop = ev_default_loop(0);
	world->fake = fake_api_start(world->loop);
	world->config = fake_kubeconfig(world->fake, "{token: t}");
	world->metrics = metrics_new();
	world->client = kube_client_new(world->loop, world->config, world->metrics, NULL, &err);
	world->events = kube_events_new(world->loop, world->client, "node-1", world->metrics);
	*state = world;
	return world->client && world->events ? 0 : -1;
}

static int tear_down(void **state)
{
	struct world *world = *state;

	(void)kube_events_free(world->events);
	(void)kube_client_free(world->client);
	kube_config_free(world->config);
	(void)metrics_free(world->metrics);
	fake_api_stop(world->fake);
	free(world);
	return 0;
}

static bool shows(const struct world *world, const char *sample)
{
	struct buf text = {0};
	char *shown;
	bool found;

	assert_int_equal(metrics_render(world->metrics, &text), 0);
	shown = buf_take_text(&text);
	found = strstr(shown, sample) != NULL;
	free(shown);
	return found;
}

static void run_until(struct world *world, const char *sample)
{
	double end = ev_time() + 10;

	while (!shows(world, sample)) {
		assert_true(ev_time() < end);
		ev_run(world->loop, EVRUN_NOWAIT);
	}
}

#define SENT(n)    "fairlead_events_total{result=\"sent\"} " n "\n"
#define DROPPED(n) "fairlead_events_total{result=\"dropped\"} " n "\n"

static void an_event_is_posted_to_the_namespace_of_its_object(void **state)
{
	struct world *world = *state;

	fake_say(world->fake,
		 (struct fake_step){.match = "POST ", .status = 201, .body = "{}", .forever = true});
	kube_events_record(world->events, &on_node);
	kube_events_record(world->events, &on_service);
	run_until(world, SENT("2"));
	assert_int_equal(fake_count(world->fake, "POST /apis/events.k8s.io/v1/namespaces/default/events"), 1);
	assert_int_equal(fake_count(world->fake, "POST /apis/events.k8s.io/v1/namespaces/shop/events"), 1);
}

static void the_body_has_what_the_api_asks_for(void **state)
{
	struct buf out = {0};
	char *text;

	(void)state;
	kube_events_append(&out, &on_service, "node-1", 1711085641000005);
	text = buf_take_text(&out);
	assert_string_equal(
	    text, "{\"apiVersion\":\"events.k8s.io/v1\",\"kind\":\"Event\",\"metadata\":{"
		  "\"name\":\"web.614392bcfe445\",\"namespace\":\"shop\"},"
		  "\"eventTime\":\"2024-03-22T05:34:01.000005Z\",\"reportingController\":\"fairlead\","
		  "\"reportingInstance\":\"node-1\",\"type\":\"Warning\","
		  "\"reason\":\"FailedToStartServiceHealthcheck\",\"action\":\"Listen\","
		  "\"note\":\"cannot listen on \\\"x\\\"\",\"regarding\":{\"apiVersion\":\"v1\","
		  "\"kind\":\"Service\",\"namespace\":\"shop\",\"name\":\"web\",\"uid\":\"u-1\"}}");
	free(text);
}

static void the_same_event_is_sent_once(void **state)
{
	struct world *world = *state;
	struct kube_event_text other = on_service;

	other.note = "another reason";
	fake_say(world->fake,
		 (struct fake_step){.match = "POST ", .status = 201, .body = "{}", .forever = true});
	for (int i = 0; i < 5; i++)
		kube_events_record(world->events, &on_service);
	kube_events_record(world->events, &other);
	run_until(world, SENT("2"));
	assert_int_equal(fake_count(world->fake, "POST "), 2);
}

static void what_is_refused_or_too_much_is_dropped(void **state)
{
	struct world *world = *state;
	char names[KUBE_EVENTS_PENDING_MAX + 3][16];

	fake_say(world->fake,
		 (struct fake_step){.match = "POST ", .status = 403, .body = "{}", .forever = true});
	for (size_t i = 0; i < KUBE_EVENTS_PENDING_MAX + 3; i++) {
		struct kube_event_text text = on_service;

		(void)snprintf(names[i], sizeof(names[i]), "web-%zu", i);
		text.name = names[i];
		kube_events_record(world->events, &text);
	}
	assert_true(shows(world, DROPPED("3")));
	run_until(world, DROPPED("35"));
	assert_int_equal(fake_count(world->fake, "POST "), KUBE_EVENTS_PENDING_MAX);
	kube_events_record(NULL, &on_node);
}

static void freeing_cancels_what_is_under_way(void **state)
{
	struct world *world = *state;

	kube_events_record(world->events, &on_node);
	world->events = kube_events_free(world->events);
	ev_run(world->loop, EVRUN_NOWAIT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(an_event_is_posted_to_the_namespace_of_its_object),
	    cmocka_unit_test(the_body_has_what_the_api_asks_for),
	    TEST(the_same_event_is_sent_once),
	    TEST(what_is_refused_or_too_much_is_dropped),
	    TEST(freeing_cancels_what_is_under_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
