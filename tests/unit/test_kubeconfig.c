/* conf/kubeconfig: what a kubeconfig and a service account say, and how what is wrong is named. */
/* LINK: conf/kubeconfig.c conf/kube_file.c conf/node.c conf/node_yaml.c conf/node_scalar.c */
/* LINK: base/buf.c base/str.c base/map.c base/arena.c base/err.c base/addr.c */
/* LIBS: -lcrypto -lyaml -lxxhash */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "conf/kubeconfig.h"

/* A kubeconfig with one cluster, user and context, whose entries' fields are these lines. */
static struct kube_config *parse(const char *cluster, const char *user, struct err *err)
{
	struct buf text = {0};

	buf_printf(&text,
		   "apiVersion: v1\nkind: Config\ncurrent-context: here\n"
		   "contexts:\n- name: here\n  context: {cluster: prod, user: web, namespace: shop}\n"
		   "clusters:\n- name: prod\n  cluster:\n%s\n"
		   "users:\n- name: other\n  user: {token: wrong}\n- name: web\n  user:\n%s\n",
		   cluster, user);
	struct kube_config *config = kube_config_parse(buf_str(&text), "/etc/fairlead/kc.yaml", NULL, err);

	buf_done(&text);
	return config;
}

static void expect_error(const char *cluster, const char *user, const char *text)
{
	struct err err = {{0}};

	assert_null(parse(cluster, user, &err));
	if (strcmp(err.text, text) != 0)
		fail_msg("expected \"%s\", got \"%s\"", text, err.text);
}

#define CLUSTER "    server: https://api.example:6443"
#define NOBODY  "    {}"

static void the_current_context_chooses_cluster_and_user(void **state)
{
	struct err err;
	struct kube_config *config = parse(CLUSTER "\n    certificate-authority: pki/ca.crt\n"
						   "    tls-server-name: kubernetes",
					   "    tokenFile: /run/token\n    client-certificate: me.crt\n"
					   "    client-key: me.key",
					   &err);

	(void)state;
	assert_non_null(config);
	assert_string_equal(config->cluster, "prod");
	assert_string_equal(config->user, "web");
	assert_string_equal(config->ns, "shop");
	assert_true(config->tls);
	assert_string_equal(config->host, "api.example");
	assert_int_equal(config->port, 6443);
	assert_string_equal(config->path_prefix, "");
	assert_string_equal(config->ca.file, "/etc/fairlead/pki/ca.crt");
	assert_string_equal(config->tls_server_name, "kubernetes");
	assert_string_equal(config->token_file, "/run/token");
	assert_string_equal(config->client_certificate.file, "/etc/fairlead/me.crt");
	assert_string_equal(config->client_key.file, "/etc/fairlead/me.key");
	assert_string_equal(config->token, "");
	assert_null(config->exec);
	kube_config_free(config);
}

static void another_context_can_be_asked_for_by_name(void **state)
{
	static const char text[] = "contexts: [{name: b, context: {cluster: c}}]\n"
				   "clusters: [{name: c, cluster: {server: \"https://[::1]/k8s/c-1/\"}}]\n";
	struct err err;
	struct kube_config *config = kube_config_parse(STR_LIT(text), "kc", "b", &err);

	(void)state;
	assert_non_null(config);
	assert_string_equal(config->host, "::1");
	assert_int_equal(config->port, 443);
	assert_string_equal(config->path_prefix, "/k8s/c-1");
	assert_string_equal(config->user, "");
	assert_string_equal(config->ns, "default");
	kube_config_free(config);
	assert_null(kube_config_parse(STR_LIT(text), "kc", NULL, &err));
	assert_string_equal(err.text, "kc: current-context: missing: no context is chosen");
	assert_null(kube_config_parse(STR_LIT(text), "kc", "x", &err));
	assert_string_equal(err.text, "kc: contexts: there is no entry named \"x\"");
}

static void data_fields_are_decoded_and_win_over_files(void **state)
{
	struct err err;
	struct kube_config *config =
	    parse(CLUSTER "\n    certificate-authority: ca.crt\n    certificate-authority-data: aGVsbG8=",
		  "    client-certificate-data: Y2VydA==\n    client-key-data: |\n      a2\n      V5", &err);

	(void)state;
	assert_non_null(config);
	assert_string_equal(config->ca.file, "");
	assert_true(str_is(config->ca.text, "hello"));
	assert_true(str_is(config->client_certificate.text, "cert"));
	assert_true(str_is(config->client_key.text, "key"));
	kube_config_free(config);
}

static void an_exec_plugin_is_read_with_arguments_and_environment(void **state)
{
	struct err err;
	struct kube_config *config =
	    parse(CLUSTER,
		  "    exec:\n      apiVersion: client.authentication.k8s.io/v1\n      command: ./bin/login\n"
		  "      args: [get-token, --region, eu-1, 7]\n      env: [{name: PROFILE, value: prod}]\n"
		  "      provideClusterInfo: true\n      interactiveMode: IfAvailable\n"
		  "      installHint: |\n        install it\n        first",
		  &err);

	(void)state;
	assert_non_null(config);
	assert_non_null(config->exec);
	assert_string_equal(config->exec->command, "/etc/fairlead/./bin/login");
	assert_int_equal(config->exec->arg_count, 4);
	assert_string_equal(config->exec->args[2], "eu-1");
	assert_string_equal(config->exec->args[3], "7");
	assert_null(config->exec->args[4]);
	assert_string_equal(config->exec->env[0], "PROFILE=prod");
	assert_null(config->exec->env[1]);
	assert_true(config->exec->provide_cluster_info);
	kube_config_free(config);
	config = parse(CLUSTER, "    exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: aws}",
		       &err);
	assert_string_equal(config->exec->command, "aws");
	assert_null(config->exec->args[0]);
	kube_config_free(config);
}

static void errors_name_file_entry_and_field(void **state)
{
	(void)state;
	expect_error("    {}", NOBODY, "/etc/fairlead/kc.yaml: clusters[\"prod\"]: server: missing");
	expect_error("    server: api:6443", NOBODY,
		     "/etc/fairlead/kc.yaml: clusters[\"prod\"]: server: expected https://HOST[:PORT], got "
		     "\"api:6443\"");
	expect_error("    server: https://u@api", NOBODY,
		     "/etc/fairlead/kc.yaml: clusters[\"prod\"]: server: expected https://HOST[:PORT], got "
		     "\"https://u@api\"");
	expect_error("    server: https://api:0", NOBODY,
		     "/etc/fairlead/kc.yaml: clusters[\"prod\"]: server: expected https://HOST[:PORT], got "
		     "\"https://api:0\"");
	expect_error("    server: https://[::1]x", NOBODY,
		     "/etc/fairlead/kc.yaml: clusters[\"prod\"]: server: expected https://HOST[:PORT], got "
		     "\"https://[::1]x\"");
	expect_error(CLUSTER "\n    certificate-authority-data: '?'", NOBODY,
		     "/etc/fairlead/kc.yaml: clusters[\"prod\"]: certificate-authority-data: not base64");
	expect_error(CLUSTER "\n    proxy-url: http://proxy", NOBODY,
		     "/etc/fairlead/kc.yaml: clusters[\"prod\"]: proxy-url: not supported");
	expect_error(
	    CLUSTER "\n    insecure-skip-tls-verify: maybe", NOBODY,
	    "/etc/fairlead/kc.yaml: clusters[\"prod\"]: insecure-skip-tls-verify: expected true or false");
	expect_error(CLUSTER "\n    insecure-skip-tls-verify: true\n    certificate-authority: x", NOBODY,
		     "/etc/fairlead/kc.yaml: clusters[\"prod\"]: insecure-skip-tls-verify: contradicts "
		     "certificate-authority: give one of them");
	expect_error(CLUSTER, "    token: [1]",
		     "/etc/fairlead/kc.yaml: users[\"web\"]: token: expected a string");
	expect_error(CLUSTER, "    token: \"a\\r\\nb\"",
		     "/etc/fairlead/kc.yaml: users[\"web\"]: token: has a control character in it");
	expect_error(CLUSTER, "    client-key: me.key",
		     "/etc/fairlead/kc.yaml: users[\"web\"]: client-certificate: missing: certificate and "
		     "key go together");
	expect_error(CLUSTER, "    auth-provider: {name: gcp}",
		     "/etc/fairlead/kc.yaml: users[\"web\"]: auth-provider: not supported");
	expect_error(CLUSTER, "    as: root", "/etc/fairlead/kc.yaml: users[\"web\"]: as: not supported");
	expect_error(CLUSTER, "    {token: a, username: b, password: c}",
		     "/etc/fairlead/kc.yaml: users[\"web\"]: username: only one of token, username and exec "
		     "can be used");
	expect_error(CLUSTER, "    exec: {command: x}",
		     "/etc/fairlead/kc.yaml: users[\"web\"]: exec: apiVersion: expected "
		     "client.authentication.k8s.io/v1 or "
		     "/v1beta1, got \"\"");
	expect_error(
	    CLUSTER,
	    "    exec: {apiVersion: client.authentication.k8s.io/v1, command: x, env: [{name: a=b}]}",
	    "/etc/fairlead/kc.yaml: users[\"web\"]: exec: env[0]: expected a string");
	expect_error(
	    CLUSTER,
	    "    exec: {apiVersion: client.authentication.k8s.io/v1, command: x, interactiveMode: Always}",
	    "/etc/fairlead/kc.yaml: users[\"web\"]: exec: interactiveMode: Always: nobody is here to answer");
}

static void credentials_are_never_sent_readable(void **state)
{
	struct err err;
	struct kube_config *config = parse("    server: http://127.0.0.1:8001", NOBODY, &err);

	(void)state;
	assert_non_null(config);
	assert_false(config->tls);
	assert_int_equal(config->port, 8001);
	kube_config_free(config);
	expect_error(
	    "    server: http://127.0.0.1:8001", "    token: secret",
	    "/etc/fairlead/kc.yaml: users[\"web\"]: token: credentials are not sent over plain http (server: "
	    "http://127.0.0.1:8001)");
}

static void what_is_no_kubeconfig_is_refused_with_its_line(void **state)
{
	struct err err;

	(void)state;
	assert_null(kube_config_parse(STR_LIT(""), "kc", NULL, &err));
	assert_string_equal(err.text, "kc: not a kubeconfig");
	assert_null(kube_config_parse(STR_LIT("a: 1\nb: [\n"), "kc", NULL, &err));
	assert_non_null(strstr(err.text, "kc:3: "));
	assert_null(kube_config_load("/nonexistent/kc", NULL, &err));
	assert_string_equal(err.text, "/nonexistent/kc: No such file or directory");
	assert_null(kube_config_load("/dev/null", NULL, &err));
	assert_string_equal(err.text, "/dev/null: not a regular file");
}

static void json_is_yaml_too(void **state)
{
	static const char text[] =
	    "{\"current-context\":\"a\",\"contexts\":[{\"name\":\"a\",\"context\":{\"cluster\":\"c\","
	    "\"user\":\"u\"}}],"
	    "\"clusters\":[{\"name\":\"c\",\"cluster\":{\"server\":\"https://h\"}}],"
	    "\"users\":[{\"name\":\"u\",\"user\":{\"username\":\"me\",\"password\":\"p\"}}]}";
	struct err err;
	struct kube_config *config = kube_config_parse(STR_LIT(text), "kc", NULL, &err);

	(void)state;
	assert_non_null(config);
	assert_string_equal(config->username, "me");
	assert_string_equal(config->password, "p");
	kube_config_free(config);
}

static void in_a_pod_the_service_account_says_it_all(void **state)
{
	char dir[] = "/tmp/fairlead-account-XXXXXX", path[64];
	struct err err;

	(void)state;
	unsetenv("KUBERNETES_SERVICE_HOST");
	assert_null(kube_config_in_cluster("/nonexistent", &err));
	assert_non_null(strstr(err.text, "not in a pod"));
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/namespace", dir);
	FILE *file = fopen(path, "w");

	fputs("shop\n", file);
	fclose(file);
	setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
	setenv("KUBERNETES_SERVICE_PORT", "443", 1);
	struct kube_config *config = kube_config_in_cluster(dir, &err);

	assert_non_null(config);
	assert_string_equal(config->host, "fd00::1");
	assert_string_equal(config->server, "https://[fd00::1]:443");
	assert_string_equal(config->ns, "shop");
	assert_non_null(strstr(config->token_file, "/token"));
	assert_non_null(strstr(config->ca.file, "/ca.crt"));
	kube_config_free(config);
	setenv("KUBERNETES_SERVICE_PORT", "x", 1);
	assert_null(kube_config_in_cluster(dir, &err));
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_current_context_chooses_cluster_and_user),
	    cmocka_unit_test(another_context_can_be_asked_for_by_name),
	    cmocka_unit_test(data_fields_are_decoded_and_win_over_files),
	    cmocka_unit_test(an_exec_plugin_is_read_with_arguments_and_environment),
	    cmocka_unit_test(errors_name_file_entry_and_field),
	    cmocka_unit_test(credentials_are_never_sent_readable),
	    cmocka_unit_test(what_is_no_kubeconfig_is_refused_with_its_line),
	    cmocka_unit_test(json_is_yaml_too),
	    cmocka_unit_test(in_a_pod_the_service_account_says_it_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
