/* The API server as a source: a reflector for each kind needed, wanted objects by name, one store. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "conf/kube_item.h"
#include "conf/kube_source.h"
#include "conf/kube_wanted.h"
#include "conf/source.h"

/* First answers about wanted objects come in a crowd at the start: those of so short a time are settled at once. */
#define GATHER_S 0.02

struct source_kube;

/* One kind and the reflector that keeps up with it. */
struct kind_watch {
	struct source_kube *source;
	enum kind kind;
	struct kube_reflector *reflector; /* NULL: not watched */
};

struct source_kube {
	struct source source; /* first */
	struct ev_loop *loop;
	struct store *store;
	struct kube_client *client;
	struct kube_wanted *wanted;
	struct kube_traits traits;
	struct kind_watch watches[KIND_COUNT];
	char *ns_only, *node_name;
	bool known_news; /* the owner of the known callback is to be told */
	void (*on_known)(void *ctx);
	void *on_known_ctx;
	ev_timer settle; /* never started: fed, and done last of what one turn of the loop brings */
	ev_timer gather;
};

/* ---- settling ---- */

static void on_settle(struct ev_loop *loop, ev_timer *watcher, int events)
{
	struct source_kube *source = watcher->data;
	bool news = source->known_news;

	(void)events;
	ev_timer_stop(loop, &source->gather);
	source->known_news = false;
	store_settle(source->store);
	if (news && source->on_known)
		source->on_known(source->on_known_ctx);
}

static void settle_soon(struct source_kube *source)
{
	ev_feed_event(source->loop, &source->settle, EV_CUSTOM);
}

static void on_wanted_changed(void *ctx, bool became_known)
{
	struct source_kube *source = ctx;

	source->known_news = source->known_news || became_known;
	if (!kube_wanted_busy(source->wanted))
		settle_soon(source);
	else if (!ev_is_active(&source->gather))
		ev_timer_again(source->loop, &source->gather);
}

/* ---- a kind's objects into the store ---- */

static void sink_begin(void *ctx)
{
	struct kind_watch *watch = ctx;

	store_list_begin(watch->source->store, watch->kind);
}

static int sink_put(void *ctx, struct object *object)
{
	struct kind_watch *watch = ctx;

	return kube_put(watch->source->store, object);
}

static void sink_keep(void *ctx, const char *ns, const char *name)
{
	struct kind_watch *watch = ctx;

	store_list_keep(watch->source->store, watch->kind, str_of(ns), str_of(name));
}

static void sink_drop(void *ctx, const char *ns, const char *name)
{
	struct kind_watch *watch = ctx;

	store_delete(watch->source->store, watch->kind, str_of(ns), str_of(name));
}

static void sink_end(void *ctx)
{
	struct kind_watch *watch = ctx;

	store_list_end(watch->source->store, watch->kind);
}

static void sink_abort(void *ctx)
{
	struct kind_watch *watch = ctx;

	store_list_abort(watch->source->store, watch->kind);
}

static void sink_settle(void *ctx)
{
	struct kind_watch *watch = ctx;

	settle_soon(watch->source);
}

static const struct kube_sink store_sink = {
    .begin = sink_begin,
    .put = sink_put,
    .keep = sink_keep,
    .drop = sink_drop,
    .end = sink_end,
    .abort = sink_abort,
    .settle = sink_settle,
};

static void on_server_back(void *ctx)
{
	struct source_kube *source = ctx;

	for (size_t i = 0; i < KIND_COUNT; i++)
		if (source->watches[i].reflector)
			kube_reflector_hurry(source->watches[i].reflector);
	kube_wanted_hurry(source->wanted);
}

/* ---- metrics ---- */

static struct metric *last_event_metric(struct metrics *metrics)
{
	return metrics_gauge(metrics, "fairlead_api_last_event_timestamp_seconds",
			     "When the API server was last heard of, in Unix time.", "");
}

static struct metric *restarts_metric(struct metrics *metrics, const char *labels)
{
	return metrics_counter(metrics, "fairlead_api_watch_restarts_total",
			       "Watches that ended and were begun again.", labels);
}

static struct metric *decode_errors_metric(struct metrics *metrics, const char *labels)
{
	return metrics_counter(metrics, "fairlead_api_decode_errors_total",
			       "Versions of objects from the API server that could not be used.", labels);
}

static void kind_label(enum kind kind, char buffer[static 48])
{
	snprintf(buffer, 48, "kind=\"%s\"", kind_name(kind));
}

static struct kube_reflector_metrics kind_metrics(struct metrics *metrics, enum kind kind)
{
	char labels[48];

	if (!metrics)
		return (struct kube_reflector_metrics){0};
	kind_label(kind, labels);
	return (struct kube_reflector_metrics){
	    .connected = metrics_gauge(metrics, "fairlead_api_connected",
				       "1 while the kind's watch of the API server stands.", labels),
	    .restarts = restarts_metric(metrics, labels),
	    .last_event = last_event_metric(metrics),
	    .decode_errors = decode_errors_metric(metrics, labels),
	};
}

static void set_wanted_metrics(struct kube_wanted_options *options, struct metrics *metrics, enum kind kind)
{
	char labels[48];

	if (!metrics)
		return;
	kind_label(kind, labels);
	options->restarts[kind] = restarts_metric(metrics, labels);
	options->decode_errors[kind] = decode_errors_metric(metrics, labels);
	options->last_event = last_event_metric(metrics);
}

/* ---- the outside ---- */

static int kube_want(struct source *base, enum kind kind, const char *ns, const char *name)
{
	struct source_kube *source = (struct source_kube *)base;

	return kube_wanted_add(source->wanted, kind, ns, name);
}

static void kube_unwant(struct source *base, enum kind kind, const char *ns, const char *name)
{
	struct source_kube *source = (struct source_kube *)base;

	kube_wanted_remove(source->wanted, kind, ns, name);
}

static bool kube_known(struct source *base, enum kind kind, const char *ns, const char *name)
{
	const struct source_kube *source = (struct source_kube *)base;

	return kube_wanted_known(source->wanted, kind, ns, name);
}

static void kube_set_known_callback(struct source *base, void (*fn)(void *ctx), void *ctx)
{
	struct source_kube *source = (struct source_kube *)base;

	source->on_known = fn;
	source->on_known_ctx = ctx;
}

static struct source *kube_free(struct source *base)
{
	struct source_kube *source = (struct source_kube *)base;

	ev_clear_pending(source->loop, &source->settle);
	ev_timer_stop(source->loop, &source->gather);
	for (size_t i = 0; i < KIND_COUNT; i++)
		kube_reflector_free(source->watches[i].reflector);
	kube_wanted_free(source->wanted);
	kube_client_free(source->client);
	free(source->ns_only);
	free(source->node_name);
	free(source);
	return NULL;
}

static const struct source_ops kube_ops = {
    .free = kube_free,
    .want = kube_want,
    .unwant = kube_unwant,
    .known = kube_known,
    .set_known_callback = kube_set_known_callback,
};

/* ---- its making ---- */

/* What of a kind is asked for. A source for one namespace may be unable to list namespaces: it asks for its own. */
static struct kube_scope scope_of(const struct source_kube *source, const struct source_needs *needs,
				  enum kind kind)
{
	bool namespaced = kube_kind_is_namespaced(kind);
	struct kube_scope scope = {
	    .kind = kind,
	    .ns = namespaced ? source->ns_only : "",
	    .name = "",
	    .proxy_selector = needs->proxy_selectors,
	};

	if (kind == KIND_NODE)
		scope.name = source->node_name;
	if (kind == KIND_NAMESPACE)
		scope.name = source->ns_only;
	return scope;
}

static int start_watch(struct source_kube *source, const struct source_needs *needs, struct metrics *metrics,
		       const struct kube_timing *timing, enum kind kind)
{
	struct kind_watch *watch = &source->watches[kind];
	const struct kube_reflector_options options = {
	    .loop = source->loop,
	    .client = source->client,
	    .scope = scope_of(source, needs, kind),
	    .absent_is_empty = kind == KIND_SERVICECIDR, /* since Kubernetes 1.33 */
	    .traits = &source->traits,
	    .timing = timing,
	    .metrics = kind_metrics(metrics, kind),
	    .sink = &store_sink,
	    .ctx = watch,
	};

	watch->reflector = kube_reflector_new(&options);
	return watch->reflector ? 0 : -ENOMEM;
}

/* Kinds that no list completes: wanted by name, or (Endpoints) all there as EndpointSlices, which the control
 * plane makes of them. */
#define UNLISTED_KINDS (KIND_BIT(KIND_SECRET) | KIND_BIT(KIND_CONFIGMAP) | KIND_BIT(KIND_ENDPOINTS))

static int start_watches(struct source_kube *source, const struct source_needs *needs,
			 struct metrics *metrics, const struct kube_timing *timing)
{
	int r = 0;

	for (unsigned i = 0; i < KIND_COUNT && r == 0; i++)
		if (needs->kinds & ~UNLISTED_KINDS & (1u << i))
			r = start_watch(source, needs, metrics, timing, (enum kind)i);
	store_set_synced(source->store, UNLISTED_KINDS);
	settle_soon(source);
	return r;
}

static int start_wanted(struct source_kube *source, struct metrics *metrics, const struct kube_timing *timing)
{
	struct kube_wanted_options options = {
	    .loop = source->loop,
	    .client = source->client,
	    .store = source->store,
	    .traits = &source->traits,
	    .timing = timing,
	    .changed = on_wanted_changed,
	    .ctx = source,
	};

	set_wanted_metrics(&options, metrics, KIND_SECRET);
	set_wanted_metrics(&options, metrics, KIND_CONFIGMAP);
	source->wanted = kube_wanted_new(&options);
	return source->wanted ? 0 : -ENOMEM;
}

static struct source_kube *source_alloc(struct ev_loop *loop, struct store *store,
					const struct source_needs *needs)
{
	struct source_kube *source = calloc(1, sizeof(*source));

	if (!source)
		return NULL;
	source->source.ops = &kube_ops;
	source->loop = loop;
	source->store = store;
	for (size_t i = 0; i < KIND_COUNT; i++)
		source->watches[i] = (struct kind_watch){.source = source, .kind = (enum kind)i};
	ev_init(&source->settle, on_settle);
	ev_set_priority(&source->settle, EV_MINPRI);
	ev_init(&source->gather, on_settle);
	source->gather.repeat = GATHER_S;
	source->settle.data = source->gather.data = source;
	source->ns_only = str_dup(str_of(needs->namespace_only ? needs->namespace_only : ""));
	source->node_name = str_dup(str_of(needs->node_name ? needs->node_name : ""));
	return source;
}

struct source *source_kube_new_timed(struct ev_loop *loop, struct store *store,
				     const struct kube_config *config, const struct source_needs *needs,
				     struct metrics *metrics, const struct kube_timing *timing,
				     struct err *err)
{
	struct source_kube *source = source_alloc(loop, store, needs);

	if (!source || !source->ns_only || !source->node_name) {
		err_set(err, -ENOMEM, "out of memory");
		return source ? kube_free(&source->source) : NULL;
	}
	source->client = kube_client_new(loop, config, metrics, timing, err);
	if (!source->client)
		return kube_free(&source->source);
	kube_client_set_back_callback(source->client, on_server_back, source);
	if (start_wanted(source, metrics, timing) < 0 || start_watches(source, needs, metrics, timing) < 0) {
		err_set(err, -ENOMEM, "out of memory");
		return kube_free(&source->source);
	}
	log_info("desired state from an API server", L_STR("server", config->server),
		 L_STR("user", config->user), L_STR("config", config->file));
	return &source->source;
}

struct source *source_kube_new(struct ev_loop *loop, struct store *store, const struct kube_config *config,
			       const struct source_needs *needs, struct metrics *metrics, struct err *err)
{
	return source_kube_new_timed(loop, store, config, needs, metrics, &kube_default_timing, err);
}
