/* DNS-1123 labels and subdomains, IANA service names (RFC 6335 section 5.1). */
#include "conf/names.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

bool name_is_label(struct str name)
{
	if (name.len == 0 || name.len > NAME_LABEL_MAX)
		return false;
	for (size_t i = 0; i < name.len; i++)
		if (!is_lower(name.p[i]) && !is_digit(name.p[i]) && name.p[i] != '-')
			return false;
	return name.p[0] != '-' && name.p[name.len - 1] != '-';
}

bool name_is_subdomain(struct str name)
{
	struct str label, rest = name;

	if (name.len == 0 || name.len > NAME_SUBDOMAIN_MAX)
		return false;
	do {
		rest = str_cut(rest, '.', &label);
		if (!name_is_label(label))
			return false;
	} while (rest.p);
	return true;
}

bool name_is_port(struct str name)
{
	bool letter = false;

	if (name.len > 15 || !name_is_label(name))
		return false;
	for (size_t i = 0; i < name.len; i++) {
		letter |= is_lower(name.p[i]);
		if (i > 0 && name.p[i] == '-' && name.p[i - 1] == '-')
			return false;
	}
	return letter;
}
