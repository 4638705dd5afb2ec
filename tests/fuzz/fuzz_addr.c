/* Text of any kind as addresses: what is read can be written and read again, and what inet_pton(3) reads we read as
 * the same bytes. */
/* LINK: base/addr.c base/str.c */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/addr.h"

static void must(bool condition)
{
	if (!condition)
		abort();
}

static void check_ip(struct str text)
{
	char formatted[ADDR_TEXT_MAX], copy[64] = {0};
	struct ip ip, again;
	uint8_t bytes[16];

	if (ip_parse(text, &ip) == 0) {
		must(ip.family == AF_INET || ip.family == AF_INET6);
		must(ip_parse(str_of(ip_format(&ip, formatted)), &again) == 0 && ip_equal(&ip, &again));
	}
	if (text.len >= sizeof(copy) || (text.len > 0 && memchr(text.p, '\0', text.len)))
		return;
	memcpy(copy, text.p, text.len);
	if (inet_pton(AF_INET, copy, bytes) == 1)
		must(ip_parse(text, &ip) == 0 && ip.family == AF_INET && memcmp(ip.bytes, bytes, 4) == 0);
	if (inet_pton(AF_INET6, copy, bytes) == 1) {
		must(ip_parse(text, &ip) == 0);
		must(memcmp(ip.bytes, ip.family == AF_INET ? bytes + 12 : bytes, ip_len(&ip)) == 0);
	}
}

static void check_cidr(struct str text)
{
	char formatted[ADDR_TEXT_MAX];
	struct cidr cidr, again;

	if (cidr_parse(text, &cidr) != 0)
		return;
	must(cidr.prefix_bits <= ip_len(&cidr.ip) * 8);
	must(cidr_contains(&cidr, &cidr.ip));
	must(cidr_parse(str_of(cidr_format(&cidr, formatted)), &again) == 0);
	must(memcmp(&cidr, &again, sizeof(cidr)) == 0);
}

static void check_endpoint_addr(struct str text)
{
	char formatted[ADDR_TEXT_MAX];
	struct endpoint_addr addr, again;
	struct sockaddr_storage storage;

	if (endpoint_addr_parse(text, &addr) != 0)
		return;
	must(endpoint_addr_parse(str_of(endpoint_addr_format(&addr, formatted)), &again) == 0);
	must(memcmp(&addr, &again, sizeof(addr)) == 0);
	if (addr.ip.family == 0)
		return;
	(void)endpoint_addr_to_sockaddr(&addr, &storage);
	must(endpoint_addr_from_sockaddr((const struct sockaddr *)&storage, &again) == 0);
	must(memcmp(&addr, &again, sizeof(addr)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = {(const char *)data, size};

	check_ip(text);
	check_cidr(text);
	check_endpoint_addr(text);
	return 0;
}
