/* conf/manifests: which file's object counts, what is kept when files are half written, empty or gone. */
/* LINK: conf/manifests.c conf/manifest_io.c */
/* LINK: conf/decode.c conf/decode_meta.c conf/decode_service.c conf/decode_endpoints.c */
/* LINK: conf/decode_ingress.c conf/decode_misc.c conf/decode_secret.c conf/field.c conf/names.c */
/* LINK: conf/object.c conf/node.c conf/node_json.c conf/node_yaml.c conf/node_scalar.c */
/* LINK: base/addr.c base/arena.c base/buf.c base/err.c base/map.c base/str.c */
/* LIBS: -ljansson -lyaml -lxxhash -lcrypto -lm */
#include <errno.h>

#include "base/buf.h"
#include "conf/manifests.h"
#include "tests/unit/temp_dir.h"

#define CONFIG(name, value) \
	"---\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: " name " }\ndata: { v: " value " }\n"

/* Writes down what it is told: "+a=1" added, "~a=2" changed, "-a" gone; complaints apart. */
struct fixture {
	struct temp_dir dir;
	const char *paths[4];
	struct manifests *manifests;
	struct manifests_scan scan;
	char heard[1024], complaints[4096];
};

static void append(char *text, size_t size, const char *more)
{
	size_t used = strlen(text);

	snprintf(text + used, size - used, "%s", more);
}

static void on_changed(void *ctx, struct object *old, struct object *new)
{
	struct fixture *fixture = ctx;
	const struct config_map *map = (const struct config_map *)(new ? new : old);
	char text[128];

	if (new)
		snprintf(text, sizeof(text), "%s%s=%s ", old ? "~" : "+", new->name, kv_get(&map->data, "v"));
	else
		snprintf(text, sizeof(text), "-%s ", old->name);
	append(fixture->heard, sizeof(fixture->heard), text);
}

/* Without the directory, whose name differs each time. */
static void on_complaint(void *ctx, const struct decode_complaint *complaint)
{
	struct fixture *fixture = ctx;
	char text[2048], *at;

	decode_complaint_text(complaint, text, sizeof(text));
	while ((at = strstr(text, fixture->dir.path)))
		memmove(at, at + strlen(fixture->dir.path) + 1, strlen(at + strlen(fixture->dir.path)));
	append(fixture->complaints, sizeof(fixture->complaints), text);
	append(fixture->complaints, sizeof(fixture->complaints), "\n");
}

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	const struct manifests_ops ops = {on_changed, on_complaint, fixture};

	temp_dir_make(&fixture->dir);
	fixture->paths[0] = fixture->dir.path;
	fixture->manifests = manifests_new(fixture->paths, 1, &ops);
	fixture->scan.now_s = 100;
	*state = fixture;
	return fixture->manifests ? 0 : -1;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	manifests_free(fixture->manifests);
	temp_dir_remove(&fixture->dir);
	free(fixture);
	return 0;
}

/* Looks again after so many seconds. */
static void scan_after(struct fixture *fixture, double delay_s)
{
	fixture->scan.now_s += delay_s;
	assert_int_equal(manifests_scan(fixture->manifests, &fixture->scan, NULL), 0);
}

static void assert_heard(struct fixture *fixture, const char *expected)
{
	assert_string_equal(fixture->heard, expected);
	fixture->heard[0] = '\0';
}

static void assert_complaints(struct fixture *fixture, const char *expected)
{
	assert_string_equal(fixture->complaints, expected);
	fixture->complaints[0] = '\0';
}

static void only_what_changed_is_told_of(void **state)
{
	struct fixture *fixture = *state;

	temp_write(&fixture->dir, "a.yaml", CONFIG("a", "x1") CONFIG("b", "x1"));
	scan_after(fixture, 0);
	assert_heard(fixture, "+a=x1 +b=x1 ");
	scan_after(fixture, 1);
	assert_heard(fixture, "");
	temp_write(&fixture->dir, "a.yaml",
		   "# moved down\n" CONFIG("a", "x1") CONFIG("b", "x2") CONFIG("c", "x1"));
	scan_after(fixture, 1);
	assert_heard(fixture, "~b=x2 +c=x1 ");
	temp_replace(&fixture->dir, "a.yaml", CONFIG("c", "x1"));
	scan_after(fixture, 1);
	assert_heard(fixture, "-b -a ");
	assert_int_equal(manifests_object_count(fixture->manifests), 1);
	assert_complaints(fixture, "");
}

static void two_writes_of_one_size_in_one_clock_tick_are_both_seen(void **state)
{
	struct fixture *fixture = *state;

	for (int i = 0; i < 50; i++) {
		char text[256], expected[64];
		snprintf(text, sizeof(text), CONFIG("a", "v%02d"), i);
		snprintf(expected, sizeof(expected), "%sa=v%02d ", i ? "~" : "+", i);
		temp_write(&fixture->dir, "a.yaml", text);
		scan_after(fixture, 0);
		assert_heard(fixture, expected);
	}
}

static void files_of_other_names_and_deeper_ones_are_left_out(void **state)
{
	struct fixture *fixture = *state;

	temp_write(&fixture->dir, "a.yml", CONFIG("a", "x"));
	temp_write(&fixture->dir, "b.json",
		   "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"b\"},"
		   "\"data\":{\"v\":\"x\"}}");
	temp_write(&fixture->dir, ".c.yaml", CONFIG("c", "x"));
	temp_write(&fixture->dir, "d.yaml~", CONFIG("d", "x"));
	temp_write(&fixture->dir, "e.txt", CONFIG("e", "x"));
	temp_mkdir(&fixture->dir, "sub");
	temp_write(&fixture->dir, "sub/f.yaml", CONFIG("f", "x"));
	scan_after(fixture, 0);
	assert_heard(fixture, "+a=x +b=x ");
}

static void while_a_document_is_unreadable_nothing_is_taken_as_gone(void **state)
{
	struct fixture *fixture = *state;

	temp_write(&fixture->dir, "a.yaml", CONFIG("a", "x1") CONFIG("b", "x1"));
	scan_after(fixture, 0);
	assert_heard(fixture, "+a=x1 +b=x1 ");
	temp_write(&fixture->dir, "a.yaml", CONFIG("a", "x2") "---\napiVersion: v1\nkind: Conf: [\n");
	scan_after(fixture, 1);
	assert_heard(fixture, "~a=x2 ");
	assert_complaints(fixture, "a.yaml:8: mapping values are not allowed in this context\n");
	assert_int_equal(manifests_error_count(fixture->manifests), 1);
	scan_after(fixture, 1);
	assert_complaints(fixture, ""); /* said once */
	temp_write(&fixture->dir, "a.yaml", CONFIG("a", "x2"));
	scan_after(fixture, 1);
	assert_heard(fixture, "-b ");
	assert_int_equal(manifests_error_count(fixture->manifests), 0);
}

static void a_bad_object_keeps_its_last_good_version(void **state)
{
	struct fixture *fixture = *state;

	temp_write(&fixture->dir, "a.yaml", CONFIG("a", "x1") CONFIG("b", "x1") CONFIG("c", "x1"));
	scan_after(fixture, 0);
	assert_heard(fixture, "+a=x1 +b=x1 +c=x1 ");
	/* b is bad and d never was good; c is gone all the same. */
	temp_write(&fixture->dir, "a.yaml", CONFIG("a", "x2") CONFIG("b", "5") CONFIG("d", "[]"));
	scan_after(fixture, 1);
	assert_heard(fixture, "~a=x2 -c ");
	assert_complaints(fixture, "a.yaml:10: ConfigMap default/b: data.v: expected a string, got 5\n"
				   "a.yaml:15: ConfigMap default/d: data.v: expected a string, got a list\n");
	temp_write(&fixture->dir, "a.yaml", CONFIG("a", "x2") CONFIG("b", "x3"));
	scan_after(fixture, 1);
	assert_heard(fixture, "~b=x3 ");
}

static void an_emptied_file_counts_as_empty_after_a_while(void **state)
{
	struct fixture *fixture = *state;

	temp_write(&fixture->dir, "a.yaml", CONFIG("a", "x1"));
	scan_after(fixture, 0);
	temp_write(&fixture->dir, "a.yaml", "");
	scan_after(fixture, 1);
	assert_heard(fixture, "+a=x1 ");
	assert_true(fixture->scan.again_s > 0.2 && fixture->scan.again_s <= 0.25);
	scan_after(fixture, 0.1);
	assert_heard(fixture, "");
	assert_true(fixture->scan.again_s > 0.1 && fixture->scan.again_s < 0.2);
	temp_write(&fixture->dir, "a.yaml", CONFIG("a", "x2"));
	scan_after(fixture, 0.1);
	assert_heard(fixture, "~a=x2 ");
	assert_true(fixture->scan.again_s == 0);
	temp_write(&fixture->dir, "a.yaml", "");
	scan_after(fixture, 1);
	assert_heard(fixture, "");
	scan_after(fixture, 0.3);
	assert_heard(fixture, "-a ");
	assert_true(fixture->scan.again_s == 0);
}

static void a_file_that_is_gone_counts_as_such_after_a_while(void **state)
{
	struct fixture *fixture = *state;

	temp_write(&fixture->dir, "a.yaml", CONFIG("a", "x1"));
	scan_after(fixture, 0);
	assert_heard(fixture, "+a=x1 ");
	temp_rename(&fixture->dir, "a.yaml", "a.yaml~");
	scan_after(fixture, 1);
	assert_true(fixture->scan.again_s > 0.2);
	temp_rename(&fixture->dir, "a.yaml~", "a.yaml");
	scan_after(fixture, 0.3);
	assert_heard(fixture, "");
	temp_remove(&fixture->dir, "a.yaml");
	scan_after(fixture, 1); /* its grace begins anew */
	assert_heard(fixture, "");
	scan_after(fixture, 0.3);
	assert_heard(fixture, "-a ");
	assert_int_equal(manifests_object_count(fixture->manifests), 0);
	assert_complaints(fixture, "");
}

static void of_two_files_the_last_one_counts(void **state)
{
	struct fixture *fixture = *state;

	temp_write(&fixture->dir, "b.yaml", CONFIG("a", "b"));
	scan_after(fixture, 0);
	assert_heard(fixture, "+a=b ");
	temp_write(&fixture->dir, "a.yaml", CONFIG("a", "a"));
	scan_after(fixture, 1);
	assert_heard(fixture, "");
	assert_complaints(fixture,
			  "b.yaml:2: ConfigMap default/a: is also in a.yaml:2, which does not count\n");
	temp_write(&fixture->dir, "c.yaml", CONFIG("a", "c"));
	scan_after(fixture, 1);
	assert_heard(fixture, "~a=c ");
	assert_complaints(fixture,
			  "c.yaml:2: ConfigMap default/a: is also in b.yaml:2, which does not count\n"
			  "c.yaml:2: ConfigMap default/a: is also in a.yaml:2, which does not count\n");
	temp_remove(&fixture->dir, "c.yaml");
	temp_remove(&fixture->dir, "b.yaml");
	scan_after(fixture, 1);
	scan_after(fixture, 1);
	assert_heard(fixture, "~a=a ");
	assert_complaints(fixture, "");
}

static void an_object_moved_to_another_file_is_not_told_of(void **state)
{
	struct fixture *fixture = *state;

	temp_write(&fixture->dir, "a.yaml", CONFIG("a", "x") CONFIG("b", "x"));
	scan_after(fixture, 0);
	assert_heard(fixture, "+a=x +b=x ");
	temp_write(&fixture->dir, "a.yaml", CONFIG("a", "x"));
	temp_write(&fixture->dir, "b.yaml", CONFIG("b", "x"));
	scan_after(fixture, 1);
	assert_heard(fixture, "");
}

static void an_object_twice_in_one_file_is_complained_of(void **state)
{
	struct fixture *fixture = *state;

	temp_write(&fixture->dir, "a.yaml", CONFIG("a", "x") CONFIG("a", "y"));
	scan_after(fixture, 0);
	assert_heard(fixture, "+a=y ");
	assert_complaints(fixture,
			  "a.yaml:7: ConfigMap default/a: stands twice in this file, the last one counts\n");
	temp_write(&fixture->dir, "a.yaml", CONFIG("a", "z") CONFIG("a", "y"));
	scan_after(fixture, 1);
	assert_heard(fixture, "");
}

static void an_object_put_beside_its_unchanged_self_is_seen(void **state)
{
	struct fixture *fixture = *state;

	for (int before = 0; before < 2; before++) {
		temp_write(&fixture->dir, "a.yaml", CONFIG("a", "x"));
		scan_after(fixture, 1);
		fixture->heard[0] = '\0';
		temp_write(&fixture->dir, "a.yaml",
			   before ? CONFIG("a", "y") CONFIG("a", "x") : CONFIG("a", "x") CONFIG("a", "y"));
		scan_after(fixture, 1);
		assert_heard(fixture, before ? "" : "~a=y ");
		assert_complaints(
		    fixture,
		    "a.yaml:7: ConfigMap default/a: stands twice in this file, the last one counts\n");
		temp_write(&fixture->dir, "a.yaml", CONFIG("a", "x"));
		scan_after(fixture, 1);
		assert_heard(fixture, before ? "" : "~a=x ");
	}
}

static void what_was_complained_of_stays_so_while_others_change(void **state)
{
	struct fixture *fixture = *state;

	temp_write(&fixture->dir, "a.yaml", CONFIG("a", "x") CONFIG("bad", "5") CONFIG("c", "x"));
	scan_after(fixture, 0);
	assert_heard(fixture, "+a=x +c=x ");
	assert_complaints(fixture, "a.yaml:10: ConfigMap default/bad: data.v: expected a string, got 5\n");
	temp_write(&fixture->dir, "a.yaml", CONFIG("a", "y") CONFIG("bad", "5") CONFIG("c", "x"));
	scan_after(fixture, 1);
	assert_heard(fixture, "~a=y ");
	assert_complaints(fixture, "a.yaml:10: ConfigMap default/bad: data.v: expected a string, got 5\n");
	assert_int_equal(manifests_error_count(fixture->manifests), 1);
}

static void a_directory_that_is_gone_and_comes_again_loses_nothing(void **state)
{
	struct fixture *fixture = *state;
	char away[80];

	temp_write(&fixture->dir, "a.yaml", CONFIG("a", "x"));
	scan_after(fixture, 0);
	assert_heard(fixture, "+a=x ");
	snprintf(away, sizeof(away), "%s-away", fixture->dir.path);
	assert_int_equal(rename(fixture->dir.path, away), 0);
	scan_after(fixture, 1);
	assert_complaints(fixture, " No such file or directory\n");
	assert_int_equal(rename(away, fixture->dir.path), 0);
	scan_after(fixture, 0.2);
	assert_heard(fixture, "");
	assert_int_equal(rename(fixture->dir.path, away), 0);
	scan_after(fixture, 1);
	scan_after(fixture, 1);
	assert_heard(fixture, "-a ");
	assert_complaints(fixture, " No such file or directory\n");
	assert_int_equal(rename(away, fixture->dir.path), 0);
	scan_after(fixture, 1);
	assert_heard(fixture, "+a=x ");
}

static void what_cannot_be_read_keeps_what_it_said(void **state)
{
	struct fixture *fixture = *state;

	temp_write(&fixture->dir, "a.yaml", CONFIG("a", "x"));
	scan_after(fixture, 0);
	assert_heard(fixture, "+a=x ");
	temp_remove(&fixture->dir, "a.yaml");
	assert_int_equal(mkfifo(temp_path(&fixture->dir, "a.yaml"), 0600), 0);
	scan_after(fixture, 1);
	scan_after(fixture, 1);
	assert_heard(fixture, "");
	assert_complaints(fixture, "a.yaml: is no regular file\n");
	assert_int_equal(manifests_error_count(fixture->manifests), 1);
	temp_remove(&fixture->dir, "a.yaml");
	temp_write(&fixture->dir, "a.yaml", CONFIG("a", "y"));
	scan_after(fixture, 1);
	assert_heard(fixture, "~a=y ");
	assert_int_equal(manifests_error_count(fixture->manifests), 0);
}

static void a_path_missing_at_the_start_is_an_error(void **state)
{
	struct fixture *fixture = *state;
	const struct manifests_ops ops = {on_changed, on_complaint, fixture};
	const char *paths[] = {fixture->dir.path, "/nowhere/at.yaml"};
	struct manifests *manifests = manifests_new(paths, 2, &ops);
	struct manifests_scan scan = {.strict = true};
	struct err err;

	temp_write(&fixture->dir, "a.yaml", CONFIG("a", "x"));
	assert_int_equal(manifests_scan(manifests, &scan, &err), -ENOENT);
	assert_string_equal(err.text, "/nowhere/at.yaml: No such file or directory");
	assert_heard(fixture, "");
	manifests_free(manifests);
}

static void the_order_of_the_paths_given_goes_before_names(void **state)
{
	struct fixture *fixture = *state;
	const struct manifests_ops ops = {on_changed, on_complaint, fixture};
	char first[PATH_MAX], second[PATH_MAX];
	const char *paths[] = {first, second};
	struct manifests *manifests = manifests_new(paths, 2, &ops);
	struct manifests_scan scan = {.strict = true};

	temp_write(&fixture->dir, "a.yaml", CONFIG("a", "a"));
	temp_write(&fixture->dir, "b.yaml", CONFIG("a", "b"));
	snprintf(first, sizeof(first), "%s", temp_path(&fixture->dir, "b.yaml"));
	snprintf(second, sizeof(second), "%s", temp_path(&fixture->dir, "a.yaml"));
	assert_int_equal(manifests_scan(manifests, &scan, NULL), 0);
	assert_heard(fixture, "+a=a ");
	manifests_free(manifests);
}

static void complaints_of_one_file_have_a_limit(void **state)
{
	struct fixture *fixture = *state;
	struct buf text = {0};

	for (int i = 0; i < 2000; i++)
		buf_printf(&text, "---\nnumber: %d\n", i);
	buf_append_char(&text, '\0');
	temp_write(&fixture->dir, "a.yaml", text.data);
	scan_after(fixture, 0);
	assert_int_equal(manifests_error_count(fixture->manifests), 2000);
	assert_true(strlen(fixture->complaints) <= sizeof(fixture->complaints));
	buf_done(&text);
}

static void links_out_of_the_directory_are_reported(void **state)
{
	struct fixture *fixture = *state;

	temp_mkdir(&fixture->dir, "..2024");
	temp_write(&fixture->dir, "..2024/a.yaml", CONFIG("a", "x"));
	temp_link(&fixture->dir, "..2024", "..data");
	temp_link(&fixture->dir, "..data/a.yaml", "a.yaml");
	scan_after(fixture, 0);
	assert_heard(fixture, "+a=x ");
	assert_false(fixture->scan.links_elsewhere);
	temp_link(&fixture->dir, "/etc/hosts", "b.yaml");
	scan_after(fixture, 0);
	assert_true(fixture->scan.links_elsewhere);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(only_what_changed_is_told_of),
	    TEST(two_writes_of_one_size_in_one_clock_tick_are_both_seen),
	    TEST(files_of_other_names_and_deeper_ones_are_left_out),
	    TEST(while_a_document_is_unreadable_nothing_is_taken_as_gone),
	    TEST(a_bad_object_keeps_its_last_good_version),
	    TEST(an_emptied_file_counts_as_empty_after_a_while),
	    TEST(a_file_that_is_gone_counts_as_such_after_a_while),
	    TEST(of_two_files_the_last_one_counts),
	    TEST(an_object_moved_to_another_file_is_not_told_of),
	    TEST(an_object_twice_in_one_file_is_complained_of),
	    TEST(an_object_put_beside_its_unchanged_self_is_seen),
	    TEST(what_was_complained_of_stays_so_while_others_change),
	    TEST(a_directory_that_is_gone_and_comes_again_loses_nothing),
	    TEST(what_cannot_be_read_keeps_what_it_said),
	    TEST(a_path_missing_at_the_start_is_an_error),
	    TEST(the_order_of_the_paths_given_goes_before_names),
	    TEST(complaints_of_one_file_have_a_limit),
	    TEST(links_out_of_the_directory_are_reported),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
