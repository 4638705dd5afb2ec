/* Starting threads without signals. */
#include "ingress/thread.h"

#include <signal.h>

int thread_start(pthread_t *ret_thread, void *(*fn)(void *ctx), void *ctx)
{
	sigset_t all, before;
	int code;

	/* A thread begins with the mask of the one that made it. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	code = pthread_create(ret_thread, NULL, fn, ctx);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -code;
}
