/* Says when something under some paths may have changed: inotify, settled, with a slow look each second where
 * watching is not possible.
 *
 * Watched are each directory given, the directory of each file given, and the places where the path itself can be
 * swapped: its own name in its parent, and every symbolic link on the way.
 *
 * Invariants
 *  1. fn is called at once when a file is whole (closed by its writer, or renamed into place); after other events
 *     PATH_WATCH_SETTLE_S after the last, at most PATH_WATCH_SETTLE_MAX_S after the first. Writing alone is waited for:
 *     until PATH_WATCH_WRITING_S after the last write, should the writer not close the file.
 *  2. What happens after path_watch_renew began is told of: renew first, look then.
 *  3. fn is never called inside a call of this module, and may free the watch. */
#ifndef CONF_PATH_WATCH_H
#define CONF_PATH_WATCH_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>

#define PATH_WATCH_SETTLE_S     0.020
#define PATH_WATCH_SETTLE_MAX_S 0.200
#define PATH_WATCH_WRITING_S    5.0
#define PATH_WATCH_POLL_S       1.0

struct path_watch;

/* paths: borrowed. Watches nothing before the first renew. NULL when out of memory. */
struct path_watch *path_watch_new(struct ev_loop *loop, const char *const *paths, size_t path_count,
				  void (*fn)(void *ctx), void *ctx);
struct path_watch *path_watch_free(struct path_watch *watch); /* NULL allowed; returns NULL */

/* Watches what the paths mean now. poll: look each second in any case. Returns whether all can be watched. */
bool path_watch_renew(struct path_watch *watch, bool poll);

#endif
