/* Compares each served Ingress's status with the addresses published, and patches what differs. */
#include "ingress/status.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "conf/kube_path.h"

#define RESCAN_S 1.0 /* while something waits for its pause to end or to be tried again */

/* One Ingress being written, or written a moment ago. */
struct status_write {
	struct status_writer *writer;
	struct kube_request *request; /* NULL: answered */
	ev_tstamp sent_at;
	char *key; /* "namespace/name" */
};

struct status_writer {
	struct ev_loop *loop;
	struct store *store;
	struct kube_client *client;
	struct class_rules classes;
	struct lb_ingress *wanted;
	size_t wanted_count;
	struct store_listener listener;
	struct map writes; /* key -> struct status_write * */
	struct ev_timer rescan;
	struct metric *written, *failed;
	struct arena arena;
	bool dirty;
};

static bool lb_equal(const struct lb_ingress *a, const struct lb_ingress *b)
{
	return ip_equal(&a->ip, &b->ip) && strcmp(a->hostname, b->hostname) == 0;
}

static bool shows_what_is_wanted(const struct status_writer *writer, const struct ingress *ingress)
{
	if (ingress->status_lb_count != writer->wanted_count)
		return false;
	for (size_t i = 0; i < writer->wanted_count; i++)
		if (!lb_equal(&ingress->status_lb[i], &writer->wanted[i]))
			return false;
	return true;
}

/* {"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.1"},{"hostname":"lb.example.com"}]}}} */
static void append_patch(struct buf *out, const struct status_writer *writer)
{
	char text[ADDR_TEXT_MAX];

	(void)buf_append_text(out, "{\"status\":{\"loadBalancer\":{\"ingress\":[");
	for (size_t i = 0; i < writer->wanted_count; i++) {
		const struct lb_ingress *wanted = &writer->wanted[i];
		bool is_ip = wanted->ip.family != 0;

		(void)buf_append_text(out, i ? "," : "");
		(void)buf_append_text(out, is_ip ? "{\"ip\":\"" : "{\"hostname\":\"");
		(void)buf_append_json(out, str_of(is_ip ? ip_format(&wanted->ip, text) : wanted->hostname));
		(void)buf_append_text(out, "\"}");
	}
	(void)buf_append_text(out, "]}}}");
}

static void write_free(struct status_write *write)
{
	(void)kube_request_cancel(write->request);
	free(write->key);
	free(write);
}

static void on_written(void *ctx, const struct kube_result *result)
{
	struct status_write *write = ctx;

	write->request = NULL;
	if (result->code == 0) {
		metric_add(write->writer->written, 1);
		return;
	}
	metric_add(write->writer->failed, 1);
	if (result->status != 404) /* gone meanwhile is no failure */
		log_warn("status not written", L_STR("ingress", write->key), L_STR("why", result->why));
}

static const struct kube_request_ops write_ops = {.done = on_written};

static int send_patch(struct status_write *write, const struct ingress *ingress)
{
	const struct kube_scope scope = {
	    .kind = KIND_INGRESS, .ns = ingress->meta.ns, .name = ingress->meta.name};
	cleanup(buf_done) struct buf path = {0}, body = {0};

	kube_path_get(&path, &scope);
	(void)buf_append(&path, "/status", sizeof("/status"));
	append_patch(&body, write->writer);
	if (buf_failed(&path) || buf_failed(&body))
		return -ENOMEM;
	const struct kube_request_options options = {
	    .method = "PATCH",
	    .path = buf_head(&path),
	    .body = buf_str(&body),
	    .content_type = "application/merge-patch+json",
	    .ops = &write_ops,
	    .ctx = write,
	};
	write->sent_at = ev_now(write->writer->loop);
	write->request = kube_request(write->writer->client, &options);
	return write->request ? 0 : -ENOMEM;
}

static struct status_write *find_write(struct status_writer *writer, const char *key)
{
	struct status_write *write = map_get(&writer->writes, str_of(key));

	if (write)
		return write;
	write = calloc(1, sizeof(*write));
	if (!write)
		return NULL;
	write->writer = writer;
	write->sent_at = -STATUS_PAUSE_S;
	write->key = strdup(key);
	if (!write->key || map_set(&writer->writes, str_of(key), write, NULL) < 0) {
		write_free(write);
		return NULL;
	}
	return write;
}

/* True when the Ingress must be looked at again later. */
static bool bring_up_to_date(struct status_writer *writer, const struct ingress *ingress)
{
	char key[512];
	struct status_write *write;

	if (shows_what_is_wanted(writer, ingress) || !class_serves(&writer->classes, writer->store, ingress))
		return false;
	(void)snprintf(key, sizeof(key), "%s/%s", ingress->meta.ns, ingress->meta.name);
	write = find_write(writer, key);
	if (write && !write->request && ev_now(writer->loop) - write->sent_at >= STATUS_PAUSE_S)
		(void)send_patch(write, ingress);
	return true;
}

static void forget_old_writes(struct status_writer *writer)
{
	for (struct map_iter it = map_begin(&writer->writes); map_next(&it);) {
		struct status_write *write = it.value;

		if (write->request || ev_now(writer->loop) - write->sent_at < STATUS_PAUSE_S)
			continue;
		(void)map_remove(&writer->writes, it.key);
		write_free(write);
	}
}

static void scan(struct status_writer *writer)
{
	bool again = false;

	forget_old_writes(writer);
	for (struct map_iter it = store_begin(writer->store, KIND_INGRESS); map_next(&it);)
		again |= bring_up_to_date(writer, it.value);
	ev_timer_stop(writer->loop, &writer->rescan);
	if (!again)
		return;
	ev_timer_set(&writer->rescan, RESCAN_S, 0);
	ev_timer_start(writer->loop, &writer->rescan);
}

static void on_rescan(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	scan(timer->data);
}

static void on_changed(void *ctx, enum kind kind, struct object *old, struct object *new)
{
	struct status_writer *writer = ctx;

	(void)kind;
	(void)old;
	(void)new;
	writer->dirty = true;
}

static void on_settled(void *ctx)
{
	struct status_writer *writer = ctx;

	if (!writer->dirty || !store_synced(writer->store, writer->listener.kinds))
		return;
	writer->dirty = false;
	scan(writer);
}

static int take_addresses(struct status_writer *writer, const struct status_config *config)
{
	writer->wanted = arena_array(&writer->arena, config->address_count + 1, sizeof(*writer->wanted));
	if (!writer->wanted)
		return -ENOMEM;
	for (size_t i = 0; i < config->address_count; i++) {
		struct lb_ingress *wanted = &writer->wanted[writer->wanted_count++];

		wanted->hostname =
		    ip_parse(str_of(config->addresses[i]), &wanted->ip) < 0 ? config->addresses[i] : "";
	}
	return 0;
}

struct status_writer *status_new(struct ev_loop *loop, struct store *store, struct kube_client *client,
				 const struct status_config *config, struct metrics *metrics)
{
	struct status_writer *writer = calloc(1, sizeof(*writer));

	if (!writer)
		return NULL;
	writer->loop = loop;
	writer->store = store;
	writer->client = client;
	writer->classes = config->classes;
	writer->dirty = true;
	writer->listener = (struct store_listener){
	    .kinds = KIND_BIT(KIND_INGRESS) | KIND_BIT(KIND_INGRESSCLASS),
	    .changed = on_changed,
	    .settled = on_settled,
	    .ctx = writer,
	};
	ev_timer_init(&writer->rescan, on_rescan, 0, 0);
	writer->rescan.data = writer;
	if (take_addresses(writer, config) < 0 || store_listen(store, &writer->listener) < 0) {
		arena_done(&writer->arena);
		free(writer);
		return NULL;
	}
	if (metrics) {
		writer->written = metrics_counter(metrics, "fairlead_ingress_status_writes_total",
						  "Ingress status writes by outcome", "result=\"ok\"");
		writer->failed = metrics_counter(metrics, "fairlead_ingress_status_writes_total",
						 "Ingress status writes by outcome", "result=\"failed\"");
	}
	return writer;
}

struct status_writer *status_free(struct status_writer *writer)
{
	if (!writer)
		return NULL;
	store_unlisten(writer->store, &writer->listener);
	ev_timer_stop(writer->loop, &writer->rescan);
	for (struct map_iter it = map_begin(&writer->writes); map_next(&it);)
		write_free(it.value);
	map_done(&writer->writes);
	arena_done(&writer->arena);
	free(writer);
	return NULL;
}
