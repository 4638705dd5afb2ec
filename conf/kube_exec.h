/* Credential plugins: runs the program a kubeconfig names, without blocking the loop, and reads the
 * ExecCredential it prints (client.authentication.k8s.io/v1 and v1beta1).
 *
 * Invariants
 *  1. fn is called exactly once, from the loop, never inside kube_exec_start; not after kube_exec_free.
 *  2. The program gets no terminal: its standard input is /dev/null. Its standard error is ours.
 *  3. It is killed, with what it started, when it runs longer than timeout_s or prints more than 1 MiB. */
#ifndef CONF_KUBE_EXEC_H
#define CONF_KUBE_EXEC_H

#include <ev.h>
#include <stdint.h>

#include "base/err.h"
#include "conf/kubeconfig.h"

struct kube_exec;

/* What the program gave; "" for what it did not. Owned strings, wiped by kube_credential_done. */
struct kube_credential {
	char *token;
	char *certificate, *key; /* PEM */
	int64_t expires_s;       /* Unix time; 0: does not expire */
};
void kube_credential_done(struct kube_credential *credential);

/* credential: fn's to keep by moving it out; NULL when code < 0, then err says why. */
typedef void kube_exec_fn(void *ctx, int code, struct kube_credential *credential, const struct err *err);

/* loop: the default one (the end of children is only told there). config->exec is what runs; config is
 * borrowed until the end. NULL with *err. */
struct kube_exec *kube_exec_start(struct ev_loop *loop, const struct kube_config *config, double timeout_s,
				  kube_exec_fn *fn, void *ctx, struct err *err);
struct kube_exec *kube_exec_free(struct kube_exec *exec); /* kills; NULL allowed; returns NULL; in fn too */

/* The text a plugin printed. 0, -EBADMSG with *err, -ENOMEM. Pure. */
int kube_credential_parse(struct str text, const char *api_version, struct kube_credential *ret,
			  struct err *err);

/* RFC 3339 ("2030-01-02T03:04:05Z", with fraction or offset) to Unix time. 0 or -EINVAL. Pure. */
int kube_time_parse(struct str text, int64_t *ret_s);

#endif
