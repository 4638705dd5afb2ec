/* nft/rule: what each call of the builder says, canonical bytes, fingerprints. */
/* LINK: nft/rule.c base/buf.c base/str.c base/addr.c base/err.c */
/* LIBS: -lxxhash */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "nft/rule.h"
#include "nft/ruleset.h"

static struct nft_rules rules;

static int set_up(void **state)
{
	(void)state;
	rules = (struct nft_rules){.failed = 0};
	nft_rule_begin(&rules, NULL, NFT_NO_TAG);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	nft_rules_done(&rules);
	return 0;
}

/* Reads the rules back as words: "load 0 f10", "cmp 0 op0 0a000000", ... */
static const char *said(void)
{
	static const char *const names[] = {
	    "rule",     "load",       "set",    "immediate", "numgen",        "cmp",     "range",
	    "bitwise",  "lookup",     "map",    "vmap",      "dynset",        "verdict", "dnat",
	    "redirect", "masquerade", "reject", "counter",   "counter-named",
	};
	static char text[1024];
	struct str bytes = buf_str(&rules.bytes);
	size_t used = 0;

	text[0] = '\0';
	for (struct nft_expr expr; nft_expr_next(&bytes, &expr);) {
		if (expr.op == NFT_EXPR_RULE)
			continue;
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s r%u,%u d%u %u %u ",
					 used ? "; " : "", names[expr.op], expr.reg, expr.reg2, expr.detail,
					 expr.a, expr.b);
		for (size_t i = 0; i < expr.data.len; i++)
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%02x",
						 (unsigned char)expr.data.p[i]);
	}
	return text;
}

static void single_expressions_keep_their_operands(void **state)
{
	(void)state;
	assert_int_equal(nft_rule_load(&rules, 2, NFT_FIELD_IP6_DADDR), 6);
	assert_string_equal(said(), "load r2,0 d12 0 0 ");
	tear_down(NULL), set_up(NULL);
	nft_rule_meta_set(&rules, NFT_FIELD_PRIORITY, 3);
	assert_string_equal(said(), "set r3,0 d8 0 0 ");
	tear_down(NULL), set_up(NULL);
	assert_int_equal(nft_rule_immediate(&rules, 15, "\x1f\x90", 2), 16);
	assert_string_equal(said(), "immediate r15,0 d0 0 0 1f90");
	tear_down(NULL), set_up(NULL);
	assert_int_equal(nft_rule_numgen(&rules, 1, NFT_NG_RANDOM, 7, 100), 2);
	assert_string_equal(said(), "numgen r1,0 d1 7 100 ");
	tear_down(NULL), set_up(NULL);
	nft_rule_range(&rules, 0, "\1\2", "\3\4", 2, true);
	assert_string_equal(said(), "range r0,0 d1 0 0 01020304");
	tear_down(NULL), set_up(NULL);
	nft_rule_bitwise(&rules, 4, 5, "\xff\0", "\0\1", 2);
	assert_string_equal(said(), "bitwise r5,4 d0 0 0 ff000001");
	tear_down(NULL), set_up(NULL);
	nft_rule_lookup(&rules, "s", 1, true);
	nft_rule_lookup_map(&rules, "m", 2, 4);
	nft_rule_lookup_vmap(&rules, "v", 3);
	assert_string_equal(said(), "lookup r1,0 d1 0 0 73; map r2,4 d0 0 0 6d; vmap r3,0 d0 0 0 76");
	tear_down(NULL), set_up(NULL);
	nft_rule_dynset(&rules, NFT_DYNSET_OP_UPDATE, "a", 0, NFT_NO_REGISTER, 0x100000002);
	assert_string_equal(said(), "dynset r0,255 d1 1 2 61");
}

static void ends_of_rules_keep_their_operands(void **state)
{
	(void)state;
	nft_rule_verdict(&rules, NFT_RULE_GOTO, "x");
	nft_rule_verdict(&rules, NFT_RULE_DROP, NULL);
	assert_string_equal(said(), "verdict r0,0 d5 0 0 78; verdict r0,0 d0 0 0 ");
	tear_down(NULL), set_up(NULL);
	nft_rule_dnat(&rules, AF_INET, 4, 5);
	nft_rule_dnat(&rules, AF_INET6, 4, NFT_NO_REGISTER);
	assert_string_equal(said(), "dnat r4,5 d2 0 0 ; dnat r4,255 d10 0 0 ");
	tear_down(NULL), set_up(NULL);
	nft_rule_redirect(&rules, 1);
	nft_rule_masquerade(&rules, 16);
	nft_rule_reject(&rules, AF_INET6, NFT_REJECT_WITH_TCP_RESET);
	assert_string_equal(said(), "redirect r1,0 d0 0 0 ; masquerade r0,0 d0 16 0 ; reject r0,0 d3 10 0 ");
	tear_down(NULL), set_up(NULL);
	nft_rule_counter(&rules);
	nft_rule_counter_named(&rules, "n");
	assert_string_equal(said(), "counter r0,0 d0 0 0 ; counter-named r0,0 d0 0 0 6e");
}

static void matches_are_loads_and_comparisons(void **state)
{
	(void)state;
	nft_rule_match_u8(&rules, NFT_FIELD_L4PROTO, NFT_CMP_NEQ, 6);
	assert_string_equal(said(), "load r0,0 d1 0 0 ; cmp r0,0 d1 0 0 06");
	tear_down(NULL), set_up(NULL);
	nft_rule_match_port(&rules, NFT_FIELD_DPORT, NFT_CMP_EQ, 0x1234);
	assert_string_equal(said(), "load r0,0 d14 0 0 ; cmp r0,0 d0 0 0 1234");
	tear_down(NULL), set_up(NULL);
	nft_rule_match_bits(&rules, NFT_FIELD_CT_STATUS, NFT_CT_STATUS_DNAT, false);
	assert_string_equal(
	    said(), "load r0,0 d16 0 0 ; bitwise r0,0 d0 0 0 2000000000000000; cmp r0,0 d1 0 0 00000000");
	tear_down(NULL), set_up(NULL);
	nft_rule_match_ifname(&rules, NFT_FIELD_IIFNAME, "cali", true, true);
	assert_string_equal(said(), "load r0,0 d5 0 0 ; cmp r0,0 d1 0 0 63616c69");
	tear_down(NULL), set_up(NULL);
	nft_rule_match_ifname(&rules, NFT_FIELD_OIFNAME, "eth0", false, false);
	assert_string_equal(said(), "load r0,0 d6 0 0 ; cmp r0,0 d0 0 0 65746830000000000000000000000000");
	tear_down(NULL), set_up(NULL);
	nft_rule_match_vmap(&rules, NFT_FIELDS(NFT_FIELD_IP_DADDR, NFT_FIELD_L4PROTO, NFT_FIELD_DPORT), "v");
	assert_string_equal(said(),
			    "load r0,0 d10 0 0 ; load r1,0 d1 0 0 ; load r2,0 d14 0 0 ; vmap r0,0 d0 0 0 76");
}

static void a_cidr_is_a_mask_unless_it_is_one_address(void **state)
{
	static const struct {
		const char *cidr, *said;
	} cases[] = {
	    {"10.96.0.0/12",
	     "load r0,0 d9 0 0 ; bitwise r0,0 d0 0 0 fff0000000000000; cmp r0,0 d0 0 0 0a600000"},
	    {"10.0.0.1/32", "load r0,0 d9 0 0 ; cmp r0,0 d0 0 0 0a000001"},
	    {"0.0.0.0/0",
	     "load r0,0 d9 0 0 ; bitwise r0,0 d0 0 0 0000000000000000; cmp r0,0 d0 0 0 00000000"},
	    {"fd00::/9",
	     "load r0,0 d11 0 0 ; bitwise r0,0 d0 0 0 ff80000000000000000000000000000000000000000000000000"
	     "000000000000; cmp r0,0 d0 0 0 fd000000000000000000000000000000"},
	};
	struct cidr cidr;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		tear_down(NULL), set_up(NULL);
		assert_int_equal(cidr_parse(str_of(cases[i].cidr), &cidr), 0);
		nft_rule_match_cidr(&rules, nft_field_saddr(cidr.ip.family), &cidr, false);
		assert_string_equal(said(), cases[i].said);
	}
}

static void every_field_has_a_width_and_every_family_its_fields(void **state)
{
	(void)state;
	for (unsigned field = NFT_FIELD_END + 1; field < NFT_FIELD_COUNT; field++)
		assert_true(nft_field_len((enum nft_field)field) > 0);
	assert_int_equal(nft_field_len(nft_field_saddr(AF_INET)), 4);
	assert_int_equal(nft_field_len(nft_field_daddr(AF_INET6)), 16);
	assert_int_equal(nft_field_ct_original_daddr(AF_INET), NFT_FIELD_CT_ORIGINAL_DADDR);
	assert_int_equal(nft_field_ct_reply_saddr(AF_INET6), NFT_FIELD_CT_REPLY_SADDR6);
}

static struct str sample(struct nft_rules *into, const char *comment, const char *tag, uint32_t modulus)
{
	nft_rules_clear(into);
	nft_rule_begin(into, comment, str_of(tag));
	nft_rule_numgen(into, 0, NFT_NG_INCREMENTAL, modulus, 1);
	nft_rule_begin(into, NULL, NFT_NO_TAG);
	nft_rule_verdict(into, NFT_RULE_GOTO, "dispatch");
	return buf_str(&into->bytes);
}

static void equal_calls_make_equal_bytes_and_any_difference_shows(void **state)
{
	struct nft_rules one = {.failed = 0}, other = {.failed = 0};
	uint64_t fingerprint = nft_rules_fingerprint(sample(&one, "c", "t", 3));

	(void)state;
	assert_true(str_equal(buf_str(&one.bytes), sample(&other, "c", "t", 3)));
	assert_true(nft_rules_fingerprint(buf_str(&other.bytes)) == fingerprint);
	assert_true(nft_rules_fingerprint(sample(&other, "d", "t", 3)) != fingerprint);
	assert_true(nft_rules_fingerprint(sample(&other, "c", "u", 3)) != fingerprint);
	assert_true(nft_rules_fingerprint(sample(&other, "ct", "", 3)) != fingerprint);
	assert_true(nft_rules_fingerprint(sample(&other, "c", "t", 4)) != fingerprint);
	nft_rules_done(&one);
	nft_rules_done(&other);
}

static void a_chain_is_known_by_its_rules_and_their_order(void **state)
{
	struct nft_rules two = {.failed = 0};
	struct str bytes = sample(&two, "c", "t", 3), rest = bytes, rule[2], none;
	uint64_t first, second, forth;

	(void)state;
	assert_true(nft_rule_next(&rest, &rule[0]));
	assert_true(nft_rule_next(&rest, &rule[1]));
	assert_false(nft_rule_next(&rest, &none));
	assert_int_equal(rule[0].len + rule[1].len, bytes.len);
	first = nft_rule_fingerprint(rule[0]);
	second = nft_rule_fingerprint(rule[1]);
	forth = nft_rules_fingerprint_add(nft_rules_fingerprint_add(0, first), second);
	assert_true(nft_rules_fingerprint(bytes) == forth);
	assert_true(nft_rules_fingerprint_add(nft_rules_fingerprint_add(0, second), first) != forth);
	assert_true(nft_rules_fingerprint_add(0, first) != forth);
	assert_true(nft_rules_fingerprint((struct str){NULL, 0}) == 0);
	nft_rules_done(&two);
}

static void comments_are_cut_and_tags_kept(void **state)
{
	char comment[NFT_RULE_COMMENT_MAX + 20];
	struct str bytes;
	struct nft_expr expr;

	(void)state;
	memset(comment, 'c', sizeof(comment));
	comment[sizeof(comment) - 1] = '\0';
	nft_rules_clear(&rules);
	nft_rule_begin(&rules, comment, STR_LIT("\0tag"));
	bytes = buf_str(&rules.bytes);
	assert_true(nft_expr_next(&bytes, &expr));
	assert_int_equal(expr.a, NFT_RULE_COMMENT_MAX);
	assert_int_equal(expr.data.len, NFT_RULE_COMMENT_MAX + 4);
	assert_memory_equal(expr.data.p + expr.a, "\0tag", 4);
}

static void a_name_too_long_is_remembered(void **state)
{
	char name[NFT_NAME_MAX + 2];

	(void)state;
	memset(name, 'n', sizeof(name));
	name[NFT_NAME_MAX] = '\0';
	nft_rule_counter_named(&rules, name);
	assert_int_equal(rules.failed, 0);
	name[NFT_NAME_MAX] = 'n';
	name[NFT_NAME_MAX + 1] = '\0';
	nft_rule_counter_named(&rules, name);
	assert_int_not_equal(rules.failed, 0);
	nft_rules_clear(&rules);
	assert_int_equal(rules.failed, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(single_expressions_keep_their_operands),
	    TEST(ends_of_rules_keep_their_operands),
	    TEST(matches_are_loads_and_comparisons),
	    TEST(a_cidr_is_a_mask_unless_it_is_one_address),
	    TEST(every_field_has_a_width_and_every_family_its_fields),
	    TEST(equal_calls_make_equal_bytes_and_any_difference_shows),
	    TEST(a_chain_is_known_by_its_rules_and_their_order),
	    TEST(comments_are_cut_and_tags_kept),
	    TEST(a_name_too_long_is_remembered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
