/* Scope-bound clean-up: a variable marked `cleanup(fn)` is passed to fn when it goes out of scope, and
 * TAKE hands it on instead. A builder of many fallible steps then needs no clean-up code of its own. */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#define cleanup(fn) __attribute__((cleanup(fn)))

/* Yields the pointer and leaves NULL behind. */
#define TAKE(ptr)                               \
	__extension__({                         \
		__typeof__(ptr) taken_ = (ptr); \
		(ptr) = NULL;                   \
		taken_;                         \
	})

/* Defines `fn_p`, the clean-up form of a destructor that takes NULL. */
#define DEFINE_CLEANUP(type, fn)               \
	static inline void fn##_p(type *value) \
	{                                      \
		if (*value)                    \
			(void)fn(*value);      \
	}

static inline void free_p(void *pointer_to_pointer)
{
	free(*(void **)pointer_to_pointer);
}

static inline void close_p(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

#define cleanup_free  cleanup(free_p)
#define cleanup_close cleanup(close_p)

#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

#define container_of(member_ptr, type, member) ((type *)(void *)((char *)(member_ptr)-offsetof(type, member)))

#endif
