/* The program's log: one event, one line, on stderr, never blocking (what the pipe does not take is dropped
 * and counted). Text: `time=… level=info event="rules applied" service=default/web endpoints=3`; JSON with
 * the same fields. Callable from any thread.
 *
 *   log_info("rules applied", L_STR("service", name), L_INT("endpoints", count));
 *
 * error = somebody must act; warn = something was wrong and survived; info = lifecycle; debug = off by
 * default. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

struct log_field {
	const char *key;
	enum { LOG_FIELD_STR, LOG_FIELD_INT, LOG_FIELD_FLOAT } type;
	struct str text;
	int64_t integer;
	double real;
};

#define L_STR(key_, text_) \
	(&(const struct log_field){.key = (key_), .type = LOG_FIELD_STR, .text = str_of(text_)})
#define L_SLICE(key_, text_) \
	(&(const struct log_field){.key = (key_), .type = LOG_FIELD_STR, .text = (text_)})
#define L_INT(key_, number_) \
	(&(const struct log_field){.key = (key_), .type = LOG_FIELD_INT, .integer = (int64_t)(number_)})
#define L_FLOAT(key_, number_) \
	(&(const struct log_field){.key = (key_), .type = LOG_FIELD_FLOAT, .real = (double)(number_)})

#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__, (const struct log_field *)NULL)
#define log_info(...)  log_write(LOG_LEVEL_INFO, __VA_ARGS__, (const struct log_field *)NULL)
#define log_warn(...)  log_write(LOG_LEVEL_WARN, __VA_ARGS__, (const struct log_field *)NULL)
#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__, (const struct log_field *)NULL)

/* fields: const struct log_field * ..., ended by NULL. */
void log_write(enum log_level level, const char *event, ...) __attribute__((sentinel));

void log_setup(enum log_level least, enum log_format format); /* before threads start */
bool log_enabled(enum log_level level);
uint64_t log_dropped_total(void); /* lines the pipe did not take */

#endif
