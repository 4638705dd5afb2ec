/* ingress/snapshot: drafts and what is seen of them, sharing between generations, finding hosts (design:
 * Ingress a.1). */
/* LINK: ingress/snapshot.c ingress/snapshot_host.c ingress/snapshot_table.c */
/* LINK: ingress/snapshot_upstream.c ingress/route.c ingress/auth.c ingress/auth_hash.c */
/* LINK: ingress/finding.c conf/object.c base/addr.c base/arena.c base/err.c base/map.c base/str.c */
/* LIBS: -laprutil-1 -lapr-1 -lssl -lcrypto -lxxhash */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/ssl.h>

#include "base/cleanup.h"
#include "ingress/snapshot_draft.h"
#include "ingress/snapshot_table.h"

static const struct ingress_settings settings = {.body_max_bytes = 1 << 20};

static struct draft *draft_of_hosts(const char *const *names, size_t count)
{
	struct draft *draft = draft_new(&settings, NULL);

	assert_non_null(draft);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(draft_put_host(draft, host_new(names[i], false, NULL, 0, NULL)), 0);
	return draft;
}

static void assert_host(const struct snapshot *snapshot, const char *authority, const char *expected)
{
	assert_string_equal(snapshot_host(snapshot, str_of(authority))->name, expected);
}

static void an_exact_host_beats_a_wildcard_and_a_wildcard_the_catch_all(void **state)
{
	const char *names[] = {"shop.example.com", "*.example.com"};
	struct draft *draft = draft_of_hosts(names, ARRAY_LEN(names));
	struct snapshot *snapshot = snapshot_from_draft(draft);

	(void)state;
	assert_host(snapshot, "shop.example.com", "shop.example.com");
	assert_host(snapshot, "other.example.com", "*.example.com");
	assert_host(snapshot, "example.com", "_");
	assert_host(snapshot, "nobody.io", "_");
	assert_host(snapshot, "", "_");
	snapshot_unref(snapshot);
	draft_free(draft);
}

static void a_wildcard_covers_exactly_one_label(void **state)
{
	const char *names[] = {"*.foo.com"};
	struct draft *draft = draft_of_hosts(names, ARRAY_LEN(names));
	struct snapshot *snapshot = snapshot_from_draft(draft);

	(void)state;
	assert_host(snapshot, "bar.foo.com", "*.foo.com");
	assert_host(snapshot, "b_a-r1.foo.com", "*.foo.com");
	assert_host(snapshot, "foo.com", "_");
	assert_host(snapshot, "a.b.foo.com", "_");
	assert_host(snapshot, ".foo.com", "_");
	assert_host(snapshot, "b~.foo.com", "_");
	snapshot_unref(snapshot);
	draft_free(draft);
}

static void case_port_and_trailing_dot_of_the_request_host_do_not_matter(void **state)
{
	const char *names[] = {"shop.example.com"};
	struct draft *draft = draft_of_hosts(names, ARRAY_LEN(names));
	struct snapshot *snapshot = snapshot_from_draft(draft);

	(void)state;
	assert_host(snapshot, "Shop.EXAMPLE.com", "shop.example.com");
	assert_host(snapshot, "shop.example.com:8080", "shop.example.com");
	assert_host(snapshot, "shop.example.com.", "shop.example.com");
	assert_host(snapshot, "SHOP.example.com.:443", "shop.example.com");
	snapshot_unref(snapshot);
	draft_free(draft);
}

static void addresses_and_oversized_names_get_the_catch_all(void **state)
{
	struct draft *draft = draft_of_hosts(NULL, 0);
	struct snapshot *snapshot = snapshot_from_draft(draft);
	char long_name[400];

	(void)state;
	memset(long_name, 'a', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	assert_host(snapshot, "[::1]:80", "_");
	assert_host(snapshot, "127.0.0.1:80", "_");
	assert_host(snapshot, ":80", "_");
	assert_host(snapshot, ".", "_");
	assert_host(snapshot, long_name, "_");
	snapshot_unref(snapshot);
	draft_free(draft);
}

static void editing_a_draft_leaves_earlier_snapshots_alone(void **state)
{
	const char *names[] = {"a.io", "b.io"};
	struct draft *draft = draft_of_hosts(names, ARRAY_LEN(names));
	struct snapshot *before = snapshot_from_draft(draft);
	struct route route = {.path = "/new", .type = PATH_PREFIX, .service = "s", .upstream_id = 9};
	struct snapshot *after;

	(void)state;
	assert_int_equal(draft_put_host(draft, host_new("a.io", true, &route, 1, NULL)), 0);
	assert_int_equal(draft_remove_host(draft, "b.io"), 0);
	assert_int_equal(draft_put_host(draft, host_new("c.io", false, NULL, 0, NULL)), 0);
	after = snapshot_from_draft(draft);
	draft_free(draft);
	assert_int_equal(snapshot_host(before, STR_LIT("a.io"))->route_count, 0);
	assert_host(before, "b.io", "b.io");
	assert_host(before, "c.io", "_");
	assert_int_equal(snapshot_host(after, STR_LIT("a.io"))->route_count, 1);
	assert_host(after, "b.io", "_");
	assert_host(after, "c.io", "c.io");
	snapshot_unref(before);
	snapshot_unref(after);
}

static void a_host_that_did_not_change_is_the_same_object_in_both_generations(void **state)
{
	const char *names[] = {"a.io", "b.io"};
	struct draft *draft = draft_of_hosts(names, ARRAY_LEN(names));
	struct snapshot *before = snapshot_from_draft(draft), *after;

	(void)state;
	assert_int_equal(draft_put_host(draft, host_new("a.io", false, NULL, 0, NULL)), 0);
	after = snapshot_from_draft(draft);
	assert_ptr_not_equal(snapshot_host(before, STR_LIT("a.io")), snapshot_host(after, STR_LIT("a.io")));
	assert_ptr_equal(snapshot_host(before, STR_LIT("b.io")), snapshot_host(after, STR_LIT("b.io")));
	draft_free(draft);
	snapshot_unref(after);
	snapshot_unref(before);
}

static void removing_the_catch_all_puts_an_empty_one_back(void **state)
{
	struct draft *draft = draft_of_hosts(NULL, 0);
	struct route route = {.path = "/", .type = PATH_PREFIX, .service = "s"};
	struct snapshot *snapshot;

	(void)state;
	assert_int_equal(draft_put_host(draft, host_new("_", false, &route, 1, NULL)), 0);
	assert_int_equal(draft_remove_host(draft, "_"), 0);
	snapshot = snapshot_from_draft(draft);
	assert_int_equal(snapshot_host(snapshot, STR_LIT("any"))->route_count, 0);
	snapshot_unref(snapshot);
	draft_free(draft);
}

/* ---- upstreams ---- */

static struct endpoint_addr endpoint(const char *text)
{
	struct endpoint_addr addr;

	assert_int_equal(endpoint_addr_parse(str_of(text), &addr), 0);
	return addr;
}

static void a_route_finds_its_upstream_by_id_in_each_generation(void **state)
{
	struct draft *draft = draft_new(&settings, NULL);
	struct endpoint_addr pods[] = {endpoint("10.0.0.2:80"), endpoint("10.0.0.1:80"),
				       endpoint("10.0.0.2:80")};
	struct route route = {.path = "/", .type = PATH_PREFIX, .upstream_id = 7}, nowhere = {.path = "/"};
	struct snapshot *before, *after;

	(void)state;
	assert_int_equal(draft_put_upstream(draft, upstream_new(7, "ns-web-80", false, pods, 3)), 0);
	before = snapshot_from_draft(draft);
	assert_int_equal(draft_put_upstream(draft, upstream_new(7, "ns-web-80", false, NULL, 0)), 0);
	after = snapshot_from_draft(draft);
	assert_int_equal(snapshot_route_upstream(before, &route)->endpoint_count, 2);
	assert_memory_equal(&snapshot_route_upstream(before, &route)->endpoints[0], &pods[1],
			    sizeof(pods[0]));
	assert_int_equal(snapshot_route_upstream(after, &route)->endpoint_count, 0);
	assert_null(snapshot_route_upstream(after, &nowhere));
	assert_int_equal(snapshot_upstream_count(after), 1);
	assert_int_equal(draft_remove_upstream(draft, 7), 0);
	assert_null(draft_upstream(draft, 7));
	assert_non_null(snapshot_upstream(after, 7));
	assert_null(snapshot_upstream(after, 8));
	snapshot_unref(before);
	snapshot_unref(after);
	draft_free(draft);
}

/* ---- certificates ---- */

static void the_certificate_is_the_exact_names_then_the_wildcards_then_the_default(void **state)
{
	SSL_CTX *fallback = SSL_CTX_new(TLS_server_method()), *exact = SSL_CTX_new(TLS_server_method());
	SSL_CTX *wildcard = SSL_CTX_new(TLS_server_method());
	struct draft *draft = draft_new(&settings, fallback);
	struct snapshot *snapshot;

	(void)state;
	assert_int_equal(draft_put_certificate(draft, "shop.example.com", exact), 0);
	assert_int_equal(draft_put_certificate(draft, "*.example.com", wildcard), 0);
	snapshot = snapshot_from_draft(draft);
	assert_int_equal(draft_remove_certificate(draft, "shop.example.com"), 0);
	assert_null(draft_certificate(draft, "shop.example.com"));
	draft_free(draft);
	assert_ptr_equal(snapshot_certificate(snapshot, STR_LIT("shop.example.com")), exact);
	assert_ptr_equal(snapshot_certificate(snapshot, STR_LIT("other.example.com")), wildcard);
	assert_ptr_equal(snapshot_certificate(snapshot, STR_LIT("a.b.example.com")), fallback);
	assert_ptr_equal(snapshot_certificate(snapshot, STR_LIT("")), fallback);
	snapshot_unref(snapshot);
	SSL_CTX_free(fallback);
	SSL_CTX_free(exact);
	SSL_CTX_free(wildcard);
}

/* ---- the table ---- */

struct item {
	unsigned refs;
	char key[16];
};

static struct str item_key(const void *item)
{
	return str_of(((const struct item *)item)->key);
}

static void item_ref(void *item)
{
	((struct item *)item)->refs++;
}

static void item_unref(void *item)
{
	if (--((struct item *)item)->refs == 0)
		free(item);
}

static const struct table_ops item_ops = {item_key, item_ref, item_unref};

static struct item *item_new(int number)
{
	struct item *item = calloc(1, sizeof(*item));

	assert_non_null(item);
	item->refs = 1;
	snprintf(item->key, sizeof(item->key), "%d", number);
	return item;
}

/* present[i]: is item i in the table? */
static void assert_holds(const struct table *table, const bool *present, int count)
{
	size_t expected = 0;

	for (int i = 0; i < count; i++) {
		char key[16];
		const struct item *item;

		snprintf(key, sizeof(key), "%d", i);
		item = table_get(table, str_of(key));
		assert_int_equal(item != NULL, present[i]);
		if (item)
			assert_string_equal(item->key, key);
		expected += present[i];
	}
	assert_int_equal(table->count, expected);
}

enum { ITEMS = 300 };

static void a_table_and_its_copies_hold_what_each_was_given_through_random_edits(void **state)
{
	struct table table = {.ops = &item_ops}, copy = {.ops = &item_ops};
	bool present[ITEMS] = {false}, copied[ITEMS] = {false};

	(void)state;
	srand(11);
	for (int round = 0; round < 4000; round++) {
		int number = rand() % ITEMS;
		struct item *item = item_new(number);

		if (rand() % 2) {
			assert_int_equal(table_put(&table, item), 0);
			present[number] = true;
		} else {
			assert_int_equal(table_remove(&table, str_of(item->key)), 0);
			present[number] = false;
			item_unref(item);
		}
		if (round % 97 == 0) {
			table_done(&copy);
			assert_int_equal(table_copy(&table, &copy), 0);
			memcpy(copied, present, sizeof(copied));
		}
		if (round % 31 == 0) {
			assert_holds(&table, present, ITEMS);
			assert_holds(&copy, copied, ITEMS);
		}
	}
	table_done(&table);
	assert_holds(&copy, copied, ITEMS);
	table_done(&copy);
}

/* ---- threads ---- */

static void *hold_and_drop(void *ctx)
{
	struct snapshot *snapshot = ctx;

	for (int i = 0; i < 2000; i++) {
		struct snapshot *mine = snapshot_ref(snapshot);

		(void)snapshot_host(mine, STR_LIT("a.io"));
		snapshot_unref(mine);
	}
	return snapshot_unref(snapshot);
}

static void the_last_holder_frees_whatever_thread_it_is(void **state)
{
	const char *names[] = {"a.io", "b.io"};
	struct draft *draft = draft_of_hosts(names, ARRAY_LEN(names));
	pthread_t threads[4];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
		assert_int_equal(pthread_create(&threads[i], NULL, hold_and_drop, snapshot_from_draft(draft)),
				 0);
		assert_int_equal(draft_put_host(draft, host_new("a.io", false, NULL, 0, NULL)), 0);
	}
	draft_free(draft);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		pthread_join(threads[i], NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_exact_host_beats_a_wildcard_and_a_wildcard_the_catch_all),
	    cmocka_unit_test(a_wildcard_covers_exactly_one_label),
	    cmocka_unit_test(case_port_and_trailing_dot_of_the_request_host_do_not_matter),
	    cmocka_unit_test(addresses_and_oversized_names_get_the_catch_all),
	    cmocka_unit_test(editing_a_draft_leaves_earlier_snapshots_alone),
	    cmocka_unit_test(a_host_that_did_not_change_is_the_same_object_in_both_generations),
	    cmocka_unit_test(removing_the_catch_all_puts_an_empty_one_back),
	    cmocka_unit_test(a_route_finds_its_upstream_by_id_in_each_generation),
	    cmocka_unit_test(the_certificate_is_the_exact_names_then_the_wildcards_then_the_default),
	    cmocka_unit_test(a_table_and_its_copies_hold_what_each_was_given_through_random_edits),
	    cmocka_unit_test(the_last_holder_frees_whatever_thread_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
