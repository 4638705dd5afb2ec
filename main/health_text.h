/* The words of the health answers: the exact bytes kube-proxy's clients parse (service-proxy contract rows 39, 40).
 * Pure. */
#ifndef MAIN_HEALTH_TEXT_H
#define MAIN_HEALTH_TEXT_H

#include <stdbool.h>
#include <time.h>

#include "base/buf.h"

/* Go's time.Time.String() of a time in UTC: no zeros at the end of the fraction. */
void health_append_time(struct buf *out, struct timespec time);

struct health_verdict {
	bool healthy;            /* what was queued is in force, or has not waited for too long */
	bool eligible;           /* the node is not about to go */
	struct timespec updated; /* when rules were last brought up to date; tv_sec HEALTH_NEVER: never */
	struct timespec now;
};

#define HEALTH_NEVER ((time_t)-62135596800) /* Go's zero time, year 1 */

/* Both return the status: 200 or 503. */
unsigned health_append_healthz(struct buf *out, const struct health_verdict *verdict);
unsigned health_append_livez(struct buf *out, const struct health_verdict *verdict);

#endif
