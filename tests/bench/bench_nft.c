/* What a table of many services costs: built as a value, compared, encoded, taken by the kernel, read back;
 * and what single changes cost once it is loaded. In a network namespace of its own. */
/* LINK: nft/rule.c nft/ruleset.c nft/diff.c nft/encode.c nft/encode_rule.c nft/decode.c nft/kernel.c */
/* LINK: nft/dump.c nft/query.c nft/monitor.c nft/socket.c tests/net/nft_sample.c */
/* LINK: base/arena.c base/buf.c base/str.c base/addr.c base/err.c */
/* LIBS: -lmnl -lxxhash */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "nft/encode.h"
#include "nft/kernel.h"
#include "nft/rule.h"
#include "tests/net/nft_sample.h"

static const struct nft_table_id table = {.family = AF_INET, .name = "fairlead"};
static const struct nft_ruleset nothing;

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void must(int result, const char *what, const struct err *err)
{
	if (result == 0)
		return;
	fprintf(stderr, "%s: %s\n", what, err->text);
	exit(1);
}

static void apply(struct nft_kernel *kernel, const struct nft_ops *ops)
{
	struct err err = {{0}};

	must(nft_kernel_apply(kernel, table, ops, NULL, &err), "apply", &err);
}

/* The time of applying `change` and then `back`, best of a few, in milliseconds. */
static double time_change(struct nft_kernel *kernel, const struct nft_ops *change, const struct nft_ops *back)
{
	double best_s = 1e9;

	for (int i = 0; i < 20; i++) {
		const struct nft_ops *ops = i % 2 == 0 ? change : back;
		double start = now_s(), took;

		apply(kernel, ops);
		took = now_s() - start;
		if (took < best_s)
			best_s = took;
	}
	return best_s * 1e3;
}

static struct nft_ruleset endpoint(uint32_t slot, uint8_t last)
{
	struct nft_ruleset ruleset = {.failed = 0};
	struct ip ip = {.family = AF_INET, .bytes = {10, 200, 0, last}};
	struct nft_key key = {.len = 0}, value = {.len = 0};

	nft_key_add_u32(&key, slot);
	nft_key_add_ip(&value, &ip);
	nft_key_add_port(&value, 8080);
	nft_ruleset_add_elem(&ruleset, "endpoints", nft_key_str(&key), nft_key_str(&value));
	return ruleset;
}

static void add_counting_rule(struct nft_ruleset *ruleset, uint32_t base, uint32_t count)
{
	struct nft_rules rules = {.failed = 0};

	nft_rule_begin(&rules, "bench", NFT_NO_TAG);
	nft_rule_numgen(&rules, 0, NFT_NG_INCREMENTAL, count, base);
	nft_rule_meta_set(&rules, NFT_FIELD_PRIORITY, 0);
	nft_rule_verdict(&rules, NFT_RULE_GOTO, "dispatch");
	nft_ruleset_add_rules(ruleset, "svc/bench/service-00000/http/tcp", &rules);
	nft_rules_done(&rules);
}

static double time_between(struct nft_kernel *kernel, struct nft_ruleset *a, struct nft_ruleset *b)
{
	struct nft_ops change = {.count = 0}, back = {.count = 0};
	struct err err = {{0}};
	double ms;

	must(nft_ruleset_sort(a, &err), "sort", &err);
	must(nft_ruleset_sort(b, &err), "sort", &err);
	must(nft_diff(a, b, &change), "diff", &err);
	must(nft_diff(b, a, &back), "diff", &err);
	ms = time_change(kernel, &change, &back);
	nft_ops_done(&change);
	nft_ops_done(&back);
	nft_ruleset_done(a);
	nft_ruleset_done(b);
	return ms;
}

static void bench_changes(struct nft_kernel *kernel, uint32_t slots, uint32_t endpoints)
{
	struct nft_ruleset a = endpoint(slots + 1, 1), b = endpoint(slots + 1, 2);
	struct nft_ops ops = {.count = 0};

	must(nft_diff(&nothing, &a, &ops), "diff", NULL);
	apply(kernel, &ops);
	printf("  replace one endpoint in its slot: %.2f ms\n", time_between(kernel, &a, &b));
	nft_ops_done(&ops);

	a = (struct nft_ruleset){.failed = 0};
	b = endpoint(slots + 2, 3);
	add_counting_rule(&a, 0, endpoints);
	add_counting_rule(&b, 0, endpoints + 1);
	must(nft_diff(&nothing, &a, &ops), "diff", NULL);
	ops.ops[0].type = NFT_OP_REPLACE; /* whatever the chain holds */
	apply(kernel, &ops);
	printf("  one endpoint more (rule replaced, element added): %.2f ms\n", time_between(kernel, &a, &b));
	nft_ops_done(&ops);
}

/* Twice: right after the load the kernel still enlarges its tables, and a dump then has to be begun again. */
static void bench_dump(struct nft_kernel *kernel, const struct nft_ruleset *wanted)
{
	for (int i = 0; i < 2; i++) {
		struct nft_ruleset found = {.failed = 0};
		struct nft_ops ops = {.count = 0};
		struct err err = {{0}};
		double start = now_s(), dumped;

		must(nft_kernel_dump(kernel, table, &found, &err), "dump", &err);
		dumped = now_s();
		must(nft_diff(&found, wanted, &ops), "diff", &err);
		printf("  dump %s %.3f s, compare %.3f s: %zu differences\n", i ? "later" : "at once",
		       dumped - start, now_s() - dumped, ops.count);
		nft_ops_done(&ops);
		nft_ruleset_done(&found);
	}
}

static void bench(unsigned services, unsigned endpoints)
{
	struct nft_ruleset wanted = {.failed = 0};
	struct nft_ops ops = {.count = 0};
	struct nft_batch batch = {.seq_first = 0};
	struct err err = {{0}};
	struct rusage usage;
	double times[6];

	if (unshare(CLONE_NEWNET) != 0) {
		perror("a network namespace");
		exit(1);
	}
	struct nft_kernel *kernel = nft_kernel_open(&err);
	if (!kernel)
		must(-1, "open", &err);
	times[0] = now_s();
	nft_sample_services(&wanted, services, endpoints);
	times[1] = now_s();
	must(nft_ruleset_sort(&wanted, &err), "sort", &err);
	times[2] = now_s();
	must(nft_diff(&nothing, &wanted, &ops), "diff", &err);
	times[3] = now_s();
	must(nft_encode(&batch, table, &ops, &(struct nft_encode_options){.seq_first = 1}, NULL), "encode",
	     &err);
	times[4] = now_s();
	size_t bytes = buf_len(&batch.bytes);
	nft_batch_done(&batch);
	double start = now_s();
	apply(kernel, &ops);
	times[5] = now_s();
	getrusage(RUSAGE_SELF, &usage);
	printf("%u services x %u endpoints: %zu items, %.1f MB of netlink, %.1f MB resident at most\n",
	       services, endpoints, wanted.count, (double)bytes / 1e6, (double)usage.ru_maxrss / 1e3);
	printf("  build %.3f s, sort %.3f s, diff %.3f s, encode %.3f s, encode and kernel %.3f s; in all "
	       "%.3f s\n",
	       times[1] - times[0], times[2] - times[1], times[3] - times[2], times[4] - times[3],
	       times[5] - start, times[3] - times[0] + times[5] - start);
	bench_dump(kernel, &wanted);
	bench_changes(kernel, services * endpoints, endpoints);
	nft_ops_done(&ops);
	nft_ruleset_done(&wanted);
	(void)nft_kernel_delete_table(kernel, table, NULL);
	(void)nft_kernel_close(kernel);
}

int main(int count, char **words)
{
	static const unsigned sizes[] = {1000, 10000, 30000};

	if (count > 1) {
		bench((unsigned)strtoul(words[1], NULL, 10), 10);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
		bench(sizes[i], 10);
	return 0;
}
