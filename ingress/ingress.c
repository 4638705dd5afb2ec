/* The controller: hears the store, keeps hosts, upstreams and Secrets of the served Ingresses, publishes snapshots. */
#include "ingress/ingress.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/map.h"
#include "ingress/build_class.h"
#include "ingress/ingress_hosts.h"

#define NEEDED_KINDS                                                                     \
	(KIND_BIT(KIND_INGRESS) | KIND_BIT(KIND_INGRESSCLASS) | KIND_BIT(KIND_SERVICE) | \
	 KIND_BIT(KIND_ENDPOINTSLICE))
#define HEARD_KINDS (NEEDED_KINDS | KIND_BIT(KIND_ENDPOINTS) | KIND_BIT(KIND_SECRET))

struct ingress_controller {
	struct store *store;
	struct source *source;
	struct workers *workers;
	struct store_listener listener;
	struct class_rules classes;
	struct ingress_settings settings;
	struct annotations_options annotations;
	void (*finding)(void *ctx, const struct object *object, const char *field, const char *why);
	void *finding_ctx;

	struct map served; /* "ns/name" -> struct build_ingress */
	struct secrets *secrets;
	struct upstreams *upstreams;
	struct hosts *hosts;
	struct draft *draft;
	struct certificate *self_signed;
	char *default_ns, *default_name; /* of --default-ssl-certificate; NULL: none */
	uint32_t default_upstream;       /* of --default-backend-service */

	bool listening;
	bool classes_changed; /* whose Ingresses are ours must be asked again */
	bool default_changed; /* so must the default certificate */
	bool incomplete;      /* memory ran out: everything must be taken up again */
	bool draft_changed;   /* since the last snapshot */
	bool published;

	struct metric *snapshots_total, *hosts_gauge, *ingresses_gauge, *settle_seconds;
};

const struct ingress_settings ingress_default_settings = {
    .head_bytes_max = 32768,
    .field_count_max = 100,
    .start_line_bytes_max = 8192,
    .body_max_bytes = 1 << 20,
    .head_timeout_s = 10,
    .body_idle_timeout_s = 60,
    .idle_timeout_s = 75,
    .requests_per_connection_max = 1000,
    .upstream_idle_per_endpoint_max = 32,
    .upstream_idle_timeout_s = 60,
    .hsts = true,
    .hsts_max_age_s = 31536000,
    .hsts_include_subdomains = true,
};

/* ---- findings ---- */

static void on_finding(void *ctx, const struct object *object, const char *field, const char *why)
{
	const struct ingress_controller *controller = ctx;

	if (controller->finding)
		controller->finding(controller->finding_ctx, object, field, why);
	else
		log_warn("finding", L_STR("kind", kind_name(object->kind)), L_STR("namespace", object->ns),
			 L_STR("name", object->name), L_STR("field", field), L_STR("why", why));
}

/* A Service that routes use already went wrong. */
static void on_service_problem(void *ctx, const char *ns, const char *service, const char *port,
			       const char *why)
{
	(void)ctx;
	log_warn("service port", L_STR("namespace", ns), L_STR("service", service), L_STR("port", port),
		 L_STR("why", why));
}

static bool has_finding(const struct build_ingress *ingress, const struct finding *wanted)
{
	for (size_t i = 0; ingress && i < ingress->findings.count; i++) {
		const struct finding *finding = &ingress->findings.items[i];

		if (strcmp(finding->field, wanted->field) == 0 && strcmp(finding->why, wanted->why) == 0)
			return true;
	}
	return false;
}

static void tell_new_findings(struct ingress_controller *controller, const struct build_ingress *old,
			      const struct build_ingress *new)
{
	for (size_t i = 0; i < new->findings.count; i++) {
		const struct finding *finding = &new->findings.items[i];

		if (!has_finding(old, finding))
			on_finding(controller, &new->object->meta, finding->field, finding->why);
	}
}

/* ---- Ingresses ---- */

static char *full_name(const struct object *object)
{
	struct buf name = {0};

	assert(object);
	(void)buf_printf(&name, "%s/%s", object->ns, object->name);
	return buf_take_text(&name);
}

static void drop_secrets(struct ingress_controller *controller, struct build_ingress *ingress, size_t count)
{
	for (size_t i = 0; i < count; i++)
		secrets_drop(controller->secrets, ingress->secrets[i].ns, ingress->secrets[i].name, ingress);
}

static int use_secrets(struct ingress_controller *controller, struct build_ingress *ingress)
{
	for (size_t i = 0; i < ingress->secret_count; i++) {
		int code = secrets_use(controller->secrets, ingress->secrets[i].ns, ingress->secrets[i].name,
				       ingress);

		if (code) {
			drop_secrets(controller, ingress, i);
			return code;
		}
	}
	return 0;
}

/* Takes over ingress, also when it fails; NULL is a failed new. */
static int take_up(struct ingress_controller *controller, struct str key, struct build_ingress *ingress)
{
	int code = ingress ? use_secrets(controller, ingress) : -ENOMEM;

	if (code) {
		build_ingress_free(ingress);
		return code;
	}
	code = hosts_claim(controller->hosts, ingress);
	if (code == 0) {
		code = map_set(&controller->served, key, ingress, NULL);
		if (code)
			hosts_release(controller->hosts, ingress);
	}
	if (code) {
		drop_secrets(controller, ingress, ingress->secret_count);
		build_ingress_free(ingress);
	}
	return code;
}

static void give_up(struct ingress_controller *controller, struct build_ingress *ingress)
{
	hosts_release(controller->hosts, ingress);
	drop_secrets(controller, ingress, ingress->secret_count);
	build_ingress_free(ingress);
}

/* What served becomes: of key, with object NULL for none. The new one is taken up before the old one is given up, so that
 * what both name is not let go in between. */
static int replace(struct ingress_controller *controller, struct str key, struct ingress *object)
{
	struct build_ingress *old = map_get(&controller->served, key), *new = NULL;
	int code = 0;

	if (object) {
		new = build_ingress_new(object, &controller->annotations);
		if (new)
			tell_new_findings(controller, old, new);
		code = take_up(controller, key, new);
	} else if (old) {
		map_remove(&controller->served, key);
	}
	if (code == 0 && old)
		give_up(controller, old);
	return code;
}

static bool serves(const struct ingress_controller *controller, const struct ingress *ingress)
{
	return class_serves(&controller->classes, controller->store, ingress);
}

static void ingress_event(struct ingress_controller *controller, struct ingress *old, struct ingress *new)
{
	char *key cleanup(free_p) = full_name(new ? &new->meta : &old->meta);
	struct ingress *object = new &&serves(controller, new) ? new : NULL;

	if (!key || replace(controller, str_of(key), object))
		controller->incomplete = true;
}

/* ---- the store ---- */

static void secret_event(struct ingress_controller *controller, const struct object *object)
{
	size_t count;
	void *const *users = secrets_changed(controller->secrets, object, &count);

	for (size_t i = 0; i < count; i++) {
		if (users[i] == controller)
			controller->default_changed = true;
		else
			hosts_mark(controller->hosts, users[i]);
	}
}

static void on_changed(void *ctx, enum kind kind, struct object *old, struct object *new)
{
	struct ingress_controller *controller = ctx;

	if (kind == KIND_SECRET)
		secret_event(controller, new ? new : old);
	else if (controller->incomplete)
		return; /* the next settle takes up all there is */
	else if (kind == KIND_INGRESS)
		ingress_event(controller, (struct ingress *)old, (struct ingress *)new);
	else if (kind == KIND_INGRESSCLASS)
		controller->classes_changed = true;
	else if (upstreams_changed(controller->upstreams, kind, old, new))
		controller->incomplete = true;
}

/* An Ingress becomes ours, or is no longer, with its class. */
static int reclassify(struct ingress_controller *controller)
{
	int code = 0;

	for (struct map_iter it = store_begin(controller->store, KIND_INGRESS); map_next(&it) && code == 0;) {
		struct ingress *ingress = it.value;
		char *key cleanup(free_p) = full_name(&ingress->meta);
		bool served = key && map_get(&controller->served, str_of(key));

		if (!key)
			return -ENOMEM;
		if (serves(controller, ingress) != served)
			code = replace(controller, str_of(key), served ? NULL : ingress);
	}
	return code;
}

static int take_up_all(struct ingress_controller *controller)
{
	controller->incomplete = upstreams_reread(controller->upstreams) != 0;
	for (struct map_iter it = store_begin(controller->store, KIND_INGRESS); map_next(&it);)
		ingress_event(controller, NULL, it.value);
	return controller->incomplete ? -ENOMEM : 0;
}

/* ---- settling and publishing ---- */

static bool default_known(const struct ingress_controller *controller)
{
	return !controller->default_ns ||
	       secrets_known(controller->secrets, controller->default_ns, controller->default_name);
}

static const struct certificate *default_certificate(struct ingress_controller *controller)
{
	const struct certificate *certificate;
	const char *why;

	if (!controller->default_ns)
		return controller->self_signed;
	certificate =
	    secrets_certificate(controller->secrets, controller->default_ns, controller->default_name, &why);
	if (certificate)
		return certificate;
	log_error("the default certificate cannot be served; a self-signed one is",
		  L_STR("namespace", controller->default_ns), L_STR("secret", controller->default_name),
		  L_STR("why", why));
	return controller->self_signed;
}

static void settle_default_certificate(struct ingress_controller *controller)
{
	if (!controller->default_changed || !default_known(controller))
		return;
	draft_set_default_certificate(controller->draft, default_certificate(controller)->ctx);
	controller->default_changed = false;
	controller->draft_changed = true;
}

/* Brings the draft up to date with the store. 0 or -ENOMEM. */
static int update_draft(struct ingress_controller *controller)
{
	int code = controller->incomplete ? take_up_all(controller) : 0;

	if (code == 0 && controller->classes_changed)
		code = reclassify(controller);
	if (code == 0) {
		controller->classes_changed = false;
		code = hosts_settle(controller->hosts, controller->draft, &controller->draft_changed);
	}
	if (code == 0)
		code = upstreams_settle(controller->upstreams, controller->draft, &controller->draft_changed);
	settle_default_certificate(controller);
	return code;
}

static void publish(struct ingress_controller *controller)
{
	struct snapshot *snapshot = snapshot_from_draft(controller->draft);

	if (!snapshot) {
		log_error("out of memory, routes stay as they were");
		return;
	}
	if (controller->workers)
		workers_publish(controller->workers, snapshot);
	else
		snapshot_unref(snapshot);
	controller->draft_changed = false;
	controller->published = true;
	metric_add(controller->snapshots_total, 1);
	metric_set(controller->hosts_gauge, (double)hosts_count(controller->hosts));
	metric_set(controller->ingresses_gauge, (double)controller->served.count);
}

/* The first snapshot has everything in it; later ones do not wait. */
static bool may_publish(const struct ingress_controller *controller)
{
	if (!controller->published)
		return !hosts_waiting(controller->hosts) && default_known(controller);
	return controller->draft_changed;
}

static void tell_first_published(const struct ingress_controller *controller, double seconds)
{
	const struct upstream *fallback = draft_upstream(controller->draft, controller->default_upstream);

	if (fallback && fallback->missing)
		log_warn("the default backend does not exist", L_STR("upstream", fallback->name));
	log_info("routes in force", L_INT("ingresses", controller->served.count),
		 L_INT("hosts", hosts_count(controller->hosts)), L_FLOAT("seconds", seconds));
}

static double seconds_now(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void on_settled(void *ctx)
{
	struct ingress_controller *controller = ctx;
	double began_s = seconds_now();
	bool was_ready = controller->published;

	if (!store_synced(controller->store, NEEDED_KINDS))
		return;
	if (update_draft(controller)) {
		log_error("out of memory, what changed is not in force yet");
		return;
	}
	if (!may_publish(controller))
		return;
	publish(controller);
	metric_observe(controller->settle_seconds, seconds_now() - began_s);
	if (!was_ready && controller->published && controller->workers)
		tell_first_published(controller, seconds_now() - began_s);
}

bool ingress_ready(const struct ingress_controller *controller)
{
	return controller->published;
}

/* ---- life ---- */

static int split_name(const char *option, const char *text, char **ret_ns, char **ret_name, struct err *err)
{
	struct str ns, name = str_cut(str_of(text), '/', &ns);

	if (ns.len == 0 || name.len == 0)
		return err_set(err, -EINVAL, "%s: expected namespace/name, got \"%s\"", option, text);
	*ret_ns = str_dup(ns);
	*ret_name = str_dup(name);
	return *ret_ns && *ret_name ? 0 : err_set(err, -ENOMEM, "out of memory");
}

static int use_default_certificate(struct ingress_controller *controller, const struct ingress_config *config,
				   struct err *err)
{
	int code = 0;

	controller->default_changed = true;
	controller->self_signed = certificate_self_signed(err);
	if (!controller->self_signed)
		return -EIO;
	if (config->default_certificate)
		code = split_name("--default-ssl-certificate", config->default_certificate,
				  &controller->default_ns, &controller->default_name, err);
	if (code || !controller->default_ns)
		return code;
	code = secrets_use(controller->secrets, controller->default_ns, controller->default_name, controller);
	return code ? err_set(err, code, "out of memory") : 0;
}

/* Its first port. */
static int use_default_backend(struct ingress_controller *controller, const char *text, struct err *err)
{
	char *ns cleanup(free_p) = NULL, *name cleanup(free_p) = NULL;
	const char *why = NULL;
	int code;

	if (!text)
		return 0;
	code = split_name("--default-backend-service", text, &ns, &name, err);
	if (code)
		return code;
	controller->default_upstream = upstreams_use(controller->upstreams, ns, name, "", &why);
	return controller->default_upstream == UPSTREAM_NONE ? err_set(err, -ENOMEM, "out of memory") : 0;
}

static void on_known(void *ctx)
{
	on_settled(ctx);
}

static int create_parts(struct ingress_controller *controller, struct ev_loop *loop,
			const struct ingress_config *config, struct err *err)
{
	const struct secrets_config secrets_config = {.store = controller->store,
						      .source = controller->source,
						      .finding = on_finding,
						      .ctx = controller};
	const struct upstreams_config upstreams_config = {.loop = loop,
							  .store = controller->store,
							  .loopback_allowed = config->loopback_endpoints,
							  .resolved = on_settled,
							  .problem = on_service_problem,
							  .ctx = controller};
	struct hosts_config hosts_config = {
	    .annotations = &controller->annotations, .finding = on_finding, .ctx = controller};
	int code;

	controller->secrets = secrets_new(&secrets_config);
	controller->upstreams = upstreams_new(&upstreams_config);
	if (!controller->secrets || !controller->upstreams)
		return err_set(err, -ENOMEM, "out of memory");
	code = use_default_certificate(controller, config, err);
	if (code == 0)
		code = use_default_backend(controller, config->default_backend, err);
	if (code)
		return code;
	hosts_config.default_upstream = controller->default_upstream;
	hosts_config.secrets = controller->secrets;
	hosts_config.upstreams = controller->upstreams;
	controller->hosts = hosts_new(&hosts_config);
	controller->draft = draft_new(&controller->settings, NULL);
	if (!controller->hosts || !controller->draft ||
	    draft_set_default_upstream(controller->draft, controller->default_upstream))
		return err_set(err, -ENOMEM, "out of memory");
	return 0;
}

static void register_metrics(struct ingress_controller *controller, struct metrics *metrics)
{
	static const double bounds[] = {0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3};

	controller->snapshots_total = metrics_counter(metrics, "fairlead_ingress_snapshots_total",
						      "Snapshots of the routes published.", "");
	controller->hosts_gauge = metrics_gauge(metrics, "fairlead_ingress_hosts", "Hosts with routes.", "");
	controller->ingresses_gauge =
	    metrics_gauge(metrics, "fairlead_ingress_ingresses", "Ingresses of our class.", "");
	controller->settle_seconds = metrics_histogram(
	    metrics, "fairlead_ingress_settle_seconds",
	    "From the end of a batch of changes to the published snapshot.", "", bounds, ARRAY_LEN(bounds));
}

static int listen_to_store(struct ingress_controller *controller)
{
	int code;

	controller->listener = (struct store_listener){
	    .kinds = HEARD_KINDS, .changed = on_changed, .settled = on_settled, .ctx = controller};
	code = store_listen(controller->store, &controller->listener);
	controller->listening = code == 0;
	if (controller->source)
		source_set_known_callback(controller->source, on_known, controller);
	return code;
}

struct ingress_controller *ingress_new(struct ev_loop *loop, struct store *store, struct source *source,
				       struct workers *workers, const struct ingress_config *config,
				       struct metrics *metrics, struct err *err)
{
	struct ingress_controller *controller = calloc(1, sizeof(*controller));

	if (!controller) {
		err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	controller->store = store;
	controller->source = source;
	controller->workers = workers;
	controller->settings = config->settings;
	controller->finding = config->finding;
	controller->finding_ctx = config->finding_ctx;
	controller->classes = (struct class_rules){.any = config->any_class,
						   .ingress_class = config->ingress_class,
						   .controller_class = config->controller_class,
						   .by_name = config->class_by_name,
						   .without_class = config->watch_without_class,
						   .namespace_only = config->watch_namespace};
	controller->annotations = (struct annotations_options){.prefix = config->annotations_prefix,
							       .settings = &controller->settings};
	if (metrics)
		register_metrics(controller, metrics);
	if (create_parts(controller, loop, config, err))
		return ingress_free(controller);
	if (listen_to_store(controller)) {
		err_set(err, -ENOMEM, "out of memory");
		return ingress_free(controller);
	}
	controller->incomplete = true; /* nothing was taken up yet */
	on_settled(controller);
	return controller;
}

struct ingress_controller *ingress_free(struct ingress_controller *controller)
{
	if (!controller)
		return NULL;
	if (controller->listening)
		store_unlisten(controller->store, &controller->listener);
	if (controller->listening && controller->source)
		source_set_known_callback(controller->source, NULL, NULL);
	hosts_free(controller->hosts);
	for (struct map_iter it = map_begin(&controller->served); map_next(&it);) {
		struct build_ingress *ingress = it.value;

		drop_secrets(controller, ingress, ingress->secret_count);
		build_ingress_free(ingress);
	}
	map_done(&controller->served);
	draft_free(controller->draft);
	upstreams_free(controller->upstreams);
	secrets_free(controller->secrets);
	certificate_unref(controller->self_signed);
	free(controller->default_ns);
	free(controller->default_name);
	free(controller);
	return NULL;
}
