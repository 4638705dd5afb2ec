/* Manifest files as desired state. The source that follows them is source_files_new (conf/source.h); this is one
 * reading of them, for `fairlead check`. */
#ifndef CONF_FILES_H
#define CONF_FILES_H

#include "conf/decode.h"

/* Files and directories by the rules of the source: what is left out, which of two files counts. Objects come in
 * the order they stand in. 0; -errno of a path that cannot be read, with *err; -ENOMEM. */
int source_files_read(const char *const *paths, size_t path_count, const struct decode_sink *sink,
		      struct err *err);

#endif
