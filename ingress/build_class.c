/* Class selection. */
#include "ingress/build_class.h"

#include "ingress/annotations.h"

static bool is_ours(const struct class_rules *rules, const struct ingress_class *class)
{
	return strcmp(class->controller, rules->controller_class) == 0 ||
	       (rules->by_name && strcmp(class->meta.name, rules->ingress_class) == 0);
}

static bool named_is_ours(const struct class_rules *rules, const struct store *store, const char *name)
{
	const struct object *class = store_get(store, KIND_INGRESSCLASS, "", name);

	return class && is_ours(rules, (const struct ingress_class *)class);
}

static bool default_is_ours(const struct class_rules *rules, const struct store *store)
{
	for (struct map_iter it = store_begin(store, KIND_INGRESSCLASS); map_next(&it);) {
		const struct ingress_class *class = it.value;

		if (class->is_default && is_ours(rules, class))
			return true;
	}
	return false;
}

bool class_serves(const struct class_rules *rules, const struct store *store, const struct ingress *ingress)
{
	const char *annotation = kv_get(&ingress->meta.annotations, ANNOTATION_CLASS);

	if (rules->namespace_only && strcmp(rules->namespace_only, ingress->meta.ns) != 0)
		return false;
	if (rules->any)
		return true;
	if (ingress->has_class_name)
		return named_is_ours(rules, store, ingress->class_name);
	if (annotation)
		return strcmp(annotation, rules->ingress_class) == 0;
	return rules->without_class || default_is_ours(rules, store);
}
