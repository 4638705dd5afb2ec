/* What the service proxy does to its host besides rules, each once: connection tracking and the out-of-memory score at
 * start, kube-proxy's leftovers, and --cleanup. Logs what it does. */
#ifndef MAIN_HOST_H
#define MAIN_HOST_H

#include "main/flags.h"

/* Rows 45, 50. What cannot be set (a read-only /sys, no permission) is a warning. False: the kernel has not loaded its
 * connection tracking yet, which our rules make it do: to be tried again then. With `last` that is a warning too. */
bool host_set_conntrack(const struct flags *flags, bool last);
void host_set_oom_score(const struct flags *flags); /* row 46 */

/* When our rules are in force: kube-proxy's go, so that none of them decides before ours. */
void host_take_over(void);

/* --cleanup: ours and kube-proxy's. 0, or a negative errno with *err when something is left. */
int host_clean_up(struct err *err);

#endif
