/* conf/node: YAML and JSON text to the same tree, and hostile text refused with its line. */
/* LINK: conf/node.c conf/node_json.c conf/node_yaml.c conf/node_scalar.c */
/* LINK: base/arena.c base/buf.c base/err.c base/map.c base/str.c */
/* LIBS: -ljansson -lyaml -lxxhash -lm */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "conf/node.h"

/* A tree as compact text: strings quoted, numbers as values, so that both syntaxes can be compared. */
static void show(struct buf *out, const struct node *node)
{
	switch (node->type) {
	case NODE_NULL:
		buf_append_text(out, "null");
		return;
	case NODE_BOOL:
		buf_append_text(out, node->boolean ? "true" : "false");
		return;
	case NODE_INT:
		buf_printf(out, "%lld", (long long)node->integer);
		return;
	case NODE_FLOAT:
		buf_printf(out, "%g", node->real);
		return;
	case NODE_STRING:
		buf_printf(out, "\"%s\"", node->text.p);
		return;
	case NODE_LIST:
		buf_append_char(out, '[');
		for (size_t i = 0; i < node->count; i++) {
			buf_append_text(out, i ? "," : "");
			show(out, node->items[i]);
		}
		buf_append_char(out, ']');
		return;
	case NODE_MAP:
		buf_append_char(out, '{');
		for (size_t i = 0; i < node->count; i++) {
			buf_printf(out, "%s%s:", i ? "," : "", node->entries[i].key.p);
			show(out, node->entries[i].value);
		}
		buf_append_char(out, '}');
		return;
	}
}

/* All documents of a text, one per line; an unreadable one is "!line: why". */
static char *yaml_shown(const char *text)
{
	struct node_yaml *yaml = node_yaml_open(text, strlen(text));
	struct buf out = {0};

	assert_non_null(yaml);
	for (;;) {
		const struct node *document;
		struct err err;
		int line;
		int rc = node_yaml_next(yaml, &document, &line, &err);
		if (rc == 0)
			break;
		if (rc == 1)
			show(&out, document);
		else
			buf_printf(&out, "!%d: %s", line, err.text);
		buf_append_char(&out, '\n');
	}
	node_yaml_close(yaml);
	return buf_take_text(&out);
}

static void assert_yaml(const char *text, const char *expected)
{
	char *shown cleanup_free = yaml_shown(text);

	assert_string_equal(shown, expected);
}

static void assert_yaml_error(const char *text, const char *line, const char *why)
{
	char *shown cleanup_free = yaml_shown(text);

	if (strncmp(shown, line, strlen(line)) != 0 || !strstr(shown, why))
		fail_msg("expected %s ... %s, got: %s", line, why, shown);
}

static int json_parsed(const char *text, char **ret_shown, struct err *err)
{
	struct arena arena = {0};
	struct node *node;
	struct buf out = {0};
	int rc = node_parse_json(&arena, text, strlen(text), &node, err);

	if (rc == 0) {
		show(&out, node);
		*ret_shown = buf_take_text(&out);
	}
	arena_done(&arena);
	return rc;
}

static void assert_json(const char *text, const char *expected)
{
	char *shown cleanup_free = NULL;
	struct err err = {""};

	if (json_parsed(text, &shown, &err) != 0)
		fail_msg("%s: %s", text, err.text);
	assert_string_equal(shown, expected);
}

static void assert_json_error(const char *text, const char *why)
{
	char *shown cleanup_free = NULL;
	struct err err = {""};

	assert_int_equal(json_parsed(text, &shown, &err), -EBADMSG);
	if (!strstr(err.text, why))
		fail_msg("expected %s, got: %s", why, err.text);
}

static void scalars_resolve_by_the_core_schema(void **state)
{
	(void)state;
	assert_yaml("[~, null, NULL, '', \"\"]", "[null,null,null,\"\",\"\"]\n");
	assert_yaml("[true, True, FALSE, yes, no, on, y]", "[true,true,false,\"yes\",\"no\",\"on\",\"y\"]\n");
	assert_yaml("[0, -7, +8, 0o17, 0x1F, 080]", "[0,-7,8,15,31,80]\n");
	assert_yaml("[1.5, .5, 1e3, -1., 1.2.3, 1e, '1']", "[1.5,0.5,1000,-1,\"1.2.3\",\"1e\",\"1\"]\n");
	assert_yaml("[.inf, -.INF, .nan, inf, nan]", "[inf,-inf,nan,\"inf\",\"nan\"]\n");
	assert_yaml("[9223372036854775807, 9223372036854775808]", "[9223372036854775807,9.22337e+18]\n");
	assert_yaml("[10.0.0.1, fd00::1, 1:30, 2024-01-01, '-', +, 0x, 0o8]",
		    "[\"10.0.0.1\",\"fd00::1\",\"1:30\",\"2024-01-01\",\"-\",\"+\",\"0x\",\"0o8\"]\n");
}

static void tags_decide_over_the_text(void **state)
{
	(void)state;
	assert_yaml("[!!str 80, ! \"80\", !!int \"80\", !!bool 'true']", "[\"80\",\"80\",80,true]\n");
	assert_yaml_error("a: 1\nb: !mine 5", "!2:", "tag");
}

static void documents_come_one_by_one_and_empty_ones_not_at_all(void **state)
{
	(void)state;
	assert_yaml("# nothing\n---\n---\na: 1\n---\n# still nothing\n---\nb: [1, {c: d}]\n...\n",
		    "{a:1}\n{b:[1,{c:\"d\"}]}\n");
	assert_yaml("", "");
	assert_yaml("\n\n", "");
	assert_yaml("null", "");
}

static void lines_are_those_of_the_text(void **state)
{
	const char *text = "# one\nkind: Service\nspec:\n  ports:\n  - port: 80\n---\nkind: Second\n";
	struct node_yaml *yaml = node_yaml_open(text, strlen(text));
	const struct node *document, *ports;
	struct err err;
	int line;

	(void)state;
	assert_int_equal(node_yaml_next(yaml, &document, &line, &err), 1);
	assert_int_equal(document->line, 2);
	assert_int_equal(node_get(document, "kind")->line, 2);
	ports = node_get(node_get(document, "spec"), "ports");
	assert_int_equal(ports->items[0]->line, 5);
	assert_null(node_get(ports, "port"));
	assert_null(node_get(document, "nothing"));
	assert_int_equal(node_yaml_next(yaml, &document, &line, &err), 1);
	assert_int_equal(document->line, 7);
	assert_int_equal(node_yaml_next(yaml, &document, &line, &err), 0);
	assert_int_equal(node_yaml_next(yaml, &document, &line, &err), 0);
	node_yaml_close(yaml);
}

static void an_unreadable_document_costs_itself_only(void **state)
{
	char *shown cleanup_free = yaml_shown("a: 1\n---\nb: [1, 2\n---\nc: 3\n---\nd: 'open\n");

	(void)state;
	assert_true(strncmp(shown, "{a:1}\n!4: ", 10) == 0);
	assert_non_null(strstr(shown, "\n{c:3}\n!"));
}

static void errors_after_a_resumption_have_the_line_of_the_whole_text(void **state)
{
	(void)state;
	assert_yaml_error("a: 'x\n---\n@\n---\nb: @\n---\nc: 1\n", "!2:", "\n!3: ");
	assert_yaml_error("a: 'x\n---\n@\n---\nb: @\n---\nc: 1\n", "!2:", "\n!5: ");
	assert_yaml_error("a: 'x\n---\n@\n---\nb: @\n---\nc: 1\n", "!2:", "\n{c:1}\n");
}

static void a_document_bad_on_its_marker_s_line_is_passed(void **state)
{
	(void)state;
	assert_yaml_error("--- @\n--- @\n--- {a: 1}\n", "!1:", "\n{a:1}\n");
}

static void a_text_is_cut_where_documents_begin(void **state)
{
	static const struct {
		const char *document;
		int line;
	} expected[] = {
	    {"# first\n%YAML 1.1\n---\na: |\n  --- no marker\n", 1},
	    {"---\tb\n", 6},
	    {"---\r\n", 7},
	    {"--- c\n---no marker\n...\n", 8},
	    {"%TAG x\n--- d\n", 11},
	    {"---", 13},
	};
	struct buf text = {0};
	struct str rest, document;
	int line = 1, document_line;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(expected); i++)
		buf_append_text(&text, expected[i].document);
	rest = buf_str(&text);
	for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
		assert_true(node_yaml_cut(&rest, &line, &document, &document_line));
		assert_int_equal(document.len, strlen(expected[i].document));
		assert_memory_equal(document.p, expected[i].document, document.len);
		assert_int_equal(document_line, expected[i].line);
	}
	assert_false(node_yaml_cut(&rest, &line, &document, &document_line));
	buf_done(&text);
}

static void directives_and_document_ends_are_understood(void **state)
{
	(void)state;
	assert_yaml("%YAML 1.1\n---\na: 1\n...\n# between\n%YAML 1.1\n---\nb: 2\n...\nc: 3\n",
		    "{a:1}\n{b:2}\n{c:3}\n");
}

static void aliases_refer_and_merge_keys_fill_in(void **state)
{
	(void)state;
	assert_yaml("a: &x {p: 1, q: 2}\nb: *x\nc: {<<: *x, q: 3}\n",
		    "{a:{p:1,q:2},b:{p:1,q:2},c:{p:1,q:3}}\n");
	assert_yaml("a: {<<: [{p: 1}, {p: 2, q: 2}], r: 3}", "{a:{p:1,q:2,r:3}}\n");
	assert_yaml("{'<<': 1}", "{<<:1}\n");
	assert_yaml_error("a: *x", "!1:", "alias");
	assert_yaml_error("a: &x [*x]", "!1:", "alias");
	assert_yaml_error("a: &x 1\n---\nb: *x\n", "{a:1}\n!3:", "alias");
	assert_yaml_error("{<<: 5}", "!1:", "<<");
}

static void an_alias_bomb_is_refused(void **state)
{
	struct buf text = {0};
	char *shown cleanup_free = NULL;

	(void)state;
	buf_append_text(&text, "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
	for (int i = 1; i < 9; i++) {
		buf_printf(&text, "a%d: &a%d [", i, i);
		for (int j = 0; j < 10; j++)
			buf_printf(&text, "*a%d, ", i - 1);
		buf_append_text(&text, "]\n");
	}
	buf_append_text(&text, "---\nafter: 1\n");
	buf_append_char(&text, '\0');
	shown = yaml_shown(text.data);
	assert_non_null(strstr(shown, "!7: too many values"));
	assert_non_null(strstr(shown, "{after:1}"));
	buf_done(&text);
}

static void nesting_has_a_limit_aliases_included(void **state)
{
	char open[256];
	struct buf text = {0};

	(void)state;
	memset(open, '[', sizeof(open) - 1);
	open[sizeof(open) - 1] = '\0';
	assert_yaml_error(open, "!1:", "nested too deeply");
	open[65] = '\0';
	assert_json_error(open, "");
	buf_printf(&text, "a: &a %.40s1%.40s\nb: %.40s*a%.40s\n", open,
		   "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]", open,
		   "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]");
	buf_append_char(&text, '\0');
	assert_yaml_error(text.data, "!2:", "nested too deeply");
	buf_done(&text);
}

static void json_nested_too_deeply_is_refused(void **state)
{
	struct buf text = {0};

	(void)state;
	for (int i = 0; i < 65; i++)
		buf_append_char(&text, '[');
	for (int i = 0; i < 65; i++)
		buf_append_char(&text, ']');
	buf_append_char(&text, '\0');
	assert_json_error(text.data, "nested");
	text.data[129] = '\0';
	assert_json(text.data + 1, "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
				   "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]");
	buf_done(&text);
}

static void duplicate_keys_are_refused(void **state)
{
	(void)state;
	assert_yaml_error("a: 1\nb: 2\na: 3\n", "!3:", "\"a\" stands twice, first in line 1");
	assert_json_error("{\"a\": 1, \"a\": 2}", "duplicate");
}

static void bytes_that_are_no_text_are_refused(void **state)
{
	(void)state;
	assert_yaml_error("a: 1\nb: \"\xff\xfe\"\n", "!2:", "UTF-8");
	assert_yaml_error("a: \"\\0\"\n", "!1:", "NUL");
	assert_yaml_error("\"a\\0\": 1\n", "!1:", "NUL");
	assert_yaml_error("a: \x01\n", "!1:", "");
	assert_json_error("{\"a\": \"\xff\"}", "");
	assert_json_error("{\"a\": \"\\u0000\"}", "");
}

static void keys_are_plain_values(void **state)
{
	(void)state;
	assert_yaml("{80: a, true: b, 'c d': e}", "{80:\"a\",c d:\"e\",true:\"b\"}\n");
	assert_yaml_error("{[a]: b}", "!1:", "key");
}

static void json_and_yaml_give_the_same_tree(void **state)
{
	const char *text =
	    "{\"a\": [1, -2.5, true, null, \"x\\/y\"], \"b\": {\"c\": \"80\"}, \"d\": [], \"e\": {}}";
	const char *shown = "{a:[1,-2.5,true,null,\"x/y\"],b:{c:\"80\"},d:[],e:{}}";
	char *with_newline cleanup_free = NULL;

	(void)state;
	assert_json(text, shown);
	assert_true(asprintf(&with_newline, "%s\n", shown) > 0);
	assert_yaml(text, with_newline);
}

static void json_must_be_one_whole_value(void **state)
{
	(void)state;
	assert_json("\"alone\"", "\"alone\"");
	assert_json_error("", "");
	assert_json_error("{\"a\": 1", "line 1");
	assert_json_error("{} {}", "line 1");
	assert_json_error("{\"a\": 99999999999999999999}", "");
}

static uint64_t hash_of(const char *text)
{
	struct arena arena = {0};
	struct node *node;
	uint64_t hash;

	assert_int_equal(node_parse_json(&arena, text, strlen(text), &node, NULL), 0);
	hash = node_hash(node);
	arena_done(&arena);
	return hash;
}

static void hashes_tell_trees_apart(void **state)
{
	(void)state;
	assert_true(hash_of("{\"a\":[1,{\"b\":2}]}") == hash_of("{ \"a\" : [1, {\"b\": 2}] }"));
	assert_true(hash_of("[1]") != hash_of("[\"1\"]"));
	assert_true(hash_of("[[1],2]") != hash_of("[[1,2]]"));
	assert_true(hash_of("[]") != hash_of("{}"));
	assert_true(hash_of("{\"a\":\"b\"}") != hash_of("{\"b\":\"a\"}"));
	assert_true(hash_of("[\"a\",\"b\"]") != hash_of("[\"b\",\"a\"]"));
}

static int count_documents(void *ctx, const struct node *document)
{
	int *count = ctx;

	(void)document;
	return ++*count == 3 ? -ECANCELED : 0;
}

static void the_loop_reports_the_first_error_and_delivers_the_rest(void **state)
{
	const char *text = "a: 1\n---\nb: @\n---\nc: 3\n";
	const char *long_text = "a: 1\n---\nb: 2\n---\nc: 3\n---\nd: 4\n";
	int count = 0, line = 0;
	struct err err;

	(void)state;
	assert_int_equal(node_parse_yaml(text, strlen(text), count_documents, &count, &line, &err), -EBADMSG);
	assert_int_equal(count, 2);
	assert_int_equal(line, 3);
	count = 0;
	assert_int_equal(node_parse_yaml(long_text, strlen(long_text), count_documents, &count, &line, &err),
			 -ECANCELED);
	assert_int_equal(count, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(scalars_resolve_by_the_core_schema),
	    cmocka_unit_test(tags_decide_over_the_text),
	    cmocka_unit_test(documents_come_one_by_one_and_empty_ones_not_at_all),
	    cmocka_unit_test(lines_are_those_of_the_text),
	    cmocka_unit_test(an_unreadable_document_costs_itself_only),
	    cmocka_unit_test(errors_after_a_resumption_have_the_line_of_the_whole_text),
	    cmocka_unit_test(a_document_bad_on_its_marker_s_line_is_passed),
	    cmocka_unit_test(a_text_is_cut_where_documents_begin),
	    cmocka_unit_test(directives_and_document_ends_are_understood),
	    cmocka_unit_test(aliases_refer_and_merge_keys_fill_in),
	    cmocka_unit_test(an_alias_bomb_is_refused),
	    cmocka_unit_test(nesting_has_a_limit_aliases_included),
	    cmocka_unit_test(json_nested_too_deeply_is_refused),
	    cmocka_unit_test(duplicate_keys_are_refused),
	    cmocka_unit_test(bytes_that_are_no_text_are_refused),
	    cmocka_unit_test(keys_are_plain_values),
	    cmocka_unit_test(json_and_yaml_give_the_same_tree),
	    cmocka_unit_test(json_must_be_one_whole_value),
	    cmocka_unit_test(hashes_tell_trees_apart),
	    cmocka_unit_test(the_loop_reports_the_first_error_and_delivers_the_rest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
