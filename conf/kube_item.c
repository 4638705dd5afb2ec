/* From the API's JSON to an object of the model, complaints logged once. */
#include "conf/kube_item.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "conf/decode.h"
#include "conf/kube_event.h"
#include "conf/names.h"

#define LINE_MAX_BYTES 1024
#define KEY_MAX_BYTES  600 /* namespace and name are at most 63 + 253 */

/* A version of an object that was complained of. */
struct complaint {
	unsigned round;
	char resource_version[];
};

/* What the decoder says of one object. */
struct hearing {
	enum kind kind;
	struct object *object;
	bool unusable;
	unsigned count;
	char lines[KUBE_COMPLAINTS_MAX][LINE_MAX_BYTES];
};

/* ---- what was complained of ---- */

static struct str complaint_key(const char *ns, const char *name, char buffer[static KEY_MAX_BYTES])
{
	snprintf(buffer, KEY_MAX_BYTES, "%s/%s", ns, name);
	return str_of(buffer);
}

void kube_complaints_forget(struct kube_complaints *complaints, const char *ns, const char *name)
{
	char key[KEY_MAX_BYTES];

	free(map_remove(&complaints->seen, complaint_key(ns, name, key)));
}

void kube_complaints_prune(struct kube_complaints *complaints)
{
	for (struct map_iter it = map_begin(&complaints->seen); map_next(&it);) {
		struct complaint *complaint = it.value;

		if (complaint->round != complaints->round)
			free(map_remove(&complaints->seen, it.key));
	}
	complaints->round++;
}

void kube_complaints_done(struct kube_complaints *complaints)
{
	for (struct map_iter it = map_begin(&complaints->seen); map_next(&it);)
		free(it.value);
	map_done(&complaints->seen);
}

/* Is this version new to complain of? Then it is remembered. */
static bool is_news(struct kube_complaints *complaints, const struct kube_item *item)
{
	char buffer[KEY_MAX_BYTES];
	struct str key = complaint_key(item->ns, item->name, buffer);
	struct complaint *before = map_get(&complaints->seen, key);
	size_t version_len = strlen(item->resource_version);
	void *old = NULL;

	if (before && strcmp(before->resource_version, item->resource_version) == 0) {
		before->round = complaints->round;
		return version_len == 0;
	}
	struct complaint *complaint = malloc(sizeof(*complaint) + version_len + 1);

	if (!complaint)
		return true;
	complaint->round = complaints->round;
	memcpy(complaint->resource_version, item->resource_version, version_len + 1);
	if (map_set(&complaints->seen, key, complaint, &old) < 0)
		free(complaint);
	free(old);
	return true;
}

static void log_complaints(struct kube_complaints *complaints, const struct hearing *hearing,
			   const struct kube_item *item)
{
	unsigned shown = hearing->count < KUBE_COMPLAINTS_MAX ? hearing->count : KUBE_COMPLAINTS_MAX;

	if (hearing->count == 0 || !is_news(complaints, item))
		return;
	if (hearing->unusable)
		metric_add(complaints->errors, 1);
	for (unsigned i = 0; i < shown; i++)
		log_warn(hearing->unusable ? "object cannot be used, its last good version stays"
					   : "object is used but for a part of it",
			 L_STR("problem", hearing->lines[i]),
			 L_STR("resource_version", item->resource_version),
			 L_INT("problems", hearing->count));
}

/* ---- decoding ---- */

static void hear_complaint(void *ctx, const struct decode_complaint *complaint)
{
	struct hearing *hearing = ctx;

	if (complaint->severity == DECODE_ERROR)
		hearing->unusable = true;
	if (hearing->count < KUBE_COMPLAINTS_MAX)
		decode_complaint_text(complaint, hearing->lines[hearing->count], LINE_MAX_BYTES);
	hearing->count++;
}

static void hear_unusable(struct hearing *hearing, const char *why)
{
	const struct decode_complaint complaint = {
	    .severity = DECODE_ERROR,
	    .kind = kind_name(hearing->kind),
	    .ns = "",
	    .name = "",
	    .field = "",
	    .why = why,
	};

	hear_complaint(hearing, &complaint);
}

static void hear_object(void *ctx, struct object *object)
{
	struct hearing *hearing = ctx;

	if (object->kind == hearing->kind && !hearing->object) {
		hearing->object = object;
		return;
	}
	object_unref(object);
	hear_unusable(hearing, "another kind, or more than one object, came in its place");
}

static void identify(struct kube_item *item, const struct node *node)
{
	item->ns = kube_metadata(node, "namespace");
	item->name = kube_metadata(node, "name");
	item->resource_version = kube_metadata(node, "resourceVersion");
}

static void take(struct hearing *hearing, struct kube_complaints *complaints, struct kube_item *item)
{
	if (!hearing->object && hearing->count == 0)
		hear_unusable(hearing, "not an object of this kind");
	if (hearing->unusable)
		hearing->object = object_unref(hearing->object);
	log_complaints(complaints, hearing, item);
	item->object = hearing->object;
}

int kube_item_from_json(struct kube_complaints *complaints, struct arena *arena, enum kind kind,
			struct str text, struct kube_item *ret)
{
	struct hearing hearing = {.kind = kind};
	const struct decode_sink sink = {.object = hear_object, .complaint = hear_complaint, .ctx = &hearing};
	struct kube_item item = {.ns = "", .name = "", .resource_version = ""};
	int r = decode_json(text.p, text.len, kind, &sink);

	if (r == -ENOMEM) {
		object_unref(hearing.object);
		return r;
	}
	if (hearing.object && !hearing.unusable) {
		item.ns = hearing.object->ns;
		item.name = hearing.object->name;
		item.resource_version = hearing.object->resource_version;
	} else {
		struct node *node;

		r = node_parse_json(arena, text.p, text.len, &node, NULL);
		if (r == 0)
			identify(&item, node);
	}
	take(&hearing, complaints, &item);
	*ret = item;
	return 0;
}

int kube_put(struct store *store, struct object *object)
{
	char ns[NAME_LABEL_MAX + 1], name[NAME_SUBDOMAIN_MAX + 1];
	enum kind kind = object->kind;

	snprintf(ns, sizeof(ns), "%s", object->ns);
	snprintf(name, sizeof(name), "%s", object->name);
	int r = store_put(store, object);

	if (r == 0 || r == -ENOMEM)
		return r;
	log_warn("object cannot be used", L_STR("kind", kind_name(kind)), L_STR("namespace", ns),
		 L_STR("name", name), L_STR("error", strerror(-r)));
	return 0;
}

int kube_item_from_node(struct kube_complaints *complaints, enum kind kind, const struct node *node,
			struct kube_item *ret)
{
	struct hearing hearing = {.kind = kind};
	const struct decode_sink sink = {.object = hear_object, .complaint = hear_complaint, .ctx = &hearing};
	struct kube_item item = {0};

	if (decode_node(node, NULL, "default", &sink) == -ENOMEM) {
		object_unref(hearing.object);
		return -ENOMEM;
	}
	identify(&item, node);
	take(&hearing, complaints, &item);
	*ret = item;
	return 0;
}
