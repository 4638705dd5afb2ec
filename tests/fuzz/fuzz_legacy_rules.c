/* LINK: proxy/legacy_rules.c base/buf.c base/str.c */
/* What iptables-save may print, and anything else: the script that removes chains declares and deletes each doomed chain, and
 * names no other in a deletion. */
#include <stdint.h>
#include <stdlib.h>

#include "proxy/legacy_rules.h"

static bool doomed(const char *chain)
{
	return chain[0] == 'K';
}

static size_t lines_with(struct str text, const char *prefix)
{
	size_t count = 0;

	while (text.p) {
		struct str line;

		text = str_cut(text, '\n', &line);
		count += str_has_prefix(line, str_of(prefix));
	}
	return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf out = {0};
	size_t count = 0;

	if (size == 0)
		return 0;
	if (legacy_rules_removal((struct str){(const char *)data, size}, doomed, &out, &count) == 0 &&
	    (lines_with(buf_str(&out), ":K") != count || lines_with(buf_str(&out), ":") != count ||
	     lines_with(buf_str(&out), "-X K") != lines_with(buf_str(&out), "-X ")))
		abort();
	buf_done(&out);
	return 0;
}
