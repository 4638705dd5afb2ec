/* A borrowed run of bytes: pointer and length, not NUL-terminated, owned by somebody else. */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
	const char *p;
	size_t len;
};

/* For a string literal or a char array. */
#define STR_LIT(literal) ((struct str){(literal), sizeof(literal) - 1})
/* The same inside the initialiser of a static table, where ISO C wants constants. */
#define STR_INIT(literal)                      \
	{                                      \
		(literal), sizeof(literal) - 1 \
	}

static inline struct str str_of(const char *text)
{
	return (struct str){text, text ? strlen(text) : 0};
}

static inline bool str_equal(struct str a, struct str b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

static inline bool str_is(struct str a, const char *text)
{
	return str_equal(a, str_of(text));
}

/* The value of a hexadecimal digit, -1 for anything else. */
static inline int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* ASCII letters only: the comparison HTTP and DNS names use. */
bool str_equal_nocase(struct str a, struct str b);
bool str_has_prefix(struct str text, struct str prefix);
bool str_has_suffix(struct str text, struct str suffix);

/* Cuts blanks, tabs, CR and LF at both ends. */
struct str str_trim(struct str text);

/* Splits at the first `separator`: *ret_head is what stands before it, the result what stands after;
 * without one, *ret_head is all and the result is {NULL, 0}. */
struct str str_cut(struct str text, char separator, struct str *ret_head);

/* Decimal digits only, the whole string, at most max. Returns 0, -EINVAL, or -ERANGE. */
int str_to_u64(struct str text, uint64_t max, uint64_t *ret);

/* NUL-terminated heap copy; NULL when out of memory. */
char *str_dup(struct str text);

/* Three-way byte order, shorter first on a common prefix. */
int str_compare(struct str a, struct str b);

#endif
