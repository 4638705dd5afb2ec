/* ingress/annotations: the table of annotations, their values, and what is found wrong with them. */
/* LINK: ingress/annotations.c ingress/annotations_value.c ingress/finding.c conf/object.c */
/* LINK: base/addr.c base/arena.c base/str.c */
/* LIBS: -lcrypto */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "ingress/annotations.h"
#include "ingress/annotations_value.h"

#define PREFIX "nginx.ingress.kubernetes.io"

static const struct ingress_settings settings = {.body_max_bytes = 1 << 20};

struct compiled {
	struct annotations annotations;
	struct findings findings;
	struct arena arena;
};

static struct compiled compile_all(struct kv *items, size_t count, bool allow_cross_namespace)
{
	const struct annotations_options options = {
	    .prefix = PREFIX, .settings = &settings, .allow_cross_namespace = allow_cross_namespace};
	struct object object = {
	    .kind = KIND_INGRESS, .ns = "shop", .name = "web", .annotations = {items, count}};
	struct compiled compiled = {0};

	assert_int_equal(annotations_compile(&object, &options, &compiled.arena, &compiled.annotations,
					     &compiled.findings),
			 0);
	return compiled;
}

static struct compiled compile_one(const char *key, const char *value)
{
	struct kv item = {key, value};

	return compile_all(&item, 1, false);
}

static void compiled_done(struct compiled *compiled)
{
	findings_done(&compiled->findings);
	arena_done(&compiled->arena);
}

static void assert_found(const struct compiled *compiled, const char *field, const char *why)
{
	assert_int_equal(compiled->findings.count, 1);
	assert_string_equal(compiled->findings.items[0].field, field);
	if (!strstr(compiled->findings.items[0].why, why))
		fail_msg("%s", compiled->findings.items[0].why);
}

/* ---- defaults and the table ---- */

static void without_annotations_the_defaults_are_ingress_nginxs(void **state)
{
	struct compiled compiled = compile_all(NULL, 0, false);
	const struct annotations *annotations = &compiled.annotations;

	(void)state;
	assert_false(annotations->denied || annotations->auth_basic || annotations->force_ssl_redirect);
	assert_true(annotations->ssl_redirect);
	assert_int_equal(annotations->body_max_bytes, 1 << 20);
	assert_int_equal(annotations->connect_timeout_s, 5);
	assert_int_equal(annotations->read_timeout_s, 60);
	assert_int_equal(annotations->send_timeout_s, 60);
	assert_int_equal(annotations->tries, 3);
	assert_string_equal(annotations->auth_realm, "");
	compiled_done(&compiled);
}

static void every_annotation_becomes_its_field(void **state)
{
	struct kv items[] = {
	    {PREFIX "/ssl-redirect", "false"},          {PREFIX "/force-ssl-redirect", "true"},
	    {PREFIX "/proxy-body-size", "8m"},          {PREFIX "/proxy-connect-timeout", "7"},
	    {PREFIX "/proxy-read-timeout", "3600"},     {PREFIX "/proxy-send-timeout", "11"},
	    {PREFIX "/proxy-next-upstream-tries", "2"}, {PREFIX "/auth-type", "basic"},
	    {PREFIX "/auth-secret", "users"},           {PREFIX "/auth-secret-type", "auth-map"},
	    {PREFIX "/auth-realm", "The \"Shop\""},
	};
	struct compiled compiled = compile_all(items, ARRAY_LEN(items), false);
	const struct annotations *annotations = &compiled.annotations;

	(void)state;
	assert_false(annotations->ssl_redirect);
	assert_true(annotations->force_ssl_redirect);
	assert_int_equal(annotations->body_max_bytes, 8 << 20);
	assert_int_equal(annotations->connect_timeout_s, 7);
	assert_int_equal(annotations->read_timeout_s, 3600);
	assert_int_equal(annotations->send_timeout_s, 11);
	assert_int_equal(annotations->tries, 2);
	assert_true(annotations->auth_basic);
	assert_string_equal(annotations->auth_secret_ns, "shop");
	assert_string_equal(annotations->auth_secret_name, "users");
	assert_int_equal(annotations->auth_secret_type, AUTH_SECRET_MAP);
	assert_string_equal(annotations->auth_realm, "The \"Shop\"");
	assert_int_equal(compiled.findings.count, 0);
	compiled_done(&compiled);
}

static void an_annotation_of_another_prefix_is_nobodys_business(void **state)
{
	struct kv items[] = {{"example.com/ssl-redirect", "nonsense"},
			     {PREFIX "x/ssl-redirect", "nonsense"},
			     {PREFIX, "nonsense"},
			     {"kubernetes.io/ingress.class", "nginx"}};
	struct compiled compiled = compile_all(items, ARRAY_LEN(items), false);

	(void)state;
	assert_int_equal(compiled.findings.count, 0);
	assert_true(compiled.annotations.ssl_redirect);
	compiled_done(&compiled);
}

static void an_unknown_annotation_under_the_prefix_is_found(void **state)
{
	struct compiled compiled = compile_one(PREFIX "/no-such-thing", "x");

	(void)state;
	assert_found(&compiled, "metadata.annotations[" PREFIX "/no-such-thing]",
		     "not supported, without effect");
	assert_false(compiled.annotations.denied);
	compiled_done(&compiled);
}

static void keys_are_case_sensitive(void **state)
{
	struct compiled compiled = compile_one(PREFIX "/SSL-Redirect", "false");

	(void)state;
	assert_true(compiled.annotations.ssl_redirect);
	assert_int_equal(compiled.findings.count, 1);
	compiled_done(&compiled);
}

/* ---- value rules ---- */

static void values_are_trimmed_and_an_empty_one_is_absent(void **state)
{
	struct kv items[] = {
	    {PREFIX "/proxy-body-size", "  2m\n"}, {PREFIX "/ssl-redirect", " \t"}, {PREFIX "/auth-url", ""}};
	struct compiled compiled = compile_all(items, ARRAY_LEN(items), false);

	(void)state;
	assert_int_equal(compiled.annotations.body_max_bytes, 2 << 20);
	assert_true(compiled.annotations.ssl_redirect);
	assert_int_equal(compiled.findings.count, 0);
	compiled_done(&compiled);
}

static void a_bad_value_leaves_the_default_and_is_found(void **state)
{
	static const struct {
		const char *name, *value, *why;
	} cases[] = {
	    {"ssl-redirect", "yes", "expected true or false, got \"yes\""},
	    {"proxy-body-size", "8 mega", "expected a size"},
	    {"proxy-body-size", "-1", "expected a size"},
	    {"proxy-connect-timeout", "5s", "expected whole seconds"},
	    {"proxy-read-timeout", "0", "expected whole seconds"},
	    {"proxy-next-upstream-tries", "many", "expected a number"},
	    {"proxy-body-size", "8m\nX", "expected one line"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char key[128], field[160];
		struct compiled compiled;

		snprintf(key, sizeof(key), PREFIX "/%s", cases[i].name);
		snprintf(field, sizeof(field), "metadata.annotations[%s]", key);
		compiled = compile_one(key, cases[i].value);
		assert_found(&compiled, field, cases[i].why);
		assert_false(compiled.annotations.denied);
		assert_true(compiled.annotations.ssl_redirect);
		assert_int_equal(compiled.annotations.body_max_bytes, 1 << 20);
		assert_int_equal(compiled.annotations.connect_timeout_s, 5);
		assert_int_equal(compiled.annotations.tries, 3);
		compiled_done(&compiled);
	}
}

static void a_bad_value_of_what_guards_access_denies(void **state)
{
	static const struct {
		const char *name, *value;
	} cases[] = {{"auth-type", "digest"},
		     {"auth-type", "none"},
		     {"auth-secret", "not a name"},
		     {"auth-secret", "other/users"},
		     {"auth-secret-type", "auth-ldap"},
		     {"auth-realm", "a\x01 b"},
		     {"auth-realm", "a\r\nSet-Cookie: b"},
		     {"auth-url", "https://auth.example.com"},
		     {"auth-tls-secret", "shop/ca"},
		     {"denylist-source-range", "10.0.0.0/8"},
		     {"whitelist-source-range", "10.0.0.0/8"},
		     {"allowlist-source-range", "10.0.0.0/8"},
		     {"allowlist-source-range", "everybody"}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char key[128];
		struct compiled compiled;

		snprintf(key, sizeof(key), PREFIX "/%s", cases[i].name);
		compiled = compile_one(key, cases[i].value);
		if (!compiled.annotations.denied)
			fail_msg("%s: %s is let through", cases[i].name, cases[i].value);
		assert_int_equal(compiled.findings.count, 1);
		assert_non_null(strstr(compiled.findings.items[0].why, "answer 503"));
		compiled_done(&compiled);
	}
}

static void an_allow_list_of_everybody_is_none(void **state)
{
	struct compiled compiled = compile_one(PREFIX "/whitelist-source-range", "0.0.0.0/0,::/0");

	(void)state;
	assert_false(compiled.annotations.denied);
	assert_int_equal(compiled.findings.count, 0);
	compiled_done(&compiled);
}

static void auth_type_without_a_secret_denies(void **state)
{
	struct compiled compiled = compile_one(PREFIX "/auth-type", "basic");

	(void)state;
	assert_true(compiled.annotations.denied);
	assert_found(&compiled, "metadata.annotations[" PREFIX "/auth-type]", "auth-secret is missing");
	compiled_done(&compiled);
}

static void auth_secret_without_a_type_has_no_effect_and_is_found(void **state)
{
	struct compiled compiled = compile_one(PREFIX "/auth-secret", "users");

	(void)state;
	assert_false(compiled.annotations.denied || compiled.annotations.auth_basic);
	assert_found(&compiled, "metadata.annotations[" PREFIX "/auth-secret]", "auth-type is missing");
	compiled_done(&compiled);
}

static void an_auth_secret_of_another_namespace_needs_to_be_allowed(void **state)
{
	struct kv items[] = {{PREFIX "/auth-type", "basic"}, {PREFIX "/auth-secret", "other/users"}};
	struct compiled refused = compile_all(items, 2, false), allowed = compile_all(items, 2, true);

	(void)state;
	assert_true(refused.annotations.denied);
	assert_found(&refused, "metadata.annotations[" PREFIX "/auth-secret]",
		     "another namespace is not allowed");
	assert_false(allowed.annotations.denied);
	assert_string_equal(allowed.annotations.auth_secret_ns, "other");
	compiled_done(&refused);
	compiled_done(&allowed);
}

static void no_limit_of_tries_is_a_high_one(void **state)
{
	struct compiled compiled = compile_one(PREFIX "/proxy-next-upstream-tries", "0");

	(void)state;
	assert_in_range(compiled.annotations.tries, 10, 1000);
	compiled_done(&compiled);
}

/* ---- values ---- */

static void booleans_are_gos(void **state)
{
	static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True"};
	static const char *const no[] = {"0", "f", "F", "false", "FALSE", "False"};
	static const char *const neither[] = {"", "yes", "on", "tRue", "2", "true "};
	bool value;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
		assert_int_equal(value_bool(str_of(yes[i]), &value), 0);
		assert_true(value);
		assert_int_equal(value_bool(str_of(no[i]), &value), 0);
		assert_false(value);
		assert_int_equal(value_bool(str_of(neither[i]), &value), -EINVAL);
	}
}

static void sizes_have_a_unit_of_either_case_or_none(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {{"0", 0},     {"1", 1},        {"5b", 5},          {"4k", 4096},
		    {"4K", 4096}, {"8m", 8388608}, {"1G", 1073741824}, {"8589934591g", 8589934591ull << 30}};
	static const char *const bad[] = {"",    "m",   "1t",          "1.5m",
					  "8mb", " 8m", "8589934592g", "18446744073709551616"};
	uint64_t bytes;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_int_equal(value_size(str_of(good[i].text), &bytes), 0);
		assert_true(bytes == good[i].bytes);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(value_size(str_of(bad[i]), &bytes), -EINVAL);
}

static void object_names_are_dns_names_with_or_without_a_namespace(void **state)
{
	static const char *const bad[] = {"", "/", "a/", "/a", "a/b/c", "A", "a b", "-a", "a_b", ".."};
	struct str ns, name;

	(void)state;
	assert_int_equal(value_object_name(STR_LIT("users"), &ns, &name), 0);
	assert_true(ns.len == 0 && str_is(name, "users"));
	assert_int_equal(value_object_name(STR_LIT("shop/users.v1"), &ns, &name), 0);
	assert_true(str_is(ns, "shop") && str_is(name, "users.v1"));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(value_object_name(str_of(bad[i]), &ns, &name), -EINVAL);
}

static void lists_of_prefixes_say_whether_they_hold_everybody(void **state)
{
	bool covers;

	(void)state;
	assert_int_equal(value_cidrs_cover_ipv4(STR_LIT("10.0.0.0/8, 0.0.0.0/0"), &covers), 0);
	assert_true(covers);
	assert_int_equal(value_cidrs_cover_ipv4(STR_LIT("10.1.2.3,::/0"), &covers), 0);
	assert_false(covers);
	assert_int_equal(value_cidrs_cover_ipv4(STR_LIT("10.0.0.0/8,"), &covers), -EINVAL);
	assert_int_equal(value_cidrs_cover_ipv4(STR_LIT("10.0.0.0/33"), &covers), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(without_annotations_the_defaults_are_ingress_nginxs),
	    cmocka_unit_test(every_annotation_becomes_its_field),
	    cmocka_unit_test(an_annotation_of_another_prefix_is_nobodys_business),
	    cmocka_unit_test(an_unknown_annotation_under_the_prefix_is_found),
	    cmocka_unit_test(keys_are_case_sensitive),
	    cmocka_unit_test(values_are_trimmed_and_an_empty_one_is_absent),
	    cmocka_unit_test(a_bad_value_leaves_the_default_and_is_found),
	    cmocka_unit_test(a_bad_value_of_what_guards_access_denies),
	    cmocka_unit_test(an_allow_list_of_everybody_is_none),
	    cmocka_unit_test(auth_type_without_a_secret_denies),
	    cmocka_unit_test(auth_secret_without_a_type_has_no_effect_and_is_found),
	    cmocka_unit_test(an_auth_secret_of_another_namespace_needs_to_be_allowed),
	    cmocka_unit_test(no_limit_of_tries_is_a_high_one),
	    cmocka_unit_test(booleans_are_gos),
	    cmocka_unit_test(sizes_have_a_unit_of_either_case_or_none),
	    cmocka_unit_test(object_names_are_dns_names_with_or_without_a_namespace),
	    cmocka_unit_test(lists_of_prefixes_say_whether_they_hold_everybody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
