/* ingress/auth: users from Secrets, credentials from requests, and verdicts through the pool on a worker's
 * loop. */
/* LINK: ingress/auth.c ingress/auth_pool.c ingress/auth_hash.c ingress/finding.c conf/object.c */
/* LINK: base/arena.c base/err.c base/map.c base/str.c */
/* LIBS: -laprutil-1 -lapr-1 -lcrypto -lxxhash -lev */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "base/cleanup.h"
#include "ingress/auth.h"
#include "ingress/auth_hash.h"
#include "ingress/auth_users.h"

/* What htpasswd -nb (and openssl passwd for the crypt ones) prints for the password "open sesame". */
#define BCRYPT      "$2y$05$qoYyIsYnuOm36FK25U5oQ./RL/nqQ/ymdH.mULe5RmZcahrez9HGe"
#define BCRYPT10    "$2y$10$pwO68tTubIplynLAIBAykuudYg0zG0/2UbM18vW9GywU4/yA0yNz2"
#define APR1        "$apr1$RE8EHJ7m$u/F8b145RHc494gSO0Aeb0"
#define SHA         "{SHA}W8r/fyL/UzygmbNAjq2HbA67qac="
#define SSHA        "{SSHA}hN5uxFJUEWCPg56kk42tnVCdJ61zYWx0"
#define DES         "/GJXQV7NWaUPs"
#define MD5CRYPT    "$1$..xl.aid$q/JvdeC7/dx0yRfrtBwcv."
#define SHA256CRYPT "$5$wpsym7eR59Wefo0o$ccrJVZVz5wqqZ1LA1RimLyXR8UCrinIqq0agae/qqy8"
#define SHA512CRYPT                                           \
	"$6$7XOOFsS.QZEjHo5t$uz39sD9yggIdLSxTtOUEp3ARwI0h7Z/" \
	"uPl7J8QPfoswpUrtalhxhowfO614m99SuFKGe.hKtMPZp7bG8a2h5F."
#define YESCRYPT "$y$j9T$abcdefghijklmnop$eGyjAiVfgW5OYCicb.sdOKKTHoUXqY6W9IY0nTUzXz7"

/* ---- hashes ---- */

static const char *const usable[] = {BCRYPT,
				     BCRYPT10,
				     APR1,
				     SHA,
				     SSHA,
				     DES,
				     MD5CRYPT,
				     SHA256CRYPT,
				     SHA512CRYPT,
				     YESCRYPT,
				     "{PLAIN}open sesame"};

static void every_kind_of_hash_takes_its_password_and_no_other(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(usable); i++) {
		assert_null(auth_hash_problem(str_of(usable[i])));
		if (!auth_hash_matches(usable[i], "open sesame"))
			fail_msg("%s refuses its password", usable[i]);
		assert_false(auth_hash_matches(usable[i], "open says me"));
		assert_false(auth_hash_matches(usable[i], ""));
	}
}

static void hashes_that_are_unknown_broken_or_too_costly_are_named(void **state)
{
	static const char *const unusable[] = {
	    "",
	    "open sesame",
	    "$2y$05$short",
	    "$2y$17$qoYyIsYnuOm36FK25U5oQ./RL/nqQ/ymdH.mULe5RmZcahrez9HGe",
	    "{SHA}W8r",
	    "{SSHA}W8r/fyL/UzygmbNAjq2HbA==",
	    "{MD5}abc",
	    "$6$rounds=999999999$salt$hash",
	    "$7$CU..../....x",
	    "$y$jFT$abcdefghijklmnop$eGyjAiVfgW5OYCicb.sdOKKTHoUXqY6W9IY0nTUzXz7",
	    "12:45678901bc",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(unusable); i++) {
		if (!auth_hash_problem(str_of(unusable[i])))
			fail_msg("%s passed", unusable[i]);
	}
}

static void base64_is_decoded_with_and_without_padding(void **state)
{
	static const struct {
		const char *text, *expected; /* NULL: refused */
	} cases[] = {
	    {"", ""},           {"Zg==", "f"},        {"Zg", "f"},           {"Zm8=", "fo"}, {"Zm8", "fo"},
	    {"Zm9v", "foo"},    {"Zm9vYg==", "foob"}, {"Z", NULL},           {"Zg=", NULL},  {"Z===", NULL},
	    {"Zm9v!A==", NULL}, {"=", NULL},          {"Zm9vYmFyYmF6", NULL}};
	unsigned char out[8];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		ssize_t len = auth_base64_decode(str_of(cases[i].text), out, sizeof(out));

		if (!cases[i].expected) {
			assert_int_equal(len, -EBADMSG);
			continue;
		}
		assert_int_equal(len, strlen(cases[i].expected));
		assert_memory_equal(out, cases[i].expected, (size_t)len);
	}
}

/* ---- users ---- */

static void comments_blank_lines_and_carriage_returns_in_htpasswd_are_passed_over(void **state)
{
	struct findings findings = {0};
	struct auth *auth = auth_from_htpasswd(
	    STR_LIT("# people\r\n\r\nalice:" SHA "\r\n  bob:" APR1 ":a comment\n"), &findings);

	(void)state;
	assert_int_equal(auth_user_count(auth), 2);
	assert_non_null(auth_find_user(auth, "alice"));
	assert_string_equal(auth_user_hash(auth, auth_find_user(auth, "bob"), "bob"), APR1);
	assert_int_equal(findings.count, 0);
	auth_unref(auth);
	findings_done(&findings);
}

static void a_bad_line_costs_itself_and_is_found_with_its_number(void **state)
{
	struct findings findings = {0};
	struct auth *auth =
	    auth_from_htpasswd(STR_LIT("alice\nbob:plain\ncarol:" SHA "\ncarol:" APR1 "\n:" SHA), &findings);

	(void)state;
	assert_int_equal(auth_user_count(auth), 1);
	assert_string_equal(auth_user_hash(auth, auth_find_user(auth, "carol"), "carol"), SHA);
	assert_int_equal(findings.count, 4);
	assert_string_equal(findings.items[0].field, "data[auth] line 1");
	assert_string_equal(findings.items[0].why, "expected user:hash");
	assert_string_equal(findings.items[1].field, "data[auth] line 2");
	assert_string_equal(findings.items[2].why, "the user is there already; the first one counts");
	assert_string_equal(findings.items[3].why, "a user without a name");
	auth_unref(auth);
	findings_done(&findings);
}

static struct named_bytes datum(const char *key, const char *value)
{
	return (struct named_bytes){key, {(const uint8_t *)value, strlen(value)}};
}

static void an_auth_file_secret_holds_its_users_under_the_key_auth(void **state)
{
	struct named_bytes data[] = {datum("auth", "alice:" SHA "\n"), datum("other", "bob:" SHA)};
	struct secret secret = {.meta = {.kind = KIND_SECRET, .ns = "shop", .name = "users"},
				.data = data,
				.data_count = ARRAY_LEN(data)};
	struct auth *auth = auth_from_secret(&secret, AUTH_SECRET_FILE, NULL, NULL);
	struct err err = {""};

	(void)state;
	assert_int_equal(auth_user_count(auth), 1);
	auth_unref(auth);
	data[0].key = "users";
	assert_null(auth_from_secret(&secret, AUTH_SECRET_FILE, NULL, &err));
	assert_string_equal(err.text, "has no key \"auth\"");
}

static void an_auth_map_secret_has_a_key_per_user(void **state)
{
	struct named_bytes data[] = {datum("alice", SHA "\n"), datum("bob", APR1),
				     datum("carol", "nonsense")};
	struct secret secret = {.meta = {.kind = KIND_SECRET, .ns = "shop", .name = "users"},
				.data = data,
				.data_count = ARRAY_LEN(data)};
	struct findings findings = {0};
	struct auth *auth = auth_from_secret(&secret, AUTH_SECRET_MAP, &findings, NULL);

	(void)state;
	assert_int_equal(auth_user_count(auth), 2);
	assert_string_equal(auth_user_hash(auth, auth_find_user(auth, "alice"), "alice"), SHA);
	assert_int_equal(findings.count, 1);
	assert_string_equal(findings.items[0].field, "data[carol]");
	auth_unref(auth);
	findings_done(&findings);
}

static void an_unknown_user_is_hashed_against_somebodys_hash_always_the_same(void **state)
{
	struct auth *auth = auth_from_htpasswd(STR_LIT("alice:" SHA "\nbob:" APR1), NULL);
	const char *decoy = auth_user_hash(auth, NULL, "mallory");

	(void)state;
	assert_true(strcmp(decoy, SHA) == 0 || strcmp(decoy, APR1) == 0);
	assert_ptr_equal(auth_user_hash(auth, NULL, "mallory"), decoy);
	auth_unref(auth);
}

/* ---- credentials ---- */

static void basic_credentials_are_user_and_password_split_at_the_first_colon(void **state)
{
	struct auth_credentials credentials;

	(void)state;
	/* Aladdin:open sesame, RFC 7617 section 2 */
	assert_int_equal(auth_credentials_parse(STR_LIT("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), &credentials),
			 0);
	assert_string_equal(credentials.text, "Aladdin");
	assert_string_equal(credentials.text + credentials.user_len + 1, "open sesame");
	assert_int_equal(credentials.password_len, 11);
	/* u:p:q */
	assert_int_equal(auth_credentials_parse(STR_LIT("basic   dTpwOnE="), &credentials), 0);
	assert_string_equal(credentials.text + credentials.user_len + 1, "p:q");
	/* : */
	assert_int_equal(auth_credentials_parse(STR_LIT("BASIC Og=="), &credentials), 0);
	assert_int_equal(credentials.user_len, 0);
	assert_int_equal(credentials.password_len, 0);
}

static void what_are_no_basic_credentials_is_refused(void **state)
{
	static const char *const bad[] = {"",
					  "Basic",
					  "Basic ",
					  "Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
					  "BasicQWxhZGRpbjpvcGVuIHNlc2FtZQ==",
					  "Basic QWxhZGRpbg==",   /* no colon */
					  "Basic YQA6Yg==",       /* a NUL b */
					  "Basic QWxh ZGRpbjpv"}; /* a blank inside */
	char long_value[2000] = "Basic ";
	struct auth_credentials credentials;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(auth_credentials_parse(str_of(bad[i]), &credentials), -EBADMSG);
	memset(long_value + 6, 'O', sizeof(long_value) - 7);
	assert_int_equal(auth_credentials_parse(str_of(long_value), &credentials), -EBADMSG);
}

/* ---- verdicts ---- */

struct fixture {
	struct ev_loop *loop;
	struct auth_pool *pool;
	struct auth_client *client;
	struct auth *auth;
	unsigned granted, denied;
};

static void on_verdict(void *ctx, enum auth_verdict verdict)
{
	struct fixture *fixture = ctx;

	if (verdict == AUTH_GRANTED)
		fixture->granted++;
	else
		fixture->denied++;
}

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	fixture->loop = ev_loop_new(EVFLAG_AUTO);
	fixture->pool = auth_pool_new(1, 4, NULL);
	fixture->client = auth_client_new(fixture->pool, fixture->loop);
	fixture->auth = auth_from_htpasswd(STR_LIT("alice:" BCRYPT "\nbob:" BCRYPT10 "\n"), NULL);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	auth_unref(fixture->auth);
	auth_client_free(fixture->client);
	auth_pool_free(fixture->pool);
	ev_loop_destroy(fixture->loop);
	free(fixture);
	return 0;
}

static struct auth_credentials pair(const char *user, const char *password)
{
	struct auth_credentials credentials = {.user_len = strlen(user), .password_len = strlen(password)};

	memcpy(credentials.text, user, credentials.user_len + 1);
	memcpy(credentials.text + credentials.user_len + 1, password, credentials.password_len + 1);
	return credentials;
}

static enum auth_verdict check(struct fixture *fixture, const char *user, const char *password,
			       struct auth_query **ret_query)
{
	struct auth_credentials credentials = pair(user, password);

	return auth_check(fixture->client, fixture->auth, &credentials, on_verdict, fixture, ret_query);
}

/* The event that brings a verdict counts as no reason to wait, so the loop is given one. */
static void on_timeout(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)timer;
	(void)revents;
	ev_break(loop, EVBREAK_ALL);
}

static void run_until_heard(struct fixture *fixture, unsigned count)
{
	ev_timer timeout;

	ev_timer_init(&timeout, on_timeout, 20, 0);
	ev_timer_start(fixture->loop, &timeout);
	while (fixture->granted + fixture->denied < count && ev_is_active(&timeout))
		ev_run(fixture->loop, EVRUN_ONCE);
	ev_timer_stop(fixture->loop, &timeout);
	assert_int_equal(fixture->granted + fixture->denied, count);
}

static void the_right_password_is_granted_later_and_then_at_once(void **state)
{
	struct fixture *fixture = *state;
	struct auth_query *query = NULL;

	assert_int_equal(check(fixture, "alice", "open sesame", &query), AUTH_PENDING);
	assert_non_null(query);
	run_until_heard(fixture, 1);
	assert_int_equal(fixture->granted, 1);
	assert_int_equal(check(fixture, "alice", "open sesame", &query), AUTH_GRANTED);
}

static void a_wrong_password_and_an_unknown_user_are_denied_each_time_anew(void **state)
{
	struct fixture *fixture = *state;
	struct auth_query *query;

	assert_int_equal(check(fixture, "alice", "Open Sesame", &query), AUTH_PENDING);
	assert_int_equal(check(fixture, "mallory", "open sesame", &query), AUTH_PENDING);
	assert_int_equal(check(fixture, "", "", &query), AUTH_PENDING);
	run_until_heard(fixture, 3);
	assert_int_equal(fixture->denied, 3);
	assert_int_equal(check(fixture, "alice", "Open Sesame", &query), AUTH_PENDING);
	run_until_heard(fixture, 4);
	assert_int_equal(fixture->denied, 4);
}

static void what_was_verified_for_one_user_says_nothing_about_another(void **state)
{
	struct fixture *fixture = *state;
	struct auth_query *query;

	assert_int_equal(check(fixture, "alice", "open sesame", &query), AUTH_PENDING);
	run_until_heard(fixture, 1);
	assert_int_equal(check(fixture, "bob", "open sesame", &query), AUTH_PENDING);
	run_until_heard(fixture, 2);
	assert_int_equal(check(fixture, "alice", "open sesam", &query), AUTH_PENDING);
	run_until_heard(fixture, 3);
	assert_int_equal(fixture->granted, 2);
	assert_int_equal(check(fixture, "alice", "open sesame", &query), AUTH_GRANTED);
}

static void what_was_verified_is_forgotten_with_the_users(void **state)
{
	struct fixture *fixture = *state;
	struct auth_query *query;

	assert_int_equal(check(fixture, "alice", "open sesame", &query), AUTH_PENDING);
	run_until_heard(fixture, 1);
	auth_unref(fixture->auth);
	fixture->auth = auth_from_htpasswd(STR_LIT("alice:" BCRYPT10), NULL);
	assert_int_equal(check(fixture, "alice", "open sesame", &query), AUTH_PENDING);
	run_until_heard(fixture, 2);
}

static void a_secret_without_users_denies_at_once(void **state)
{
	struct fixture *fixture = *state;
	struct auth_query *query;

	auth_unref(fixture->auth);
	fixture->auth = auth_from_htpasswd(STR_LIT(""), NULL);
	assert_int_equal(check(fixture, "alice", "open sesame", &query), AUTH_DENIED);
}

static void more_checks_than_may_wait_are_busy(void **state)
{
	struct fixture *fixture = *state;
	struct auth_query *query;
	unsigned pending = 0, busy = 0;

	/* One may be running, four may wait. */
	for (int i = 0; i < 10; i++) {
		if (check(fixture, "bob", "wrong", &query) == AUTH_PENDING)
			pending++;
		else
			busy++;
	}
	assert_in_range(pending, 4, 6);
	assert_true(busy >= 4);
	run_until_heard(fixture, pending);
	assert_int_equal(check(fixture, "bob", "wrong", &query), AUTH_PENDING);
	run_until_heard(fixture, pending + 1);
}

static void a_cancelled_check_calls_nobody_wherever_it_is(void **state)
{
	struct fixture *fixture = *state;
	struct auth_query *queries[4];

	for (size_t i = 0; i < ARRAY_LEN(queries); i++)
		assert_int_equal(check(fixture, "bob", "wrong", &queries[i]), AUTH_PENDING);
	auth_cancel(fixture->client, queries[2]); /* waits */
	auth_cancel(fixture->client, queries[0]); /* waits or is being hashed */
	run_until_heard(fixture, 2);
	assert_int_equal(check(fixture, "bob", "wrong", &queries[0]), AUTH_PENDING);
	run_until_heard(fixture, 3);
}

static void a_client_may_go_with_checks_in_every_state(void **state)
{
	struct fixture *fixture = *state;
	struct auth_query *query;

	for (int i = 0; i < 4; i++)
		assert_int_equal(check(fixture, "bob", "wrong", &query), AUTH_PENDING);
	fixture->client = auth_client_free(fixture->client);
	auth_unref(fixture->auth);
	fixture->auth = NULL;
}

static void the_users_may_go_while_a_check_is_pending(void **state)
{
	struct fixture *fixture = *state;
	struct auth_query *query;

	assert_int_equal(check(fixture, "alice", "open sesame", &query), AUTH_PENDING);
	fixture->auth = auth_unref(fixture->auth);
	run_until_heard(fixture, 1);
	assert_int_equal(fixture->granted, 1);
}

#define VERDICT_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_kind_of_hash_takes_its_password_and_no_other),
	    cmocka_unit_test(hashes_that_are_unknown_broken_or_too_costly_are_named),
	    cmocka_unit_test(base64_is_decoded_with_and_without_padding),
	    cmocka_unit_test(comments_blank_lines_and_carriage_returns_in_htpasswd_are_passed_over),
	    cmocka_unit_test(a_bad_line_costs_itself_and_is_found_with_its_number),
	    cmocka_unit_test(an_auth_file_secret_holds_its_users_under_the_key_auth),
	    cmocka_unit_test(an_auth_map_secret_has_a_key_per_user),
	    cmocka_unit_test(an_unknown_user_is_hashed_against_somebodys_hash_always_the_same),
	    cmocka_unit_test(basic_credentials_are_user_and_password_split_at_the_first_colon),
	    cmocka_unit_test(what_are_no_basic_credentials_is_refused),
	    VERDICT_TEST(the_right_password_is_granted_later_and_then_at_once),
	    VERDICT_TEST(a_wrong_password_and_an_unknown_user_are_denied_each_time_anew),
	    VERDICT_TEST(what_was_verified_for_one_user_says_nothing_about_another),
	    VERDICT_TEST(what_was_verified_is_forgotten_with_the_users),
	    VERDICT_TEST(a_secret_without_users_denies_at_once),
	    VERDICT_TEST(more_checks_than_may_wait_are_busy),
	    VERDICT_TEST(a_cancelled_check_calls_nobody_wherever_it_is),
	    VERDICT_TEST(a_client_may_go_with_checks_in_every_state),
	    VERDICT_TEST(the_users_may_go_while_a_check_is_pending),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
