/* Snapshots and the draft they are made of: three copy-on-write tables (hosts by name, upstreams by id,
 * certificates by server name) and the settings. */
#include "ingress/snapshot.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <stdlib.h>

#include "ingress/snapshot_draft.h"
#include "ingress/snapshot_table.h"
#include "ingress/unconst.h"

#define NAME_MAX_BYTES 253 /* of a DNS name in text form, RFC 1035 section 2.3.4 */
#define CATCH_ALL      "_"

struct picture {
	struct table hosts, upstreams, certificates;
	SSL_CTX *default_certificate;
	struct ingress_settings settings;
};

struct draft {
	struct picture picture;
	uint32_t default_upstream;
};

struct snapshot {
	atomic_uint refs;
	const struct host *catch_all; /* in picture.hosts */
	struct picture picture;
};

/* ---- what the tables hold ---- */

static struct str host_key(const void *item)
{
	return str_of(((const struct host *)item)->name);
}

static void host_table_ref(void *item)
{
	atomic_fetch_add_explicit(&((struct host *)item)->refs, 1, memory_order_relaxed);
}

static void host_table_unref(void *item)
{
	host_unref(item);
}

static const struct table_ops host_ops = {host_key, host_table_ref, host_table_unref};

static struct str id_key(const uint32_t *id)
{
	return (struct str){(const char *)id, sizeof(*id)};
}

static struct str upstream_key(const void *item)
{
	return id_key(&((const struct upstream *)item)->id);
}

static void upstream_table_ref(void *item)
{
	(void)upstream_ref(item);
}

static void upstream_table_unref(void *item)
{
	upstream_unref(item);
}

static const struct table_ops upstream_ops = {upstream_key, upstream_table_ref, upstream_table_unref};

struct named_certificate {
	atomic_uint refs;
	SSL_CTX *ctx;
	char name[];
};

static struct str certificate_key(const void *item)
{
	return str_of(((const struct named_certificate *)item)->name);
}

static void certificate_ref(void *item)
{
	atomic_fetch_add_explicit(&((struct named_certificate *)item)->refs, 1, memory_order_relaxed);
}

static void certificate_unref(void *item)
{
	struct named_certificate *certificate = item;

	if (atomic_fetch_sub_explicit(&certificate->refs, 1, memory_order_acq_rel) != 1)
		return;
	SSL_CTX_free(certificate->ctx);
	free(certificate);
}

static const struct table_ops certificate_ops = {certificate_key, certificate_ref, certificate_unref};

/* ---- pictures ---- */

static SSL_CTX *ctx_ref(SSL_CTX *ctx)
{
	if (ctx)
		SSL_CTX_up_ref(ctx);
	return ctx;
}

static void picture_done(struct picture *picture)
{
	table_done(&picture->hosts);
	table_done(&picture->upstreams);
	table_done(&picture->certificates);
	SSL_CTX_free(picture->default_certificate);
}

/* *ret is all zeroes before; picture_done it also after a failure. */
static int picture_copy(const struct picture *from, struct picture *ret)
{
	if (table_copy(&from->hosts, &ret->hosts) || table_copy(&from->upstreams, &ret->upstreams) ||
	    table_copy(&from->certificates, &ret->certificates))
		return -ENOMEM;
	ret->default_certificate = ctx_ref(from->default_certificate);
	ret->settings = from->settings;
	return 0;
}

/* ---- the draft ---- */

static int put_empty_catch_all(struct draft *draft)
{
	struct route fallback = {.path = "/",
				 .type = PATH_PREFIX,
				 .ns = "",
				 .ingress = "",
				 .service = "",
				 .port = "",
				 .auth_realm = ""};

	fallback.upstream_id = draft->default_upstream;
	route_set_defaults(&fallback, &draft->picture.settings);
	return draft_put_host(draft, host_new(CATCH_ALL, false, NULL, 0, &fallback));
}

struct draft *draft_new(const struct ingress_settings *settings, SSL_CTX *default_certificate)
{
	struct draft *draft = calloc(1, sizeof(*draft));

	if (!draft)
		return NULL;
	draft->picture = (struct picture){
	    .hosts.ops = &host_ops,
	    .upstreams.ops = &upstream_ops,
	    .certificates.ops = &certificate_ops,
	    .default_certificate = ctx_ref(default_certificate),
	    .settings = *settings,
	};
	return put_empty_catch_all(draft) ? draft_free(draft) : draft;
}

struct draft *draft_free(struct draft *draft)
{
	if (draft)
		picture_done(&draft->picture);
	free(draft);
	return NULL;
}

void draft_set_settings(struct draft *draft, const struct ingress_settings *settings)
{
	draft->picture.settings = *settings;
}

int draft_set_default_upstream(struct draft *draft, uint32_t upstream_id)
{
	const struct host *present = draft_host(draft, CATCH_ALL);

	draft->default_upstream = upstream_id;
	return present->route_count ? 0 : put_empty_catch_all(draft);
}

void draft_set_default_certificate(struct draft *draft, SSL_CTX *default_certificate)
{
	SSL_CTX *old = draft->picture.default_certificate;

	draft->picture.default_certificate = ctx_ref(default_certificate);
	SSL_CTX_free(old);
}

int draft_put_host(struct draft *draft, struct host *host)
{
	return host ? table_put(&draft->picture.hosts, host) : -ENOMEM;
}

int draft_put_upstream(struct draft *draft, struct upstream *upstream)
{
	return upstream ? table_put(&draft->picture.upstreams, upstream) : -ENOMEM;
}

int draft_put_certificate(struct draft *draft, const char *name, SSL_CTX *ctx)
{
	size_t name_bytes = strlen(name) + 1;
	struct named_certificate *certificate = malloc(sizeof(*certificate) + name_bytes);

	if (!certificate)
		return -ENOMEM;
	atomic_init(&certificate->refs, 1);
	certificate->ctx = ctx_ref(ctx);
	memcpy(certificate->name, name, name_bytes);
	return table_put(&draft->picture.certificates, certificate);
}

int draft_remove_host(struct draft *draft, const char *name)
{
	if (strcmp(name, CATCH_ALL) == 0)
		return put_empty_catch_all(draft);
	return table_remove(&draft->picture.hosts, str_of(name));
}

int draft_remove_upstream(struct draft *draft, uint32_t id)
{
	return table_remove(&draft->picture.upstreams, id_key(&id));
}

int draft_remove_certificate(struct draft *draft, const char *name)
{
	return table_remove(&draft->picture.certificates, str_of(name));
}

const struct host *draft_host(const struct draft *draft, const char *name)
{
	return table_get(&draft->picture.hosts, str_of(name));
}

const struct upstream *draft_upstream(const struct draft *draft, uint32_t id)
{
	return table_get(&draft->picture.upstreams, id_key(&id));
}

static SSL_CTX *picture_certificate(const struct picture *picture, struct str name)
{
	const struct named_certificate *certificate = table_get(&picture->certificates, name);

	return certificate ? certificate->ctx : NULL;
}

SSL_CTX *draft_certificate(const struct draft *draft, const char *name)
{
	return picture_certificate(&draft->picture, str_of(name));
}

/* ---- the snapshot ---- */

struct snapshot *snapshot_from_draft(const struct draft *draft)
{
	struct snapshot *snapshot = calloc(1, sizeof(*snapshot));

	if (!snapshot)
		return NULL;
	atomic_init(&snapshot->refs, 1);
	if (picture_copy(&draft->picture, &snapshot->picture))
		return snapshot_unref(snapshot);
	snapshot->catch_all = table_get(&snapshot->picture.hosts, STR_LIT(CATCH_ALL));
	return snapshot;
}

struct snapshot *snapshot_ref(const struct snapshot *snapshot)
{
	struct snapshot *shared = unconst(snapshot);

	atomic_fetch_add_explicit(&shared->refs, 1, memory_order_relaxed);
	return shared;
}

struct snapshot *snapshot_unref(struct snapshot *snapshot)
{
	if (!snapshot || atomic_fetch_sub_explicit(&snapshot->refs, 1, memory_order_acq_rel) != 1)
		return NULL;
	picture_done(&snapshot->picture);
	free(snapshot);
	return NULL;
}

const struct ingress_settings *snapshot_settings(const struct snapshot *snapshot)
{
	return &snapshot->picture.settings;
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* "Shop.Example.com.:8080" -> "shop.example.com" in buffer; empty for what can be nobody's name. */
static struct str host_name(struct str authority, char buffer[static NAME_MAX_BYTES])
{
	struct str name = authority;
	const char *colon;

	if (name.len && name.p[0] == '[') /* an address; Ingress hosts are names */
		return STR_LIT("");
	colon = name.len ? memchr(name.p, ':', name.len) : NULL;
	if (colon)
		name.len = (size_t)(colon - name.p);
	if (name.len && name.p[name.len - 1] == '.')
		name.len--;
	if (name.len > NAME_MAX_BYTES)
		return STR_LIT("");
	for (size_t i = 0; i < name.len; i++)
		buffer[i] = lower(name.p[i]);
	return (struct str){buffer, name.len};
}

static bool is_label_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* "shop.example.com" -> "*.example.com", the one wildcard that can cover it; empty when there is none. */
static struct str wildcard_of(struct str name, char buffer[static NAME_MAX_BYTES + 1])
{
	size_t label = 0;

	while (label < name.len && is_label_byte(name.p[label]))
		label++;
	if (label == 0 || label == name.len || name.p[label] != '.')
		return STR_LIT("");
	buffer[0] = '*';
	memcpy(buffer + 1, name.p + label, name.len - label);
	return (struct str){buffer, 1 + name.len - label};
}

const struct host *snapshot_host(const struct snapshot *snapshot, struct str authority)
{
	char name_buffer[NAME_MAX_BYTES], wildcard_buffer[NAME_MAX_BYTES + 1];
	struct str name = host_name(authority, name_buffer);
	const struct host *host = name.len ? table_get(&snapshot->picture.hosts, name) : NULL;

	if (!host && name.len) {
		struct str wildcard = wildcard_of(name, wildcard_buffer);

		host = wildcard.len ? table_get(&snapshot->picture.hosts, wildcard) : NULL;
	}
	return host ? host : snapshot->catch_all;
}

SSL_CTX *snapshot_certificate(const struct snapshot *snapshot, struct str server_name)
{
	const struct picture *picture = &snapshot->picture;
	char wildcard_buffer[NAME_MAX_BYTES + 1];
	SSL_CTX *ctx = NULL;

	if (server_name.len && server_name.len <= NAME_MAX_BYTES)
		ctx = picture_certificate(picture, server_name);
	if (!ctx && server_name.len && server_name.len <= NAME_MAX_BYTES) {
		struct str wildcard = wildcard_of(server_name, wildcard_buffer);

		ctx = wildcard.len ? picture_certificate(picture, wildcard) : NULL;
	}
	return ctx ? ctx : picture->default_certificate;
}

const struct upstream *snapshot_upstream(const struct snapshot *snapshot, uint32_t id)
{
	return table_get(&snapshot->picture.upstreams, id_key(&id));
}

const struct upstream *snapshot_route_upstream(const struct snapshot *snapshot, const struct route *route)
{
	return route->upstream_id == UPSTREAM_NONE ? NULL : snapshot_upstream(snapshot, route->upstream_id);
}

size_t snapshot_upstream_count(const struct snapshot *snapshot)
{
	return snapshot->picture.upstreams.count;
}
