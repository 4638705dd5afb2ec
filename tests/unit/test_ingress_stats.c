/* ingress/stats: counters of several workers as one text. */
/* LINK: ingress/stats.c ingress/exchange_end.c base/buf.c base/map.c base/metrics.c base/str.c */
/* LIBS: -lxxhash -lm */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "ingress/stats.h"

static const struct host host = {.name = "a.test"};
static const struct route web = {.path = "/", .ns = "shop", .ingress = "web", .service = "web"};
static const struct route api = {.path = "/api\"", .ns = "shop", .ingress = "web", .service = "api"};

static struct stats *stats_make(void)
{
	struct stats *stats = calloc(1, sizeof(*stats));

	assert_non_null(stats);
	assert_int_equal(stats_init(stats), 0);
	return stats;
}

static void stats_end(struct stats *stats)
{
	stats_done(stats);
	free(stats);
}

static void assert_line(const char *text, const char *line)
{
	char wanted[512];

	(void)snprintf(wanted, sizeof(wanted), "%s\n", line);
	if (!strstr(text, wanted))
		fail_msg("no line %s in:\n%s", line, text);
}

static void counts_of_all_workers_are_added_up(void **state)
{
	struct stats *all[2] = {stats_make(), stats_make()};
	struct stats_cache caches[2] = {0};
	cleanup(buf_done) struct buf out = {0};
	cleanup_free char *text = NULL;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		stats_request(all[i], &caches[i], &host, &web, STR_LIT("GET"), 200, 0.004);
		stats_request(all[i], &caches[i], &host, &web, STR_LIT("GET"), 404, 0.02);
		stats_request(all[i], &caches[i], &host, &api, STR_LIT("PROPFIND"), 200, 20);
		count_add(&all[i]->ends[EXCHANGE_OK], 3);
		count_add(&all[i]->connections_accepted, 5);
		count_add(&all[i]->connections_closed, 4);
	}
	stats_collect(&out, all, 2);
	text = buf_take_text(&out);
#define LABELS "host=\"a.test\",namespace=\"shop\",ingress=\"web\",service=\"web\",path=\"/\""
	assert_line(text, "nginx_ingress_controller_requests{" LABELS ",method=\"GET\",status=\"200\"} 2");
	assert_line(text, "nginx_ingress_controller_requests{" LABELS ",method=\"GET\",status=\"404\"} 2");
	assert_line(text, "nginx_ingress_controller_requests{host=\"a.test\",namespace=\"shop\",ingress="
			  "\"web\",service=\"api\","
			  "path=\"/api\\\"\",method=\"other\",status=\"200\"} 2");
#define DURATION "nginx_ingress_controller_request_duration_seconds"
#define INGRESS  "namespace=\"shop\",ingress=\"web\""
	assert_line(text, DURATION "_bucket{" INGRESS ",le=\"0.005\"} 2");
	assert_line(text, DURATION "_bucket{" INGRESS ",le=\"10\"} 4");
	assert_line(text, DURATION "_bucket{" INGRESS ",le=\"+Inf\"} 6");
	assert_line(text, DURATION "_count{" INGRESS "} 6");
	assert_line(text, DURATION "_sum{" INGRESS "} 40.048000");
	assert_line(text, "fairlead_ingress_exchange_ends_total{reason=\"ok\"} 6");
	assert_line(text, "nginx_ingress_controller_nginx_process_connections{state=\"active\"} 2");
	stats_end(all[0]);
	stats_end(all[1]);
}

static void routes_keep_their_counters_over_generations(void **state)
{
	struct stats *stats = stats_make();
	struct stats_cache first = {0}, second = {0};
	struct route same = web;
	cleanup(buf_done) struct buf out = {0};
	cleanup_free char *text = NULL;

	(void)state;
	stats_request(stats, &first, &host, &web, STR_LIT("GET"), 200, 0);
	stats_request(stats, &second, &host, &same, STR_LIT("GET"), 200, 0);
	stats_collect(&out, &stats, 1);
	text = buf_take_text(&out);
	assert_line(text, "nginx_ingress_controller_requests{" LABELS ",method=\"GET\",status=\"200\"} 2");
	stats_end(stats);
}

static void what_an_endpoint_answers_cannot_grow_the_table_for_ever(void **state)
{
	struct stats *stats = stats_make();
	struct stats_cache cache = {0};
	cleanup(buf_done) struct buf out = {0};
	cleanup_free char *text = NULL;
	size_t lines = 0;

	(void)state;
	for (unsigned status = 100; status < 1000; status++)
		stats_request(stats, &cache, &host, &web, STR_LIT("GET"), status, 0);
	stats_collect(&out, &stats, 1);
	text = buf_take_text(&out);
	for (const char *at = text; (at = strstr(at, "method=\"GET\"")); at++)
		lines++;
	assert_int_equal(lines, 256);
	stats_end(stats);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(counts_of_all_workers_are_added_up),
	    cmocka_unit_test(routes_keep_their_counters_over_generations),
	    cmocka_unit_test(what_an_endpoint_answers_cannot_grow_the_table_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
