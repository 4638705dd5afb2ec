/* Brings the kernel's tables up to date with what is queued: at once when it can, in chunks when it is much, again
 * later when it failed.
 *
 *     waiting --sync_start--> adopting --last chunk in force--> running
 *                               ^ |                              |
 *                               | '--chunk--'                    | sync_repair; the tables are not what we think
 *                               '----------- adopt --------------'
 *
 * Invariants
 *  1. At start a chunk is at most SYNC_CHUNK Services, those a node needs first in the first one. A repair is one
 *     transaction for each table.
 *  2. A queued Service stays queued until its state is in force, or the kernel has refused it; a refused one is tried
 *     again at its next change and every 30 s.
 *  3. After a failure of all: a pause, doubled each time up to 30 s. */
#ifndef PROXY_SYNC_H
#define PROXY_SYNC_H

#include <ev.h>

#include "proxy/meters.h"
#include "proxy/registry.h"

#define SYNC_CHUNK 2000

struct queue {
	struct proxied *first, *last;
	size_t count;
};

enum sync_phase { SYNC_WAITING, SYNC_ADOPTING, SYNC_RUNNING };

struct sync {
	struct ev_loop *loop;
	struct registry *registry;
	struct meters *meters;
	struct table *tables[TABLE_COUNT]; /* NULL: the family is not served */
	struct queue urgent, normal;
	enum sync_phase phase;
	bool must_adopt; /* before anything else */
	bool whole;      /* adopt in one transaction */
	bool ready;      /* the first complete state is in force */
	unsigned mismatches;
	double started_s;
	double min_period_s, updated_s;  /* the pause between updates; when the last one ended */
	double retry_s, failing_since_s; /* 0: the last update was good */
	struct ev_timer work, refused;
};

/* Everything is borrowed but the tables, which are taken over. */
void sync_init(struct sync *sync, struct ev_loop *loop, struct registry *registry, struct meters *meters,
	       struct table *const tables[TABLE_COUNT], double min_period_s);
void sync_done(struct sync *sync); /* frees tables and states; rules in force stay */

void sync_queue(struct sync *sync, struct proxied *proxied); /* it has changed */
void sync_start(struct sync *sync);
void sync_run(struct sync *sync); /* acts on what is queued now, unless a pause is on */
/* Compares everything with what is in force and puts right what is not. */
void sync_repair(struct sync *sync);

bool sync_healthy(const struct sync *sync); /* no change has waited for more than 60 s */

#endif
