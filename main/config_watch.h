/* Says once that a file's contents are others than they were at the start: kube-proxy ends then, to be started anew
 * (service-proxy contract row 51). */
#ifndef MAIN_CONFIG_WATCH_H
#define MAIN_CONFIG_WATCH_H

#include <ev.h>

struct config_watch;

/* path is borrowed. A file that is gone, or cannot be read for now, has not changed. NULL when out of memory. */
struct config_watch *config_watch_new(struct ev_loop *loop, const char *path, void (*changed)(void *ctx),
				      void *ctx);
struct config_watch *config_watch_free(struct config_watch *watch); /* NULL allowed; returns NULL */

#endif
