/* LINK: proxy/sysctl.c base/str.c */
/* Connection-tracking settings at start (service-proxy contract row 45), on files of the test's own. */
#include "tests/unit/temp_dir.h"

#include <errno.h>

#include "proxy/sysctl.h"

#define NETFILTER "proc/sys/net/netfilter/"
#define HASHSIZE  "sys/module/nf_conntrack/parameters/hashsize"

static const struct conntrack_settings defaults = {
    .max_per_core = 32768, .min = 131072, .tcp_established_s = 86400, .tcp_close_wait_s = 3600};

static int64_t wish_of(const struct conntrack_settings *settings, unsigned cpus, const char *path)
{
	struct sysctl_wish wishes[SYSCTL_WISHES_MAX];
	size_t count = sysctl_wishes(settings, cpus, wishes);

	for (size_t i = 0; i < count; i++)
		if (strcmp(wishes[i].path, path) == 0)
			return (int64_t)wishes[i].value;
	return -1;
}

static void the_table_grows_with_the_cores_from_the_least_size_up(void **state)
{
	static const struct {
		unsigned cpus;
		int64_t max;
	} rows[] = {{1, 131072}, {4, 131072}, {5, 163840}, {64, 2097152}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(wish_of(&defaults, rows[i].cpus, NETFILTER "nf_conntrack_max"), rows[i].max);
		assert_int_equal(wish_of(&defaults, rows[i].cpus, HASHSIZE), rows[i].max / 4);
	}
}

static void zero_leaves_a_setting_alone(void **state)
{
	const struct conntrack_settings nothing = {.min = 131072};
	struct sysctl_wish wishes[SYSCTL_WISHES_MAX];

	(void)state;
	assert_int_equal(sysctl_wishes(&nothing, 8, wishes), 0);
}

static void each_timeout_has_its_file(void **state)
{
	struct conntrack_settings all = defaults;

	(void)state;
	all.udp_s = 30;
	all.udp_stream_s = 120;
	all.tcp_be_liberal = true;
	assert_int_equal(wish_of(&all, 1, NETFILTER "nf_conntrack_tcp_timeout_established"), 86400);
	assert_int_equal(wish_of(&all, 1, NETFILTER "nf_conntrack_tcp_timeout_close_wait"), 3600);
	assert_int_equal(wish_of(&all, 1, NETFILTER "nf_conntrack_udp_timeout"), 30);
	assert_int_equal(wish_of(&all, 1, NETFILTER "nf_conntrack_udp_timeout_stream"), 120);
	assert_int_equal(wish_of(&all, 1, NETFILTER "nf_conntrack_tcp_be_liberal"), 1);
	assert_int_equal(wish_of(&defaults, 1, NETFILTER "nf_conntrack_udp_timeout"), -1);
}

/* ---- files ---- */

struct files {
	struct temp_dir dir;
	unsigned refused;
	int code;
};

static const char *at(struct files *files, const char *name)
{
	(void)snprintf(files->dir.at, sizeof(files->dir.at), "%s/%s", files->dir.path, name);
	return files->dir.at;
}

static void put_file(struct files *files, const char *name, const char *text)
{
	FILE *file = fopen(at(files, name), "w");

	assert_non_null(file);
	(void)fputs(text, file);
	(void)fclose(file);
}

static void assert_file(struct files *files, const char *name, const char *expected)
{
	char text[64] = "";
	FILE *file = fopen(at(files, name), "r");

	assert_non_null(file);
	(void)fgets(text, sizeof(text), file);
	(void)fclose(file);
	assert_string_equal(text, expected);
}

static int make_files(void **state)
{
	struct files *files = calloc(1, sizeof(*files));

	*state = files;
	temp_dir_make(&files->dir);
	return 0;
}

static int remove_files(void **state)
{
	struct files *files = *state;

	temp_dir_remove(&files->dir);
	free(files);
	return 0;
}

static void on_refused(void *ctx, const struct sysctl_wish *wish, int code)
{
	struct files *files = ctx;

	(void)wish;
	files->refused++;
	files->code = code;
}

static void only_what_differs_is_written(void **state)
{
	struct files *files = *state;
	const struct sysctl_wish wishes[] = {
	    {"same", 7, false}, {"other", 8, false}, {"larger", 9, true}, {"smaller", 9, true}};

	put_file(files, "same", "7\n");
	put_file(files, "other", "7\n");
	put_file(files, "larger", "10\n");
	put_file(files, "smaller", "8\n");
	assert_int_equal(sysctl_apply(files->dir.path, wishes, 4, on_refused, files), 2);
	assert_int_equal(files->refused, 0);
	assert_file(files, "same", "7\n");
	assert_file(files, "other", "8\n");
	assert_file(files, "larger", "10\n");
	assert_file(files, "smaller", "9\n");
}

static void what_cannot_be_written_is_told_and_the_rest_goes_on(void **state)
{
	struct files *files = *state;
	const struct sysctl_wish wishes[] = {{"missing", 1, false}, {"text", 2, false}, {"good", 3, false}};

	put_file(files, "text", "many\n");
	put_file(files, "good", "1\n");
	assert_int_equal(sysctl_apply(files->dir.path, wishes, 3, on_refused, files), 1);
	assert_int_equal(files->refused, 2);
	assert_int_equal(files->code, -EINVAL);
	assert_file(files, "good", "3\n");
}

static void the_score_of_the_process_is_written_with_its_sign(void **state)
{
	struct files *files = *state;

	assert_int_equal(mkdir(at(files, "proc"), 0700), 0);
	assert_int_equal(mkdir(at(files, "proc/self"), 0700), 0);
	assert_int_equal(sysctl_set_oom_score(files->dir.path, -999), -ENOENT);
	put_file(files, "proc/self/oom_score_adj", "0\n");
	assert_int_equal(sysctl_set_oom_score(files->dir.path, -999), 0);
	assert_file(files, "proc/self/oom_score_adj", "-999\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_table_grows_with_the_cores_from_the_least_size_up),
	    cmocka_unit_test(zero_leaves_a_setting_alone),
	    cmocka_unit_test(each_timeout_has_its_file),
	    cmocka_unit_test_setup_teardown(only_what_differs_is_written, make_files, remove_files),
	    cmocka_unit_test_setup_teardown(what_cannot_be_written_is_told_and_the_rest_goes_on, make_files,
					    remove_files),
	    cmocka_unit_test_setup_teardown(the_score_of_the_process_is_written_with_its_sign, make_files,
					    remove_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
