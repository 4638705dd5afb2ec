/* The files source: watches, looks again, puts what changed into the store. */
#include "conf/files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "conf/manifests.h"
#include "conf/path_watch.h"
#include "conf/source.h"

#define RETRY_S 1.0 /* after memory ran out */

DEFINE_CLEANUP(struct manifests *, manifests_free)

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- one reading ---- */

static void pass_object(void *ctx, struct object *old, struct object *new)
{
	const struct decode_sink *sink = ctx;

	(void)old;
	if (new)
		sink->object(sink->ctx, object_ref(new));
}

static void pass_complaint(void *ctx, const struct decode_complaint *complaint)
{
	const struct decode_sink *sink = ctx;

	sink->complaint(sink->ctx, complaint);
}

int source_files_read(const char *const *paths, size_t path_count, const struct decode_sink *sink,
		      struct err *err)
{
	struct decode_sink copy = *sink;
	const struct manifests_ops ops = {pass_object, pass_complaint, &copy};
	struct manifests *manifests cleanup(manifests_free_p) = manifests_new(paths, path_count, &ops);
	struct manifests_scan scan = {.now_s = now_s(), .strict = true};

	if (!manifests)
		return err_set(err, -ENOMEM, "out of memory");
	return manifests_scan(manifests, &scan, err);
}

/* ---- the source ---- */

struct files_source {
	struct source source;
	struct ev_loop *loop;
	struct store *store;
	struct manifests *manifests;
	struct path_watch *watch;
	ev_timer again;
	struct metric *errors, *objects;
	bool watched;         /* all of the paths, as far as was said */
	bool links_elsewhere; /* some files can only be looked at */
	size_t path_count;
	char **paths;
};

static void on_changed(void *ctx, struct object *old, struct object *new)
{
	struct files_source *files = ctx;

	if (!new)
		store_delete(files->store, old->kind, str_of(old->ns), str_of(old->name));
	else if (store_put(files->store, object_ref(new)) < 0)
		log_error("object lost: out of memory", L_STR("object", new->name),
			  L_STR("origin", new->origin));
}

static void on_complaint(void *ctx, const struct decode_complaint *complaint)
{
	char text[2048];

	(void)ctx;
	decode_complaint_text(complaint, text, sizeof(text));
	if (complaint->severity == DECODE_ERROR)
		log_error("manifest not usable", L_STR("why", text));
	else
		log_warn("manifest doubtful", L_STR("why", text));
}

static void watch_again(struct files_source *files)
{
	bool watched = path_watch_renew(files->watch, files->links_elsewhere);

	if (files->watched && !watched)
		log_warn("manifests cannot be watched: looking at them each second",
			 L_STR("path", files->paths[0]));
	files->watched = watched;
}

static void look_again_after(struct files_source *files, double delay_s)
{
	ev_timer_stop(files->loop, &files->again);
	if (delay_s <= 0)
		return;
	ev_timer_set(&files->again, delay_s, 0.);
	ev_timer_start(files->loop, &files->again);
}

/* Watch first, look then: nothing that happens in between is missed. */
static int look(struct files_source *files, bool strict, struct err *err)
{
	struct manifests_scan scan = {.now_s = now_s(), .strict = strict};
	int rc;

	watch_again(files);
	rc = manifests_scan(files->manifests, &scan, err);
	if (scan.links_elsewhere != files->links_elsewhere) {
		files->links_elsewhere = scan.links_elsewhere;
		watch_again(files);
	}
	look_again_after(files, rc < 0 ? RETRY_S : scan.again_s);
	metric_set(files->errors, (double)manifests_error_count(files->manifests));
	metric_set(files->objects, (double)manifests_object_count(files->manifests));
	return rc;
}

static void look_and_settle(struct files_source *files)
{
	struct err err;

	if (look(files, false, &err) < 0)
		log_error("manifests not read: out of memory");
	store_settle(files->store);
}

static void on_path_change(void *ctx)
{
	look_and_settle(ctx);
}

static void on_again(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	look_and_settle(timer->data);
}

static struct source *files_free(struct source *source)
{
	struct files_source *files = container_of(source, struct files_source, source);

	ev_timer_stop(files->loop, &files->again);
	path_watch_free(files->watch);
	manifests_free(files->manifests);
	for (size_t i = 0; i < files->path_count; i++)
		free(files->paths[i]);
	free(files->paths);
	free(files);
	return NULL;
}

/* Files give every object they have: nothing has to be wanted, and what is not in the store is known absent. */
static const struct source_ops files_ops = {.free = files_free};

static int copy_paths(struct files_source *files, const char *const *paths, size_t path_count)
{
	files->paths = calloc(path_count + 1, sizeof(*files->paths));
	if (!files->paths)
		return -ENOMEM;
	for (; files->path_count < path_count; files->path_count++) {
		files->paths[files->path_count] = strdup(paths[files->path_count]);
		if (!files->paths[files->path_count])
			return -ENOMEM;
	}
	return 0;
}

static struct files_source *files_alloc(struct ev_loop *loop, struct store *store, const char *const *paths,
					size_t path_count)
{
	struct files_source *files = calloc(1, sizeof(*files));
	const struct manifests_ops ops = {on_changed, on_complaint, files};
	const char *const *own_paths;

	if (!files)
		return NULL;
	files->source.ops = &files_ops;
	files->loop = loop;
	files->store = store;
	files->watched = true;
	ev_timer_init(&files->again, on_again, 0., 0.);
	files->again.data = files;
	if (copy_paths(files, paths, path_count) == 0) {
		own_paths = (const char *const *)files->paths;
		files->manifests = manifests_new(own_paths, path_count, &ops);
		files->watch = path_watch_new(loop, own_paths, path_count, on_path_change, files);
	}
	if (files->manifests && files->watch)
		return files;
	(void)files_free(&files->source);
	return NULL;
}

struct source *source_files_new(struct ev_loop *loop, struct store *store, const char *const *paths,
				size_t path_count, struct metrics *metrics, struct err *err)
{
	struct files_source *files = files_alloc(loop, store, paths, path_count);

	if (!files) {
		err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	if (metrics) {
		files->errors = metrics_gauge(metrics, "fairlead_manifest_errors",
					      "Errors in manifest files that stand.", "");
		files->objects = metrics_gauge(metrics, "fairlead_manifest_objects",
					       "Objects that manifest files give.", "");
	}
	if (look(files, true, err) < 0)
		return source_free(&files->source);
	store_set_synced(store, (1u << KIND_COUNT) - 1);
	store_settle(store);
	return &files->source;
}
