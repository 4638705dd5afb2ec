/* Small files read whole: kubeconfigs, certificates, tokens. */
#ifndef CONF_KUBE_FILE_H
#define CONF_KUBE_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define KUBE_FILE_MAX_BYTES (1u << 20)

/* Fills *out, which is empty before and after an error. 0, or -errno with *err ("file: No such file or
 * directory"); -EFBIG beyond KUBE_FILE_MAX_BYTES. Regular files only, so that nothing blocks. */
int kube_file_read(const char *path, struct buf *out, struct err *err);

/* Tells a changed file from an unchanged one without reading it. All zero: there is no such file. */
struct kube_file_stamp {
	uint64_t device, inode, size_bytes;
	int64_t modified_s, modified_ns;
};
struct kube_file_stamp kube_file_stamp(const char *path); /* "" gives all zero */
bool kube_file_stamp_equal(const struct kube_file_stamp *a, const struct kube_file_stamp *b);

#endif
