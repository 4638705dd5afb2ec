/* LINK: conf/options.c base/addr.c base/arena.c base/err.c base/str.c */
/* Flags: what a table of options makes of an argument list. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "conf/options.h"

struct settings {
	bool masquerade;
	const char *name;
	uint32_t verbosity;
	int32_t score;
	uint16_t port;
	double period_s;
	uint64_t size_bytes;
	struct option_strings manifests, words;
	struct option_cidrs ranges;
	struct endpoint_addr listen;
	struct ip bind;
	unsigned mode;
};

static const char *const modes[] = {"fast", "slow", NULL};
static const struct option general[] = {
    {.name = "masquerade-all",
     .type = OPTION_BOOL,
     .offset = offsetof(struct settings, masquerade),
     .help = "masquerades all"},
    {.name = "name", .type = OPTION_STRING, .offset = offsetof(struct settings, name), .help = "a name"},
    {.name = "v",
     .letter = 'v',
     .type = OPTION_U32,
     .offset = offsetof(struct settings, verbosity),
     .help = "how much is logged"},
    {.name = "score", .type = OPTION_I32, .offset = offsetof(struct settings, score), .help = "a score"},
    {.name = "port",
     .letter = 'p',
     .type = OPTION_PORT,
     .offset = offsetof(struct settings, port),
     .help = "a port"},
    {.name = "period",
     .type = OPTION_DURATION,
     .offset = offsetof(struct settings, period_s),
     .help = "a period"},
    {.name = "size", .type = OPTION_SIZE, .offset = offsetof(struct settings, size_bytes), .help = "a size"},
    {.name = "manifests",
     .type = OPTION_STRINGS,
     .offset = offsetof(struct settings, manifests),
     .help = "a path"},
    {.name = "words", .type = OPTION_LIST, .offset = offsetof(struct settings, words), .help = "words"},
    {.name = "ranges", .type = OPTION_CIDRS, .offset = offsetof(struct settings, ranges), .help = "prefixes"},
    {.name = "listen",
     .type = OPTION_ADDR,
     .offset = offsetof(struct settings, listen),
     .help = "where to listen"},
    {.name = "bind", .type = OPTION_IP, .offset = offsetof(struct settings, bind), .help = "an address"},
    {.name = "mode",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct settings, mode),
     .choices = modes,
     .help = "how"},
    {.name = "feature-gates", .type = OPTION_IGNORED, .help = "there are none"},
    {.name = "profiling", .type = OPTION_IGNORED_BOOL, .help = "perf works on any process"},
};
static const struct option_group groups[] = {{"General", general, ARRAY_LEN(general)}, {0}};

static int parse(const char *const *args, struct settings *settings, struct options_result *result,
		 struct err *err)
{
	int count = 0;

	while (args[count])
		count++;
	return options_parse(groups, count, (char *const *)(uintptr_t)args, settings, result, err);
}

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void values_come_behind_an_equals_sign_or_in_the_next_argument(void **state)
{
	struct settings settings = {0};
	struct options_result result;

	(void)state;
	assert_int_equal(
	    parse(ARGS("--name=web", "--port", "80", "--period=1m30s", "-v2", "--masquerade-all", "rest"),
		  &settings, &result, NULL),
	    0);
	assert_string_equal(settings.name, "web");
	assert_int_equal(settings.port, 80);
	assert_true(settings.period_s > 89.99 && settings.period_s < 90.01);
	assert_int_equal(settings.verbosity, 2);
	assert_true(settings.masquerade);
	assert_int_equal(result.positional.count, 1);
	assert_string_equal(result.positional.items[0], "rest");
	options_result_done(&result);
}

static void a_letter_takes_its_value_in_all_three_ways(void **state)
{
	struct options_result result;

	(void)state;
	for (int way = 0; way < 3; way++) {
		const char *const *args = way == 0 ? ARGS("-v", "4") : way == 1 ? ARGS("-v=4") : ARGS("-v4");
		struct settings settings = {0};

		assert_int_equal(parse(args, &settings, &result, NULL), 0);
		assert_int_equal(settings.verbosity, 4);
		options_result_done(&result);
	}
}

static void a_bool_never_takes_the_next_argument(void **state)
{
	struct settings settings = {.masquerade = true};
	struct options_result result;

	(void)state;
	assert_int_equal(
	    parse(ARGS("--masquerade-all=false", "--masquerade-all", "path"), &settings, &result, NULL), 0);
	assert_true(settings.masquerade);
	assert_int_equal(result.positional.count, 1);
	options_result_done(&result);
}

static void lists_grow_with_each_use(void **state)
{
	struct settings settings = {0};
	struct options_result result;

	(void)state;
	assert_int_equal(parse(ARGS("--manifests=a,b", "--manifests", "c", "--words=x, y", "--words=z",
				    "--ranges=10.0.0.0/8,fd00::/16", "--listen=[::1]:10249",
				    "--bind=192.0.2.1", "--mode=slow"),
			       &settings, &result, NULL),
			 0);
	assert_int_equal(settings.manifests.count, 2);
	assert_string_equal(settings.manifests.items[0], "a,b");
	assert_int_equal(settings.words.count, 3);
	assert_string_equal(settings.words.items[1], "y");
	assert_int_equal(settings.ranges.count, 2);
	assert_int_equal(settings.ranges.items[1].prefix_bits, 16);
	assert_int_equal(settings.listen.port, 10249);
	assert_int_equal(settings.bind.family, AF_INET);
	assert_int_equal(settings.mode, 1);
	options_result_done(&result);
}

static void unknown_and_ignored_flags_are_collected_not_refused(void **state)
{
	struct settings settings = {0};
	struct options_result result;

	(void)state;
	assert_int_equal(parse(ARGS("--no-such-flag=1", "--feature-gates", "A=true", "--feature-gates",
				    "--profiling", "--port=1", "--", "--port=2"),
			       &settings, &result, NULL),
			 0);
	assert_int_equal(result.unknown.count, 1);
	assert_string_equal(result.unknown.items[0], "--no-such-flag=1");
	assert_int_equal(result.ignored.count, 3);
	assert_int_equal(settings.port, 1);
	assert_int_equal(result.positional.count, 1);
	assert_string_equal(result.positional.items[0], "--port=2");
	options_result_done(&result);
}

static void a_wrong_value_names_the_flag_and_what_was_expected(void **state)
{
	static const struct {
		const char *arg, *text;
	} cases[] = {
	    {"--port=http", "--port: expected a port from 0 to 65535, got \"http\""},
	    {"--port=65536", "--port: expected a port from 0 to 65535, got \"65536\""},
	    {"--period=soon", "--period: expected a duration, as 5s or 1m30s, got \"soon\""},
	    {"--ranges=10.0.0.0/33",
	     "--ranges: expected prefixes, as 10.0.0.0/8,fd00::/16, got \"10.0.0.0/33\""},
	    {"--mode=medium", "--mode: expected one of the listed words, got \"medium\""},
	    {"--masquerade-all=maybe", "--masquerade-all: expected true or false, got \"maybe\""},
	    {"--size=1x", "--size: expected a size, as 512k, 1m or 0, got \"1x\""},
	    {"--size=99999999999g", "--size: expected a size, as 512k, 1m or 0, got \"99999999999g\""},
	    {"--name", "--name: needs a value, text"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct settings settings = {0};
		struct options_result result;
		struct err err;

		assert_int_equal(parse(ARGS(cases[i].arg), &settings, &result, &err), -EINVAL);
		assert_string_equal(err.text, cases[i].text);
	}
}

static void durations_are_read_as_go_writes_them(void **state)
{
	static const struct {
		const char *text;
		int code;
		double seconds;
	} cases[] = {
	    {"0", 0, 0},       {"5s", 0, 5},        {"250ms", 0, 0.25},  {"1h2m3s", 0, 3723},
	    {"1.5s", 0, 1.5},  {"30", 0, 30},       {"", -EINVAL, 0},    {"5x", -EINVAL, 0},
	    {"s", -EINVAL, 0}, {"-5s", -EINVAL, 0}, {"5s5", -EINVAL, 0}, {"1..5s", -EINVAL, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		double seconds = 0;

		assert_int_equal(duration_parse(str_of(cases[i].text), &seconds), cases[i].code);
		assert_true(seconds > cases[i].seconds - 1e-6 && seconds < cases[i].seconds + 1e-6);
	}
}

static void durations_are_written_as_go_writes_them(void **state)
{
	static const struct {
		double seconds;
		const char *text;
	} rows[] = {{0, "0s"},     {0.25, "250ms"},  {1, "1s"},          {1.5, "1.5s"},         {60, "1m0s"},
		    {90, "1m30s"}, {3600, "1h0m0s"}, {86400, "24h0m0s"}, {5430.5, "1h30m30.5s"}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[48];
		double again;

		assert_string_equal(duration_format(rows[i].seconds, text), rows[i].text);
		assert_int_equal(duration_parse(str_of(text), &again), 0);
		assert_true(again > rows[i].seconds - 0.0005 && again < rows[i].seconds + 0.0005);
	}
}

static void whole_numbers_have_a_sign(void **state)
{
	static const struct {
		const char *argument;
		int32_t value;
	} rows[] = {{"--score=-999", -999}, {"--score=7", 7}, {"--score=-2147483647", -2147483647}};
	static const char *const wrong[] = {"--score=", "--score=-", "--score=--1", "--score=2147483648",
					    "--score=1x"};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct settings settings = {0};
		struct options_result result;

		assert_int_equal(parse(ARGS(rows[i].argument), &settings, &result, NULL), 0);
		assert_int_equal(settings.score, rows[i].value);
		options_result_done(&result);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct settings settings = {0};
		struct options_result result;
		struct err err;

		assert_int_equal(parse(ARGS(wrong[i]), &settings, &result, &err), -EINVAL);
		assert_non_null(strstr(err.text, "--score: expected a whole number"));
	}
}

static void sizes_are_read_as_nginx_writes_them(void **state)
{
	static const struct {
		const char *arg;
		uint64_t bytes;
	} cases[] = {{"--size=0", 0},
		     {"--size=17", 17},
		     {"--size=8k", 8192},
		     {"--size=1m", 1048576},
		     {"--size=2G", 2147483648}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct settings settings = {.size_bytes = 1};
		struct options_result result;

		assert_int_equal(parse(ARGS(cases[i].arg), &settings, &result, NULL), 0);
		assert_int_equal(settings.size_bytes, cases[i].bytes);
		options_result_done(&result);
	}
}

static void help_shows_every_flag_with_its_default_within_100_columns(void **state)
{
	struct settings defaults = {.port = 8080, .period_s = 30, .mode = 1};
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	options_help(out, "usage: x\n", groups, &defaults);
	(void)fclose(out);
	for (size_t i = 0; i < ARRAY_LEN(general); i++)
		assert_non_null(strstr(text, general[i].name));
	assert_non_null(strstr(text, "(default 8080)"));
	assert_non_null(strstr(text, "(default 30s)"));
	assert_non_null(strstr(text, "(default slow)"));
	for (const char *line = text; *line; line += strcspn(line, "\n") + 1)
		assert_true(strcspn(line, "\n") <= 100);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(values_come_behind_an_equals_sign_or_in_the_next_argument),
	    cmocka_unit_test(a_letter_takes_its_value_in_all_three_ways),
	    cmocka_unit_test(a_bool_never_takes_the_next_argument),
	    cmocka_unit_test(lists_grow_with_each_use),
	    cmocka_unit_test(unknown_and_ignored_flags_are_collected_not_refused),
	    cmocka_unit_test(a_wrong_value_names_the_flag_and_what_was_expected),
	    cmocka_unit_test(durations_are_read_as_go_writes_them),
	    cmocka_unit_test(durations_are_written_as_go_writes_them),
	    cmocka_unit_test(whole_numbers_have_a_sign),
	    cmocka_unit_test(sizes_are_read_as_nginx_writes_them),
	    cmocka_unit_test(help_shows_every_flag_with_its_default_within_100_columns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
