/* Wanted Secrets by name, and the certificates and users made of them. */
#include "ingress/ingress_secrets.h"

#include <errno.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/map.h"
#include "ingress/grow.h"

#define AUTH_TYPES 2 /* enum auth_secret_type */

/* Made on demand: a value, or why there is none. */
struct made {
	bool done;
	char *why;
};

struct secret_entry {
	char *key; /* "ns/name" */
	char *ns, *name;
	void **users;
	size_t user_count, user_size;
	bool wanted; /* the source was asked */
	struct certificate *certificate;
	struct auth *auth[AUTH_TYPES];
	struct made certificate_made, auth_made[AUTH_TYPES];
};

struct secrets {
	struct secrets_config config;
	struct map entries;
	struct buf key; /* scratch */
};

/* ---- entries ---- */

static struct str key_of(struct secrets *secrets, const char *ns, const char *name)
{
	buf_clear(&secrets->key);
	(void)buf_printf(&secrets->key, "%s/%s", ns, name);
	if (buf_failed(&secrets->key))
		return (struct str){0};
	return buf_str(&secrets->key);
}

static void made_clear(struct made *made)
{
	free(made->why);
	*made = (struct made){0};
}

static void forget(struct secret_entry *entry)
{
	entry->certificate = certificate_unref(entry->certificate);
	made_clear(&entry->certificate_made);
	for (size_t i = 0; i < AUTH_TYPES; i++) {
		entry->auth[i] = auth_unref(entry->auth[i]);
		made_clear(&entry->auth_made[i]);
	}
}

static struct secret_entry *entry_free(struct secret_entry *entry)
{
	if (!entry)
		return NULL;
	forget(entry);
	free(entry->users);
	free(entry->key);
	free(entry->ns);
	free(entry->name);
	free(entry);
	return NULL;
}

static struct secret_entry *entry_find(struct secrets *secrets, const char *ns, const char *name)
{
	struct str key = key_of(secrets, ns, name);

	return key.p ? map_get(&secrets->entries, key) : NULL;
}

static struct secret_entry *entry_new(struct secrets *secrets, const char *ns, const char *name)
{
	struct secret_entry *entry = calloc(1, sizeof(*entry));
	struct str key = key_of(secrets, ns, name);

	if (!entry || !key.p)
		return entry_free(entry);
	entry->key = str_dup(key);
	entry->ns = str_dup(str_of(ns));
	entry->name = str_dup(str_of(name));
	if (!entry->key || !entry->ns || !entry->name || map_set(&secrets->entries, key, entry, NULL))
		return entry_free(entry);
	return entry;
}

static int add_user(struct secret_entry *entry, void *user)
{
	if (grow_by_one(entry->users, entry->user_count, entry->user_size))
		return -ENOMEM;
	entry->users[entry->user_count++] = user;
	return 0;
}

static int want(struct secrets *secrets, struct secret_entry *entry)
{
	struct source *source = secrets->config.source;
	int code = 0;

	if (source && source->ops->want && !entry->wanted)
		code = source->ops->want(source, KIND_SECRET, entry->ns, entry->name);
	entry->wanted = code == 0;
	return code;
}

static void remove_entry(struct secrets *secrets, struct secret_entry *entry)
{
	struct source *source = secrets->config.source;

	if (source && source->ops->unwant && entry->wanted)
		source->ops->unwant(source, KIND_SECRET, entry->ns, entry->name);
	map_remove(&secrets->entries, str_of(entry->key));
	entry_free(entry);
}

int secrets_use(struct secrets *secrets, const char *ns, const char *name, void *user)
{
	struct secret_entry *entry = entry_find(secrets, ns, name);
	int code;

	if (!entry)
		entry = entry_new(secrets, ns, name);
	if (!entry)
		return -ENOMEM;
	code = want(secrets, entry);
	if (code == 0)
		code = add_user(entry, user);
	if (code && entry->user_count == 0)
		remove_entry(secrets, entry);
	return code;
}

void secrets_drop(struct secrets *secrets, const char *ns, const char *name, void *user)
{
	struct secret_entry *entry = entry_find(secrets, ns, name);

	for (size_t i = 0; entry && i < entry->user_count; i++) {
		if (entry->users[i] == user) {
			entry->users[i] = entry->users[--entry->user_count];
			break;
		}
	}
	if (entry && entry->user_count == 0)
		remove_entry(secrets, entry);
}

void *const *secrets_changed(struct secrets *secrets, const struct object *object, size_t *ret_count)
{
	struct secret_entry *entry = entry_find(secrets, object->ns, object->name);

	*ret_count = entry ? entry->user_count : 0;
	if (!entry)
		return NULL;
	forget(entry);
	return entry->users;
}

bool secrets_known(struct secrets *secrets, const char *ns, const char *name)
{
	struct source *source = secrets->config.source;

	if (store_get(secrets->config.store, KIND_SECRET, ns, name) || !source || !source->ops->known)
		return true;
	return source->ops->known(source, KIND_SECRET, ns, name);
}

/* ---- what is made of them ---- */

static const struct secret *stored(const struct secrets *secrets, const struct secret_entry *entry)
{
	return (const struct secret *)store_get(secrets->config.store, KIND_SECRET, entry->ns, entry->name);
}

/* Remembers why there is no value; NULL: there is one. */
static void conclude(struct made *made, const char *why)
{
	made->done = true;
	made->why = why ? str_dup(str_of(why)) : NULL;
}

static const char *why_of(const struct made *made)
{
	return made->why ? made->why : "out of memory";
}

static void make_certificate(struct secrets *secrets, struct secret_entry *entry)
{
	const struct secret *secret = stored(secrets, entry);
	struct err err = {""};

	if (secret)
		entry->certificate = certificate_from_secret(secret, &err);
	conclude(&entry->certificate_made, !secret               ? "does not exist"
					   : !entry->certificate ? err.text
								 : NULL);
}

struct certificate *secrets_certificate(struct secrets *secrets, const char *ns, const char *name,
					const char **ret_why)
{
	struct secret_entry *entry = entry_find(secrets, ns, name);

	if (!entry) {
		*ret_why = "out of memory";
		return NULL;
	}
	if (!entry->certificate_made.done)
		make_certificate(secrets, entry);
	if (!entry->certificate)
		*ret_why = why_of(&entry->certificate_made);
	return entry->certificate;
}

static void make_auth(struct secrets *secrets, struct secret_entry *entry, enum auth_secret_type type)
{
	const struct secrets_config *config = &secrets->config;
	const struct secret *secret = stored(secrets, entry);
	struct findings findings = {0};
	struct err err = {""};

	if (secret)
		entry->auth[type] = auth_from_secret(secret, type, &findings, &err);
	conclude(&entry->auth_made[type], !secret ? "does not exist" : !entry->auth[type] ? err.text : NULL);
	for (size_t i = 0; i < findings.count; i++)
		config->finding(config->ctx, &secret->meta, findings.items[i].field, findings.items[i].why);
	findings_done(&findings);
}

const struct auth *secrets_auth(struct secrets *secrets, const char *ns, const char *name,
				enum auth_secret_type type, const char **ret_why)
{
	struct secret_entry *entry = entry_find(secrets, ns, name);

	if (!entry) {
		*ret_why = "out of memory";
		return NULL;
	}
	if (!entry->auth_made[type].done)
		make_auth(secrets, entry, type);
	if (!entry->auth[type])
		*ret_why = why_of(&entry->auth_made[type]);
	return entry->auth[type];
}

/* ---- life ---- */

struct secrets *secrets_new(const struct secrets_config *config)
{
	struct secrets *secrets = calloc(1, sizeof(*secrets));

	if (secrets)
		secrets->config = *config;
	return secrets;
}

struct secrets *secrets_free(struct secrets *secrets)
{
	if (!secrets)
		return NULL;
	for (struct map_iter it = map_begin(&secrets->entries); map_next(&it);)
		remove_entry(secrets, it.value);
	map_done(&secrets->entries);
	buf_done(&secrets->key);
	free(secrets);
	return NULL;
}
