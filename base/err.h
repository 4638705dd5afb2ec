/* Errors a person must act on: functions return 0 or -errno, and where the reason matters they also fill a
 * `struct err`. Callers add context on the way up (err_wrap); the top logs it once.
 *
 * Invariants
 *  1. `text` is always NUL-terminated, one line, without a trailing period.
 *  2. A function that returns 0 leaves the err untouched.
 *  3. Every function here takes err == NULL and then only returns the code. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdarg.h>

#define ERR_TEXT_MAX 1024 /* bytes, NUL included */

struct err {
	char text[ERR_TEXT_MAX];
};

/* Sets the text and returns code (a negative errno), so that `return err_set(err, -EINVAL, ...)` reads well.
 */
int err_set(struct err *err, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Puts "context: " in front of what the err says already; returns code. */
int err_wrap(struct err *err, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
