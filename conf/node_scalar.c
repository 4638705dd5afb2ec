/* The YAML 1.2 core schema: which texts are null, true, false, integers and floats. */
#include "conf/node_scalar.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/cleanup.h"

static bool one_of(struct str text, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (str_is(text, words[i]))
			return true;
	return false;
}

static bool is_null(struct str text)
{
	static const char *const words[] = {"", "~", "null", "Null", "NULL"};

	return one_of(text, words, ARRAY_LEN(words));
}

static bool is_true(struct str text)
{
	static const char *const words[] = {"true", "True", "TRUE"};

	return one_of(text, words, ARRAY_LEN(words));
}

static bool is_false(struct str text)
{
	static const char *const words[] = {"false", "False", "FALSE"};

	return one_of(text, words, ARRAY_LEN(words));
}

static size_t skip_digits(const char *at)
{
	size_t count = 0;

	while (isdigit((unsigned char)at[count]))
		count++;
	return count;
}

static size_t skip_sign(const char *at)
{
	return *at == '-' || *at == '+';
}

/* [-+]?[0-9]+ | 0o[0-7]+ | 0x[0-9a-fA-F]+; base 0 when it is none. */
static int integer_base(struct str text)
{
	size_t sign = skip_sign(text.p);
	size_t digits = skip_digits(text.p + sign);

	if (digits > 0 && sign + digits == text.len)
		return 10;
	if (text.len > 2 && text.p[0] == '0' && text.p[1] == 'o')
		return strspn(text.p + 2, "01234567") == text.len - 2 ? 8 : 0;
	if (text.len > 2 && text.p[0] == '0' && text.p[1] == 'x')
		return strspn(text.p + 2, "0123456789abcdefABCDEF") == text.len - 2 ? 16 : 0;
	return 0;
}

/* [-+]? ( \.[0-9]+ | [0-9]+ ( \.[0-9]* )? ) ( [eE] [-+]? [0-9]+ )? */
static bool is_float(struct str text)
{
	const char *at = text.p + skip_sign(text.p);
	size_t whole = skip_digits(at);
	size_t fraction = 0;

	at += whole;
	if (*at == '.') {
		fraction = skip_digits(at + 1);
		at += 1 + fraction;
	}
	if (whole + fraction == 0)
		return false;
	if (*at == 'e' || *at == 'E') {
		size_t exponent;
		at += 1 + skip_sign(at + 1);
		exponent = skip_digits(at);
		if (exponent == 0)
			return false;
		at += exponent;
	}
	return at == text.p + text.len;
}

static bool special_float(struct str text, double *ret)
{
	static const char *const infinities[] = {".inf", ".Inf", ".INF"};
	static const char *const no_numbers[] = {".nan", ".NaN", ".NAN"};
	size_t sign = skip_sign(text.p);
	struct str rest = {text.p + sign, text.len - sign};

	if (one_of(rest, infinities, ARRAY_LEN(infinities)))
		*ret = text.p[0] == '-' ? -INFINITY : INFINITY;
	else if (one_of(text, no_numbers, ARRAY_LEN(no_numbers)))
		*ret = NAN;
	else
		return false;
	return true;
}

static bool resolve_integer(struct node *node)
{
	int base = integer_base(node->text);
	long long integer;

	if (base == 0)
		return false;
	errno = 0;
	integer = strtoll(node->text.p + (base == 10 ? 0 : 2), NULL, base);
	if (errno == ERANGE) {
		node->type = NODE_FLOAT;
		node->real = strtod(node->text.p, NULL);
		return true;
	}
	node->type = NODE_INT;
	node->integer = integer;
	return true;
}

static bool resolve_float(struct node *node)
{
	double real;

	if (is_float(node->text))
		real = strtod(node->text.p, NULL);
	else if (!special_float(node->text, &real))
		return false;
	node->type = NODE_FLOAT;
	node->real = real;
	return true;
}

void node_scalar_resolve(struct node *node)
{
	if (is_null(node->text)) {
		node->type = NODE_NULL;
	} else if (is_true(node->text) || is_false(node->text)) {
		node->type = NODE_BOOL;
		node->boolean = is_true(node->text);
	} else if (!resolve_integer(node) && !resolve_float(node)) {
		node->type = NODE_STRING;
	}
}
