/* nft/ruleset and nft/diff: order, identity, keys, and what turns one ruleset into another. */
/* LINK: nft/ruleset.c nft/diff.c nft/rule.c base/arena.c base/buf.c base/str.c base/addr.c base/err.c */
/* LIBS: -lxxhash */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "nft/rule.h"
#include "nft/ruleset.h"

#define NOTHING ((struct str){NULL, 0})

/* Items in words: "s:web" a set, "S:web" the same with other flags, "c:web" a chain, "b:web" a base chain, "B:web" with
 * another priority, "n:web" a counter, "r:web=3" rules that count to 3, "e:web.1=5" element 1 with value 5, "v:web.1=x"
 * goto x, "i:web.1-5" a range. */
static void add_rules(struct nft_ruleset *ruleset, const char *chain, const char *count)
{
	struct nft_rules rules = {.failed = 0};

	nft_rule_begin(&rules, NULL, str_of(count));
	nft_rule_numgen(&rules, 0, NFT_NG_INCREMENTAL, (uint32_t)atoi(count), 0);
	nft_ruleset_add_rules(ruleset, chain, &rules);
	nft_rules_done(&rules);
}

static void add_word(struct nft_ruleset *ruleset, const char *word)
{
	struct nft_set_spec set = nft_set_spec_of(NFT_DATATYPES(NFT_DATATYPE_INET_SERVICE), NULL,
						  *word == 'S' ? NFT_SET_FLAG_INTERVAL : 0);
	struct nft_chain_spec chain = {.type = "nat", .hook = -1, .priority = *word == 'B'};
	struct str rest = {NULL, 0}, name = {NULL, 0}, key, value;
	char text[64], other[64];

	rest = str_cut(str_of(word + 2), '=', &key);
	value = rest;
	key = str_cut(key, '.', &name);
	snprintf(text, sizeof(text), "%.*s", (int)name.len, name.p);
	snprintf(other, sizeof(other), "%.*s", (int)value.len, value.p ? value.p : "");
	if (*word == 's' || *word == 'S')
		nft_ruleset_add_set(ruleset, text, &set);
	if (*word == 'n')
		nft_ruleset_add_counter(ruleset, text);
	chain.hook = *word == 'c' ? -1 : 1;
	if (*word == 'c' || *word == 'b' || *word == 'B')
		nft_ruleset_add_chain(ruleset, text, &chain);
	if (*word == 'r')
		add_rules(ruleset, text, other);
	if (*word == 'e')
		nft_ruleset_add_elem(ruleset, text, key, value);
	if (*word == 'v')
		nft_ruleset_add_verdict(ruleset, text, key, value);
	if (*word == 'i') {
		struct str last = str_cut(key, '-', &key);

		nft_ruleset_add_range(ruleset, text, NFT_ELEM_RANGE, key, last, NOTHING);
	}
}

static struct nft_ruleset ruleset_of(const char *words)
{
	struct nft_ruleset ruleset = {.failed = 0};
	char copy[512], *saved = NULL;

	snprintf(copy, sizeof(copy), "%s", words);
	for (char *word = strtok_r(copy, " ", &saved); word; word = strtok_r(NULL, " ", &saved))
		add_word(&ruleset, word);
	return ruleset;
}

static void describe_item(const struct nft_item *item, char *text, size_t size)
{
	static const char letters[] = {'s', 'n', 'c', 'r', 'e'};

	snprintf(text, size, "%c:%s%s%.*s%s%.*s", letters[item->type], item->name, item->key.len ? "." : "",
		 (int)item->key.len, item->key.p ? item->key.p : "",
		 item->type == NFT_ITEM_ELEM && item->value.len ? "=" : "",
		 item->type == NFT_ITEM_ELEM ? (int)item->value.len : 0, item->value.p ? item->value.p : "");
}

static void describe_ops(const struct nft_ops *ops, char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < ops->count; i++) {
		char item[128];

		describe_item(ops->ops[i].item, item, sizeof(item));
		used += (size_t)snprintf(text + used, size - used, "%s%c%s", i ? " " : "",
					 "+-~"[ops->ops[i].type], item);
	}
}

static void the_difference_is_what_turns_one_into_the_other(void **state)
{
	static const struct {
		const char *from, *to, *ops;
		bool rebuild;
	} cases[] = {
	    {"", "", "", false},
	    {"s:a c:b r:b=1 e:a.1=5", "s:a c:b r:b=1 e:a.1=5", "", false},
	    {"", "s:a n:x c:b r:b=1 e:a.1=5", "+s:a +n:x +c:b +r:b +e:a.1=5", false},
	    {"s:a n:x c:b r:b=1 e:a.1=5", "", "-s:a -n:x -c:b -r:b -e:a.1=5", false},
	    {"e:a.1=5 e:a.2=6", "e:a.1=7 e:a.2=6", "~e:a.1=7", false},
	    {"e:a.1=5 e:a.2=6", "e:a.2=6 e:a.3=5", "-e:a.1=5 +e:a.3=5", false},
	    {"v:a.1=x", "v:a.1=y", "~e:a.1=y", false},
	    {"e:a.1=x", "v:a.1=x", "~e:a.1=x", false},
	    {"i:a.1-5", "i:a.1-6", "~e:a.1", false},
	    {"i:a.1-5", "i:a.1-5", "", false},
	    {"r:b=1", "r:b=2", "~r:b", false},
	    {"s:a c:b e:a.1=5", "S:a c:b e:a.1=5", "+s:a +c:b +e:a.1=5", true},
	    {"b:a", "B:a", "+c:a", true},
	    {"b:a", "c:a", "+c:a", true},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct nft_ruleset from = ruleset_of(cases[i].from), to = ruleset_of(cases[i].to);
		struct nft_ops ops = {.count = 0};
		char text[512];

		assert_int_equal(nft_ruleset_sort(&from, NULL), 0);
		assert_int_equal(nft_ruleset_sort(&to, NULL), 0);
		assert_int_equal(nft_diff(&from, &to, &ops), 0);
		describe_ops(&ops, text, sizeof(text));
		assert_string_equal(text, cases[i].ops);
		assert_int_equal(ops.rebuild, cases[i].rebuild);
		nft_ops_done(&ops);
		nft_ruleset_done(&from);
		nft_ruleset_done(&to);
	}
}

static void a_replacement_knows_the_old_and_the_new_item(void **state)
{
	struct nft_ruleset from = ruleset_of("e:a.1=5"), to = ruleset_of("e:a.1=7");
	struct nft_ops ops = {.count = 0};

	(void)state;
	assert_int_equal(nft_diff(&from, &to, &ops), 0);
	assert_int_equal(ops.count, 1);
	assert_ptr_equal(ops.ops[0].item, &to.items[0]);
	assert_ptr_equal(ops.ops[0].old, &from.items[0]);
	nft_ops_done(&ops);
	nft_ruleset_done(&from);
	nft_ruleset_done(&to);
}

static void differences_of_fragments_add_up(void **state)
{
	struct nft_ruleset none = {.failed = 0}, one = ruleset_of("e:a.1=5"), two = ruleset_of("e:b.1=5");
	struct nft_ops ops = {.count = 0};
	char text[512];

	(void)state;
	assert_int_equal(nft_diff(&one, &none, &ops), 0);
	assert_int_equal(nft_diff(&none, &two, &ops), 0);
	assert_int_equal(nft_ops_delete(&ops, &two.items[0]), 0);
	describe_ops(&ops, text, sizeof(text));
	assert_string_equal(text, "-e:a.1=5 +e:b.1=5 -e:b.1=5");
	nft_ops_done(&ops);
	nft_ruleset_done(&one);
	nft_ruleset_done(&two);
}

static void rules_that_are_not_ours_are_replaced_even_by_the_same(void **state)
{
	struct nft_ruleset found = {.failed = 0}, wanted = {.failed = 0};
	struct nft_ops ops = {.count = 0};

	(void)state;
	nft_ruleset_add_rules_seen(&found, "b", 0, NOTHING);
	nft_ruleset_add_rules_seen(&wanted, "b", 0, NOTHING);
	assert_int_equal(nft_diff(&found, &wanted, &ops), 0);
	assert_int_equal(ops.count, 1);
	assert_int_equal(ops.ops[0].type, NFT_OP_REPLACE);
	nft_ops_done(&ops);
	nft_ruleset_done(&found);
	nft_ruleset_done(&wanted);
}

static void items_are_ordered_by_type_name_and_key(void **state)
{
	struct nft_ruleset ruleset = ruleset_of("e:b.1=1 e:a.2=1 e:a.10=1 e:a.1=1 r:z=1 c:z n:q s:y s:x");
	char text[512] = "";
	size_t used = 0;

	(void)state;
	assert_int_equal(nft_ruleset_sort(&ruleset, NULL), 0);
	for (size_t i = 0; i < ruleset.count; i++) {
		char item[128];

		describe_item(&ruleset.items[i], item, sizeof(item));
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s ", item);
	}
	assert_string_equal(text, "s:x s:y n:q c:z r:z e:a.1=1 e:a.10=1 e:a.2=1 e:b.1=1 ");
	assert_ptr_equal(nft_ruleset_find(&ruleset, NFT_ITEM_ELEM, "a", STR_LIT("10")), &ruleset.items[6]);
	assert_null(nft_ruleset_find(&ruleset, NFT_ITEM_ELEM, "a", STR_LIT("3")));
	nft_ruleset_done(&ruleset);
	assert_null(nft_ruleset_find(&ruleset, NFT_ITEM_CHAIN, "z", NOTHING));
}

static void the_same_item_twice_is_an_error_that_names_it(void **state)
{
	struct nft_ruleset ruleset = ruleset_of("s:x e:a.1=1 e:a.2=1 e:a.1=2");
	struct err err = {{0}};

	(void)state;
	nft_ruleset_comment(&ruleset, "default/web");
	assert_int_equal(nft_ruleset_sort(&ruleset, &err), -EEXIST);
	assert_non_null(strstr(err.text, "element of set a with key 31"));
	nft_ruleset_done(&ruleset);
}

static void a_name_too_long_is_refused(void **state)
{
	struct nft_ruleset ruleset = {.failed = 0};
	char name[NFT_NAME_MAX + 2];

	(void)state;
	memset(name, 'x', sizeof(name));
	name[NFT_NAME_MAX] = '\0';
	nft_ruleset_add_counter(&ruleset, name);
	assert_int_equal(nft_ruleset_sort(&ruleset, NULL), 0);
	name[NFT_NAME_MAX] = 'x';
	name[NFT_NAME_MAX + 1] = '\0';
	nft_ruleset_add_counter(&ruleset, name);
	assert_int_equal(nft_ruleset_sort(&ruleset, NULL), -ENAMETOOLONG);
	nft_ruleset_done(&ruleset);
}

static void rules_bring_their_first_tag_and_their_failures(void **state)
{
	struct nft_ruleset ruleset = {.failed = 0};
	struct nft_rules rules = {.failed = 0};
	char name[NFT_NAME_MAX + 2];

	(void)state;
	nft_ruleset_add_rules(&ruleset, "empty", &rules);
	assert_int_equal(ruleset.count, 0);
	nft_rule_begin(&rules, "comment", STR_LIT("first"));
	nft_rule_begin(&rules, NULL, STR_LIT("second"));
	nft_ruleset_add_rules(&ruleset, "chain", &rules);
	assert_true(str_is(ruleset.items[0].tag, "first"));
	assert_true(ruleset.items[0].fingerprint != 0);
	memset(name, 'x', sizeof(name));
	name[NFT_NAME_MAX + 1] = '\0';
	nft_rule_verdict(&rules, NFT_RULE_GOTO, name);
	nft_ruleset_add_rules(&ruleset, "other", &rules);
	assert_int_equal(nft_ruleset_sort(&ruleset, NULL), -ENAMETOOLONG);
	nft_rules_done(&rules);
	nft_ruleset_done(&ruleset);
}

static void what_is_given_is_copied(void **state)
{
	struct nft_ruleset ruleset = {.failed = 0};
	struct nft_chain_spec spec = {.type = "nat", .hook = 1, .priority = -100};
	char name[] = "chain", key[] = "key", value[] = "value", comment[] = "comment";

	(void)state;
	nft_ruleset_add_chain(&ruleset, name, &spec);
	nft_ruleset_add_elem(&ruleset, name, str_of(key), str_of(value));
	nft_ruleset_comment(&ruleset, comment);
	memset(name, 'x', 5), memset(key, 'x', 3), memset(value, 'x', 5), memset(comment, 'x', 7);
	spec = (struct nft_chain_spec){.hook = -1};
	assert_string_equal(ruleset.items[0].name, "chain");
	assert_string_equal(ruleset.items[0].chain->type, "nat");
	assert_true(str_is(ruleset.items[1].key, "key") && str_is(ruleset.items[1].value, "value"));
	assert_string_equal(ruleset.items[1].comment, "comment");
	nft_ruleset_done(&ruleset);
}

static void fields_of_keys_are_padded_unless_alone(void **state)
{
	struct nft_key key = {.len = 0};

	(void)state;
	nft_key_add_port(&key, 0x1234);
	assert_memory_equal(nft_key_str(&key).p, "\x12\x34", 2);
	assert_int_equal(nft_key_str(&key).len, 2);
	nft_key_add_u8(&key, 6);
	assert_int_equal(nft_key_str(&key).len, 8);
	assert_memory_equal(nft_key_str(&key).p, "\x12\x34\0\0\x06\0\0\0", 8);
}

static void specs_follow_from_types(void **state)
{
	struct nft_set_spec spec = nft_set_spec_of(
	    NFT_DATATYPES(NFT_DATATYPE_IPV4_ADDR, NFT_DATATYPE_INET_PROTO, NFT_DATATYPE_INET_SERVICE),
	    NFT_DATATYPES(NFT_DATATYPE_VERDICT), 0);

	(void)state;
	assert_int_equal(spec.key_type, (7 << 12) | (12 << 6) | 13);
	assert_int_equal(spec.key_len_bytes, 12);
	assert_int_equal(spec.flags, NFT_SET_FLAG_MAP);
	assert_int_equal(spec.data_type, NFT_DATA_TYPE_VERDICT);
	spec = nft_set_spec_of(NFT_DATATYPES(NFT_DATATYPE_INET_SERVICE),
			       NFT_DATATYPES(NFT_DATATYPE_IPV6_ADDR, NFT_DATATYPE_INET_SERVICE), 0);
	assert_int_equal(spec.key_len_bytes, 2);
	assert_int_equal(spec.data_len_bytes, 20);
	assert_int_equal(spec.concat_count, 0);
	spec = nft_set_spec_of(NFT_DATATYPES(NFT_DATATYPE_IPV4_ADDR, NFT_DATATYPE_INET_SERVICE), NULL,
			       NFT_SET_FLAG_INTERVAL);
	assert_int_equal(spec.flags, NFT_SET_FLAG_INTERVAL | NFT_SET_FLAG_CONCAT);
	assert_int_equal(spec.concat_count, 2);
	assert_int_equal(spec.concat_len[1], 2);
}

static void a_cidr_is_the_range_of_its_addresses(void **state)
{
	static const struct {
		const char *cidr, *first, *last;
	} cases[] = {
	    {"10.96.0.0/12", "10.96.0.0", "10.111.255.255"},
	    {"0.0.0.0/0", "0.0.0.0", "255.255.255.255"},
	    {"10.0.0.1/32", "10.0.0.1", "10.0.0.1"},
	    {"fd00::/8", "fd00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct nft_ruleset ruleset = {.failed = 0};
		struct cidr cidr;
		struct ip first, last;

		assert_int_equal(cidr_parse(str_of(cases[i].cidr), &cidr), 0);
		assert_int_equal(ip_parse(str_of(cases[i].first), &first), 0);
		assert_int_equal(ip_parse(str_of(cases[i].last), &last), 0);
		nft_ruleset_add_cidr(&ruleset, "set", &cidr);
		assert_memory_equal(ruleset.items[0].key.p, first.bytes, ip_len(&first));
		assert_memory_equal(ruleset.items[0].key_end.p, last.bytes, ip_len(&last));
		nft_ruleset_done(&ruleset);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_difference_is_what_turns_one_into_the_other),
	    cmocka_unit_test(a_replacement_knows_the_old_and_the_new_item),
	    cmocka_unit_test(differences_of_fragments_add_up),
	    cmocka_unit_test(rules_that_are_not_ours_are_replaced_even_by_the_same),
	    cmocka_unit_test(items_are_ordered_by_type_name_and_key),
	    cmocka_unit_test(the_same_item_twice_is_an_error_that_names_it),
	    cmocka_unit_test(a_name_too_long_is_refused),
	    cmocka_unit_test(rules_bring_their_first_tag_and_their_failures),
	    cmocka_unit_test(what_is_given_is_copied),
	    cmocka_unit_test(fields_of_keys_are_padded_unless_alone),
	    cmocka_unit_test(specs_follow_from_types),
	    cmocka_unit_test(a_cidr_is_the_range_of_its_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
