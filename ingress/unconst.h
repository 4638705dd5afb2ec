/* What is shared is read-only to its holders, but for its reference count. */
#ifndef INGRESS_UNCONST_H
#define INGRESS_UNCONST_H

/* The same pointer without const; the caller answers for what it does with it. */
static inline void *unconst(const void *shared)
{
	union {
		const void *shared;
		void *own;
	} pointer = {.shared = shared};

	return pointer.own;
}

#endif
