/* Start-up in the order things need each other, the event loop, and the stop in the opposite order. */
#include "main/serve.h"

#include <errno.h>
#include <ev.h>
#include <signal.h>
#include <sys/resource.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "conf/kubeconfig.h"
#include "conf/source.h"
#include "ingress/access_log.h"
#include "ingress/status.h"
#include "main/health.h"
#include "main/proxy_half.h"

#define HEALTH_SERVERS_MAX 3

struct program {
	const struct flags *flags;
	struct serve_halves halves;
	struct ev_loop *loop;
	ev_signal terminate, interrupt;
	char node_name[256];

	struct metrics *metrics;
	struct store *store;
	struct kube_config *kube_config;
	struct source *source;
	struct proxy_half *proxy;
	struct access_log *access_log;
	struct workers *workers;
	struct ingress_controller *ingress;
	struct kube_client *client; /* NULL: from manifests */
	struct status_writer *status;
	struct health_state health;
	struct health_server *health_servers[HEALTH_SERVERS_MAX];
	size_t health_server_count;
	bool restart; /* the end is not an orderly stop: somebody should start us again */
};

static void on_stop_signal(struct ev_loop *loop, ev_signal *watcher, int events)
{
	(void)events;
	log_info("stopping", L_STR("signal", watcher->signum == SIGTERM ? "SIGTERM" : "SIGINT"));
	ev_break(loop, EVBREAK_ALL);
}

static int start_loop(struct program *program, struct err *err)
{
	program->loop = ev_default_loop(EVFLAG_AUTO);
	if (!program->loop)
		return err_set(err, -EIO, "no event loop: %s", strerror(errno));
	(void)signal(SIGPIPE, SIG_IGN);
	ev_signal_init(&program->terminate, on_stop_signal, SIGTERM);
	ev_signal_start(program->loop, &program->terminate);
	ev_signal_init(&program->interrupt, on_stop_signal, SIGINT);
	ev_signal_start(program->loop, &program->interrupt);
	return 0;
}

/* Connections are bounded by --max-connections; the soft limit of descriptors should not be the first bound
 * met. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int set_node_name(struct program *program, struct err *err)
{
	const char *given = program->flags->hostname_override;

	if (given) {
		(void)snprintf(program->node_name, sizeof(program->node_name), "%s", given);
		return 0;
	}
	if (gethostname(program->node_name, sizeof(program->node_name) - 1) < 0)
		return err_set(err, -errno, "the host's name cannot be read: %s; give --hostname-override",
			       strerror(errno));
	return 0;
}

static struct source_needs needs_of(const struct program *program)
{
	struct source_needs needs = {.node_name = program->node_name, .namespace_only = NULL};

	needs.kinds = KIND_BIT(KIND_SERVICE) | KIND_BIT(KIND_ENDPOINTSLICE);
	if (program->halves.proxy)
		needs.kinds |= KIND_BIT(KIND_NODE) | KIND_BIT(KIND_SERVICECIDR);
	if (program->halves.ingress)
		needs.kinds |= KIND_BIT(KIND_INGRESS) | KIND_BIT(KIND_INGRESSCLASS);
	needs.proxy_selectors = !program->halves.ingress;
	if (!program->halves.proxy)
		needs.namespace_only = program->flags->watch_namespace;
	return needs;
}

static int start_source(struct program *program, struct err *err)
{
	const struct flags *flags = program->flags;
	struct source_needs needs = needs_of(program);

	if (flags->manifests.count) {
		program->source = source_files_new(program->loop, program->store, flags->manifests.items,
						   flags->manifests.count, program->metrics, err);
		return program->source ? 0 : -EINVAL;
	}
	program->kube_config = flags->kubeconfig ? kube_config_load(flags->kubeconfig, NULL, err)
						 : kube_config_in_cluster(KUBE_SERVICE_ACCOUNT_DIR, err);
	if (!program->kube_config)
		return flags->kubeconfig
			   ? -EINVAL
			   : err_wrap(err, -EINVAL,
				      "no --manifests and no --kubeconfig given, and no service account");
	program->source = source_kube_new(program->loop, program->store, program->kube_config, &needs,
					  program->metrics, err);
	return program->source ? 0 : -EINVAL;
}

/* To tell the API server something: only a cluster has somebody to read it. */
static int start_client(struct program *program, struct err *err)
{
	if (!program->kube_config)
		return 0;
	program->client = kube_client_new(program->loop, program->kube_config, program->metrics, NULL, err);
	return program->client ? 0 : -EIO;
}

static void on_restart(void *ctx, const char *why)
{
	struct program *program = ctx;

	log_error("ending, to be started anew", L_STR("reason", why));
	program->restart = true;
	ev_break(program->loop, EVBREAK_ALL);
}

static int start_proxy(struct program *program, struct err *err)
{
	const struct proxy_half_config config = {
	    .loop = program->loop,
	    .store = program->store,
	    .flags = program->flags,
	    .node_name = program->node_name,
	    .metrics = program->metrics,
	    .client = program->client,
	    .restart = on_restart,
	    .ctx = program,
	};

	program->proxy = proxy_half_start(&config, err);
	return program->proxy ? 0 : -EIO;
}

static struct ingress_settings settings_of(const struct flags *flags)
{
	struct ingress_settings settings = ingress_default_settings;

	settings.body_max_bytes = flags->body_max_bytes;
	settings.head_timeout_s = flags->head_timeout_s;
	settings.body_idle_timeout_s = flags->body_timeout_s;
	settings.idle_timeout_s = flags->keep_alive_s;
	settings.requests_per_connection_max = flags->requests_per_connection;
	settings.upstream_idle_per_endpoint_max = flags->upstream_keepalive;
	settings.upstream_idle_timeout_s = flags->upstream_idle_s;
	settings.hsts = flags->hsts;
	settings.trust_forwarded = flags->trust_forwarded;
	return settings;
}

static int start_workers(struct program *program, struct err *err)
{
	const struct flags *flags = program->flags;
	struct endpoint_addr http = {.ip = flags->bind_address, .port = flags->http_port};
	struct endpoint_addr https = {.ip = flags->bind_address, .port = flags->https_port};
	struct access_log_config log_config = {.path = flags->access_log,
					       .format = (enum access_log_format)flags->access_log_format};
	struct workers_config config = {
	    .count = flags->workers,
	    .http_addrs = &http,
	    .http_addr_count = 1,
	    .https_addrs = &https,
	    .https_addr_count = 1,
	    .connections_max = flags->connections_max,
	};

	if (strcmp(flags->access_log, "off") != 0) {
		program->access_log = access_log_open(&log_config, err);
		if (!program->access_log)
			return -EIO;
	}
	config.access_log = program->access_log;
	program->workers = workers_start(&config, program->metrics, err);
	return program->workers ? 0 : -EIO;
}

static int start_status(struct program *program, const struct ingress_config *ingress, struct err *err)
{
	const struct flags *flags = program->flags;
	struct status_config config = {
	    .addresses = flags->publish_addresses.items,
	    .address_count = flags->publish_addresses.count,
	    .classes = {.ingress_class = ingress->ingress_class,
			.controller_class = ingress->controller_class,
			.by_name = ingress->class_by_name,
			.without_class = ingress->watch_without_class,
			.namespace_only = ingress->watch_namespace},
	};

	if (!program->client || flags->publish_addresses.count == 0)
		return 0;
	program->status =
	    status_new(program->loop, program->store, program->client, &config, program->metrics);
	return program->status ? 0 : err_set(err, -ENOMEM, "out of memory");
}

static int start_ingress(struct program *program, struct err *err)
{
	const struct flags *flags = program->flags;
	bool class_given = flags->ingress_class || flags->controller_class;
	struct ingress_config config = {
	    .any_class = flags->manifests.count > 0 && !class_given,
	    .ingress_class = flags->ingress_class ? flags->ingress_class : "fairlead",
	    .controller_class = flags->controller_class ? flags->controller_class : "fairlead.dev/ingress",
	    .class_by_name = flags->ingress_class_by_name,
	    .watch_without_class = flags->ingress_without_class,
	    .watch_namespace = flags->watch_namespace,
	    .default_certificate = flags->default_certificate,
	    .default_backend = flags->default_backend,
	    .annotations_prefix = flags->annotations_prefix,
	    .loopback_endpoints = flags->manifests.count > 0,
	    .settings = settings_of(flags),
	};
	int code = start_workers(program, err);

	if (code < 0)
		return code;
	program->ingress = ingress_new(program->loop, program->store, program->source, program->workers,
				       &config, program->metrics, err);
	return program->ingress ? start_status(program, &config, err) : -EIO;
}

static int add_health_server(struct program *program, const struct health_server_config *config,
			     struct err *err)
{
	struct health_server *server = health_listen(program->loop, config, &program->health, err);

	if (!server)
		return -EADDRINUSE;
	program->health_servers[program->health_server_count++] = server;
	return 0;
}

static int start_health(struct program *program, struct err *err)
{
	const struct flags *flags = program->flags;
	const struct health_server_config healthz = {.addr = flags->proxy_healthz,
						     .face = HEALTH_FACE_PROXY,
						     .hard_fail = flags->bind_address_hard_fail};
	const struct health_server_config metrics = {.addr = flags->proxy_metrics,
						     .face = HEALTH_FACE_METRICS,
						     .hard_fail = flags->bind_address_hard_fail};
	const struct health_server_config ingress = {
	    .addr = {.ip = flags->healthz_host, .port = flags->healthz_port},
	    .face = HEALTH_FACE_INGRESS,
	    .hard_fail = true};
	int code = 0;

	program->health = (struct health_state){
	    .proxy = proxy_half_proxy(program->proxy),
	    .ingress = program->ingress,
	    .store = program->store,
	    .flags = program->flags,
	    .metrics = program->metrics,
	    .node_name = program->node_name,
	};
	if (program->halves.proxy) {
		code = add_health_server(program, &healthz, err);
		if (code == 0)
			code = add_health_server(program, &metrics, err);
	}
	if (program->halves.ingress && code == 0)
		code = add_health_server(program, &ingress, err);
	return code;
}

static int start(struct program *program, struct err *err)
{
	int code = start_loop(program, err);

	if (code < 0)
		return code;
	raise_descriptor_limit();
	program->metrics = metrics_new();
	program->store = store_new();
	if (!program->metrics || !program->store)
		return err_set(err, -ENOMEM, "out of memory");
	code = set_node_name(program, err);
	if (code == 0)
		code = start_source(program, err);
	if (code == 0)
		code = start_client(program, err);
	if (code == 0 && program->halves.proxy)
		code = start_proxy(program, err);
	if (code == 0 && program->halves.ingress)
		code = start_ingress(program, err);
	if (code == 0)
		code = start_health(program, err);
	return code;
}

/* Readiness fails first, then requests end; rules stay in force, so that a restart cuts nothing. */
static void stop(struct program *program)
{
	program->health.stopping = true;
	program->workers = workers_stop(program->workers, program->flags->grace_s);
	for (size_t i = 0; i < program->health_server_count; i++)
		(void)health_close(program->health_servers[i]);
	program->status = status_free(program->status);
	program->ingress = ingress_free(program->ingress);
	program->proxy = proxy_half_stop(program->proxy);
	program->client = kube_client_free(program->client);
	program->source = source_free(program->source);
	program->store = store_free(program->store);
	program->kube_config = kube_config_free(program->kube_config);
	program->access_log = access_log_close(program->access_log);
	program->metrics = metrics_free(program->metrics);
	if (program->loop) {
		ev_signal_stop(program->loop, &program->terminate);
		ev_signal_stop(program->loop, &program->interrupt);
		ev_loop_destroy(program->loop);
	}
}

int serve(const struct flags *flags, struct serve_halves halves, struct err *err)
{
	struct program program = {.flags = flags, .halves = halves};
	int code = start(&program, err);

	if (code == 0) {
		log_info("started", L_STR("version", FAIRLEAD_VERSION), L_STR("node", program.node_name));
		if (!program.restart)
			(void)ev_run(program.loop, 0);
	}
	stop(&program);
	return code == 0 && program.restart ? SERVE_RESTART : code;
}
