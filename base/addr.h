/* IP addresses, prefixes and socket addresses as plain values.
 *
 * Invariants
 *  1. `family` is AF_INET or AF_INET6; 0 means "no address".
 *  2. Unused bytes are zero, so memcmp orders and compares whole values.
 *  3. IPv4 never hides in IPv6: ::ffff:a.b.c.d parses to AF_INET. */
#ifndef BASE_ADDR_H
#define BASE_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/str.h"

struct ip {
	uint16_t family;
	uint8_t bytes[16]; /* network order; IPv4 uses the first four */
};

struct cidr {
	struct ip ip; /* host bits are zero */
	uint8_t prefix_bits;
	uint8_t unused; /* 0: padding with a name, see invariant 2 */
};

struct endpoint_addr {
	struct ip ip;
	uint16_t port; /* host order */
};

#define ADDR_TEXT_MAX 64 /* bytes enough for any text made here, NUL included */

/* Strict dotted quad or RFC 4291 text, except that leading zeros in IPv4 octets are read as decimal, as the
 * Kubernetes API server always accepted them. No zone, no brackets. 0 or -EINVAL. */
int ip_parse(struct str text, struct ip *ret);
/* "10.0.0.0/8"; host bits are cleared. 0 or -EINVAL. */
int cidr_parse(struct str text, struct cidr *ret);
/* "1.2.3.4:80", "[::1]:80", ":80" (family 0: all addresses), "80". 0 or -EINVAL. */
int endpoint_addr_parse(struct str text, struct endpoint_addr *ret);

/* RFC 5952 text into buffer[ADDR_TEXT_MAX]; return buffer. */
const char *ip_format(const struct ip *ip, char buffer[static ADDR_TEXT_MAX]);
const char *cidr_format(const struct cidr *cidr, char buffer[static ADDR_TEXT_MAX]);
const char *endpoint_addr_format(const struct endpoint_addr *addr, char buffer[static ADDR_TEXT_MAX]);

bool cidr_contains(const struct cidr *cidr, const struct ip *ip); /* false across families */
bool ip_is_loopback(const struct ip *ip);
bool ip_is_unspecified(const struct ip *ip);
bool ip_is_link_local(const struct ip *ip);
bool ip_is_multicast(const struct ip *ip);
static inline unsigned ip_len(const struct ip *ip)
{
	return ip->family == AF_INET ? 4 : 16;
}
static inline bool ip_equal(const struct ip *a, const struct ip *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

socklen_t endpoint_addr_to_sockaddr(const struct endpoint_addr *addr, struct sockaddr_storage *ret);
int endpoint_addr_from_sockaddr(const struct sockaddr *sockaddr,
				struct endpoint_addr *ret); /* 0, -EAFNOSUPPORT */

#endif
