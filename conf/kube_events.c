/* One POST for each event that was not sent a short while ago; what is under way is kept in a short list. */
#include "conf/kube_events.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/map.h"

#define CONTROLLER     "fairlead"
#define NOTE_BYTES_MAX 1023 /* of events.k8s.io/v1 */
#define SEEN_MAX       512

struct pending {
	LIST_ENTRY(pending) link;
	struct kube_events *events;
	struct kube_request *request;
};

LIST_HEAD(pending_list, pending);

struct kube_events {
	struct ev_loop *loop;
	struct kube_client *client;
	char *instance;
	struct pending_list pending;
	unsigned pending_count;
	struct map seen; /* what was said -> when, as ev_tstamp on the heap */
	bool refused;    /* told of already */
	struct metric *sent, *dropped;
};

/* 2026-01-02T03:04:05.000006Z */
static void append_time(struct buf *out, int64_t now_us)
{
	time_t seconds = (time_t)(now_us / 1000000);
	struct tm utc;

	(void)gmtime_r(&seconds, &utc);
	(void)buf_printf(out, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", utc.tm_year + 1900, utc.tm_mon + 1,
			 utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, (int)(now_us % 1000000));
}

static void append_field(struct buf *out, const char *before, const char *value)
{
	(void)buf_append_text(out, before);
	(void)buf_append_char(out, '"');
	(void)buf_append_json(out, str_of(value));
	(void)buf_append_char(out, '"');
}

/* Events about cluster-scoped objects live in the namespace "default". */
static const char *namespace_of(const struct kube_event_text *text)
{
	return text->ns[0] ? text->ns : "default";
}

void kube_events_append(struct buf *out, const struct kube_event_text *text, const char *instance,
			int64_t now_us)
{
	char name[512], note[NOTE_BYTES_MAX + 1];

	(void)snprintf(name, sizeof(name), "%.200s.%" PRIx64, text->name, (uint64_t)now_us);
	(void)snprintf(note, sizeof(note), "%s", text->note);
	append_field(out,
		     "{\"apiVersion\":\"events.k8s.io/v1\",\"kind\":\"Event\",\"metadata\":{\"name\":", name);
	append_field(out, ",\"namespace\":", namespace_of(text));
	(void)buf_append_text(out, "},\"eventTime\":\"");
	append_time(out, now_us);
	append_field(out, "\",\"reportingController\":", CONTROLLER);
	append_field(out, ",\"reportingInstance\":", instance);
	append_field(out, ",\"type\":", text->warning ? "Warning" : "Normal");
	append_field(out, ",\"reason\":", text->reason);
	append_field(out, ",\"action\":", text->action);
	append_field(out, ",\"note\":", note);
	append_field(out, ",\"regarding\":{\"apiVersion\":\"v1\",\"kind\":", text->kind);
	if (text->ns[0])
		append_field(out, ",\"namespace\":", text->ns);
	append_field(out, ",\"name\":", text->name);
	if (text->uid[0])
		append_field(out, ",\"uid\":", text->uid);
	(void)buf_append_text(out, "}}");
}

/* ---- what was said before ---- */

static void forget_all(struct kube_events *events)
{
	for (struct map_iter it = map_begin(&events->seen); map_next(&it);)
		free(it.value);
	map_done(&events->seen);
	events->seen = (struct map){0};
}

/* True when it is news, which it then no longer is. */
static bool is_news(struct kube_events *events, const struct kube_event_text *text)
{
	cleanup(buf_done) struct buf key = {0};
	ev_tstamp now = ev_now(events->loop), *seen;

	(void)buf_printf(&key, "%s/%s/%s %s %s", text->kind, text->ns, text->name, text->reason, text->note);
	seen = map_get(&events->seen, buf_str(&key));
	if (seen && now - *seen < KUBE_EVENTS_QUIET_S)
		return false;
	if (!seen) {
		if (events->seen.count >= SEEN_MAX)
			forget_all(events);
		seen = malloc(sizeof(*seen));
		if (!seen || buf_failed(&key) || map_set(&events->seen, buf_str(&key), seen, NULL) < 0) {
			free(seen);
			return false;
		}
	}
	*seen = now;
	return true;
}

/* ---- sending ---- */

static void pending_free(struct pending *pending)
{
	LIST_REMOVE(pending, link);
	pending->events->pending_count--;
	(void)kube_request_cancel(pending->request);
	free(pending);
}

static void on_done(void *ctx, const struct kube_result *result)
{
	struct pending *pending = ctx;
	struct kube_events *events = pending->events;

	pending->request = NULL;
	pending_free(pending);
	metric_add(result->code == 0 ? events->sent : events->dropped, 1);
	if (result->code < 0 && !events->refused)
		log_warn("an event could not be recorded", L_STR("why", result->why));
	events->refused = result->code < 0;
}

static const struct kube_request_ops post_ops = {.done = on_done};

static int64_t now_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int send_event(struct kube_events *events, const struct kube_event_text *text)
{
	cleanup(buf_done) struct buf path = {0}, body = {0};
	struct pending *pending;

	(void)buf_printf(&path, "/apis/events.k8s.io/v1/namespaces/%s/events", namespace_of(text));
	(void)buf_append_char(&path, '\0');
	kube_events_append(&body, text, events->instance, now_us());
	pending = calloc(1, sizeof(*pending));
	if (!pending || buf_failed(&path) || buf_failed(&body)) {
		free(pending);
		return -1;
	}
	pending->events = events;
	pending->request = kube_request(events->client, &(const struct kube_request_options){
							    .method = "POST",
							    .path = buf_head(&path),
							    .body = buf_str(&body),
							    .content_type = "application/json",
							    .ops = &post_ops,
							    .ctx = pending,
							});
	LIST_INSERT_HEAD(&events->pending, pending, link);
	events->pending_count++;
	if (pending->request)
		return 0;
	pending_free(pending);
	return -1;
}

void kube_events_record(struct kube_events *events, const struct kube_event_text *text)
{
	if (!events || !is_news(events, text))
		return;
	if (events->pending_count >= KUBE_EVENTS_PENDING_MAX || send_event(events, text) < 0)
		metric_add(events->dropped, 1);
}

/* ---- life ---- */

struct kube_events *kube_events_new(struct ev_loop *loop, struct kube_client *client, const char *instance,
				    struct metrics *metrics)
{
	static const char name[] = "fairlead_events_total",
			  help[] = "Kubernetes Events, by what became of them.";
	struct kube_events *events = calloc(1, sizeof(*events));

	if (!events)
		return NULL;
	*events = (struct kube_events){.loop = loop, .client = client, .instance = strdup(instance)};
	LIST_INIT(&events->pending);
	if (metrics) {
		events->sent = metrics_counter(metrics, name, help, "result=\"sent\"");
		events->dropped = metrics_counter(metrics, name, help, "result=\"dropped\"");
	}
	return events->instance ? events : kube_events_free(events);
}

struct kube_events *kube_events_free(struct kube_events *events)
{
	if (!events)
		return NULL;
	for (struct pending *pending = LIST_FIRST(&events->pending), *next; pending; pending = next) {
		next = LIST_NEXT(pending, link);
		pending_free(pending);
	}
	forget_all(events);
	free(events->instance);
	free(events);
	return NULL;
}
