/* Addresses: what text is taken, what text is made, which ranges are special. */
/* LINK: base/addr.c base/str.c */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/addr.h"
#include "base/cleanup.h"

struct text_case {
	const char *in, *out; /* out NULL: refused */
};

static void addresses_are_read_strictly_and_written_as_rfc_5952_says(void **state)
{
	static const struct text_case cases[] = {
	    {"10.0.0.1", "10.0.0.1"},
	    {"255.255.255.255", "255.255.255.255"},
	    {"010.001.000.09", "10.1.0.9"}, /* the API server reads leading zeros as decimal */
	    {"10.0.0", NULL},
	    {"10.0.0.1.2", NULL},
	    {"10.0.0.256", NULL},
	    {"10.0.0.", NULL},
	    {".10.0.0", NULL},
	    {"10..0.1", NULL},
	    {" 10.0.0.1", NULL},
	    {"10.0.0.1 ", NULL},
	    {"0x0a.0.0.1", NULL},
	    {"+1.0.0.1", NULL},
	    {"167772161", NULL},
	    {"", NULL},
	    {"localhost", NULL},
	    {"::", "::"},
	    {"::1", "::1"},
	    {"2001:DB8::1", "2001:db8::1"},
	    {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
	    {"2001:0db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
	    {"fe80::", "fe80::"},
	    {"1:0:0:2::3", "1:0:0:2::3"},
	    {"0:0:0:0:0:0:1:2", "::1:2"},
	    {"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"},
	    {"1:2:3:4:5:6:0:0", "1:2:3:4:5:6::"},
	    {"::ffff:10.0.0.1", "10.0.0.1"},
	    {"::ffff:a00:1", "10.0.0.1"},
	    {"64:ff9b::10.0.0.1", "64:ff9b::a00:1"},
	    {"fe80::1%eth0", NULL},
	    {"[::1]", NULL},
	    {":::", NULL},
	    {"1:2:3:4:5:6:7", NULL},
	    {"1:2:3:4:5:6:7:8:9", NULL},
	    {"12345::", NULL},
	    {"::g", NULL},
	    {"0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char text[ADDR_TEXT_MAX];
		struct ip ip;
		int r = ip_parse(str_of(cases[i].in), &ip);

		if (r != (cases[i].out ? 0 : -EINVAL))
			fail_msg("\"%s\" gave %d", cases[i].in, r);
		if (r == 0)
			assert_string_equal(ip_format(&ip, text), cases[i].out);
	}
	assert_int_equal(ip_parse(STR_LIT("::1\0"), &(struct ip){0}), -EINVAL);
	assert_int_equal(ip_parse(STR_LIT("1.2.3.4\0"), &(struct ip){0}), -EINVAL);
}

static void prefixes_lose_their_host_bits(void **state)
{
	static const struct text_case cases[] = {
	    {"10.1.2.3/8", "10.0.0.0/8"},
	    {"10.1.2.3/31", "10.1.2.2/31"},
	    {"10.1.2.3/32", "10.1.2.3/32"},
	    {"10.1.2.3/0", "0.0.0.0/0"},
	    {"2001:db8:ffff::/33", "2001:db8:8000::/33"},
	    {"::1/128", "::1/128"},
	    {"::ffff:10.1.2.3/104", "10.0.0.0/8"},
	    {"::ffff:10.1.2.3/95", NULL},
	    {"10.0.0.0/33", NULL},
	    {"::/129", NULL},
	    {"10.0.0.0", NULL},
	    {"10.0.0.0/", NULL},
	    {"10.0.0.0/+8", NULL},
	    {"10.0.0.0/8/8", NULL},
	    {"/8", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char text[ADDR_TEXT_MAX];
		struct cidr cidr;
		int r = cidr_parse(str_of(cases[i].in), &cidr);

		if (r != (cases[i].out ? 0 : -EINVAL))
			fail_msg("\"%s\" gave %d", cases[i].in, r);
		if (r == 0)
			assert_string_equal(cidr_format(&cidr, text), cases[i].out);
	}
}

static void socket_addresses_may_leave_the_address_out(void **state)
{
	static const struct text_case cases[] = {
	    {"1.2.3.4:80", "1.2.3.4:80"},
	    {"[::1]:80", "[::1]:80"},
	    {"[::]:0", "[::]:0"},
	    {":65535", ":65535"},
	    {"80", ":80"},
	    {"[::ffff:1.2.3.4]:80", "1.2.3.4:80"},
	    {"::1:80", NULL},
	    {"[1.2.3.4]:80", NULL},
	    {"[::1:80", NULL},
	    {"::1]:80", NULL},
	    {"[]:80", NULL},
	    {"1.2.3.4", NULL},
	    {"1.2.3.4:", NULL},
	    {"1.2.3.4:65536", NULL},
	    {"1.2.3.4:-1", NULL},
	    {"1.2.3.4:http", NULL},
	    {"host:80", NULL},
	    {"", NULL},
	    {":", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char text[ADDR_TEXT_MAX];
		struct endpoint_addr addr;
		int r = endpoint_addr_parse(str_of(cases[i].in), &addr);

		if (r != (cases[i].out ? 0 : -EINVAL))
			fail_msg("\"%s\" gave %d", cases[i].in, r);
		if (r == 0)
			assert_string_equal(endpoint_addr_format(&addr, text), cases[i].out);
	}
}

static struct ip ip_of(const char *text)
{
	struct ip ip;

	assert_int_equal(ip_parse(str_of(text), &ip), 0);
	return ip;
}

static void special_ranges_are_known(void **state)
{
	static const struct {
		const char *text;
		bool loopback, unspecified, link_local, multicast;
	} cases[] = {
	    {"127.0.0.1", true, false, false, false},
	    {"127.255.255.255", true, false, false, false},
	    {"128.0.0.1", false, false, false, false},
	    {"::1", true, false, false, false},
	    {"::2", false, false, false, false},
	    {"0.0.0.0", false, true, false, false},
	    {"0.0.0.1", false, false, false, false},
	    {"::", false, true, false, false},
	    {"169.254.1.1", false, false, true, false},
	    {"169.253.1.1", false, false, false, false},
	    {"fe80::1", false, false, true, false},
	    {"febf::1", false, false, true, false},
	    {"fec0::1", false, false, false, false},
	    {"224.0.0.1", false, false, false, true},
	    {"239.255.255.255", false, false, false, true},
	    {"240.0.0.1", false, false, false, false},
	    {"ff02::1", false, false, false, true},
	    {"fe00::1", false, false, false, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct ip ip = ip_of(cases[i].text);

		if (ip_is_loopback(&ip) != cases[i].loopback ||
		    ip_is_unspecified(&ip) != cases[i].unspecified ||
		    ip_is_link_local(&ip) != cases[i].link_local ||
		    ip_is_multicast(&ip) != cases[i].multicast)
			fail_msg("%s", cases[i].text);
	}
}

static void a_prefix_holds_its_own_family_only(void **state)
{
	struct cidr ten, all;
	struct ip in = ip_of("10.255.0.1"), out = ip_of("11.0.0.1"), other = ip_of("a00::1");

	(void)state;
	assert_int_equal(cidr_parse(STR_LIT("10.0.0.0/8"), &ten), 0);
	assert_int_equal(cidr_parse(STR_LIT("0.0.0.0/0"), &all), 0);
	assert_true(cidr_contains(&ten, &in));
	assert_false(cidr_contains(&ten, &out));
	assert_false(cidr_contains(&ten, &other));
	assert_true(cidr_contains(&all, &out));
	assert_false(cidr_contains(&all, &other));
}

static void socket_addresses_survive_the_way_through_the_kernels_form(void **state)
{
	static const char *const texts[] = {"1.2.3.4:80", "[2001:db8::1]:443"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct endpoint_addr addr, back;
		struct sockaddr_storage storage;

		assert_int_equal(endpoint_addr_parse(str_of(texts[i]), &addr), 0);
		assert_true(endpoint_addr_to_sockaddr(&addr, &storage) >= sizeof(struct sockaddr_in));
		assert_int_equal(endpoint_addr_from_sockaddr((struct sockaddr *)&storage, &back), 0);
		assert_memory_equal(&addr, &back, sizeof(addr));
	}
	assert_int_equal(endpoint_addr_from_sockaddr(&(struct sockaddr){.sa_family = AF_UNIX}, NULL),
			 -EAFNOSUPPORT);
}

static void no_address_means_all_of_both_families(void **state)
{
	struct sockaddr_storage storage;
	struct sockaddr_in6 ipv6;

	(void)state;
	assert_int_equal(endpoint_addr_to_sockaddr(&(struct endpoint_addr){.port = 80}, &storage),
			 sizeof(ipv6));
	memcpy(&ipv6, &storage, sizeof(ipv6));
	assert_int_equal(ipv6.sin6_family, AF_INET6);
	assert_int_equal(ipv6.sin6_port, htons(80));
	assert_memory_equal(&ipv6.sin6_addr, &in6addr_any, 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(addresses_are_read_strictly_and_written_as_rfc_5952_says),
	    cmocka_unit_test(prefixes_lose_their_host_bits),
	    cmocka_unit_test(socket_addresses_may_leave_the_address_out),
	    cmocka_unit_test(special_ranges_are_known),
	    cmocka_unit_test(a_prefix_holds_its_own_family_only),
	    cmocka_unit_test(socket_addresses_survive_the_way_through_the_kernels_form),
	    cmocka_unit_test(no_address_means_all_of_both_families),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
