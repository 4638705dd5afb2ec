/* Numbers and addresses as text, without printf: this runs for every request. */
#include "ingress/text.h"

void text_u64(struct text *text, uint64_t number)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	text_put(text, digits + at, sizeof(digits) - at);
}

void text_hex(struct text *text, uint64_t number)
{
	char digits[16];
	size_t at = sizeof(digits);

	do {
		digits[--at] = "0123456789abcdef"[number & 15];
		number >>= 4;
	} while (number > 0);
	text_put(text, digits + at, sizeof(digits) - at);
}

void text_seconds(struct text *text, double seconds)
{
	uint64_t ms = seconds > 0 ? (uint64_t)(seconds * 1000 + 0.5) : 0;
	char fraction[4] = {'.', (char)('0' + ms / 100 % 10), (char)('0' + ms / 10 % 10),
			    (char)('0' + ms % 10)};

	text_u64(text, ms / 1000);
	text_put(text, fraction, sizeof(fraction));
}

void text_ip(struct text *text, const struct ip *ip)
{
	char buffer[ADDR_TEXT_MAX];

	if (ip->family != AF_INET) {
		text_str(text, str_of(ip_format(ip, buffer)));
		return;
	}
	for (size_t i = 0; i < 4; i++) {
		if (i > 0)
			text_char(text, '.');
		text_u64(text, ip->bytes[i]);
	}
}

void text_addr(struct text *text, const struct endpoint_addr *addr)
{
	bool brackets = addr->ip.family == AF_INET6;

	if (brackets)
		text_char(text, '[');
	text_ip(text, &addr->ip);
	if (brackets)
		text_char(text, ']');
	text_char(text, ':');
	text_u64(text, addr->port);
}
