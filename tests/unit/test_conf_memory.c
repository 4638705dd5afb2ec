/* conf/decode and conf/manifests when memory runs out: each allocation of ours is made to fail in turn. Nothing
 * crashes, leaks or is half delivered, and the next try is whole. */
/* LINK: conf/manifests.c conf/manifest_io.c */
/* LINK: conf/decode.c conf/decode_meta.c conf/decode_service.c conf/decode_endpoints.c */
/* LINK: conf/decode_ingress.c conf/decode_misc.c conf/decode_secret.c conf/field.c conf/names.c */
/* LINK: conf/object.c conf/node.c conf/node_json.c conf/node_yaml.c conf/node_scalar.c */
/* LINK: base/addr.c base/arena.c base/buf.c base/err.c base/map.c base/str.c */
/* LIBS: -ljansson -lyaml -lxxhash -lcrypto -lm -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=reallocarray */
#include <errno.h>

#include "conf/manifests.h"
#include "tests/unit/temp_dir.h"

/* ---- the allocator under the code under test ---- */

static long calls_until_failure = -1; /* -1: none fails */

static bool fails_now(void)
{
	return calls_until_failure >= 0 && calls_until_failure-- == 0;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_reallocarray(void *old, size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);

void *__wrap_malloc(size_t size)
{
	return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails_now() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return fails_now() ? NULL : __real_realloc(old, size);
}

void *__wrap_reallocarray(void *old, size_t count, size_t size)
{
	return fails_now() ? NULL : __real_reallocarray(old, count, size);
}

/* ---- the input: every kind, aliases, a list, a secret ---- */

static const char manifest[] =
    "apiVersion: v1\nkind: Service\nmetadata: &meta { name: web, labels: { service.kubernetes.io/a: b } }\n"
    "spec: { clusterIPs: [10.0.0.1, 'fd00::1'], ports: [{ port: 80, targetPort: web }], externalIPs: "
    "[1.2.3.4],\n"
    "  loadBalancerSourceRanges: [10.0.0.0/8] }\n"
    "status: { loadBalancer: { ingress: [{ ip: 1.2.3.4 }] } }\n"
    "---\napiVersion: v1\nkind: Endpoints\nmetadata: { name: web }\n"
    "subsets: [{ addresses: [{ ip: 10.0.0.1, nodeName: n1 }, { ip: 'fd00::1' }], ports: [{ port: 80 }] }]\n"
    "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: { name: web }\naddressType: IPv4\n"
    "ports: [{ port: 80 }]\n"
    "endpoints: [{ addresses: [10.0.0.1], hints: { forZones: [{ name: a }] } }]\n"
    "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: { name: web, annotations: { a: b } }\n"
    "spec:\n  tls: [{ hosts: [a.b], secretName: s }]\n  rules:\n"
    "  - host: a.b\n    http: { paths: [{ path: /, pathType: Prefix, backend: &b { service: { name: a, port: "
    "{ number: 1 } } } }] }\n"
    "  - { host: c.d, http: { paths: [{ path: /, pathType: Exact, backend: { <<: *b } }] } }\n"
    "---\napiVersion: v1\nkind: List\nitems:\n"
    "- { apiVersion: v1, kind: Secret, metadata: { name: s }, data: { auth: YWJj }, stringData: { x: y } }\n"
    "- { apiVersion: v1, kind: ConfigMap, metadata: { name: c }, data: { k: v } }\n"
    "- { apiVersion: v1, kind: Node, metadata: { name: n }, spec: { podCIDR: 10.0.0.0/24 } }\n";

#define OBJECTS 7

static void count_object(void *ctx, struct object *object)
{
	size_t *count = ctx;

	assert_true(object->name[0] != '\0');
	object_unref(object);
	++*count;
}

static void no_complaint(void *ctx, const struct decode_complaint *complaint)
{
	(void)ctx;
	fail_msg("%s", complaint->why);
}

static void decoding_survives_each_failed_allocation(void **state)
{
	size_t count = 0;
	const struct decode_sink sink = {count_object, no_complaint, &count};
	long nth = 0;
	int rc = -ENOMEM;

	(void)state;
	for (; rc == -ENOMEM; nth++) {
		count = 0;
		calls_until_failure = nth;
		rc = decode_manifest(manifest, sizeof(manifest) - 1, "t.yaml", &sink);
		calls_until_failure = -1;
		assert_true(rc == 0 || rc == -ENOMEM);
		assert_true((count == OBJECTS) == (rc == 0));
	}
	assert_in_range(nth, 50, 10000); /* the wrapping works */
}

static void count_change(void *ctx, struct object *old, struct object *new)
{
	size_t *count = ctx;

	assert_true(!old && new);
	++*count;
}

static void a_scan_that_failed_is_made_up_for_by_the_next(void **state)
{
	struct temp_dir dir;
	const char *paths[] = {dir.path};
	int rc = -ENOMEM;

	(void)state;
	temp_dir_make(&dir);
	temp_write(&dir, "a.yaml", manifest);
	for (long nth = 0; rc == -ENOMEM; nth++) {
		size_t count = 0;
		const struct manifests_ops ops = {count_change, no_complaint, &count};
		struct manifests *manifests = manifests_new(paths, 1, &ops);
		struct manifests_scan scan = {0};
		calls_until_failure = nth;
		rc = manifests_scan(manifests, &scan, NULL);
		calls_until_failure = -1;
		assert_true(rc == 0 || rc == -ENOMEM);
		assert_int_equal(manifests_scan(manifests, &scan, NULL), 0);
		assert_int_equal(count, OBJECTS);
		manifests_free(manifests);
	}
	temp_dir_remove(&dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(decoding_survives_each_failed_allocation),
	    cmocka_unit_test(a_scan_that_failed_is_made_up_for_by_the_next),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
