/* conf/decode: which documents are objects, names, lists, the small kinds, secrets, and hostile input. */
/* LINK: conf/decode.c conf/decode_meta.c conf/decode_service.c conf/decode_endpoints.c */
/* LINK: conf/decode_ingress.c conf/decode_misc.c conf/decode_secret.c conf/field.c conf/names.c */
/* LINK: conf/object.c conf/node.c conf/node_json.c conf/node_yaml.c conf/node_scalar.c */
/* LINK: base/addr.c base/arena.c base/buf.c base/err.c base/map.c base/str.c */
/* LIBS: -ljansson -lyaml -lxxhash -lcrypto -lm */
#include <dirent.h>
#include <errno.h>

#include "base/cleanup.h"
#include "tests/unit/decode_harness.h"

#define CONFIG_MAP "apiVersion: v1\nkind: ConfigMap\n"

/* ---- documents and kinds ---- */

static void kinds_nobody_reads_are_passed_over_in_silence(void **state)
{
	(void)state;
	assert_decoded("apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: web }\n", 0, "");
	assert_decoded(
	    "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: { name: web }\nspec: 5\n", 0, "");
	assert_decoded("apiVersion: v1\nkind: PodList\nitems: [{ metadata: { name: web } }]\n", 0, "");
}

static void a_version_from_the_future_is_complained_of(void **state)
{
	struct decoded decoded =
	    decoded_yaml("apiVersion: networking.k8s.io/v2\nkind: Ingress\nmetadata: { name: web }\n");

	(void)state;
	assert_string_equal(decoded_complaints(&decoded),
			    "t.yaml:1: Ingress: apiVersion: a version that is not understood\n");
	assert_int_equal(decoded.rc, -EBADMSG);
	decoded_done(&decoded);
}

static void what_is_no_object_is_complained_of(void **state)
{
	(void)state;
	assert_refused("just text\n", "t.yaml:1: expected an object with apiVersion and kind\n");
	assert_refused("- a\n- b\n", "t.yaml:1: expected an object with apiVersion and kind\n");
	assert_refused("a: 1\n", "t.yaml:1: kind: is missing: expected a string\n");
	assert_refused("kind: Service\n", "t.yaml:1: apiVersion: is missing: expected a string\n");
	assert_refused("kind: [Service]\napiVersion: v1\n",
		       "t.yaml:1: kind: is missing: expected a string\n");
}

static void lists_are_taken_apart(void **state)
{
	struct decoded decoded =
	    decoded_yaml("apiVersion: v1\nkind: List\nitems:\n"
			 "- { apiVersion: v1, kind: ConfigMap, metadata: { name: a } }\n"
			 "- apiVersion: v1\n  kind: SecretList\n  items: [{ metadata: { name: b } }]\n"
			 "- { metadata: { name: c } }\n"
			 "---\n"
			 "apiVersion: v1\nkind: ConfigMapList\nitems: null\n");

	(void)state;
	assert_string_equal(decoded_complaints(&decoded), "t.yaml:8: kind: is missing: expected a string\n");
	assert_int_equal(decoded.count, 2);
	assert_int_equal(decoded.objects[1]->kind, KIND_SECRET);
	assert_string_equal(decoded.objects[1]->origin, "t.yaml:7");
	decoded_done(&decoded);
}

static void one_bad_object_does_not_take_the_others_along(void **state)
{
	struct decoded decoded =
	    decoded_yaml(CONFIG_MAP "metadata: { name: a }\n"
				    "---\n" CONFIG_MAP "metadata: { name: b }\ndata: [x]\n"
				    "---\n" CONFIG_MAP "metadata: { name: c, name: d }\n"
				    "---\n" CONFIG_MAP "metadata: { name: e }\n");

	(void)state;
	assert_string_equal(decoded_complaints(&decoded),
			    "t.yaml:8: ConfigMap default/b: data: expected a map, got a list\n"
			    "t.yaml:12: the key \"name\" stands twice, first in line 12\n");
	assert_int_equal(decoded.count, 2);
	assert_string_equal(decoded.objects[1]->name, "e");
	assert_int_equal(decoded.rc, -EBADMSG);
	decoded_done(&decoded);
}

static void a_bad_object_that_can_be_named_is_no_unreadable_document(void **state)
{
	struct decoded decoded = decoded_yaml(CONFIG_MAP "metadata: { name: b }\ndata: [x]\n");

	(void)state;
	assert_int_equal(decoded.rc, 0);
	decoded_done(&decoded);
	decoded = decoded_yaml(CONFIG_MAP "metadata: { name: B }\n");
	assert_int_equal(decoded.rc, -EBADMSG);
	decoded_done(&decoded);
}

static void json_manifests_are_read_with_lines(void **state)
{
	(void)state;
	assert_decoded(
	    "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"ConfigMap\",\n\t\"metadata\": {\"name\": \"a\"},\n"
	    "\t\"data\": 5}\n",
	    0, "t.yaml:5: ConfigMap default/a: data: expected a map, got 5\n");
	/* A pair of surrogates is JSON, but nothing libyaml takes. */
	assert_decoded("{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {\"name\": \"a\"},\n"
		       " \"data\": {\"smile\": \"\\ud83d\\ude00\"}}\n",
		       1, "");
}

/* ---- metadata ---- */

static void names_follow_the_api_s_rules(void **state)
{
	(void)state;
	assert_refused(
	    CONFIG_MAP,
	    "t.yaml:1: ConfigMap: metadata.name: is missing: expected a name of lower-case letters, "
	    "digits, '-' and '.'\n");
	assert_refused(CONFIG_MAP "metadata: { name: A_b }\n",
		       "t.yaml:3: ConfigMap: metadata.name: expected a name of lower-case letters, digits, "
		       "'-' and '.', got "
		       "\"A_b\"\n");
	assert_refused(CONFIG_MAP "metadata: { name: 5 }\n",
		       "t.yaml:3: ConfigMap: metadata.name: expected a name of lower-case letters, digits, "
		       "'-' and '.', got 5\n");
	assert_refused("apiVersion: v1\nkind: Service\nmetadata: { name: a.b }\nspec: { clusterIP: None }\n",
		       "t.yaml:3: Service: metadata.name: expected a name of at most 63 lower-case letters, "
		       "digits and '-', "
		       "got \"a.b\"\n");
	assert_refused(CONFIG_MAP "metadata: { name: a, namespace: ../x }\n",
		       "t.yaml:3: ConfigMap a: metadata.namespace: expected a name of at most 63 lower-case "
		       "letters, digits and "
		       "'-', got \"../x\"\n");
	assert_refused(CONFIG_MAP "metadata: [a]\n",
		       "t.yaml:3: ConfigMap: metadata: expected a map, got a list\n"
		       "t.yaml:1: ConfigMap: metadata.name: is missing: expected a name of lower-case "
		       "letters, digits, '-' and "
		       "'.'\n");
}

static void times_are_read(void **state)
{
	struct lease *lease =
	    decoded_one("apiVersion: coordination.k8s.io/v1\nkind: Lease\n"
			"metadata: { name: l, creationTimestamp: '2024-01-31T14:00:00+02:00',\n"
			"  deletionTimestamp: '2024-01-31T12:00:00Z' }\n"
			"spec: { holderIdentity: me, leaseDurationSeconds: 30, leaseTransitions: 2,\n"
			"  renewTime: '2024-01-31T12:00:00.250000Z' }\n");
	struct object *object = decoded_one(CONFIG_MAP "metadata: { name: a, creationTimestamp: null }\n");

	(void)state;
	assert_int_equal(lease->meta.created_s, 1706702400);
	assert_true(lease->meta.deleting);
	assert_string_equal(lease->holder_identity, "me");
	assert_int_equal(lease->duration_s, 30);
	assert_int_equal(lease->transitions, 2);
	assert_true(lease->renew_time_us == 1706702400250000);
	assert_int_equal(object->created_s, 0);
	object_unref(&lease->meta);
	object_unref(object);
	assert_refused(CONFIG_MAP "metadata: { name: a, creationTimestamp: yesterday }\n",
		       "t.yaml:3: ConfigMap default/a: metadata.creationTimestamp: expected a time such as "
		       "2024-01-31T12:00:00Z, got \"yesterday\"\n");
}

static void annotations_are_strings(void **state)
{
	(void)state;
	assert_refused(
	    "apiVersion: networking.k8s.io/v1\nkind: IngressClass\n"
	    "metadata: { name: c, annotations: { a.b/c: true } }\n",
	    "t.yaml:3: IngressClass c: metadata.annotations[a.b/c]: expected a string, got true\n");
}

static void annotations_have_a_limit(void **state)
{
	struct buf text = {0};

	(void)state;
	buf_append_text(&text, "apiVersion: networking.k8s.io/v1\nkind: IngressClass\n"
			       "metadata: { name: c, annotations: { a: '");
	for (int i = 0; i < 257 * 1024; i++)
		buf_append_char(&text, 'x');
	buf_append(&text, "' } }\n", 7);
	assert_refused(text.data,
		       "t.yaml:3: IngressClass c: metadata.annotations: more than 262144 bytes altogether\n");
	buf_done(&text);
}

static void equal_documents_have_equal_hashes(void **state)
{
	struct object *a = decoded_one(CONFIG_MAP "metadata: { name: a }\ndata: { k: v }\n");
	struct object *same = decoded_one("# moved\n" CONFIG_MAP "data: { k: v }\nmetadata: { name: a }\n");
	struct object *other = decoded_one(CONFIG_MAP "metadata: { name: a }\ndata: { k: w }\n");

	(void)state;
	assert_true(a->content_hash == same->content_hash);
	assert_true(a->content_hash != other->content_hash);
	object_unref(a);
	object_unref(same);
	object_unref(other);
}

/* ---- the small kinds ---- */

static void a_config_map_is_read(void **state)
{
	struct config_map *map =
	    decoded_one(CONFIG_MAP "metadata: { name: a }\ndata: { ssl-redirect: 'false', empty: '' }\n");

	(void)state;
	assert_int_equal(map->data.count, 2);
	assert_string_equal(kv_get(&map->data, "ssl-redirect"), "false");
	assert_string_equal(kv_get(&map->data, "empty"), "");
	object_unref(&map->meta);
}

static void a_node_is_read_and_its_mistakes_are_survived(void **state)
{
	struct decoded decoded =
	    decoded_yaml("apiVersion: v1\nkind: Node\n"
			 "metadata: { name: n1, labels: { topology.kubernetes.io/zone: z1 } }\n"
			 "spec:\n"
			 "  podCIDRs: [10.1.0.0/24, 'fd00:1::/64']\n"
			 "  taints: [{ key: a }, { key: ToBeDeletedByClusterAutoscaler }]\n"
			 "status:\n"
			 "  addresses:\n"
			 "  - { type: InternalIP, address: 192.168.1.1 }\n"
			 "  - { type: InternalIP, address: x }\n"
			 "  - { type: ExternalIP, address: 1.2.3.4 }\n"
			 "  - { type: Hostname, address: n1 }\n");
	struct node_object *node;

	(void)state;
	assert_string_equal(decoded_complaints(&decoded),
			    "warning: t.yaml:10: Node n1: status.addresses[1].address: "
			    "expected an IP address, got \"x\"\n");
	assert_int_equal(decoded.count, 1);
	node = (struct node_object *)decoded.objects[0];
	assert_int_equal(node->internal_ip_count, 1);
	assert_ip(&node->internal_ips[0], "192.168.1.1");
	assert_int_equal(node->external_ip_count, 1);
	assert_int_equal(node->pod_cidr_count, 2);
	assert_true(node->autoscaler_taint);
	assert_string_equal(kv_get(&node->meta.labels, "topology.kubernetes.io/zone"), "z1");
	decoded_done(&decoded);
}

static void service_cidrs_and_namespaces_are_read(void **state)
{
	struct service_cidr *cidr =
	    decoded_one("apiVersion: networking.k8s.io/v1\nkind: ServiceCIDR\n"
			"metadata: { name: kubernetes }\nspec: { cidrs: [10.96.0.0/12] }\n");
	struct object *namespace =
	    decoded_one("apiVersion: v1\nkind: Namespace\nmetadata: { name: shop, labels: { team: a } }\n");

	(void)state;
	assert_int_equal(cidr->cidr_count, 1);
	assert_int_equal(cidr->cidrs[0].prefix_bits, 12);
	assert_string_equal(namespace->ns, "");
	assert_string_equal(kv_get(&namespace->labels, "team"), "a");
	object_unref(&cidr->meta);
	object_unref(namespace);
}

/* ---- secrets ---- */

#define SECRET "apiVersion: v1\nkind: Secret\nmetadata: { name: s }\n"

static void assert_secret(const struct secret *secret, const char *key, const char *expected)
{
	const struct bytes *bytes = secret_get(secret, key);

	assert_non_null(bytes);
	assert_int_equal(bytes->len, strlen(expected));
	assert_memory_equal(bytes->data, expected, bytes->len);
}

static void a_secret_is_decoded(void **state)
{
	struct secret *secret = decoded_one(SECRET "data:\n"
						   "  a: YQ==\n"
						   "  ab: YWI=\n"
						   "  abc: YWJj\n"
						   "  none: ''\n"
						   "  lines: |\n"
						   "    YWJj\n"
						   "    ZGVm\n"
						   "  both: eHg=\n"
						   "stringData: { plain: text, both: mine }\n");

	(void)state;
	assert_string_equal(secret->type, "Opaque");
	assert_secret(secret, "a", "a");
	assert_secret(secret, "ab", "ab");
	assert_secret(secret, "abc", "abc");
	assert_secret(secret, "none", "");
	assert_secret(secret, "lines", "abcdef");
	assert_secret(secret, "plain", "text");
	assert_secret(secret, "both", "mine");
	assert_int_equal(secret->data_count, 7);
	object_unref(&secret->meta);
}

static void of_a_typed_secret_only_what_is_read_is_kept(void **state)
{
	struct secret *secret =
	    decoded_one(SECRET "type: kubernetes.io/tls\n"
			       "data: { tls.crt: YWI=, tls.key: Y2Q=, ca.crt: ZWY=, other: eHg= }\n");

	(void)state;
	assert_int_equal(secret->data_count, 3);
	assert_secret(secret, "tls.key", "cd");
	assert_null(secret_get(secret, "other"));
	object_unref(&secret->meta);
}

static void bad_base64_is_refused_and_never_quoted(void **state)
{
	static const char *const bad[] = {
	    "a", "ab", "abc", "ab=c", "a===", "=abc", "ab==ab==", "a b=", "ab-_", "abc=d"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char text[256];
		snprintf(text, sizeof(text), SECRET "data: { auth: '%s' }\n", bad[i]);
		assert_refused(text, "t.yaml:4: Secret default/s: data.auth: expected base64\n");
	}
	assert_refused(SECRET "stringData: { auth: 12345 }\n",
		       "t.yaml:4: Secret default/s: stringData.auth: expected a string\n");
}

static void a_secret_has_a_limit(void **state)
{
	struct buf text = {0};

	(void)state;
	buf_append_text(&text, SECRET "data: { auth: '");
	for (int i = 0; i < 2048 * 1024; i++)
		buf_append_char(&text, 'A');
	buf_append(&text, "' }\n", 5);
	assert_refused(text.data, "t.yaml:4: Secret default/s: data: more than 2097152 bytes altogether\n");
	buf_done(&text);
}

/* ---- hostile input ---- */

static void text_that_is_no_json_is_one_complaint(void **state)
{
	struct decoded decoded = decoded_json(KIND_SECRET, "{\"data\": {\"auth\": \"hunter2\" \"x\"");

	(void)state;
	assert_int_equal(decoded.rc, -EBADMSG);
	assert_int_equal(decoded.count, 0);
	assert_non_null(strstr(decoded_complaints(&decoded), "Secret: line 1: "));
	assert_null(strstr(decoded_complaints(&decoded), "hunter2"));
	decoded_done(&decoded);
}

static void complaints_stay_on_one_line_and_short(void **state)
{
	struct buf text = {0};
	struct decoded decoded;

	(void)state;
	buf_append_text(
	    &text, "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: { name: \"a\\nb\\e[31m");
	for (int i = 0; i < 10000; i++)
		buf_append_char(&text, 'x');
	buf_append(&text, "\" }\n", 5);
	decoded = decoded_yaml(text.data);
	assert_true(strlen(decoded_complaints(&decoded)) < 300);
	assert_non_null(strstr(decoded_complaints(&decoded), "got \"a?b?[31mxxx"));
	assert_ptr_equal(strchr(decoded_complaints(&decoded), '\n') + 1,
			 strchr(decoded_complaints(&decoded), '\0'));
	decoded_done(&decoded);
	buf_done(&text);
}

/* ---- the first real input ---- */

static char *file_read(const char *path)
{
	FILE *file = fopen(path, "r");
	struct buf text = {0};
	size_t len;

	assert_non_null(file);
	while ((len = fread(buf_reserve(&text, 4096), 1, 4096, file)) > 0)
		buf_commit(&text, len);
	fclose(file);
	return buf_take_text(&text);
}

static void every_object_of_the_first_input_decodes(void **state)
{
	static const struct {
		const char *name;
		size_t count;
		const char *complaints;
	} files[] = {
	    {"10-hello-nodeport.yaml", 6, ""},
	    {"20-alpaca-bandicoot.yaml", 6, ""},
	    {"21-ingress-legacy.yaml", 4, ""},
	    {"22-ingress-v1.yaml", 6, ""},
	    /* An API server would have given out a node port. */
	    {"30-fleetman.yaml", 6,
	     "warning: t.yaml:28: Service default/fleetman-queue: spec.ports[1].nodePort: none is given: "
	     "nothing will be "
	     "served on a node port\n"},
	    {"40-external.yaml", 5, ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		char path[128];
		char *text cleanup_free = NULL;
		snprintf(path, sizeof(path), "tests/manifests/first/%s", files[i].name);
		text = file_read(path);
		assert_decoded(text, files[i].count, files[i].complaints);
	}
}

static void no_file_of_the_first_input_is_forgotten_here(void **state)
{
	DIR *directory = opendir("tests/manifests/first");
	const struct dirent *entry;
	int yaml_files = 0;

	(void)state;
	assert_non_null(directory);
	while ((entry = readdir(directory)))
		yaml_files += strstr(entry->d_name, ".yaml") != NULL;
	closedir(directory);
	assert_int_equal(yaml_files, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(kinds_nobody_reads_are_passed_over_in_silence),
	    cmocka_unit_test(a_version_from_the_future_is_complained_of),
	    cmocka_unit_test(what_is_no_object_is_complained_of),
	    cmocka_unit_test(lists_are_taken_apart),
	    cmocka_unit_test(one_bad_object_does_not_take_the_others_along),
	    cmocka_unit_test(a_bad_object_that_can_be_named_is_no_unreadable_document),
	    cmocka_unit_test(json_manifests_are_read_with_lines),
	    cmocka_unit_test(names_follow_the_api_s_rules),
	    cmocka_unit_test(times_are_read),
	    cmocka_unit_test(annotations_are_strings),
	    cmocka_unit_test(annotations_have_a_limit),
	    cmocka_unit_test(equal_documents_have_equal_hashes),
	    cmocka_unit_test(a_config_map_is_read),
	    cmocka_unit_test(a_node_is_read_and_its_mistakes_are_survived),
	    cmocka_unit_test(service_cidrs_and_namespaces_are_read),
	    cmocka_unit_test(a_secret_is_decoded),
	    cmocka_unit_test(of_a_typed_secret_only_what_is_read_is_kept),
	    cmocka_unit_test(bad_base64_is_refused_and_never_quoted),
	    cmocka_unit_test(a_secret_has_a_limit),
	    cmocka_unit_test(text_that_is_no_json_is_one_complaint),
	    cmocka_unit_test(complaints_stay_on_one_line_and_short),
	    cmocka_unit_test(every_object_of_the_first_input_decodes),
	    cmocka_unit_test(no_file_of_the_first_input_is_forgotten_here),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
