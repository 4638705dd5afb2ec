/* Writing netlink attributes as nf_tables wants them: numbers big-endian, padding zero. The caller has seen to the
 * room. */
#ifndef NFT_ATTRIBUTE_H
#define NFT_ATTRIBUTE_H

#include <arpa/inet.h>
#include <endian.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>

#include "base/str.h"

static inline void attribute_put(struct nlmsghdr *message, unsigned type, struct str bytes)
{
	char *payload = (char *)mnl_nlmsg_get_payload_tail(message) + sizeof(struct nlattr);

	memset(payload + bytes.len, 0, -bytes.len & 3);
	mnl_attr_put(message, (uint16_t)type, bytes.len, bytes.p);
}

static inline void attribute_put_u8(struct nlmsghdr *message, unsigned type, uint8_t value)
{
	attribute_put(message, type, (struct str){(const char *)&value, sizeof(value)});
}

static inline void attribute_put_u32(struct nlmsghdr *message, unsigned type, uint32_t value)
{
	mnl_attr_put_u32(message, (uint16_t)type, htonl(value));
}

static inline void attribute_put_u64(struct nlmsghdr *message, unsigned type, uint64_t value)
{
	mnl_attr_put_u64(message, (uint16_t)type, htobe64(value));
}

/* With its terminating zero. */
static inline void attribute_put_text(struct nlmsghdr *message, unsigned type, const char *text)
{
	attribute_put(message, type, (struct str){text, strlen(text) + 1});
}

static inline struct nlattr *attribute_begin(struct nlmsghdr *message, unsigned type)
{
	return mnl_attr_nest_start(message, (uint16_t)type);
}

static inline void attribute_end(struct nlmsghdr *message, struct nlattr *nest)
{
	mnl_attr_nest_end(message, nest);
}

/* NFTA_DATA_VALUE in a nest: the form of keys, data and operands. */
static inline void attribute_put_value(struct nlmsghdr *message, unsigned type, struct str value)
{
	struct nlattr *nest = attribute_begin(message, type);

	attribute_put(message, NFTA_DATA_VALUE, value);
	attribute_end(message, nest);
}

#endif
