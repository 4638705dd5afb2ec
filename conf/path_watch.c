/* inotify over directories, with names to wait for in some of them. */
#include "conf/path_watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

#define EVENTS                                                                                          \
	(IN_CREATE | IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | \
	 IN_DELETE_SELF | IN_MOVE_SELF)

/* Something to wait for in a watched directory. */
struct interest {
	int wd;
	char *name; /* only this entry; NULL: anything */
	bool renewed;
};

struct path_watch {
	struct ev_loop *loop;
	const char *const *paths;
	size_t path_count;
	void (*fn)(void *ctx);
	void *ctx;
	int fd; /* -1: no inotify to be had */
	struct interest *interests;
	size_t interest_count, interest_size;
	bool complete;            /* everything is watched */
	ev_tstamp first_event_at; /* of those not told of yet; 0: none */
	ev_io io;
	ev_timer settle, poll;
};

/* ---- what to wait for ---- */

static bool is_same(const struct interest *interest, int wd, const char *name)
{
	if (interest->wd != wd || !interest->name != !name)
		return false;
	return !name || strcmp(interest->name, name) == 0;
}

static bool interest_add(struct path_watch *watch, int wd, const char *name)
{
	struct interest *interest;

	for (size_t i = 0; i < watch->interest_count; i++) {
		if (is_same(&watch->interests[i], wd, name)) {
			watch->interests[i].renewed = true;
			return true;
		}
	}
	if (watch->interest_count == watch->interest_size) {
		size_t size = watch->interest_size ? watch->interest_size * 2 : 8;
		struct interest *interests = reallocarray(watch->interests, size, sizeof(*interests));
		if (!interests)
			return false;
		watch->interests = interests;
		watch->interest_size = size;
	}
	interest = &watch->interests[watch->interest_count];
	*interest = (struct interest){.wd = wd, .name = name ? strdup(name) : NULL, .renewed = true};
	if (name && !interest->name)
		return false;
	watch->interest_count++;
	return true;
}

/* name NULL: anything in the directory. */
static void watch_directory(struct path_watch *watch, const char *directory, const char *name)
{
	int wd = watch->fd < 0 ? -1 : inotify_add_watch(watch->fd, directory, EVENTS | IN_ONLYDIR);

	if (wd < 0 || !interest_add(watch, wd, name))
		watch->complete = false;
}

/* The entry that `path` is in the directory it stands in. */
static void watch_entry(struct path_watch *watch, char *path, bool anything)
{
	char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;

	if (!slash) {
		watch_directory(watch, ".", anything ? NULL : name);
		return;
	}
	*slash = '\0';
	watch_directory(watch, slash == path ? "/" : path, anything ? NULL : name);
	*slash = '/';
}

static void watch_links_on_the_way(struct path_watch *watch, char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		struct stat st;
		*slash = '\0';
		if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode))
			watch_entry(watch, path, false);
		*slash = '/';
	}
}

static void cut_trailing_slashes(char *path)
{
	for (size_t len = strlen(path); len > 1 && path[len - 1] == '/'; len--)
		path[len - 1] = '\0';
}

static void watch_path(struct path_watch *watch, const char *given)
{
	char *path cleanup_free = strdup(given);
	struct stat st;
	bool exists, is_directory;

	if (!path || path[0] == '\0') {
		watch->complete = false;
		return;
	}
	cut_trailing_slashes(path);
	exists = stat(path, &st) == 0;
	is_directory = exists && S_ISDIR(st.st_mode);
	if (is_directory)
		watch_directory(watch, path, NULL);
	watch_entry(watch, path, exists && !is_directory);
	watch_links_on_the_way(watch, path);
}

static bool is_wanted(const struct path_watch *watch, int wd)
{
	for (size_t i = 0; i < watch->interest_count; i++)
		if (watch->interests[i].wd == wd)
			return true;
	return false;
}

static void drop_stale(struct path_watch *watch)
{
	for (size_t i = watch->interest_count; i-- > 0;) {
		struct interest stale = watch->interests[i];
		if (stale.renewed)
			continue;
		free(stale.name);
		watch->interests[i] = watch->interests[--watch->interest_count];
		if (!is_wanted(watch, stale.wd))
			(void)inotify_rm_watch(watch->fd,
					       stale.wd); /* the kernel may have removed it already */
	}
}

bool path_watch_renew(struct path_watch *watch, bool poll)
{
	watch->complete = true;
	for (size_t i = 0; i < watch->interest_count; i++)
		watch->interests[i].renewed = false;
	for (size_t i = 0; i < watch->path_count; i++)
		watch_path(watch, watch->paths[i]);
	drop_stale(watch);
	if (poll || !watch->complete)
		ev_timer_again(watch->loop, &watch->poll);
	else
		ev_timer_stop(watch->loop, &watch->poll);
	return watch->complete;
}

/* ---- events ---- */

static bool is_interesting(const struct path_watch *watch, const struct inotify_event *event)
{
	if (event->mask & IN_Q_OVERFLOW)
		return true;
	for (size_t i = 0; i < watch->interest_count; i++) {
		const struct interest *interest = &watch->interests[i];
		if (interest->wd != event->wd)
			continue;
		if (!interest->name || event->len == 0 || strcmp(interest->name, event->name) == 0)
			return true;
	}
	return false;
}

enum news { NEWS_NONE, NEWS_BEING_WRITTEN, NEWS_UNDER_WAY, NEWS_WHOLE };

/* A file closed by its writer or renamed into place is whole. One that is written will be closed. After other events
 * more is to be expected. */
static enum news news_of(const struct inotify_event *event)
{
	if (event->mask & (IN_CLOSE_WRITE | IN_MOVED_TO))
		return NEWS_WHOLE;
	return event->mask & IN_MODIFY ? NEWS_BEING_WRITTEN : NEWS_UNDER_WAY;
}

/* Reads what there is; what the last event that matters says. A write matters if there is nothing else. */
static enum news read_events(struct path_watch *watch)
{
	_Alignas(struct inotify_event) char buffer[16 * 1024];
	enum news news = NEWS_NONE;
	ssize_t len;

	while ((len = read(watch->fd, buffer, sizeof(buffer))) > 0) {
		const char *at = buffer;
		while (at < buffer + len) {
			const struct inotify_event *event = (const void *)at;
			enum news told = is_interesting(watch, event) ? news_of(event) : NEWS_NONE;
			if (told > NEWS_BEING_WRITTEN || news == NEWS_NONE)
				news = told;
			at += sizeof(*event) + event->len;
		}
	}
	return news;
}

static void tell_in(struct path_watch *watch, double delay_s)
{
	ev_timer_stop(watch->loop, &watch->settle);
	ev_timer_set(&watch->settle, delay_s, 0.);
	ev_timer_start(watch->loop, &watch->settle);
}

static void on_readable(struct ev_loop *loop, ev_io *io, int events)
{
	struct path_watch *watch = io->data;
	ev_tstamp now = ev_now(loop), delay = PATH_WATCH_SETTLE_S, left;
	enum news news = read_events(watch);

	(void)events;
	if (news == NEWS_BEING_WRITTEN && watch->first_event_at == 0)
		tell_in(watch, PATH_WATCH_WRITING_S);
	if (news <= NEWS_BEING_WRITTEN)
		return;
	if (watch->first_event_at == 0)
		watch->first_event_at = now;
	if (news == NEWS_WHOLE)
		delay = 0; /* what comes while fn looks is told of together, by the next read */
	left = watch->first_event_at + PATH_WATCH_SETTLE_MAX_S - now;
	if (delay > left)
		delay = left > 0 ? left : 0;
	tell_in(watch, delay);
}

static void on_settled(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct path_watch *watch = timer->data;

	(void)loop;
	(void)events;
	watch->first_event_at = 0;
	watch->fn(watch->ctx);
}

static void on_poll(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct path_watch *watch = timer->data;

	(void)loop;
	(void)events;
	watch->fn(watch->ctx);
}

/* ---- life ---- */

struct path_watch *path_watch_new(struct ev_loop *loop, const char *const *paths, size_t path_count,
				  void (*fn)(void *ctx), void *ctx)
{
	struct path_watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return NULL;
	watch->loop = loop;
	watch->paths = paths;
	watch->path_count = path_count;
	watch->fn = fn;
	watch->ctx = ctx;
	watch->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	ev_io_init(&watch->io, on_readable, watch->fd, EV_READ);
	ev_timer_init(&watch->settle, on_settled, 0., 0.);
	ev_timer_init(&watch->poll, on_poll, 0., PATH_WATCH_POLL_S);
	watch->io.data = watch->settle.data = watch->poll.data = watch;
	if (watch->fd >= 0)
		ev_io_start(loop, &watch->io);
	return watch;
}

struct path_watch *path_watch_free(struct path_watch *watch)
{
	if (!watch)
		return NULL;
	if (watch->fd >= 0) {
		ev_io_stop(watch->loop, &watch->io);
		(void)close(watch->fd);
	}
	ev_timer_stop(watch->loop, &watch->settle);
	ev_timer_stop(watch->loop, &watch->poll);
	for (size_t i = 0; i < watch->interest_count; i++)
		free(watch->interests[i].name);
	free(watch->interests);
	free(watch);
	return NULL;
}
