/* conf/json_stream: objects and list items out of bytes in any pieces, and what is refused. */
/* LINK: conf/json_stream.c conf/node.c conf/node_json.c */
/* LINK: base/buf.c base/str.c base/map.c base/arena.c base/err.c */
/* LIBS: -ljansson -lxxhash */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "conf/json_stream.h"

/* What came out, items separated by "|". */
struct outcome {
	struct buf items;
	unsigned count, stop_after;
	int fed, ended;
	struct err err;
	struct json_list_meta meta;
	struct arena arena;
};

static int take(void *ctx, struct str item)
{
	struct outcome *outcome = ctx;

	if (outcome->count++ > 0)
		buf_append_char(&outcome->items, '|');
	buf_append_str(&outcome->items, item);
	return outcome->stop_after == outcome->count ? -ECANCELED : 0;
}

static void feed_in_pieces(struct outcome *outcome, enum json_stream_mode mode,
			   const struct json_stream_limits *limits, struct str text, size_t piece_bytes)
{
	struct json_stream stream;

	json_stream_init(&stream, mode, limits, take, outcome);
	for (size_t at = 0; at < text.len && outcome->fed == 0; at += piece_bytes) {
		size_t len = text.len - at < piece_bytes ? text.len - at : piece_bytes;
		char *copy = malloc(len); /* so that reading beyond it is seen */

		memcpy(copy, text.p + at, len);
		outcome->fed = json_stream_feed(&stream, (struct str){copy, len}, &outcome->err);
		free(copy);
	}
	outcome->ended = json_stream_end(&stream, &outcome->err);
	if (mode == JSON_STREAM_LIST && outcome->ended == 0)
		outcome->ended =
		    json_stream_list_meta(&stream, &outcome->arena, &outcome->meta, &outcome->err);
	json_stream_done(&stream);
}

static void outcome_done(struct outcome *outcome)
{
	buf_done(&outcome->items);
	arena_done(&outcome->arena);
}

/* Feeds the text whole and in pieces of 1, 2, 3, 5 and 7 bytes: the items must be these each time. */
static void expect_items(enum json_stream_mode mode, const char *text, const char *items)
{
	static const size_t pieces[] = {1, 2, 3, 5, 7, 100000};

	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		struct outcome outcome = {0};

		feed_in_pieces(&outcome, mode, NULL, str_of(text), pieces[i]);
		assert_int_equal(outcome.fed, 0);
		assert_int_equal(outcome.ended, 0);
		assert_true(str_is(buf_str(&outcome.items), items));
		outcome_done(&outcome);
	}
}

static void expect_refused(enum json_stream_mode mode, const char *text, const char *why)
{
	static const size_t pieces[] = {1, 100000};

	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		struct outcome outcome = {0};

		feed_in_pieces(&outcome, mode, NULL, str_of(text), pieces[i]);
		assert_int_equal(outcome.ended, -EBADMSG);
		if (!strstr(outcome.err.text, why))
			fail_msg("expected \"%s\", got \"%s\"", why, outcome.err.text);
		outcome_done(&outcome);
	}
}

static void objects_one_after_the_other_come_out_whole(void **state)
{
	(void)state;
	expect_items(JSON_STREAM_OBJECTS, "", "");
	expect_items(JSON_STREAM_OBJECTS, "{}", "{}");
	expect_items(JSON_STREAM_OBJECTS, " {\"a\":1}\n{\"b\":[{},[]]}\r\n\t{} ",
		     "{\"a\":1}|{\"b\":[{},[]]}|{}");
}

static void brackets_and_quotes_inside_strings_do_not_count(void **state)
{
	const char *tricky = "{\"a\":\"}]{[\\\"}\\\\\"}";

	(void)state;
	expect_items(JSON_STREAM_OBJECTS, tricky, tricky);
	expect_items(JSON_STREAM_OBJECTS, "{\"\\u007d\":\"\\\\\\\"\"}", "{\"\\u007d\":\"\\\\\\\"\"}");
}

static void the_items_of_a_list_come_out_one_by_one(void **state)
{
	(void)state;
	expect_items(
	    JSON_STREAM_LIST,
	    "{\"kind\":\"ServiceList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"7\"},"
	    "\"items\":[{\"a\":{\"items\":[{}]}}, {\"b\":\"]}\"} ,{}]}",
	    "{\"a\":{\"items\":[{}]}}|{\"b\":\"]}\"}|{}");
	expect_items(JSON_STREAM_LIST, "{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[]}\n", "");
	expect_items(JSON_STREAM_LIST, "{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":null}", "");
}

static void other_members_of_a_list_are_passed_over(void **state)
{
	(void)state;
	expect_items(JSON_STREAM_LIST,
		     "{\"x\":[[{\"items\":1}]],\"itemsX\":-1.5e3,\"y\":true,\"z\":\"}\", \"items\" : [ {} ],"
		     "\"metadata\":{\"resourceVersion\":\"7\"},\"averyveryverylongkeyname\":{\"a\":\"]\"}}",
		     "{}");
}

static void what_stands_around_the_items_is_known_at_the_end(void **state)
{
	struct outcome outcome = {0};

	(void)state;
	feed_in_pieces(
	    &outcome, JSON_STREAM_LIST, NULL,
	    str_of("{\"items\":[],\"metadata\":{\"continue\":\"a\\u0062\\/c\",\"resourceVersion\":\"12\","
		   "\"remainingItemCount\":3},\"kind\":\"ServiceList\"}"),
	    3);
	assert_int_equal(outcome.ended, 0);
	assert_string_equal(outcome.meta.kind, "ServiceList");
	assert_string_equal(outcome.meta.resource_version, "12");
	assert_string_equal(outcome.meta.continue_token, "ab/c");
	outcome_done(&outcome);
}

static void a_list_that_is_cut_short_is_refused_at_its_end(void **state)
{
	const char *text =
	    "{\"kind\":\"L\",\"items\":[{\"a\":1},{}],\"metadata\":{\"resourceVersion\":\"7\"}}";

	(void)state;
	for (size_t len = 0; len < strlen(text); len++) {
		struct outcome outcome = {0};

		feed_in_pieces(&outcome, JSON_STREAM_LIST, NULL, (struct str){text, len}, 100000);
		assert_int_equal(outcome.fed, 0);
		assert_int_equal(outcome.ended, -EBADMSG);
		outcome_done(&outcome);
	}
}

static void what_is_no_list_never_passes_for_an_empty_one(void **state)
{
	(void)state;
	expect_refused(JSON_STREAM_LIST, "{}", "without items");
	expect_refused(JSON_STREAM_LIST, "{\"kind\":\"Status\",\"metadata\":{},\"code\":403}",
		       "without items");
	expect_refused(JSON_STREAM_LIST, "{\"items\":[]}", "metadata");
	expect_refused(JSON_STREAM_LIST, "{\"items\":[],\"metadata\":{}}", "resourceVersion");
	expect_refused(JSON_STREAM_LIST, "{\"items\":[],\"metadata\":{\"resourceVersion\":7}}",
		       "resourceVersion");
	expect_refused(JSON_STREAM_LIST, "{\"items\":{}}", "items is not an array");
	expect_refused(JSON_STREAM_LIST, "{\"items\":nul}", "items is not an array");
	expect_refused(JSON_STREAM_LIST, "{\"items\":\"\"}", "items is not an array");
	expect_refused(JSON_STREAM_LIST, "{\"items\":[],\"items\":[]}", "twice");
	expect_refused(JSON_STREAM_LIST, "{\"item\\u0073\":[]}", "escape");
	expect_refused(JSON_STREAM_LIST, "{\"metadata\":[]}", "metadata");
	expect_refused(JSON_STREAM_LIST, "{\"kind\":{}}", "kind");
	expect_refused(JSON_STREAM_LIST, "[]", "expected an object");
	expect_refused(JSON_STREAM_LIST, "{\"items\":[1]}", "expected an object");
	expect_refused(JSON_STREAM_LIST, "{\"items\":[{},]}", "expected an object");
	expect_refused(JSON_STREAM_LIST, "{\"items\":[{}{}]}", "expected a comma");
	expect_refused(JSON_STREAM_LIST, "{\"items\":[{}]]", "expected a comma");
	expect_refused(JSON_STREAM_LIST, "{\"a\":1,}", "expected a key");
	expect_refused(JSON_STREAM_LIST, "{\"a\" 1}", "expected a colon");
	expect_refused(JSON_STREAM_LIST, "{\"a\":}", "expected a value");
	expect_refused(JSON_STREAM_LIST, "{\"items\":[],\"metadata\":{\"resourceVersion\":\"7\"}} x",
		       "after the list");
}

static void garbage_between_objects_is_refused(void **state)
{
	(void)state;
	expect_refused(JSON_STREAM_OBJECTS, "{} x", "expected an object");
	expect_refused(JSON_STREAM_OBJECTS, "<html>", "expected an object");
	expect_refused(JSON_STREAM_OBJECTS, "{\"a\":[}", "brackets do not match");
	expect_refused(JSON_STREAM_OBJECTS, "{\"a\":{]", "brackets do not match");
	expect_refused(JSON_STREAM_OBJECTS, "{\"a\n\":1}", "control character");
	expect_refused(JSON_STREAM_OBJECTS, "{\"a\":1", "ends in the middle");
}

static void items_too_large_or_too_deep_are_refused_and_those_before_come_out(void **state)
{
	static const struct json_stream_limits limits = {.item_bytes = 8, .depth = 3};
	static const struct {
		const char *text, *why;
	} cases[] = {
	    {"{\"a\":1} {\"ab\":12}", "too large"},
	    {"{\"a\":1} {[[[", "too deep"},
	};

	(void)state;
	for (size_t i = 0; i < 2; i++)
		for (size_t piece = 1; piece < 30; piece += 7) {
			struct outcome outcome = {0};

			feed_in_pieces(&outcome, JSON_STREAM_OBJECTS, &limits, str_of(cases[i].text), piece);
			assert_int_equal(outcome.fed, -EBADMSG);
			assert_non_null(strstr(outcome.err.text, cases[i].why));
			assert_true(str_is(buf_str(&outcome.items), "{\"a\":1}"));
			outcome_done(&outcome);
		}
}

static void after_an_error_every_call_says_the_same(void **state)
{
	struct outcome outcome = {0};
	struct json_stream stream;
	struct err first, again;

	(void)state;
	json_stream_init(&stream, JSON_STREAM_OBJECTS, NULL, take, &outcome);
	assert_int_equal(json_stream_feed(&stream, str_of("{}{}]"), &first), -EBADMSG);
	assert_int_equal(json_stream_feed(&stream, str_of("{}"), &again), -EBADMSG);
	assert_string_equal(first.text, again.text);
	assert_int_equal(json_stream_end(&stream, &again), -EBADMSG);
	assert_string_equal(first.text, again.text);
	assert_int_equal(outcome.count, 2);
	json_stream_done(&stream);
	outcome_done(&outcome);
}

static void the_receiver_can_stop_the_feeding(void **state)
{
	struct outcome outcome = {.stop_after = 2};
	struct json_stream stream;

	(void)state;
	json_stream_init(&stream, JSON_STREAM_OBJECTS, NULL, take, &outcome);
	assert_int_equal(json_stream_feed(&stream, str_of("{}{}{}"), NULL), -ECANCELED);
	assert_int_equal(outcome.count, 2);
	json_stream_done(&stream);
	outcome_done(&outcome);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(objects_one_after_the_other_come_out_whole),
	    cmocka_unit_test(brackets_and_quotes_inside_strings_do_not_count),
	    cmocka_unit_test(the_items_of_a_list_come_out_one_by_one),
	    cmocka_unit_test(other_members_of_a_list_are_passed_over),
	    cmocka_unit_test(what_stands_around_the_items_is_known_at_the_end),
	    cmocka_unit_test(a_list_that_is_cut_short_is_refused_at_its_end),
	    cmocka_unit_test(what_is_no_list_never_passes_for_an_empty_one),
	    cmocka_unit_test(garbage_between_objects_is_refused),
	    cmocka_unit_test(items_too_large_or_too_deep_are_refused_and_those_before_come_out),
	    cmocka_unit_test(after_an_error_every_call_says_the_same),
	    cmocka_unit_test(the_receiver_can_stop_the_feeding),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
