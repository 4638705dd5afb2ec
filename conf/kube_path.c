/* What is asked of the API server, as paths with queries. */
#include "conf/kube_path.h"

/* `!key` asks for objects without that label: of Services and EndpointSlices kube-proxy watches these. */
#define PROXY_SELECTOR "!service.kubernetes.io/service-proxy-name,!service.kubernetes.io/headless"

struct resource {
	const char *group; /* path up to the namespace or the plural */
	const char *plural;
	bool namespaced;
};

static const struct resource resources[KIND_COUNT] = {
    [KIND_SERVICE] = {"/api/v1", "services", true},
    [KIND_ENDPOINTS] = {"/api/v1", "endpoints", true},
    [KIND_ENDPOINTSLICE] = {"/apis/discovery.k8s.io/v1", "endpointslices", true},
    [KIND_INGRESS] = {"/apis/networking.k8s.io/v1", "ingresses", true},
    [KIND_INGRESSCLASS] = {"/apis/networking.k8s.io/v1", "ingressclasses", false},
    [KIND_SECRET] = {"/api/v1", "secrets", true},
    [KIND_CONFIGMAP] = {"/api/v1", "configmaps", true},
    [KIND_NAMESPACE] = {"/api/v1", "namespaces", false},
    [KIND_NODE] = {"/api/v1", "nodes", false},
    [KIND_SERVICECIDR] = {"/apis/networking.k8s.io/v1", "servicecidrs", false},
    [KIND_LEASE] = {"/apis/coordination.k8s.io/v1", "leases", true},
};

bool kube_kind_is_namespaced(enum kind kind)
{
	return resources[kind].namespaced;
}

/* Everything but RFC 3986's unreserved characters as %XX. */
static void append_encoded(struct buf *out, struct str text)
{
	static const char unreserved[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

	for (size_t i = 0; i < text.len; i++) {
		if (text.p[i] != '\0' && strchr(unreserved, text.p[i]))
			buf_append_char(out, text.p[i]);
		else
			buf_printf(out, "%%%02X", (unsigned char)text.p[i]);
	}
}

static void append_collection(struct buf *out, const struct kube_scope *scope)
{
	const struct resource *resource = &resources[scope->kind];

	buf_append_text(out, resource->group);
	if (resource->namespaced && scope->ns[0]) {
		buf_append_text(out, "/namespaces/");
		append_encoded(out, str_of(scope->ns));
	}
	buf_printf(out, "/%s", resource->plural);
}

static void append_selectors(struct buf *out, const struct kube_scope *scope)
{
	if (scope->proxy_selector && (scope->kind == KIND_SERVICE || scope->kind == KIND_ENDPOINTSLICE)) {
		buf_append_text(out, "&labelSelector=");
		append_encoded(out, STR_LIT(PROXY_SELECTOR));
	}
	if (scope->name[0]) {
		buf_append_text(out, "&fieldSelector=metadata.name%3D");
		append_encoded(out, str_of(scope->name));
	}
}

void kube_path_list(struct buf *out, const struct kube_scope *scope, unsigned limit,
		    const char *continue_token)
{
	append_collection(out, scope);
	buf_printf(out, "?limit=%u", limit);
	append_selectors(out, scope);
	if (continue_token[0]) {
		buf_append_text(out, "&continue=");
		append_encoded(out, str_of(continue_token));
	}
}

void kube_path_watch(struct buf *out, const struct kube_scope *scope, const char *resource_version,
		     unsigned timeout_s)
{
	append_collection(out, scope);
	buf_printf(out, "?watch=true&allowWatchBookmarks=true&timeoutSeconds=%u", timeout_s);
	append_selectors(out, scope);
	if (resource_version[0]) {
		buf_append_text(out, "&resourceVersion=");
		append_encoded(out, str_of(resource_version));
	} else {
		buf_append_text(out, "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan");
	}
}

void kube_path_get(struct buf *out, const struct kube_scope *scope)
{
	append_collection(out, scope);
	buf_append_char(out, '/');
	append_encoded(out, str_of(scope->name));
}
