/* The metrics registry and its text form (Prometheus exposition format 0.0.4). */
/* LINK: base/metrics.c base/map.c base/buf.c base/str.c */
/* LIBS: -lxxhash */
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/metrics.h"

static void assert_rendered(struct metrics *metrics, const char *expected)
{
	struct buf out = {0};
	char *text;

	assert_int_equal(metrics_render(metrics, &out), 0);
	text = buf_take_text(&out);
	assert_string_equal(text, expected);
	free(text);
}

static void metrics_of_one_name_stand_together_in_the_order_of_registration(void **state)
{
	struct metrics *metrics = metrics_new();
	struct metric *ok = metrics_counter(metrics, "requests_total", "All requests", "code=\"200\"");
	struct metric *open = metrics_gauge(metrics, "open", "Line one\nback\\slash", "");
	struct metric *bad = metrics_counter(metrics, "requests_total", "All requests", "code=\"500\"");

	(void)state;
	metric_add(ok, 2);
	metric_add(bad, 1);
	metric_set(open, 0.1);
	assert_rendered(metrics, "# HELP requests_total All requests\n"
				 "# TYPE requests_total counter\n"
				 "requests_total{code=\"200\"} 2\n"
				 "requests_total{code=\"500\"} 1\n"
				 "# HELP open Line one\\nback\\\\slash\n"
				 "# TYPE open gauge\n"
				 "open 0.1\n");
	metrics_free(metrics);
}

static void the_same_name_and_labels_give_the_same_metric(void **state)
{
	struct metrics *metrics = metrics_new();
	struct metric *first = metrics_counter(metrics, "a_total", "A", "x=\"1\"");

	(void)state;
	assert_ptr_equal(metrics_counter(metrics, "a_total", "A", "x=\"1\""), first);
	assert_ptr_not_equal(metrics_counter(metrics, "a_total", "A", "x=\"2\""), first);
	metrics_free(metrics);
}

static void histograms_count_up_to_infinity(void **state)
{
	static const double bounds[] = {0.005, 0.1, 1};
	struct metrics *metrics = metrics_new();
	struct metric *latency = metrics_histogram(metrics, "latency_seconds", "Latency", "", bounds, 3);
	struct metric *labelled =
	    metrics_histogram(metrics, "latency_seconds", "Latency", "a=\"b\"", bounds, 1);

	(void)state;
	metric_observe(latency, 0.005);
	metric_observe(latency, 0.5);
	metric_observe(latency, 7);
	metric_observe(labelled, 2);
	assert_rendered(metrics, "# HELP latency_seconds Latency\n"
				 "# TYPE latency_seconds histogram\n"
				 "latency_seconds_bucket{le=\"0.005\"} 1\n"
				 "latency_seconds_bucket{le=\"0.1\"} 1\n"
				 "latency_seconds_bucket{le=\"1\"} 2\n"
				 "latency_seconds_bucket{le=\"+Inf\"} 3\n"
				 "latency_seconds_sum 7.505\n"
				 "latency_seconds_count 3\n"
				 "latency_seconds_bucket{a=\"b\",le=\"0.005\"} 0\n"
				 "latency_seconds_bucket{a=\"b\",le=\"+Inf\"} 1\n"
				 "latency_seconds_sum{a=\"b\"} 2\n"
				 "latency_seconds_count{a=\"b\"} 1\n");
	metrics_free(metrics);
}

static void not_a_number_lands_in_the_last_bucket(void **state)
{
	static const double bounds[] = {1};
	struct metrics *metrics = metrics_new();
	struct metric *histogram = metrics_histogram(metrics, "h", "H", "", bounds, 1);

	(void)state;
	metric_observe(histogram, NAN);
	assert_rendered(metrics,
			"# HELP h H\n# TYPE h histogram\nh_bucket{le=\"1\"} 0\nh_bucket{le=\"+Inf\"} 1\n"
			"h_sum NaN\nh_count 1\n");
	metrics_free(metrics);
}

static void collect(void *ctx, struct buf *out)
{
	metric_set(ctx, 5);
	metrics_family(out, "own", "gauge", "Written by the collector");
	(void)buf_append_text(out, "own{name=\"");
	metrics_label_escape(out, STR_LIT("a\"b\\c\nd"));
	(void)buf_append_text(out, "\"} 1\n");
}

static void collectors_run_first_until_removed(void **state)
{
	struct metrics *metrics = metrics_new();
	struct metric *gauge = metrics_gauge(metrics, "g", "G", "");

	(void)state;
	assert_int_equal(metrics_collector(metrics, collect, gauge), 0);
	assert_rendered(metrics, "# HELP own Written by the collector\n"
				 "# TYPE own gauge\n"
				 "own{name=\"a\\\"b\\\\c\\nd\"} 1\n"
				 "# HELP g G\n# TYPE g gauge\ng 5\n");
	metrics_collector_remove(metrics, gauge);
	assert_rendered(metrics, "# HELP g G\n# TYPE g gauge\ng 5\n");
	metrics_free(metrics);
}

static void nothing_happens_to_a_metric_that_is_not_there(void **state)
{
	(void)state;
	metric_add(NULL, 1);
	metric_set(NULL, 1);
	metric_adjust(NULL, 1);
	metric_observe(NULL, 1);
	assert_null(metrics_free(NULL));
}

static void *count_a_lot(void *gauge)
{
	for (int i = 0; i < 20000; i++)
		metric_adjust(gauge, 1);
	return NULL;
}

static void threads_lose_no_count(void **state)
{
	struct metrics *metrics = metrics_new();
	struct metric *gauge = metrics_gauge(metrics, "g", "G", "");
	pthread_t threads[4];

	(void)state;
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count_a_lot, gauge), 0);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_rendered(metrics, "# HELP g G\n# TYPE g gauge\ng 80000\n");
	metrics_free(metrics);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(metrics_of_one_name_stand_together_in_the_order_of_registration),
	    cmocka_unit_test(the_same_name_and_labels_give_the_same_metric),
	    cmocka_unit_test(histograms_count_up_to_infinity),
	    cmocka_unit_test(not_a_number_lands_in_the_last_bucket),
	    cmocka_unit_test(collectors_run_first_until_removed),
	    cmocka_unit_test(nothing_happens_to_a_metric_that_is_not_there),
	    cmocka_unit_test(threads_lose_no_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
