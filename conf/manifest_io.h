/* Manifest files on disk: which there are, whether one changed, what is in it. System calls, no decisions. */
#ifndef CONF_MANIFEST_IO_H
#define CONF_MANIFEST_IO_H

#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

#include "base/buf.h"
#include "base/err.h"

#define MANIFEST_MAX_BYTES ((size_t)64 * 1024 * 1024)

/* Two equal stamps: the file was not written to in between, unless `fresh` (written just before the stamp was
 * taken, so that another write may leave the same one). */
struct manifest_stamp {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec mtime, ctime;
	bool fresh;
};

bool manifest_stamp_equal(const struct manifest_stamp *a, const struct manifest_stamp *b);

struct manifest_list {
	char **paths; /* in the order of their names */
	size_t count;
	bool is_directory;
	bool links_elsewhere; /* some file is a symbolic link out of its directory: changes there go unseen */
};

/* path itself if it is no directory, else all *.yaml, *.yml and *.json in it, not deeper, without names that begin
 * with '.'. 0 or -errno with *err. */
int manifest_list(const char *path, struct manifest_list *ret, struct err *err);
void manifest_list_done(struct manifest_list *list);

/* 0, or -errno with *err (-ENOENT; -EINVAL for what is no regular file; -EFBIG). The stamp is from before the
 * text: a change in between shows as another stamp next time. */
int manifest_stat(const char *path, struct manifest_stamp *ret, struct err *err);
int manifest_read(const char *path, struct buf *ret, struct err *err);

#endif
