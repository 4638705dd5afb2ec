/* nft/encode and nft/decode without a kernel: the order of messages, packing, and that what is written reads the same. */
/* LINK: nft/encode.c nft/encode_rule.c nft/decode.c nft/ruleset.c nft/diff.c nft/rule.c tests/net/nft_sample.c */
/* LINK: base/arena.c base/buf.c base/str.c base/addr.c base/err.c */
/* LIBS: -lmnl -lxxhash */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "nft/decode.h"
#include "nft/encode.h"
#include "nft/rule.h"
#include "tests/net/nft_sample.h"

#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#define NOTHING ((struct str){NULL, 0})

static const struct nft_table_id table = {.family = AF_INET, .name = "fairlead"};
static const struct nft_ruleset empty;
static const struct nft_encode_options commit = {.seq_first = 100, .end = NFT_BATCH_COMMIT};

/* ---- helpers ---- */

static const char *message_name(const struct nlmsghdr *message)
{
	static const char *const names[] = {
	    [NFT_MSG_NEWTABLE] = "+table",   [NFT_MSG_DELTABLE] = "-table", [NFT_MSG_NEWCHAIN] = "+chain",
	    [NFT_MSG_DELCHAIN] = "-chain",   [NFT_MSG_NEWRULE] = "+rule",   [NFT_MSG_DELRULE] = "-rules",
	    [NFT_MSG_NEWSET] = "+set",       [NFT_MSG_DELSET] = "-set",     [NFT_MSG_NEWSETELEM] = "+elems",
	    [NFT_MSG_DELSETELEM] = "-elems", [NFT_MSG_NEWOBJ] = "+counter", [NFT_MSG_DELOBJ] = "-counter",
	};

	if (message->nlmsg_type == NFNL_MSG_BATCH_BEGIN)
		return "begin";
	if (message->nlmsg_type == NFNL_MSG_BATCH_END)
		return "end";
	return names[message->nlmsg_type & 0xff];
}

/* "begin +table +elems(3) ... end", with the number of operations of each message that has more than one. */
static void describe(const struct nft_batch *batch, char *text, size_t size)
{
	struct str bytes = buf_str(&batch->bytes);
	const struct nlmsghdr *message;
	size_t used = 0, number = 0;

	while ((message = nft_next_message(&bytes))) {
		const struct nft_message *known = &batch->messages[number];

		assert_int_equal(message->nlmsg_seq, batch->seq_first + number);
		used += (size_t)snprintf(text + used, size - used, "%s%s", number ? " " : "",
					 message_name(message));
		if (known->count > 1)
			used += (size_t)snprintf(text + used, size - used, "(%u)", known->count);
		number++;
	}
	assert_int_equal(bytes.len, 0);
	assert_int_equal(number, batch->message_count);
}

static struct nft_batch encode(const struct nft_ops *ops, const struct nft_encode_options *options)
{
	struct nft_batch batch = {.seq_first = 0};

	assert_int_equal(nft_encode(&batch, table, ops, options, NULL), 0);
	return batch;
}

static struct nft_batch encode_difference(const struct nft_ruleset *from, const struct nft_ruleset *to,
					  bool rebuild)
{
	struct nft_ops ops = {.rebuild = rebuild};
	struct nft_batch batch;

	assert_int_equal(nft_diff(from, to, &ops), 0);
	batch = encode(&ops, &commit);
	nft_ops_done(&ops);
	return batch;
}

static void assert_messages(const struct nft_ruleset *from, const struct nft_ruleset *to, bool rebuild,
			    const char *expected)
{
	struct nft_batch batch = encode_difference(from, to, rebuild);
	char text[4096];

	describe(&batch, text, sizeof(text));
	assert_string_equal(text, expected);
	nft_batch_done(&batch);
}

static void add_elements(struct nft_ruleset *ruleset, const char *set, unsigned first, unsigned count,
			 const char *value)
{
	for (unsigned i = first; i < first + count; i++) {
		struct nft_key key = {.len = 0};

		nft_key_add_u32(&key, i);
		nft_ruleset_add_elem(ruleset, set, nft_key_str(&key), str_of(value));
	}
}

static void add_all_kinds(struct nft_ruleset *ruleset, unsigned rules_in_chain)
{
	static const struct nft_chain_spec regular = {.hook = -1};
	const struct nft_set_spec set = nft_set_spec_of(NFT_DATATYPES(NFT_DATATYPE_MARK), NULL, 0);
	struct nft_rules rules = {.failed = 0};

	nft_ruleset_add_set(ruleset, "set", &set);
	nft_ruleset_add_counter(ruleset, "counter");
	nft_ruleset_add_chain(ruleset, "chain", &regular);
	for (unsigned i = 0; i < rules_in_chain; i++) {
		nft_rule_begin(&rules, NULL, NFT_NO_TAG);
		nft_rule_counter(&rules);
	}
	nft_ruleset_add_rules(ruleset, "chain", &rules);
	add_elements(ruleset, "set", 1, 3, "");
	nft_rules_done(&rules);
}

/* ---- order and packing ---- */

static void what_is_referred_to_comes_first_and_goes_last(void **state)
{
	struct nft_ruleset all = {.failed = 0}, more = {.failed = 0};

	(void)state;
	add_all_kinds(&all, 2);
	assert_int_equal(nft_ruleset_sort(&all, NULL), 0);
	assert_messages(&empty, &empty, false, "begin +table end");
	assert_messages(&empty, &all, false, "begin +table +set +counter +chain +rule +rule +elems(3) end");
	assert_messages(&empty, &all, true,
			"begin +table -table +table +set +counter +chain +rule +rule +elems(3) end");
	assert_messages(&all, &empty, false, "begin +table -elems(3) -rules -chain -counter -set end");
	add_all_kinds(&more, 1);
	assert_int_equal(nft_ruleset_sort(&more, NULL), 0);
	assert_messages(&all, &more, false, "begin +table -rules +rule end");
	nft_ruleset_done(&all);
	nft_ruleset_done(&more);
}

static void replaced_elements_go_before_any_comes(void **state)
{
	struct nft_ruleset from = {.failed = 0}, to = {.failed = 0};

	(void)state;
	add_elements(&from, "a", 1, 3, "old.");
	add_elements(&from, "b", 1, 2, "old.");
	add_elements(&to, "a", 2, 4, "new.");
	add_elements(&to, "b", 1, 2, "new.");
	assert_messages(&from, &to, false, "begin +table -elems(3) -elems(2) +elems(4) +elems(2) end");
	nft_ruleset_done(&from);
	nft_ruleset_done(&to);
}

static void the_order_of_operations_is_of_no_matter(void **state)
{
	struct nft_ruleset all = {.failed = 0};
	struct nft_ops ops = {.count = 0};
	struct nft_batch batch;
	char text[4096];

	(void)state;
	add_all_kinds(&all, 1);
	assert_int_equal(nft_diff(&empty, &all, &ops), 0);
	for (size_t i = 0; i < ops.count / 2; i++) {
		struct nft_op op = ops.ops[i];

		ops.ops[i] = ops.ops[ops.count - 1 - i];
		ops.ops[ops.count - 1 - i] = op;
	}
	batch = encode(&ops, &commit);
	describe(&batch, text, sizeof(text));
	assert_string_equal(text, "begin +table +set +counter +chain +rule +elems(3) end");
	nft_batch_done(&batch);
	nft_ops_done(&ops);
	nft_ruleset_done(&all);
}

/* Each message's operations are the ones it should have, all there once. */
static void many_elements_fill_messages_and_none_is_lost(void **state)
{
	struct nft_ruleset many = {.failed = 0};
	struct nft_ops ops = {.count = 0};
	struct nft_batch batch;
	size_t next = 0;

	(void)state;
	add_elements(&many, "set", 0, 20000, "data");
	assert_int_equal(nft_diff(&empty, &many, &ops), 0);
	batch = encode(&ops, &commit);
	assert_true(batch.message_count > 5 && batch.message_count < 30);
	for (size_t i = 2; i + 1 < batch.message_count; i++) {
		assert_int_equal(batch.messages[i].start, next);
		next += batch.messages[i].count;
	}
	assert_int_equal(next, 20000);
	for (size_t i = 0; i < 20000; i++)
		assert_int_equal(batch.order[i], i);
	nft_batch_done(&batch);
	nft_ops_done(&ops);
	nft_ruleset_done(&many);
}

static void elements_to_be_tried_singly_are_not_packed(void **state)
{
	struct nft_ruleset many = {.failed = 0};
	struct nft_encode_options options = {
	    .seq_first = 7, .end = NFT_BATCH_ABORT, .unpacked = {.start = 0, .count = 3}};
	struct nft_ops ops = {.count = 0};
	struct nft_batch batch;
	char text[4096];

	(void)state;
	add_elements(&many, "set", 0, 10, "data");
	assert_int_equal(nft_diff(&empty, &many, &ops), 0);
	batch = encode(&ops, &options);
	describe(&batch, text, sizeof(text));
	assert_string_equal(text, "begin +table +elems +elems +elems +elems(7)");
	nft_batch_done(&batch);
	nft_ops_done(&ops);
	nft_ruleset_done(&many);
}

static void only_the_last_message_asks_for_an_answer(void **state)
{
	struct nft_ruleset all = {.failed = 0};
	struct nft_batch batch;
	const struct nlmsghdr *message;
	struct str bytes;
	size_t number = 0;

	(void)state;
	add_all_kinds(&all, 2);
	batch = encode_difference(&empty, &all, false);
	for (bytes = buf_str(&batch.bytes); (message = nft_next_message(&bytes)); number++)
		assert_int_equal((message->nlmsg_flags & NLM_F_ACK) != 0, number + 2 == batch.message_count);
	nft_batch_done(&batch);
	nft_ruleset_done(&all);
}

static void a_rule_of_too_many_expressions_is_refused_by_name(void **state)
{
	struct nft_ruleset ruleset = {.failed = 0};
	struct nft_rules rules = {.failed = 0};
	struct nft_ops ops = {.count = 0};
	struct nft_batch batch = {.seq_first = 0};
	size_t failed = 0;

	(void)state;
	nft_ruleset_add_counter(&ruleset, "counter");
	nft_rule_begin(&rules, NULL, NFT_NO_TAG);
	for (unsigned i = 0; i < 129; i++)
		nft_rule_counter(&rules);
	nft_ruleset_add_rules(&ruleset, "chain", &rules);
	assert_int_equal(nft_diff(&empty, &ruleset, &ops), 0);
	assert_int_equal(nft_encode(&batch, table, &ops, &commit, &failed), -EINVAL);
	assert_int_equal(failed, 1);
	nft_batch_done(&batch);
	nft_ops_done(&ops);
	nft_rules_done(&rules);
	nft_ruleset_done(&ruleset);
}

/* ---- what is written reads the same ---- */

static void decode_batch(struct nft_decoder *decoder, const struct nft_batch *batch)
{
	struct str bytes = buf_str(&batch->bytes);
	const struct nlmsghdr *message;

	while ((message = nft_next_message(&bytes)))
		if (message->nlmsg_type >> 8 == NFNL_SUBSYS_NFTABLES)
			assert_int_equal(nft_decode(decoder, message), 0);
}

/* Writes and reads the items of one set (its elements), or without a set all that is no element. */
static void there_and_back(struct nft_decoder *decoder, const struct nft_ruleset *wanted,
			   const struct nft_item *set)
{
	struct nft_ops ops = {.count = 0};
	struct nft_batch batch;

	for (size_t i = 0; i < wanted->count; i++) {
		const struct nft_item *item = &wanted->items[i];
		bool belongs = set ? item->type == NFT_ITEM_ELEM && strcmp(item->name, set->name) == 0
				   : item->type != NFT_ITEM_ELEM;

		if (!belongs)
			continue;
		assert_int_equal(nft_ops_delete(&ops, item), 0);
		ops.ops[ops.count - 1].type = NFT_OP_ADD;
	}
	batch = encode(&ops, &commit);
	if (set)
		nft_decode_set_begin(decoder, set->set);
	decode_batch(decoder, &batch);
	if (set)
		assert_int_equal(nft_decode_set_end(decoder), 0);
	nft_batch_done(&batch);
	nft_ops_done(&ops);
}

static void what_is_written_reads_the_same(void **state)
{
	static const int families[] = {AF_INET, AF_INET6};

	(void)state;
	for (size_t f = 0; f < ARRAY_LEN(families); f++) {
		struct nft_ruleset wanted = {.failed = 0}, found = {.failed = 0};
		struct nft_decoder decoder = {.table = table, .ruleset = &found};
		struct nft_ops ops = {.count = 0};
		char text[NFT_ITEM_TEXT_MAX];

		nft_sample(&wanted, families[f]);
		there_and_back(&decoder, &wanted, NULL);
		for (size_t i = 0; i < wanted.count; i++)
			if (wanted.items[i].type == NFT_ITEM_SET)
				there_and_back(&decoder, &wanted, &wanted.items[i]);
		assert_int_equal(nft_ruleset_sort(&found, NULL), 0);
		assert_int_equal(nft_diff(&found, &wanted, &ops), 0);
		if (ops.count > 0)
			fail_msg("differs: %s", nft_item_text(ops.ops[0].item, text));
		assert_int_equal(found.count, wanted.count);
		nft_decoder_done(&decoder);
		nft_ops_done(&ops);
		nft_ruleset_done(&found);
		nft_ruleset_done(&wanted);
	}
}

/* ---- ranges as the kernel keeps them: starts and ends apart, in any order ---- */

/* Elements of a set of ports, as the kernel sends them. */
static struct nft_batch batch_of_ports(const char *words)
{
	struct nft_ruleset ports = {.failed = 0};
	struct nft_batch batch;
	char copy[128], *saved = NULL;

	snprintf(copy, sizeof(copy), "%s", words);
	for (char *word = strtok_r(copy, " ", &saved); word; word = strtok_r(NULL, " ", &saved)) {
		struct nft_key key = {.len = 0};

		nft_key_add_port(&key, (uint16_t)atoi(word));
		nft_ruleset_add_elem(&ports, "ports", nft_key_str(&key), NOTHING);
	}
	batch = encode_difference(&empty, &ports, false);
	nft_ruleset_done(&ports);
	return batch;
}

static void feed_ports(struct nft_decoder *decoder, const char *words)
{
	struct nft_batch batch = batch_of_ports(words);
	struct str bytes = buf_str(&batch.bytes);
	const struct nlmsghdr *message;

	while ((message = nft_next_message(&bytes)))
		if (message->nlmsg_type >> 8 == NFNL_SUBSYS_NFTABLES)
			assert_int_equal(nft_decode(decoder, message), 0);
	nft_batch_done(&batch);
}

static void ranges_are_joined_from_starts_and_ends(void **state)
{
	static const struct {
		const char *starts, *ends, *ranges;
	} cases[] = {
	    {"80", "91", "80-90"},
	    {"80 443", "81 444", "80-80 443-443"},
	    {"443 80", "444 81", "80-80 443-443"},
	    {"80 91", "91 100", "80-90 91-99"},
	    {"80 90", "", "80-89 90-65535"},
	    {"0", "0", "0-65535"},
	    {"60000", "0 10", "60000-65535"},
	    {"", "0 10", ""},
	};
	const struct nft_set_spec spec =
	    nft_set_spec_of(NFT_DATATYPES(NFT_DATATYPE_INET_SERVICE), NULL, NFT_SET_FLAG_INTERVAL);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct nft_ruleset found = {.failed = 0}, starts = {.failed = 0};
		struct nft_decoder decoder = {.table = table, .ruleset = &found};
		char text[128] = "";
		size_t used = 0;

		nft_decode_set_begin(&decoder, &spec);
		feed_ports(&decoder, cases[i].starts);
		decoder.ruleset = &starts; /* read the ends as starts, then take them for what they are */
		feed_ports(&decoder, cases[i].ends);
		decoder.ruleset = &found;
		decoder.ends = starts;
		assert_int_equal(nft_decode_set_end(&decoder), 0);
		for (size_t n = 0; n < found.count; n++) {
			const unsigned char *from = (const void *)found.items[n].key.p;
			const unsigned char *to = (const void *)found.items[n].key_end.p;

			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%d-%d", n ? " " : "",
						 from[0] << 8 | from[1], to[0] << 8 | to[1]);
		}
		assert_string_equal(text, cases[i].ranges);
		nft_decoder_done(&decoder);
		nft_ruleset_done(&found);
	}
}

/* ---- bytes from outside ---- */

static void messages_of_other_tables_and_families_are_passed_over(void **state)
{
	struct nft_ruleset all = {.failed = 0}, found = {.failed = 0};
	struct nft_decoder other = {.table = {.family = AF_INET, .name = "other"}, .ruleset = &found};
	struct nft_decoder family = {.table = {.family = AF_INET6, .name = "fairlead"}, .ruleset = &found};
	struct nft_batch batch;

	(void)state;
	add_all_kinds(&all, 1);
	batch = encode_difference(&empty, &all, false);
	decode_batch(&other, &batch);
	decode_batch(&family, &batch);
	assert_int_equal(found.count, 0);
	nft_batch_done(&batch);
	nft_ruleset_done(&all);
}

static void truncated_messages_do_no_harm(void **state)
{
	struct nft_ruleset wanted = {.failed = 0};
	struct nft_batch batch;
	const struct nlmsghdr *message;
	struct str bytes;

	(void)state;
	nft_sample(&wanted, AF_INET);
	batch = encode_difference(&empty, &wanted, false);
	for (bytes = buf_str(&batch.bytes); (message = nft_next_message(&bytes));) {
		for (uint32_t len = NLMSG_HDRLEN; len < message->nlmsg_len && len < 300; len++) {
			struct nft_ruleset found = {.failed = 0};
			struct nft_decoder decoder = {
			    .table = table, .ruleset = &found, .set = wanted.items[0].set};
			struct nft_notification notification;
			struct nlmsghdr *copy = malloc(len);

			assert_non_null(copy);
			memcpy(copy, message, len);
			copy->nlmsg_len = len;
			(void)nft_decode(&decoder, copy);
			(void)nft_decode_notification(copy, &notification);
			free(copy);
			nft_decoder_done(&decoder);
			nft_ruleset_done(&found);
		}
	}
	nft_batch_done(&batch);
	nft_ruleset_done(&wanted);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_referred_to_comes_first_and_goes_last),
	    cmocka_unit_test(replaced_elements_go_before_any_comes),
	    cmocka_unit_test(the_order_of_operations_is_of_no_matter),
	    cmocka_unit_test(many_elements_fill_messages_and_none_is_lost),
	    cmocka_unit_test(elements_to_be_tried_singly_are_not_packed),
	    cmocka_unit_test(only_the_last_message_asks_for_an_answer),
	    cmocka_unit_test(a_rule_of_too_many_expressions_is_refused_by_name),
	    cmocka_unit_test(what_is_written_reads_the_same),
	    cmocka_unit_test(ranges_are_joined_from_starts_and_ends),
	    cmocka_unit_test(messages_of_other_tables_and_families_are_passed_over),
	    cmocka_unit_test(truncated_messages_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
