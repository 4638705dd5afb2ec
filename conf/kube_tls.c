/* The TLS context for connections to the API server. */
#include "conf/kube_tls.h"

#include <errno.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "conf/kube_file.h"
#include "conf/kube_secret.h"

#define WATCHED_FILES 3 /* certificate-authority, client-certificate, client-key */

struct kube_tls {
	const struct kube_config *config;
	SSL_CTX *context;
	uint64_t generation;
	struct kube_file_stamp stamps[WATCHED_FILES]; /* of the files as last tried */
	char *plugin_certificate, *plugin_key;        /* NULL: the kubeconfig's */
};

DEFINE_CLEANUP(struct kube_tls *, kube_tls_free)

static void ssl_ctx_free_p(SSL_CTX **context)
{
	SSL_CTX_free(*context);
}

static void bio_free_p(BIO **bio)
{
	BIO_free(*bio);
}

static void x509_free_p(X509 **certificate)
{
	X509_free(*certificate);
}

static void key_free_p(EVP_PKEY **key)
{
	EVP_PKEY_free(*key);
}

/* ---- building ---- */

/* OpenSSL's own reason, without its numbers. */
static const char *tls_reason(void)
{
	unsigned long code = ERR_get_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	ERR_clear_error();
	return reason ? reason : "not usable";
}

/* The PEM text, wherever it is. *storage keeps it and is the caller's to free. */
static int pem_text(const struct kube_pem *pem, struct buf *storage, struct str *ret, struct err *err)
{
	if (pem->text.len > 0) {
		*ret = pem->text;
		return 0;
	}
	int r = kube_file_read(pem->file, storage, err);

	if (r == 0)
		*ret = buf_str(storage);
	return r;
}

static BIO *text_bio(struct str text)
{
	return BIO_new_mem_buf(text.p, (int)text.len);
}

/* Every certificate in the text is trusted: an intermediate may stand for its own root. */
static int trust(SSL_CTX *context, struct str text, struct err *err)
{
	BIO *bio cleanup(bio_free_p) = text_bio(text);
	X509_STORE *store = SSL_CTX_get_cert_store(context);
	size_t count = 0;

	if (!bio)
		return -ENOMEM;
	for (;;) {
		X509 *certificate cleanup(x509_free_p) = PEM_read_bio_X509(bio, NULL, NULL, NULL);

		if (!certificate)
			break;
		if (X509_STORE_add_cert(store, certificate) != 1)
			return err_set(err, -EBADMSG, "%s", tls_reason());
		count++;
	}
	ERR_clear_error(); /* the end of the text is one */
	X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
	return count > 0 ? 0 : err_set(err, -EBADMSG, "no PEM certificate in it");
}

/* Never asks on the terminal. */
static int no_password(char *buffer, int size, int writing, void *ctx)
{
	(void)buffer, (void)size, (void)writing, (void)ctx;
	return 0;
}

/* The first certificate is ours, others lead to its root. */
static int use_certificate(SSL_CTX *context, struct str text, struct err *err)
{
	BIO *bio cleanup(bio_free_p) = text_bio(text);
	X509 *own cleanup(x509_free_p) = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;

	if (!own)
		return err_set(err, -EBADMSG, "no PEM certificate in it");
	if (SSL_CTX_use_certificate(context, own) != 1)
		return err_set(err, -EBADMSG, "%s", tls_reason());
	for (;;) {
		X509 *other = PEM_read_bio_X509(bio, NULL, NULL, NULL);

		if (!other)
			break;
		if (SSL_CTX_add0_chain_cert(context, other) != 1) {
			X509_free(other);
			return err_set(err, -EBADMSG, "%s", tls_reason());
		}
	}
	ERR_clear_error();
	return 0;
}

static int use_key(SSL_CTX *context, struct str text, struct err *err)
{
	BIO *bio cleanup(bio_free_p) = text_bio(text);
	EVP_PKEY *key cleanup(key_free_p) =
	    bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;

	if (!key) {
		ERR_clear_error();
		return err_set(err, -EBADMSG, "no PEM private key without a password in it");
	}
	if (SSL_CTX_use_PrivateKey(context, key) != 1 || SSL_CTX_check_private_key(context) != 1)
		return err_set(err, -EBADMSG, "does not belong to the client-certificate: %s", tls_reason());
	return 0;
}

static int apply_pem(SSL_CTX *context, const struct kube_pem *pem,
		     int (*apply)(SSL_CTX *context, struct str text, struct err *err), const char *where,
		     struct err *err)
{
	struct buf storage cleanup(secret_buf_done) = {0};
	struct str text;
	int r = pem_text(pem, &storage, &text, err);

	if (r == 0)
		r = apply(context, text, err);
	return r < 0 ? err_wrap(err, r, "%s", where) : 0;
}

static int apply_trust(const struct kube_config *config, SSL_CTX *context, struct err *err)
{
	char where[KUBE_WHERE_MAX];

	SSL_CTX_set_verify(context, config->insecure_skip_tls_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER,
			   NULL);
	if (!kube_pem_given(&config->ca))
		return SSL_CTX_set_default_verify_paths(context) == 1
			   ? 0
			   : err_set(err, -EBADMSG, "the system's certificates: %s", tls_reason());
	return apply_pem(context, &config->ca, trust,
			 kube_config_where_cluster(config, "certificate-authority", where), err);
}

static int apply_client(const struct kube_tls *tls, SSL_CTX *context, struct err *err)
{
	struct kube_pem certificate = tls->config->client_certificate, key = tls->config->client_key;
	char where[KUBE_WHERE_MAX];
	int r;

	if (tls->plugin_certificate) {
		certificate = (struct kube_pem){.file = "", .text = str_of(tls->plugin_certificate)};
		key = (struct kube_pem){.file = "", .text = str_of(tls->plugin_key)};
	}
	if (!kube_pem_given(&certificate))
		return 0;
	r = apply_pem(context, &certificate, use_certificate,
		      kube_config_where_user(tls->config, "client-certificate", where), err);
	if (r == 0)
		r = apply_pem(context, &key, use_key,
			      kube_config_where_user(tls->config, "client-key", where), err);
	return r;
}

static int build(const struct kube_tls *tls, SSL_CTX **ret, struct err *err)
{
	SSL_CTX *context cleanup(ssl_ctx_free_p) = SSL_CTX_new(TLS_client_method());
	int r;

	if (!context)
		return err_set(err, -ENOMEM, "out of memory");
	SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
	r = apply_trust(tls->config, context, err);
	if (r == 0)
		r = apply_client(tls, context, err);
	if (r == 0)
		*ret = TAKE(context);
	return r;
}

static int rebuild(struct kube_tls *tls, struct err *err)
{
	SSL_CTX *context = NULL;
	int r = build(tls, &context, err);

	if (r < 0)
		return r;
	SSL_CTX_free(tls->context);
	tls->context = context;
	tls->generation++;
	return 0;
}

/* ---- files that change ---- */

static bool files_changed(struct kube_tls *tls)
{
	const struct kube_pem *const pems[WATCHED_FILES] = {
	    &tls->config->ca,
	    &tls->config->client_certificate,
	    &tls->config->client_key,
	};
	bool changed = false;

	for (size_t i = 0; i < WATCHED_FILES; i++) {
		struct kube_file_stamp now = kube_file_stamp(pems[i]->file);

		changed = changed || !kube_file_stamp_equal(&now, &tls->stamps[i]);
		tls->stamps[i] = now;
	}
	return changed;
}

SSL_CTX *kube_tls_context(struct kube_tls *tls)
{
	struct err err;

	if (files_changed(tls) && rebuild(tls, &err) < 0)
		log_warn("certificates for the API server changed and cannot be used, the last ones stay",
			 L_STR("error", err.text));
	return tls->context;
}

/* ---- life ---- */

uint64_t kube_tls_generation(const struct kube_tls *tls)
{
	return tls->generation;
}

int kube_tls_set_client(struct kube_tls *tls, struct str certificate, struct str key, struct err *err)
{
	char *old_certificate = tls->plugin_certificate, *old_key = tls->plugin_key;
	int r = -ENOMEM;

	if (str_equal(certificate, str_of(old_certificate)) && str_equal(key, str_of(old_key)))
		return 0;
	tls->plugin_certificate = certificate.len > 0 ? str_dup(certificate) : NULL;
	tls->plugin_key = certificate.len > 0 ? str_dup(key) : NULL;
	if (certificate.len == 0 || (tls->plugin_certificate && tls->plugin_key))
		r = rebuild(tls, err);
	if (r < 0) {
		secret_free(tls->plugin_certificate);
		secret_free(tls->plugin_key);
		tls->plugin_certificate = old_certificate;
		tls->plugin_key = old_key;
		return r;
	}
	secret_free(old_certificate);
	secret_free(old_key);
	return 0;
}

struct kube_tls *kube_tls_new(const struct kube_config *config, struct err *err)
{
	struct kube_tls *tls cleanup(kube_tls_free_p) = calloc(1, sizeof(*tls));

	if (!tls) {
		err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	tls->config = config;
	(void)files_changed(tls);
	return rebuild(tls, err) == 0 ? TAKE(tls) : NULL;
}

struct kube_tls *kube_tls_free(struct kube_tls *tls)
{
	if (!tls)
		return NULL;
	SSL_CTX_free(tls->context);
	secret_free(tls->plugin_certificate);
	secret_free(tls->plugin_key);
	free(tls);
	return NULL;
}
