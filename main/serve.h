/* The running program: source, store, the halves asked for, health servers, and an orderly stop. */
#ifndef MAIN_SERVE_H
#define MAIN_SERVE_H

#include <stdbool.h>

#include "base/err.h"
#include "main/flags.h"

struct serve_halves {
	bool proxy, ingress;
};

#define SERVE_RESTART 1

/* Runs until SIGTERM or SIGINT. 0 after an orderly stop; SERVE_RESTART when it ended to be started anew (the reason is
 * logged); a negative errno with *err when it could not start. */
int serve(const struct flags *flags, struct serve_halves halves, struct err *err);

#endif
