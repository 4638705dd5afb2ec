/* Threads that hash passwords, and the way of a check through them.
 *
 *     QUEUED --thread takes it--> RUNNING --hashed--> DONE --loop takes it--> fn, freed
 *        `--cancel: freed            `--cancel: ORPHAN --hashed--> freed
 *
 * One lock guards all queues: it is held for a few instructions, and hashing takes a thousand times longer.
 */
#include "ingress/auth.h"

#include <apr_general.h>
#include <assert.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "ingress/auth_hash.h"
#include "ingress/auth_users.h"

#define THREADS_MAX         16
#define WAITING_MAX_DEFAULT 256
#define STACK_BYTES         ((size_t)512 * 1024) /* crypt(3) keeps 32 KiB of state, on the heap or on the stack */

enum query_state { QUERY_QUEUED, QUERY_RUNNING, QUERY_DONE, QUERY_ORPHAN };

struct auth_query {
	struct auth_query *next, *prev; /* in the pool's queue or the client's running or done list */
	enum query_state state;
	struct auth_client *client; /* NULL: ORPHAN */
	const struct auth *auth;
	struct auth_user *user; /* of auth; NULL: nobody of that name */
	struct auth_credentials credentials;
	struct auth_digest digest;
	bool granted;
	auth_fn *fn; /* these two belong to the loop's thread */
	void *ctx;
};

struct query_list {
	struct auth_query *first, *last;
};

struct auth_pool {
	pthread_mutex_t lock;
	pthread_cond_t work; /* queue grew, or stopping */
	struct query_list queue;
	unsigned waiting, waiting_max;
	bool stopping;
	unsigned thread_count;
	pthread_t threads[THREADS_MAX];
};

struct auth_client {
	struct auth_pool *pool;
	struct ev_loop *loop;
	ev_async done_event;
	struct query_list running, done;
};

/* ---- lists and queries ---- */

static void list_append(struct query_list *list, struct auth_query *query)
{
	query->next = NULL;
	query->prev = list->last;
	if (list->last)
		list->last->next = query;
	else
		list->first = query;
	list->last = query;
}

static void list_remove(struct query_list *list, struct auth_query *query)
{
	if (query->prev)
		query->prev->next = query->next;
	else
		list->first = query->next;
	if (query->next)
		query->next->prev = query->prev;
	else
		list->last = query->prev;
}

static struct auth_query *list_pop(struct query_list *list)
{
	struct auth_query *query = list->first;

	if (!query)
		return NULL;
	list->first = query->next;
	if (list->first)
		list->first->prev = NULL;
	else
		list->last = NULL;
	return query;
}

static void query_free(struct auth_query *query)
{
	auth_unref(query->auth);
	OPENSSL_cleanse(&query->credentials, sizeof(query->credentials));
	free(query);
}

/* ---- the threads ---- */

/* An equal pair may have been verified while this one waited: a browser asks for many things at once. */
static bool query_verify(struct auth_query *query)
{
	const char *user_name = query->credentials.text;
	const char *password = query->credentials.text + query->credentials.user_len + 1;
	const char *hash = auth_user_hash(query->auth, query->user, user_name);
	bool granted;

	if (query->user && auth_user_remembers(query->user, &query->digest))
		return true;
	granted = hash && auth_hash_matches(hash, password) && query->user;
	if (granted)
		auth_user_remember(query->user, &query->digest);
	return granted;
}

/* Locked. NULL: the pool stops. */
static struct auth_query *take_work(struct auth_pool *pool)
{
	struct auth_query *query = NULL;

	while (!pool->stopping && !(query = list_pop(&pool->queue)))
		pthread_cond_wait(&pool->work, &pool->lock);
	if (!query)
		return NULL;
	pool->waiting--;
	query->state = QUERY_RUNNING;
	list_append(&query->client->running, query);
	return query;
}

/* Locked. */
static void hand_back(struct auth_query *query)
{
	struct auth_client *client = query->client;

	if (query->state == QUERY_ORPHAN) {
		query_free(query);
		return;
	}
	list_remove(&client->running, query);
	query->state = QUERY_DONE;
	list_append(&client->done, query);
	ev_async_send(client->loop, &client->done_event);
}

static void *pool_thread(void *ctx)
{
	struct auth_pool *pool = ctx;
	struct auth_query *query;

	pthread_mutex_lock(&pool->lock);
	while ((query = take_work(pool))) {
		pthread_mutex_unlock(&pool->lock);
		query->granted = query_verify(query);
		pthread_mutex_lock(&pool->lock);
		hand_back(query);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

/* Signals stay with the threads that ask for them. */
static int thread_start(struct auth_pool *pool)
{
	sigset_t all, before;
	pthread_attr_t attributes;
	int code;

	sigfillset(&all);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	code = pthread_create(&pool->threads[pool->thread_count], &attributes, pool_thread, pool);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	if (code == 0)
		pool->thread_count++;
	return -code;
}

static unsigned default_thread_count(void)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	return cores > 4 ? (unsigned)cores / 4 : 1;
}

struct auth_pool *auth_pool_new(unsigned thread_count, unsigned waiting_max, struct err *err)
{
	struct auth_pool *pool = calloc(1, sizeof(*pool));
	int code = 0;

	if (!pool || apr_initialize() != APR_SUCCESS) {
		free(pool);
		err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->work, NULL);
	pool->waiting_max = waiting_max ? waiting_max : WAITING_MAX_DEFAULT;
	if (thread_count == 0)
		thread_count = default_thread_count();
	if (thread_count > THREADS_MAX)
		thread_count = THREADS_MAX;
	while (code == 0 && pool->thread_count < thread_count)
		code = thread_start(pool);
	if (code == 0)
		return pool;
	err_set(err, code, "password threads: %s", strerror(-code));
	return auth_pool_free(pool);
}

struct auth_pool *auth_pool_free(struct auth_pool *pool)
{
	if (!pool)
		return NULL;
	pthread_mutex_lock(&pool->lock);
	pool->stopping = true;
	pthread_cond_broadcast(&pool->work);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->thread_count; i++)
		pthread_join(pool->threads[i], NULL);
	assert(!pool->queue.first); /* clients go first, and take what they asked for with them */
	pthread_cond_destroy(&pool->work);
	pthread_mutex_destroy(&pool->lock);
	apr_terminate();
	free(pool);
	return NULL;
}

/* ---- a worker's end ---- */

static struct auth_query *take_done(struct auth_client *client)
{
	struct auth_query *query;

	pthread_mutex_lock(&client->pool->lock);
	query = list_pop(&client->done);
	pthread_mutex_unlock(&client->pool->lock);
	return query;
}

static void on_done(struct ev_loop *loop, ev_async *event, int revents)
{
	struct auth_client *client = event->data;
	struct auth_query *query;

	(void)loop;
	(void)revents;
	while ((query = take_done(client))) {
		enum auth_verdict verdict = query->granted ? AUTH_GRANTED : AUTH_DENIED;
		auth_fn *fn = query->fn;
		void *ctx = query->ctx;

		query_free(query);
		fn(ctx, verdict);
	}
}

struct auth_client *auth_client_new(struct auth_pool *pool, struct ev_loop *loop)
{
	struct auth_client *client = calloc(1, sizeof(*client));

	if (!client)
		return NULL;
	client->pool = pool;
	client->loop = loop;
	ev_async_init(&client->done_event, on_done);
	client->done_event.data = client;
	ev_async_start(loop, &client->done_event);
	ev_unref(loop); /* waiting for nobody keeps no loop alive */
	return client;
}

static void query_unqueue(struct auth_pool *pool, struct auth_query *query)
{
	list_remove(&pool->queue, query);
	pool->waiting--;
	query_free(query);
}

/* The thread that hashes it frees it. */
static void query_orphan(struct auth_query *query)
{
	query->client = NULL;
	query->state = QUERY_ORPHAN;
}

/* Locked. */
static void query_drop(struct auth_client *client, struct auth_query *query)
{
	switch (query->state) {
	case QUERY_QUEUED:
		query_unqueue(client->pool, query);
		break;
	case QUERY_RUNNING:
		list_remove(&client->running, query);
		query_orphan(query);
		break;
	case QUERY_DONE:
		list_remove(&client->done, query);
		query_free(query);
		break;
	case QUERY_ORPHAN:
		break;
	}
}

void auth_cancel(struct auth_client *client, struct auth_query *query)
{
	pthread_mutex_lock(&client->pool->lock);
	query_drop(client, query);
	pthread_mutex_unlock(&client->pool->lock);
}

struct auth_client *auth_client_free(struct auth_client *client)
{
	struct auth_query *query, *next;

	if (!client)
		return NULL;
	pthread_mutex_lock(&client->pool->lock);
	for (query = client->pool->queue.first; query; query = next) {
		next = query->next;
		if (query->client == client)
			query_unqueue(client->pool, query);
	}
	while ((query = list_pop(&client->running)))
		query_orphan(query);
	while ((query = list_pop(&client->done)))
		query_free(query);
	pthread_mutex_unlock(&client->pool->lock);
	ev_ref(client->loop);
	ev_async_stop(client->loop, &client->done_event);
	free(client);
	return NULL;
}

/* AUTH_BUSY when the queue is full. Takes over the query when it is not. */
static enum auth_verdict enqueue(struct auth_pool *pool, struct auth_query *query)
{
	enum auth_verdict verdict = AUTH_BUSY;

	pthread_mutex_lock(&pool->lock);
	if (pool->waiting < pool->waiting_max) {
		list_append(&pool->queue, query);
		pool->waiting++;
		pthread_cond_signal(&pool->work);
		verdict = AUTH_PENDING;
	}
	pthread_mutex_unlock(&pool->lock);
	return verdict;
}

enum auth_verdict auth_check(struct auth_client *client, const struct auth *auth,
			     const struct auth_credentials *credentials, auth_fn *fn, void *ctx,
			     struct auth_query **ret_query)
{
	struct auth_user *user = auth_find_user(auth, credentials->text);
	struct auth_query *query;
	struct auth_digest digest;

	if (auth_user_count(auth) == 0)
		return AUTH_DENIED;
	if (auth_digest_make(auth, credentials, &digest))
		return AUTH_BUSY;
	if (user && auth_user_remembers(user, &digest))
		return AUTH_GRANTED;
	query = calloc(1, sizeof(*query));
	if (!query)
		return AUTH_BUSY;
	*query = (struct auth_query){.state = QUERY_QUEUED,
				     .client = client,
				     .auth = auth_ref(auth),
				     .user = user,
				     .credentials = *credentials,
				     .digest = digest,
				     .fn = fn,
				     .ctx = ctx};
	if (enqueue(client->pool, query) == AUTH_BUSY) {
		query_free(query);
		return AUTH_BUSY;
	}
	*ret_query = query;
	return AUTH_PENDING;
}
