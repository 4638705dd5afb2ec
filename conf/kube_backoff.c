/* How long to wait before trying again. */
#include "conf/kube_backoff.h"

#include <stdint.h>
#include <sys/random.h>

double kube_backoff_next(struct kube_backoff *backoff, double first_s, double most_s, double random)
{
	double wait = first_s;

	for (unsigned i = 0; i < backoff->failures && wait < most_s / 2; i++)
		wait *= 2;
	if (wait > most_s / 2)
		wait = most_s / 2;
	backoff->failures++;
	return wait * (1 + random);
}

void kube_backoff_reset(struct kube_backoff *backoff)
{
	backoff->failures = 0;
}

double kube_random(void)
{
	uint32_t random = 0;

	/* Without entropy everybody waits the same: no reason to fail. */
	(void)!getrandom(&random, sizeof(random), GRND_NONBLOCK);
	return (double)random / ((double)UINT32_MAX + 1);
}
