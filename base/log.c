/* The log: a line is put together in memory and offered to stderr once. */
#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"

/* A line of at most PIPE_BUF bytes goes into a pipe whole or not at all. */
#define LINE_MAX_BYTES  PIPE_BUF
#define VALUE_MAX_BYTES 1536
#define LINE_END_BYTES  32 /* for the mark of a line cut short, closing brace and newline */

static enum log_level least_level = LOG_LEVEL_INFO;
static enum log_format line_format = LOG_FORMAT_TEXT;
static _Atomic uint64_t dropped_total;

void log_setup(enum log_level least, enum log_format format)
{
	least_level = least;
	line_format = format;
}

bool log_enabled(enum log_level level)
{
	return level >= least_level;
}

uint64_t log_dropped_total(void)
{
	return atomic_load_explicit(&dropped_total, memory_order_relaxed);
}

static const char *level_name(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_DEBUG:
		return "debug";
	case LOG_LEVEL_INFO:
		return "info";
	case LOG_LEVEL_WARN:
		return "warn";
	case LOG_LEVEL_ERROR:
		return "error";
	}
	return "unknown";
}

static bool is_bare_byte(char c)
{
	return c > 0x20 && c < 0x7f && c != '"' && c != '=' && c != '\\';
}

static bool needs_quotes(struct str text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (!is_bare_byte(text.p[i]))
			return true;
	}
	return text.len == 0;
}

static void append_string(struct buf *line, struct str text)
{
	bool cut = text.len > VALUE_MAX_BYTES;

	if (line_format == LOG_FORMAT_TEXT && !cut && !needs_quotes(text)) {
		(void)buf_append_str(line, text);
		return;
	}
	if (cut)
		text.len = VALUE_MAX_BYTES;
	(void)buf_append_char(line, '"');
	(void)buf_append_json(line, text);
	(void)buf_append_text(line, cut ? "...\"" : "\"");
}

static void append_float(struct buf *line, double value)
{
	if (isfinite(value))
		(void)buf_printf(line, "%.6g", value);
	else
		append_string(line, str_of(isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf"));
}

static void append_key(struct buf *line, const char *key)
{
	if (line_format == LOG_FORMAT_JSON)
		(void)buf_printf(line, "%s\"%s\":", buf_len(line) > 1 ? "," : "", key);
	else
		(void)buf_printf(line, "%s%s=", buf_len(line) > 0 ? " " : "", key);
}

static void append_text_field(struct buf *line, const char *key, struct str text)
{
	append_key(line, key);
	append_string(line, text);
}

static void append_field(struct buf *line, const struct log_field *field)
{
	append_key(line, field->key);
	switch (field->type) {
	case LOG_FIELD_STR:
		append_string(line, field->text);
		return;
	case LOG_FIELD_INT:
		(void)buf_printf(line, "%lld", (long long)field->integer);
		return;
	case LOG_FIELD_FLOAT:
		append_float(line, field->real);
		return;
	}
}

static void append_time(struct buf *line)
{
	char text[80];
	struct timespec now;
	struct tm utc;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)gmtime_r(&now.tv_sec, &utc);
	(void)snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", utc.tm_year + 1900,
		       utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
		       (int)(now.tv_nsec / 1000000));
	append_text_field(line, "time", str_of(text));
}

/* Fields that would make the line too long are left out, and the line says so. */
static void append_fields(struct buf *line, va_list fields)
{
	const struct log_field *field;
	bool cut = false;

	while ((field = va_arg(fields, const struct log_field *))) {
		size_t mark = buf_len(line);

		append_field(line, field);
		if (buf_len(line) > LINE_MAX_BYTES - LINE_END_BYTES) {
			line->tail = line->head + mark;
			cut = true;
		}
	}
	if (cut)
		append_field(line, L_INT("fields_left_out", 1));
}

/* Polling first keeps a full pipe from blocking us. Another writer may fill it in between; then this write
 * waits for the reader, which we accept: making stderr non-blocking would change it for every process that
 * shares it. */
static bool offer_line(const struct buf *line)
{
	struct pollfd stderr_poll = {.fd = STDERR_FILENO, .events = POLLOUT};

	if (buf_failed(line) || poll(&stderr_poll, 1, 0) != 1 || stderr_poll.revents != POLLOUT)
		return false;
	return write(STDERR_FILENO, buf_head(line), buf_len(line)) == (ssize_t)buf_len(line);
}

void log_write(enum log_level level, const char *event, ...)
{
	int errno_before = errno;
	struct buf line = {0};
	va_list fields;

	if (!log_enabled(level))
		return;
	if (line_format == LOG_FORMAT_JSON)
		(void)buf_append_char(&line, '{');
	append_time(&line);
	append_text_field(&line, "level", str_of(level_name(level)));
	append_text_field(&line, "event", str_of(event));
	va_start(fields, event);
	append_fields(&line, fields);
	va_end(fields);
	(void)buf_append_text(&line, line_format == LOG_FORMAT_JSON ? "}\n" : "\n");
	if (!offer_line(&line))
		(void)atomic_fetch_add_explicit(&dropped_total, 1, memory_order_relaxed);
	buf_done(&line);
	errno = errno_before;
}
