/* A directory of a test's own, and writing to it in the ways editors and mounts do. */
#ifndef TESTS_UNIT_TEMP_DIR_H
#define TESTS_UNIT_TEMP_DIR_H

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct temp_dir {
	char path[64];
	char at[PATH_MAX]; /* of the last temp_path */
};

static inline void temp_dir_make(struct temp_dir *dir)
{
	snprintf(dir->path, sizeof(dir->path), "/tmp/fairlead-test-XXXXXX");
	assert_non_null(mkdtemp(dir->path));
}

static int temp_dir_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline void temp_dir_remove(struct temp_dir *dir)
{
	(void)nftw(dir->path, temp_dir_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static inline const char *temp_path(struct temp_dir *dir, const char *name)
{
	snprintf(dir->at, sizeof(dir->at), "%s/%s", dir->path, name);
	return dir->at;
}

/* In place: truncated, then written. */
static inline void temp_write(struct temp_dir *dir, const char *name, const char *text)
{
	FILE *file = fopen(temp_path(dir, name), "w");

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
	assert_int_equal(fclose(file), 0);
}

/* Written beside it and renamed over it. */
static inline void temp_replace(struct temp_dir *dir, const char *name, const char *text)
{
	char temporary[PATH_MAX];

	temp_write(dir, ".temporary", text);
	snprintf(temporary, sizeof(temporary), "%s", temp_path(dir, ".temporary"));
	assert_int_equal(rename(temporary, temp_path(dir, name)), 0);
}

static inline void temp_rename(struct temp_dir *dir, const char *from, const char *to)
{
	char from_path[PATH_MAX];

	snprintf(from_path, sizeof(from_path), "%s", temp_path(dir, from));
	assert_int_equal(rename(from_path, temp_path(dir, to)), 0);
}

static inline void temp_remove(struct temp_dir *dir, const char *name)
{
	assert_int_equal(remove(temp_path(dir, name)), 0);
}

static inline void temp_mkdir(struct temp_dir *dir, const char *name)
{
	assert_int_equal(mkdir(temp_path(dir, name), 0755), 0);
}

static inline void temp_link(struct temp_dir *dir, const char *target, const char *name)
{
	assert_int_equal(symlink(target, temp_path(dir, name)), 0);
}

#endif
