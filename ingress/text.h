/* Writing text into memory of a known size: heads, pages and log lines are put together with it.
 *
 * Invariants
 *  1. Nothing is ever written at or past `end`; what does not fit sets `overflow` and is left out whole.
 *  2. A writer of many pieces checks `overflow` once at the end. */
#ifndef INGRESS_TEXT_H
#define INGRESS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/addr.h"
#include "base/str.h"

struct text {
	char *p, *end;
	bool overflow;
};

static inline void text_put(struct text *text, const char *bytes, size_t len_bytes)
{
	if (len_bytes > (size_t)(text->end - text->p)) {
		text->overflow = true;
		return;
	}
	memcpy(text->p, bytes, len_bytes);
	text->p += len_bytes;
}

#define text_lit(text_, literal) text_put((text_), (literal), sizeof(literal) - 1)

static inline void text_str(struct text *text, struct str str)
{
	if (str.len > 0)
		text_put(text, str.p, str.len);
}

static inline void text_char(struct text *text, char c)
{
	text_put(text, &c, 1);
}

void text_u64(struct text *text, uint64_t number);
void text_hex(struct text *text, uint64_t number);    /* lower case, without leading zeroes */
void text_seconds(struct text *text, double seconds); /* "0.012": nginx's times; negative ones are 0 */
void text_ip(struct text *text, const struct ip *ip); /* without brackets */
void text_addr(struct text *text, const struct endpoint_addr *addr); /* "1.2.3.4:80", "[::1]:80" */

#endif
