/* The queue of Services and the updates that empty it. */
#include "proxy/sync.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "proxy/clock.h"

#define RETRY_REFUSED_S 30.0 /* kube-proxy's syncPeriod */
#define UNHEALTHY_S     60.0 /* twice that: rows 39, 40 */
#define RETRY_MIN_S     0.25
#define RETRY_MAX_S     30.0
#define MISMATCHES_MAX  3 /* in a row; then single members are blamed for them */

static const char *const family_names[TABLE_COUNT] = {"IPv4", "IPv6"};

/* ---- the queue ---- */

static void push(struct queue *queue, struct proxied *proxied)
{
	proxied->next = NULL;
	if (queue->last)
		queue->last->next = proxied;
	else
		queue->first = proxied;
	queue->last = proxied;
	queue->count++;
}

static struct proxied *pop(struct queue *queue)
{
	struct proxied *proxied = queue->first;

	queue->first = proxied->next;
	if (!queue->first)
		queue->last = NULL;
	queue->count--;
	proxied->queued = QUEUED_NOT;
	return proxied;
}

static void enqueue(struct sync *sync, struct proxied *proxied)
{
	if (proxied->queued != QUEUED_NOT)
		return;
	proxied->queued = proxied_is_urgent(proxied) ? QUEUED_URGENT : QUEUED_NORMAL;
	push(proxied->queued == QUEUED_URGENT ? &sync->urgent : &sync->normal, proxied);
}

void sync_queue(struct sync *sync, struct proxied *proxied)
{
	if (proxied->dirty_since_s <= 0)
		proxied->dirty_since_s = monotonic_s();
	enqueue(sync, proxied);
}

static size_t queued_count(const struct sync *sync)
{
	return sync->urgent.count + sync->normal.count;
}

/* ---- when ---- */

static void schedule(struct sync *sync, double delay_s)
{
	ev_timer_stop(sync->loop, &sync->work);
	ev_timer_set(&sync->work, delay_s, 0.);
	ev_timer_start(sync->loop, &sync->work);
}

/* Everything queued waits for the next try. */
static void retry_later(struct sync *sync)
{
	double now_s = monotonic_s();

	if (sync->failing_since_s <= 0)
		sync->failing_since_s = now_s;
	sync->retry_s = sync->retry_s > 0 ? sync->retry_s * 2 : RETRY_MIN_S;
	if (sync->retry_s > RETRY_MAX_S)
		sync->retry_s = RETRY_MAX_S;
	schedule(sync, sync->retry_s);
}

static void failed(struct sync *sync, unsigned table_index, int code, const struct err *err)
{
	bool mismatch = code == -ENOENT || code == -EEXIST;

	log_error("rules not applied", L_STR("family", family_names[table_index]),
		  L_STR("reason", err->text));
	if (!mismatch) {
		retry_later(sync);
		return;
	}
	sync->must_adopt = sync->whole = true;
	if (++sync->mismatches <= MISMATCHES_MAX)
		schedule(sync, 0.);
	else
		retry_later(sync);
}

static void succeeded(struct sync *sync)
{
	sync->retry_s = sync->failing_since_s = 0;
	sync->updated_s = monotonic_s();
	metric_set(sync->meters->last_sync, ev_time());
}

/* ---- an update ---- */

struct batch {
	struct member **members;
	size_t count;
};

static size_t chunk_size(const struct sync *sync)
{
	for (size_t i = 0; i < TABLE_COUNT; i++)
		if (sync->tables[i] && table_wants_all(sync->tables[i]))
			return SIZE_MAX;
	return sync->phase == SYNC_ADOPTING && sync->whole ? SIZE_MAX : SYNC_CHUNK;
}

static int take_batch(struct sync *sync, struct batch *ret)
{
	size_t size = chunk_size(sync);
	/* What a node needs first does not wait for a chunk to fill. */
	bool only_urgent = sync->phase == SYNC_ADOPTING && size != SIZE_MAX && sync->urgent.count > 0;
	size_t available = only_urgent ? sync->urgent.count : queued_count(sync);
	struct batch batch = {0};

	if (size > available)
		size = available;
	batch.members = calloc(size ? size : 1, sizeof(struct member *));
	if (!batch.members)
		return -ENOMEM;
	while (batch.count < size)
		batch.members[batch.count++] =
		    &pop(sync->urgent.count ? &sync->urgent : &sync->normal)->member;
	*ret = batch;
	return 0;
}

static int update_table(struct sync *sync, unsigned i, const struct batch *batch, bool final)
{
	bool blame = sync->mismatches >= MISMATCHES_MAX;
	double begun_s = monotonic_s();
	struct table_figures figures;
	struct err err = {.text = ""};
	int code = table_update(sync->tables[i], batch->members, batch->count, final, blame, &err);

	metric_observe(sync->meters->sync_seconds[i], monotonic_s() - begun_s);
	figures = table_figures(sync->tables[i]);
	meters_show_table(sync->meters, i, &figures);
	if (code)
		failed(sync, i, code, &err);
	return code;
}

static int update_tables(struct sync *sync, const struct batch *batch, bool final)
{
	int code = 0;

	for (unsigned i = 0; i < TABLE_COUNT; i++) {
		int table_code = sync->tables[i] ? update_table(sync, i, batch, final) : 0;

		code = code ? code : table_code;
	}
	return code;
}

static void put_batch_back(struct sync *sync, const struct batch *batch)
{
	for (size_t i = 0; i < batch->count; i++)
		enqueue(sync, proxied_of(batch->members[i]));
}

static void batch_in_force(struct sync *sync, const struct batch *batch)
{
	double now_s = monotonic_s();

	for (size_t i = 0; i < batch->count; i++) {
		struct proxied *proxied = proxied_of(batch->members[i]);

		if (proxied->dirty_since_s > 0)
			metric_observe(sync->meters->event_to_rule_seconds, now_s - proxied->dirty_since_s);
		proxied->dirty_since_s = 0;
		registry_drop_unused(sync->registry, proxied);
	}
}

static void adopted(struct sync *sync)
{
	sync->phase = SYNC_RUNNING;
	sync->whole = false;
	sync->mismatches = 0;
	if (sync->ready)
		return;
	sync->ready = true;
	metric_set(sync->meters->first_sync_seconds, monotonic_s() - sync->started_s);
	log_info("first complete state in force", L_INT("services", sync->registry->services.count));
}

static void update(struct sync *sync)
{
	struct batch batch = {0};
	bool final;

	if (take_batch(sync, &batch)) {
		retry_later(sync);
		return;
	}
	final = sync->phase == SYNC_ADOPTING && queued_count(sync) == 0;
	if (update_tables(sync, &batch, final)) {
		put_batch_back(sync, &batch);
	} else {
		succeeded(sync);
		batch_in_force(sync, &batch);
		if (final)
			adopted(sync);
		if (queued_count(sync) > 0)
			schedule(sync, 0.);
	}
	free(batch.members);
	metric_set(sync->meters->services_pending, (double)queued_count(sync));
}

/* ---- adoption ---- */

static void forget_all(struct sync *sync)
{
	for (struct map_iter it = map_begin(&sync->registry->services); map_next(&it);) {
		struct proxied *proxied = it.value;

		for (size_t i = 0; i < TABLE_COUNT; i++)
			if (sync->tables[i])
				table_forget(sync->tables[i], &proxied->member);
	}
}

static int adopt(struct sync *sync)
{
	forget_all(sync);
	for (unsigned i = 0; i < TABLE_COUNT; i++) {
		struct err err = {.text = ""};
		int code = sync->tables[i] ? table_adopt(sync->tables[i], &err) : 0;

		if (code) {
			log_error("rules in force cannot be read", L_STR("family", family_names[i]),
				  L_STR("reason", err.text));
			retry_later(sync);
			return code;
		}
	}
	for (struct map_iter it = map_begin(&sync->registry->services); map_next(&it);)
		enqueue(sync, it.value);
	sync->must_adopt = false;
	sync->phase = SYNC_ADOPTING;
	return 0;
}

static void work(struct sync *sync)
{
	if (sync->phase == SYNC_WAITING || (sync->must_adopt && adopt(sync)))
		return;
	if (sync->phase == SYNC_ADOPTING || queued_count(sync) > 0)
		update(sync);
}

void sync_run(struct sync *sync)
{
	double pause_s = sync->updated_s + sync->min_period_s - monotonic_s();

	metric_set(sync->meters->last_queued, ev_time());
	if (sync->phase == SYNC_WAITING || ev_is_active(&sync->work))
		return;
	if (sync->ready && pause_s > 0)
		schedule(sync, pause_s);
	else
		work(sync);
}

void sync_start(struct sync *sync)
{
	sync->phase = SYNC_ADOPTING;
	sync->must_adopt = true;
	sync->started_s = monotonic_s();
	work(sync);
}

void sync_repair(struct sync *sync)
{
	if (sync->phase == SYNC_WAITING)
		return;
	sync->must_adopt = sync->whole = true;
	work(sync);
}

/* ---- timers, life ---- */

static void on_work(struct ev_loop *loop, ev_timer *watcher, int events)
{
	(void)loop;
	(void)events;
	work(watcher->data);
}

static void on_retry_refused(struct ev_loop *loop, ev_timer *watcher, int events)
{
	struct sync *sync = watcher->data;
	size_t refused = 0;

	(void)loop;
	(void)events;
	for (struct map_iter it = map_begin(&sync->registry->services); map_next(&it);) {
		struct proxied *proxied = it.value;

		if (!proxied->member.refused[0] && !proxied->member.refused[1])
			continue;
		enqueue(sync, proxied);
		refused++;
	}
	metric_set(sync->meters->services_refused, (double)refused);
	if (refused > 0)
		sync_run(sync);
}

void sync_init(struct sync *sync, struct ev_loop *loop, struct registry *registry, struct meters *meters,
	       struct table *const tables[TABLE_COUNT], double min_period_s)
{
	*sync =
	    (struct sync){.loop = loop, .registry = registry, .meters = meters, .min_period_s = min_period_s};
	memcpy(sync->tables, tables, sizeof(sync->tables));
	ev_timer_init(&sync->work, on_work, 0., 0.);
	ev_timer_init(&sync->refused, on_retry_refused, RETRY_REFUSED_S, RETRY_REFUSED_S);
	sync->work.data = sync->refused.data = sync;
	ev_timer_start(loop, &sync->refused);
}

void sync_done(struct sync *sync)
{
	if (!sync->loop)
		return;
	ev_timer_stop(sync->loop, &sync->work);
	ev_timer_stop(sync->loop, &sync->refused);
	forget_all(sync);
	for (size_t i = 0; i < TABLE_COUNT; i++)
		sync->tables[i] = table_free(sync->tables[i]);
}

static double waiting_since_s(const struct sync *sync)
{
	double since_s = sync->failing_since_s;
	const struct proxied *heads[] = {sync->urgent.first, sync->normal.first};

	for (size_t i = 0; i < 2; i++)
		if (heads[i] && heads[i]->dirty_since_s > 0 &&
		    (since_s <= 0 || heads[i]->dirty_since_s < since_s))
			since_s = heads[i]->dirty_since_s;
	return since_s;
}

bool sync_healthy(const struct sync *sync)
{
	double since_s = waiting_since_s(sync);

	return since_s <= 0 || monotonic_s() - since_s <= UNHEALTHY_S;
}
