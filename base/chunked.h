/* The chunked transfer coding (RFC 9112 section 7.1), read strictly: sizes are hexadecimal digits and nothing else,
 * every line ends with CR LF, extensions are well-formed, without white space, and dropped. Trailers are checked and
 * may be kept; those that frame a message are refused.
 *
 *     SIZE -> EXTENSION ... -> SIZE_LF -> DATA -> DATA_CR -> DATA_LF -> SIZE ...
 *                                 | size 0
 *                                 v
 *     TRAILER -> TRAILER_NAME -> TRAILER_VALUE -> TRAILER_LF -> TRAILER ... -> END_LF -> DONE */
#ifndef BASE_CHUNKED_H
#define BASE_CHUNKED_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/str.h"

#define CHUNKED_TRAILER_NAME_MAX 64 /* fields with longer names are not kept */

struct chunked {
	uint64_t left_bytes;    /* of the chunk at hand; its size while that is read */
	uint32_t line_bytes;    /* of the size line so far */
	uint32_t trailer_bytes; /* of the trailer section so far */
	uint8_t state;
	uint8_t name_bytes; /* of the trailer's name */
	bool has_digits, keep_trailer, value_begun;
	char name[CHUNKED_TRAILER_NAME_MAX];
};

struct chunked_limits {
	uint32_t line_bytes;    /* size, extensions and CR LF */
	uint32_t trailer_bytes; /* the whole section */
};

void chunked_init(struct chunked *chunked);

/* Reads up to and with the first run of payload: returns the bytes consumed; *ret_body is the run (may be
 * empty). Trailers that may be forwarded are appended to `trailers` unless that is NULL. -EBADMSG and
 * *ret_reason when the coding is broken or passes a limit. */
ssize_t chunked_read(struct chunked *chunked, const struct chunked_limits *limits, struct str data,
		     struct str *ret_body, struct buf *trailers, const char **ret_reason);

bool chunked_done(const struct chunked *chunked);

#endif
