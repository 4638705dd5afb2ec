/* Password hashes: kinds, their cost, and verification through libaprutil (bcrypt, apr1, {SHA}, crypt) or by
 * hand ({SSHA} and {PLAIN}, which nginx takes and libaprutil does not). */
#include "ingress/auth_hash.h"

#include <errno.h>
#include <stdint.h>

#include <apr_md5.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#define BCRYPT_LEN          60
#define BCRYPT_COST_MAX     15
#define SHACRYPT_ROUNDS_MAX 1000000
#define SHA1_BYTES          20
#define SALTED_MAX_BYTES    256

/* ---- base64 ---- */

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

static struct str without_padding(struct str text)
{
	size_t padded_len = text.len;

	if (padded_len % 4)
		return text;
	while (text.len && padded_len - text.len < 2 && text.p[text.len - 1] == '=')
		text.len--;
	return text;
}

ssize_t auth_base64_decode(struct str text, unsigned char *out, size_t max)
{
	struct str digits = without_padding(text);
	uint32_t bits = 0;
	unsigned bit_count = 0;
	size_t len = 0;

	if (digits.len % 4 == 1 || digits.len / 4 * 3 + (digits.len % 4 ? digits.len % 4 - 1 : 0) > max)
		return -EBADMSG;
	for (size_t i = 0; i < digits.len; i++) {
		int value = base64_value(digits.p[i]);

		if (value < 0)
			return -EBADMSG;
		bits = bits << 6 | (uint32_t)value;
		bit_count += 6;
		if (bit_count >= 8) {
			bit_count -= 8;
			out[len++] = (unsigned char)(bits >> bit_count);
		}
	}
	return (ssize_t)len;
}

/* ---- what can be used ---- */

static bool all_in(struct str text, const char *extra)
{
	for (size_t i = 0; i < text.len; i++) {
		char c = text.p[i];

		if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
		      (c && strchr(extra, c))))
			return false;
	}
	return true;
}

static bool is_bcrypt_revision(char c)
{
	return c == 'a' || c == 'b' || c == 'y';
}

static const char *bcrypt_problem(struct str hash)
{
	uint64_t cost;

	if (hash.len != BCRYPT_LEN || !is_bcrypt_revision(hash.p[2]) || hash.p[3] != '$' ||
	    hash.p[6] != '$' || str_to_u64((struct str){hash.p + 4, 2}, 99, &cost) || cost < 4 ||
	    !all_in((struct str){hash.p + 7, hash.len - 7}, "./"))
		return "not a complete bcrypt hash";
	return cost > BCRYPT_COST_MAX ? "bcrypt cost above 15" : NULL;
}

static const char *shacrypt_problem(struct str hash)
{
	struct str rest = {hash.p + 3, hash.len - 3}, rounds_text;
	uint64_t rounds;

	if (!all_in(rest, "./$="))
		return "not a crypt hash";
	if (!str_has_prefix(rest, STR_LIT("rounds=")))
		return NULL;
	(void)str_cut((struct str){rest.p + 7, rest.len - 7}, '$', &rounds_text);
	if (str_to_u64(rounds_text, UINT32_MAX, &rounds) || rounds > SHACRYPT_ROUNDS_MAX)
		return "more than 1000000 rounds";
	return NULL;
}

static const char *salted_sha_problem(struct str hash)
{
	unsigned char bytes[SALTED_MAX_BYTES];

	return auth_base64_decode((struct str){hash.p + 6, hash.len - 6}, bytes, sizeof(bytes)) < SHA1_BYTES
		   ? "not a complete {SSHA} hash"
		   : NULL;
}

static const char *sha_problem(struct str hash)
{
	unsigned char bytes[SHA1_BYTES];

	return auth_base64_decode((struct str){hash.p + 5, hash.len - 5}, bytes, sizeof(bytes)) != SHA1_BYTES
		   ? "not a complete {SHA} hash"
		   : NULL;
}

const char *auth_hash_problem(struct str hash)
{
	if (str_has_prefix(hash, STR_LIT("$2")))
		return bcrypt_problem(hash);
	if (str_has_prefix(hash, STR_LIT("$5$")) || str_has_prefix(hash, STR_LIT("$6$")))
		return shacrypt_problem(hash);
	if (str_has_prefix(hash, STR_LIT("$apr1$")) || str_has_prefix(hash, STR_LIT("$1$")) ||
	    str_has_prefix(hash, STR_LIT("$y$j9T$")))
		return all_in(hash, "./$") ? NULL : "not a crypt hash";
	if (str_has_prefix(hash, STR_LIT("{SHA}")))
		return sha_problem(hash);
	if (str_has_prefix(hash, STR_LIT("{SSHA}")))
		return salted_sha_problem(hash);
	if (str_has_prefix(hash, STR_LIT("{PLAIN}")))
		return NULL;
	if (hash.len == 13 && all_in(hash, "./"))
		return NULL;
	return "a kind of hash that is not supported (bcrypt, apr1, {SHA}, {SSHA}, {PLAIN} and crypt are)";
}

/* ---- verification ---- */

static bool salted_sha_matches(struct str encoded, const char *password)
{
	unsigned char stored[SALTED_MAX_BYTES], computed[EVP_MAX_MD_SIZE];
	ssize_t stored_len = auth_base64_decode(encoded, stored, sizeof(stored));
	EVP_MD_CTX *ctx = stored_len >= SHA1_BYTES ? EVP_MD_CTX_new() : NULL;
	bool matches;

	matches = ctx && EVP_DigestInit_ex(ctx, EVP_sha1(), NULL) == 1 &&
		  EVP_DigestUpdate(ctx, password, strlen(password)) == 1 &&
		  EVP_DigestUpdate(ctx, stored + SHA1_BYTES, (size_t)stored_len - SHA1_BYTES) == 1 &&
		  EVP_DigestFinal_ex(ctx, computed, NULL) == 1 &&
		  CRYPTO_memcmp(computed, stored, SHA1_BYTES) == 0;
	EVP_MD_CTX_free(ctx);
	return matches;
}

static bool plain_matches(struct str stored, const char *password)
{
	return stored.len == strlen(password) && CRYPTO_memcmp(stored.p, password, stored.len) == 0;
}

bool auth_hash_matches(const char *hash, const char *password)
{
	if (str_has_prefix(str_of(hash), STR_LIT("{SSHA}")))
		return salted_sha_matches(str_of(hash + 6), password);
	if (str_has_prefix(str_of(hash), STR_LIT("{PLAIN}")))
		return plain_matches(str_of(hash + 7), password);
	return apr_password_validate(password, hash) == APR_SUCCESS;
}
