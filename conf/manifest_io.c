/* Listing, stamping and reading manifest files. */
#include "conf/manifest_io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"

#define FRESH_NS   100000000LL /* well beyond the clock tick that time stamps are taken from */
#define READ_BYTES ((size_t)64 * 1024)

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

bool manifest_stamp_equal(const struct manifest_stamp *a, const struct manifest_stamp *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size && same_time(a->mtime, b->mtime) &&
	       same_time(a->ctime, b->ctime) && !a->fresh && !b->fresh;
}

static bool is_fresh(struct timespec mtime)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (now.tv_sec - mtime.tv_sec) * 1000000000LL + (now.tv_nsec - mtime.tv_nsec) < FRESH_NS;
}

/* ---- lists ---- */

static bool is_manifest_name(struct str name)
{
	static const char *const endings[] = {".yaml", ".yml", ".json"};

	for (size_t i = 0; i < ARRAY_LEN(endings); i++)
		if (str_has_suffix(name, str_of(endings[i])))
			return name.p[0] != '.';
	return false;
}

/* A ConfigMap's files are links into its own "..data", which is watched as all of the directory is. */
static bool links_elsewhere(const char *path)
{
	char target[4096];
	ssize_t len = readlink(path, target, sizeof(target));
	struct str link = {target, len > 0 ? (size_t)len : 0};

	return memchr(target, '/', link.len) && !str_has_prefix(link, STR_LIT("..data/"));
}

static bool ends_in_slash(const char *path)
{
	return str_has_suffix(str_of(path), STR_LIT("/"));
}

static int list_add(struct manifest_list *list, const char *directory, const char *name)
{
	char **paths = reallocarray(list->paths, list->count + 1, sizeof(*paths));

	if (!paths)
		return -ENOMEM;
	list->paths = paths;
	if (!directory)
		paths[list->count] = strdup(name);
	else if (asprintf(&paths[list->count], "%s%s%s", directory, ends_in_slash(directory) ? "" : "/",
			  name) < 0)
		paths[list->count] = NULL;
	if (!paths[list->count])
		return -ENOMEM;
	list->links_elsewhere |= links_elsewhere(paths[list->count++]);
	return 0;
}

static int compare_paths(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void closedir_p(DIR **directory)
{
	if (*directory)
		(void)closedir(*directory);
}

/* NULL at the end (errno 0) or when reading fails. */
static const struct dirent *next_entry(DIR *directory)
{
	errno = 0;
	return readdir(directory);
}

static int list_directory(const char *path, struct manifest_list *list)
{
	DIR *directory cleanup(closedir_p) = opendir(path);
	const struct dirent *entry;

	if (!directory)
		return -errno;
	while ((entry = next_entry(directory)))
		if (is_manifest_name(str_of(entry->d_name)) && list_add(list, path, entry->d_name) < 0)
			return -ENOMEM;
	if (errno != 0)
		return -errno;
	if (list->count > 0)
		qsort(list->paths, list->count, sizeof(list->paths[0]), compare_paths);
	return 0;
}

int manifest_list(const char *path, struct manifest_list *ret, struct err *err)
{
	struct manifest_list list cleanup(manifest_list_done) = {0};
	struct stat st;
	int rc = stat(path, &st) < 0 ? -errno : 0;

	list.is_directory = rc == 0 && S_ISDIR(st.st_mode);
	if (rc == 0)
		rc = list.is_directory ? list_directory(path, &list) : list_add(&list, NULL, path);
	if (rc < 0)
		return err_set(err, rc, "%s: %s", path, strerror(-rc));
	*ret = list;
	list = (struct manifest_list){0};
	return 0;
}

void manifest_list_done(struct manifest_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->paths[i]);
	free(list->paths);
	*list = (struct manifest_list){0};
}

/* ---- one file ---- */

int manifest_stat(const char *path, struct manifest_stamp *ret, struct err *err)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return err_set(err, -errno, "%s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "is no regular file");
	*ret = (struct manifest_stamp){
	    .dev = st.st_dev,
	    .ino = st.st_ino,
	    .size = st.st_size,
	    .mtime = st.st_mtim,
	    .ctime = st.st_ctim,
	    .fresh = is_fresh(st.st_mtim),
	};
	return 0;
}

static int read_all(int fd, struct buf *text)
{
	for (;;) {
		char *room = buf_reserve(text, READ_BYTES);
		ssize_t len;
		if (!room)
			return -ENOMEM;
		len = read(fd, room, READ_BYTES);
		if (len < 0 && errno == EINTR)
			continue;
		if (len <= 0)
			return len < 0 ? -errno : 0;
		buf_commit(text, (size_t)len);
		if (buf_len(text) > MANIFEST_MAX_BYTES)
			return -EFBIG;
	}
}

int manifest_read(const char *path, struct buf *ret, struct err *err)
{
	/* Non-blocking, so that a pipe put in the file's place cannot hold us up. */
	int fd cleanup_close = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int rc = fd < 0 ? -errno : read_all(fd, ret);

	return rc < 0 ? err_set(err, rc, "%s", strerror(-rc)) : 0;
}
