/* A growable byte buffer with a consumed front: append at the tail, consume at the head.
 *
 * Invariants
 *  1. Valid bytes are data + head .. data + tail; head <= tail <= size.
 *  2. A buf of all zeroes is a valid empty buf; buf_done() returns it to that state.
 *  3. After a failed append the contents are unchanged and `failed` is set until buf_clear or buf_done: a
 *     writer of many small pieces may check once at the end (buf_failed). */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct buf {
	char *data;
	size_t head, tail, size;
	bool failed;
};

static inline size_t buf_len(const struct buf *buf)
{
	return buf->tail - buf->head;
}

static inline char *buf_head(const struct buf *buf)
{
	return buf->data + buf->head;
}

static inline struct str buf_str(const struct buf *buf)
{
	return (struct str){buf->data ? buf->data + buf->head : "", buf->tail - buf->head};
}

static inline bool buf_failed(const struct buf *buf)
{
	return buf->failed;
}

/* Makes room for len_bytes at the tail and returns where they go; NULL when out of memory. The caller
 * writes there and calls buf_commit with what it wrote. May move the data. */
char *buf_reserve(struct buf *buf, size_t len_bytes);
void buf_commit(struct buf *buf, size_t len_bytes);

/* All return 0 or -ENOMEM. */
int buf_append(struct buf *buf, const void *data, size_t len_bytes);
int buf_append_str(struct buf *buf, struct str text);
int buf_append_text(struct buf *buf, const char *text);
int buf_append_char(struct buf *buf, char c);
int buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
int buf_vprintf(struct buf *buf, const char *format, va_list args) __attribute__((format(printf, 2, 0)));
/* As the inside of a JSON string (no quotes around it); bytes that are no UTF-8 become U+FFFD. */
int buf_append_json(struct buf *buf, struct str text);

void buf_consume(struct buf *buf, size_t len_bytes);
void buf_clear(struct buf *buf);

/* NUL-terminated contents, owned by the caller; the buf is empty afterwards. NULL when out of memory. */
char *buf_take_text(struct buf *buf);

/* Gives the memory back; the buf is empty and usable. */
void buf_done(struct buf *buf);

#endif
