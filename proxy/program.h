/* Runs another program and waits for it: for one-shot commands only, never while serving. */
#ifndef PROXY_PROGRAM_H
#define PROXY_PROGRAM_H

#include "base/buf.h"

#define PROGRAM_OUTPUT_MAX (64u << 20)

/* args: the program, looked up in PATH, then its arguments, then NULL. It is given `input`, and what it prints is
 * appended to *output (NULL: thrown away). 0; -ENOENT: not installed; -ECHILD: it failed; another -errno. */
int program_run(const char *const *args, struct str input, struct buf *output);

#endif
