/* Keeps up with some objects of one kind: list, watch, and what to do when either fails. */
#include "conf/kube_reflector.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "conf/json_stream.h"
#include "conf/kube_backoff.h"
#include "conf/kube_event.h"
#include "conf/kube_item.h"

enum phase {
	PHASE_WAITING,
	PHASE_LISTING,   /* a page is being read */
	PHASE_STREAMING, /* a watch that begins with all there is; that part is being read */
	PHASE_WATCHING,
};

/* Why we ended a request ourselves. */
enum verdict {
	VERDICT_NONE,
	VERDICT_RELIST,     /* the server no longer knows where we are */
	VERDICT_PAUSE,      /* it asks us to come back later */
	VERDICT_PLAIN_LIST, /* it cannot stream lists */
	VERDICT_GARBAGE,    /* it sent what is no event */
};

struct kube_reflector {
	struct kube_reflector_options options;
	enum phase phase;
	struct kube_request *request; /* NULL while waiting */
	struct json_stream json;
	struct kube_complaints complaints;
	char *version;        /* heard last; NULL: a list is needed */
	char *continue_token; /* of the next page; NULL: the first */
	bool in_list;         /* between begin and end */
	bool listed;          /* there was a complete list once */
	bool absent;          /* the server said that it has no such kind */
	bool lost_item;       /* this list had an item that cannot be told from others */
	bool plain_list;      /* streaming was refused: list by pages */
	bool delivered;       /* this watch brought something */
	bool opened;          /* and the server agreed to it */
	bool unanswered;      /* the wait is for a server that did not answer */
	ev_tstamp began_at, opened_at, relisted_at;
	unsigned watch_timeout_s;
	ev_timer timer; /* waiting: the next try; otherwise: the watchdog */
	struct kube_backoff backoff;
	enum verdict verdict;
	double verdict_pause_s;
	struct err verdict_why;
	char last_failure[256]; /* logged last; "" when all is well */
};

static void begin_try(struct kube_reflector *reflector);

/* ---- small things ---- */

static double now(const struct kube_reflector *reflector)
{
	return ev_now(reflector->options.loop);
}

static const char *kind_text(const struct kube_reflector *reflector)
{
	return kind_name(reflector->options.scope.kind);
}

static void forget(char **text)
{
	free(*text);
	*text = NULL;
}

/* 0 or -ENOMEM; the old text stays then. */
static int replace(char **text, const char *with)
{
	char *copy = str_dup(str_of(with));

	if (!copy)
		return -ENOMEM;
	free(*text);
	*text = copy;
	return 0;
}

static void set_timer(struct kube_reflector *reflector, double after_s)
{
	ev_timer_stop(reflector->options.loop, &reflector->timer);
	ev_timer_set(&reflector->timer, after_s > 0 ? after_s : 0., 0.);
	ev_timer_start(reflector->options.loop, &reflector->timer);
}

static void stop_timer(struct kube_reflector *reflector)
{
	ev_timer_stop(reflector->options.loop, &reflector->timer);
}

/* ---- lists ---- */

static void begin_list(struct kube_reflector *reflector)
{
	reflector->in_list = true;
	reflector->lost_item = false;
	reflector->options.sink->begin(reflector->options.ctx);
}

static void abort_list(struct kube_reflector *reflector)
{
	forget(&reflector->continue_token);
	if (!reflector->in_list)
		return;
	reflector->in_list = false;
	reflector->options.sink->abort(reflector->options.ctx);
	reflector->options.sink->settle(reflector->options.ctx);
}

/* All of the list came. If one item could not be told from others it may be any of those not in the list: then
 * nothing is dropped, unless there is nothing yet. */
static void end_list(struct kube_reflector *reflector)
{
	const struct kube_sink *sink = reflector->options.sink;

	forget(&reflector->continue_token);
	reflector->in_list = false;
	if (reflector->lost_item && reflector->listed)
		sink->abort(reflector->options.ctx);
	else
		sink->end(reflector->options.ctx);
	reflector->listed = true;
	kube_complaints_prune(&reflector->complaints);
	sink->settle(reflector->options.ctx);
}

/* ---- what objects do to the sink ---- */

/* An object as it is now: of a list, or ADDED or MODIFIED. 0 or -ENOMEM. */
static int take_item(struct kube_reflector *reflector, const struct kube_item *item)
{
	const struct kube_sink *sink = reflector->options.sink;

	if (item->object)
		return sink->put(reflector->options.ctx, item->object);
	if (!item->name[0])
		reflector->lost_item = true;
	else if (reflector->in_list)
		sink->keep(reflector->options.ctx, item->ns, item->name);
	return 0;
}

static int on_list_item(void *ctx, struct str text)
{
	struct kube_reflector *reflector = ctx;
	struct arena arena cleanup(arena_done) = {0};
	struct kube_item item;
	int r =
	    kube_item_from_json(&reflector->complaints, &arena, reflector->options.scope.kind, text, &item);

	return r < 0 ? r : take_item(reflector, &item);
}

/* ---- watch events ---- */

static void set_connected(struct kube_reflector *reflector, bool connected)
{
	metric_set(reflector->options.metrics.connected, connected);
}

/* The list is in and the watch goes on from it. */
static void note_watching(struct kube_reflector *reflector)
{
	set_connected(reflector, true);
	if (!reflector->last_failure[0])
		return;
	reflector->last_failure[0] = '\0';
	log_info("API server: watching again", L_STR("kind", kind_text(reflector)),
		 L_STR("namespace", reflector->options.scope.ns),
		 L_STR("name", reflector->options.scope.name));
}

__attribute__((format(printf, 3, 4))) static int judge(struct kube_reflector *reflector, enum verdict verdict,
						       const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	reflector->verdict = verdict;
	return err_set(&reflector->verdict_why, -ECANCELED, "%s", text);
}

/* Are we told of something older than what we know? Initial events come in no order: their versions say nothing. */
static bool goes_back(const struct kube_reflector *reflector, const char *version)
{
	return reflector->phase == PHASE_WATCHING && kube_version_is_older(version, reflector->version);
}

/* Notes how far we are. */
static int advance(struct kube_reflector *reflector, const char *version)
{
	if (reflector->phase != PHASE_WATCHING || version[0] == '\0')
		return 0;
	if (goes_back(reflector, version))
		return judge(reflector, VERDICT_RELIST, "resourceVersion went back from %s to %s",
			     reflector->version, version);
	return replace(&reflector->version, version);
}

/* The version is noted last: an object that was not taken is to come again. */
static int on_put_event(struct kube_reflector *reflector, const struct kube_event *event)
{
	struct kube_item item;
	int r;

	if (goes_back(reflector, event->version))
		return advance(reflector, event->version);
	r = kube_item_from_node(&reflector->complaints, reflector->options.scope.kind, event->object, &item);
	if (r < 0)
		return r;
	if (!item.object && !item.name[0] && reflector->phase == PHASE_WATCHING)
		return judge(reflector, VERDICT_GARBAGE, "an event whose object has no name");
	r = take_item(reflector, &item);
	return r < 0 ? r : advance(reflector, event->version);
}

/* Only who it is matters. Old servers give the version before the deletion: that is no step back. */
static int on_delete_event(struct kube_reflector *reflector, const struct kube_event *event)
{
	if (!event->name[0])
		return judge(reflector, VERDICT_GARBAGE, "a DELETED event whose object has no name");
	kube_complaints_forget(&reflector->complaints, event->ns, event->name);
	reflector->options.sink->drop(reflector->options.ctx, event->ns, event->name);
	return goes_back(reflector, event->version) ? 0 : advance(reflector, event->version);
}

static int on_bookmark(struct kube_reflector *reflector, const struct kube_event *event)
{
	if (reflector->phase == PHASE_WATCHING)
		return advance(reflector, event->version);
	if (!event->ends_initial)
		return 0;
	if (event->version[0] == '\0')
		return judge(reflector, VERDICT_GARBAGE, "initial events ended without a resourceVersion");
	int r = replace(&reflector->version, event->version);

	if (r < 0)
		return r;
	reflector->phase = PHASE_WATCHING;
	set_timer(reflector, reflector->watch_timeout_s + reflector->options.timing->watch_grace_s);
	end_list(reflector);
	note_watching(reflector);
	return 0;
}

static int on_error_event(struct kube_reflector *reflector, const struct kube_event *event)
{
	enum verdict verdict = VERDICT_RELIST;

	if (event->code == 429 || event->code == 503)
		verdict = VERDICT_PAUSE;
	else if (event->code != 410 && reflector->phase == PHASE_STREAMING)
		verdict = VERDICT_PLAIN_LIST;
	reflector->verdict_pause_s = event->pause_s;
	return judge(reflector, verdict, "the watch ended with an error: %lld %s", (long long)event->code,
		     event->message);
}

/* An event that cannot be read is one we missed; among initial events it is an object like those of lists. */
static int on_bad_event(struct kube_reflector *reflector, const struct err *err)
{
	if (reflector->phase == PHASE_WATCHING)
		return judge(reflector, VERDICT_GARBAGE, "%s", err->text);
	log_warn("API server: an object is left out", L_STR("kind", kind_text(reflector)),
		 L_STR("error", err->text));
	reflector->lost_item = true;
	return 0;
}

static int on_event(void *ctx, struct str text)
{
	struct kube_reflector *reflector = ctx;
	struct arena arena cleanup(arena_done) = {0};
	struct kube_event event;
	struct err err;
	int r = kube_event_parse(&arena, text, &event, &err);

	if (r == -EBADMSG)
		return on_bad_event(reflector, &err);
	if (r < 0)
		return r;
	reflector->delivered = reflector->delivered || event.type != KUBE_EVENT_ERROR;
	switch (event.type) {
	case KUBE_EVENT_PUT:
		return on_put_event(reflector, &event);
	case KUBE_EVENT_DELETED:
		return on_delete_event(reflector, &event);
	case KUBE_EVENT_BOOKMARK:
		return on_bookmark(reflector, &event);
	case KUBE_EVENT_ERROR:
		return on_error_event(reflector, &event);
	}
	return 0;
}

/* ---- waiting ---- */

static void wait_for(struct kube_reflector *reflector, double wait_s)
{
	double least_s = reflector->began_at + reflector->options.timing->apart_s - now(reflector);

	reflector->phase = PHASE_WAITING;
	set_timer(reflector, wait_s > least_s ? wait_s : least_s);
}

static void log_failure(struct kube_reflector *reflector, const char *why, double wait_s)
{
	/* Once for each reason: a server that is away for an hour gets one line for each kind. */
	if (strncmp(reflector->last_failure, why, sizeof(reflector->last_failure) - 1) == 0)
		return;
	snprintf(reflector->last_failure, sizeof(reflector->last_failure), "%s", why);
	log_warn("API server: trying again, the last known state stays in force",
		 L_STR("kind", kind_text(reflector)), L_STR("namespace", reflector->options.scope.ns),
		 L_STR("name", reflector->options.scope.name), L_STR("error", why),
		 L_FLOAT("wait_s", wait_s));
}

static double next_wait(struct kube_reflector *reflector)
{
	return kube_backoff_next(&reflector->backoff, reflector->options.timing->retry_first_s,
				 reflector->options.timing->retry_most_s, kube_random());
}

/* pause_s: the server's own wish; spread by a tenth so that not all come back in the same instant. */
static void fail(struct kube_reflector *reflector, const char *why, double pause_s, bool answered)
{
	double wait_s = next_wait(reflector), wish_s = pause_s * (1 + kube_random() / 10);

	if (wait_s < wish_s)
		wait_s = wish_s;
	abort_list(reflector);
	set_connected(reflector, false);
	reflector->unanswered = !answered;
	wait_for(reflector, wait_s);
	log_failure(reflector, why, wait_s);
}

void kube_reflector_hurry(struct kube_reflector *reflector)
{
	if (reflector->phase != PHASE_WAITING || !reflector->unanswered)
		return;
	kube_backoff_reset(&reflector->backoff);
	wait_for(reflector, 0);
}

/* ---- requests ---- */

static int send_get(struct kube_reflector *reflector, struct buf *path, bool watch,
		    const struct kube_request_ops *ops)
{
	const struct kube_request_options options = {
	    .method = "GET",
	    .path = buf_append_char(path, '\0') == 0 ? buf_head(path) : "",
	    .watch = watch,
	    .patient = true, /* our watchdog looks after it */
	    .ops = ops,
	    .ctx = reflector,
	};

	reflector->opened = reflector->delivered = false;
	reflector->verdict = VERDICT_NONE;
	reflector->verdict_pause_s = 0;
	if (!buf_failed(path))
		reflector->request = kube_request(reflector->options.client, &options);
	return reflector->request ? 0 : -ENOMEM;
}

static void on_opened(void *ctx)
{
	struct kube_reflector *reflector = ctx;

	reflector->opened = true;
	reflector->opened_at = now(reflector);
	if (reflector->phase == PHASE_WATCHING)
		note_watching(reflector);
	else
		set_timer(reflector, reflector->options.timing->silence_s);
}

static int on_body(void *ctx, struct str bytes, struct err *err)
{
	struct kube_reflector *reflector = ctx;
	int r = json_stream_feed(&reflector->json, bytes, err);

	metric_set(reflector->options.metrics.last_event, (double)time(NULL));
	if (r == -EBADMSG)
		return judge(reflector, VERDICT_GARBAGE, "%s", err->text);
	if (r == 0 && (reflector->phase == PHASE_LISTING || reflector->phase == PHASE_STREAMING))
		set_timer(reflector, reflector->options.timing->silence_s);
	if (!reflector->in_list)
		reflector->options.sink->settle(reflector->options.ctx);
	return r;
}

/* ---- the end of a page ---- */

static void on_page_done(void *ctx, const struct kube_result *result);
static void begin_watch(struct kube_reflector *reflector);

static const struct kube_request_ops page_ops = {.opened = on_opened, .body = on_body, .done = on_page_done};

static void begin_page(struct kube_reflector *reflector)
{
	const char *token = reflector->continue_token ? reflector->continue_token : "";
	struct buf path cleanup(buf_done) = {0};

	json_stream_done(&reflector->json);
	json_stream_init(&reflector->json, JSON_STREAM_LIST, NULL, on_list_item, reflector);
	kube_path_list(&path, &reflector->options.scope, KUBE_PAGE_ITEMS, token);
	reflector->phase = PHASE_LISTING;
	/* Waiting its turn is no silence: the request has time-outs of its own until the first byte. */
	stop_timer(reflector);
	if (send_get(reflector, &path, false, &page_ops) < 0)
		fail(reflector, "out of memory", 0, true);
}

static bool is_list_of(const char *list_kind, enum kind kind)
{
	struct str text = str_of(list_kind), item = str_of(kind_name(kind));

	return text.len == 0 || (text.len == item.len + 4 && str_has_prefix(text, item) &&
				 str_has_suffix(text, STR_LIT("List")));
}

/* What the page says about itself. 0, or -errno with *err. */
static int finish_page(struct kube_reflector *reflector, struct err *err)
{
	struct arena arena cleanup(arena_done) = {0};
	struct json_list_meta meta = {.kind = "", .resource_version = "", .continue_token = ""};
	int r = json_stream_end(&reflector->json, err);

	if (r == 0)
		r = json_stream_list_meta(&reflector->json, &arena, &meta, err);
	if (r < 0)
		return r;
	if (!is_list_of(meta.kind, reflector->options.scope.kind))
		return err_set(err, -EBADMSG, "asked for %s, got %.40s", kind_text(reflector), meta.kind);
	if (meta.continue_token[0])
		return replace(&reflector->continue_token, meta.continue_token);
	forget(&reflector->continue_token);
	return replace(&reflector->version, meta.resource_version);
}

/* The server has no such kind: there are none of it. */
static void take_as_empty(struct kube_reflector *reflector)
{
	reflector->options.sink->end(reflector->options.ctx);
	reflector->in_list = false;
	reflector->options.sink->settle(reflector->options.ctx);
	if (!reflector->absent)
		log_info("the API server does not have this kind", L_STR("kind", kind_text(reflector)));
	reflector->absent = true;
	wait_for(reflector, reflector->options.timing->absent_s);
}

/* We may not list or watch, and the owner knows another way. Who was let in once is let in again: servers refuse
 * everybody for a moment while they start. */
static bool give_up(struct kube_reflector *reflector, const struct kube_result *result)
{
	bool refused = result->status == 403 || result->status == 404;

	if (!refused || reflector->listed || !reflector->options.sink->refused)
		return false;
	abort_list(reflector);
	reflector->options.sink->refused(reflector->options.ctx);
	return true;
}

static void on_page_failed(struct kube_reflector *reflector, const struct kube_result *result)
{
	const char *why = reflector->verdict != VERDICT_NONE ? reflector->verdict_why.text : result->why;

	if (result->status == 404 && reflector->options.absent_is_empty && !reflector->listed) {
		take_as_empty(reflector);
		return;
	}
	if (!give_up(reflector, result))
		fail(reflector, why, result->retry_after_s, result->status > 0);
}

static void on_page_done(void *ctx, const struct kube_result *result)
{
	struct kube_reflector *reflector = ctx;
	struct err err;

	reflector->request = NULL;
	stop_timer(reflector);
	if (result->code < 0) {
		on_page_failed(reflector, result);
	} else if (finish_page(reflector, &err) < 0) {
		fail(reflector, err.text, 0, true);
	} else if (reflector->continue_token) {
		begin_page(reflector);
	} else {
		if (reflector->plain_list)
			reflector->options.traits->no_streaming_lists = true;
		end_list(reflector);
		begin_watch(reflector);
	}
}

/* ---- the end of a watch ---- */

static void on_watch_done(void *ctx, const struct kube_result *result);

static const struct kube_request_ops watch_ops = {
    .opened = on_opened, .body = on_body, .done = on_watch_done};

/* From the version we have, or with initial events if there is none. */
static void begin_watch(struct kube_reflector *reflector)
{
	const struct kube_timing *timing = reflector->options.timing;
	double spread_s = timing->watch_most_s - timing->watch_least_s;
	struct buf path cleanup(buf_done) = {0};

	json_stream_done(&reflector->json);
	json_stream_init(&reflector->json, JSON_STREAM_OBJECTS, NULL, on_event, reflector);
	reflector->watch_timeout_s = (unsigned)(timing->watch_least_s + spread_s * kube_random() + 1);
	kube_path_watch(&path, &reflector->options.scope, reflector->version ? reflector->version : "",
			reflector->watch_timeout_s);
	reflector->phase = reflector->version ? PHASE_WATCHING : PHASE_STREAMING;
	set_timer(reflector, reflector->watch_timeout_s + timing->watch_grace_s);
	if (send_get(reflector, &path, true, &watch_ops) < 0)
		fail(reflector, "out of memory", 0, true);
}

/* Statuses with which servers refuse parameters they do not know, or say that there is no such thing. */
static bool refuses_streaming(const struct kube_reflector *reflector, const struct kube_result *result)
{
	return reflector->verdict == VERDICT_PLAIN_LIST || result->status == 400 || result->status == 404 ||
	       result->status == 405 || result->status == 415 || result->status == 422 ||
	       result->status == 501;
}

static void on_streaming_done(struct kube_reflector *reflector, const struct kube_result *result)
{
	if (refuses_streaming(reflector, result)) {
		reflector->plain_list = true;
		abort_list(reflector);
		begin_list(reflector);
		begin_page(reflector);
		return;
	}
	const char *why = reflector->verdict != VERDICT_NONE ? reflector->verdict_why.text
			  : result->code < 0                 ? result->why
							     : "the watch ended within its initial events";
	double pause_s =
	    reflector->verdict == VERDICT_PAUSE ? reflector->verdict_pause_s : result->retry_after_s;

	if (!give_up(reflector, result))
		fail(reflector, why, pause_s, result->status > 0);
}

static bool needs_list(const struct kube_reflector *reflector, const struct kube_result *result)
{
	/* 504: "Too large resource version", the server was set back. 400, 422: it does not like our version. */
	return reflector->verdict == VERDICT_RELIST || reflector->verdict == VERDICT_GARBAGE ||
	       result->status == 410 || result->status == 400 || result->status == 422 ||
	       result->status == 504;
}

/* The list is read within the same try, unless that happened a moment ago already. */
static void list_again(struct kube_reflector *reflector, const char *why)
{
	bool lately = reflector->relisted_at > 0 &&
		      now(reflector) - reflector->relisted_at < reflector->options.timing->retry_most_s;

	set_connected(reflector, false);
	log_info("API server: listing again", L_STR("kind", kind_text(reflector)), L_STR("reason", why));
	if (lately) {
		wait_for(reflector, next_wait(reflector));
	} else {
		reflector->relisted_at = now(reflector);
		begin_try(reflector);
	}
}

static void on_watching_done(struct kube_reflector *reflector, const struct kube_result *result)
{
	bool lived =
	    reflector->opened && now(reflector) - reflector->opened_at >= reflector->options.timing->lived_s;
	bool good = lived || reflector->delivered;
	const char *why = reflector->verdict != VERDICT_NONE ? reflector->verdict_why.text : result->why;

	if (reflector->opened)
		metric_add(reflector->options.metrics.restarts, 1);
	if (good)
		kube_backoff_reset(&reflector->backoff);
	if (needs_list(reflector, result))
		forget(&reflector->version);
	if (reflector->verdict == VERDICT_RELIST || result->status == 410)
		list_again(reflector, why);
	else if (result->code == 0 && good)
		wait_for(reflector, 0);
	else
		fail(reflector, result->code == 0 ? "the watch ended at once, without an event" : why,
		     reflector->verdict == VERDICT_PAUSE ? reflector->verdict_pause_s : result->retry_after_s,
		     result->status > 0);
}

static void on_watch_done(void *ctx, const struct kube_result *result)
{
	struct kube_reflector *reflector = ctx;

	reflector->request = NULL;
	stop_timer(reflector);
	if (reflector->phase == PHASE_STREAMING)
		on_streaming_done(reflector, result);
	else
		on_watching_done(reflector, result);
}

/* ---- time ---- */

/* The server went silent: where it is alive but stuck, TCP does not tell. */
static void on_watchdog(struct kube_reflector *reflector)
{
	reflector->request = kube_request_cancel(reflector->request);
	if (reflector->phase == PHASE_STREAMING)
		reflector->plain_list = true; /* it may not know that initial events have an end */
	if (reflector->phase == PHASE_WATCHING)
		metric_add(reflector->options.metrics.restarts, 1);
	fail(reflector,
	     reflector->phase == PHASE_WATCHING ? "the watch did not end when it was asked to"
						: "the server fell silent within its answer",
	     0, true);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct kube_reflector *reflector = timer->data;

	(void)loop, (void)events;
	if (reflector->phase == PHASE_WAITING)
		begin_try(reflector);
	else
		on_watchdog(reflector);
}

static void begin_try(struct kube_reflector *reflector)
{
	reflector->began_at = now(reflector);
	reflector->unanswered = false;
	if (!reflector->version)
		begin_list(reflector);
	if (!reflector->version && (reflector->plain_list || reflector->options.traits->no_streaming_lists))
		begin_page(reflector);
	else
		begin_watch(reflector);
}

/* ---- life ---- */

struct kube_reflector *kube_reflector_new(const struct kube_reflector_options *options)
{
	struct kube_reflector *reflector = calloc(1, sizeof(*reflector));

	if (!reflector)
		return NULL;
	reflector->options = *options;
	reflector->complaints.errors = options->metrics.decode_errors;
	ev_init(&reflector->timer, on_timer);
	reflector->timer.data = reflector;
	json_stream_init(&reflector->json, JSON_STREAM_OBJECTS, NULL, on_event, reflector);
	set_connected(reflector, false);
	set_timer(reflector, 0);
	return reflector;
}

struct kube_reflector *kube_reflector_free(struct kube_reflector *reflector)
{
	if (!reflector)
		return NULL;
	stop_timer(reflector);
	kube_request_cancel(reflector->request);
	json_stream_done(&reflector->json);
	kube_complaints_done(&reflector->complaints);
	free(reflector->version);
	free(reflector->continue_token);
	free(reflector);
	return NULL;
}
