/* Error texts: one line each, context added on the way up. */
#include "base/err.h"

#include <stdio.h>
#include <string.h>

/* Bytes from outside may be quoted in an error; they must not start a new log line (invariant 1). */
static void err_make_one_line(char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = ' ';
	}
}

/* Appends what fits; text[size] stays NUL-terminated. Returns the new length. */
static size_t err_append(char *text, size_t len, size_t size, const char *more)
{
	size_t more_len = strnlen(more, size - len - 1);

	memcpy(text + len, more, more_len);
	text[len + more_len] = '\0';
	return len + more_len;
}

int err_set(struct err *err, int code, const char *format, ...)
{
	char text[ERR_TEXT_MAX]; /* apart, since the arguments may quote the err itself */
	va_list args;

	if (!err)
		return code;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	(void)err_append(err->text, 0, ERR_TEXT_MAX, text);
	err_make_one_line(err->text);
	return code;
}

int err_wrap(struct err *err, int code, const char *format, ...)
{
	char text[ERR_TEXT_MAX];
	va_list args;
	size_t len;

	if (!err)
		return code;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	len = err_append(text, strlen(text), sizeof(text), ": ");
	(void)err_append(text, len, sizeof(text), err->text);
	(void)err_append(err->text, 0, ERR_TEXT_MAX, text);
	err_make_one_line(err->text);
	return code;
}
