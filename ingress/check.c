/* The offline check: the controller is run once over the store with nobody to publish to, and its findings are collected. */
#include "ingress/check.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "ingress/grow.h"

struct finding_at {
	const struct object *object; /* in the store, which outlives the list */
	char *field, *why;
};

struct list {
	struct finding_at *items;
	size_t count, size;
	bool out_of_memory;
};

static void list_done(struct list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		free(list->items[i].field);
		free(list->items[i].why);
	}
	free(list->items);
}

static void on_finding(void *ctx, const struct object *object, const char *field, const char *why)
{
	struct list *list = ctx;
	struct finding_at finding = {object, str_dup(str_of(field)), str_dup(str_of(why))};

	if (finding.field && finding.why && grow_by_one(list->items, list->count, list->size) == 0) {
		list->items[list->count++] = finding;
		return;
	}
	free(finding.field);
	free(finding.why);
	list->out_of_memory = true;
}

static int compare(const void *a, const void *b)
{
	const struct finding_at *finding_a = a, *finding_b = b;
	int order = strcmp(finding_a->object->ns, finding_b->object->ns);

	if (order == 0)
		order = strcmp(finding_a->object->name, finding_b->object->name);
	if (order == 0)
		order = strcmp(finding_a->field, finding_b->field);
	return order ? order : strcmp(finding_a->why, finding_b->why);
}

int ingress_check(struct store *store, const struct ingress_config *config, ingress_check_fn *fn, void *ctx)
{
	struct list list cleanup(list_done) = {0};
	struct ingress_config collecting = *config;
	struct ingress_controller *controller;

	collecting.finding = on_finding;
	collecting.finding_ctx = &list;
	controller = ingress_new(NULL, store, NULL, NULL, &collecting, NULL, NULL);
	if (!controller || !ingress_ready(controller) || list.out_of_memory) {
		ingress_free(controller);
		return -ENOMEM;
	}
	ingress_free(controller);
	if (list.count)
		qsort(list.items, list.count, sizeof(*list.items), compare);
	for (size_t i = 0; i < list.count; i++)
		fn(ctx, list.items[i].object, list.items[i].field, list.items[i].why);
	return 0;
}
