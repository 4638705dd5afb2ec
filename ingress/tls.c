/* The server side of TLS on OpenSSL 3. */
#include "ingress/tls.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/cleanup.h"

/* Mozilla's intermediate profile; Diffie-Hellman over finite fields left out. */
#define CIPHERS                                                                                    \
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:" \
	"ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define GROUPS            "X25519:P-256:P-384"
#define SESSION_LIFE_S    3600
#define TICKET_KEY_LIFE_S 14400
#define TICKET_KEYS       2 /* the one in use and the one before */
#define SERVER_NAME_MAX   255

struct ticket_key {
	unsigned char name[16], cipher[32], mac[32];
};

struct tls_keys {
	pthread_mutex_t lock;
	struct ticket_key keys[TICKET_KEYS]; /* newest first */
	time_t replaced_s;
	EVP_CIPHER *cipher;
	int offers_index; /* ex_data of certificates' contexts: are told our protocols */
};

struct tls_server {
	SSL_CTX *ctx;
	struct tls_keys *keys;
	tls_certificate_fn *certificate;
	void *certificate_ctx;
};

static int tls_err(struct err *err, const char *what)
{
	char text[256];

	ERR_error_string_n(ERR_get_error(), text, sizeof(text));
	return err_set(err, -EIO, "TLS: %s: %s", what, text);
}

static time_t monotonic_s(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

/* ---- session tickets ---- */

static bool ticket_key_make(struct ticket_key *key)
{
	return RAND_bytes(key->name, sizeof(key->name)) == 1 &&
	       RAND_priv_bytes(key->cipher, sizeof(key->cipher)) == 1 &&
	       RAND_priv_bytes(key->mac, sizeof(key->mac)) == 1;
}

struct tls_keys *tls_keys_free(struct tls_keys *keys)
{
	if (!keys)
		return NULL;
	EVP_CIPHER_free(keys->cipher);
	pthread_mutex_destroy(&keys->lock);
	OPENSSL_cleanse(keys, sizeof(*keys));
	free(keys);
	return NULL;
}
DEFINE_CLEANUP(struct tls_keys *, tls_keys_free)

struct tls_keys *tls_keys_new(struct err *err)
{
	cleanup(tls_keys_free_p) struct tls_keys *keys = calloc(1, sizeof(*keys));

	if (!keys) {
		(void)err_set(err, -ENOMEM, "TLS: out of memory");
		return NULL;
	}
	pthread_mutex_init(&keys->lock, NULL);
	keys->replaced_s = monotonic_s();
	keys->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
	keys->offers_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
	for (size_t i = 0; i < TICKET_KEYS; i++) {
		if (!keys->cipher || keys->offers_index < 0 || !ticket_key_make(&keys->keys[i])) {
			(void)tls_err(err, "ticket keys");
			return NULL;
		}
	}
	return TAKE(keys);
}

static void keys_replace_old(struct tls_keys *keys)
{
	struct ticket_key fresh;
	time_t now = monotonic_s();

	if (now - keys->replaced_s < TICKET_KEY_LIFE_S || !ticket_key_make(&fresh))
		return;
	for (size_t i = TICKET_KEYS - 1; i > 0; i--)
		keys->keys[i] = keys->keys[i - 1];
	keys->keys[0] = fresh;
	keys->replaced_s = now;
	OPENSSL_cleanse(&fresh, sizeof(fresh));
}

/* The position of the named key, or TICKET_KEYS; name NULL: the newest. */
static size_t keys_find(struct tls_keys *keys, const unsigned char *name, struct ticket_key *ret_key)
{
	size_t found = 0;

	pthread_mutex_lock(&keys->lock);
	keys_replace_old(keys);
	while (name && found < TICKET_KEYS &&
	       memcmp(keys->keys[found].name, name, sizeof(ret_key->name)) != 0)
		found++;
	if (found < TICKET_KEYS)
		*ret_key = keys->keys[found];
	pthread_mutex_unlock(&keys->lock);
	return found;
}

static int mac_start(EVP_MAC_CTX *mac, struct ticket_key *key)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {
	    OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof(key->mac)),
	    OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
	    OSSL_PARAM_construct_end(),
	};

	return EVP_MAC_CTX_set_params(mac, params);
}

static struct tls_server *server_of(const SSL *ssl)
{
	/* The context the connection was made with: tls_server_new's, whatever certificate was chosen since.
	 */
	return SSL_get_app_data(ssl);
}

/* SSL_CTX_set_tlsext_ticket_key_evp_cb: 1 go on, 2 go on and issue a new ticket, 0 not ours, -1 failure. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
		     EVP_MAC_CTX *mac, int sealing)
{
	struct tls_keys *keys = server_of(ssl)->keys;
	struct ticket_key key;
	size_t found = keys_find(keys, sealing ? NULL : name, &key);
	int ok;

	if (found == TICKET_KEYS)
		return 0;
	if (sealing) {
		memcpy(name, key.name, sizeof(key.name));
		ok = RAND_bytes(iv, EVP_CIPHER_get_iv_length(keys->cipher)) == 1 &&
		     EVP_EncryptInit_ex2(cipher, keys->cipher, key.cipher, iv, NULL) == 1;
	} else {
		ok = EVP_DecryptInit_ex2(cipher, keys->cipher, key.cipher, iv, NULL) == 1;
	}
	ok = ok && mac_start(mac, &key) == 1;
	OPENSSL_cleanse(&key, sizeof(key));
	if (!ok)
		return -1;
	/* Clients use a ticket of TLS 1.3 once (RFC 8446 appendix C.4). */
	return found == 0 && (sealing || SSL_version(ssl) < TLS1_3_VERSION) ? 1 : 2;
}

/* ---- the server name ---- */

static size_t u16_at(const unsigned char *data)
{
	return (size_t)data[0] << 8 | data[1];
}

/* The host_name of a server_name extension (RFC 6066 section 3) in lower case, without trailing dot; -EBADMSG
 * when malformed. */
static int server_name_parse(const unsigned char *data, size_t len, char name[static SERVER_NAME_MAX],
			     size_t *ret_len)
{
	size_t name_len;

	if (len < 5 || u16_at(data) != len - 2 || data[2] != TLSEXT_NAMETYPE_host_name)
		return -EBADMSG;
	name_len = u16_at(data + 3);
	if (name_len == 0 || name_len > SERVER_NAME_MAX || name_len != len - 5)
		return -EBADMSG;
	for (size_t i = 0; i < name_len; i++) {
		char c = (char)data[5 + i];

		if (c <= ' ' || c == 127)
			return -EBADMSG;
		name[i] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
	}
	*ret_len = name_len - (name[name_len - 1] == '.');
	return 0;
}

static int on_protocols(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
			unsigned int in_len, void *ctx)
{
	static const unsigned char ours[] = "\x08http/1.1";
	unsigned char *chosen = NULL;

	(void)ssl;
	(void)ctx;
	if (SSL_select_next_proto(&chosen, out_len, ours, sizeof(ours) - 1, in, in_len) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL; /* RFC 7301 section 3.2 */
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

/* OpenSSL asks the certificate's context, not the listener's, which protocol to speak. It is written once, under the lock that
 * every handshake passes before it reads it. */
static int offer_protocols(struct tls_keys *keys, SSL_CTX *certificate)
{
	int ok = 1;

	pthread_mutex_lock(&keys->lock);
	if (!SSL_CTX_get_ex_data(certificate, keys->offers_index)) {
		ok = SSL_CTX_set_ex_data(certificate, keys->offers_index, keys);
		SSL_CTX_set_alpn_select_cb(certificate, on_protocols, NULL);
	}
	pthread_mutex_unlock(&keys->lock);
	return ok ? 0 : -1;
}

static int ssl_bind(SSL *ssl, struct str server_name)
{
	const struct tls_server *server = server_of(ssl);
	SSL_CTX *certificate = server->certificate(server->certificate_ctx, server_name);
	unsigned char digest[SHA256_DIGEST_LENGTH];

	if (!certificate || offer_protocols(server->keys, certificate) != 0 ||
	    !SSL_set_SSL_CTX(ssl, certificate))
		return -1;
	SHA256((const unsigned char *)server_name.p, server_name.len, digest);
	return SSL_set_session_id_context(ssl, digest, sizeof(digest)) == 1 ? 0 : -1;
}

/* Runs before the session ticket is looked at, so that the session id context already is the name's. */
static int on_client_hello(SSL *ssl, int *alert, void *ctx)
{
	const unsigned char *extension;
	char name[SERVER_NAME_MAX] = "";
	size_t extension_len, name_len = 0;

	(void)ctx;
	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &extension, &extension_len) == 1 &&
	    server_name_parse(extension, extension_len, name, &name_len) != 0) {
		*alert = SSL_AD_DECODE_ERROR;
		return SSL_CLIENT_HELLO_ERROR;
	}
	if (ssl_bind(ssl, (struct str){name, name_len}) != 0) {
		*alert = SSL_AD_UNRECOGNIZED_NAME;
		return SSL_CLIENT_HELLO_ERROR;
	}
	return SSL_CLIENT_HELLO_SUCCESS;
}

/* ---- the worker's context ---- */

static int ctx_configure(SSL_CTX *ctx)
{
	char groups[] = GROUPS;

	/* read_ahead: header and body of a record in one system call. The buffers go back when they are
	 * empty. */
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* tickets carry all state */
	SSL_CTX_set_timeout(ctx, SESSION_LIFE_S);
	SSL_CTX_set_client_hello_cb(ctx, on_client_hello, NULL);
	return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
	       SSL_CTX_set_cipher_list(ctx, CIPHERS) == 1 && SSL_CTX_set1_groups_list(ctx, groups) == 1 &&
	       SSL_CTX_set_num_tickets(ctx, 1) == 1 &&
	       SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket) == 1;
}

struct tls_server *tls_server_free(struct tls_server *server)
{
	if (!server)
		return NULL;
	SSL_CTX_free(server->ctx);
	free(server);
	return NULL;
}

struct tls_server *tls_server_new(struct tls_keys *keys, tls_certificate_fn *certificate, void *ctx,
				  struct err *err)
{
	struct tls_server *server = calloc(1, sizeof(*server));

	if (!server) {
		(void)err_set(err, -ENOMEM, "TLS: out of memory");
		return NULL;
	}
	server->keys = keys;
	server->certificate = certificate;
	server->certificate_ctx = ctx;
	server->ctx = SSL_CTX_new(TLS_server_method());
	if (server->ctx && ctx_configure(server->ctx))
		return server;
	(void)tls_err(err, "server context");
	return tls_server_free(server);
}

SSL *tls_server_accept(struct tls_server *server, int fd)
{
	SSL *ssl = SSL_new(server->ctx);

	if (!ssl || SSL_set_fd(ssl, fd) != 1 || SSL_set_app_data(ssl, server) != 1) {
		SSL_free(ssl);
		return NULL;
	}
	SSL_set_accept_state(ssl);
	return ssl;
}

enum tls_handshake tls_handshake(SSL *ssl)
{
	int code;

	ERR_clear_error();
	code = SSL_do_handshake(ssl);
	if (code == 1)
		return TLS_HANDSHAKE_DONE;
	switch (SSL_get_error(ssl, code)) {
	case SSL_ERROR_WANT_READ:
		return TLS_HANDSHAKE_READS;
	case SSL_ERROR_WANT_WRITE:
		return TLS_HANDSHAKE_WRITES;
	default:
		return ERR_GET_REASON(ERR_peek_error()) == SSL_R_HTTP_REQUEST ? TLS_HANDSHAKE_IS_PLAIN_HTTP
									      : TLS_HANDSHAKE_FAILED;
	}
}
