/* IP addresses, prefixes and socket addresses: text in, values out, and back. */
#include "base/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#define IPV4_MAPPED_BITS 96

static int ipv4_parse(struct str text, struct ip *ret)
{
	struct ip ip = {.family = AF_INET};
	struct str rest = text;

	for (unsigned i = 0; i < 4; i++) {
		struct str octet;
		uint64_t value;

		rest = str_cut(rest, '.', &octet);
		if ((i < 3) != (rest.p != NULL) || str_to_u64(octet, 255, &value) != 0)
			return -EINVAL;
		ip.bytes[i] = (uint8_t)value;
	}
	*ret = ip;
	return 0;
}

/* ::ffff:a.b.c.d is the IPv4 address (invariant 3). */
static struct ip ip_from_ipv6_bytes(const uint8_t bytes[static 16])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	struct ip ip = {.family = AF_INET6};

	if (memcmp(bytes, mapped, sizeof(mapped)) == 0) {
		ip.family = AF_INET;
		memcpy(ip.bytes, bytes + 12, 4);
	} else {
		memcpy(ip.bytes, bytes, 16);
	}
	return ip;
}

static int ipv6_parse(struct str text, struct ip *ret)
{
	char copy[INET6_ADDRSTRLEN];
	uint8_t bytes[16];

	if (text.len >= sizeof(copy) || memchr(text.p, '\0', text.len))
		return -EINVAL;
	memcpy(copy, text.p, text.len);
	copy[text.len] = '\0';
	if (inet_pton(AF_INET6, copy, bytes) != 1)
		return -EINVAL;
	*ret = ip_from_ipv6_bytes(bytes);
	return 0;
}

static bool has_colon(struct str text)
{
	return text.len > 0 && memchr(text.p, ':', text.len);
}

int ip_parse(struct str text, struct ip *ret)
{
	return has_colon(text) ? ipv6_parse(text, ret) : ipv4_parse(text, ret);
}

static void ip_clear_host_bits(struct ip *ip, unsigned prefix_bits)
{
	for (unsigned i = 0; i < ip_len(ip); i++) {
		unsigned kept = prefix_bits > i * 8 ? prefix_bits - i * 8 : 0;

		if (kept < 8)
			ip->bytes[i] &= (uint8_t)(0xff00U >> kept);
	}
}

int cidr_parse(struct str text, struct cidr *ret)
{
	struct cidr cidr = {0};
	struct str ip_text, bits_text = str_cut(text, '/', &ip_text);
	uint64_t bits;

	if (ip_parse(ip_text, &cidr.ip) != 0 ||
	    str_to_u64(bits_text, has_colon(ip_text) ? 128 : 32, &bits) != 0)
		return -EINVAL;
	if (has_colon(ip_text) && cidr.ip.family == AF_INET) {
		if (bits < IPV4_MAPPED_BITS)
			return -EINVAL;
		bits -= IPV4_MAPPED_BITS;
	}
	cidr.prefix_bits = (uint8_t)bits;
	ip_clear_host_bits(&cidr.ip, cidr.prefix_bits);
	*ret = cidr;
	return 0;
}

static int bracketed_ip_parse(struct str text, struct ip *ret)
{
	if (text.len < 2 || text.p[0] != '[' || text.p[text.len - 1] != ']')
		return -EINVAL;
	return ipv6_parse((struct str){text.p + 1, text.len - 2}, ret);
}

int endpoint_addr_parse(struct str text, struct endpoint_addr *ret)
{
	struct endpoint_addr addr = {0};
	const char *colon = text.len > 0 ? memrchr(text.p, ':', text.len) : NULL;
	struct str ip_text = {text.p, colon ? (size_t)(colon - text.p) : 0};
	struct str port_text = colon ? (struct str){colon + 1, text.len - ip_text.len - 1} : text;
	uint64_t port;
	int r = 0;

	if (str_to_u64(port_text, UINT16_MAX, &port) != 0)
		return -EINVAL;
	if (ip_text.len > 0 && ip_text.p[0] == '[')
		r = bracketed_ip_parse(ip_text, &addr.ip);
	else if (ip_text.len > 0)
		r = ipv4_parse(ip_text, &addr.ip);
	if (r != 0)
		return r;
	addr.port = (uint16_t)port;
	*ret = addr;
	return 0;
}

static uint16_t ipv6_group(const struct ip *ip, size_t index)
{
	return (uint16_t)(ip->bytes[2 * index] << 8 | ip->bytes[2 * index + 1]);
}

struct zero_run {
	unsigned begin, len; /* in groups of 16 bits */
};

/* The first of the longest runs of at least two zero groups (RFC 5952 section 4.2). */
static struct zero_run ipv6_longest_zero_run(const struct ip *ip)
{
	struct zero_run best = {0}, run = {0};

	for (unsigned i = 0; i < 8; i++) {
		if (ipv6_group(ip, i) != 0) {
			run = (struct zero_run){.begin = i + 1};
			continue;
		}
		run.len++;
		if (run.len > best.len && run.len >= 2)
			best = run;
	}
	return best;
}

static void ipv6_format(const struct ip *ip, char buffer[static ADDR_TEXT_MAX])
{
	struct zero_run zeros = ipv6_longest_zero_run(ip);
	size_t len = 0;

	for (unsigned i = 0; i < 8; i++) {
		bool in_run = i >= zeros.begin && i < zeros.begin + zeros.len;
		bool after_run = zeros.len > 0 && i == zeros.begin + zeros.len;

		if (in_run && i > zeros.begin)
			continue;
		if (in_run)
			len += (size_t)snprintf(buffer + len, ADDR_TEXT_MAX - len, "::");
		else
			len += (size_t)snprintf(buffer + len, ADDR_TEXT_MAX - len,
						i == 0 || after_run ? "%x" : ":%x", ipv6_group(ip, i));
	}
}

const char *ip_format(const struct ip *ip, char buffer[static ADDR_TEXT_MAX])
{
	const uint8_t *b = ip->bytes;

	buffer[0] = '\0';
	if (ip->family == AF_INET)
		(void)snprintf(buffer, ADDR_TEXT_MAX, "%u.%u.%u.%u", b[0], b[1], b[2], b[3]);
	else if (ip->family == AF_INET6)
		ipv6_format(ip, buffer);
	return buffer;
}

const char *cidr_format(const struct cidr *cidr, char buffer[static ADDR_TEXT_MAX])
{
	char ip[ADDR_TEXT_MAX];

	(void)snprintf(buffer, ADDR_TEXT_MAX, "%.45s/%u", ip_format(&cidr->ip, ip), cidr->prefix_bits);
	return buffer;
}

const char *endpoint_addr_format(const struct endpoint_addr *addr, char buffer[static ADDR_TEXT_MAX])
{
	bool brackets = addr->ip.family == AF_INET6;
	char ip[ADDR_TEXT_MAX];

	(void)snprintf(buffer, ADDR_TEXT_MAX, "%s%.45s%s:%u", brackets ? "[" : "", ip_format(&addr->ip, ip),
		       brackets ? "]" : "", addr->port);
	return buffer;
}

bool cidr_contains(const struct cidr *cidr, const struct ip *ip)
{
	struct ip network = *ip;

	if (ip->family != cidr->ip.family)
		return false;
	ip_clear_host_bits(&network, cidr->prefix_bits);
	return ip_equal(&network, &cidr->ip);
}

static bool ip_is_in_either(const struct ip *ip, const struct cidr *ipv4, const struct cidr *ipv6)
{
	return cidr_contains(ip->family == AF_INET ? ipv4 : ipv6, ip);
}

bool ip_is_loopback(const struct ip *ip)
{
	static const struct cidr ipv4 = {.ip = {AF_INET, {127}}, .prefix_bits = 8};
	static const struct cidr ipv6 = {.ip = {AF_INET6, {[15] = 1}}, .prefix_bits = 128};

	return ip_is_in_either(ip, &ipv4, &ipv6);
}

bool ip_is_unspecified(const struct ip *ip)
{
	static const struct cidr ipv4 = {.ip = {.family = AF_INET}, .prefix_bits = 32};
	static const struct cidr ipv6 = {.ip = {.family = AF_INET6}, .prefix_bits = 128};

	return ip_is_in_either(ip, &ipv4, &ipv6);
}

bool ip_is_link_local(const struct ip *ip)
{
	static const struct cidr ipv4 = {.ip = {AF_INET, {169, 254}}, .prefix_bits = 16};
	static const struct cidr ipv6 = {.ip = {AF_INET6, {0xfe, 0x80}}, .prefix_bits = 10};

	return ip_is_in_either(ip, &ipv4, &ipv6);
}

bool ip_is_multicast(const struct ip *ip)
{
	static const struct cidr ipv4 = {.ip = {AF_INET, {224}}, .prefix_bits = 4};
	static const struct cidr ipv6 = {.ip = {AF_INET6, {0xff}}, .prefix_bits = 8};

	return ip_is_in_either(ip, &ipv4, &ipv6);
}

socklen_t endpoint_addr_to_sockaddr(const struct endpoint_addr *addr, struct sockaddr_storage *ret)
{
	struct sockaddr_in ipv4 = {.sin_family = AF_INET, .sin_port = htons(addr->port)};
	struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6, .sin6_port = htons(addr->port)};

	memset(ret, 0, sizeof(*ret));
	if (addr->ip.family == AF_INET) {
		memcpy(&ipv4.sin_addr, addr->ip.bytes, 4);
		memcpy(ret, &ipv4, sizeof(ipv4));
		return sizeof(ipv4);
	}
	memcpy(&ipv6.sin6_addr, addr->ip.bytes, 16); /* family 0: all zeroes, which is every address */
	memcpy(ret, &ipv6, sizeof(ipv6));
	return sizeof(ipv6);
}

int endpoint_addr_from_sockaddr(const struct sockaddr *sockaddr, struct endpoint_addr *ret)
{
	struct sockaddr_in ipv4;
	struct sockaddr_in6 ipv6;

	switch (sockaddr->sa_family) {
	case AF_INET:
		memcpy(&ipv4, sockaddr, sizeof(ipv4));
		*ret = (struct endpoint_addr){.ip = {.family = AF_INET}, .port = ntohs(ipv4.sin_port)};
		memcpy(ret->ip.bytes, &ipv4.sin_addr, 4);
		return 0;
	case AF_INET6:
		memcpy(&ipv6, sockaddr, sizeof(ipv6));
		*ret = (struct endpoint_addr){.ip = ip_from_ipv6_bytes(ipv6.sin6_addr.s6_addr),
					      .port = ntohs(ipv6.sin6_port)};
		return 0;
	}
	return -EAFNOSUPPORT;
}
