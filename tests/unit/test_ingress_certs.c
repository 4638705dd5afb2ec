/* ingress/certs: certificates out of PEM, what is wrong with them, names they cover, and what a client is shown. */
/* LINK: ingress/certs.c conf/object.c base/arena.c base/err.c base/str.c */
/* LIBS: -lssl -lcrypto */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/cleanup.h"
#include "ingress/certs.h"

/* ---- making certificates ---- */

struct pem {
	char *text;
	size_t len;
};

static struct pem pem_of_bio(BIO *bio)
{
	struct pem pem;
	char *data;

	pem.len = (size_t)BIO_get_mem_data(bio, &data);
	pem.text = malloc(pem.len + 1);
	assert_non_null(pem.text);
	memcpy(pem.text, data, pem.len);
	pem.text[pem.len] = '\0';
	BIO_free(bio);
	return pem;
}

static struct str text_of(const struct pem *pem)
{
	return (struct str){pem->text, pem->len};
}

static struct pem pem_of_key(EVP_PKEY *key, const char *password)
{
	BIO *bio = BIO_new(BIO_s_mem());

	assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, key, password ? EVP_aes_128_cbc() : NULL, NULL, 0,
						       NULL, (void *)(uintptr_t)password),
			 1);
	return pem_of_bio(bio);
}

static struct pem pem_of_certificate(X509 *certificate)
{
	BIO *bio = BIO_new(BIO_s_mem());

	assert_int_equal(PEM_write_bio_X509(bio, certificate), 1);
	return pem_of_bio(bio);
}

/* names: "DNS:a.io,DNS:b.io", or NULL for no SAN. Good from `from_s` on for a day. */
static X509 *make_certificate(EVP_PKEY *key, const char *common_name, const char *names, long from_s)
{
	X509 *certificate = X509_new();
	X509_NAME *subject = X509_get_subject_name(certificate);

	X509_set_version(certificate, X509_VERSION_3);
	X509_gmtime_adj(X509_getm_notBefore(certificate), from_s);
	X509_gmtime_adj(X509_getm_notAfter(certificate), from_s + 86400);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)common_name, -1, -1,
				   0);
	X509_set_issuer_name(certificate, subject);
	X509_set_pubkey(certificate, key);
	if (names) {
		X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);

		X509_add_ext(certificate, extension, -1);
		X509_EXTENSION_free(extension);
	}
	assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
	return certificate;
}

struct material {
	EVP_PKEY *key;
	struct pem key_pem, certificate_pem;
};

static struct material material_of(EVP_PKEY *key, const char *common_name, const char *names, long from_s)
{
	struct material material = {.key = key, .key_pem = pem_of_key(key, NULL)};
	X509 *certificate = make_certificate(key, common_name, names, from_s);

	material.certificate_pem = pem_of_certificate(certificate);
	X509_free(certificate);
	return material;
}

static struct material ec_material(const char *common_name, const char *names)
{
	return material_of(EVP_EC_gen("P-256"), common_name, names, -10);
}

static void material_done(struct material *material)
{
	free(material->key_pem.text);
	free(material->certificate_pem.text);
	EVP_PKEY_free(material->key);
}

static struct certificate *load(const struct material *material)
{
	struct err err = {""};
	struct certificate *certificate =
	    certificate_from_pem(text_of(&material->certificate_pem), text_of(&material->key_pem), &err);

	if (!certificate)
		fail_msg("%s", err.text);
	return certificate;
}

static void assert_refused(struct str chain, struct str key, const char *why)
{
	struct err err = {""};

	assert_null(certificate_from_pem(chain, key, &err));
	if (!strstr(err.text, why))
		fail_msg("%s", err.text);
}

/* ---- reading ---- */

static void ec_and_rsa_pairs_are_read(void **state)
{
	EVP_PKEY *keys[] = {EVP_EC_gen("P-256"), EVP_EC_gen("P-384"), EVP_RSA_gen(2048)};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		struct material material = material_of(keys[i], "a.io", "DNS:a.io", -10);
		struct certificate *certificate = load(&material);

		assert_non_null(certificate->ctx);
		certificate_unref(certificate);
		material_done(&material);
	}
}

static void a_chain_is_served_in_its_order(void **state)
{
	struct material leaf = ec_material("a.io", "DNS:a.io"), issuer = ec_material("Issuer", NULL);
	char *both = malloc(leaf.certificate_pem.len + issuer.certificate_pem.len + 64);
	struct err err = {""};
	struct certificate *certificate;
	STACK_OF(X509) *chain = NULL;

	(void)state;
	sprintf(both, "some words before\n%s\n\n%s\n", leaf.certificate_pem.text,
		issuer.certificate_pem.text);
	certificate = certificate_from_pem(str_of(both), text_of(&leaf.key_pem), &err);
	assert_non_null(certificate);
	SSL_CTX_get0_chain_certs(certificate->ctx, &chain);
	assert_int_equal(sk_X509_num(chain), 1);
	certificate_unref(certificate);
	free(both);
	material_done(&leaf);
	material_done(&issuer);
}

static void a_key_of_another_certificate_is_refused(void **state)
{
	struct material a = ec_material("a.io", NULL), b = ec_material("b.io", NULL);

	(void)state;
	assert_refused(text_of(&a.certificate_pem), text_of(&b.key_pem),
		       "tls.crt and tls.key: private key mismatch");
	material_done(&a);
	material_done(&b);
}

static void what_is_no_pem_is_refused_with_the_name_of_the_key(void **state)
{
	struct material a = ec_material("a.io", NULL);

	(void)state;
	assert_refused(STR_LIT(""), text_of(&a.key_pem), "tls.crt: no start line");
	assert_refused(STR_LIT("nonsense"), text_of(&a.key_pem), "tls.crt: no start line");
	assert_refused(text_of(&a.certificate_pem), STR_LIT(""), "tls.key: ");
	assert_refused(text_of(&a.certificate_pem), STR_LIT("nonsense"), "tls.key: ");
	assert_refused(STR_LIT("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
		       text_of(&a.key_pem), "tls.crt: ");
	material_done(&a);
}

static void a_chain_broken_in_the_middle_is_refused(void **state)
{
	struct material a = ec_material("a.io", NULL);
	char *broken = malloc(2 * a.certificate_pem.len);

	(void)state;
	sprintf(broken, "%s%.*s", a.certificate_pem.text, (int)a.certificate_pem.len / 2,
		a.certificate_pem.text);
	assert_refused(str_of(broken), text_of(&a.key_pem), "tls.crt: ");
	free(broken);
	material_done(&a);
}

static void a_key_with_a_password_is_refused_and_nobody_is_asked(void **state)
{
	struct material a = ec_material("a.io", NULL);
	struct pem locked = pem_of_key(a.key, "secret");

	(void)state;
	assert_refused(text_of(&a.certificate_pem), text_of(&locked), "tls.key: ");
	free(locked.text);
	material_done(&a);
}

static void a_secret_without_one_of_the_two_is_refused(void **state)
{
	struct named_bytes data[] = {{"tls.crt", {(const uint8_t *)"x", 1}}};
	struct secret secret = {.data = data, .data_count = 1};
	struct err err = {""};

	(void)state;
	assert_null(certificate_from_secret(&secret, &err));
	assert_string_equal(err.text, "has no tls.key");
	data[0].key = "tls.key";
	assert_null(certificate_from_secret(&secret, &err));
	assert_string_equal(err.text, "has no tls.crt");
}

/* ---- names and times ---- */

static void alternative_names_come_first_then_the_common_name(void **state)
{
	struct material material = ec_material("CN.io", "DNS:Shop.Example.com,IP:10.0.0.1,DNS:*.foo.com");
	struct certificate *certificate = load(&material);

	(void)state;
	assert_int_equal(certificate->name_count, 3);
	assert_string_equal(certificate->names[0], "shop.example.com");
	assert_string_equal(certificate->names[1], "*.foo.com");
	assert_string_equal(certificate->names[2], "cn.io");
	certificate_unref(certificate);
	material_done(&material);
}

static void a_wildcard_covers_one_label_and_itself(void **state)
{
	struct material material = ec_material("cn.io", "DNS:shop.example.com,DNS:*.foo.com");
	struct certificate *certificate = load(&material);
	static const struct {
		const char *host;
		bool covered;
	} cases[] = {{"shop.example.com", true},
		     {"www.example.com", false},
		     {"a.foo.com", true},
		     {"*.foo.com", true},
		     {"foo.com", false},
		     {"a.b.foo.com", false},
		     {".foo.com", false},
		     {"cn.io", true},
		     {"*.example.com", false},
		     {"", false},
		     {"_", false}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (certificate_covers(certificate, str_of(cases[i].host)) != cases[i].covered)
			fail_msg("%s", cases[i].host);
	}
	certificate_unref(certificate);
	material_done(&material);
}

static void a_certificate_out_of_its_time_says_so(void **state)
{
	struct certificate certificate = {.not_before_s = 1700000000, .not_after_s = 1710000000};
	char text[64];

	(void)state;
	assert_null(certificate_time_problem(&certificate, 1700000000, text, sizeof(text)));
	assert_null(certificate_time_problem(&certificate, 1710000000, text, sizeof(text)));
	assert_string_equal(certificate_time_problem(&certificate, 1710000001, text, sizeof(text)),
			    "expired on 2024-03-09");
	assert_string_equal(certificate_time_problem(&certificate, 1699999999, text, sizeof(text)),
			    "is not valid before 2023-11-14");
}

static void an_expired_certificate_is_read_all_the_same(void **state)
{
	struct material material = material_of(EVP_EC_gen("P-256"), "a.io", NULL, -3 * 86400);
	struct certificate *certificate = load(&material);
	char text[64];

	(void)state;
	assert_non_null(certificate_time_problem(certificate, (int64_t)time(NULL), text, sizeof(text)));
	certificate_unref(certificate);
	material_done(&material);
}

/* ---- contexts ---- */

static void the_default_certificate_is_ingress_nginxs_fake_one(void **state)
{
	struct certificate *certificate = certificate_self_signed(NULL);
	X509 *leaf;
	char text[256];

	(void)state;
	assert_non_null(certificate);
	leaf = SSL_CTX_get0_certificate(certificate->ctx);
	assert_string_equal(X509_NAME_oneline(X509_get_subject_name(leaf), text, sizeof(text)),
			    "/O=Acme Co/CN=Kubernetes Ingress Controller Fake Certificate");
	assert_int_equal(X509_NAME_cmp(X509_get_subject_name(leaf), X509_get_issuer_name(leaf)), 0);
	assert_string_equal(certificate->names[0], "ingress.local");
	assert_null(certificate_time_problem(certificate, (int64_t)time(NULL), text, sizeof(text)));
	assert_int_equal(EVP_PKEY_get_bits(X509_get0_pubkey(leaf)), 256);
	certificate_unref(certificate);
}

static void two_default_certificates_have_different_keys(void **state)
{
	struct certificate *a = certificate_self_signed(NULL), *b = certificate_self_signed(NULL);

	(void)state;
	assert_int_not_equal(EVP_PKEY_eq(X509_get0_pubkey(SSL_CTX_get0_certificate(a->ctx)),
					 X509_get0_pubkey(SSL_CTX_get0_certificate(b->ctx))),
			     1);
	certificate_unref(a);
	certificate_unref(b);
}

static void count_contexts(void *ctx, SSL_CTX *ssl_ctx)
{
	assert_non_null(ssl_ctx);
	++*(int *)ctx;
}

static void every_context_goes_through_the_set_up_function(void **state)
{
	struct material material = ec_material("a.io", NULL);
	int contexts = 0;

	(void)state;
	certs_set_context_setup(count_contexts, &contexts);
	certificate_unref(load(&material));
	certificate_unref(certificate_self_signed(NULL));
	assert_int_equal(contexts, 2);
	certs_set_context_setup(NULL, NULL);
	material_done(&material);
}

static bool handshake(SSL_CTX *server_ctx, int least, int most)
{
	SSL_CTX *client_ctx = SSL_CTX_new(TLS_client_method());
	SSL *server = SSL_new(server_ctx), *client;
	BIO *to_client, *to_server;
	bool done = false;

	SSL_CTX_set_security_level(client_ctx, 0);
	SSL_CTX_set_min_proto_version(client_ctx, least);
	SSL_CTX_set_max_proto_version(client_ctx, most);
	client = SSL_new(client_ctx);
	BIO_new_bio_pair(&to_client, 0, &to_server, 0);
	SSL_set_bio(server, to_client, to_client);
	SSL_set_bio(client, to_server, to_server);
	SSL_set_accept_state(server);
	SSL_set_connect_state(client);
	for (int i = 0; i < 10 && !done; i++) {
		int client_done = SSL_do_handshake(client), server_done = SSL_do_handshake(server);

		done = client_done == 1 && server_done == 1;
	}
	SSL_free(client);
	SSL_free(server);
	SSL_CTX_free(client_ctx);
	return done;
}

static void tls_1_2_and_1_3_are_spoken_and_nothing_older(void **state)
{
	struct certificate *certificate = certificate_self_signed(NULL);

	(void)state;
	assert_true(handshake(certificate->ctx, TLS1_3_VERSION, TLS1_3_VERSION));
	assert_true(handshake(certificate->ctx, TLS1_2_VERSION, TLS1_2_VERSION));
	assert_false(handshake(certificate->ctx, TLS1_VERSION, TLS1_1_VERSION));
	assert_true(SSL_CTX_get_options(certificate->ctx) & SSL_OP_NO_RENEGOTIATION);
	assert_false(SSL_CTX_get_options(certificate->ctx) & SSL_OP_CIPHER_SERVER_PREFERENCE);
	certificate_unref(certificate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(ec_and_rsa_pairs_are_read),
	    cmocka_unit_test(a_chain_is_served_in_its_order),
	    cmocka_unit_test(a_key_of_another_certificate_is_refused),
	    cmocka_unit_test(what_is_no_pem_is_refused_with_the_name_of_the_key),
	    cmocka_unit_test(a_chain_broken_in_the_middle_is_refused),
	    cmocka_unit_test(a_key_with_a_password_is_refused_and_nobody_is_asked),
	    cmocka_unit_test(a_secret_without_one_of_the_two_is_refused),
	    cmocka_unit_test(alternative_names_come_first_then_the_common_name),
	    cmocka_unit_test(a_wildcard_covers_one_label_and_itself),
	    cmocka_unit_test(a_certificate_out_of_its_time_says_so),
	    cmocka_unit_test(an_expired_certificate_is_read_all_the_same),
	    cmocka_unit_test(the_default_certificate_is_ingress_nginxs_fake_one),
	    cmocka_unit_test(two_default_certificates_have_different_keys),
	    cmocka_unit_test(every_context_goes_through_the_set_up_function),
	    cmocka_unit_test(tls_1_2_and_1_3_are_spoken_and_nothing_older),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
