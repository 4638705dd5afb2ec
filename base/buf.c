/* The growable byte buffer: room at the tail, consumption at the head, sticky failure. */
#include "base/buf.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define BUF_SIZE_MIN 256

static int buf_fail(struct buf *buf)
{
	buf->failed = true;
	return -ENOMEM;
}

static void buf_compact(struct buf *buf)
{
	if (buf->head == 0)
		return;
	memmove(buf->data, buf->data + buf->head, buf_len(buf));
	buf->tail -= buf->head;
	buf->head = 0;
}

static int buf_grow(struct buf *buf, size_t needed_bytes)
{
	size_t size = buf->size > 0 ? buf->size : BUF_SIZE_MIN;
	char *data;

	while (size < needed_bytes) {
		if (size > SIZE_MAX / 2)
			return buf_fail(buf);
		size *= 2;
	}
	data = realloc(buf->data, size);
	if (!data)
		return buf_fail(buf);
	buf->data = data;
	buf->size = size;
	return 0;
}

char *buf_reserve(struct buf *buf, size_t len_bytes)
{
	size_t len = buf_len(buf);

	if (buf->failed)
		return NULL;
	if (buf->data && len_bytes <= buf->size - buf->tail)
		return buf->data + buf->tail;
	if (len_bytes > SIZE_MAX - len) {
		(void)buf_fail(buf);
		return NULL;
	}
	/* Moving the bytes forward is cheaper than growing, but only where it wins at least half the buffer:
	 * otherwise a reader that consumes a little at a time would move all of it each time. */
	if (!buf->data || len + len_bytes > buf->size || buf->head < buf->size / 2) {
		if (buf_grow(buf, buf->tail + len_bytes) != 0)
			return NULL;
	} else {
		buf_compact(buf);
	}
	return buf->data + buf->tail;
}

void buf_commit(struct buf *buf, size_t len_bytes)
{
	assert(len_bytes <= buf->size - buf->tail);
	buf->tail += len_bytes;
}

int buf_append(struct buf *buf, const void *data, size_t len_bytes)
{
	char *to = buf_reserve(buf, len_bytes);

	if (!to)
		return -ENOMEM;
	if (len_bytes > 0)
		memcpy(to, data, len_bytes);
	buf_commit(buf, len_bytes);
	return 0;
}

int buf_append_str(struct buf *buf, struct str text)
{
	return buf_append(buf, text.p, text.len);
}

int buf_append_text(struct buf *buf, const char *text)
{
	return buf_append(buf, text, strlen(text));
}

int buf_append_char(struct buf *buf, char c)
{
	return buf_append(buf, &c, 1);
}

int buf_vprintf(struct buf *buf, const char *format, va_list args)
{
	va_list again;
	char *to;
	int len;

	va_copy(again, args);
	len = vsnprintf(NULL, 0, format, again);
	va_end(again);
	if (len < 0)
		return buf_fail(buf);
	to = buf_reserve(buf, (size_t)len + 1);
	if (!to)
		return -ENOMEM;
	(void)vsnprintf(to, (size_t)len + 1, format, args);
	buf_commit(buf, (size_t)len);
	return 0;
}

int buf_printf(struct buf *buf, const char *format, ...)
{
	va_list args;
	int r;

	va_start(args, format);
	r = buf_vprintf(buf, format, args);
	va_end(args);
	return r;
}

/* Length of the UTF-8 sequence at the start of text (RFC 3629 section 4), 0 if there is none. */
static size_t utf8_sequence_len(struct str text)
{
	const unsigned char *p = (const unsigned char *)text.p;
	unsigned char low = 0x80, high = 0xbf;
	size_t len;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (text.len < len)
		return 0;
	if (p[0] == 0xe0)
		low = 0xa0; /* overlong */
	else if (p[0] == 0xed)
		high = 0x9f; /* surrogates */
	else if (p[0] == 0xf0)
		low = 0x90; /* overlong */
	else if (p[0] == 0xf4)
		high = 0x8f; /* beyond U+10FFFF */
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	return len;
}

static int append_json_char(struct buf *buf, const char *p, size_t len)
{
	unsigned char byte = (unsigned char)p[0];

	switch (byte) {
	case '"':
		return buf_append_text(buf, "\\\"");
	case '\\':
		return buf_append_text(buf, "\\\\");
	case '\n':
		return buf_append_text(buf, "\\n");
	case '\r':
		return buf_append_text(buf, "\\r");
	case '\t':
		return buf_append_text(buf, "\\t");
	}
	if (byte < 0x20 || byte == 0x7f)
		return buf_printf(buf, "\\u%04x", byte);
	if (byte == 0xc2 && (unsigned char)p[1] < 0xa0) /* C1 controls: terminals act on them */
		return buf_printf(buf, "\\u%04x", (unsigned char)p[1]);
	return buf_append(buf, p, len);
}

static bool is_plain_json_byte(char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

int buf_append_json(struct buf *buf, struct str text)
{
	while (text.len > 0) {
		size_t len = 0;

		while (len < text.len && is_plain_json_byte(text.p[len]))
			len++;
		if (len > 0) {
			(void)buf_append(buf, text.p, len);
		} else {
			len = utf8_sequence_len(text);
			if (len == 0) {
				(void)buf_append_text(buf, "\xef\xbf\xbd");
				len = 1;
			} else {
				(void)append_json_char(buf, text.p, len);
			}
		}
		text.p += len;
		text.len -= len;
	}
	return buf->failed ? -ENOMEM : 0;
}

void buf_consume(struct buf *buf, size_t len_bytes)
{
	assert(len_bytes <= buf_len(buf));
	buf->head += len_bytes;
	if (buf->head == buf->tail)
		buf->head = buf->tail = 0;
}

void buf_clear(struct buf *buf)
{
	buf->head = buf->tail = 0;
	buf->failed = false;
}

char *buf_take_text(struct buf *buf)
{
	char *text = NULL;

	if (buf_append_char(buf, '\0') == 0) {
		buf_compact(buf);
		text = buf->data;
		buf->data = NULL;
	}
	buf_done(buf);
	return text;
}

void buf_done(struct buf *buf)
{
	free(buf->data);
	*buf = (struct buf){0};
}
