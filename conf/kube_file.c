/* Small files read whole: kubeconfigs, certificates, tokens. */
#include "conf/kube_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

static int read_all(int fd, struct buf *out)
{
	for (;;) {
		char *to = buf_reserve(out, 4096);

		if (!to)
			return -ENOMEM;
		ssize_t n = read(fd, to, 4096);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		buf_commit(out, (size_t)n);
		if (buf_len(out) > KUBE_FILE_MAX_BYTES)
			return -EFBIG;
	}
}

static int open_regular(const char *path)
{
	struct stat status;
	/* Without O_NONBLOCK opening a fifo would wait for its writer. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return -errno;
	int r = fstat(fd, &status) < 0 ? -errno : S_ISREG(status.st_mode) ? 0 : -EINVAL;

	if (r < 0)
		(void)close(fd);
	return r < 0 ? r : fd;
}

int kube_file_read(const char *path, struct buf *out, struct err *err)
{
	int fd cleanup(close_p) = open_regular(path);
	int r = fd < 0 ? fd : read_all(fd, out);

	if (r == 0)
		return 0;
	buf_clear(out);
	return err_set(err, r, "%s: %s", path, r == -EINVAL ? "not a regular file" : strerror(-r));
}

struct kube_file_stamp kube_file_stamp(const char *path)
{
	struct stat status;

	if (path[0] == '\0' || stat(path, &status) < 0)
		return (struct kube_file_stamp){0};
	return (struct kube_file_stamp){
	    .device = status.st_dev,
	    .inode = status.st_ino,
	    .size_bytes = (uint64_t)status.st_size,
	    .modified_s = status.st_mtim.tv_sec,
	    .modified_ns = status.st_mtim.tv_nsec,
	};
}

bool kube_file_stamp_equal(const struct kube_file_stamp *a, const struct kube_file_stamp *b)
{
	return a->device == b->device && a->inode == b->inode && a->size_bytes == b->size_bytes &&
	       a->modified_s == b->modified_s && a->modified_ns == b->modified_ns;
}
