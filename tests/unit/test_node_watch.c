/* LINK: main/node_watch.c main/config_watch.c conf/manifest_io.c conf/path_watch.c conf/store.c conf/object.c */
/* LINK: base/addr.c base/arena.c base/buf.c base/err.c base/map.c base/str.c */
/* LIBS: -lev -lxxhash -lcrypto */
/* What the program is restarted for: its Node object and its configuration file (service-proxy contract rows 43, 51). */
#include "tests/unit/temp_dir.h"

#include "main/config_watch.h"
#include "main/node_watch.h"

static struct ip ip_of(const char *text)
{
	struct ip ip;

	assert_int_equal(ip_parse(str_of(text), &ip), 0);
	return ip;
}

static void addresses_that_change_ask_for_a_restart(void **state)
{
	struct ip a[] = {ip_of("192.0.2.1")}, b[] = {ip_of("192.0.2.2")}, both[] = {a[0], b[0]};
	struct node_object none = {0}, first = {.internal_ips = a, .internal_ip_count = 1};
	struct node_object other = {.internal_ips = b, .internal_ip_count = 1};
	struct node_object more = {.internal_ips = both, .internal_ip_count = 2};
	struct node_object outside = {
	    .internal_ips = a, .internal_ip_count = 1, .external_ips = b, .external_ip_count = 1};

	(void)state;
	assert_null(node_change_reason(NULL, &first, false));
	assert_null(node_change_reason(&first, &first, false));
	assert_null(node_change_reason(&none, &first, false));
	assert_null(node_change_reason(&first, &outside, false));
	assert_non_null(node_change_reason(&first, &other, false));
	assert_non_null(node_change_reason(&first, &more, false));
	assert_non_null(node_change_reason(&first, &none, false));
	assert_non_null(node_change_reason(&outside, &first, false));
	assert_string_equal(node_change_reason(&first, NULL, false), "the Node object is gone");
}

static void pod_cidrs_count_only_when_pods_are_known_by_them(void **state)
{
	struct cidr a, b;
	struct node_object first = {.pod_cidrs = &a, .pod_cidr_count = 1},
			   other = {.pod_cidrs = &b, .pod_cidr_count = 1};
	struct node_object none = {0};

	(void)state;
	assert_int_equal(cidr_parse(STR_LIT("10.1.0.0/24"), &a), 0);
	assert_int_equal(cidr_parse(STR_LIT("10.2.0.0/24"), &b), 0);
	assert_null(node_change_reason(&first, &other, false));
	assert_non_null(node_change_reason(&first, &other, true));
	assert_null(node_change_reason(&none, &other, true));
}

static void count_reason(void *ctx, const char *why)
{
	assert_non_null(why);
	++*(unsigned *)ctx;
}

static struct object *node_named(const char *name, struct ip *ip)
{
	struct object *object = object_new(KIND_NODE);
	struct node_object *node = (struct node_object *)(void *)object;

	object->name = arena_dup(&object->arena, str_of(name));
	node->internal_ips = arena_alloc(&object->arena, sizeof(*ip));
	*node->internal_ips = *ip;
	node->internal_ip_count = 1;
	return object;
}

static void only_this_node_is_watched(void **state)
{
	struct store *store = store_new();
	struct ip a = ip_of("192.0.2.1"), b = ip_of("192.0.2.2");
	unsigned count = 0;
	struct node_watch *watch = node_watch_new(store, "node-1", false, count_reason, &count);

	(void)state;
	assert_int_equal(store_put(store, node_named("node-1", &a)), 0);
	assert_int_equal(store_put(store, node_named("node-2", &a)), 0);
	assert_int_equal(store_put(store, node_named("node-2", &b)), 0);
	store_settle(store);
	assert_int_equal(count, 0);
	assert_int_equal(store_put(store, node_named("node-1", &b)), 0);
	store_delete(store, KIND_NODE, STR_LIT(""), STR_LIT("node-1"));
	store_settle(store);
	assert_int_equal(count, 2);
	(void)node_watch_free(watch);
	(void)store_free(store);
}

/* ---- the file ---- */

static void count_change(void *ctx)
{
	++*(unsigned *)ctx;
}

static void put_file(struct temp_dir *dir, const char *name, const char *text)
{
	char path[128];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", dir->path, name);
	file = fopen(path, "w");
	assert_non_null(file);
	(void)fputs(text, file);
	(void)fclose(file);
}

static void run_for(struct ev_loop *loop, double seconds, const unsigned *count)
{
	double end = ev_time() + seconds;

	while (ev_time() < end && *count == 0)
		ev_run(loop, EVRUN_NOWAIT);
}

static void a_file_with_other_contents_is_told_once_and_its_neighbours_are_not(void **state)
{
	struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
	struct temp_dir dir;
	char path[128];
	unsigned count = 0;
	struct config_watch *watch;

	(void)state;
	temp_dir_make(&dir);
	(void)snprintf(path, sizeof(path), "%s/config.conf", dir.path);
	put_file(&dir, "config.conf", "one");
	watch = config_watch_new(loop, path, count_change, &count);
	assert_non_null(watch);
	put_file(&dir, "neighbour", "x");
	put_file(&dir, "config.conf", "one");
	run_for(loop, 0.3, &count);
	assert_int_equal(count, 0);
	put_file(&dir, "config.conf", "two");
	run_for(loop, 10, &count);
	assert_int_equal(count, 1);
	(void)config_watch_free(watch);
	temp_dir_remove(&dir);
	ev_loop_destroy(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(addresses_that_change_ask_for_a_restart),
	    cmocka_unit_test(pod_cidrs_count_only_when_pods_are_known_by_them),
	    cmocka_unit_test(only_this_node_is_watched),
	    cmocka_unit_test(a_file_with_other_contents_is_told_once_and_its_neighbours_are_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
