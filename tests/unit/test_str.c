/* Borrowed strings and error texts: comparing, cutting, numbers; context in front of reasons. */
/* LINK: base/str.c base/err.c */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/str.h"

static void comparison_without_case_folds_ascii_letters_only(void **state)
{
	(void)state;
	assert_true(str_equal_nocase(STR_LIT("Content-LENGTH"), STR_LIT("content-length")));
	assert_true(str_equal_nocase(STR_LIT(""), STR_LIT("")));
	assert_false(str_equal_nocase(STR_LIT("a"), STR_LIT("ab")));
	assert_false(str_equal_nocase(STR_LIT("@"), STR_LIT("`")));
	assert_false(str_equal_nocase(STR_LIT("["), STR_LIT("{")));
	assert_false(str_equal_nocase(STR_LIT("\xc4"), STR_LIT("\xe4")));
}

static void a_prefix_or_suffix_may_be_empty_or_the_whole(void **state)
{
	(void)state;
	assert_true(str_has_prefix(STR_LIT("abc"), STR_LIT("")));
	assert_true(str_has_prefix(STR_LIT("abc"), STR_LIT("abc")));
	assert_false(str_has_prefix(STR_LIT("abc"), STR_LIT("abcd")));
	assert_true(str_has_suffix(STR_LIT("abc"), STR_LIT("bc")));
	assert_true(str_has_suffix(STR_LIT("abc"), STR_LIT("")));
	assert_false(str_has_suffix(STR_LIT("abc"), STR_LIT("b")));
	assert_true(str_has_suffix((struct str){0}, (struct str){0}));
}

static void trimming_cuts_white_space_at_both_ends_only(void **state)
{
	(void)state;
	assert_true(str_is(str_trim(STR_LIT(" \t\r\n a b \n")), "a b"));
	assert_int_equal(str_trim(STR_LIT(" \t ")).len, 0);
	assert_int_equal(str_trim((struct str){0}).len, 0);
}

static void cutting_without_a_separator_leaves_everything_in_the_head(void **state)
{
	struct str head, rest;

	(void)state;
	rest = str_cut(STR_LIT("a:b:c"), ':', &head);
	assert_true(str_is(head, "a") && str_is(rest, "b:c"));
	rest = str_cut(STR_LIT("a:"), ':', &head);
	assert_true(str_is(head, "a") && rest.p && rest.len == 0);
	rest = str_cut(STR_LIT("abc"), ':', &head);
	assert_true(str_is(head, "abc") && !rest.p);
	rest = str_cut((struct str){0}, ':', &head);
	assert_true(head.len == 0 && !rest.p);
}

static void numbers_are_digits_only_and_bounded(void **state)
{
	static const struct {
		const char *text;
		uint64_t max;
		int code;
		uint64_t value;
	} cases[] = {
	    {"0", 0, 0, 0},
	    {"1", 0, -ERANGE, 0},
	    {"9", 5, -ERANGE, 0},
	    {"255", 255, 0, 255},
	    {"256", 255, -ERANGE, 0},
	    {"0255", 255, 0, 255},
	    {"18446744073709551615", UINT64_MAX, 0, UINT64_MAX},
	    {"18446744073709551616", UINT64_MAX, -ERANGE, 0},
	    {"99999999999999999999999", UINT64_MAX, -ERANGE, 0},
	    {"", 9, -EINVAL, 0},
	    {"+1", 9, -EINVAL, 0},
	    {"-1", 9, -EINVAL, 0},
	    {" 1", 9, -EINVAL, 0},
	    {"1 ", 9, -EINVAL, 0},
	    {"0x1", 9, -EINVAL, 0},
	    {"99x", 9, -EINVAL, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t value = 77;
		int r = str_to_u64(str_of(cases[i].text), cases[i].max, &value);

		if (r != cases[i].code || value != (r == 0 ? cases[i].value : 77))
			fail_msg("\"%s\" gave %d", cases[i].text, r);
	}
}

static void order_is_by_bytes_with_the_shorter_first(void **state)
{
	(void)state;
	assert_true(str_compare(STR_LIT("a"), STR_LIT("b")) < 0);
	assert_true(str_compare(STR_LIT("ab"), STR_LIT("a")) > 0);
	assert_true(str_compare(STR_LIT("\xff"), STR_LIT("a")) > 0);
	assert_int_equal(str_compare(STR_LIT("a"), STR_LIT("a")), 0);
	assert_int_equal(str_compare((struct str){0}, STR_LIT("")), 0);
}

static void a_copy_ends_with_nul(void **state)
{
	char *copy = str_dup((struct str){"abcdef", 3});

	(void)state;
	assert_string_equal(copy, "abc");
	free(copy);
	copy = str_dup((struct str){0});
	assert_string_equal(copy, "");
	free(copy);
}

static void an_error_gains_context_in_front_and_stays_one_line(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(err_set(&err, -EINVAL, "port %d\nis bad", 7), -EINVAL);
	assert_string_equal(err.text, "port 7 is bad");
	assert_int_equal(err_wrap(&err, -EINVAL, "service %s", "a/b"), -EINVAL);
	assert_string_equal(err.text, "service a/b: port 7 is bad");
	assert_int_equal(err_set(&err, -EIO, "twice: %s", err.text), -EIO);
	assert_string_equal(err.text, "twice: service a/b: port 7 is bad");
}

static void a_long_error_is_cut_not_overrun(void **state)
{
	char text[3000];
	struct err err;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(err_set(&err, -EIO, "%s", text), -EIO);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	assert_int_equal(err_wrap(&err, -EIO, "context"), -EIO);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	assert_memory_equal(err.text, "context: xxx", 12);
	assert_int_equal(err_wrap(&err, -EIO, "%s", text), -EIO);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
}

static void without_an_err_only_the_code_comes_back(void **state)
{
	(void)state;
	assert_int_equal(err_set(NULL, -EIO, "x"), -EIO);
	assert_int_equal(err_wrap(NULL, -EIO, "x"), -EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(comparison_without_case_folds_ascii_letters_only),
	    cmocka_unit_test(a_prefix_or_suffix_may_be_empty_or_the_whole),
	    cmocka_unit_test(trimming_cuts_white_space_at_both_ends_only),
	    cmocka_unit_test(cutting_without_a_separator_leaves_everything_in_the_head),
	    cmocka_unit_test(numbers_are_digits_only_and_bounded),
	    cmocka_unit_test(order_is_by_bytes_with_the_shorter_first),
	    cmocka_unit_test(a_copy_ends_with_nul),
	    cmocka_unit_test(an_error_gains_context_in_front_and_stays_one_line),
	    cmocka_unit_test(a_long_error_is_cut_not_overrun),
	    cmocka_unit_test(without_an_err_only_the_code_comes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
