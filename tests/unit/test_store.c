/* conf/store: what listeners hear, complete lists, and who owns objects. */
/* LINK: conf/store.c conf/object.c base/map.c base/str.c base/arena.c */
/* LIBS: -lcrypto -lxxhash */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "conf/store.h"

/* Writes down what it hears: "+web" added, "~web" changed, "-web" deleted, "." settled. */
struct recorder {
	struct store_listener listener;
	char heard[256];
};

static void hear(struct recorder *recorder, const char *sign, const char *name)
{
	size_t used = strlen(recorder->heard);

	snprintf(recorder->heard + used, sizeof(recorder->heard) - used, "%s%s", sign, name);
}

static void on_changed(void *ctx, enum kind kind, struct object *old, struct object *new)
{
	(void)kind;
	hear(ctx, !old ? "+" : !new ? "-" : "~", new ? new->name : old->name);
}

static void on_settled(void *ctx)
{
	hear(ctx, ".", "");
}

struct fixture {
	struct store *store;
	struct recorder recorder;
};

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	fixture->store = store_new();
	fixture->recorder.listener = (struct store_listener){
	    .kinds = KIND_BIT(KIND_SERVICE) | KIND_BIT(KIND_NODE),
	    .changed = on_changed,
	    .settled = on_settled,
	    .ctx = &fixture->recorder,
	};
	*state = fixture;
	return store_listen(fixture->store, &fixture->recorder.listener);
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	store_free(fixture->store);
	free(fixture);
	return 0;
}

static struct object *object_made(enum kind kind, const char *ns, const char *name, const char *version)
{
	struct object *object = object_new(kind);

	object->ns = arena_dup(&object->arena, str_of(ns));
	object->name = arena_dup(&object->arena, str_of(name));
	object->resource_version = arena_dup(&object->arena, str_of(version));
	return object;
}

static void put(struct fixture *fixture, const char *name, const char *version)
{
	assert_int_equal(store_put(fixture->store, object_made(KIND_SERVICE, "shop", name, version)), 0);
}

static void assert_heard(struct fixture *fixture, const char *expected)
{
	assert_string_equal(fixture->recorder.heard, expected);
	fixture->recorder.heard[0] = '\0';
}

static void a_listener_hears_of_added_changed_and_deleted(void **state)
{
	struct fixture *fixture = *state;

	put(fixture, "web", "1");
	put(fixture, "web", "2");
	store_delete(fixture->store, KIND_SERVICE, STR_LIT("shop"), STR_LIT("web"));
	store_delete(fixture->store, KIND_SERVICE, STR_LIT("shop"), STR_LIT("web"));
	assert_heard(fixture, "+web~web-web");
	assert_int_equal(store_count(fixture->store, KIND_SERVICE), 0);
}

static void settle_speaks_once_and_only_after_a_change(void **state)
{
	struct fixture *fixture = *state;

	store_settle(fixture->store);
	put(fixture, "web", "1");
	put(fixture, "api", "1");
	store_settle(fixture->store);
	store_settle(fixture->store);
	assert_heard(fixture, "+web+api.");
}

static void other_kinds_are_not_heard_of(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(store_put(fixture->store, object_made(KIND_SECRET, "shop", "key", "1")), 0);
	store_set_synced(fixture->store, KIND_BIT(KIND_SECRET));
	store_settle(fixture->store);
	assert_heard(fixture, "");
}

static void the_same_version_put_again_is_not_announced(void **state)
{
	struct fixture *fixture = *state;

	put(fixture, "web", "7");
	put(fixture, "web", "7");
	assert_heard(fixture, "+web");
	put(fixture, "api", "");
	put(fixture, "api", "");
	assert_heard(fixture, "+api~api");
}

static void becoming_synced_is_a_reason_to_settle_once(void **state)
{
	struct fixture *fixture = *state;

	store_set_synced(fixture->store, KIND_BIT(KIND_SERVICE));
	store_settle(fixture->store);
	store_set_synced(fixture->store, KIND_BIT(KIND_SERVICE));
	store_settle(fixture->store);
	assert_heard(fixture, ".");
	assert_true(store_synced(fixture->store, KIND_BIT(KIND_SERVICE)));
	assert_false(store_synced(fixture->store, KIND_BIT(KIND_SERVICE) | KIND_BIT(KIND_NODE)));
}

static void a_list_deletes_at_its_end_what_it_did_not_hold(void **state)
{
	struct fixture *fixture = *state;

	put(fixture, "gone", "1");
	put(fixture, "same", "2");
	put(fixture, "broken", "3");
	assert_heard(fixture, "+gone+same+broken");
	store_list_begin(fixture->store, KIND_SERVICE);
	put(fixture, "same", "2");
	put(fixture, "new", "4");
	store_list_keep(fixture->store, KIND_SERVICE, STR_LIT("shop"), STR_LIT("broken"));
	store_list_keep(fixture->store, KIND_SERVICE, STR_LIT("shop"), STR_LIT("never-seen"));
	assert_heard(fixture, "+new");
	assert_false(store_synced(fixture->store, KIND_BIT(KIND_SERVICE)));
	store_list_end(fixture->store, KIND_SERVICE);
	assert_heard(fixture, "-gone");
	assert_true(store_synced(fixture->store, KIND_BIT(KIND_SERVICE)));
	assert_int_equal(store_count(fixture->store, KIND_SERVICE), 3);
}

static void an_aborted_list_deletes_nothing(void **state)
{
	struct fixture *fixture = *state;

	put(fixture, "web", "1");
	store_list_begin(fixture->store, KIND_SERVICE);
	put(fixture, "api", "2");
	store_list_abort(fixture->store, KIND_SERVICE);
	assert_false(store_synced(fixture->store, KIND_BIT(KIND_SERVICE)));
	store_list_begin(fixture->store, KIND_SERVICE);
	put(fixture, "web", "1");
	store_list_end(fixture->store, KIND_SERVICE);
	assert_heard(fixture, "+web+api-api");
}

static void a_large_list_is_emptied_whole(void **state)
{
	struct fixture *fixture = *state;
	char name[16];

	store_unlisten(fixture->store, &fixture->recorder.listener);
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "web-%d", i);
		put(fixture, name, "1");
	}
	assert_int_equal(store_count(fixture->store, KIND_SERVICE), 1000);
	store_list_begin(fixture->store, KIND_SERVICE);
	store_list_end(fixture->store, KIND_SERVICE);
	assert_int_equal(store_count(fixture->store, KIND_SERVICE), 0);
	assert_heard(fixture, "");
}

static void objects_are_found_by_namespace_and_name(void **state)
{
	struct fixture *fixture = *state;
	char longest[600];

	put(fixture, "web", "1");
	assert_string_equal(store_get(fixture->store, KIND_SERVICE, "shop", "web")->name, "web");
	assert_null(store_get(fixture->store, KIND_SERVICE, "other", "web"));
	assert_null(store_get(fixture->store, KIND_SECRET, "shop", "web"));
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_null(store_get(fixture->store, KIND_SERVICE, "shop", longest));
	assert_int_equal(store_put(fixture->store, object_made(KIND_SERVICE, "shop", longest, "1")),
			 -ENAMETOOLONG);
}

static void a_reference_outlives_the_store(void **state)
{
	struct fixture *fixture = *state;
	struct object *kept;

	put(fixture, "web", "1");
	kept = object_ref(store_get(fixture->store, KIND_SERVICE, "shop", "web"));
	put(fixture, "web", "2");
	assert_string_equal(kept->resource_version, "1");
	object_unref(kept);
}

static void iteration_visits_every_object_of_the_kind(void **state)
{
	struct fixture *fixture = *state;
	size_t visited = 0;

	put(fixture, "web", "1");
	put(fixture, "api", "1");
	assert_int_equal(store_put(fixture->store, object_made(KIND_NODE, "", "n1", "1")), 0);
	for (struct map_iter it = store_begin(fixture->store, KIND_SERVICE); map_next(&it);)
		visited += ((struct object *)it.value)->kind == KIND_SERVICE;
	assert_int_equal(visited, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_listener_hears_of_added_changed_and_deleted, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(settle_speaks_once_and_only_after_a_change, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(other_kinds_are_not_heard_of, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(the_same_version_put_again_is_not_announced, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(becoming_synced_is_a_reason_to_settle_once, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_list_deletes_at_its_end_what_it_did_not_hold, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(an_aborted_list_deletes_nothing, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_large_list_is_emptied_whole, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(objects_are_found_by_namespace_and_name, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_reference_outlives_the_store, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(iteration_visits_every_object_of_the_kind, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
