/* ingress/route: the normal form of paths, and which of a host's routes a path gets (design: Ingress a.2). */
/* LINK: ingress/route.c ingress/snapshot_host.c ingress/auth.c ingress/auth_hash.c */
/* LINK: ingress/finding.c conf/object.c base/arena.c base/err.c base/map.c base/str.c */
/* LIBS: -laprutil-1 -lapr-1 -lcrypto -lxxhash */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "ingress/route.h"
#include "ingress/snapshot_draft.h"

/* ---- normal form ---- */

static void assert_normal_form(const char *path, const char *expected)
{
	char out[256];
	ssize_t len = route_path_normalise(str_of(path), out);

	if (!expected) {
		assert_int_equal(len, -EBADMSG);
		return;
	}
	assert_true(len >= 0);
	out[len] = '\0';
	assert_string_equal(out, expected);
}

static void a_plain_path_is_its_own_normal_form(void **state)
{
	(void)state;
	assert_normal_form("/", "/");
	assert_normal_form("/foo", "/foo");
	assert_normal_form("/foo/", "/foo/");
	assert_normal_form("/.foo/..bar/...", "/.foo/..bar/...");
	assert_normal_form("/a+b;c=d,e@f", "/a+b;c=d,e@f");
}

static void dot_segments_are_resolved(void **state)
{
	(void)state;
	assert_normal_form("/ip/abc/../../uuid", "/uuid");
	assert_normal_form("/a/./b/.", "/a/b/");
	assert_normal_form("/a/b/..", "/a/");
	assert_normal_form("/a/..", "/");
	assert_normal_form("/.", "/");
}

static void repeated_slashes_are_merged(void **state)
{
	(void)state;
	assert_normal_form("//", "/");
	assert_normal_form("//a///b//", "/a/b/");
	assert_normal_form("/a//../b", "/b");
}

static void escapes_are_decoded_before_segments_are_resolved(void **state)
{
	(void)state;
	assert_normal_form("/%66oo%2Fbar", "/foo/bar");
	assert_normal_form("/a/%2e%2E/b", "/b");
	assert_normal_form("/a%2f..%2fb", "/b");
	assert_normal_form("/%C3%A4", "/\xc3\xa4");
	assert_normal_form("/%2566", "/%66");
}

static void a_path_above_the_root_is_refused(void **state)
{
	(void)state;
	assert_normal_form("/..", NULL);
	assert_normal_form("/../a", NULL);
	assert_normal_form("/a/../..", NULL);
	assert_normal_form("/%2e%2e/etc/passwd", NULL);
}

static void bad_escapes_and_nul_bytes_are_refused(void **state)
{
	(void)state;
	assert_normal_form("/%", NULL);
	assert_normal_form("/%4", NULL);
	assert_normal_form("/%zz", NULL);
	assert_normal_form("/a%00b", NULL);
}

static void what_is_no_path_is_refused(void **state)
{
	(void)state;
	assert_normal_form("", NULL);
	assert_normal_form("*", NULL);
	assert_normal_form("foo", NULL);
}

/* ---- matching ---- */

#define EXACT(path_)                                \
	{                                           \
		.path = (path_), .type = PATH_EXACT \
	}
#define PREFIX(path_)                                \
	{                                            \
		.path = (path_), .type = PATH_PREFIX \
	}
#define SPECIFIC(path_)                                               \
	{                                                             \
		.path = (path_), .type = PATH_IMPLEMENTATION_SPECIFIC \
	}

struct match {
	const char *path;
	int route; /* position in what was given; -1: the fallback */
};

/* Routes are told apart by their service. */
static void assert_matches(struct route *routes, size_t route_count, const struct match *matches,
			   size_t match_count)
{
	char names[32][24];
	struct host *host;

	assert_true(route_count <= ARRAY_LEN(names));
	for (size_t i = 0; i < route_count; i++) {
		snprintf(names[i], sizeof(names[i]), "%zu", i);
		routes[i].service = names[i];
	}
	host = host_new("h", false, routes, route_count, NULL);
	assert_non_null(host);
	for (size_t i = 0; i < match_count; i++) {
		const struct route *found = host_route(host, str_of(matches[i].path));
		int position = found == host->fallback ? -1 : atoi(found->service);

		if (position != matches[i].route)
			fail_msg("%s went to %d, not %d", matches[i].path, position, matches[i].route);
	}
	host_unref(host);
}

#define ASSERT_MATCHES(routes, ...)                                                       \
	do {                                                                              \
		const struct match matches_[] = {__VA_ARGS__};                            \
		assert_matches(routes, ARRAY_LEN(routes), matches_, ARRAY_LEN(matches_)); \
	} while (0)

static void an_exact_path_matches_only_itself_byte_for_byte(void **state)
{
	struct route routes[] = {EXACT("/foo")};

	(void)state;
	ASSERT_MATCHES(routes, {"/foo", 0}, {"/foo/", -1}, {"/Foo", -1}, {"/foo/bar", -1}, {"/fo", -1},
		       {"/", -1});
}

static void an_exact_path_with_a_slash_is_another_path(void **state)
{
	struct route routes[] = {EXACT("/foo/")};

	(void)state;
	ASSERT_MATCHES(routes, {"/foo/", 0}, {"/foo", -1});
}

static void a_prefix_matches_by_elements(void **state)
{
	struct route routes[] = {PREFIX("/foo"), PREFIX("/aaa/bb")};

	(void)state;
	ASSERT_MATCHES(routes, {"/foo", 0}, {"/foo/", 0}, {"/foo/x", 0}, {"/foobar", -1}, {"/FOO", -1},
		       {"/aaa/bb", 1}, {"/aaa/bb/", 1}, {"/aaa/bb/ccc", 1}, {"/aaa/bbb", -1}, {"/aaa", -1},
		       {"/", -1});
}

static void the_trailing_slash_of_a_prefix_rule_is_ignored(void **state)
{
	struct route routes[] = {PREFIX("/foo/"), PREFIX("/aaa/bbb/")};

	(void)state;
	ASSERT_MATCHES(routes, {"/foo", 0}, {"/foo/", 0}, {"/foo/x", 0}, {"/aaa/bbb", 1}, {"/aaa/bbb/ccc", 1},
		       {"/aaa/bbbxyz", -1});
}

static void the_root_prefix_matches_everything(void **state)
{
	struct route routes[] = {PREFIX("/")};

	(void)state;
	ASSERT_MATCHES(routes, {"/", 0}, {"/foo", 0}, {"/foo/bar/", 0});
}

static void implementation_specific_is_a_prefix_and_empty_means_the_root(void **state)
{
	struct route routes[] = {SPECIFIC(""), SPECIFIC("/foo")};

	(void)state;
	ASSERT_MATCHES(routes, {"/", 0}, {"/x", 0}, {"/foo", 1}, {"/foo/x", 1}, {"/foobar", 0});
}

static void the_longest_path_wins(void **state)
{
	struct route routes[] = {PREFIX("/"), PREFIX("/aaa"), PREFIX("/aaa/bbb"), PREFIX("/aaa/bbb/ccc")};

	(void)state;
	ASSERT_MATCHES(routes, {"/", 0}, {"/ccc", 0}, {"/aaa/ccc", 1}, {"/aaa/bbb", 2}, {"/aaa/bbb/cc", 2},
		       {"/aaa/bbb/ccc/d", 3});
}

static void exact_beats_prefix_at_equal_length(void **state)
{
	struct route routes[] = {PREFIX("/foo"), EXACT("/foo"), PREFIX("/bar/"), EXACT("/bar")};

	(void)state;
	ASSERT_MATCHES(routes, {"/foo", 1}, {"/foo/", 0}, {"/bar", 3}, {"/bar/", 2});
}

static void an_exact_root_is_only_the_root(void **state)
{
	struct route routes[] = {EXACT("/"), PREFIX("/a")};

	(void)state;
	ASSERT_MATCHES(routes, {"/", 0}, {"/a", 1}, {"/b", -1});
}

static void prefix_and_implementation_specific_are_equals_the_first_given_wins(void **state)
{
	struct route routes[] = {SPECIFIC("/a"), PREFIX("/a"), PREFIX("/b"), SPECIFIC("/b")};

	(void)state;
	ASSERT_MATCHES(routes, {"/a", 0}, {"/a/b", 0}, {"/b", 2});
}

static void of_two_equal_rules_the_first_given_wins(void **state)
{
	struct route routes[] = {PREFIX("/a"), PREFIX("/a/"), EXACT("/b"), EXACT("/b")};

	(void)state;
	ASSERT_MATCHES(routes, {"/a", 0}, {"/b", 2});
}

static void siblings_that_sort_between_a_prefix_and_its_children_do_not_hide_it(void **state)
{
	struct route routes[] = {PREFIX("/a"), PREFIX("/a-b"), PREFIX("/a.b"), PREFIX("/a/b/c"),
				 PREFIX("/a!")};

	(void)state;
	ASSERT_MATCHES(routes, {"/a/b", 0}, {"/a/z", 0}, {"/a/b/c", 3}, {"/a/b/cc", 0}, {"/a-b/x", 1},
		       {"/a-", -1}, {"/a!/x", 4}, {"/a~", -1}, {"/a/~", 0});
}

static void a_host_without_routes_answers_with_its_fallback(void **state)
{
	struct host *host = host_new("h", false, NULL, 0, NULL);

	(void)state;
	assert_ptr_equal(host_route(host, STR_LIT("/")), host->fallback);
	assert_ptr_equal(host_route(host, STR_LIT("*")), host->fallback);
	assert_string_equal(host->fallback->path, "/");
	assert_int_equal(host->fallback->upstream_id, UPSTREAM_NONE);
	host_unref(host);
}

static void routes_are_listed_by_preference(void **state)
{
	struct route routes[] = {PREFIX("/"), PREFIX("/aa/"), EXACT("/aa"), PREFIX("/bbb"), SPECIFIC("/aa")};
	const char *expected[] = {"/bbb", "/aa", "/aa", "/aa", "/"};
	struct host *host = host_new("h", false, routes, ARRAY_LEN(routes), NULL);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(expected); i++)
		assert_string_equal(host->routes[i].path, expected[i]);
	assert_int_equal(host->routes[1].type, PATH_EXACT);
	assert_int_equal(host->routes[2].type, PATH_PREFIX);
	assert_int_equal(host->routes[3].type, PATH_IMPLEMENTATION_SPECIFIC);
	host_unref(host);
}

/* ---- the index against the plain reading of the rules ---- */

static bool matches_plainly(const struct route *route, struct str path)
{
	struct str rule = route_rule_path(str_of(route->path), route->type);

	if (route->type == PATH_EXACT)
		return str_equal(rule, path);
	return rule.len == 1 ||
	       (str_has_prefix(path, rule) && (path.len == rule.len || path.p[rule.len] == '/'));
}

static size_t longest_plain_match(const struct route *routes, size_t count, struct str path)
{
	size_t best_len = 0;

	for (size_t i = 0; i < count; i++) {
		struct str rule = route_rule_path(str_of(routes[i].path), routes[i].type);

		if (matches_plainly(&routes[i], path) && rule.len > best_len)
			best_len = rule.len;
	}
	return best_len;
}

static void random_path(char *out, size_t elements)
{
	size_t len = 0;

	for (size_t i = 0; i < elements; i++) {
		out[len++] = '/';
		for (int bytes = rand() % 3; bytes >= 0; bytes--)
			out[len++] = "ab-"[rand() % 3];
	}
	if (elements == 0 || rand() % 4 == 0)
		out[len++] = '/';
	out[len] = '\0';
}

static void random_rules_match_as_reading_them_one_by_one(void **state)
{
	(void)state;
	srand(7);
	for (int round = 0; round < 200; round++) {
		char texts[40][32], path[32];
		struct route routes[40];
		struct host *host;

		for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
			random_path(texts[i], (size_t)rand() % 5);
			routes[i] = (struct route){.path = texts[i], .type = (enum path_type)(rand() % 3)};
		}
		host = host_new("h", false, routes, ARRAY_LEN(routes), NULL);
		for (int i = 0; i < 100; i++) {
			const struct route *found;
			size_t best_len;

			random_path(path, (size_t)rand() % 6);
			found = host_route(host, str_of(path));
			best_len = longest_plain_match(routes, ARRAY_LEN(routes), str_of(path));
			if (best_len == 0) {
				assert_ptr_equal(found, host->fallback);
				continue;
			}
			assert_true(matches_plainly(found, str_of(path)));
			assert_int_equal(found->path_len, best_len);
		}
		host_unref(host);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_plain_path_is_its_own_normal_form),
	    cmocka_unit_test(dot_segments_are_resolved),
	    cmocka_unit_test(repeated_slashes_are_merged),
	    cmocka_unit_test(escapes_are_decoded_before_segments_are_resolved),
	    cmocka_unit_test(a_path_above_the_root_is_refused),
	    cmocka_unit_test(bad_escapes_and_nul_bytes_are_refused),
	    cmocka_unit_test(what_is_no_path_is_refused),
	    cmocka_unit_test(an_exact_path_matches_only_itself_byte_for_byte),
	    cmocka_unit_test(an_exact_path_with_a_slash_is_another_path),
	    cmocka_unit_test(a_prefix_matches_by_elements),
	    cmocka_unit_test(the_trailing_slash_of_a_prefix_rule_is_ignored),
	    cmocka_unit_test(the_root_prefix_matches_everything),
	    cmocka_unit_test(implementation_specific_is_a_prefix_and_empty_means_the_root),
	    cmocka_unit_test(the_longest_path_wins),
	    cmocka_unit_test(exact_beats_prefix_at_equal_length),
	    cmocka_unit_test(an_exact_root_is_only_the_root),
	    cmocka_unit_test(prefix_and_implementation_specific_are_equals_the_first_given_wins),
	    cmocka_unit_test(of_two_equal_rules_the_first_given_wins),
	    cmocka_unit_test(siblings_that_sort_between_a_prefix_and_its_children_do_not_hide_it),
	    cmocka_unit_test(a_host_without_routes_answers_with_its_fallback),
	    cmocka_unit_test(routes_are_listed_by_preference),
	    cmocka_unit_test(random_rules_match_as_reading_them_one_by_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
