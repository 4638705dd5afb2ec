/* Borrowed byte runs: comparing, cutting, reading numbers. */
#include "base/str.h"

#include <errno.h>
#include <stdlib.h>

static inline unsigned char ascii_lower(char c)
{
	unsigned char byte = (unsigned char)c;

	return byte >= 'A' && byte <= 'Z' ? (unsigned char)(byte | 0x20) : byte;
}

bool str_equal_nocase(struct str a, struct str b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++) {
		if (a.p[i] != b.p[i] && ascii_lower(a.p[i]) != ascii_lower(b.p[i]))
			return false;
	}
	return true;
}

bool str_has_prefix(struct str text, struct str prefix)
{
	return text.len >= prefix.len && str_equal((struct str){text.p, prefix.len}, prefix);
}

bool str_has_suffix(struct str text, struct str suffix)
{
	if (text.len < suffix.len)
		return false;
	return suffix.len == 0 ||
	       str_equal((struct str){text.p + (text.len - suffix.len), suffix.len}, suffix);
}

static inline bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct str str_trim(struct str text)
{
	while (text.len > 0 && is_space(text.p[0])) {
		text.p++;
		text.len--;
	}
	while (text.len > 0 && is_space(text.p[text.len - 1]))
		text.len--;
	return text;
}

struct str str_cut(struct str text, char separator, struct str *ret_head)
{
	const char *at = text.len > 0 ? memchr(text.p, separator, text.len) : NULL;

	if (!at) {
		*ret_head = text;
		return (struct str){NULL, 0};
	}
	*ret_head = (struct str){text.p, (size_t)(at - text.p)};
	return (struct str){at + 1, text.len - ret_head->len - 1};
}

int str_to_u64(struct str text, uint64_t max, uint64_t *ret)
{
	uint64_t value = 0;

	if (text.len == 0)
		return -EINVAL;
	for (size_t i = 0; i < text.len; i++) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return -EINVAL;
	}
	for (size_t i = 0; i < text.len; i++) {
		uint64_t digit = (uint64_t)(text.p[i] - '0');

		if (value > (max - digit) / 10 || digit > max)
			return -ERANGE;
		value = value * 10 + digit;
	}
	*ret = value;
	return 0;
}

char *str_dup(struct str text)
{
	char *copy = malloc(text.len + 1);

	if (!copy)
		return NULL;
	if (text.len > 0)
		memcpy(copy, text.p, text.len);
	copy[text.len] = '\0';
	return copy;
}

int str_compare(struct str a, struct str b)
{
	size_t common = a.len < b.len ? a.len : b.len;
	int order = common > 0 ? memcmp(a.p, b.p, common) : 0;

	if (order != 0)
		return order;
	return (a.len > b.len) - (a.len < b.len);
}
