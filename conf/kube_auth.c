/* Who we say we are to the API server, now. */
#include "conf/kube_auth.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include <openssl/evp.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "conf/kube_exec.h"
#include "conf/kube_file.h"
#include "conf/kube_secret.h"

#define EXPIRY_LEEWAY_S 5 /* a credential that ends while the request is under way is no good */

struct kube_auth {
	struct ev_loop *loop;
	const struct kube_config *config;
	struct kube_tls *tls;
	const struct kube_timing *timing;
	void (*ready)(void *ctx);
	void *ctx;
	char *header; /* "" when there is none */
	uint64_t generation;
	ev_tstamp file_read_at; /* the token file was read last; 0: never */
	bool file_was_bad;      /* and its trouble was logged */
	struct kube_exec *exec; /* running */
	bool plugin_answered;   /* its credential is in force ... */
	int64_t expires_s;      /* ... until this Unix time; 0: for good */
	ev_tstamp plugin_ended_at;
	struct err plugin_error; /* of its last run; empty when that went well */
};

DEFINE_CLEANUP(struct kube_auth *, kube_auth_free)

/* ---- the header ---- */

/* 0 or -ENOMEM; takes the new text when it differs. */
static int set_header(struct kube_auth *auth, struct buf *text)
{
	if (buf_failed(text))
		return -ENOMEM;
	if (auth->header && str_equal(buf_str(text), str_of(auth->header)))
		return 0;
	char *copy = str_dup(buf_str(text));

	if (!copy)
		return -ENOMEM;
	secret_free(auth->header);
	auth->header = copy;
	auth->generation++;
	return 0;
}

static int set_token(struct kube_auth *auth, struct str token)
{
	struct buf text cleanup(secret_buf_done) = {0};

	if (token.len > 0) {
		buf_append_text(&text, "Bearer ");
		buf_append_str(&text, token);
	}
	return set_header(auth, &text);
}

static int set_basic(struct kube_auth *auth, const char *username, const char *password)
{
	struct buf plain cleanup(secret_buf_done) = {0}, text cleanup(secret_buf_done) = {0};

	buf_printf(&plain, "%s:%s", username, password);
	buf_append_text(&text, "Basic ");
	size_t len = buf_len(&plain);
	char *to = buf_reserve(&text, len / 3 * 4 + 5);

	if (buf_failed(&plain) || !to)
		return -ENOMEM;
	buf_commit(&text,
		   (size_t)EVP_EncodeBlock((unsigned char *)to, (unsigned char *)buf_head(&plain), (int)len));
	return set_header(auth, &text);
}

/* ---- a token file ---- */

static bool is_token(struct str text)
{
	for (size_t i = 0; i < text.len; i++)
		if ((unsigned char)text.p[i] <= 0x20 || (unsigned char)text.p[i] >= 0x7f)
			return false;
	return text.len > 0;
}

static void token_file_trouble(struct kube_auth *auth, const char *why)
{
	if (!auth->file_was_bad)
		log_warn("the token file is not usable, the last good token stays", L_STR("error", why));
	auth->file_was_bad = true;
}

static int read_token_file(struct kube_auth *auth)
{
	struct buf text cleanup(secret_buf_done) = {0};
	char where[KUBE_WHERE_MAX];
	struct err err;

	auth->file_read_at = ev_now(auth->loop);
	int r = kube_file_read(auth->config->token_file, &text, &err);

	if (r == 0 && !is_token(str_trim(buf_str(&text))))
		r = err_set(&err, -EBADMSG, "%s: no token in it", auth->config->token_file);
	if (r < 0) {
		err_wrap(&err, r, "%s", kube_config_where_user(auth->config, "tokenFile", where));
		token_file_trouble(auth, err.text);
		return 0;
	}
	auth->file_was_bad = false;
	return set_token(auth, str_trim(buf_str(&text)));
}

/* ---- a plugin ---- */

/* Takes what the plugin gave into force. */
static int use_credential(struct kube_auth *auth, const struct kube_credential *credential, struct err *err)
{
	char where[KUBE_WHERE_MAX];
	uint64_t generation = auth->tls ? kube_tls_generation(auth->tls) : 0;
	int r = auth->tls ? kube_tls_set_client(auth->tls, str_of(credential->certificate),
						str_of(credential->key), err)
			  : 0;

	if (r == 0)
		r = set_token(auth, str_of(credential->token));
	if (r < 0)
		return err_wrap(err, r, "%s", kube_config_where_user(auth->config, "exec", where));
	if (auth->tls && kube_tls_generation(auth->tls) != generation)
		auth->generation++;
	auth->plugin_answered = true;
	auth->expires_s = credential->expires_s;
	return 0;
}

static void on_plugin_end(void *ctx, int code, struct kube_credential *credential, const struct err *why)
{
	struct kube_auth *auth = ctx;
	struct err err = {{0}};

	auth->exec = kube_exec_free(auth->exec);
	auth->plugin_ended_at = ev_now(auth->loop);
	auth->plugin_error.text[0] = '\0';
	if (code < 0)
		auth->plugin_error = *why;
	else if (use_credential(auth, credential, &err) < 0)
		auth->plugin_error = err;
	auth->ready(auth->ctx);
}

static bool is_expired(const struct kube_auth *auth)
{
	return auth->expires_s != 0 && time(NULL) + EXPIRY_LEEWAY_S >= auth->expires_s;
}

static bool ran_just_now(const struct kube_auth *auth)
{
	return ev_now(auth->loop) - auth->plugin_ended_at < auth->timing->exec_apart_s;
}

/* 0 when a credential is in force, -EAGAIN when one is coming. */
static int ask_plugin(struct kube_auth *auth, struct err *err)
{
	if (auth->exec)
		return -EAGAIN;
	if (auth->plugin_answered && !is_expired(auth))
		return 0;
	if (auth->plugin_error.text[0] && ran_just_now(auth))
		return err_set(err, -EIO, "%s", auth->plugin_error.text);
	auth->exec =
	    kube_exec_start(auth->loop, auth->config, auth->timing->exec_s, on_plugin_end, auth, err);
	return auth->exec ? -EAGAIN : -EIO;
}

/* ---- the outside ---- */

/* Until there was a first token the file is looked at each time, later only now and then. */
static int refresh_token(struct kube_auth *auth, struct err *err)
{
	bool none = auth->header[0] == '\0';
	bool due = none || ev_now(auth->loop) - auth->file_read_at >= auth->timing->token_file_s;

	if (due && read_token_file(auth) < 0)
		return err_set(err, -ENOMEM, "out of memory");
	if (auth->header[0] == '\0')
		return err_set(err, -ENOENT, "%s: no token in it yet", auth->config->token_file);
	return 0;
}

static int refresh(struct kube_auth *auth, struct err *err)
{
	if (auth->config->exec)
		return ask_plugin(auth, err);
	return auth->config->token_file[0] ? refresh_token(auth, err) : 0;
}

int kube_auth_get(struct kube_auth *auth, struct kube_authorization *ret, struct err *err)
{
	int r = refresh(auth, err);

	if (r == 0)
		*ret = (struct kube_authorization){.header = auth->header, .generation = auth->generation};
	return r;
}

bool kube_auth_refused(struct kube_auth *auth, uint64_t generation)
{
	if (generation != auth->generation)
		return true;
	if (auth->config->token_file[0] && read_token_file(auth) == 0)
		return auth->generation != generation;
	if (!auth->config->exec || ran_just_now(auth))
		return false;
	auth->plugin_answered = false;
	return true;
}

/* What is known before anything is fetched. */
static int set_first(struct kube_auth *auth, struct err *err)
{
	const struct kube_config *config = auth->config;
	int r = config->username[0] ? set_basic(auth, config->username, config->password)
				    : set_token(auth, str_of(config->token));

	if (r == 0 && config->token_file[0])
		r = read_token_file(auth);
	if (r < 0)
		return err_set(err, r, "out of memory");
	if (config->exec && !ev_is_default_loop(auth->loop))
		return err_set(err, -EINVAL, "a credential plugin needs the default event loop");
	return 0;
}

struct kube_auth *kube_auth_new(struct ev_loop *loop, const struct kube_config *config, struct kube_tls *tls,
				const struct kube_timing *timing, void (*ready)(void *ctx), void *ctx,
				struct err *err)
{
	struct kube_auth *auth cleanup(kube_auth_free_p) = malloc(sizeof(*auth));

	if (!auth) {
		err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	*auth = (struct kube_auth){
	    .loop = loop,
	    .config = config,
	    .tls = tls,
	    .timing = timing,
	    .ready = ready,
	    .ctx = ctx,
	};
	return set_first(auth, err) == 0 ? TAKE(auth) : NULL;
}

struct kube_auth *kube_auth_free(struct kube_auth *auth)
{
	if (!auth)
		return NULL;
	kube_exec_free(auth->exec);
	secret_free(auth->header);
	free(auth);
	return NULL;
}
