/* Manifests as the ingress tests write them: YAML into a store, and times objects were created. */
#ifndef TESTS_INGRESS_HARNESS_H
#define TESTS_INGRESS_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "conf/decode.h"
#include "conf/store.h"

#define INGRESS_KINDS                                                                    \
	(KIND_BIT(KIND_INGRESS) | KIND_BIT(KIND_INGRESSCLASS) | KIND_BIT(KIND_SERVICE) | \
	 KIND_BIT(KIND_ENDPOINTSLICE))

static void yaml_object(void *ctx, struct object *object)
{
	assert_int_equal(store_put(ctx, object), 0);
}

static void yaml_complaint(void *ctx, const struct decode_complaint *complaint)
{
	char text[512];

	(void)ctx;
	if (complaint->severity == DECODE_ERROR)
		fail_msg("%s", decode_complaint_text(complaint, text, sizeof(text)));
}

/* Puts what the text says into the store; settles nothing. */
static inline void put_yaml(struct store *store, const char *text)
{
	const struct decode_sink sink = {.object = yaml_object, .complaint = yaml_complaint, .ctx = store};

	assert_int_equal(decode_manifest(text, strlen(text), "test.yaml", &sink), 0);
}

static inline struct store *store_of_yaml(const char *text)
{
	struct store *store = store_new();

	assert_non_null(store);
	put_yaml(store, text);
	store_set_synced(store, INGRESS_KINDS);
	return store;
}

#define INGRESS(ns_, name_, rest_)                                                                           \
	"---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: { namespace: " ns_ ", name: " name_ \
	" }\n" rest_

/* Created at second `at_` of a day. */
#define INGRESS_AT(ns_, name_, at_, rest_)                                                                   \
	"---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: { namespace: " ns_ ", name: " name_ \
	", creationTimestamp: \"2024-01-01T00:00:" at_ "Z\" }\n" rest_

#define BACKEND(service_)            "backend: { service: { name: " service_ ", port: { number: 80 } } }"
#define PATH(path_, type_, service_) "{ path: " path_ ", pathType: " type_ ", " BACKEND(service_) " }"

#endif
