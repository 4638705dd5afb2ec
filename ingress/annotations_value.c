/* Reading annotation values. */
#include "ingress/annotations_value.h"

#include <errno.h>

#include "base/addr.h"
#include "base/cleanup.h"

int value_bool(struct str text, bool *ret)
{
	static const char *const words[] = {"1", "t", "T", "true",  "True",  "TRUE",
					    "0", "f", "F", "false", "False", "FALSE"};

	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (str_is(text, words[i])) {
			*ret = i < ARRAY_LEN(words) / 2;
			return 0;
		}
	}
	return -EINVAL;
}

int value_count(struct str text, uint32_t least, uint32_t most, uint32_t *ret)
{
	uint64_t value;

	if (str_to_u64(text, most, &value) || value < least)
		return -EINVAL;
	*ret = (uint32_t)value;
	return 0;
}

/* How far the unit shifts; -1: no unit. */
static int unit_shift(char unit)
{
	switch (unit) {
	case 'b':
	case 'B':
		return 0;
	case 'k':
	case 'K':
		return 10;
	case 'm':
	case 'M':
		return 20;
	case 'g':
	case 'G':
		return 30;
	}
	return -1;
}

int value_size(struct str text, uint64_t *ret_bytes)
{
	int shift = text.len ? unit_shift(text.p[text.len - 1]) : -1;
	uint64_t value;

	if (shift >= 0)
		text.len--;
	else
		shift = 0;
	if (str_to_u64(text, UINT64_MAX >> (shift + 1), &value))
		return -EINVAL;
	*ret_bytes = value << shift;
	return 0;
}

static bool is_lower_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_subdomain_name(struct str name)
{
	if (name.len == 0 || name.len > 253 || !is_lower_or_digit(name.p[0]))
		return false;
	for (size_t i = 0; i < name.len; i++) {
		if (!is_lower_or_digit(name.p[i]) && name.p[i] != '-' && name.p[i] != '.')
			return false;
	}
	return true;
}

int value_object_name(struct str text, struct str *ret_ns, struct str *ret_name)
{
	struct str ns, name = str_cut(text, '/', &ns);

	if (!name.p) {
		name = text;
		ns = STR_LIT("");
	} else if (!is_subdomain_name(ns)) {
		return -EINVAL;
	}
	if (!is_subdomain_name(name))
		return -EINVAL;
	*ret_ns = ns;
	*ret_name = name;
	return 0;
}

static int parse_range(struct str text, struct cidr *ret)
{
	if (cidr_parse(text, ret) == 0)
		return 0;
	if (ip_parse(text, &ret->ip))
		return -EINVAL;
	ret->prefix_bits = (uint8_t)(ip_len(&ret->ip) * 8);
	return 0;
}

int value_cidrs_cover_ipv4(struct str text, bool *ret)
{
	bool covers = false;
	struct str item;

	while (text.p) {
		struct cidr range;

		text = str_cut(text, ',', &item);
		if (parse_range(str_trim(item), &range))
			return -EINVAL;
		covers = covers || (range.ip.family == AF_INET && range.prefix_bits == 0);
	}
	*ret = covers;
	return 0;
}
