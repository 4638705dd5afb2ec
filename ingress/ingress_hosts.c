/* Hosts by name: who has a say in each, what it uses, and what was found wrong when it was last built. */
#include "ingress/ingress_hosts.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/map.h"
#include "ingress/grow.h"
#include "ingress/unconst.h"

#define HOST_FINDINGS_MAX 1000 /* further ones are not kept */

struct host_finding {
	struct object *object; /* a reference is held */
	char *field, *why;
};

struct host_findings {
	struct host_finding *items;
	size_t count, size;
};

struct host_uses {
	uint32_t *ids; /* of upstreams; one entry per use */
	size_t count, size;
};

struct host_entry {
	char *name;
	const struct build_ingress **claims; /* in order of precedence */
	size_t claim_count, claim_size;
	struct host_uses uses;
	struct host_findings findings;
	bool marked;
	struct host_entry *next_marked;
};

struct hosts {
	struct hosts_config config;
	struct map entries;
	struct host_entry *marked;
};

/* What one build collects; the entry's when all went well. */
struct building {
	struct hosts *hosts;
	struct host_uses uses;
	struct host_findings findings;
};

/* ---- uses and findings ---- */

static void uses_done(struct hosts *hosts, struct host_uses *uses)
{
	for (size_t i = 0; i < uses->count; i++)
		upstreams_drop(hosts->config.upstreams, uses->ids[i]);
	free(uses->ids);
	*uses = (struct host_uses){0};
}

static void findings_list_done(struct host_findings *findings)
{
	for (size_t i = 0; i < findings->count; i++) {
		object_unref(findings->items[i].object);
		free(findings->items[i].field);
		free(findings->items[i].why);
	}
	free(findings->items);
	*findings = (struct host_findings){0};
}

static bool same_object(const struct object *a, const struct object *b)
{
	return a->kind == b->kind && strcmp(a->ns, b->ns) == 0 && strcmp(a->name, b->name) == 0;
}

static bool findings_have(const struct host_findings *findings, const struct object *object,
			  const char *field, const char *why)
{
	for (size_t i = 0; i < findings->count; i++) {
		const struct host_finding *finding = &findings->items[i];

		if (same_object(finding->object, object) && strcmp(finding->field, field) == 0 &&
		    strcmp(finding->why, why) == 0)
			return true;
	}
	return false;
}

/* A finding that cannot be kept for want of memory is left out. */
static void findings_keep(struct host_findings *findings, struct object *object, const char *field,
			  const char *why)
{
	struct host_finding finding = {.field = str_dup(str_of(field)), .why = str_dup(str_of(why))};

	if (!finding.field || !finding.why || grow_by_one(findings->items, findings->count, findings->size)) {
		free(finding.field);
		free(finding.why);
		return;
	}
	finding.object = object_ref(object);
	findings->items[findings->count++] = finding;
}

/* ---- the environment of a build ---- */

static uint32_t on_upstream(void *ctx, const char *ns, const char *service, const char *port,
			    const char **ret_why)
{
	struct building *building = ctx;
	struct upstreams *upstreams = building->hosts->config.upstreams;
	uint32_t id;

	if (grow_by_one(building->uses.ids, building->uses.count, building->uses.size))
		return UPSTREAM_NONE;
	id = upstreams_use(upstreams, ns, service, port, ret_why);
	if (id != UPSTREAM_NONE)
		building->uses.ids[building->uses.count++] = id;
	return id;
}

static const struct certificate *on_certificate(void *ctx, const char *ns, const char *name,
						const char **ret_why)
{
	struct building *building = ctx;

	return secrets_certificate(building->hosts->config.secrets, ns, name, ret_why);
}

static const struct auth *on_auth(void *ctx, const char *ns, const char *name, enum auth_secret_type type,
				  const char **ret_why)
{
	struct building *building = ctx;

	return secrets_auth(building->hosts->config.secrets, ns, name, type, ret_why);
}

static void on_finding(void *ctx, const struct build_ingress *ingress, const char *field, const char *why)
{
	struct building *building = ctx;
	struct object *object = unconst(&ingress->object->meta);

	if (building->findings.count < HOST_FINDINGS_MAX &&
	    !findings_have(&building->findings, object, field, why))
		findings_keep(&building->findings, object, field, why);
}

/* ---- rebuilding ---- */

static void tell_new_findings(const struct hosts *hosts, const struct host_findings *old,
			      const struct host_findings *new)
{
	for (size_t i = 0; i < new->count; i++) {
		const struct host_finding *finding = &new->items[i];

		if (!findings_have(old, finding->object, finding->field, finding->why))
			hosts->config.finding(hosts->config.ctx, finding->object, finding->field,
					      finding->why);
	}
}

/* The new uses are counted before the old ones are dropped, so that an upstream in both keeps its id. */
static void commit(struct host_entry *entry, struct building *building)
{
	tell_new_findings(building->hosts, &entry->findings, &building->findings);
	findings_list_done(&entry->findings);
	uses_done(building->hosts, &entry->uses);
	entry->findings = building->findings;
	entry->uses = building->uses;
}

static int put_certificate(struct draft *draft, const char *name, const struct certificate *certificate)
{
	if (!certificate)
		return draft_remove_certificate(draft, name);
	if (draft_certificate(draft, name) == certificate->ctx)
		return 0;
	return draft_put_certificate(draft, name, certificate->ctx);
}

static int rebuild(struct hosts *hosts, struct host_entry *entry, struct draft *draft)
{
	struct building building = {.hosts = hosts};
	const struct build_env env = {
	    .upstream = on_upstream,
	    .certificate = on_certificate,
	    .auth = on_auth,
	    .finding = on_finding,
	    .ctx = &building,
	    .annotations = hosts->config.annotations,
	    .default_upstream = hosts->config.default_upstream,
	    .now_s = (int64_t)time(NULL),
	};
	const struct certificate *certificate;
	struct host *host = NULL;
	int code = build_host(&env, entry->name, entry->claims, entry->claim_count, &host, &certificate);

	if (code == 0)
		code = put_certificate(draft, entry->name, certificate);
	if (code == 0)
		code = draft_put_host(draft, host);
	else
		host_unref(host);
	if (code == 0) {
		commit(entry, &building);
	} else {
		uses_done(hosts, &building.uses);
		findings_list_done(&building.findings);
	}
	return code;
}

static struct host_entry *entry_free(struct host_entry *entry)
{
	if (!entry)
		return NULL;
	findings_list_done(&entry->findings);
	free(entry->uses.ids);
	free((void *)entry->claims);
	free(entry->name);
	free(entry);
	return NULL;
}

/* Nobody names the host any more. */
static int remove_host(struct hosts *hosts, struct host_entry *entry, struct draft *draft)
{
	if (draft_remove_certificate(draft, entry->name) || draft_remove_host(draft, entry->name))
		return -ENOMEM;
	uses_done(hosts, &entry->uses);
	map_remove(&hosts->entries, str_of(entry->name));
	entry_free(entry);
	return 0;
}

static bool waits(const struct hosts *hosts, const struct host_entry *entry)
{
	for (size_t i = 0; i < entry->claim_count; i++) {
		const struct build_ingress *ingress = entry->claims[i];

		for (size_t s = 0; s < ingress->secret_count; s++) {
			if (!secrets_known(hosts->config.secrets, ingress->secrets[s].ns,
					   ingress->secrets[s].name))
				return true;
		}
	}
	return false;
}

static void mark(struct hosts *hosts, struct host_entry *entry)
{
	if (entry->marked)
		return;
	entry->marked = true;
	entry->next_marked = hosts->marked;
	hosts->marked = entry;
}

static int settle_entry(struct hosts *hosts, struct host_entry *entry, struct draft *draft, bool *ret_changed)
{
	int code;

	if (waits(hosts, entry)) {
		mark(hosts, entry);
		return 0;
	}
	*ret_changed = true;
	code = entry->claim_count ? rebuild(hosts, entry, draft) : remove_host(hosts, entry, draft);
	if (code)
		mark(hosts, entry);
	return code;
}

int hosts_settle(struct hosts *hosts, struct draft *draft, bool *ret_changed)
{
	struct host_entry *next, *entry = TAKE(hosts->marked);
	int code = 0;

	for (; entry; entry = next) {
		int entry_code;

		next = entry->next_marked;
		entry->marked = false;
		entry_code = settle_entry(hosts, entry, draft, ret_changed);
		if (entry_code)
			code = entry_code;
	}
	return code;
}

/* ---- claims ---- */

static struct host_entry *entry_new(struct hosts *hosts, const char *name)
{
	struct host_entry *entry = calloc(1, sizeof(*entry));

	if (!entry)
		return NULL;
	entry->name = str_dup(str_of(name));
	if (!entry->name || map_set(&hosts->entries, str_of(name), entry, NULL))
		return entry_free(entry);
	return entry;
}

static int add_claim(struct host_entry *entry, const struct build_ingress *ingress)
{
	size_t at;

	if (grow_by_one(entry->claims, entry->claim_count, entry->claim_size))
		return -ENOMEM;
	for (at = entry->claim_count++; at > 0 && build_precedence(ingress, entry->claims[at - 1]) < 0; at--)
		entry->claims[at] = entry->claims[at - 1];
	entry->claims[at] = ingress;
	return 0;
}

static void remove_claim(struct host_entry *entry, const struct build_ingress *ingress)
{
	size_t kept = 0;

	for (size_t i = 0; i < entry->claim_count; i++) {
		if (entry->claims[i] != ingress)
			entry->claims[kept++] = entry->claims[i];
	}
	entry->claim_count = kept;
}

static int claim_host(struct hosts *hosts, const struct build_ingress *ingress, const char *name)
{
	struct host_entry *entry = map_get(&hosts->entries, str_of(name));

	if (!entry)
		entry = entry_new(hosts, name);
	if (!entry)
		return -ENOMEM;
	mark(hosts, entry);
	return add_claim(entry, ingress);
}

int hosts_claim(struct hosts *hosts, const struct build_ingress *ingress)
{
	for (size_t i = 0; i < ingress->host_count; i++) {
		if (claim_host(hosts, ingress, ingress->hosts[i])) {
			hosts_release(hosts, ingress);
			return -ENOMEM;
		}
	}
	return 0;
}

void hosts_release(struct hosts *hosts, const struct build_ingress *ingress)
{
	for (size_t i = 0; i < ingress->host_count; i++) {
		struct host_entry *entry = map_get(&hosts->entries, str_of(ingress->hosts[i]));

		if (entry) {
			remove_claim(entry, ingress);
			mark(hosts, entry);
		}
	}
}

void hosts_mark(struct hosts *hosts, const struct build_ingress *ingress)
{
	for (size_t i = 0; i < ingress->host_count; i++)
		mark(hosts, map_get(&hosts->entries, str_of(ingress->hosts[i])));
}

/* ---- the rest ---- */

bool hosts_waiting(const struct hosts *hosts)
{
	return hosts->marked != NULL;
}

size_t hosts_count(const struct hosts *hosts)
{
	return hosts->entries.count;
}

struct hosts *hosts_new(const struct hosts_config *config)
{
	struct hosts *hosts = calloc(1, sizeof(*hosts));

	if (hosts)
		hosts->config = *config;
	return hosts;
}

struct hosts *hosts_free(struct hosts *hosts)
{
	if (!hosts)
		return NULL;
	for (struct map_iter it = map_begin(&hosts->entries); map_next(&it);)
		entry_free(it.value);
	map_done(&hosts->entries);
	free(hosts);
	return NULL;
}
