/* `fairlead check`: reads manifests and prints what would not work. */
#ifndef MAIN_CHECK_H
#define MAIN_CHECK_H

#include "main/flags.h"

/* Prints one line a finding on standard output. Exit status: 0 clean, 1 findings, 2 unreadable (told on
 * standard error). */
int check(const struct flags *flags, const struct option_strings *paths);

#endif
