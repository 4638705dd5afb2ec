/* The path watch says when to look; a hash of the contents says whether anything changed. */
#include "main/config_watch.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "base/map.h"
#include "conf/manifest_io.h"
#include "conf/path_watch.h"

struct config_watch {
	struct path_watch *paths;
	const char *path;
	uint64_t hash;
	void (*changed)(void *ctx);
	void *ctx;
};

/* 0 or -errno. */
static int hash_file(const char *path, uint64_t *ret)
{
	cleanup(buf_done) struct buf text = {0};
	int code = manifest_read(path, &text, NULL);

	if (code == 0)
		*ret = hash_bytes(buf_head(&text), buf_len(&text));
	return code;
}

static void look(void *ctx)
{
	struct config_watch *watch = ctx;
	uint64_t hash = watch->hash;

	(void)path_watch_renew(watch->paths, false);
	if (hash_file(watch->path, &hash) < 0 || hash == watch->hash)
		return;
	watch->hash = hash;
	watch->changed(watch->ctx);
}

struct config_watch *config_watch_new(struct ev_loop *loop, const char *path, void (*changed)(void *ctx),
				      void *ctx)
{
	struct config_watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return NULL;
	*watch = (struct config_watch){.path = path, .changed = changed, .ctx = ctx};
	watch->paths = path_watch_new(loop, &watch->path, 1, look, watch);
	if (!watch->paths)
		return config_watch_free(watch);
	(void)path_watch_renew(watch->paths, false);
	(void)hash_file(path, &watch->hash);
	return watch;
}

struct config_watch *config_watch_free(struct config_watch *watch)
{
	if (watch)
		(void)path_watch_free(watch->paths);
	free(watch);
	return NULL;
}
