/* Building one host out of all Ingresses that name it. */
#include "ingress/build.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/map.h"
#include "ingress/grow.h"
#include "ingress/route.h"
#include "ingress/unconst.h"

#define FIELD_BYTES 256
#define WHY_BYTES   512

/* What the annotations of one claim come to on this host. */
struct policy {
	const struct auth *auth;
	bool denied;
	bool redirects; /* may its paths redirect to https at all? */
};

struct builder {
	const struct build_env *env;
	const char *name;
	bool has_tls;
	struct route *routes;
	size_t route_count, route_size;
	struct map claimed; /* kind of match and path -> the struct build_ingress that has it */
	struct arena arena;
	int code;
};

/* ---- findings ---- */

static void found(const struct builder *builder, const struct build_ingress *claim, const char *field,
		  const char *why_format, ...) __attribute__((format(printf, 4, 5)));

static void found(const struct builder *builder, const struct build_ingress *claim, const char *field,
		  const char *why_format, ...)
{
	char why[WHY_BYTES];
	va_list args;

	va_start(args, why_format);
	(void)vsnprintf(why, sizeof(why), why_format, args);
	va_end(args);
	builder->env->finding(builder->env->ctx, claim, field, why);
}

/* ---- routes ---- */

static bool is_acme(struct str path)
{
	return str_has_prefix(path, STR_LIT(ACME_PREFIX));
}

static struct policy policy_of(const struct builder *builder, const struct build_ingress *claim)
{
	const struct annotations *annotations = &claim->annotations;
	struct policy policy = {.denied = annotations->denied, .redirects = claim->object->rule_count > 0};
	char field[FIELD_BYTES];
	const char *why = NULL;

	if (policy.denied || !annotations->auth_basic)
		return policy;
	policy.auth = builder->env->auth(builder->env->ctx, annotations->auth_secret_ns,
					 annotations->auth_secret_name, annotations->auth_secret_type, &why);
	if (!policy.auth) {
		policy.denied = true;
		found(builder, claim,
		      annotation_field(builder->env->annotations, "auth-secret", field, sizeof(field)),
		      "Secret %s/%s %s; all paths of this Ingress answer 503", annotations->auth_secret_ns,
		      annotations->auth_secret_name, why);
	}
	return policy;
}

static bool redirects_to_https(const struct builder *builder, const struct annotations *annotations)
{
	return annotations->force_ssl_redirect || (annotations->ssl_redirect && builder->has_tls);
}

static struct route route_of(const struct builder *builder, const struct build_ingress *claim,
			     const struct policy *policy, struct str path, enum path_type type)
{
	const struct annotations *annotations = &claim->annotations;
	bool open = is_acme(path);

	return (struct route){
	    .path = path.p,
	    .path_len = path.len,
	    .type = type,
	    .ns = claim->object->meta.ns,
	    .ingress = claim->object->meta.name,
	    .service = "",
	    .port = "",
	    .upstream_id = builder->env->default_upstream,
	    .denied = policy->denied,
	    .ssl_redirect = policy->redirects && !open && redirects_to_https(builder, annotations),
	    .auth = open ? NULL : policy->auth,
	    .auth_realm = annotations->auth_realm,
	    .body_max_bytes = annotations->body_max_bytes,
	    .connect_timeout_s = annotations->connect_timeout_s,
	    .read_timeout_s = annotations->read_timeout_s,
	    .send_timeout_s = annotations->send_timeout_s,
	    .tries = annotations->tries,
	};
}

static const char *port_text(struct builder *builder, const struct ingress_backend *backend)
{
	char digits[8];

	if (backend->port_name[0])
		return backend->port_name;
	if (backend->port_number == 0)
		return "";
	(void)snprintf(digits, sizeof(digits), "%u", backend->port_number);
	return arena_dup(&builder->arena, str_of(digits));
}

/* Without a Service the route keeps the controller's default backend. */
static void set_backend(struct builder *builder, struct route *route, const struct build_ingress *claim,
			const struct ingress_backend *backend, const char *field)
{
	const struct build_env *env = builder->env;
	const char *port, *why = NULL;

	if (backend->is_resource || !backend->service_name[0]) {
		found(builder, claim, field, "%s: the default backend answers",
		      backend->is_resource ? "resource backends are not supported" : "no service is named");
		return;
	}
	port = port_text(builder, backend);
	if (port)
		route->upstream_id =
		    env->upstream(env->ctx, claim->object->meta.ns, backend->service_name, port, &why);
	if (!port || route->upstream_id == UPSTREAM_NONE) {
		builder->code = -ENOMEM;
		return;
	}
	if (why)
		found(builder, claim, field, "%s", why);
	route->service = backend->service_name;
	route->port = port;
}

static void append(struct builder *builder, const struct route *route)
{
	if (grow_by_one(builder->routes, builder->route_count, builder->route_size))
		builder->code = -ENOMEM;
	else
		builder->routes[builder->route_count++] = *route;
}

/* Whoever comes first has a path and kind of match for himself. False: it is taken. */
static bool claim_path(struct builder *builder, const struct build_ingress *claim, struct str path,
		       enum path_type type, const char *field)
{
	char *key = arena_alloc(&builder->arena, path.len + 1);
	const struct build_ingress *holder;
	struct str text = {key, path.len + 1};

	if (!key) {
		builder->code = -ENOMEM;
		return false;
	}
	key[0] = type == PATH_EXACT ? '=' : '^';
	memcpy(key + 1, path.p, path.len);
	holder = map_get(&builder->claimed, text);
	if (holder) {
		found(builder, claim, field,
		      "%s%.*s is served for Ingress %s/%s already, which comes first; ignored",
		      strcmp(builder->name, CATCH_ALL_HOST) == 0 ? "" : builder->name, (int)path.len, path.p,
		      holder->object->meta.ns, holder->object->meta.name);
		return false;
	}
	if (map_set(&builder->claimed, text, unconst(claim), NULL))
		builder->code = -ENOMEM;
	return builder->code == 0;
}

static void add_route(struct builder *builder, const struct build_ingress *claim, const struct policy *policy,
		      struct str path, enum path_type type, const struct ingress_backend *backend,
		      const char *field)
{
	struct route route;

	path = route_rule_path(path, type);
	if (!claim_path(builder, claim, path, type, field))
		return;
	route = route_of(builder, claim, policy, path, type);
	set_backend(builder, &route, claim, backend, field);
	append(builder, &route);
}

static void add_path(struct builder *builder, const struct build_ingress *claim, const struct policy *policy,
		     size_t rule, size_t index)
{
	const struct ingress_path *path = &claim->object->rules[rule].paths[index];
	char field[FIELD_BYTES];

	(void)snprintf(field, sizeof(field), "spec.rules[%zu].http.paths[%zu]", rule, index);
	add_route(builder, claim, policy, str_of(path->path), path->type, &path->backend, field);
}

static bool speaks_of(const struct builder *builder, const struct ingress_rule *rule)
{
	return strcmp(rule->host[0] ? rule->host : CATCH_ALL_HOST, builder->name) == 0;
}

static void add_default(struct builder *builder, const struct build_ingress *claim,
			const struct policy *policy)
{
	add_route(builder, claim, policy, STR_LIT("/"), PATH_IMPLEMENTATION_SPECIFIC,
		  &claim->object->default_backend, "spec.defaultBackend");
}

static void add_rule(struct builder *builder, const struct build_ingress *claim, const struct policy *policy,
		     size_t rule)
{
	const struct ingress *object = claim->object;
	char field[FIELD_BYTES];

	if (object->rules[rule].has_http) {
		for (size_t i = 0; i < object->rules[rule].path_count; i++)
			add_path(builder, claim, policy, rule, i);
	} else if (object->has_default_backend) {
		add_default(builder, claim, policy);
	} else {
		(void)snprintf(field, sizeof(field), "spec.rules[%zu]", rule);
		found(builder, claim, field,
		      "neither http paths nor a spec.defaultBackend: the default backend answers");
	}
}

static void add_claim(struct builder *builder, const struct build_ingress *claim, const struct policy *policy)
{
	const struct ingress *object = claim->object;

	for (size_t i = 0; i < object->rule_count; i++) {
		if (speaks_of(builder, &object->rules[i]))
			add_rule(builder, claim, policy, i);
	}
	if (object->rule_count == 0)
		add_default(builder, claim, policy);
}

/* What a miss gets: decision 3. Unreachable, and then plain, when there is a "/". */
static struct route fallback_of(struct builder *builder, const struct build_ingress *first,
				const struct policy *policy)
{
	struct route fallback = route_of(builder, first, policy, STR_LIT("/"), PATH_PREFIX);

	if (first->object->has_default_backend && !map_get(&builder->claimed, STR_LIT("^/")))
		set_backend(builder, &fallback, first, &first->object->default_backend,
			    "spec.defaultBackend");
	return fallback;
}

/* ---- certificates ---- */

static bool lists_host(const struct ingress_tls *tls, const char *host)
{
	for (size_t i = 0; i < tls->hosts.count; i++) {
		if (str_equal_nocase(str_of(tls->hosts.items[i]), str_of(host)))
			return true;
	}
	return false;
}

/* NULL without *ret_why when no Secret is named. */
static const struct certificate *certificate_of(const struct builder *builder,
						const struct build_ingress *claim, size_t entry,
						const char **ret_why)
{
	const char *secret = claim->object->tls[entry].secret_name;

	return secret[0]
		   ? builder->env->certificate(builder->env->ctx, claim->object->meta.ns, secret, ret_why)
		   : NULL;
}

static void warn_of_time(const struct builder *builder, const struct build_ingress *claim, size_t entry,
			 const struct certificate *certificate)
{
	char field[FIELD_BYTES], text[64];
	const char *problem = certificate_time_problem(certificate, builder->env->now_s, text, sizeof(text));

	(void)snprintf(field, sizeof(field), "spec.tls[%zu].secretName", entry);
	if (problem)
		found(builder, claim, field, "the certificate of Secret %s/%s %s; it is served all the same",
		      claim->object->meta.ns, claim->object->tls[entry].secret_name, problem);
}

static void explain_default(const struct builder *builder, const struct build_ingress *claim, size_t entry,
			    const struct certificate *certificate, const char *why)
{
	const char *ns = claim->object->meta.ns, *secret = claim->object->tls[entry].secret_name;
	char field[FIELD_BYTES];

	(void)snprintf(field, sizeof(field), "spec.tls[%zu].secretName", entry);
	if (certificate)
		found(builder, claim, field,
		      "the certificate of Secret %s/%s does not cover %s; the default certificate is served",
		      ns, secret, builder->name);
	else if (secret[0])
		found(builder, claim, field, "Secret %s/%s %s; the default certificate is served for %s", ns,
		      secret, why, builder->name);
	else
		found(builder, claim, field, "no Secret is named; the default certificate is served for %s",
		      builder->name);
}

/* The certificate of the entry that lists the host. */
static const struct certificate *listed_certificate(const struct builder *builder,
						    const struct build_ingress *claim, size_t entry)
{
	const char *why = NULL;
	const struct certificate *certificate = certificate_of(builder, claim, entry, &why);

	if (certificate && certificate_covers(certificate, str_of(builder->name))) {
		warn_of_time(builder, claim, entry, certificate);
		return certificate;
	}
	explain_default(builder, claim, entry, certificate, why);
	return NULL;
}

/* Nobody lists the host: any certificate of the Ingress that covers it. */
static const struct certificate *covering_certificate(const struct builder *builder,
						      const struct build_ingress *claim)
{
	for (size_t i = 0; i < claim->object->tls_count; i++) {
		const char *why;
		const struct certificate *certificate = certificate_of(builder, claim, i, &why);

		if (certificate && certificate_covers(certificate, str_of(builder->name))) {
			warn_of_time(builder, claim, i, certificate);
			return certificate;
		}
	}
	found(builder, claim, "spec.tls",
	      "no entry lists %s and none of the certificates covers it; the default certificate is served",
	      builder->name);
	return NULL;
}

static const struct certificate *choose_certificate(const struct builder *builder,
						    const struct build_ingress *claim)
{
	for (size_t i = 0; i < claim->object->tls_count; i++) {
		if (lists_host(&claim->object->tls[i], builder->name))
			return listed_certificate(builder, claim, i);
	}
	return covering_certificate(builder, claim);
}

/* Decision 5. */
static const struct certificate *settle_tls(struct builder *builder,
					    const struct build_ingress *const *claims, size_t claim_count)
{
	if (strcmp(builder->name, CATCH_ALL_HOST) == 0)
		return NULL;
	for (size_t i = 0; i < claim_count; i++) {
		if (claims[i]->object->tls_count) {
			builder->has_tls = true;
			return choose_certificate(builder, claims[i]);
		}
	}
	return NULL;
}

/* All routes; returns the fallback. */
static struct route add_claims(struct builder *builder, const struct build_ingress *const *claims,
			       size_t claim_count)
{
	struct policy first = policy_of(builder, claims[0]);

	add_claim(builder, claims[0], &first);
	for (size_t i = 1; i < claim_count && builder->code == 0; i++) {
		struct policy policy = policy_of(builder, claims[i]);

		add_claim(builder, claims[i], &policy);
	}
	return fallback_of(builder, claims[0], &first);
}

int build_host(const struct build_env *env, const char *name, const struct build_ingress *const *claims,
	       size_t claim_count, struct host **ret_host, const struct certificate **ret_certificate)
{
	struct builder builder = {.env = env, .name = name};
	const struct certificate *certificate = settle_tls(&builder, claims, claim_count);
	struct route fallback = add_claims(&builder, claims, claim_count);
	struct host *host = NULL;

	if (builder.code == 0)
		host = host_new(name, builder.has_tls, builder.routes, builder.route_count, &fallback);
	map_done(&builder.claimed);
	arena_done(&builder.arena);
	free(builder.routes);
	if (!host)
		return -ENOMEM;
	*ret_host = host;
	*ret_certificate = certificate;
	return 0;
}
