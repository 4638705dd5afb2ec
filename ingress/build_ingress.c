/* Compiling one Ingress: annotations, and the hosts and Secrets it names. */
#include "ingress/build.h"
#include "ingress/unconst.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/map.h"

struct build_ingress *build_ingress_free(struct build_ingress *ingress)
{
	if (!ingress)
		return NULL;
	object_unref(unconst(&ingress->object->meta));
	findings_done(&ingress->findings);
	arena_done(&ingress->arena);
	free((void *)ingress->hosts);
	free(ingress->secrets);
	free(ingress);
	return NULL;
}

/* An Ingress may have thousands of rules. */
static int add_host(struct build_ingress *ingress, struct map *seen, const char *host)
{
	const char *name = host[0] ? host : CATCH_ALL_HOST;

	if (map_get(seen, str_of(name)))
		return 0;
	ingress->hosts[ingress->host_count++] = name;
	return map_set(seen, str_of(name), ingress, NULL);
}

static int list_hosts(struct build_ingress *ingress)
{
	const struct ingress *object = ingress->object;
	struct map seen cleanup(map_done) = {0};
	int code = 0;

	ingress->hosts = calloc(object->rule_count + 1, sizeof(const char *));
	if (!ingress->hosts)
		return -ENOMEM;
	for (size_t i = 0; i < object->rule_count && code == 0; i++)
		code = add_host(ingress, &seen, object->rules[i].host);
	if (object->rule_count == 0 && object->has_default_backend)
		code = add_host(ingress, &seen, "");
	return code;
}

static bool same_secret(const struct build_secret *a, const struct build_secret *b)
{
	return a->use == b->use && strcmp(a->ns, b->ns) == 0 && strcmp(a->name, b->name) == 0;
}

static void add_secret(struct build_secret *secrets, size_t *count, struct build_secret secret)
{
	for (size_t i = 0; i < *count; i++) {
		if (same_secret(&secrets[i], &secret))
			return;
	}
	secrets[(*count)++] = secret;
}

static int list_secrets(struct build_ingress *ingress)
{
	const struct ingress *object = ingress->object;
	const struct annotations *annotations = &ingress->annotations;
	struct build_secret *secrets;
	size_t count = 0;

	if (object->tls_count == 0 && !annotations->auth_basic)
		return 0;
	secrets = calloc(object->tls_count + 1, sizeof(*secrets));
	if (!secrets)
		return -ENOMEM;
	for (size_t i = 0; i < object->tls_count; i++) {
		if (object->tls[i].secret_name[0])
			add_secret(secrets, &count,
				   (struct build_secret){object->meta.ns, object->tls[i].secret_name,
							 BUILD_SECRET_TLS});
	}
	if (annotations->auth_basic && !annotations->denied)
		add_secret(secrets, &count,
			   (struct build_secret){annotations->auth_secret_ns, annotations->auth_secret_name,
						 BUILD_SECRET_AUTH});
	ingress->secrets = secrets;
	ingress->secret_count = count;
	return 0;
}

struct build_ingress *build_ingress_new(struct ingress *object, const struct annotations_options *options)
{
	struct build_ingress *ingress = calloc(1, sizeof(*ingress));

	if (!ingress)
		return NULL;
	object_ref(&object->meta);
	ingress->object = object;
	if (annotations_compile(&object->meta, options, &ingress->arena, &ingress->annotations,
				&ingress->findings))
		return build_ingress_free(ingress);
	if (!ingress->annotations.canary && (list_hosts(ingress) || list_secrets(ingress)))
		return build_ingress_free(ingress);
	return ingress;
}

/* "ns/name" against "ns/name", byte by byte. */
static int compare_full_names(const struct object *a, const struct object *b)
{
	size_t at = 0;
	char in_a, in_b;

	while (a->ns[at] && a->ns[at] == b->ns[at])
		at++;
	if (a->ns[at] == b->ns[at])
		return strcmp(a->name, b->name);
	in_a = a->ns[at] ? a->ns[at] : '/';
	in_b = b->ns[at] ? b->ns[at] : '/';
	return (unsigned char)in_a < (unsigned char)in_b ? -1 : 1;
}

int build_precedence(const struct build_ingress *a, const struct build_ingress *b)
{
	const struct object *object_a = &a->object->meta, *object_b = &b->object->meta;

	if (object_a->created_s != object_b->created_s)
		return object_a->created_s < object_b->created_s ? -1 : 1;
	return compare_full_names(object_b, object_a);
}
