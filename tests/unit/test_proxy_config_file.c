/* LINK: main/proxy_config_file.c main/flags.c conf/options.c conf/node_write.c conf/manifest_io.c */
/* LINK: conf/node.c conf/node_json.c conf/node_scalar.c conf/node_yaml.c */
/* LINK: base/addr.c base/arena.c base/buf.c base/err.c base/log.c base/map.c base/str.c */
/* LIBS: -lyaml -ljansson -lxxhash */
/* KubeProxyConfiguration, both ways (service-proxy contract row 51). */
#include "tests/unit/temp_dir.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "conf/node_write.h"
#include "main/flags.h"

#define HEAD "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"

struct files {
	struct temp_dir dir;
	char path[128];
	struct arena arena;
	struct err err;
};

static int set_up(void **state)
{
	struct files *files = calloc(1, sizeof(*files));

	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	temp_dir_make(&files->dir);
	(void)snprintf(files->path, sizeof(files->path), "%s/config.conf", files->dir.path);
	*state = files;
	return 0;
}

static int tear_down(void **state)
{
	struct files *files = *state;

	temp_dir_remove(&files->dir);
	arena_done(&files->arena);
	free(files);
	return 0;
}

static int read_config(struct files *files, const char *text, struct flags *flags)
{
	FILE *file = fopen(files->path, "w");

	assert_non_null(file);
	(void)fputs(text, file);
	(void)fclose(file);
	return flags_read_proxy_config(flags, files->path, &files->arena, &files->err);
}

static void every_field_that_matters_sets_its_flag(void **state)
{
	struct files *files = *state;
	struct flags flags = flags_default;

	assert_int_equal(read_config(files,
				     HEAD "bindAddress: 192.0.2.1\n"
					  "bindAddressHardFail: true\n"
					  "clientConnection: {kubeconfig: /kc, qps: 5, burst: 10}\n"
					  "clusterCIDR: 10.244.0.0/16,fd00::/48\n"
					  "conntrack:\n"
					  "  maxPerCore: 0\n"
					  "  min: 4096\n"
					  "  tcpBeLiberal: true\n"
					  "  tcpCloseWaitTimeout: 0s\n"
					  "  tcpEstablishedTimeout: 2h\n"
					  "  udpTimeout: 30s\n"
					  "  udpStreamTimeout: 2m\n"
					  "detectLocalMode: BridgeInterface\n"
					  "detectLocal: {bridgeInterface: cbr0, interfaceNamePrefix: veth}\n"
					  "healthzBindAddress: 127.0.0.1:1\n"
					  "metricsBindAddress: '[::1]:2'\n"
					  "hostnameOverride: n1\n"
					  "nftables: {masqueradeAll: true, minSyncPeriod: 1s}\n"
					  "nodePortAddresses: [10.0.0.0/8, 192.168.0.0/16]\n"
					  "oomScoreAdj: 0\n",
				     &flags),
			 0);
	assert_int_equal(flags.bind_address.family, AF_INET);
	assert_true(flags.bind_address_hard_fail);
	assert_string_equal(flags.kubeconfig, "/kc");
	assert_int_equal(flags.cluster_cidrs.count, 2);
	assert_int_equal(flags.conntrack.max_per_core, 0);
	assert_int_equal(flags.conntrack.min, 4096);
	assert_true(flags.conntrack.tcp_be_liberal);
	assert_true(flags.conntrack.tcp_close_wait_s < 0.001);
	assert_int_equal((int)flags.conntrack.tcp_established_s, 7200);
	assert_int_equal((int)flags.conntrack.udp_s, 30);
	assert_int_equal((int)flags.conntrack.udp_stream_s, 120);
	assert_int_equal(flags.detect_local_mode, DETECT_BRIDGE);
	assert_string_equal(flags.pod_bridge_interface, "cbr0");
	assert_string_equal(flags.pod_interface_prefix, "veth");
	assert_int_equal(flags.proxy_healthz.port, 1);
	assert_int_equal(flags.proxy_metrics.port, 2);
	assert_string_equal(flags.hostname_override, "n1");
	assert_true(flags.masquerade_all);
	assert_int_equal((int)flags.min_sync_period_s, 1);
	assert_int_equal(flags.nodeport_addresses.count, 2);
	assert_int_equal(flags.oom_score_adj, 0);
}

/* What `kubeadm init` puts into the ConfigMap kube-proxy. */
static void kubeadms_configuration_leaves_every_default(void **state)
{
	struct files *files = *state;
	struct flags flags = flags_default;

	assert_int_equal(
	    read_config(files,
			HEAD
			"bindAddress: 0.0.0.0\nbindAddressHardFail: false\nclientConnection:\n"
			"  acceptContentTypes: \"\"\n  burst: 0\n  contentType: \"\"\n"
			"  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf\n  qps: 0\n"
			"clusterCIDR: 10.244.0.0/16\nconfigSyncPeriod: 0s\nconntrack:\n"
			"  maxPerCore: null\n  min: null\n  tcpBeLiberal: false\n"
			"  tcpCloseWaitTimeout: null\n  tcpEstablishedTimeout: null\n"
			"  udpStreamTimeout: 0s\n  udpTimeout: 0s\ndetectLocal:\n"
			"  bridgeInterface: \"\"\n  interfaceNamePrefix: \"\"\ndetectLocalMode: \"\"\n"
			"enableProfiling: false\nhealthzBindAddress: \"\"\nhostnameOverride: \"\"\n"
			"iptables:\n  localhostNodePorts: null\n  masqueradeAll: false\n"
			"  masqueradeBit: null\n  minSyncPeriod: 0s\n  syncPeriod: 0s\nipvs:\n"
			"  excludeCIDRs: null\n  minSyncPeriod: 0s\n  scheduler: \"\"\n"
			"logging:\n  flushFrequency: 0\n  options:\n    json:\n      infoBufferSize: \"0\"\n"
			"  verbosity: 0\nmetricsBindAddress: \"\"\nmode: \"\"\nnftables:\n"
			"  masqueradeAll: false\n  masqueradeBit: null\n  minSyncPeriod: 0s\n"
			"nodePortAddresses: null\noomScoreAdj: null\nportRange: \"\"\n"
			"showHiddenMetricsForVersion: \"\"\nwindowsRunAsService: false\n",
			&flags),
	    0);
	assert_int_equal(flags.conntrack.max_per_core, flags_default.conntrack.max_per_core);
	assert_int_equal(flags.conntrack.min, flags_default.conntrack.min);
	assert_int_equal(flags.oom_score_adj, -999);
	assert_int_equal(flags.proxy_healthz.port, 10256);
	assert_int_equal(flags.proxy_metrics.port, 10249);
	assert_null(flags.hostname_override);
	assert_int_equal(flags.detect_local_mode, DETECT_CLUSTER_CIDR);
}

static void a_wrong_value_is_named_with_file_line_and_field(void **state)
{
	static const struct {
		const char *text, *complaint;
	} rows[] = {
	    {HEAD "mode: nftables\nconntrack:\n  maxPerCore: many\n",
	     "config.conf:5: conntrack.maxPerCore: "},
	    {HEAD "detectLocalMode: Guess\n", "config.conf:3: detectLocalMode: "},
	    {HEAD "conntrack: 5\n", "config.conf:3: conntrack: expected a map"},
	    {HEAD "bindAddress: {a: 1}\n", "config.conf:3: bindAddress: expected a value, got a map"},
	    {"kind: KubeProxyConfiguration\n", "apiVersion: expected kubeproxy.config.k8s.io/v1alpha1"},
	    {"apiVersion: v1\nkind: Pod\n", "config.conf:2: kind: expected KubeProxyConfiguration"},
	    {HEAD "a: [\n", "config.conf:"},
	};
	struct files *files = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct flags flags = flags_default;

		assert_true(read_config(files, rows[i].text, &flags) < 0);
		if (!strstr(files->err.text, rows[i].complaint))
			fail_msg("%s: %s", rows[i].text, files->err.text);
	}
}

static void unknown_fields_are_no_error(void **state)
{
	struct files *files = *state;
	struct flags flags = flags_default;

	assert_int_equal(
	    read_config(files, HEAD "newField: 1\nconntrack: {newer: {deep: 1}, min: 7}\n", &flags), 0);
	assert_int_equal(flags.conntrack.min, 7);
}

static void the_flags_name_wins_and_lists_are_replaced(void **state)
{
	struct files *files = *state;
	struct flags flags = flags_default;
	const char *given[] = {"0.0.0.0/0"};

	flags.hostname_override = "mine";
	flags.nodeport_addresses = (struct option_strings){given, 1};
	assert_int_equal(
	    read_config(files, HEAD "hostnameOverride: other\nnodePortAddresses: [10.0.0.0/8]\n", &flags), 0);
	assert_string_equal(flags.hostname_override, "mine");
	assert_int_equal(flags.nodeport_addresses.count, 1);
	assert_string_equal(flags.nodeport_addresses.items[0], "10.0.0.0/8");
}

static char *written(const struct flags *flags, struct arena *arena)
{
	const struct node *document = flags_as_proxy_config(flags, arena);
	struct buf text = {0};

	assert_non_null(document);
	assert_int_equal(node_write_yaml(document, &text), 0);
	return buf_take_text(&text);
}

static void what_is_written_reads_back_the_same(void **state)
{
	struct files *files = *state;
	struct flags flags = flags_default, again = flags_default;

	assert_int_equal(read_config(files,
				     HEAD "clusterCIDR: 10.244.0.0/16,fd00::/48\nhostnameOverride: \"a: b\"\n"
					  "conntrack: {maxPerCore: 0, min: 0, udpTimeout: 90m30s}\n"
					  "nodePortAddresses: [primary]\nmetricsBindAddress: '[::1]:2'\n"
					  "oomScoreAdj: -5\nnftables: {minSyncPeriod: 250ms}\n",
				     &flags),
			 0);
	cleanup_free char *first = written(&flags, &files->arena);
	assert_int_equal(read_config(files, first, &again), 0);
	cleanup_free char *second = written(&again, &files->arena);
	assert_string_equal(first, second);
	assert_non_null(strstr(first, "udpTimeout: \"1h30m30s\"\n"));
	assert_non_null(strstr(first, "minSyncPeriod: \"250ms\"\n"));
	assert_non_null(strstr(first, "oomScoreAdj: -5\n"));
	assert_int_equal(again.conntrack.max_per_core, 0);
}

static void json_has_the_same_contents(void **state)
{
	struct files *files = *state;
	struct buf json = {0};
	struct node *read;

	assert_int_equal(node_write_json(flags_as_proxy_config(&flags_default, &files->arena), &json), 0);
	assert_int_equal(node_parse_json(&files->arena, buf_head(&json), buf_len(&json), &read, &files->err),
			 0);
	assert_true(str_is(node_get(read, "healthzBindAddress")->text, "0.0.0.0:10256"));
	assert_int_equal(node_get(node_get(read, "conntrack"), "min")->integer, 131072);
	buf_done(&json);
}

static void what_cannot_be_done_is_refused_and_named(void **state)
{
	struct files *files = *state;
	struct flags flags = flags_default;

	assert_int_equal(flags_validate(&flags, &files->err), 0);
	flags.detect_local_mode = DETECT_BRIDGE;
	assert_int_equal(flags_validate(&flags, &files->err), -EINVAL);
	assert_non_null(strstr(files->err.text, "--pod-bridge-interface"));
	flags.pod_bridge_interface = "cni0";
	assert_int_equal(flags_validate(&flags, &files->err), 0);
	flags.detect_local_mode = DETECT_INTERFACE_PREFIX;
	assert_int_equal(flags_validate(&flags, &files->err), -EINVAL);
	assert_non_null(strstr(files->err.text, "--pod-interface-name-prefix"));
	flags.detect_local_mode = DETECT_CLUSTER_CIDR;
	flags.oom_score_adj = -1001;
	assert_int_equal(flags_validate(&flags, &files->err), -EINVAL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(every_field_that_matters_sets_its_flag),
	    TEST(kubeadms_configuration_leaves_every_default),
	    TEST(a_wrong_value_is_named_with_file_line_and_field),
	    TEST(unknown_fields_are_no_error),
	    TEST(the_flags_name_wins_and_lists_are_replaced),
	    TEST(what_is_written_reads_back_the_same),
	    TEST(json_has_the_same_contents),
	    TEST(what_cannot_be_done_is_refused_and_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
