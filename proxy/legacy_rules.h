/* Text of iptables-save in, text for iptables-restore --noflush out, that removes some chains and the rules that jump
 * to them. Pure. */
#ifndef PROXY_LEGACY_RULES_H
#define PROXY_LEGACY_RULES_H

#include <stdbool.h>

#include "base/buf.h"

/* *ret_count: chains that go; with 0 there is nothing to restore. 0 or -ENOMEM. */
int legacy_rules_removal(struct str saved, bool (*doomed)(const char *chain), struct buf *out,
			 size_t *ret_count);

#endif
