/* Time for durations: seconds that never jump. */
#ifndef PROXY_CLOCK_H
#define PROXY_CLOCK_H

#include <time.h>

static inline double monotonic_s(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

#endif
