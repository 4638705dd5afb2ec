/* nft/kernel and nft/monitor against a real kernel, in a network namespace of its own for each test. */
/* LINK: nft/rule.c nft/ruleset.c nft/diff.c nft/encode.c nft/encode_rule.c nft/decode.c nft/kernel.c */
/* LINK: nft/dump.c nft/query.c nft/monitor.c nft/socket.c tests/net/nft_sample.c */
/* LINK: base/arena.c base/buf.c base/str.c base/addr.c base/err.c */
/* LIBS: -lmnl -lxxhash */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "nft/kernel.h"
#include "nft/rule.h"
#include "tests/net/nft_sample.h"

#define NOTHING ((struct str){NULL, 0})

static const struct nft_table_id ip4 = {.family = AF_INET, .name = "fairlead"};
static const struct nft_table_id ip6 = {.family = AF_INET6, .name = "fairlead"};
static const struct nft_ruleset empty;

struct fixture {
	struct nft_kernel *kernel;
	struct nft_ruleset sample;
	char output[64 * 1024]; /* of the nft program */
};

/* ---- helpers ---- */

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd >= 0) {
		assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
		close(fd);
	}
}

/* A new network namespace; without root inside a new user namespace, where we are root. */
static int enter_namespace(bool with_user)
{
	char map[64];
	unsigned uid = getuid();

	if (unshare(CLONE_NEWNET | (with_user ? CLONE_NEWUSER : 0)) != 0)
		return -errno;
	if (with_user) {
		snprintf(map, sizeof(map), "0 %u 1", uid);
		write_file("/proc/self/uid_map", map);
	}
	return 0;
}

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct err err = {{0}};
	static bool has_user_namespace;

	if (!fixture || enter_namespace(getuid() != 0 && !has_user_namespace) != 0)
		return -1;
	has_user_namespace = true;
	fixture->kernel = nft_kernel_open(&err);
	if (!fixture->kernel)
		fail_msg("%s", err.text);
	nft_sample(&fixture->sample, AF_INET);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	nft_kernel_close(fixture->kernel);
	nft_ruleset_done(&fixture->sample);
	free(fixture);
	return 0;
}

/* Runs a program with its output into output; returns its exit status. */
static int run(struct fixture *fixture, const char *const words[])
{
	size_t used = 0;
	ssize_t got;
	int ends[2], status;
	pid_t child;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		dup2(ends[1], STDOUT_FILENO);
		dup2(ends[1], STDERR_FILENO);
		execvp(words[0], (char *const *)(const void *)words);
		_exit(127);
	}
	close(ends[1]);
	while ((got = read(ends[0], fixture->output + used, sizeof(fixture->output) - 1 - used)) > 0)
		used += (size_t)got;
	fixture->output[used] = '\0';
	close(ends[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define NFT(fixture, ...) run((fixture), (const char *const[]){"nft", __VA_ARGS__, NULL})

static void must_nft(struct fixture *fixture, const char *command)
{
	int status = NFT(fixture, command);

	if (status != 0)
		fail_msg("nft %s: %s", command, fixture->output);
}

static void apply_ops(struct fixture *fixture, struct nft_table_id table, struct nft_ops *ops)
{
	struct err err = {{0}};

	if (nft_kernel_apply(fixture->kernel, table, ops, NULL, &err) != 0)
		fail_msg("%s", err.text);
	nft_ops_done(ops);
}

/* Brings the table from one ruleset to another. */
static void change(struct fixture *fixture, struct nft_table_id table, const struct nft_ruleset *from,
		   const struct nft_ruleset *to)
{
	struct nft_ops ops = {.count = 0};

	assert_int_equal(nft_diff(from, to, &ops), 0);
	apply_ops(fixture, table, &ops);
}

static struct nft_ruleset dump(struct fixture *fixture, struct nft_table_id table)
{
	struct nft_ruleset found = {.failed = 0};
	struct err err = {{0}};

	if (nft_kernel_dump(fixture->kernel, table, &found, &err) != 0)
		fail_msg("%s", err.text);
	return found;
}

/* The kernel's table is what is wanted, item by item. */
static void assert_in_force(struct fixture *fixture, struct nft_table_id table,
			    const struct nft_ruleset *wanted)
{
	struct nft_ruleset found = dump(fixture, table);
	struct nft_ops ops = {.count = 0};
	char text[NFT_ITEM_TEXT_MAX];

	assert_int_equal(nft_diff(&found, wanted, &ops), 0);
	if (ops.count > 0 || ops.rebuild)
		fail_msg("differs in %zu items, first: %s", ops.count, nft_item_text(ops.ops[0].item, text));
	assert_int_equal(found.count, wanted->count);
	nft_ops_done(&ops);
	nft_ruleset_done(&found);
}

static struct str slot_key(struct nft_key *key, uint32_t slot)
{
	*key = (struct nft_key){.len = 0};
	nft_key_add_u32(key, slot);
	return nft_key_str(key);
}

static void add_endpoint(struct nft_ruleset *ruleset, uint32_t slot, uint8_t last)
{
	struct ip ip = {.family = AF_INET, .bytes = {10, 200, 0, last}};
	struct nft_key key, value = {.len = 0};

	nft_key_add_ip(&value, &ip);
	nft_key_add_port(&value, 8080);
	nft_ruleset_add_elem(ruleset, "endpoints", slot_key(&key, slot), nft_key_str(&value));
}

/* A verdict for 10.97.x.y tcp port 80. */
static void add_service(struct nft_ruleset *ruleset, unsigned number, const char *chain)
{
	struct ip ip = {.family = AF_INET, .bytes = {10, 97, (uint8_t)(number >> 8), (uint8_t)number}};
	struct nft_key key = {.len = 0};

	nft_key_add_ip(&key, &ip);
	nft_key_add_u8(&key, 6);
	nft_key_add_port(&key, 80);
	nft_ruleset_add_verdict(ruleset, "services", nft_key_str(&key), str_of(chain));
}

/* ---- values and tables ---- */

static void what_is_dumped_is_what_was_applied(void **state)
{
	struct fixture *fixture = *state;
	struct nft_ruleset sample6 = {.failed = 0};

	nft_sample(&sample6, AF_INET6);
	change(fixture, ip4, &empty, &fixture->sample);
	change(fixture, ip6, &empty, &sample6);
	assert_in_force(fixture, ip4, &fixture->sample);
	assert_in_force(fixture, ip6, &sample6);
	nft_ruleset_done(&sample6);
}

static void a_dump_brings_back_the_tags(void **state)
{
	struct fixture *fixture = *state;
	const uint32_t base_and_count[] = {1, 3};
	struct nft_ruleset found;
	const struct nft_item *item;

	change(fixture, ip4, &empty, &fixture->sample);
	found = dump(fixture, ip4);
	item = nft_ruleset_find(&found, NFT_ITEM_RULES, "svc/default/web/http/tcp", NOTHING);
	assert_non_null(item);
	assert_int_equal(item->tag.len, sizeof(base_and_count));
	assert_memory_equal(item->tag.p, base_and_count, sizeof(base_and_count));
	nft_ruleset_done(&found);
}

static void the_nft_program_prints_the_table(void **state)
{
	static const char *const expected[] = {
	    "table ip fairlead",
	    "goto svc/default/web/http/tcp",
	    "type classid : ipv4_addr . inet_service",
	    "0:1 comment \"default/web:http\" : 10.96.0.101 . 8080",
	    "elements = { \"eth0\" }",
	    "10.96.0.0/16, 10.97.0.0/16,",
	    "192.168.7.1, 240.0.0.0/4",
	    "10.96.0.0/24 . 80-90 comment \"range of ranges\"",
	    "meta l4proto @protocols meta priority set none dnat ip to meta priority map @endpoints",
	    "meta priority set numgen inc mod 3 offset 1 goto dispatch comment \"default/web:http\"",
	    "ct status dnat ct original ip daddr . meta l4proto . ct original proto-dst @masquerade "
	    "masquerade "
	    "fully-random comment \"frontends that need it\"",
	    "ip daddr . meta l4proto . th dport vmap @services",
	    "fib daddr type local meta l4proto . th dport vmap @nodeports comment \"node ports\"",
	    "ip saddr . th dport @firewall counter name \"dropped\" drop",
	    "update @affinity { ip saddr . 0x0000004d timeout 1m : numgen random mod 3 offset 1 }",
	    "iifname != \"cali*\" oifname \"eth0\" iif \"lo\" meta mark 0x00004000",
	    "comment \"all that the firewall took\"",
	    "reject with tcp reset",
	};
	struct fixture *fixture = *state;

	change(fixture, ip4, &empty, &fixture->sample);
	must_nft(fixture, "list ruleset");
	for (size_t i = 0; i < ARRAY_LEN(expected); i++)
		if (!strstr(fixture->output, expected[i]))
			fail_msg("not there: %s\n%s", expected[i], fixture->output);
}

/* What a service goes through: made, enlarged, moved, shrunk, gone; the last again is the first. */
static void step_of_life(struct nft_ruleset *ruleset, unsigned step)
{
	static const struct nft_chain_spec regular = {.hook = -1};
	struct nft_rules rules = {.failed = 0};

	nft_sample(ruleset, AF_INET);
	if (step % 6 == 0)
		return;
	nft_ruleset_add_chain(ruleset, "svc/life", &regular);
	nft_rule_begin(&rules, "life", NFT_NO_TAG);
	nft_rule_numgen(&rules, 0, NFT_NG_INCREMENTAL, step, 50);
	nft_rule_meta_set(&rules, NFT_FIELD_PRIORITY, 0);
	nft_rule_verdict(&rules, NFT_RULE_GOTO, "dispatch");
	nft_ruleset_add_rules(ruleset, "svc/life", &rules);
	nft_rules_done(&rules);
	for (unsigned i = 0; i < step; i++)
		add_endpoint(ruleset, 50 + i, (uint8_t)(step == 3 ? i + 100 : i));
	add_service(ruleset, step / 2, step == 4 ? "svc/default/web/http/tcp" : "svc/life");
	if (step > 3)
		nft_ruleset_add_counter(ruleset, "lives");
}

static void small_differences_lead_to_the_same_table_as_one_large(void **state)
{
	struct fixture *fixture = *state;
	struct nft_ruleset from = {.failed = 0};

	for (unsigned step = 0; step <= 12; step++) {
		struct nft_ruleset to = {.failed = 0};

		step_of_life(&to, step % 7);
		assert_int_equal(nft_ruleset_sort(&to, NULL), 0);
		change(fixture, ip4, &from, &to);
		assert_in_force(fixture, ip4, &to);
		nft_ruleset_done(&from);
		from = to;
	}
	nft_ruleset_done(&from);
}

static void a_chain_may_go_together_with_what_went_to_it(void **state)
{
	struct fixture *fixture = *state;
	struct nft_ruleset with = {.failed = 0};

	step_of_life(&with, 2);
	assert_int_equal(nft_ruleset_sort(&with, NULL), 0);
	change(fixture, ip4, &empty, &with);
	change(fixture, ip4, &with, &fixture->sample);
	assert_in_force(fixture, ip4, &fixture->sample);
	change(fixture, ip4, &fixture->sample, &empty);
	assert_in_force(fixture, ip4, &empty);
	nft_ruleset_done(&with);
}

static void a_set_of_another_nature_rebuilds_the_table(void **state)
{
	struct fixture *fixture = *state;
	struct nft_ruleset old = {.failed = 0};
	struct nft_set_spec spec = nft_set_spec_of(NFT_DATATYPES(NFT_DATATYPE_MARK), NULL, 0);
	struct nft_ops ops = {.count = 0};

	nft_ruleset_add_set(&old, "endpoints", &spec);
	nft_ruleset_add_counter(&old, "forgotten");
	assert_int_equal(nft_ruleset_sort(&old, NULL), 0);
	change(fixture, ip4, &empty, &old);
	assert_int_equal(nft_diff(&old, &fixture->sample, &ops), 0);
	assert_true(ops.rebuild);
	apply_ops(fixture, ip4, &ops);
	assert_in_force(fixture, ip4, &fixture->sample);
	nft_ruleset_done(&old);
}

static void a_rebuild_works_where_there_is_no_table(void **state)
{
	struct fixture *fixture = *state;
	struct nft_ops ops = {.rebuild = true};

	assert_int_equal(nft_diff(&empty, &fixture->sample, &ops), 0);
	apply_ops(fixture, ip4, &ops);
	assert_in_force(fixture, ip4, &fixture->sample);
}

static void a_table_deleted_is_gone_and_may_be_deleted_again(void **state)
{
	struct fixture *fixture = *state;
	struct nft_ruleset found = {.failed = 0};
	struct err err = {{0}};

	change(fixture, ip4, &empty, &fixture->sample);
	assert_int_equal(nft_kernel_delete_table(fixture->kernel, ip4, &err), 0);
	assert_int_equal(nft_kernel_delete_table(fixture->kernel, ip4, &err), 0);
	assert_int_equal(nft_kernel_dump(fixture->kernel, ip4, &found, &err), -ENOENT);
	assert_non_null(strstr(err.text, "fairlead"));
	must_nft(fixture, "list ruleset");
	assert_string_equal(fixture->output, "");
}

/* ---- refusals ---- */

/* One bad element in the middle of ten thousand: to a chain that is not there. */
static void a_refused_transaction_changes_nothing_and_names_the_culprit(void **state)
{
	struct fixture *fixture = *state;
	struct nft_ruleset wanted = {.failed = 0};
	struct nft_ops ops = {.count = 0};
	struct err err = {{0}};
	size_t failed = 0;

	change(fixture, ip4, &empty, &fixture->sample);
	nft_sample(&wanted, AF_INET);
	for (unsigned i = 0; i < 10000; i++)
		add_service(&wanted, i, i == 7777 ? "nowhere" : "svc/default/web/http/tcp");
	nft_ruleset_comment(&wanted, "the last");
	assert_int_equal(nft_ruleset_sort(&wanted, NULL), 0);
	assert_int_equal(nft_diff(&fixture->sample, &wanted, &ops), 0);
	assert_int_equal(ops.count, 10000);
	assert_int_equal(nft_kernel_apply(fixture->kernel, ip4, &ops, &failed, &err), -ENOENT);
	assert_true(failed < ops.count);
	assert_true(str_is(ops.ops[failed].item->value, "nowhere"));
	assert_non_null(strstr(err.text, "refused to add element of set services with key 0a611e61"));
	assert_in_force(fixture, ip4, &fixture->sample);

	/* without it all the others are taken */
	ops.ops[failed] = ops.ops[--ops.count];
	apply_ops(fixture, ip4, &ops);
	nft_ruleset_done(&wanted);
}

static void every_kind_of_refused_operation_is_named(void **state)
{
	static const char *const bad[] = {"chain", "rules", "set", "counter"};
	struct fixture *fixture = *state;
	struct nft_set_spec set = {.key_type = 7, .key_len_bytes = 200};
	const struct nft_chain_spec chain = {
	    .type = "nat", .hook = 2, .priority = 0}; /* no nat when forwarding */

	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		struct nft_ruleset wanted = {.failed = 0};
		struct nft_rules rules = {.failed = 0};
		struct nft_ops ops = {.count = 0};
		size_t failed = 0;

		nft_ruleset_add_counter(&wanted, "good");
		if (i == 0)
			nft_ruleset_add_chain(&wanted, "bad", &chain);
		nft_rule_begin(&rules, NULL, NFT_NO_TAG);
		nft_rule_lookup(&rules, "no such set", 0, false);
		if (i == 1)
			nft_ruleset_add_rules(&wanted, "bad", &rules);
		if (i == 2)
			nft_ruleset_add_set(&wanted, "bad", &set);
		if (i == 3)
			nft_ruleset_add_counter(&wanted, "bad");
		assert_int_equal(nft_diff(&empty, &wanted, &ops), 0);
		if (i == 3)
			ops.ops[1].type = NFT_OP_DELETE;
		assert_true(nft_kernel_apply(fixture->kernel, ip4, &ops, &failed, NULL) < 0);
		assert_true(failed < ops.count);
		assert_string_equal(ops.ops[failed].item->name, "bad");
		nft_ops_done(&ops);
		nft_rules_done(&rules);
		nft_ruleset_done(&wanted);
	}
	must_nft(fixture, "list ruleset");
	assert_string_equal(fixture->output, "");
}

static void a_fault_seen_only_in_the_end_is_no_single_operation(void **state)
{
	static const struct nft_chain_spec regular = {.hook = -1};
	const struct nft_chain_spec base = {.type = "filter", .hook = 1, .priority = 0};
	static const char *const chains[] = {"base", "a", "b", "a"};
	struct fixture *fixture = *state;
	struct nft_ruleset loop = {.failed = 0};
	struct nft_rules rules = {.failed = 0};
	struct nft_ops ops = {.count = 0};
	struct err err = {{0}};
	size_t failed = 0;

	nft_ruleset_add_chain(&loop, "base", &base);
	nft_ruleset_add_chain(&loop, "a", &regular);
	nft_ruleset_add_chain(&loop, "b", &regular);
	for (unsigned i = 0; i < 3; i++) {
		nft_rule_begin(&rules, NULL, NFT_NO_TAG);
		nft_rule_verdict(&rules, NFT_RULE_JUMP, chains[i + 1]);
		nft_ruleset_add_rules(&loop, chains[i], &rules);
		nft_rules_clear(&rules);
	}
	assert_int_equal(nft_diff(&empty, &loop, &ops), 0);
	assert_true(nft_kernel_apply(fixture->kernel, ip4, &ops, &failed, &err) < 0);
	must_nft(fixture, "list ruleset");
	assert_string_equal(fixture->output, "");
	nft_ops_done(&ops);
	nft_rules_done(&rules);
	nft_ruleset_done(&loop);
}

static void a_chain_still_in_use_is_the_only_thing_left(void **state)
{
	struct fixture *fixture = *state;
	struct nft_ruleset with = {.failed = 0}, found;
	struct nft_ops ops = {.count = 0};
	struct err err = {{0}};
	size_t failed = 0;

	step_of_life(&with, 2);
	assert_int_equal(nft_ruleset_sort(&with, NULL), 0);
	change(fixture, ip4, &empty, &with);
	must_nft(fixture, "add chain ip fairlead foreign ; add rule ip fairlead foreign goto svc/life");
	assert_int_equal(nft_diff(&with, &fixture->sample, &ops), 0);
	assert_int_equal(nft_kernel_apply(fixture->kernel, ip4, &ops, &failed, &err), -EUCLEAN);
	assert_true(failed < ops.count);
	assert_int_equal(ops.ops[failed].item->type, NFT_ITEM_CHAIN);
	assert_string_equal(ops.ops[failed].item->name, "svc/life");
	nft_ops_done(&ops);

	/* what the dump sees now is repaired as one more difference */
	found = dump(fixture, ip4);
	change(fixture, ip4, &found, &fixture->sample);
	assert_in_force(fixture, ip4, &fixture->sample);
	nft_ruleset_done(&found);
	nft_ruleset_done(&with);
}

/* In a child process, with what it lacks; its exit status is the result. */
static int in_child(int (*body)(void))
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0)
		_exit(body());
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int open_as_nobody(void)
{
	struct err err = {{0}};

	if (setresuid(65534, 65534, 65534) != 0)
		return 77;
	return !nft_kernel_open(&err) && strstr(err.text, "CAP_NET_ADMIN") ? 0 : 1;
}

static void without_the_capability_opening_says_so(void **state)
{
	int status;

	(void)state;
	status = in_child(open_as_nobody);
	if (status == 77) {
		print_message("skipped: not root, so no other user to become\n");
		skip();
	}
	assert_int_equal(status, 0);
}

/* Not root of the machine, only of a user namespace: the socket may not send as much as it likes. */
static int apply_too_much(void)
{
	struct nft_ruleset services = {.failed = 0};
	struct nft_ops ops = {.count = 0};
	struct nft_kernel *kernel;
	struct err err = {{0}};
	int result;

	if (enter_namespace(true) != 0)
		return 77;
	kernel = nft_kernel_open(&err);
	if (!kernel)
		return 1;
	nft_sample_services(&services, 15000, 10);
	if (nft_ruleset_sort(&services, &err) != 0 || nft_diff(&empty, &services, &ops) != 0)
		return 2;
	result = nft_kernel_apply(kernel, ip4, &ops, NULL, &err);
	if (result == 0)
		return 77; /* this machine lets everybody send that much */
	nft_ops_done(&ops);
	nft_ruleset_done(&services);
	nft_kernel_close(kernel);
	return result == -EMSGSIZE && strstr(err.text, "more than this socket may send") ? 0 : 3;
}

static void a_batch_larger_than_allowed_is_refused_in_plain_words(void **state)
{
	int status;

	(void)state;
	status = in_child(apply_too_much);
	if (status == 77) {
		print_message("skipped: no user namespaces, or no limit on what may be sent\n");
		skip();
	}
	assert_int_equal(status, 0);
}

/* ---- others ---- */

static void foreign_tables_are_left_as_they_are(void **state)
{
	struct fixture *fixture = *state;
	char *before;

	must_nft(fixture,
		 "add table ip other; add set ip other s { type ipv4_addr; flags interval; elements = { "
		 "10.0.0.0/8 } "
		 "; } ; add chain ip other c { type filter hook input priority 5; policy drop; } ; "
		 "add rule ip other c ip saddr @s log prefix \"x\" accept ; add table inet fairlead ; "
		 "add chain inet fairlead x ; add table ip fairlead2 ; add chain ip fairlead2 y");
	must_nft(fixture, "list ruleset");
	before = str_dup(str_of(fixture->output));
	assert_non_null(before);
	change(fixture, ip4, &empty, &fixture->sample);
	assert_in_force(fixture, ip4, &fixture->sample);
	assert_int_equal(nft_kernel_delete_table(fixture->kernel, ip4, NULL), 0);
	must_nft(fixture, "list ruleset");
	assert_string_equal(fixture->output, before);
	free(before);
}

static void what_others_altered_is_found_and_repaired(void **state)
{
	static const char *const meddling[] = {
	    "add rule ip fairlead dispatch drop",
	    "insert rule ip fairlead dispatch ip saddr { 1.2.3.4, 1.2.3.5 } drop",
	    "flush chain ip fairlead dispatch",
	    "add chain ip fairlead intruder { type filter hook input priority 7; policy drop; }",
	    "add set ip fairlead intruder { type ipv4_addr; }",
	    "add counter ip fairlead intruder",
	    "delete element ip fairlead endpoints { 0:2 }",
	    "add element ip fairlead endpoints { 0:77 : 1.2.3.4 . 5 }",
	    "add element ip fairlead service-cidrs { 11.0.0.0/8 }",
	    "delete element ip fairlead service-cidrs { 10.97.0.0/16 }",
	    "flush set ip fairlead firewall",
	    "add chain ip fairlead filter-input { policy drop; }",
	    "flush ruleset",
	};
	struct fixture *fixture = *state;

	change(fixture, ip4, &empty, &fixture->sample);
	for (size_t i = 0; i < ARRAY_LEN(meddling); i++) {
		struct nft_ruleset found = {.failed = 0};
		struct nft_ops ops = {.count = 0};
		int result;

		must_nft(fixture, meddling[i]);
		result = nft_kernel_dump(fixture->kernel, ip4, &found, NULL);
		assert_true(result == 0 || result == -ENOENT);
		assert_int_equal(nft_diff(&found, &fixture->sample, &ops), 0);
		if (ops.count == 0)
			fail_msg("not noticed: %s", meddling[i]);
		if (i < 2)
			assert_int_equal(
			    nft_ruleset_find(&found, NFT_ITEM_RULES, "dispatch", NOTHING)->fingerprint, 0);
		apply_ops(fixture, ip4, &ops);
		assert_in_force(fixture, ip4, &fixture->sample);
		nft_ruleset_done(&found);
	}
}

static void any_transaction_wakes_a_table_made_dormant(void **state)
{
	struct fixture *fixture = *state;
	struct nft_ops nothing = {.count = 0};

	change(fixture, ip4, &empty, &fixture->sample);
	must_nft(fixture, "add table ip fairlead { flags dormant; }");
	apply_ops(fixture, ip4, &nothing);
	must_nft(fixture, "list table ip fairlead");
	assert_null(strstr(fixture->output, "dormant"));
}

static void elements_made_by_packets_are_not_part_of_the_table(void **state)
{
	struct fixture *fixture = *state;
	struct nft_ruleset found = {.failed = 0};
	struct nft_ops ops = {.count = 0};

	change(fixture, ip4, &empty, &fixture->sample);
	must_nft(fixture, "add element ip fairlead affinity { 1.2.3.4 . 7 : 0:1, 1.2.3.5 . 7 : 0:2 }");
	assert_in_force(fixture, ip4, &fixture->sample);
	assert_int_equal(nft_kernel_dump_set(fixture->kernel, ip4, "affinity", &found, NULL), 0);
	assert_int_equal(found.count, 2);
	assert_memory_equal(found.items[0].key.p, "\x01\x02\x03\x04\x07\0\0\0", 8);
	assert_memory_equal(found.items[0].value.p, "\x01\0\0\0", 4);
	assert_int_equal(nft_ops_delete(&ops, &found.items[0]), 0);
	apply_ops(fixture, ip4, &ops);
	nft_ruleset_done(&found);
	assert_int_equal(nft_kernel_dump_set(fixture->kernel, ip4, "affinity", &found, NULL), 0);
	assert_int_equal(found.count, 1);
	assert_memory_equal(found.items[0].key.p, "\x01\x02\x03\x05", 4);
	nft_ruleset_done(&found);
	assert_int_equal(nft_kernel_dump_set(fixture->kernel, ip4, "no such set", &found, NULL), -ENOENT);
}

static void counters_are_read_with_their_numbers(void **state)
{
	struct fixture *fixture = *state;
	struct nft_ruleset found = {.failed = 0};

	change(fixture, ip4, &empty, &fixture->sample);
	must_nft(fixture, "add counter ip fairlead other { packets 5 bytes 700 }");
	assert_int_equal(nft_kernel_dump_counters(fixture->kernel, ip4, &found, NULL), 0);
	assert_int_equal(found.count, 2);
	assert_string_equal(found.items[0].name, "dropped");
	assert_int_equal(found.items[0].packets, 0);
	assert_string_equal(found.items[1].name, "other");
	assert_int_equal(found.items[1].packets, 5);
	assert_int_equal(found.items[1].bytes, 700);
	nft_ruleset_done(&found);
}

/* 98,350 elements: a table of 131,072 buckets has just become three quarters full, so the kernel moves all of them to one
 * twice as large while they are read. */
static void a_dump_while_the_kernel_moves_elements_is_whole(void **state)
{
	struct fixture *fixture = *state;
	struct nft_ruleset services = {.failed = 0};

	nft_sample_services(&services, 9835, 10);
	assert_int_equal(nft_ruleset_sort(&services, NULL), 0);
	change(fixture, ip4, &empty, &services);
	assert_in_force(fixture, ip4, &services);
	nft_ruleset_done(&services);
}

/* Another program that does something over and over, until it is killed or we end. */
static pid_t start_rival(void (*body)(struct nft_kernel *kernel))
{
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		struct nft_kernel *kernel;

		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test does not come to kill it */
		kernel = nft_kernel_open(NULL);
		for (;;)
			body(kernel);
	}
	return child;
}

static void stop_rival(pid_t rival)
{
	kill(rival, SIGKILL);
	waitpid(rival, NULL, 0);
}

static void make_and_delete_a_table(struct nft_kernel *kernel)
{
	const struct nft_table_id table = {.family = AF_INET, .name = "rival"};
	struct nft_ops nothing = {.count = 0};

	(void)nft_kernel_apply(kernel, table, &nothing, NULL, NULL);
	(void)nft_kernel_delete_table(kernel, table, NULL);
}

/* A table with one port: in the set named first, or in the other. */
static void port_in(struct nft_ruleset *ruleset, const char *set)
{
	const struct nft_set_spec spec = nft_set_spec_of(NFT_DATATYPES(NFT_DATATYPE_INET_SERVICE), NULL, 0);

	nft_ruleset_add_set(ruleset, "first", &spec);
	nft_ruleset_add_set(ruleset, "last", &spec);
	nft_ruleset_add_elem(ruleset, set, (struct str){"\0\x50", 2}, NOTHING);
}

static void move_the_port(struct nft_kernel *kernel)
{
	struct nft_ruleset first = {.failed = 0}, last = {.failed = 0};
	struct nft_ops forth = {.count = 0}, back = {.count = 0};

	port_in(&first, "first");
	port_in(&last, "last");
	(void)nft_diff(&first, &last, &forth);
	(void)nft_diff(&last, &first, &back);
	(void)nft_kernel_apply(kernel, ip4, &forth, NULL, NULL);
	usleep(1000);
	(void)nft_kernel_apply(kernel, ip4, &back, NULL, NULL);
	usleep(1000);
	nft_ops_done(&forth);
	nft_ops_done(&back);
	nft_ruleset_done(&first);
	nft_ruleset_done(&last);
}

static void a_dump_sees_a_transaction_whole_or_not_at_all(void **state)
{
	struct fixture *fixture = *state;
	struct nft_ruleset first = {.failed = 0}, found = {.failed = 0};
	unsigned read = 0;
	pid_t rival;

	port_in(&first, "first");
	change(fixture, ip4, &empty, &first);
	rival = start_rival(move_the_port);
	for (unsigned tries = 0; tries < 2000 && read < 300; tries++) {
		if (nft_kernel_dump(fixture->kernel, ip4, &found, NULL) != 0)
			continue;
		read++;
		assert_int_equal(found.count, 3); /* two sets, one port */
		nft_ruleset_done(&found);
	}
	stop_rival(rival);
	assert_true(read > 0);
	nft_ruleset_done(&first);
}

static void dumps_and_transactions_survive_a_rival(void **state)
{
	struct fixture *fixture = *state;
	pid_t rival = start_rival(make_and_delete_a_table);
	struct nft_ruleset found = {.failed = 0};
	struct nft_ops ops = {.count = 0};
	struct err err = {{0}};

	change(fixture, ip4, &empty, &fixture->sample);
	for (unsigned i = 0; i < 100; i++) {
		/* what is done to other tables does not matter, however often */
		if (nft_kernel_dump(fixture->kernel, ip4, &found, &err) != 0)
			fail_msg("%s", err.text);
		assert_int_equal(nft_diff(&found, &fixture->sample, &ops), 0);
		assert_int_equal(ops.count, 0);
		nft_ruleset_done(&found);
	}
	stop_rival(rival);
	assert_in_force(fixture, ip4, &fixture->sample);
}

/* ---- the monitor ---- */

static struct nft_foreign_change heard(struct nft_monitor *monitor, int timeout_ms)
{
	struct pollfd ready = {.fd = nft_monitor_fd(monitor), .events = POLLIN};
	struct nft_foreign_change change = {.pid = 0};

	poll(&ready, 1, timeout_ms);
	assert_int_equal(nft_monitor_read(monitor, "fairlead", &change), 0);
	return change;
}

static void the_monitor_says_who_changed_our_table(void **state)
{
	struct fixture *fixture = *state;
	struct nft_monitor *monitor = nft_monitor_open(fixture->kernel, NULL);
	struct nft_foreign_change change_heard;

	assert_non_null(monitor);
	change(fixture, ip4, &empty, &fixture->sample);
	change_heard = heard(monitor, 0);
	assert_false(change_heard.changed || change_heard.lost);

	must_nft(fixture, "add rule ip fairlead dispatch drop");
	change_heard = heard(monitor, 5000);
	assert_true(change_heard.changed && change_heard.ip && !change_heard.ip6);
	assert_false(change_heard.table_deleted);
	assert_string_equal(change_heard.process, "nft");
	assert_true(change_heard.pid > 0 && change_heard.pid != (unsigned)getpid());

	must_nft(fixture, "add table ip other");
	change_heard = heard(monitor, 5000);
	assert_false(change_heard.changed);

	must_nft(fixture, "flush ruleset");
	change_heard = heard(monitor, 5000);
	assert_true(change_heard.changed && change_heard.table_deleted);
	assert_string_equal(change_heard.process, "nft");
	nft_monitor_close(monitor);
}

static void the_monitor_tells_families_apart(void **state)
{
	struct fixture *fixture = *state;
	struct nft_monitor *monitor = nft_monitor_open(fixture->kernel, NULL);
	struct nft_foreign_change change_heard;

	assert_non_null(monitor);
	must_nft(fixture, "add table ip6 fairlead");
	change_heard = heard(monitor, 5000);
	assert_true(change_heard.changed && change_heard.ip6 && !change_heard.ip);
	must_nft(fixture, "add table inet fairlead");
	assert_false(heard(monitor, 5000).ip);
	nft_monitor_close(monitor);
}

static void what_the_monitor_missed_it_admits(void **state)
{
	struct fixture *fixture = *state;
	struct nft_monitor *monitor = nft_monitor_open(fixture->kernel, NULL);
	struct nft_kernel *other = nft_kernel_open(NULL);
	struct nft_ruleset services = {.failed = 0};
	struct nft_ops ops = {.count = 0};
	const int little = 4096;

	assert_true(monitor && other);
	assert_int_equal(setsockopt(nft_monitor_fd(monitor), SOL_SOCKET, SO_RCVBUF, &little, sizeof(little)),
			 0);
	nft_sample_services(&services, 1000, 2);
	assert_int_equal(nft_ruleset_sort(&services, NULL), 0);
	assert_int_equal(nft_diff(&empty, &services, &ops), 0);

	assert_int_equal(nft_kernel_apply(fixture->kernel, ip4, &ops, NULL, NULL), 0);
	assert_false(heard(monitor, 0).lost); /* our own fills nothing */
	assert_int_equal(nft_kernel_delete_table(fixture->kernel, ip4, NULL), 0);
	assert_int_equal(nft_kernel_apply(other, ip4, &ops, NULL, NULL), 0);
	assert_true(heard(monitor, 5000).lost);
	nft_ops_done(&ops);
	nft_ruleset_done(&services);
	nft_kernel_close(other);
	nft_monitor_close(monitor);
}

/* Changes made while the monitor did not listen cannot be told apart from none, but for their number. */
static void a_large_transaction_of_ours_does_not_hide_what_others_do(void **state)
{
	struct fixture *fixture = *state;
	struct nft_monitor *monitor = nft_monitor_open(fixture->kernel, NULL);
	struct nft_ruleset services = {.failed = 0};
	pid_t rival;
	bool noticed = false;

	assert_non_null(monitor);
	nft_sample_services(&services, 2000, 2);
	assert_int_equal(nft_ruleset_sort(&services, NULL), 0);
	change(fixture, ip4, &empty, &services);
	assert_false(heard(monitor, 0).lost);
	rival = start_rival(make_and_delete_a_table);
	for (unsigned tries = 0; tries < 200 && !noticed; tries++) {
		change(fixture, ip4, &services, &empty);
		change(fixture, ip4, &empty, &services);
		noticed = heard(monitor, 0).lost;
	}
	stop_rival(rival);
	assert_true(noticed);
	(void)heard(monitor, 0);
	must_nft(fixture, "add rule ip fairlead dispatch drop"); /* it listens again */
	assert_true(heard(monitor, 5000).changed);
	nft_ruleset_done(&services);
	nft_monitor_close(monitor);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(what_is_dumped_is_what_was_applied),
	    TEST(a_dump_brings_back_the_tags),
	    TEST(the_nft_program_prints_the_table),
	    TEST(small_differences_lead_to_the_same_table_as_one_large),
	    TEST(a_chain_may_go_together_with_what_went_to_it),
	    TEST(a_set_of_another_nature_rebuilds_the_table),
	    TEST(a_rebuild_works_where_there_is_no_table),
	    TEST(a_table_deleted_is_gone_and_may_be_deleted_again),
	    TEST(a_refused_transaction_changes_nothing_and_names_the_culprit),
	    TEST(every_kind_of_refused_operation_is_named),
	    TEST(a_fault_seen_only_in_the_end_is_no_single_operation),
	    TEST(a_chain_still_in_use_is_the_only_thing_left),
	    TEST(without_the_capability_opening_says_so),
	    TEST(a_batch_larger_than_allowed_is_refused_in_plain_words),
	    TEST(foreign_tables_are_left_as_they_are),
	    TEST(what_others_altered_is_found_and_repaired),
	    TEST(any_transaction_wakes_a_table_made_dormant),
	    TEST(elements_made_by_packets_are_not_part_of_the_table),
	    TEST(counters_are_read_with_their_numbers),
	    TEST(a_dump_while_the_kernel_moves_elements_is_whole),
	    TEST(a_dump_sees_a_transaction_whole_or_not_at_all),
	    TEST(dumps_and_transactions_survive_a_rival),
	    TEST(the_monitor_says_who_changed_our_table),
	    TEST(the_monitor_tells_families_apart),
	    TEST(what_the_monitor_missed_it_admits),
	    TEST(a_large_transaction_of_ours_does_not_hide_what_others_do),
	};

	return cmocka_run_group_tests_name("nft_kernel", tests, NULL, NULL);
}
