/* ingress/access_record and access_log: lines as text, and lines on their way to a file. */
/* LINK: ingress/access_record.c ingress/access_log.c ingress/text.c ingress/thread.c base/addr.c base/buf.c base/err.c base/str.c */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "ingress/access_log.h"

static const struct access_clock noon = {
    .second = 1, .local = "21/Nov/2026:12:00:00 +0000", .iso = "2026-11-21T12:00:00+0000"};

static void assert_line(int (*format)(struct buf *, const struct access_record *,
				      const struct access_clock *),
			const struct access_record *record, const char *expected)
{
	cleanup(buf_done) struct buf out = {0};
	cleanup_free char *text = NULL;

	assert_int_equal(format(&out, record, &noon), 0);
	text = buf_take_text(&out);
	assert_string_equal(text, expected);
}

static const struct access_attempt attempts[] = {
    {.addr = {.ip = {AF_INET, {10, 0, 0, 1}}, .port = 80}, .status = 502, .response_s = 0.001},
    {.addr = {.ip = {AF_INET6, {[15] = 1}}, .port = 8080},
     .status = 200,
     .response_bytes = 30,
     .response_s = 1.2345},
};

static struct access_record full_record(void)
{
	return (struct access_record){
	    .remote = {AF_INET, {192, 168, 0, 255}},
	    .user = STR_LIT("joe"),
	    .request_line = STR_LIT("GET /a\"b\\c\x01\xff HTTP/1.1"),
	    .method = STR_LIT("GET"),
	    .host = STR_LIT("a.test"),
	    .target = STR_LIT("/a\"b"),
	    .referer = STR_LIT("http://r"),
	    .user_agent = STR_LIT("ua"),
	    .upstream_name = STR_LIT("shop-web-80"),
	    .request_id = STR_LIT("id"),
	    .ns = STR_LIT("shop"),
	    .ingress = STR_LIT("web"),
	    .service = STR_LIT("web"),
	    .end = "ok",
	    .https = true,
	    .status = 200,
	    .request_bytes = 123,
	    .body_bytes_sent = 30,
	    .request_s = 1.2356,
	    .attempts = attempts,
	    .attempt_count = ARRAY_LEN(attempts),
	};
}

static void a_line_is_ingress_nginxs_field_for_field(void **state)
{
	struct access_record record = full_record();

	(void)state;
	assert_line(
	    access_record_nginx, &record,
	    "192.168.0.255 - joe [21/Nov/2026:12:00:00 +0000] \"GET /a\\x22b\\x5Cc\\x01\\xFF HTTP/1.1\" 200 "
	    "30 \"http://r\" "
	    "\"ua\" 123 1.236 [shop-web-80] [] 10.0.0.1:80, [::1]:8080 0, 30 0.001, 1.235 502, 200 id\n");
}

static void what_is_absent_is_a_dash(void **state)
{
	struct access_record record = {.remote = {AF_INET, {127, 0, 0, 1}}, .status = 400, .request_s = -1};

	(void)state;
	assert_line(
	    access_record_nginx, &record,
	    "127.0.0.1 - - [21/Nov/2026:12:00:00 +0000] \"-\" 400 0 \"-\" \"-\" 0 0.000 [] [] - - - - -\n");
}

static void json_has_the_same_and_the_reason(void **state)
{
	struct access_record record = full_record();

	(void)state;
	record.request_line = (struct str){0};
	assert_line(access_record_json, &record,
		    "{\"time\":\"2026-11-21T12:00:00+0000\",\"remote_addr\":\"192.168.0.255\",\"remote_"
		    "user\":\"joe\",\"request_id\":\"id\","
		    "\"scheme\":\"https\",\"method\":\"GET\",\"host\":\"a.test\",\"target\":\"/"
		    "a\\\"b\",\"status\":200,\"end\":\"ok\","
		    "\"body_bytes_sent\":30,\"request_length\":123,\"request_time\":1.236,\"referer\":\"http:"
		    "//r\",\"user_agent\":\"ua\","
		    "\"namespace\":\"shop\",\"ingress\":\"web\",\"service\":\"web\",\"upstream_name\":\"shop-"
		    "web-80\",\"upstream\":["
		    "{\"addr\":\"10.0.0.1:80\",\"status\":502,\"bytes\":0,\"time\":0.001},"
		    "{\"addr\":\"[::1]:8080\",\"status\":200,\"bytes\":30,\"time\":1.234}]}\n");
}

static void a_line_of_nothing_but_escapes_fits(void **state)
{
	char garbage[5000];
	struct access_record record = full_record();
	cleanup(buf_done) struct buf out = {0};

	(void)state;
	memset(garbage, 1, sizeof(garbage));
	record.request_line = record.referer = record.user_agent = record.request_id = record.user =
	    (struct str){garbage, sizeof(garbage)};
	assert_int_equal(access_record_nginx(&out, &record, &noon), 0);
	assert_true(buf_len(&out) > 20 * sizeof(garbage));
	assert_int_equal(buf_str(&out).p[buf_len(&out) - 1], '\n');
}

static void lines_of_several_writers_arrive_whole(void **state)
{
	char path[] = "/tmp/fairlead-access-log-XXXXXX", line[512];
	struct access_log_config config = {.path = path};
	struct access_record record = full_record();
	struct access_writer *writers[2];
	struct access_log *log;
	struct err err;
	size_t count = 0;
	FILE *file;

	(void)state;
	assert_int_equal(close(mkstemp(path)), 0);
	log = access_log_open(&config, &err);
	assert_non_null(log);
	for (size_t i = 0; i < ARRAY_LEN(writers); i++)
		writers[i] = access_writer_new(log);
	for (size_t i = 0; i < 2000; i++)
		access_writer_line(writers[i % 2], &record);
	for (size_t i = 0; i < ARRAY_LEN(writers); i++)
		(void)access_writer_free(writers[i]);
	assert_int_equal(access_log_dropped(log), 0);
	(void)access_log_close(log);
	file = fopen(path, "r");
	assert_non_null(file);
	for (; fgets(line, sizeof(line), file); count++)
		assert_true(strncmp(line, "192.168.0.255 - joe [", 21) == 0 &&
			    strcmp(line + strlen(line) - 4, " id\n") == 0);
	assert_int_equal(count, 2000);
	(void)fclose(file);
	(void)unlink(path);
}

static void a_target_that_takes_nothing_costs_lines_and_no_time(void **state)
{
	char path[64];
	struct access_log_config config = {.path = path};
	struct access_record record = full_record();
	struct access_writer *writer;
	struct access_log *log;
	struct err err;
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fds[1]);
	log = access_log_open(&config, &err);
	assert_non_null(log);
	writer = access_writer_new(log);
	for (size_t i = 0; i < 100000; i++) /* some 20 MB; 8 are queued, the pipe takes a little */
		access_writer_line(writer, &record);
	assert_true(access_log_dropped(log) > 10000);
	(void)access_writer_free(writer);
	(void)close(fds[0]); /* the write that hangs fails now, and all others */
	(void)access_log_close(log);
	(void)close(fds[1]);
}

static void a_target_that_cannot_be_opened_is_an_error(void **state)
{
	struct access_log_config config = {.path = "/nonexistent/access.log"};
	struct err err;

	(void)state;
	assert_null(access_log_open(&config, &err));
	assert_non_null(strstr(err.text, "/nonexistent/access.log"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_line_is_ingress_nginxs_field_for_field),
	    cmocka_unit_test(what_is_absent_is_a_dash),
	    cmocka_unit_test(json_has_the_same_and_the_reason),
	    cmocka_unit_test(a_line_of_nothing_but_escapes_fits),
	    cmocka_unit_test(lines_of_several_writers_arrive_whole),
	    cmocka_unit_test(a_target_that_takes_nothing_costs_lines_and_no_time),
	    cmocka_unit_test(a_target_that_cannot_be_opened_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
