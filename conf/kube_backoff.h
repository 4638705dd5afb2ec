/* How long to wait before trying again: exponential, with jitter, so that a fleet does not come back in step.
 * Pure: the random number is given.
 *
 * The n-th wait in a row is uniform in [d, 2d) with d = first * 2^n, cut at `most`; near the end d stays at
 * most / 2, so that the longest waits are spread as well. */
#ifndef CONF_KUBE_BACKOFF_H
#define CONF_KUBE_BACKOFF_H

struct kube_backoff {
	unsigned failures; /* in a row; all zero is the start */
};

/* random: uniform in [0, 1). Counts one more failure. */
double kube_backoff_next(struct kube_backoff *backoff, double first_s, double most_s, double random);
void kube_backoff_reset(struct kube_backoff *backoff);

double kube_random(void); /* uniform in [0, 1), from the kernel */

#endif
