/* Which API server to talk to and as whom: a kubeconfig file's current context, or the pod's service account.
 * Only what the text says; certificates are loaded by conf/kube_tls, tokens and plugins by conf/kube_auth.
 *
 * Invariants
 *  1. A struct kube_config is immutable and owns its strings; secrets in it are wiped when it is freed.
 *  2. File names in it are absolute, or relative to the working directory if the kubeconfig's own name was.
 *  3. What would change who we are or whom we trust and is not supported (proxy-url, impersonation, legacy
 *     auth-provider, credentials over plain HTTP) is refused, never ignored.
 *  4. Errors name file, entry and field: `kc.yaml: users["web"]: client-key-data: not base64`. No error and
 * no log line ever shows a token, password or key. */
#ifndef CONF_KUBECONFIG_H
#define CONF_KUBECONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

/* PEM text: from a file, from the kubeconfig itself, or absent (both empty). */
struct kube_pem {
	const char *file; /* "" when the text stands in the kubeconfig */
	struct str text;  /* decoded; len 0 when in a file */
};

/* client.authentication.k8s.io: a program that prints credentials. */
struct kube_exec_config {
	const char *api_version; /* "client.authentication.k8s.io/v1" or ".../v1beta1" */
	const char *command;     /* a path, or a bare name to look up in PATH */
	const char *const *args; /* arg_count of them, then NULL; the command itself is not among them */
	const char *const *env;  /* "NAME=value" to set on top of our own environment, then NULL */
	size_t arg_count, env_count;
	const char *install_hint; /* shown when the command does not exist; "" when absent */
	bool provide_cluster_info;
};

struct kube_config {
	const char *file;           /* for messages; "service account" in a pod */
	const char *cluster, *user; /* names of the entries, for messages */
	const char *ns;             /* the context's or the pod's namespace; "default" when it says none */

	bool tls;
	const char *host; /* name or address literal, without brackets */
	uint16_t port;
	const char
	    *path_prefix;   /* "" or "/k8s/clusters/x": in front of every path, without a slash at the end */
	const char *server; /* as written */

	struct kube_pem ca;          /* absent: the system's */
	const char *tls_server_name; /* to verify instead of host; "" when absent */
	bool insecure_skip_tls_verify;

	struct kube_pem client_certificate, client_key;
	const char *token, *token_file; /* "" when absent; the file wins once it was read */
	const char *username, *password;
	const struct kube_exec_config *exec; /* NULL when absent */

	struct arena arena;
};

/* context: NULL for current-context. NULL with *err (-ENOENT, -EBADMSG, -ENOTSUP ... are in the text). */
struct kube_config *kube_config_load(const char *file, const char *context, struct err *err);

/* The same from text; `file` gives the name for messages and the folder relative paths start from. */
struct kube_config *kube_config_parse(struct str text, const char *file, const char *context,
				      struct err *err);

#define KUBE_SERVICE_ACCOUNT_DIR "/var/run/secrets/kubernetes.io/serviceaccount"

/* In a pod: KUBERNETES_SERVICE_HOST and _PORT, and token, ca.crt and namespace in service_account_dir. */
struct kube_config *kube_config_in_cluster(const char *service_account_dir, struct err *err);

struct kube_config *kube_config_free(struct kube_config *config); /* NULL allowed; returns NULL */

static inline bool kube_pem_given(const struct kube_pem *pem)
{
	return pem->text.len > 0 || pem->file[0] != '\0';
}

/* What stands in front of a message about the user's or the cluster's entry, into buffer; returns buffer:
 * `kc.yaml: users["web"]: client-key`. */
#define KUBE_WHERE_MAX 512
const char *kube_config_where_user(const struct kube_config *config, const char *field,
				   char buffer[static KUBE_WHERE_MAX]);
const char *kube_config_where_cluster(const struct kube_config *config, const char *field,
				      char buffer[static KUBE_WHERE_MAX]);

#endif
