/* The log, read back from a pipe put in the place of stderr. */
/* LINK: base/log.c base/buf.c base/str.c */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"

struct captured_stderr {
	int saved_fd, read_fd;
};

static struct captured_stderr capture_begin(void)
{
	struct captured_stderr captured;
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	captured.saved_fd = dup(STDERR_FILENO);
	captured.read_fd = ends[0];
	assert_true(captured.saved_fd >= 0);
	assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
	(void)close(ends[1]);
	return captured;
}

static void capture_end(struct captured_stderr captured, char text[static 2 * PIPE_BUF])
{
	ssize_t len;

	assert_true(dup2(captured.saved_fd, STDERR_FILENO) >= 0);
	(void)close(captured.saved_fd);
	len = read(captured.read_fd, text, 2 * PIPE_BUF - 1);
	assert_true(len >= 0);
	text[len] = '\0';
	(void)close(captured.read_fd);
}

static void assert_matches(const char *text, const char *pattern)
{
	regex_t regex;

	assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
	if (regexec(&regex, text, 0, NULL, 0) != 0)
		fail_msg("%s does not match %s", text, pattern);
	regfree(&regex);
}

#define TIME "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{3}Z"

static void text_values_are_quoted_only_when_needed(void **state)
{
	char text[2 * PIPE_BUF];
	struct captured_stderr captured = capture_begin();

	(void)state;
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	log_info("rules applied", L_STR("service", "default/web"), L_INT("endpoints", -3), L_STR("empty", ""),
		 L_STR("why", "a \"b\"\n\x1b"), L_FLOAT("took_s", 0.25), L_FLOAT("odd", NAN),
		 L_STR("none", NULL), L_SLICE("part", ((struct str){"abcdef", 3})));
	capture_end(captured, text);
	assert_matches(text,
		       "^time=" TIME " level=info event=\"rules applied\" service=default/web endpoints=-3 "
		       "empty=\"\" why=\"a \\\\\"b\\\\\"\\\\n\\\\u001b\" took_s=0.25 odd=NaN none=\"\" "
		       "part=abc\n$");
}

static void json_lines_hold_the_same_fields(void **state)
{
	char text[2 * PIPE_BUF];
	struct captured_stderr captured = capture_begin();

	(void)state;
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	log_error("it broke", L_STR("why", "a \"b\""), L_INT("code", 7), L_FLOAT("odd", INFINITY));
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	capture_end(captured, text);
	assert_matches(text,
		       "^[{]\"time\":\"" TIME "\",\"level\":\"error\",\"event\":\"it broke\",\"why\":\"a "
		       "\\\\\"b\\\\\"\",\"code\":7,\"odd\":\"[+]Inf\"[}]\n$");
}

static void lines_below_the_level_are_not_written(void **state)
{
	char text[2 * PIPE_BUF];
	struct captured_stderr captured = capture_begin();

	(void)state;
	log_setup(LOG_LEVEL_WARN, LOG_FORMAT_TEXT);
	log_debug("no");
	log_info("no");
	log_warn("yes");
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	capture_end(captured, text);
	assert_matches(text, "^time=" TIME " level=warn event=yes\n$");
}

static void a_long_line_stays_one_atomic_write(void **state)
{
	char value[6000], text[2 * PIPE_BUF];
	struct captured_stderr captured = capture_begin();

	(void)state;
	memset(value, 'x', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	log_info("long", L_STR("a", value), L_STR("b", value), L_STR("c", value), L_INT("d", 1));
	capture_end(captured, text);
	assert_true(strlen(text) <= PIPE_BUF);
	assert_matches(text, "event=long a=\"x+[.]{3}\" b=\"x+[.]{3}\" d=1 fields_left_out=1\n$");
}

static void a_full_pipe_drops_the_line_and_counts_it(void **state)
{
	char text[2 * PIPE_BUF];
	uint64_t before = log_dropped_total();
	struct captured_stderr captured = capture_begin();

	(void)state;
	while (log_dropped_total() == before) /* nobody reads: the pipe fills up */
		log_info("filling");
	errno = EXDEV;
	log_info("dropped too");
	assert_int_equal(errno, EXDEV);
	assert_int_equal(log_dropped_total(), before + 2);
	capture_end(captured, text);
}

static void a_closed_stderr_costs_only_the_line(void **state)
{
	uint64_t before = log_dropped_total();
	int saved_fd = dup(STDERR_FILENO);

	(void)state;
	(void)close(STDERR_FILENO);
	log_info("into the void");
	assert_int_equal(log_dropped_total(), before + 1);
	assert_true(dup2(saved_fd, STDERR_FILENO) >= 0);
	(void)close(saved_fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(text_values_are_quoted_only_when_needed),
	    cmocka_unit_test(json_lines_hold_the_same_fields),
	    cmocka_unit_test(lines_below_the_level_are_not_written),
	    cmocka_unit_test(a_long_line_stays_one_atomic_write),
	    cmocka_unit_test(a_full_pipe_drops_the_line_and_counts_it),
	    cmocka_unit_test(a_closed_stderr_costs_only_the_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
