/* What a connection wants to hear of, as a value: the one place where event masks are decided. Pure. */
#ifndef INGRESS_INTEREST_H
#define INGRESS_INTEREST_H

#include <ev.h>
#include <stdbool.h>

/* What is true of a connection after it has done all it could. */
struct levels {
	bool wants_bytes;  /* its state has a use for more, or must notice the peer leave */
	bool has_room;     /* there is space to put them */
	bool at_eof;       /* the peer has ended its direction, so that reading would be "ready" for ever */
	bool has_output;   /* bytes wait to be written */
	bool write_paused; /* the kernel took no more; without it, whoever has output writes at once */
	bool connecting;   /* writability says that the connection is up */
};

static inline int interest_wanted(struct levels levels)
{
	bool reads = levels.wants_bytes && levels.has_room && !levels.at_eof && !levels.connecting;
	bool writes = levels.connecting || (levels.has_output && levels.write_paused);

	return (reads ? EV_READ : 0) | (writes ? EV_WRITE : 0);
}

/* The mask to register: EV_WRITE exactly as wanted; EV_READ, once registered, stays until it fires unwanted.
 * Most connections that do not want to read for a moment will want to again before anything arrives, and a
 * system call each way is saved. */
static inline int interest_mask(int registered, int wanted, int fired)
{
	int unwanted_read = registered & EV_READ & ~wanted;

	return wanted | (unwanted_read & ~fired);
}

#endif
