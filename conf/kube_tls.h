/* The TLS context for connections to the API server: whom we trust and who we are, from a kubeconfig's files
 * and data. Files that were replaced (rotated certificates) are taken up by the next connection; if they
 * cannot be used, the last good ones stay and the reason is logged once. */
#ifndef CONF_KUBE_TLS_H
#define CONF_KUBE_TLS_H

#include <stdint.h>

#include <openssl/types.h>

#include "base/err.h"
#include "conf/kubeconfig.h"

struct kube_tls;

/* config: borrowed. NULL with *err naming file, entry and field. */
struct kube_tls *kube_tls_new(const struct kube_config *config, struct err *err);
struct kube_tls *kube_tls_free(struct kube_tls *tls); /* NULL allowed; returns NULL */

/* Borrowed until the next call. */
SSL_CTX *kube_tls_context(struct kube_tls *tls);

/* Grows whenever the context changes: connections made before speak for somebody else. */
uint64_t kube_tls_generation(const struct kube_tls *tls);

/* A client certificate in place of the kubeconfig's, from a credential plugin; both empty: none. PEM texts,
 * copied. 0, or -EBADMSG with *err and what was in force stays; -ENOMEM. */
int kube_tls_set_client(struct kube_tls *tls, struct str certificate, struct str key, struct err *err);

#endif
