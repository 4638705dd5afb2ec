/* conf/files: manifests followed on disk by a real event loop and real inotify. */
/* LINK: conf/files.c conf/path_watch.c conf/manifests.c conf/manifest_io.c conf/store.c */
/* LINK: conf/decode.c conf/decode_meta.c conf/decode_service.c conf/decode_endpoints.c */
/* LINK: conf/decode_ingress.c conf/decode_misc.c conf/decode_secret.c conf/field.c conf/names.c */
/* LINK: conf/object.c conf/node.c conf/node_json.c conf/node_yaml.c conf/node_scalar.c */
/* LINK: base/addr.c base/arena.c base/buf.c base/err.c base/map.c base/str.c */
/* LINK: base/log.c base/metrics.c */
/* LIBS: -ljansson -lyaml -lxxhash -lcrypto -lev -lm */
#include <errno.h>

#include <ev.h>

#include "base/buf.h"
#include "conf/files.h"
#include "conf/source.h"
#include "tests/unit/temp_dir.h"

#define CONFIG(name, value) \
	"---\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: " name " }\ndata: { v: " value " }\n"
#define WAIT_S 10.0

struct fixture {
	struct temp_dir dir;
	struct ev_loop *loop;
	struct store *store;
	struct store_listener listener;
	struct metrics *metrics;
	struct source *source;
	char path[PATH_MAX];
	int changes, settles;
};

static void on_changed(void *ctx, enum kind kind, struct object *old, struct object *new)
{
	struct fixture *fixture = ctx;

	(void)kind;
	(void)old;
	(void)new;
	fixture->changes++;
}

static void on_settled(void *ctx)
{
	struct fixture *fixture = ctx;

	fixture->settles++;
}

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	temp_dir_make(&fixture->dir);
	fixture->loop = ev_loop_new(EVFLAG_AUTO);
	fixture->store = store_new();
	fixture->metrics = metrics_new();
	fixture->listener =
	    (struct store_listener){KIND_BIT(KIND_CONFIGMAP), on_changed, on_settled, fixture};
	*state = fixture;
	return store_listen(fixture->store, &fixture->listener);
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	source_free(fixture->source);
	store_free(fixture->store);
	metrics_free(fixture->metrics);
	ev_loop_destroy(fixture->loop);
	temp_dir_remove(&fixture->dir);
	free(fixture);
	return 0;
}

/* name: in the test's directory; "" for the directory itself. */
static void follow(struct fixture *fixture, const char *name)
{
	const char *paths[] = {fixture->path};
	struct err err = {""};

	snprintf(fixture->path, sizeof(fixture->path), "%s", temp_path(&fixture->dir, name));
	fixture->source = source_files_new(fixture->loop, fixture->store, paths, 1, fixture->metrics, &err);
	assert_string_equal(err.text, "");
	assert_non_null(fixture->source);
}

/* "" when the object is not there. */
static const char *value_of(struct fixture *fixture, const char *name)
{
	const struct config_map *map =
	    (const struct config_map *)store_get(fixture->store, KIND_CONFIGMAP, "default", name);

	return map ? kv_get(&map->data, "v") : "";
}

static void on_timeout(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)timer;
	(void)events;
	ev_break(loop, EVBREAK_ALL);
}

static bool wait_for(struct fixture *fixture, const char *name, const char *value)
{
	ev_tstamp end = ev_time() + WAIT_S;

	while (strcmp(value_of(fixture, name), value) != 0 && ev_time() < end) {
		ev_timer timer;
		ev_timer_init(&timer, on_timeout, 0.5, 0.);
		ev_timer_start(fixture->loop, &timer);
		ev_run(fixture->loop, EVRUN_ONCE);
		ev_timer_stop(fixture->loop, &timer);
	}
	return strcmp(value_of(fixture, name), value) == 0;
}

#define assert_becomes(fixture, name, value) assert_true(wait_for(fixture, name, value))

static void everything_is_read_and_synced_before_new_returns(void **state)
{
	struct fixture *fixture = *state;
	struct buf text = {0};

	temp_write(&fixture->dir, "a.yaml", CONFIG("a", "x1") CONFIG("b", "x1") "---\nnothing: 1\n");
	follow(fixture, "");
	assert_string_equal(value_of(fixture, "a"), "x1");
	assert_true(store_synced(fixture->store, (1u << KIND_COUNT) - 1));
	assert_int_equal(fixture->settles, 1);
	assert_int_equal(metrics_render(fixture->metrics, &text), 0);
	buf_append_char(&text, '\0');
	assert_non_null(strstr(text.data, "fairlead_manifest_errors 1\n"));
	assert_non_null(strstr(text.data, "fairlead_manifest_objects 2\n"));
	buf_done(&text);
	assert_true(source_known(fixture->source, KIND_SECRET, "any", "thing"));
	assert_int_equal(source_want(fixture->source, KIND_SECRET, "any", "thing"), 0);
}

static void a_path_missing_at_the_start_is_an_error(void **state)
{
	struct fixture *fixture = *state;
	const char *paths[] = {"/nowhere"};
	struct err err;

	assert_null(source_files_new(fixture->loop, fixture->store, paths, 1, NULL, &err));
	assert_string_equal(err.text, "/nowhere: No such file or directory");
	assert_false(store_synced(fixture->store, KIND_BIT(KIND_SERVICE)));
}

static void changes_in_every_manner_are_followed(void **state)
{
	struct fixture *fixture = *state;

	follow(fixture, "");
	temp_write(&fixture->dir, "a.yaml", CONFIG("a", "x1"));
	assert_becomes(fixture, "a", "x1");
	temp_write(&fixture->dir, "a.yaml", CONFIG("a", "x2"));
	assert_becomes(fixture, "a", "x2");
	temp_replace(&fixture->dir, "a.yaml", CONFIG("a", "x3"));
	assert_becomes(fixture, "a", "x3");
	temp_remove(&fixture->dir, "a.yaml");
	assert_becomes(fixture, "a", "");
	temp_write(&fixture->dir, "b.yaml", CONFIG("b", "x1"));
	assert_becomes(fixture, "b", "x1");
	temp_write(&fixture->dir, "b.yaml", "");
	assert_becomes(fixture, "b", "");
}

static void run_for(struct fixture *fixture, double seconds)
{
	ev_timer timer;

	ev_timer_init(&timer, on_timeout, seconds, 0.);
	ev_timer_start(fixture->loop, &timer);
	ev_run(fixture->loop, 0);
	ev_timer_stop(fixture->loop, &timer);
}

static void a_file_that_is_written_slowly_loses_nothing_and_counts_when_closed(void **state)
{
	struct fixture *fixture = *state;
	FILE *file;

	temp_write(&fixture->dir, "a.yaml", CONFIG("a", "x1") CONFIG("b", "x1"));
	follow(fixture, "");
	assert_non_null(file = fopen(temp_path(&fixture->dir, "a.yaml"), "w"));
	run_for(fixture, 0.6); /* longer than an empty or a half-written file is waited for otherwise */
	assert_int_equal(fputs(CONFIG("a", "x2"), file) < 0, 0);
	assert_int_equal(fflush(file), 0);
	run_for(fixture, 0.6);
	assert_string_equal(value_of(fixture, "a"), "x1");
	assert_string_equal(value_of(fixture, "b"), "x1");
	assert_int_equal(fputs(CONFIG("b", "x2"), file) < 0, 0);
	assert_int_equal(fclose(file), 0);
	assert_becomes(fixture, "b", "x2");
	assert_string_equal(value_of(fixture, "a"), "x2");
	assert_int_equal(fixture->changes, 4);
}

static void one_changed_object_of_many_is_announced_alone(void **state)
{
	struct fixture *fixture = *state;
	struct buf text = {0};

	for (int i = 0; i < 1000; i++)
		buf_printf(&text, CONFIG("c%d", "x1"), i);
	buf_append_char(&text, '\0');
	temp_write(&fixture->dir, "a.yaml", text.data);
	follow(fixture, "");
	assert_int_equal(fixture->changes, 1000);
	memcpy(strstr(text.data, "c777 }\ndata: { v: ") + strlen("c777 }\ndata: { v: "), "x2", 2);
	temp_replace(&fixture->dir, "a.yaml", text.data);
	assert_becomes(fixture, "c777", "x2");
	assert_int_equal(fixture->changes, 1001);
	assert_int_equal(fixture->settles, 2);
	buf_done(&text);
}

static void a_file_given_alone_is_followed_through_its_directory(void **state)
{
	struct fixture *fixture = *state;

	temp_write(&fixture->dir, "a.yaml", CONFIG("a", "x1"));
	follow(fixture, "a.yaml");
	temp_write(&fixture->dir, "b.yaml", CONFIG("b", "x1"));
	temp_replace(&fixture->dir, "a.yaml", CONFIG("a", "x2"));
	assert_becomes(fixture, "a", "x2");
	assert_string_equal(value_of(fixture, "b"), "");
}

static void mount_config_map(struct fixture *fixture, const char *version, const char *text)
{
	char name[64];

	snprintf(name, sizeof(name), "..%s", version);
	temp_mkdir(&fixture->dir, name);
	snprintf(name, sizeof(name), "..%s/a.yaml", version);
	temp_write(&fixture->dir, name, text);
	snprintf(name, sizeof(name), "..%s", version);
	temp_link(&fixture->dir, name, "..data_tmp");
	temp_rename(&fixture->dir, "..data_tmp", "..data");
}

static void a_config_map_mount_is_followed(void **state)
{
	struct fixture *fixture = *state;

	mount_config_map(fixture, "2024_1", CONFIG("a", "x1"));
	temp_link(&fixture->dir, "..data/a.yaml", "a.yaml");
	follow(fixture, "");
	assert_string_equal(value_of(fixture, "a"), "x1");
	mount_config_map(fixture, "2024_2", CONFIG("a", "x2"));
	assert_becomes(fixture, "a", "x2");
	assert_int_equal(fixture->changes, 2);
}

static void one_file_of_a_config_map_mount_is_followed(void **state)
{
	struct fixture *fixture = *state;

	mount_config_map(fixture, "2024_1", CONFIG("a", "x1"));
	temp_link(&fixture->dir, "..data/a.yaml", "a.yaml");
	follow(fixture, "a.yaml");
	mount_config_map(fixture, "2024_2", CONFIG("a", "x2"));
	assert_becomes(fixture, "a", "x2");
}

static void a_directory_swapped_by_a_link_on_the_way_is_followed(void **state)
{
	struct fixture *fixture = *state;

	temp_mkdir(&fixture->dir, "v1");
	temp_mkdir(&fixture->dir, "v1/m");
	temp_write(&fixture->dir, "v1/m/a.yaml", CONFIG("a", "x1"));
	temp_mkdir(&fixture->dir, "v2");
	temp_mkdir(&fixture->dir, "v2/m");
	temp_write(&fixture->dir, "v2/m/a.yaml", CONFIG("a", "x2"));
	temp_link(&fixture->dir, "v1", "current");
	follow(fixture, "current/m/");
	assert_string_equal(value_of(fixture, "a"), "x1");
	temp_link(&fixture->dir, "v2", "next");
	temp_rename(&fixture->dir, "next", "current");
	assert_becomes(fixture, "a", "x2");
	temp_write(&fixture->dir, "v2/m/a.yaml", CONFIG("a", "x3"));
	assert_becomes(fixture, "a", "x3");
}

static void a_directory_replaced_or_made_again_is_followed(void **state)
{
	struct fixture *fixture = *state;

	temp_mkdir(&fixture->dir, "m");
	temp_write(&fixture->dir, "m/a.yaml", CONFIG("a", "x1"));
	follow(fixture, "m");
	temp_mkdir(&fixture->dir, "n");
	temp_write(&fixture->dir, "n/a.yaml", CONFIG("a", "x2"));
	temp_rename(&fixture->dir, "m", "old");
	temp_rename(&fixture->dir, "n", "m");
	assert_becomes(fixture, "a", "x2");
	temp_rename(&fixture->dir, "m", "gone");
	assert_becomes(fixture, "a", "");
	temp_mkdir(&fixture->dir, "m");
	temp_write(&fixture->dir, "m/a.yaml", CONFIG("a", "x3"));
	assert_becomes(fixture, "a", "x3");
	temp_write(&fixture->dir, "m/a.yaml", CONFIG("a", "x4"));
	assert_becomes(fixture, "a", "x4");
}

static void a_link_to_elsewhere_is_looked_at_each_second(void **state)
{
	struct fixture *fixture = *state;

	temp_mkdir(&fixture->dir, "elsewhere");
	temp_write(&fixture->dir, "elsewhere/a.yaml", CONFIG("a", "x1"));
	temp_mkdir(&fixture->dir, "m");
	temp_link(&fixture->dir, "../elsewhere/a.yaml", "m/a.yaml");
	follow(fixture, "m");
	temp_write(&fixture->dir, "elsewhere/a.yaml", CONFIG("a", "x2"));
	assert_becomes(fixture, "a", "x2");
}

static void a_source_freed_is_quiet_and_the_store_keeps_what_it_has(void **state)
{
	struct fixture *fixture = *state;

	temp_write(&fixture->dir, "a.yaml", CONFIG("a", "x1"));
	follow(fixture, "");
	temp_write(&fixture->dir, "a.yaml", CONFIG("a", "x2"));
	fixture->source = source_free(fixture->source);
	ev_run(fixture->loop, EVRUN_NOWAIT);
	assert_string_equal(value_of(fixture, "a"), "x1");
}

/* ---- one reading ---- */

struct seen {
	char text[512];
};

static void seen_object(void *ctx, struct object *object)
{
	struct seen *seen = ctx;
	size_t used = strlen(seen->text);

	snprintf(seen->text + used, sizeof(seen->text) - used, "%s ", object->name);
	object_unref(object);
}

static void seen_complaint(void *ctx, const struct decode_complaint *complaint)
{
	struct seen *seen = ctx;
	size_t used = strlen(seen->text);

	snprintf(seen->text + used, sizeof(seen->text) - used, "!%d: %s ", complaint->line, complaint->why);
}

static void one_reading_gives_objects_in_order_and_each_once(void **state)
{
	struct fixture *fixture = *state;
	struct seen seen = {""};
	const struct decode_sink sink = {seen_object, seen_complaint, &seen};
	const char *paths[] = {fixture->dir.path};
	const char *missing[] = {"/nowhere"};
	struct err err;

	temp_write(&fixture->dir, "b.yaml", CONFIG("z", "x") "---\na: 1\n" CONFIG("y", "x"));
	temp_write(&fixture->dir, "a.yaml", CONFIG("y", "old") CONFIG("x", "x"));
	assert_int_equal(source_files_read(paths, 1, &sink, &err), 0);
	assert_memory_equal(seen.text, "!7: kind: is missing", 3);
	assert_non_null(strstr(seen.text, "y x z "));
	assert_int_equal(source_files_read(missing, 1, &sink, &err), -ENOENT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(everything_is_read_and_synced_before_new_returns),
	    TEST(a_path_missing_at_the_start_is_an_error),
	    TEST(changes_in_every_manner_are_followed),
	    TEST(a_file_that_is_written_slowly_loses_nothing_and_counts_when_closed),
	    TEST(one_changed_object_of_many_is_announced_alone),
	    TEST(a_file_given_alone_is_followed_through_its_directory),
	    TEST(a_config_map_mount_is_followed),
	    TEST(one_file_of_a_config_map_mount_is_followed),
	    TEST(a_directory_swapped_by_a_link_on_the_way_is_followed),
	    TEST(a_directory_replaced_or_made_again_is_followed),
	    TEST(a_link_to_elsewhere_is_looked_at_each_second),
	    TEST(a_source_freed_is_quiet_and_the_store_keeps_what_it_has),
	    TEST(one_reading_gives_objects_in_order_and_each_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
