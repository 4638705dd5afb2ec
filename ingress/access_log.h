/* The access log: each worker formats lines into a buffer of its own, one writer thread puts full buffers on
 * the file.
 *
 *     worker: access_writer_line -> its buffer --full, or access_writer_flush--> queue -> writer thread ->
 * write(2)
 *
 * Invariants
 *  1. A worker never waits for the target: when 8 MiB wait to be written (a stopped reader, a full
 *     disk), lines are dropped and counted.
 *  2. Lines are whole: one buffer is one write, and a line never lies in two buffers.
 *  3. What was handed in before access_log_close is written before it returns, unless the target is stuck. */
#ifndef INGRESS_ACCESS_LOG_H
#define INGRESS_ACCESS_LOG_H

#include <stdint.h>

#include "base/err.h"
#include "ingress/access_record.h"

enum access_log_format { ACCESS_LOG_NGINX, ACCESS_LOG_JSON };

struct access_log_config {
	const char *path; /* a file, appended to; NULL or "-": standard output */
	enum access_log_format format;
};

struct access_log;

/* NULL with *err (the file cannot be opened ...). Copies what it needs of config. */
struct access_log *access_log_open(const struct access_log_config *config, struct err *err);
struct access_log *access_log_close(
    struct access_log *log); /* after all writers; NULL allowed; returns NULL */

uint64_t access_log_dropped(const struct access_log *log); /* lines; any thread */

/* ---- one worker's end ---- */

struct access_writer;

struct access_writer *access_writer_new(struct access_log *log); /* NULL when out of memory */
struct access_writer *access_writer_free(
    struct access_writer *writer); /* flushes; NULL allowed; returns NULL */

void access_writer_line(struct access_writer *writer, const struct access_record *record);
void access_writer_flush(struct access_writer *writer); /* hands over what there is; call it now and then */

#endif
