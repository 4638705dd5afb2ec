/* conf/kube_client and what it is made of: credentials, certificates, kept connections, against the fake server. */
/* LINK: tests/unit/fake_api.c conf/kube_auth.c conf/kube_client.c conf/kube_conn.c conf/kube_exec.c */
/* LINK: conf/kube_backoff.c conf/kube_probe.c conf/kube_file.c conf/kube_timing.c conf/kube_tls.c conf/kubeconfig.c conf/node.c */
/* LINK: conf/node_json.c conf/node_scalar.c conf/node_yaml.c base/addr.c base/arena.c base/buf.c */
/* LINK: base/err.c base/log.c base/map.c base/metrics.c base/str.c base/stream.c base/dns.c base/http1.c */
/* LINK: base/chunked.c base/http_syntax.c */
/* LIBS: -lev -lssl -lcrypto -ljansson -lyaml -lcares -lxxhash -lm */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "conf/kube_client.h"
#include "fake_api.h"

static const struct kube_timing quick = {
    .connect_s = 2,
    .head_s = 0.5,
    .answer_s = 1,
    .probe_s = 0.2,
    .idle_s = 0.3,
    .token_file_s = 60,
    .exec_s = 1,
    .exec_apart_s = 0.2,
};

struct world {
	struct ev_loop *loop;
	struct fake_api *fake;
	struct kube_config *config;
	struct kube_client *client;
	char dir[64]; /* for files of the test */
};

/* One request and what became of it. */
struct ask {
	struct kube_request *request;
	struct buf body;
	bool opened, done;
	int code;
	unsigned status;
	double retry_after_s;
	char why[512];
	int body_code; /* what the body callback answers */
};

static int set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	world->loop = ev_default_loop(0);
	world->fake = fake_api_start(world->loop);
	strcpy(world->dir, "/tmp/fairlead-client-XXXXXX");
	assert_non_null(mkdtemp(world->dir));
	*state = world;
	return 0;
}

static void remove_dir(const char *path)
{
	DIR *dir = opendir(path);

	for (const struct dirent *entry; (entry = readdir(dir));)
		if (entry->d_name[0] != '.')
			unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	assert_int_equal(rmdir(path), 0);
}

static int tear_down(void **state)
{
	struct world *world = *state;
	kube_client_free(world->client);
	kube_config_free(world->config);
	fake_api_stop(world->fake);
	remove_dir(world->dir);
	free(world);
	return 0;
}

/* user: the kubeconfig's user as flow YAML. */
static void start(struct world *world, const char *user)
{
	struct err err;

	world->config = fake_kubeconfig(world->fake, user);
	world->client = kube_client_new(world->loop, world->config, NULL, &quick, &err);
	if (!world->client)
		fail_msg("%s", err.text);
}

static void nothing(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop, (void)timer, (void)events;
}

#define await(world, condition)                                                   \
	do {                                                                      \
		ev_timer tick_;                                                   \
		ev_tstamp until_ = ev_time() + 10;                                \
		ev_timer_init(&tick_, nothing, 0.01, 0.01);                       \
		ev_timer_start((world)->loop, &tick_);                            \
		while (!(condition) && ev_time() < until_)                        \
			ev_run((world)->loop, EVRUN_ONCE);                        \
		ev_timer_stop((world)->loop, &tick_);                             \
		if (!(condition))                                                 \
			fail_msg("line %d: still not: %s", __LINE__, #condition); \
	} while (0)

static void on_opened(void *ctx)
{
	struct ask *ask = ctx;

	ask->opened = true;
}

static int on_body(void *ctx, struct str bytes, struct err *err)
{
	struct ask *ask = ctx;

	buf_append_str(&ask->body, bytes);
	return ask->body_code < 0 ? err_set(err, ask->body_code, "not wanted") : 0;
}

static void on_done(void *ctx, const struct kube_result *result)
{
	struct ask *ask = ctx;

	assert_false(ask->done);
	ask->done = true;
	ask->request = NULL;
	ask->code = result->code;
	ask->status = result->status;
	ask->retry_after_s = result->retry_after_s;
	snprintf(ask->why, sizeof(ask->why), "%s", result->why);
}

static const struct kube_request_ops ops = {.opened = on_opened, .body = on_body, .done = on_done};

static void send_ask(struct world *world, struct ask *ask, const char *method, const char *path,
		     const char *body)
{
	const struct kube_request_options options = {
	    .method = method,
	    .path = path,
	    .body = str_of(body),
	    .content_type = "application/json",
	    .ops = &ops,
	    .ctx = ask,
	};

	*ask = (struct ask){.body_code = ask->body_code};
	ask->request = kube_request(world->client, &options);
	assert_non_null(ask->request);
	assert_false(ask->done);
}

/* Asks and waits for the end. */
static void get(struct world *world, struct ask *ask, const char *path)
{
	buf_done(&ask->body);
	send_ask(world, ask, "GET", path, "");
	await(world, ask->done);
}

static void say(struct world *world, const char *match, unsigned status, const char *body)
{
	fake_say(world->fake,
		 (struct fake_step){.match = match, .status = status, .body = body, .forever = true});
}

/* ---- answers ---- */

static void an_answer_comes_whole_with_its_status(void **state)
{
	struct world *world = *state;
	struct ask ask = {0};

	start(world, "{token: sesame}");
	say(world, "/a", 200, "hello");
	get(world, &ask, "/a?b=c");
	assert_int_equal(ask.code, 0);
	assert_int_equal(ask.status, 200);
	assert_true(ask.opened);
	assert_true(str_is(buf_str(&ask.body), "hello"));
	assert_string_equal(ask.why, "");
	assert_string_equal(fake_nth(world->fake, "", 0)->line, "GET /a?b=c");
	assert_string_equal(fake_nth(world->fake, "", 0)->authorization, "Bearer sesame");
	buf_done(&ask.body);
}

static void a_refusal_says_what_the_server_said(void **state)
{
	struct world *world = *state;
	struct ask ask = {0};

	start(world, "{}");
	fake_say(world->fake, (struct fake_step){.match = "/a",
						 .status = 429,
						 .headers = "Retry-After: 7\r\n",
						 .body = "{\"kind\":\"Status\",\"message\":\"too\\nmany\"}"});
	get(world, &ask, "/a");
	assert_int_equal(ask.code, -EREMOTEIO);
	assert_int_equal(ask.status, 429);
	assert_true(ask.retry_after_s >= 7 && ask.retry_after_s <= 7);
	assert_string_equal(ask.why, "429 Too Many Requests: too many");
	assert_false(ask.opened);
	assert_int_equal(buf_len(&ask.body), 0);
}

static void a_body_can_be_sent(void **state)
{
	struct world *world = *state;
	struct ask ask = {0};

	start(world, "{}");
	say(world, "PUT /a", 201, "{}");
	send_ask(world, &ask, "PUT", "/a", "{\"x\":1}");
	await(world, ask.done);
	assert_int_equal(ask.status, 201);
	assert_string_equal(fake_nth(world->fake, "PUT", 0)->body, "{\"x\":1}");
	buf_done(&ask.body);
}

static void a_body_that_nobody_reads_is_thrown_away(void **state)
{
	static const struct kube_request_ops done_only = {.done = on_done};
	struct world *world = *state;
	struct ask ask = {0};
	const struct kube_request_options options = {
	    .method = "POST", .path = "/a", .body = STR_LIT("{}"), .ops = &done_only, .ctx = &ask};

	start(world, "{}");
	say(world, "POST /a", 201, "{\"kind\":\"Event\"}");
	assert_non_null(kube_request(world->client, &options));
	await(world, ask.done);
	assert_int_equal(ask.code, 0);
	assert_int_equal(ask.status, 201);
}

static void the_receiver_of_a_body_can_end_the_request(void **state)
{
	struct world *world = *state;
	struct ask ask = {.body_code = -EFBIG};

	start(world, "{}");
	say(world, "/a", 200, "hello");
	get(world, &ask, "/a");
	assert_int_equal(ask.code, -EFBIG);
	assert_string_equal(ask.why, "not wanted");
	buf_done(&ask.body);
}

static void a_server_that_says_nothing_is_given_up(void **state)
{
	struct world *world = *state;
	struct ask ask = {0};

	start(world, "{}");
	fake_say(world->fake, (struct fake_step){.match = "/a", .silent = true});
	get(world, &ask, "/a");
	assert_int_equal(ask.code, -ETIMEDOUT);
	assert_int_equal(ask.status, 0);
	fake_say(world->fake,
		 (struct fake_step){.match = "/b", .status = 200, .body = "x", .streamed = true});
	get(world, &ask, "/b");
	assert_int_equal(ask.code, -ETIMEDOUT);
	assert_string_equal(ask.why, "the answer did not end within the time allowed");
	buf_done(&ask.body);
}

static void an_answer_cut_short_is_an_error(void **state)
{
	struct world *world = *state;
	struct ask ask = {0};

	start(world, "{}");
	fake_say(world->fake,
		 (struct fake_step){.match = "/a", .status = 200, .body = "hello", .cut_bytes = 2});
	get(world, &ask, "/a");
	assert_true(ask.code < 0);
	assert_int_equal(ask.status, 200);
	buf_done(&ask.body);
}

static void a_cancelled_request_is_never_heard_of_again(void **state)
{
	struct world *world = *state;
	struct ask asks[30] = {{0}};

	start(world, "{}");
	say(world, "/a", 200, "hello");
	for (unsigned turn = 0; turn < 30; turn++) {
		for (size_t i = 0; i < 30; i++)
			send_ask(world, &asks[i], "GET", "/a", "");
		for (unsigned i = 0; i < turn; i++) {
			ev_run(world->loop, EVRUN_NOWAIT);
			usleep(200);
		}
		for (size_t i = 0; i < 30; i++) {
			bool was_done = asks[i].done;

			kube_request_cancel(asks[i].request);
			asks[i].done = was_done; /* a later call of done would be seen: it asserts */
			buf_done(&asks[i].body);
			asks[i].done = true;
		}
	}
	get(world, &asks[0], "/a");
	assert_int_equal(asks[0].code, 0);
	buf_done(&asks[0].body);
}

/* ---- connections ---- */

static void one_connection_carries_request_after_request(void **state)
{
	struct world *world = *state;
	struct ask ask = {0};

	start(world, "{}");
	say(world, "/a", 200, "hello");
	for (unsigned i = 0; i < 10; i++)
		get(world, &ask, "/a");
	assert_int_equal(fake_connections(world->fake), 1);
	buf_done(&ask.body);
}

static void a_few_connections_carry_many_requests_at_once(void **state)
{
	struct world *world = *state;
	struct ask asks[50] = {{0}};

	start(world, "{}");
	say(world, "/a", 200, "hello");
	for (size_t i = 0; i < 50; i++)
		send_ask(world, &asks[i], "GET", "/a", "");
	await(world, fake_count(world->fake, "/a") == 50);
	for (size_t i = 0; i < 50; i++) {
		await(world, asks[i].done);
		assert_int_equal(asks[i].code, 0);
		buf_done(&asks[i].body);
	}
	assert_int_equal(fake_connections(world->fake), KUBE_SHORT_MAX);
}

static void a_kept_connection_the_server_closed_is_not_noticed_by_who_asks(void **state)
{
	struct world *world = *state;
	struct ask ask = {0};

	start(world, "{}");
	say(world, "/a", 200, "hello");
	get(world, &ask, "/a");
	fake_say(world->fake, (struct fake_step){.match = "/a", .close_now = true});
	get(world, &ask, "/a");
	assert_int_equal(ask.code, 0);
	assert_int_equal(fake_count(world->fake, "/a"), 3);
	assert_int_equal(fake_connections(world->fake), 2);
	buf_done(&ask.body);
}

static void what_may_not_be_done_twice_is_not_sent_twice(void **state)
{
	struct world *world = *state;
	struct ask ask = {0};

	start(world, "{}");
	say(world, "/a", 200, "hello");
	get(world, &ask, "/a");
	buf_done(&ask.body);
	fake_say(world->fake, (struct fake_step){.match = "POST /a", .close_now = true});
	send_ask(world, &ask, "POST", "/a", "{}");
	await(world, ask.done);
	assert_true(ask.code < 0);
	assert_int_equal(fake_count(world->fake, "POST"), 1);
}

static void a_fresh_connection_that_fails_is_not_tried_for_ever(void **state)
{
	struct world *world = *state;
	struct ask ask = {0};

	start(world, "{}");
	fake_say(world->fake, (struct fake_step){.match = "/a", .close_now = true, .forever = true});
	get(world, &ask, "/a");
	assert_true(ask.code < 0);
	assert_int_equal(fake_count(world->fake, "/a"), 1);
	fake_api_die(world->fake);
	get(world, &ask, "/a");
	assert_true(ask.code < 0);
	assert_non_null(strstr(ask.why, "refused"));
}

static void a_connection_nobody_needs_is_closed(void **state)
{
	struct world *world = *state;
	struct ask ask = {0};

	start(world, "{}");
	say(world, "/a", 200, "hello");
	get(world, &ask, "/a");
	ev_tstamp until = ev_time() + 0.4; /* idle_s is 0.3 */

	await(world, ev_time() > until);
	get(world, &ask, "/a");
	assert_int_equal(fake_connections(world->fake), 2);
	buf_done(&ask.body);
}

/* ---- whom we trust and who we are ---- */

static void a_server_with_another_certificate_is_not_talked_to(void **state)
{
	struct world *world = *state;
	struct fake_api *other = fake_api_start(world->loop);
	struct ask ask = {0};
	struct err err;
	struct kube_config *config = fake_kubeconfig(other, "{token: sesame}");

	config->port = fake_port(world->fake);
	world->client = kube_client_new(world->loop, config, NULL, &quick, &err);
	get(world, &ask, "/a");
	assert_true(ask.code < 0);
	assert_non_null(strstr(ask.why, "certificate"));
	assert_int_equal(fake_count(world->fake, ""), 0);
	world->client = kube_client_free(world->client);
	config->port = fake_port(other);
	config->tls_server_name = "another.name";
	world->client = kube_client_new(world->loop, config, NULL, &quick, &err);
	get(world, &ask, "/a");
	assert_true(ask.code < 0);
	assert_int_equal(fake_count(other, ""), 0);
	world->client = kube_client_free(world->client);
	kube_config_free(config);
	fake_api_stop(other);
}

static void write_file(const struct world *world, const char *name, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", world->dir, name);
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void a_client_certificate_is_shown_and_taken_up_anew_when_replaced(void **state)
{
	struct world *world = *state;
	struct fake_api *other = fake_api_start(world->loop);
	struct ask ask = {0};
	char user[256];

	write_file(world, "crt", fake_ca(world->fake));
	write_file(world, "key", fake_key(world->fake));
	snprintf(user, sizeof(user), "{client-certificate: %s/crt, client-key: %s/key}", world->dir,
		 world->dir);
	start(world, user);
	say(world, "/a", 200, "hello");
	get(world, &ask, "/a");
	assert_true(fake_nth(world->fake, "/a", 0)->certificate != 0);
	/* Half a rotation: the last good pair stays. */
	write_file(world, "crt", fake_ca(other));
	fake_api_close_idle(world->fake);
	get(world, &ask, "/a");
	assert_int_equal(ask.code, 0);
	assert_true(fake_nth(world->fake, "/a", 1)->certificate ==
		    fake_nth(world->fake, "/a", 0)->certificate);
	write_file(world, "key", fake_key(other));
	fake_api_close_idle(world->fake);
	get(world, &ask, "/a");
	assert_int_equal(ask.code, 0);
	assert_true(fake_nth(world->fake, "/a", 2)->certificate !=
		    fake_nth(world->fake, "/a", 0)->certificate);
	buf_done(&ask.body);
	fake_api_stop(other);
}

static void files_that_cannot_be_used_are_named_at_the_start(void **state)
{
	struct world *world = *state;
	char user[256], expected[512];
	struct err err;

	write_file(world, "crt", "nothing");
	write_file(world, "key", "nothing");
	snprintf(user, sizeof(user), "{client-certificate: %s/crt, client-key: %s/key}", world->dir,
		 world->dir);
	world->config = fake_kubeconfig(world->fake, user);
	assert_null(kube_client_new(world->loop, world->config, NULL, &quick, &err));
	assert_string_equal(err.text,
			    "/tmp/fake.yaml: users[\"u\"]: client-certificate: no PEM certificate in it");
	write_file(world, "crt", fake_ca(world->fake));
	assert_null(kube_client_new(world->loop, world->config, NULL, &quick, &err));
	assert_string_equal(
	    err.text,
	    "/tmp/fake.yaml: users[\"u\"]: client-key: no PEM private key without a password in it");
	snprintf(expected, sizeof(expected),
		 "/tmp/fake.yaml: users[\"u\"]: client-key: %s/key: No such file or directory", world->dir);
	snprintf(user, sizeof(user), "%s/key", world->dir);
	unlink(user);
	assert_null(kube_client_new(world->loop, world->config, NULL, &quick, &err));
	assert_string_equal(err.text, expected);
}

static void a_name_and_password_are_sent(void **state)
{
	struct world *world = *state;
	struct ask ask = {0};

	start(world, "{username: me, password: 'a:b'}");
	say(world, "/a", 200, "");
	get(world, &ask, "/a");
	assert_string_equal(fake_nth(world->fake, "/a", 0)->authorization, "Basic bWU6YTpi");
}

static void a_rotated_token_is_read_again_on_401_and_costs_one_try(void **state)
{
	struct world *world = *state;
	struct ask ask = {0};
	char user[128];

	write_file(world, "token", "one\n");
	snprintf(user, sizeof(user), "{tokenFile: %s/token}", world->dir);
	start(world, user);
	say(world, "/a", 200, "hello");
	fake_require(world->fake, "Bearer one");
	get(world, &ask, "/a");
	assert_int_equal(ask.code, 0);
	fake_require(world->fake, "Bearer two");
	write_file(world, "token", "two");
	get(world, &ask, "/a");
	assert_int_equal(ask.code, 0);
	assert_int_equal(fake_count(world->fake, "/a"), 3);
	/* An empty file keeps the last good token. */
	write_file(world, "token", "");
	get(world, &ask, "/a");
	assert_int_equal(ask.code, 0);
	/* Refused with the token there is: one try, then the truth. */
	fake_require(world->fake, "Bearer three");
	get(world, &ask, "/a");
	assert_int_equal(ask.status, 401);
	assert_int_equal(fake_count(world->fake, "/a"), 5);
	assert_string_equal(ask.why, "401 Unauthorized: Unauthorized");
	buf_done(&ask.body);
}

static void nothing_is_sent_before_there_is_a_first_token(void **state)
{
	struct world *world = *state;
	struct ask ask = {0};
	char user[128];

	snprintf(user, sizeof(user), "{tokenFile: %s/token}", world->dir);
	start(world, user);
	get(world, &ask, "/a");
	assert_true(ask.code < 0);
	assert_non_null(strstr(ask.why, "no token in it yet"));
	assert_int_equal(fake_count(world->fake, ""), 0);
	write_file(world, "token", "one");
	say(world, "/a", 200, "hello");
	get(world, &ask, "/a");
	assert_int_equal(ask.code, 0);
	buf_done(&ask.body);
}

/* ---- credential plugins ---- */

/* A plugin that writes down how it was called, then does what `script` says. */
static void start_with_plugin(struct world *world, const char *script)
{
	char text[2048], user[512], path[128];

	snprintf(text, sizeof(text),
		 "#!/bin/sh\necho \"$* PROFILE=$PROFILE\" >> %s/calls\necho \"$KUBERNETES_EXEC_INFO\" > "
		 "%s/info\n%s\n",
		 world->dir, world->dir, script);
	write_file(world, "plugin", text);
	snprintf(path, sizeof(path), "%s/plugin", world->dir);
	assert_int_equal(chmod(path, 0700), 0);
	snprintf(user, sizeof(user),
		 "{exec: {apiVersion: client.authentication.k8s.io/v1, command: %s, args: [get, token], "
		 "env: [{name: PROFILE, value: prod}], provideClusterInfo: true}}",
		 path);
	start(world, user);
}

/* What a file of the test holds; one text at a time. */
static const char *file_text(const struct world *world, const char *name)
{
	static char text[4096];
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", world->dir, name);
	FILE *file = fopen(path, "r");
	size_t len = file ? fread(text, 1, sizeof(text) - 1, file) : 0;

	if (file)
		fclose(file);
	text[len] = '\0';
	return text;
}

static unsigned call_count(const struct world *world)
{
	const char *text = file_text(world, "calls");
	unsigned count = 0;

	for (; *text; text++)
		count += *text == '\n';
	return count;
}

#define CREDENTIAL(status)                                                                       \
	"echo '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\"," \
	"\"status\":{" status "}}'"

static void a_plugin_gives_the_token_once_for_all_requests(void **state)
{
	struct world *world = *state;
	struct ask asks[5] = {{0}};

	start_with_plugin(world, CREDENTIAL("\"token\":\"sesame\""));
	say(world, "/a", 200, "hello");
	for (size_t i = 0; i < 5; i++)
		send_ask(world, &asks[i], "GET", "/a", "");
	for (size_t i = 0; i < 5; i++) {
		await(world, asks[i].done);
		assert_int_equal(asks[i].code, 0);
		buf_done(&asks[i].body);
	}
	assert_string_equal(fake_nth(world->fake, "/a", 4)->authorization, "Bearer sesame");
	assert_string_equal(file_text(world, "calls"), "get token PROFILE=prod\n");
	assert_non_null(strstr(file_text(world, "info"),
			       "\"interactive\":false,\"cluster\":{\"server\":\"https://127.0.0.1:"));
}

static void a_plugin_runs_again_when_its_token_is_refused(void **state)
{
	struct world *world = *state;
	struct ask ask = {0};

	start_with_plugin(
	    world,
	    "n=$(wc -l < $(dirname $0)/calls); "
	    "echo '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{\"token\":\"t'$n'\"}}'");
	say(world, "/a", 200, "hello");
	get(world, &ask, "/a");
	assert_string_equal(fake_nth(world->fake, "/a", 0)->authorization, "Bearer t1");
	ev_tstamp until = ev_time() + 0.25; /* exec_apart_s is 0.2 */

	await(world, ev_time() > until);
	fake_require(world->fake, "Bearer t2");
	get(world, &ask, "/a");
	assert_int_equal(ask.code, 0);
	assert_int_equal(call_count(world), 2);
	/* Refused at once again: the plugin is not run in a loop. */
	fake_require(world->fake, "Bearer nobody");
	get(world, &ask, "/a");
	get(world, &ask, "/a");
	assert_int_equal(ask.status, 401);
	assert_int_equal(call_count(world), 2);
	buf_done(&ask.body);
}

static void credentials_that_change_all_the_time_are_tried_twice(void **state)
{
	struct world *world = *state;
	struct kube_timing hasty = quick;
	struct ask ask = {0};
	struct err err;

	start_with_plugin(
	    world,
	    "n=$(wc -l < $(dirname $0)/calls); "
	    "echo '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{\"token\":\"t'$n'\"}}'");
	kube_client_free(world->client);
	hasty.exec_apart_s = 0;
	world->client = kube_client_new(world->loop, world->config, NULL, &hasty, &err);
	fake_require(world->fake, "Bearer nobody");
	get(world, &ask, "/a");
	assert_int_equal(ask.status, 401);
	assert_int_equal(fake_count(world->fake, "/a"), 2);
	world->client = kube_client_free(world->client);
}

static void a_plugin_runs_again_when_its_token_expires(void **state)
{
	struct world *world = *state;
	struct ask ask = {0};

	/* Less than the leeway of 5 s is left, then plenty. */
	start_with_plugin(
	    world, "[ $(wc -l < $(dirname $0)/calls) = 1 ] && t=$(date -u -d '+6 seconds' +%FT%TZ) || "
		   "t=2099-01-01T00:00:00Z; "
		   "echo '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{\"token\":\"t\","
		   "\"expirationTimestamp\":\"'$t'\"}}'");
	say(world, "/a", 200, "hello");
	get(world, &ask, "/a");
	assert_int_equal(ask.code, 0);
	assert_int_equal(call_count(world), 1);
	ev_tstamp until = ev_time() + 2;

	await(world, ev_time() > until);
	get(world, &ask, "/a");
	get(world, &ask, "/a");
	assert_int_equal(ask.code, 0);
	assert_int_equal(call_count(world), 2);
	buf_done(&ask.body);
}

static void a_plugin_may_give_a_client_certificate(void **state)
{
	struct world *world = *state;
	struct ask ask = {0};
	struct buf json = {0};

	buf_append_text(
	    &json,
	    "{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{\"clientCertificateData\":\"");
	buf_append_json(&json, str_of(fake_ca(world->fake)));
	buf_append_text(&json, "\",\"clientKeyData\":\"");
	buf_append_json(&json, str_of(fake_key(world->fake)));
	buf_append_text(&json, "\"}}");
	buf_append_char(&json, '\0');
	write_file(world, "credential", buf_head(&json));
	buf_done(&json);
	start_with_plugin(world, "cat $(dirname $0)/credential");
	say(world, "/a", 200, "hello");
	get(world, &ask, "/a");
	assert_int_equal(ask.code, 0);
	assert_true(fake_nth(world->fake, "/a", 0)->certificate != 0);
	assert_string_equal(fake_nth(world->fake, "/a", 0)->authorization, "");
	buf_done(&ask.body);
}

static void expect_plugin_error(struct world *world, const char *script, const char *why)
{
	struct ask ask = {0};
	char expected[512];

	start_with_plugin(world, script);
	get(world, &ask, "/a");
	snprintf(expected, sizeof(expected), "/tmp/fake.yaml: users[\"u\"]: exec: %s/plugin: %s", world->dir,
		 why);
	assert_string_equal(ask.why, expected);
	assert_int_equal(fake_count(world->fake, ""), 0);
	/* It is not started again at once. */
	get(world, &ask, "/a");
	assert_string_equal(ask.why, expected);
	assert_int_equal(call_count(world), 1);
	world->client = kube_client_free(world->client);
	world->config = kube_config_free(world->config);
	write_file(world, "calls", "");
}

static void a_plugin_that_fails_is_named_with_the_reason_and_no_secret(void **state)
{
	struct world *world = *state;

	expect_plugin_error(world, "exit 3", "ended with status 3");
	expect_plugin_error(world, "kill -9 $$", "was killed by signal 9");
	expect_plugin_error(world, "echo secret", "its output is not JSON");
	expect_plugin_error(world, CREDENTIAL(""), "status: neither token nor clientCertificateData");
	expect_plugin_error(world, CREDENTIAL("\"token\":\"a b\""), "status.token: has white space in it");
	expect_plugin_error(world, CREDENTIAL("\"token\":\"t\",\"expirationTimestamp\":\"soon\""),
			    "status.expirationTimestamp: expected RFC 3339 time");
	expect_plugin_error(world, "echo '{\"apiVersion\":\"v1\"}'",
			    "apiVersion: expected client.authentication.k8s.io/v1");
	expect_plugin_error(world, "sleep 100", "did not end within 1 s");
	expect_plugin_error(world, "yes", "printed too much");
}

static void a_plugin_that_is_not_there_is_told_with_the_hint(void **state)
{
	struct world *world = *state;
	struct ask ask = {0};

	start(world, "{exec: {apiVersion: client.authentication.k8s.io/v1, command: no-such-plugin, "
		     "installHint: get it from the shop}}");
	get(world, &ask, "/a");
	assert_string_equal(ask.why, "/tmp/fake.yaml: users[\"u\"]: exec: no-such-plugin: No such file or "
				     "directory: get it from the shop");
}

static void a_client_can_be_freed_while_its_plugin_runs(void **state)
{
	struct world *world = *state;
	struct ask ask = {0};

	start_with_plugin(world, "sleep 100");
	send_ask(world, &ask, "GET", "/a", "");
	await(world, call_count(world) == 1);
	world->client = kube_client_free(world->client);
	assert_false(ask.done);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    test(an_answer_comes_whole_with_its_status),
	    test(a_refusal_says_what_the_server_said),
	    test(a_body_can_be_sent),
	    test(a_body_that_nobody_reads_is_thrown_away),
	    test(the_receiver_of_a_body_can_end_the_request),
	    test(a_server_that_says_nothing_is_given_up),
	    test(an_answer_cut_short_is_an_error),
	    test(a_cancelled_request_is_never_heard_of_again),
	    test(one_connection_carries_request_after_request),
	    test(a_few_connections_carry_many_requests_at_once),
	    test(a_kept_connection_the_server_closed_is_not_noticed_by_who_asks),
	    test(what_may_not_be_done_twice_is_not_sent_twice),
	    test(a_fresh_connection_that_fails_is_not_tried_for_ever),
	    test(a_connection_nobody_needs_is_closed),
	    test(a_server_with_another_certificate_is_not_talked_to),
	    test(a_client_certificate_is_shown_and_taken_up_anew_when_replaced),
	    test(files_that_cannot_be_used_are_named_at_the_start),
	    test(a_name_and_password_are_sent),
	    test(a_rotated_token_is_read_again_on_401_and_costs_one_try),
	    test(nothing_is_sent_before_there_is_a_first_token),
	    test(a_plugin_gives_the_token_once_for_all_requests),
	    test(a_plugin_runs_again_when_its_token_is_refused),
	    test(credentials_that_change_all_the_time_are_tried_twice),
	    test(a_plugin_runs_again_when_its_token_expires),
	    test(a_plugin_may_give_a_client_certificate),
	    test(a_plugin_that_fails_is_named_with_the_reason_and_no_secret),
	    test(a_plugin_that_is_not_there_is_told_with_the_hint),
	    test(a_client_can_be_freed_while_its_plugin_runs),
	};

	signal(SIGPIPE, SIG_IGN);
	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
