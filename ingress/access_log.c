/* The access log's queue and its writer thread. */
#include "ingress/access_log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "ingress/thread.h"

#define CHUNK_BYTES      ((size_t)64 * 1024)       /* a chunk's memory */
#define CHUNK_FULL_BYTES ((size_t)56 * 1024)       /* handed over when this full */
#define QUEUE_BYTES_MAX  ((size_t)8 * 1024 * 1024) /* memory waiting for the target, all workers together */
#define CLOSE_GRACE_S    2

struct chunk {
	struct chunk *next;
	struct buf lines;
	uint64_t line_count;
};

struct access_log {
	int fd;
	bool own_fd;
	enum access_log_format format;
	pthread_t thread;
	pthread_mutex_t lock; /* below; never held while writing */
	pthread_cond_t filled, finished;
	struct chunk *first, **last_next;
	struct chunk *spare; /* one emptied chunk, so that the usual hand-over allocates nothing */
	size_t queued_bytes;
	bool closing, thread_done;
	_Atomic uint64_t dropped_lines;
};

struct access_writer {
	struct access_log *log;
	struct chunk *chunk; /* NULL after a failed allocation */
	struct access_clock clock;
};

static struct chunk *chunk_free(struct chunk *chunk)
{
	if (chunk)
		buf_done(&chunk->lines);
	free(chunk);
	return NULL;
}
DEFINE_CLEANUP(struct chunk *, chunk_free)

static struct chunk *chunk_new(void)
{
	cleanup(chunk_free_p) struct chunk *chunk = calloc(1, sizeof(*chunk));

	if (!chunk || !buf_reserve(&chunk->lines, CHUNK_BYTES))
		return NULL;
	return TAKE(chunk);
}

static bool chunk_full(const struct chunk *chunk)
{
	return buf_len(&chunk->lines) >= CHUNK_FULL_BYTES;
}

static void log_drop(struct access_log *log, uint64_t lines)
{
	atomic_fetch_add_explicit(&log->dropped_lines, lines, memory_order_relaxed);
}

/* ---- the writer thread ---- */

/* A target that fails (disk full, reader gone) costs the lines, never more. */
static void chunk_write(struct access_log *log, const struct chunk *chunk)
{
	struct str left = buf_str(&chunk->lines);

	while (left.len > 0) {
		ssize_t n = write(log->fd, left.p, left.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			log_drop(log, chunk->line_count);
			return;
		}
		left.p += n;
		left.len -= (size_t)n;
	}
}

/* The next chunk to write; NULL when all is written and nothing more will come. */
static struct chunk *log_wait(struct access_log *log)
{
	struct chunk *chunk;

	pthread_mutex_lock(&log->lock);
	while (!log->first && !log->closing)
		pthread_cond_wait(&log->filled, &log->lock);
	chunk = log->first;
	if (chunk) {
		log->first = chunk->next;
		if (!log->first)
			log->last_next = &log->first;
	} else {
		log->thread_done = true;
		pthread_cond_signal(&log->finished);
	}
	pthread_mutex_unlock(&log->lock);
	return chunk;
}

static void log_recycle(struct access_log *log, struct chunk *chunk)
{
	struct chunk *surplus = chunk;

	pthread_mutex_lock(&log->lock);
	log->queued_bytes -= chunk->lines.size;
	if (!log->spare) {
		buf_clear(&chunk->lines);
		chunk->line_count = 0;
		log->spare = chunk;
		surplus = NULL;
	}
	pthread_mutex_unlock(&log->lock);
	(void)chunk_free(surplus);
}

static void *log_thread(void *ctx)
{
	struct access_log *log = ctx;
	struct chunk *chunk;

	while ((chunk = log_wait(log))) {
		chunk_write(log, chunk);
		log_recycle(log, chunk);
	}
	return NULL;
}

/* ---- opening and closing ---- */

static int log_target(struct access_log *log, const char *path, struct err *err)
{
	if (!path || str_is(str_of(path), "-")) {
		log->fd = STDOUT_FILENO;
		return 0;
	}
	log->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	if (log->fd < 0)
		return err_set(err, -errno, "cannot open the access log %s: %s", path, strerror(errno));
	log->own_fd = true;
	return 0;
}

static struct access_log *log_destroy(struct access_log *log)
{
	if (!log)
		return NULL;
	for (struct chunk *chunk = log->first, *next; chunk; chunk = next) {
		next = chunk->next;
		(void)chunk_free(chunk);
	}
	(void)chunk_free(log->spare);
	if (log->own_fd)
		(void)close(log->fd);
	pthread_cond_destroy(&log->finished);
	pthread_cond_destroy(&log->filled);
	pthread_mutex_destroy(&log->lock);
	free(log);
	return NULL;
}
DEFINE_CLEANUP(struct access_log *, log_destroy)

struct access_log *access_log_open(const struct access_log_config *config, struct err *err)
{
	cleanup(log_destroy_p) struct access_log *log = calloc(1, sizeof(*log));
	int code;

	if (!log) {
		(void)err_set(err, -ENOMEM, "access log: out of memory");
		return NULL;
	}
	log->format = config->format;
	log->last_next = &log->first;
	pthread_mutex_init(&log->lock, NULL);
	pthread_cond_init(&log->filled, NULL);
	pthread_cond_init(&log->finished, NULL);
	if (log_target(log, config->path, err) != 0)
		return NULL;
	code = thread_start(&log->thread, log_thread, log);
	if (code != 0) {
		(void)err_set(err, code, "access log: cannot start its thread: %s", strerror(-code));
		return NULL;
	}
	return TAKE(log);
}

/* True when the thread ended by itself; false when it hangs in a write to a stuck target. */
static bool log_finish(struct access_log *log)
{
	struct timespec until;
	int code = 0;

	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += CLOSE_GRACE_S;
	pthread_mutex_lock(&log->lock);
	log->closing = true;
	pthread_cond_signal(&log->filled);
	while (!log->thread_done && code == 0)
		code = pthread_cond_timedwait(&log->finished, &log->lock, &until);
	pthread_mutex_unlock(&log->lock);
	return code == 0;
}

struct access_log *access_log_close(struct access_log *log)
{
	if (!log)
		return NULL;
	if (!log_finish(log)) {
		(void)pthread_detach(log->thread); /* it still uses the log, so the log stays */
		return NULL;
	}
	(void)pthread_join(log->thread, NULL);
	return log_destroy(log);
}

uint64_t access_log_dropped(const struct access_log *log)
{
	return atomic_load_explicit(&log->dropped_lines, memory_order_relaxed);
}

/* ---- one worker's end ---- */

struct access_writer *access_writer_new(struct access_log *log)
{
	struct access_writer *writer = calloc(1, sizeof(*writer));

	if (writer)
		writer->log = log;
	return writer;
}

/* Hands the full chunk over; the writer goes on with an empty one, if there is one to be had. */
static bool log_submit(struct access_log *log, struct chunk *full, struct chunk **ret_empty)
{
	bool taken = false;

	pthread_mutex_lock(&log->lock);
	if (log->queued_bytes + full->lines.size <= QUEUE_BYTES_MAX) {
		log->queued_bytes += full->lines.size;
		full->next = NULL;
		*log->last_next = full;
		log->last_next = &full->next;
		*ret_empty = TAKE(log->spare);
		pthread_cond_signal(&log->filled);
		taken = true;
	}
	pthread_mutex_unlock(&log->lock);
	return taken;
}

void access_writer_flush(struct access_writer *writer)
{
	struct chunk *full = writer->chunk;

	if (!full || buf_len(&full->lines) == 0)
		return;
	if (log_submit(writer->log, full, &writer->chunk) || !chunk_full(full))
		return;
	log_drop(writer->log, full->line_count);
	buf_clear(&full->lines);
	full->line_count = 0;
}

static int writer_format(struct access_writer *writer, const struct access_record *record)
{
	struct buf *out = &writer->chunk->lines;

	access_clock_set(&writer->clock, time(NULL));
	switch (writer->log->format) {
	case ACCESS_LOG_NGINX:
		return access_record_nginx(out, record, &writer->clock);
	case ACCESS_LOG_JSON:
		return access_record_json(out, record, &writer->clock);
	}
	return -EINVAL;
}

void access_writer_line(struct access_writer *writer, const struct access_record *record)
{
	if (!writer->chunk)
		writer->chunk = chunk_new();
	if (!writer->chunk) {
		log_drop(writer->log, 1);
		return;
	}
	if (writer_format(writer, record) != 0) {
		log_drop(writer->log,
			 writer->chunk->line_count + 1); /* part of a line may be in it: all goes */
		writer->chunk = chunk_free(writer->chunk);
		return;
	}
	writer->chunk->line_count++;
	if (chunk_full(writer->chunk))
		access_writer_flush(writer);
}

struct access_writer *access_writer_free(struct access_writer *writer)
{
	if (!writer)
		return NULL;
	access_writer_flush(writer);
	(void)chunk_free(writer->chunk);
	free(writer);
	return NULL;
}
