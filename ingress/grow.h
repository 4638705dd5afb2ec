/* Growing arrays: room for one more. */
#ifndef INGRESS_GROW_H
#define INGRESS_GROW_H

#include <errno.h>
#include <stdlib.h>

#define GROW_FIRST 4

/* items: pointer to `size` items of which `count` are used; both lvalues. After 0 there is room for one more; after -ENOMEM
 * nothing changed. */
#define grow_by_one(items, count, size)                                                   \
	__extension__({                                                                   \
		int code_ = 0;                                                            \
		if ((count) == (size)) {                                                  \
			size_t bigger_ = (size) ? (size)*2 : GROW_FIRST;                  \
			__typeof__(items) grown_ =                                        \
			    reallocarray((items), bigger_, sizeof(__typeof__(*(items)))); \
			if (grown_) {                                                     \
				(items) = grown_;                                         \
				(size) = bigger_;                                         \
			} else {                                                          \
				code_ = -ENOMEM;                                          \
			}                                                                 \
		}                                                                         \
		code_;                                                                    \
	})

#endif
