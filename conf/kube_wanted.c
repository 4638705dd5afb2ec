/* Objects wanted by name: a GET each, then a watch, or polling where no watch is left. */
#include "conf/kube_wanted.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "conf/kube_backoff.h"
#include "conf/kube_item.h"
#include "conf/names.h"

#define KEY_MAX_BYTES    600 /* kind, namespace and name: 2 + 63 + 253 in any valid object */
#define ANSWER_MAX_BYTES (16u << 20)
#define TICKS            10 /* in timing.poll_s */

enum want_state {
	WANT_FETCHING, /* for the first time */
	WANT_WATCHED,
	WANT_POLLED,
};

struct want {
	TAILQ_ENTRY(want) entry; /* of the polled, WANT_POLLED only; the next one to fetch first */
	struct kube_wanted *wanted;
	struct kube_scope scope;
	char *ns, *name;
	unsigned count; /* 0: to be swept away */
	enum want_state state;
	bool known;
	ev_tstamp watch_again_at; /* the server let us get it, not watch it: not before this */
	ev_tstamp fetched_at;
	bool get_refused; /* and that was logged */
	bool seen;        /* the list of its watch has it */
	struct kube_request *request;
	struct buf answer;
	struct kube_reflector *reflector;
	struct kube_complaints complaints;
	struct kube_backoff backoff;
	ev_timer retry;
};

TAILQ_HEAD(want_list, want);

struct kube_wanted {
	struct kube_wanted_options options;
	struct map wants; /* "kind/ns/name" -> struct want */
	struct want_list polled;
	size_t polled_count, watched_count, unknown_count;
	ev_timer poll;  /* while something is polled */
	ev_timer sweep; /* never started: fed */
};

static void fetch(struct want *want);

/* ---- small things ---- */

static struct str want_key(enum kind kind, const char *ns, const char *name,
			   char buffer[static KEY_MAX_BYTES])
{
	snprintf(buffer, KEY_MAX_BYTES, "%d/%s/%s", (int)kind, ns, name);
	return str_of(buffer);
}

/* What no object can be called is not asked for: some such names are paths to other things. */
static bool is_possible(const char *ns, const char *name)
{
	return name_is_label(str_of(ns)) && name_is_subdomain(str_of(name));
}

static void delete_from_store(struct want *want)
{
	store_delete(want->wanted->options.store, want->scope.kind, str_of(want->ns), str_of(want->name));
}

static void become_known(struct want *want)
{
	bool news = !want->known;

	if (news)
		want->wanted->unknown_count--;
	want->known = true;
	want->wanted->options.changed(want->wanted->options.ctx, news);
}

/* ---- watching ---- */

static void poll_it(struct want *want);
static void promote(struct kube_wanted *wanted);

static void on_begin(void *ctx)
{
	struct want *want = ctx;

	want->seen = false;
}

static int on_put(void *ctx, struct object *object)
{
	struct want *want = ctx;

	want->seen = true;
	return kube_put(want->wanted->options.store, object);
}

static void on_keep(void *ctx, const char *ns, const char *name)
{
	struct want *want = ctx;

	(void)ns, (void)name;
	want->seen = true;
}

static void on_drop(void *ctx, const char *ns, const char *name)
{
	(void)ns, (void)name;
	delete_from_store(ctx);
}

static void on_end(void *ctx)
{
	struct want *want = ctx;

	if (!want->seen)
		delete_from_store(want);
}

static void on_abort(void *ctx)
{
	(void)ctx; /* nothing was dropped on the way */
}

static void on_settle(void *ctx)
{
	struct want *want = ctx;

	want->wanted->options.changed(want->wanted->options.ctx, false);
}

static void put_off_watch(struct want *want)
{
	want->watch_again_at = ev_now(want->wanted->options.loop) + want->wanted->options.timing->absent_s;
}

/* The last thing the reflector does: it may go. */
static void on_refused(void *ctx)
{
	struct want *want = ctx;

	log_info("not allowed to watch it, fetching it now and then instead",
		 L_STR("kind", kind_name(want->scope.kind)), L_STR("namespace", want->ns),
		 L_STR("name", want->name));
	put_off_watch(want);
	want->reflector = kube_reflector_free(want->reflector);
	want->wanted->watched_count--;
	poll_it(want);
	promote(want->wanted);
}

static const struct kube_sink watch_sink = {
    .begin = on_begin,
    .put = on_put,
    .keep = on_keep,
    .drop = on_drop,
    .end = on_end,
    .abort = on_abort,
    .settle = on_settle,
    .refused = on_refused,
};

static int watch(struct want *want)
{
	const struct kube_wanted_options *options = &want->wanted->options;
	const struct kube_reflector_options reflector = {
	    .loop = options->loop,
	    .client = options->client,
	    .scope = want->scope,
	    .traits = options->traits,
	    .timing = options->timing,
	    .metrics = {.restarts = options->restarts[want->scope.kind],
			.decode_errors = options->decode_errors[want->scope.kind],
			.last_event = options->last_event},
	    .sink = &watch_sink,
	    .ctx = want,
	};

	want->reflector = kube_reflector_new(&reflector);
	if (!want->reflector)
		return -ENOMEM;
	want->state = WANT_WATCHED;
	want->wanted->watched_count++;
	return 0;
}

/* ---- polling ---- */

static void poll_it(struct want *want)
{
	struct kube_wanted *wanted = want->wanted;

	want->state = WANT_POLLED;
	TAILQ_INSERT_TAIL(&wanted->polled, want, entry);
	wanted->polled_count++;
	if (!ev_is_active(&wanted->poll))
		ev_timer_again(wanted->options.loop, &wanted->poll);
}

static void stop_polling(struct want *want)
{
	struct kube_wanted *wanted = want->wanted;

	TAILQ_REMOVE(&wanted->polled, want, entry);
	wanted->polled_count--;
	if (wanted->polled_count == 0)
		ev_timer_stop(wanted->options.loop, &wanted->poll);
}

static bool may_watch(const struct want *want)
{
	return want->watch_again_at <= ev_now(want->wanted->options.loop);
}

/* Gives a watch to the first of the polled that may use it. False when there is none. */
static bool promote_one(struct kube_wanted *wanted)
{
	struct want *want = NULL;

	TAILQ_FOREACH(want, &wanted->polled, entry)
	{
		if (!may_watch(want) || want->request || want->count == 0)
			continue;
		stop_polling(want);
		if (watch(want) == 0)
			return true;
		poll_it(want);
		return false;
	}
	return false;
}

static void promote(struct kube_wanted *wanted)
{
	while (wanted->watched_count < KUBE_WATCHES_MAX && promote_one(wanted))
		;
}

/* Ticks come ten times in poll_s: at each a tenth of the polled is fetched, if that is not too many. */
static unsigned polls_now(const struct kube_wanted *wanted)
{
	double tenth = ceil((double)wanted->polled_count / TICKS);
	double most = ceil(KUBE_POLLS_PER_S * wanted->options.timing->poll_s / TICKS);

	return (unsigned)(tenth < most ? tenth : most);
}

static bool is_due(const struct want *want)
{
	const struct kube_wanted_options *options = &want->wanted->options;

	return !want->request && ev_now(options->loop) - want->fetched_at >= options->timing->poll_s;
}

static void on_poll(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct kube_wanted *wanted = timer->data;

	(void)loop, (void)events;
	for (unsigned left = polls_now(wanted); left > 0; left--) {
		struct want *want = TAILQ_FIRST(&wanted->polled);

		if (!want || !is_due(want))
			return;
		TAILQ_REMOVE(&wanted->polled, want, entry);
		TAILQ_INSERT_TAIL(&wanted->polled, want, entry);
		fetch(want);
	}
}

/* ---- fetching ---- */

/* After its first answer. */
static void settle_down(struct want *want)
{
	if (!may_watch(want) || want->wanted->watched_count >= KUBE_WATCHES_MAX || watch(want) < 0)
		poll_it(want);
}

static void retry_later(struct want *want, double pause_s)
{
	const struct kube_timing *timing = want->wanted->options.timing;
	double wait_s =
	    kube_backoff_next(&want->backoff, timing->retry_first_s, timing->retry_most_s, kube_random());

	ev_timer_stop(want->wanted->options.loop, &want->retry);
	ev_timer_set(&want->retry, wait_s > pause_s ? wait_s : pause_s, 0.);
	ev_timer_start(want->wanted->options.loop, &want->retry);
}

static void on_retry(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop, (void)events;
	fetch(timer->data);
}

static int take_answer(struct want *want)
{
	struct arena arena cleanup(arena_done) = {0};
	struct kube_item item;
	int r =
	    kube_item_from_json(&want->complaints, &arena, want->scope.kind, buf_str(&want->answer), &item);

	return r == 0 && item.object ? on_put(want, item.object) : r;
}

/* Who may not get it is not let watch it either. */
static void take_refusal(struct want *want, const char *why)
{
	if (!want->get_refused)
		log_warn("not allowed to read it", L_STR("kind", kind_name(want->scope.kind)),
			 L_STR("namespace", want->ns), L_STR("name", want->name), L_STR("error", why));
	want->get_refused = true;
	put_off_watch(want);
}

static void end_refusal(struct want *want)
{
	if (want->get_refused)
		want->watch_again_at = 0;
	want->get_refused = false;
}

static int on_fetch_body(void *ctx, struct str bytes, struct err *err)
{
	struct want *want = ctx;

	if (buf_len(&want->answer) + bytes.len > ANSWER_MAX_BYTES)
		return err_set(err, -EFBIG, "the answer is too large");
	return buf_append_str(&want->answer, bytes);
}

/* Is this an answer about the object, and was it taken? */
static bool take_result(struct want *want, const struct kube_result *result)
{
	if (result->code == 0 && take_answer(want) < 0)
		return false;
	if (result->code < 0 && result->status != 404 && result->status != 403)
		return false;
	if (result->status == 403)
		take_refusal(want, result->why);
	else
		end_refusal(want);
	if (result->status == 404)
		delete_from_store(want);
	kube_backoff_reset(&want->backoff);
	become_known(want);
	return true;
}

static void on_fetch_done(void *ctx, const struct kube_result *result)
{
	struct want *want = ctx;
	bool answered;

	want->request = NULL;
	answered = take_result(want, result);
	buf_done(&want->answer);
	if (want->state == WANT_POLLED && answered)
		promote(want->wanted); /* it may be watched by now */
	else if (want->state == WANT_FETCHING && answered)
		settle_down(want);
	else if (want->state == WANT_FETCHING)
		retry_later(want, result->retry_after_s);
}

static void fetch(struct want *want)
{
	static const struct kube_request_ops ops = {.body = on_fetch_body, .done = on_fetch_done};
	struct buf path cleanup(buf_done) = {0};
	struct kube_request_options options = {.method = "GET", .ops = &ops, .ctx = want};

	want->fetched_at = ev_now(want->wanted->options.loop);
	kube_path_get(&path, &want->scope);
	if (buf_append_char(&path, '\0') == 0) {
		options.path = buf_head(&path);
		want->request = kube_request(want->wanted->options.client, &options);
	}
	if (!want->request && want->state == WANT_FETCHING)
		retry_later(want, 0);
}

/* ---- wanting and not wanting any more ---- */

static void want_free(struct want *want)
{
	ev_timer_stop(want->wanted->options.loop, &want->retry);
	kube_request_cancel(want->request);
	kube_reflector_free(want->reflector);
	kube_complaints_done(&want->complaints);
	buf_done(&want->answer);
	free(want->ns);
	free(want->name);
	free(want);
}

static struct want *want_new(struct kube_wanted *wanted, enum kind kind, const char *ns, const char *name)
{
	struct want *want = calloc(1, sizeof(*want));

	if (!want)
		return NULL;
	want->wanted = wanted;
	want->ns = str_dup(str_of(ns));
	want->name = str_dup(str_of(name));
	want->scope = (struct kube_scope){.kind = kind, .ns = want->ns, .name = want->name};
	want->complaints.errors = wanted->options.decode_errors[kind];
	ev_init(&want->retry, on_retry);
	want->retry.data = want;
	if (want->ns && want->name)
		return want;
	want_free(want);
	return NULL;
}

int kube_wanted_add(struct kube_wanted *wanted, enum kind kind, const char *ns, const char *name)
{
	char buffer[KEY_MAX_BYTES];
	struct str key = want_key(kind, ns, name, buffer);
	struct want *want = map_get(&wanted->wants, key);

	if (!is_possible(ns, name))
		return 0;
	if (want) {
		want->count++;
		return 0;
	}
	want = want_new(wanted, kind, ns, name);
	if (!want)
		return -ENOMEM;
	if (map_set(&wanted->wants, key, want, NULL) < 0) {
		want_free(want);
		return -ENOMEM;
	}
	want->count = 1;
	wanted->unknown_count++;
	fetch(want);
	return 0;
}

void kube_wanted_remove(struct kube_wanted *wanted, enum kind kind, const char *ns, const char *name)
{
	char buffer[KEY_MAX_BYTES];
	struct want *want = map_get(&wanted->wants, want_key(kind, ns, name, buffer));

	if (!want || want->count == 0)
		return;
	want->count--;
	if (want->count == 0)
		ev_feed_event(wanted->options.loop, &wanted->sweep, EV_CUSTOM);
}

static void leave_state(struct want *want)
{
	struct kube_wanted *wanted = want->wanted;

	if (!want->known)
		wanted->unknown_count--;
	switch (want->state) {
	case WANT_FETCHING:
		return;
	case WANT_WATCHED:
		wanted->watched_count--;
		return;
	case WANT_POLLED:
		stop_polling(want);
		return;
	}
}

static void on_sweep(struct ev_loop *loop, ev_timer *watcher, int events)
{
	struct kube_wanted *wanted = watcher->data;

	(void)loop, (void)events;
	for (struct map_iter it = map_begin(&wanted->wants); map_next(&it);) {
		struct want *want = it.value;

		if (want->count > 0)
			continue;
		map_remove(&wanted->wants, it.key);
		leave_state(want);
		delete_from_store(want);
		want_free(want);
	}
	promote(wanted);
	wanted->options.changed(wanted->options.ctx, false);
}

void kube_wanted_hurry(struct kube_wanted *wanted)
{
	for (struct map_iter it = map_begin(&wanted->wants); map_next(&it);) {
		struct want *want = it.value;

		if (want->reflector)
			kube_reflector_hurry(want->reflector);
		if (!ev_is_active(&want->retry))
			continue;
		ev_timer_stop(wanted->options.loop, &want->retry);
		kube_backoff_reset(&want->backoff);
		fetch(want);
	}
}

bool kube_wanted_known(const struct kube_wanted *wanted, enum kind kind, const char *ns, const char *name)
{
	char buffer[KEY_MAX_BYTES];
	const struct want *want = map_get(&wanted->wants, want_key(kind, ns, name, buffer));

	return !is_possible(ns, name) || (want && want->known);
}

bool kube_wanted_busy(const struct kube_wanted *wanted)
{
	return wanted->unknown_count > 0;
}

/* ---- life ---- */

struct kube_wanted *kube_wanted_new(const struct kube_wanted_options *options)
{
	struct kube_wanted *wanted = calloc(1, sizeof(*wanted));

	if (!wanted)
		return NULL;
	wanted->options = *options;
	TAILQ_INIT(&wanted->polled);
	ev_init(&wanted->poll, on_poll);
	wanted->poll.repeat = options->timing->poll_s / TICKS;
	ev_init(&wanted->sweep, on_sweep);
	wanted->poll.data = wanted->sweep.data = wanted;
	return wanted;
}

struct kube_wanted *kube_wanted_free(struct kube_wanted *wanted)
{
	if (!wanted)
		return NULL;
	ev_timer_stop(wanted->options.loop, &wanted->poll);
	ev_clear_pending(wanted->options.loop, &wanted->sweep);
	for (struct map_iter it = map_begin(&wanted->wants); map_next(&it);)
		want_free(it.value);
	map_done(&wanted->wants);
	free(wanted);
	return NULL;
}
