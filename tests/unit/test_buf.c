/* The byte buffer: growth, consumption, sticky failure, JSON escaping. */
/* LINK: base/buf.c base/str.c */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"

static void what_is_appended_comes_out_in_order(void **state)
{
	struct buf buf = {0};

	(void)state;
	assert_int_equal(buf_append_text(&buf, "ab"), 0);
	assert_int_equal(buf_append_char(&buf, 'c'), 0);
	assert_int_equal(buf_append_str(&buf, STR_LIT("de")), 0);
	assert_int_equal(buf_printf(&buf, "%d", 42), 0);
	assert_true(str_is(buf_str(&buf), "abcde42"));
	buf_consume(&buf, 3);
	assert_true(str_is(buf_str(&buf), "de42"));
	buf_done(&buf);
	assert_int_equal(buf_len(&buf), 0);
}

static void consuming_and_appending_for_long_does_not_grow_the_buffer(void **state)
{
	struct buf buf = {0};
	char next_in = 0, next_out = 0;

	(void)state;
	for (int i = 0; i < 100000; i++) {
		for (int n = 0; n < 7; n++)
			assert_int_equal(buf_append_char(&buf, next_in++), 0);
		while (buf_len(&buf) > 20) {
			assert_int_equal(*buf_head(&buf), next_out++);
			buf_consume(&buf, 1);
		}
	}
	assert_true(buf.size <= 1024);
	buf_done(&buf);
}

static void a_reservation_may_be_used_in_part(void **state)
{
	struct buf buf = {0};
	char *to = buf_reserve(&buf, 5000);

	(void)state;
	assert_non_null(to);
	memset(to, 'x', 5000);
	buf_commit(&buf, 2);
	assert_true(str_is(buf_str(&buf), "xx"));
	buf_done(&buf);
}

static void after_a_failure_nothing_more_is_taken_until_it_is_cleared(void **state)
{
	struct buf buf = {0};

	(void)state;
	assert_int_equal(buf_append_text(&buf, "kept"), 0);
	assert_null(buf_reserve(&buf, SIZE_MAX / 2 + 2));
	assert_null(buf_reserve(&buf, SIZE_MAX));
	assert_true(buf_failed(&buf));
	assert_int_equal(buf_append_text(&buf, "more"), -ENOMEM);
	assert_true(str_is(buf_str(&buf), "kept"));
	buf_clear(&buf);
	assert_int_equal(buf_append_text(&buf, "again"), 0);
	assert_true(str_is(buf_str(&buf), "again"));
	buf_done(&buf);
}

static void json_text_is_escaped_and_always_valid_utf8(void **state)
{
	static const struct {
		struct str in;
		const char *out;
	} cases[] = {
	    {STR_INIT("plain"), "plain"},
	    {STR_INIT("\"\\\n\r\t"), "\\\"\\\\\\n\\r\\t"},
	    {STR_INIT("a\0b\x1b\x7f"), "a\\u0000b\\u001b\\u007f"},
	    {STR_INIT("gr\xc3\xbc\xc3\x9f"), "gr\xc3\xbc\xc3\x9f"},
	    {STR_INIT("\xc2\x9b"), "\\u009b"},
	    {STR_INIT("\xf0\x9f\x98\x80"), "\xf0\x9f\x98\x80"},
	    {STR_INIT("\xff\x80"), "\xef\xbf\xbd\xef\xbf\xbd"},
	    {STR_INIT("\xc0\xaf"), "\xef\xbf\xbd\xef\xbf\xbd"},                 /* overlong */
	    {STR_INIT("\xed\xa0\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* surrogate */
	    {STR_INIT("\xe2\x82"), "\xef\xbf\xbd\xef\xbf\xbd"},                 /* cut short */
	    {STR_INIT("\xf4\x90\x80\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf buf = {0};

		assert_int_equal(buf_append_json(&buf, cases[i].in), 0);
		if (!str_is(buf_str(&buf), cases[i].out))
			fail_msg("case %zu", i);
		buf_done(&buf);
	}
}

static void the_text_taken_belongs_to_the_caller(void **state)
{
	struct buf buf = {0};
	char *text;

	(void)state;
	assert_int_equal(buf_append_text(&buf, "--text"), 0);
	buf_consume(&buf, 2);
	text = buf_take_text(&buf);
	assert_string_equal(text, "text");
	assert_int_equal(buf_len(&buf), 0);
	free(text);
	text = buf_take_text(&buf);
	assert_string_equal(text, "");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_appended_comes_out_in_order),
	    cmocka_unit_test(consuming_and_appending_for_long_does_not_grow_the_buffer),
	    cmocka_unit_test(a_reservation_may_be_used_in_part),
	    cmocka_unit_test(after_a_failure_nothing_more_is_taken_until_it_is_cleared),
	    cmocka_unit_test(json_text_is_escaped_and_always_valid_utf8),
	    cmocka_unit_test(the_text_taken_belongs_to_the_caller),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
