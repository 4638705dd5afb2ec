/* Files of users and Authorization fields of any bytes: every user kept has a hash that can be verified in bounded time, and
 * credentials come out as two texts without NUL. The first line is the field, the rest the file. */
/* LINK: ingress/auth.c ingress/auth_hash.c ingress/finding.c conf/object.c */
/* LINK: base/arena.c base/err.c base/map.c base/str.c */
/* LIBS: -laprutil-1 -lapr-1 -lcrypto -lxxhash */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "ingress/auth.h"
#include "ingress/auth_hash.h"
#include "ingress/auth_users.h"

static void must(bool condition)
{
	if (!condition)
		abort();
}

/* Slow hashes are not tried here: a fuzzer would find nothing but those. */
static bool is_quick(const char *hash)
{
	return hash[0] == '{';
}

static void check_user(const struct auth *auth, const struct auth_credentials *credentials)
{
	const char *password = credentials->text + credentials->user_len + 1;
	struct auth_user *user = auth_find_user(auth, credentials->text);
	const char *hash = auth_user_hash(auth, user, credentials->text);
	struct auth_digest digest;

	must((hash != NULL) == (auth_user_count(auth) > 0));
	must(!user || !auth_hash_problem(str_of(hash)));
	must(auth_digest_make(auth, credentials, &digest) == 0);
	if (!user)
		return;
	must(!auth_user_remembers(user, &digest));
	if (is_quick(hash) && auth_hash_matches(hash, password))
		auth_user_remember(user, &digest);
}

static void check_credentials(const struct auth *auth, struct str field)
{
	struct auth_credentials credentials;
	int code = auth_credentials_parse(field, &credentials);

	must(code == 0 || code == -EBADMSG);
	if (code)
		return;
	must(credentials.user_len + 1 + credentials.password_len <= AUTH_CREDENTIALS_MAX);
	must(strlen(credentials.text) == credentials.user_len);
	must(strlen(credentials.text + credentials.user_len + 1) == credentials.password_len);
	check_user(auth, &credentials);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct findings findings = {0};
	struct str field, file = str_cut((struct str){(const char *)data, size}, '\n', &field);
	struct auth *auth = auth_from_htpasswd(file, &findings);

	must(auth != NULL);
	check_credentials(auth, field);
	auth_unref(auth);
	findings_done(&findings);
	return 0;
}
