/* LINK: main/health_text.c base/buf.c base/str.c */
/* The bytes of /healthz and /livez (service-proxy contract rows 39, 40). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "main/health_text.h"

#define T1 1711085641 /* 2024-03-22 05:34:01 UTC */

static void assert_buf(struct buf *buf, const char *expected)
{
	char *text = buf_take_text(buf);

	assert_string_equal(text, expected);
	free(text);
}

static void times_are_written_as_go_writes_them(void **state)
{
	static const struct {
		struct timespec time;
		const char *text;
	} rows[] = {
	    {{T1, 123456789}, "2024-03-22 05:34:01.123456789 +0000 UTC"},
	    {{T1, 120000000}, "2024-03-22 05:34:01.12 +0000 UTC"},
	    {{T1, 5}, "2024-03-22 05:34:01.000000005 +0000 UTC"},
	    {{T1, 0}, "2024-03-22 05:34:01 +0000 UTC"},
	    {{HEALTH_NEVER, 0}, "0001-01-01 00:00:00 +0000 UTC"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf out = {0};

		health_append_time(&out, rows[i].time);
		assert_buf(&out, rows[i].text);
	}
}

static void a_healthy_proxy_was_updated_just_now(void **state)
{
	const struct health_verdict verdict = {true, true, {T1, 0}, {T1 + 60, 500000000}};
	struct buf out = {0};

	(void)state;
	assert_int_equal(health_append_healthz(&out, &verdict), 200);
	assert_buf(&out, "{\"lastUpdated\": \"2024-03-22 05:35:01.5 +0000 UTC\","
			 "\"currentTime\": \"2024-03-22 05:35:01.5 +0000 UTC\", \"nodeEligible\": true}");
	assert_int_equal(health_append_livez(&out, &verdict), 200);
	assert_buf(&out, "{\"lastUpdated\": \"2024-03-22 05:35:01.5 +0000 UTC\","
			 "\"currentTime\": \"2024-03-22 05:35:01.5 +0000 UTC\"}");
}

static void an_unhealthy_proxy_says_when_it_was_last_updated(void **state)
{
	const struct health_verdict verdict = {false, true, {T1, 0}, {T1 + 60, 0}};
	struct buf out = {0};

	(void)state;
	assert_int_equal(health_append_healthz(&out, &verdict), 503);
	assert_buf(&out, "{\"lastUpdated\": \"2024-03-22 05:34:01 +0000 UTC\","
			 "\"currentTime\": \"2024-03-22 05:35:01 +0000 UTC\", \"nodeEligible\": true}");
	assert_int_equal(health_append_livez(&out, &verdict), 503);
	assert_buf(&out, "{\"lastUpdated\": \"2024-03-22 05:34:01 +0000 UTC\","
			 "\"currentTime\": \"2024-03-22 05:35:01 +0000 UTC\"}");
}

static void a_node_about_to_go_is_alive_but_not_eligible(void **state)
{
	const struct health_verdict verdict = {true, false, {T1, 0}, {T1 + 60, 0}};
	struct buf out = {0};

	(void)state;
	assert_int_equal(health_append_healthz(&out, &verdict), 503);
	assert_buf(&out, "{\"lastUpdated\": \"2024-03-22 05:34:01 +0000 UTC\","
			 "\"currentTime\": \"2024-03-22 05:35:01 +0000 UTC\", \"nodeEligible\": false}");
	assert_int_equal(health_append_livez(&out, &verdict), 200);
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(times_are_written_as_go_writes_them),
	    cmocka_unit_test(a_healthy_proxy_was_updated_just_now),
	    cmocka_unit_test(an_unhealthy_proxy_says_when_it_was_last_updated),
	    cmocka_unit_test(a_node_about_to_go_is_alive_but_not_eligible),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
