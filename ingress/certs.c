/* Certificates out of PEM, and the TLS settings all of them share. */
#include "ingress/certs.h"
#include "ingress/unconst.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/cleanup.h"

#define CHAIN_MAX           16
#define NAMES_MAX           1000
#define SELF_SIGNED_SECONDS (365L * 24 * 3600)

/* Mozilla's "intermediate" (guidelines 5.7) but for DHE, which costs the server much and the client little.
 */
#define CIPHERS_TLS12                                                                              \
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:" \
	"ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define GROUPS "X25519:P-256:P-384"

DEFINE_CLEANUP(BIO *, BIO_free)
DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)
DEFINE_CLEANUP(X509 *, X509_free)

static void chain_free_p(STACK_OF(X509) * *chain)
{
	sk_X509_pop_free(*chain, X509_free);
}

/* A constant once set, before the first certificate: every SSL_CTX of the process serves the same data path.
 */
static struct {
	certs_setup_fn *fn;
	void *ctx;
} setup;

void certs_set_context_setup(certs_setup_fn *fn, void *ctx)
{
	setup.fn = fn;
	setup.ctx = ctx;
}

/* ---- reading PEM ---- */

static int bad(struct err *err, const char *what)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());
	int code = err_set(err, -EBADMSG, "%s: %s", what, reason ? reason : "cannot be used");

	ERR_clear_error();
	return code;
}

/* A key with a password cannot be used, and nobody is to be asked for it. */
static int no_password(char *buffer, int size, int writing, void *ctx)
{
	(void)buffer;
	(void)size;
	(void)writing;
	(void)ctx;
	return -1;
}

static BIO *bio_of(struct str text)
{
	return BIO_new_mem_buf(text.p, text.len < INT_MAX ? (int)text.len : INT_MAX);
}

/* Appends all certificates of a PEM text. */
static int read_chain(struct str text, STACK_OF(X509) * chain, struct err *err)
{
	BIO *bio cleanup(BIO_free_p) = bio_of(text);
	X509 *certificate;

	while (bio && (certificate = PEM_read_bio_X509(bio, NULL, no_password, NULL))) {
		if (sk_X509_num(chain) == CHAIN_MAX || sk_X509_push(chain, certificate) == 0) {
			X509_free(certificate);
			return err_set(err, -EBADMSG, "tls.crt: more than %d certificates", CHAIN_MAX);
		}
	}
	if (sk_X509_num(chain) == 0 || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		return bad(err, "tls.crt");
	ERR_clear_error();
	return 0;
}

static EVP_PKEY *read_key(struct str text, struct err *err)
{
	BIO *bio cleanup(BIO_free_p) = bio_of(text);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;

	if (!key)
		bad(err, "tls.key");
	return key;
}

/* ---- contexts ---- */

static SSL_CTX *context_new(void)
{
	char groups[] = GROUPS; /* the macro below casts const away */
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	if (!ctx)
		return NULL;
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 ||
	    SSL_CTX_set_cipher_list(ctx, CIPHERS_TLS12) != 1 || SSL_CTX_set1_groups_list(ctx, groups) != 1) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	if (setup.fn)
		setup.fn(setup.ctx, ctx);
	return ctx;
}

/* ---- names and times ---- */

static int add_name(struct certificate *certificate, const ASN1_STRING *from)
{
	const char *text = (const char *)ASN1_STRING_get0_data(from);
	size_t len = (size_t)ASN1_STRING_length(from);
	char *name;

	if (memchr(text, '\0', len) || certificate->name_count == NAMES_MAX)
		return 0;
	name = str_dup((struct str){text, len});
	if (!name)
		return -ENOMEM;
	for (char *c = name; *c; c++)
		*c = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
	certificate->names[certificate->name_count++] = name;
	return 0;
}

static int add_alternative_names(struct certificate *certificate, const GENERAL_NAMES *names)
{
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type == GEN_DNS && add_name(certificate, name->d.dNSName))
			return -ENOMEM;
	}
	return 0;
}

static int add_common_name(struct certificate *certificate, const X509 *leaf)
{
	const X509_NAME *subject = X509_get_subject_name(leaf);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);

	return at < 0 ? 0 : add_name(certificate, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
}

static int read_names(struct certificate *certificate, const X509 *leaf)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
	size_t count = names ? (size_t)sk_GENERAL_NAME_num(names) : 0;
	int code = -ENOMEM;

	certificate->names = calloc(count + 1, sizeof(const char *));
	if (certificate->names)
		code = add_alternative_names(certificate, names);
	if (code == 0)
		code = add_common_name(certificate, leaf);
	GENERAL_NAMES_free(names);
	return code;
}

static int64_t unix_time(const ASN1_TIME *time)
{
	struct tm tm;

	return ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

const char *certificate_time_problem(const struct certificate *certificate, int64_t now_s, char *buffer,
				     size_t size)
{
	bool expired = now_s > certificate->not_after_s;
	time_t when = expired ? certificate->not_after_s : certificate->not_before_s;
	struct tm tm;

	if (!expired && now_s >= certificate->not_before_s)
		return NULL;
	(void)gmtime_r(&when, &tm);
	(void)snprintf(buffer, size, "%s %04d-%02d-%02d", expired ? "expired on" : "is not valid before",
		       tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
	return buffer;
}

/* A wildcard name stands for one label: what the host has in front of the rest of it. */
static bool name_covers(struct str name, struct str host)
{
	struct str rest = {name.p + 1, name.len - 1};

	if (str_equal(name, host))
		return true;
	return str_has_prefix(name, STR_LIT("*.")) && host.len > rest.len && str_has_suffix(host, rest) &&
	       !memchr(host.p, '.', host.len - rest.len);
}

bool certificate_covers(const struct certificate *certificate, struct str host)
{
	for (size_t i = 0; i < certificate->name_count; i++) {
		if (name_covers(str_of(certificate->names[i]), host))
			return true;
	}
	return false;
}

/* ---- certificates ---- */

static struct certificate *certificate_new(X509 *leaf, EVP_PKEY *key, STACK_OF(X509) * chain, struct err *err)
{
	struct certificate *certificate = calloc(1, sizeof(*certificate));

	if (!certificate || read_names(certificate, leaf)) {
		err_set(err, -ENOMEM, "out of memory");
		return certificate_unref(certificate);
	}
	certificate->refs = 1;
	certificate->not_before_s = unix_time(X509_get0_notBefore(leaf));
	certificate->not_after_s = unix_time(X509_get0_notAfter(leaf));
	certificate->ctx = context_new();
	if (!certificate->ctx || SSL_CTX_use_cert_and_key(certificate->ctx, leaf, key, chain, 1) != 1) {
		bad(err, "tls.crt and tls.key");
		return certificate_unref(certificate);
	}
	return certificate;
}

struct certificate *certificate_from_pem(struct str chain_text, struct str key_text, struct err *err)
{
	STACK_OF(X509) * chain cleanup(chain_free_p) = sk_X509_new_null();
	EVP_PKEY *key cleanup(EVP_PKEY_free_p) = NULL;
	X509 *leaf cleanup(X509_free_p) = NULL;

	ERR_clear_error();
	if (!chain || read_chain(chain_text, chain, err))
		return NULL;
	key = read_key(key_text, err);
	if (!key)
		return NULL;
	leaf = sk_X509_shift(chain);
	return certificate_new(leaf, key, chain, err);
}

static struct str text_of(const struct bytes *bytes)
{
	return (struct str){(const char *)bytes->data, bytes->len};
}

struct certificate *certificate_from_secret(const struct secret *secret, struct err *err)
{
	const struct bytes *chain = secret_get(secret, "tls.crt"), *key = secret_get(secret, "tls.key");

	if (!chain || !key) {
		err_set(err, -ENOENT, "has no %s", chain ? "tls.key" : "tls.crt");
		return NULL;
	}
	return certificate_from_pem(text_of(chain), text_of(key), err);
}

struct certificate *certificate_ref(struct certificate *certificate)
{
	certificate->refs++;
	return certificate;
}

struct certificate *certificate_unref(struct certificate *certificate)
{
	if (!certificate || (certificate->refs && --certificate->refs))
		return NULL;
	SSL_CTX_free(certificate->ctx);
	for (size_t i = 0; i < certificate->name_count; i++)
		free(unconst(certificate->names[i]));
	free((void *)certificate->names);
	free(certificate);
	return NULL;
}

/* ---- the default certificate ---- */

static bool add_subject_text(X509_NAME *name, const char *field, const char *text)
{
	return X509_NAME_add_entry_by_txt(name, field, MBSTRING_ASC, (const unsigned char *)text, -1, -1,
					  0) == 1;
}

static bool add_extension(X509 *certificate, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *extension;
	bool added;

	X509V3_set_ctx(&ctx, certificate, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	added = extension && X509_add_ext(certificate, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	return added;
}

static bool set_random_serial(X509 *certificate)
{
	uint64_t serial;

	return RAND_bytes((unsigned char *)&serial, sizeof(serial)) == 1 &&
	       ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1) == 1;
}

static bool fill_self_signed(X509 *certificate, EVP_PKEY *key)
{
	X509_NAME *subject = X509_get_subject_name(certificate);

	return X509_set_version(certificate, X509_VERSION_3) == 1 && set_random_serial(certificate) &&
	       X509_gmtime_adj(X509_getm_notBefore(certificate), 0) &&
	       X509_gmtime_adj(X509_getm_notAfter(certificate), SELF_SIGNED_SECONDS) &&
	       X509_set_pubkey(certificate, key) == 1 && add_subject_text(subject, "O", "Acme Co") &&
	       add_subject_text(subject, "CN", "Kubernetes Ingress Controller Fake Certificate") &&
	       X509_set_issuer_name(certificate, subject) == 1 &&
	       add_extension(certificate, NID_key_usage, "critical,digitalSignature,keyEncipherment") &&
	       add_extension(certificate, NID_ext_key_usage, "serverAuth") &&
	       add_extension(certificate, NID_basic_constraints, "critical,CA:FALSE") &&
	       add_extension(certificate, NID_subject_alt_name, "DNS:ingress.local") &&
	       X509_sign(certificate, key, EVP_sha256()) > 0;
}

struct certificate *certificate_self_signed(struct err *err)
{
	EVP_PKEY *key cleanup(EVP_PKEY_free_p) = EVP_EC_gen("P-256");
	X509 *leaf cleanup(X509_free_p) = X509_new();

	if (key && leaf && fill_self_signed(leaf, key))
		return certificate_new(leaf, key, NULL, err);
	bad(err, "the default certificate");
	return NULL;
}
