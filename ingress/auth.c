/* The users of an auth-secret, read from its two shapes, and the credentials of a request. Verifying is
 * auth_pool.c. */
#include "ingress/auth.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/map.h"
#include "ingress/auth_hash.h"
#include "ingress/auth_users.h"
#include "ingress/unconst.h"

#define KEY_BYTES   32
#define USERS_MAX   100000
#define FIELD_BYTES 300

struct auth_user {
	const char *hash;
	_Atomic uint64_t remembered[4]; /* the digest of its password; zeroes: not seen yet */
};

struct auth {
	atomic_uint refs;
	struct map users;         /* name -> struct auth_user */
	struct auth_user **order; /* for decoys; users.count of them */
	EVP_MAC_CTX *mac;         /* keyed; only ever copied */
	struct arena arena;
};

/* ---- life ---- */

static EVP_MAC_CTX *keyed_mac(void)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string("digest", digest, 0),
			       OSSL_PARAM_construct_end()};
	unsigned char key[KEY_BYTES];
	EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *mac = hmac ? EVP_MAC_CTX_new(hmac) : NULL;

	EVP_MAC_free(hmac);
	if (!mac || RAND_bytes(key, sizeof(key)) != 1 || EVP_MAC_init(mac, key, sizeof(key), params) != 1) {
		EVP_MAC_CTX_free(mac);
		mac = NULL;
	}
	OPENSSL_cleanse(key, sizeof(key));
	return mac;
}

static struct auth *auth_new(void)
{
	struct auth *auth = calloc(1, sizeof(*auth));

	if (!auth)
		return NULL;
	atomic_init(&auth->refs, 1);
	auth->mac = keyed_mac();
	return auth->mac ? auth : auth_unref(auth);
}

struct auth *auth_ref(const struct auth *auth)
{
	struct auth *shared = unconst(auth);

	atomic_fetch_add_explicit(&shared->refs, 1, memory_order_relaxed);
	return shared;
}

struct auth *auth_unref(const struct auth *auth)
{
	struct auth *shared = unconst(auth);

	if (!shared || atomic_fetch_sub_explicit(&shared->refs, 1, memory_order_acq_rel) != 1)
		return NULL;
	map_done(&shared->users);
	free(shared->order);
	EVP_MAC_CTX_free(shared->mac);
	arena_done(&shared->arena);
	free(shared);
	return NULL;
}

size_t auth_user_count(const struct auth *auth)
{
	return auth->users.count;
}

/* ---- reading users ---- */

static const char *user_problem(const struct auth *auth, struct str name, struct str hash)
{
	if (name.len == 0)
		return "a user without a name";
	if (memchr(name.p, '\0', name.len) || memchr(hash.p, '\0', hash.len))
		return "a NUL byte";
	if (map_get(&auth->users, name))
		return "the user is there already; the first one counts";
	if (auth->users.count >= USERS_MAX)
		return "more than 100000 users";
	return auth_hash_problem(hash);
}

/* where: "data[auth] line 3". 0 (a finding is no failure) or -ENOMEM. */
static int add_user(struct auth *auth, struct str name, struct str hash, const char *where,
		    struct findings *findings)
{
	const char *problem = user_problem(auth, name, hash);
	struct auth_user *user;

	if (problem) {
		findings_add(findings, where, "%s", problem);
		return 0;
	}
	user = arena_alloc(&auth->arena, sizeof(*user));
	if (!user)
		return -ENOMEM;
	user->hash = arena_dup(&auth->arena, hash);
	return user->hash ? map_set(&auth->users, name, user, NULL) : -ENOMEM;
}

/* One htpasswd line: user:hash, and whatever follows another colon is a comment (nginx). */
static int add_line(struct auth *auth, struct str line, size_t number, struct findings *findings)
{
	struct str name, hash, rest;
	char where[FIELD_BYTES];

	line = str_trim(line);
	if (line.len == 0 || line.p[0] == '#')
		return 0;
	(void)snprintf(where, sizeof(where), "data[auth] line %zu", number);
	rest = str_cut(line, ':', &name);
	if (!rest.p) {
		findings_add(findings, where, "expected user:hash");
		return 0;
	}
	(void)str_cut(rest, ':', &hash);
	return add_user(auth, name, hash, where, findings);
}

static int add_lines(struct auth *auth, struct str text, struct findings *findings)
{
	struct str line;
	int code = 0;

	for (size_t number = 1; text.p && code == 0; number++) {
		text = str_cut(text, '\n', &line);
		code = add_line(auth, line, number, findings);
	}
	return code;
}

static int add_map(struct auth *auth, const struct secret *secret, struct findings *findings)
{
	char where[FIELD_BYTES];
	int code = 0;

	for (size_t i = 0; i < secret->data_count && code == 0; i++) {
		const struct named_bytes *user = &secret->data[i];
		struct str hash = {(const char *)user->value.data, user->value.len};

		(void)snprintf(where, sizeof(where), "data[%s]", user->key);
		code = add_user(auth, str_of(user->key), str_trim(hash), where, findings);
	}
	return code;
}

static int list_in_order(struct auth *auth)
{
	size_t count = 0;

	auth->order = calloc(auth->users.count + 1, sizeof(struct auth_user *));
	if (!auth->order)
		return -ENOMEM;
	for (struct map_iter it = map_begin(&auth->users); map_next(&it);)
		auth->order[count++] = it.value;
	return 0;
}

struct auth *auth_from_htpasswd(struct str text, struct findings *findings)
{
	struct auth *auth = auth_new();

	if (auth && (add_lines(auth, text, findings) || list_in_order(auth)))
		return auth_unref(auth);
	return auth;
}

static struct auth *auth_from_map(const struct secret *secret, struct findings *findings)
{
	struct auth *auth = auth_new();

	if (auth && (add_map(auth, secret, findings) || list_in_order(auth)))
		return auth_unref(auth);
	return auth;
}

struct auth *auth_from_secret(const struct secret *secret, enum auth_secret_type type,
			      struct findings *findings, struct err *err)
{
	const struct bytes *file = secret_get(secret, "auth");
	struct auth *auth = NULL;

	switch (type) {
	case AUTH_SECRET_FILE:
		if (!file) {
			err_set(err, -ENOENT, "has no key \"auth\"");
			return NULL;
		}
		auth = auth_from_htpasswd((struct str){(const char *)file->data, file->len}, findings);
		break;
	case AUTH_SECRET_MAP:
		auth = auth_from_map(secret, findings);
		break;
	}
	if (!auth)
		err_set(err, -ENOMEM, "out of memory");
	return auth;
}

/* ---- finding and remembering them ---- */

struct auth_user *auth_find_user(const struct auth *auth, const char *name)
{
	return map_get(&auth->users, str_of(name));
}

const char *auth_user_hash(const struct auth *auth, const struct auth_user *user, const char *name)
{
	if (user)
		return user->hash;
	if (auth->users.count == 0)
		return NULL;
	return auth->order[hash_bytes(name, strlen(name)) % auth->users.count]->hash;
}

int auth_digest_make(const struct auth *auth, const struct auth_credentials *credentials,
		     struct auth_digest *ret)
{
	/* user NUL password: neither holds a NUL, so two pairs never make the same bytes. */
	size_t len = credentials->user_len + 1 + credentials->password_len, digest_len;
	EVP_MAC_CTX *mac = EVP_MAC_CTX_dup(auth->mac);
	struct auth_digest digest;
	bool made;

	made = mac && EVP_MAC_update(mac, (const unsigned char *)credentials->text, len) == 1 &&
	       EVP_MAC_final(mac, (unsigned char *)digest.words, &digest_len, sizeof(digest.words)) == 1;
	EVP_MAC_CTX_free(mac);
	if (!made)
		return -EIO;
	*ret = digest;
	return 0;
}

/* The four words are read and written one by one: a reader may see half of an old digest and half of a new
 * one, which matches nothing anybody can make. */
bool auth_user_remembers(const struct auth_user *user, const struct auth_digest *digest)
{
	uint64_t different = 0, any = 0;

	for (size_t i = 0; i < 4; i++) {
		uint64_t word = atomic_load_explicit(&user->remembered[i], memory_order_relaxed);

		different |= word ^ digest->words[i];
		any |= word;
	}
	return different == 0 && any != 0;
}

void auth_user_remember(struct auth_user *user, const struct auth_digest *digest)
{
	for (size_t i = 0; i < 4; i++)
		atomic_store_explicit(&user->remembered[i], digest->words[i], memory_order_relaxed);
}

/* ---- credentials ---- */

int auth_credentials_parse(struct str authorization, struct auth_credentials *ret)
{
	struct str scheme, encoded = str_trim(str_cut(authorization, ' ', &scheme));
	struct auth_credentials credentials;
	ssize_t len;
	char *colon;

	if (!str_equal_nocase(scheme, STR_LIT("Basic")))
		return -EBADMSG;
	len = auth_base64_decode(encoded, (unsigned char *)credentials.text, AUTH_CREDENTIALS_MAX);
	if (len < 0 || memchr(credentials.text, '\0', (size_t)len))
		return -EBADMSG;
	colon = memchr(credentials.text, ':', (size_t)len);
	if (!colon)
		return -EBADMSG;
	*colon = '\0';
	credentials.text[len] = '\0';
	credentials.user_len = (size_t)(colon - credentials.text);
	credentials.password_len = (size_t)len - credentials.user_len - 1;
	*ret = credentials;
	OPENSSL_cleanse(&credentials, sizeof(credentials));
	return 0;
}
