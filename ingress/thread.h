/* Threads that leave all signals to the main one. */
#ifndef INGRESS_THREAD_H
#define INGRESS_THREAD_H

#include <pthread.h>

/* Starts fn(ctx) with every signal blocked (a write to a closed pipe is EPIPE there, no SIGPIPE). 0 or -errno. */
int thread_start(pthread_t *ret_thread, void *(*fn)(void *ctx), void *ctx);

#endif
