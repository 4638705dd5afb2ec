/* Any bytes as a kubeconfig: refused with one line, or a config whose promises hold. */
/* LINK: conf/kubeconfig.c conf/kube_file.c conf/node.c conf/node_yaml.c conf/node_scalar.c */
/* LINK: base/buf.c base/str.c base/map.c base/arena.c base/err.c base/addr.c */
/* LIBS: -lcrypto -lyaml -lxxhash */
#include <stdlib.h>

#include "conf/kubeconfig.h"

static void expect(bool holds)
{
	if (!holds)
		abort();
}

static void expect_promises(const struct kube_config *config)
{
	expect(config->host[0] && config->port > 0 && config->server[0]);
	expect(kube_pem_given(&config->client_certificate) == kube_pem_given(&config->client_key));
	expect(config->tls ||
	       (!config->token[0] && !config->token_file[0] && !config->username[0] && !config->exec));
	expect(!strpbrk(config->token, "\r\n") && !strpbrk(config->host, "/ \r\n") &&
	       !strpbrk(config->path_prefix, " \r\n?#"));
	expect(!config->exec || (config->exec->command[0] && !config->exec->args[config->exec->arg_count] &&
				 !config->exec->env[config->exec->env_count]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct err err = {{0}};
	struct kube_config *config =
	    kube_config_parse((struct str){(const char *)data, len_bytes}, "dir/kc", NULL, &err);

	if (config)
		expect_promises(config);
	else
		expect(err.text[0] != '\0');
	kube_config_free(config);
	return 0;
}
