/* LINK: ingress/balance.c ingress/block.c ingress/deadline.c ingress/downstream.c ingress/exchange.c */
/* LINK: ingress/exchange_answer.c ingress/exchange_end.c ingress/exchange_record.c */
/* LINK: ingress/exchange_request.c ingress/exchange_response.c ingress/exchange_upstream.c */
/* LINK: ingress/forward.c ingress/page.c ingress/plan.c ingress/pool.c ingress/relay.c */
/* LINK: ingress/stats.c ingress/text.c ingress/thread.c ingress/tls.c ingress/transport.c ingress/upconn.c */
/* LINK: ingress/worker_thread.c ingress/workers.c ingress/access_log.c ingress/access_record.c */
/* LINK: ingress/auth.c ingress/auth_hash.c ingress/auth_pool.c ingress/finding.c ingress/route.c */
/* LINK: ingress/snapshot.c ingress/snapshot_host.c ingress/snapshot_table.c */
/* LINK: ingress/snapshot_upstream.c conf/object.c base/addr.c base/arena.c base/buf.c base/chunked.c */
/* LINK: base/err.c base/http1.c base/http_syntax.c base/log.c base/map.c base/metrics.c base/str.c */
/* LIBS: -lev -lssl -lcrypto -lxxhash -laprutil-1 -lapr-1 -lcrypt */
/* The ingress's data path alone, serving what a small file says: for tests that need exact routes, endpoints and limits, and
 * the sanitizers. tests/net/test_ingress_http.py builds and drives it.
 *
 *     ingress_driver FILE WORKERS CONNECTIONS_MAX LOG_FILE nginx|json
 *
 * Prints "ports HTTP HTTPS", then obeys lines on standard input: "publish FILE", "metrics", "stop SECONDS"; answers end with
 * a line "done". The file:
 *
 *     set head_timeout_s 0.5                          default-certificate /path.pem     certificate b.test /path.pem
 *     upstream 1 shop-web-80 127.0.0.1:9001 ...       htpasswd joe:{SHA}...
 *     host a.test [tls]
 *     route /path prefix|exact UPSTREAM [name=value ...]          belongs to the host above it; fallback in the same way */
#include <errno.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "ingress/access_log.h"
#include "ingress/auth.h"
#include "ingress/snapshot_draft.h"
#include "ingress/worker.h"

#define WORDS_MAX  64
#define ROUTES_MAX 32

struct spec {
	struct ingress_settings settings;
	struct draft *draft;
	struct auth *auth;
	char host[256];
	bool host_tls, host_open;
	struct route routes[ROUTES_MAX], fallback;
	struct arena texts;
	size_t route_count;
	bool has_fallback;
};

static _Noreturn void die(const char *what, const char *detail)
{
	fprintf(stderr, "ingress_driver: %s: %s\n", what, detail);
	exit(2);
}

static SSL_CTX *certificate_load(const char *path)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	if (!ctx || SSL_CTX_use_certificate_chain_file(ctx, path) != 1 ||
	    SSL_CTX_use_PrivateKey_file(ctx, path, SSL_FILETYPE_PEM) != 1)
		die("certificate", path);
	return ctx;
}

static void set_number(struct ingress_settings *settings, const char *name, const char *value)
{
	struct {
		const char *name;
		uint32_t *u32;
		uint64_t *u64;
		double *real;
		bool *flag;
	} known[] = {
	    {"head_bytes_max", &settings->head_bytes_max, NULL, NULL, NULL},
	    {"field_count_max", &settings->field_count_max, NULL, NULL, NULL},
	    {"start_line_bytes_max", &settings->start_line_bytes_max, NULL, NULL, NULL},
	    {"requests_per_connection_max", &settings->requests_per_connection_max, NULL, NULL, NULL},
	    {"upstream_idle_per_endpoint_max", &settings->upstream_idle_per_endpoint_max, NULL, NULL, NULL},
	    {"body_max_bytes", NULL, &settings->body_max_bytes, NULL, NULL},
	    {"head_timeout_s", NULL, NULL, &settings->head_timeout_s, NULL},
	    {"body_idle_timeout_s", NULL, NULL, &settings->body_idle_timeout_s, NULL},
	    {"idle_timeout_s", NULL, NULL, &settings->idle_timeout_s, NULL},
	    {"upstream_idle_timeout_s", NULL, NULL, &settings->upstream_idle_timeout_s, NULL},
	    {"hsts", NULL, NULL, NULL, &settings->hsts},
	    {"trust_forwarded", NULL, NULL, NULL, &settings->trust_forwarded},
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (strcmp(known[i].name, name) != 0)
			continue;
		if (known[i].u32)
			*known[i].u32 = (uint32_t)strtoul(value, NULL, 10);
		if (known[i].u64)
			*known[i].u64 = strtoull(value, NULL, 10);
		if (known[i].real)
			*known[i].real = strtod(value, NULL);
		if (known[i].flag)
			*known[i].flag = strtoul(value, NULL, 10) != 0;
		return;
	}
	die("unknown setting", name);
}

static void route_option(struct spec *spec, struct route *route, const char *word)
{
	const char *value = strchr(word, '=');
	struct str name = {word, value ? (size_t)(value - word) : strlen(word)};

	value = value ? value + 1 : "";
	if (str_is(name, "redirect"))
		route->ssl_redirect = true;
	else if (str_is(name, "denied"))
		route->denied = true;
	else if (str_is(name, "auth"))
		route->auth = spec->auth;
	else if (str_is(name, "realm"))
		route->auth_realm = arena_dup(&spec->texts, str_of(value));
	else if (str_is(name, "tries"))
		route->tries = (unsigned)strtoul(value, NULL, 10);
	else if (str_is(name, "body_max"))
		route->body_max_bytes = strtoull(value, NULL, 10);
	else if (str_is(name, "connect"))
		route->connect_timeout_s = strtod(value, NULL);
	else if (str_is(name, "read"))
		route->read_timeout_s = strtod(value, NULL);
	else if (str_is(name, "send"))
		route->send_timeout_s = strtod(value, NULL);
	else
		die("unknown route option", word);
}

static void route_add(struct spec *spec, char **words, size_t count, bool fallback)
{
	struct route *route = fallback ? &spec->fallback : &spec->routes[spec->route_count++];

	*route = (struct route){.path = arena_dup(&spec->texts, str_of(words[1])),
				.type = strcmp(words[2], "exact") == 0 ? PATH_EXACT : PATH_PREFIX,
				.ns = "shop",
				.ingress = "web",
				.service = "web",
				.port = "80",
				.upstream_id = (uint32_t)strtoul(words[3], NULL, 10),
				.auth_realm = "Restricted"};
	route_set_defaults(route, &spec->settings);
	for (size_t i = 4; i < count; i++)
		route_option(spec, route, words[i]);
	spec->has_fallback |= fallback;
}

static void host_close(struct spec *spec)
{
	if (spec->host_open &&
	    draft_put_host(spec->draft, host_new(spec->host, spec->host_tls, spec->routes, spec->route_count,
						 spec->has_fallback ? &spec->fallback : NULL)) != 0)
		die("host", spec->host);
	spec->host_open = spec->has_fallback = false;
	spec->route_count = 0;
}

static void host_begin(struct spec *spec, char **words, size_t count)
{
	host_close(spec);
	(void)snprintf(spec->host, sizeof(spec->host), "%s", words[1]);
	spec->host_tls = count > 2;
	spec->host_open = true;
}

static void upstream_add(struct spec *spec, char **words, size_t count)
{
	struct endpoint_addr endpoints[WORDS_MAX];
	size_t endpoint_count = 0;

	for (size_t i = 3; i < count; i++)
		if (endpoint_addr_parse(str_of(words[i]), &endpoints[endpoint_count++]) != 0)
			die("endpoint", words[i]);
	if (draft_put_upstream(spec->draft, upstream_new((uint32_t)strtoul(words[1], NULL, 10), words[2],
							 endpoint_count == 0, endpoints, endpoint_count)) !=
	    0)
		die("upstream", words[2]);
}

static void certificate_add(struct spec *spec, const char *name, const char *path)
{
	SSL_CTX *ctx = certificate_load(path);

	if (!name)
		draft_set_default_certificate(spec->draft, ctx);
	else if (draft_put_certificate(spec->draft, name, ctx) != 0)
		die("certificate", name);
	SSL_CTX_free(ctx);
}

static void spec_line(struct spec *spec, char **words, size_t count)
{
	if (strcmp(words[0], "set") == 0 && count == 3) {
		set_number(&spec->settings, words[1], words[2]);
		draft_set_settings(spec->draft, &spec->settings);
	} else if (strcmp(words[0], "upstream") == 0 && count >= 3) {
		upstream_add(spec, words, count);
	} else if (strcmp(words[0], "htpasswd") == 0 && count == 2) {
		(void)auth_unref(spec->auth);
		spec->auth = auth_from_htpasswd(str_of(words[1]), NULL);
	} else if (strcmp(words[0], "host") == 0 && count >= 2) {
		host_begin(spec, words, count);
	} else if ((strcmp(words[0], "route") == 0 || strcmp(words[0], "fallback") == 0) && count >= 4) {
		route_add(spec, words, count, words[0][0] == 'f');
	} else if (strcmp(words[0], "default-certificate") == 0 && count == 2) {
		certificate_add(spec, NULL, words[1]);
	} else if (strcmp(words[0], "certificate") == 0 && count == 3) {
		certificate_add(spec, words[1], words[2]);
	} else {
		die("unknown line", words[0]);
	}
}

static size_t words_split(char *line, char **words)
{
	size_t count = 0;

	for (char *rest = line, *word; (word = strtok_r(rest, " \n", &rest)) && count < WORDS_MAX;)
		words[count++] = word;
	return count;
}

static struct snapshot *snapshot_load(const char *path)
{
	struct spec spec = {
	    .settings = {.head_timeout_s = 10,
			 .body_idle_timeout_s = 60,
			 .idle_timeout_s = 75,
			 .upstream_idle_per_endpoint_max = 320,
			 .upstream_idle_timeout_s = 60,
			 .hsts = true,
			 .hsts_max_age_s = 31536000,
			 .hsts_include_subdomains = true},
	};
	struct snapshot *snapshot;
	char line[4096], *words[WORDS_MAX];
	FILE *file = fopen(path, "r");
	size_t count;

	spec.draft = draft_new(&spec.settings, NULL);
	if (!file || !spec.draft)
		die("cannot read", path);
	while (fgets(line, sizeof(line), file)) {
		count = words_split(line, words);
		if (count > 0)
			spec_line(&spec, words, count);
	}
	(void)fclose(file);
	host_close(&spec);
	snapshot = snapshot_from_draft(spec.draft);
	(void)draft_free(spec.draft);
	(void)auth_unref(spec.auth);
	arena_done(&spec.texts);
	return snapshot;
}

static void metrics_print(struct metrics *metrics)
{
	struct buf out = {0};

	(void)metrics_render(metrics, &out);
	(void)fwrite(buf_head(&out), 1, buf_len(&out), stdout);
	buf_done(&out);
}

/* Returns the seconds of grace to stop with. */
static double obey(struct workers *workers, struct metrics *metrics)
{
	char line[4096], *words[WORDS_MAX];

	while (fgets(line, sizeof(line), stdin)) {
		size_t count = words_split(line, words);

		if (count == 2 && strcmp(words[0], "publish") == 0)
			workers_publish(workers, snapshot_load(words[1]));
		else if (count == 1 && strcmp(words[0], "metrics") == 0)
			metrics_print(metrics);
		else if (count == 2 && strcmp(words[0], "stop") == 0)
			return strtod(words[1], NULL);
		printf("done\n");
		(void)fflush(stdout);
	}
	return 0;
}

int main(int argc, char **argv)
{
	const struct endpoint_addr any_port = {.ip = {.family = AF_INET, .bytes = {127, 0, 0, 1}}};
	struct access_log_config log_config;
	struct workers_config config;
	struct metrics *metrics = metrics_new();
	struct workers *workers;
	struct err err = {.text = ""};
	double grace_s;

	if (argc != 6)
		die("usage", "ingress_driver FILE WORKERS CONNECTIONS_MAX LOG_FILE nginx|json");
	log_config = (struct access_log_config){
	    .path = argv[4], .format = strcmp(argv[5], "json") == 0 ? ACCESS_LOG_JSON : ACCESS_LOG_NGINX};
	config = (struct workers_config){.count = (unsigned)strtoul(argv[2], NULL, 10),
					 .http_addrs = &any_port,
					 .http_addr_count = 1,
					 .https_addrs = &any_port,
					 .https_addr_count = 1,
					 .connections_max = (unsigned)strtoul(argv[3], NULL, 10),
					 .access_log = access_log_open(&log_config, &err)};
	workers = config.access_log ? workers_start(&config, metrics, &err) : NULL;
	if (!workers)
		die("start", err.text);
	workers_publish(workers, snapshot_load(argv[1]));
	printf("ports %u %u\n", workers_http_port(workers, 0), workers_https_port(workers, 0));
	(void)fflush(stdout);
	grace_s = obey(workers, metrics);
	(void)workers_stop(workers, grace_s);
	(void)access_log_close(config.access_log);
	(void)metrics_free(metrics);
	return 0;
}
