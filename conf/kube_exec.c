/* Credential plugins: a child process with a pipe to us, watched by the loop. */
#include "conf/kube_exec.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "conf/kube_file.h"
#include "conf/kube_secret.h"
#include "conf/node.h"

#define OUTPUT_MAX_BYTES (1u << 20)

struct kube_exec {
	struct ev_loop *loop;
	const struct kube_config *config;
	double timeout_s;
	kube_exec_fn *fn;
	void *ctx;
	pid_t pid; /* 0 once it ended */
	int fd;    /* its standard output */
	ev_child child;
	ev_io readable;
	ev_timer timeout;
	struct buf output;
};

DEFINE_CLEANUP(struct kube_exec *, kube_exec_free)

/* ---- what the program prints ---- */

void kube_credential_done(struct kube_credential *credential)
{
	secret_free(credential->token);
	secret_free(credential->certificate);
	secret_free(credential->key);
	*credential = (struct kube_credential){0};
}

/* "+hh:mm", "-hh:mm" or "Z" to seconds east. */
static int parse_offset(struct str text, int64_t *ret_s)
{
	uint64_t hours, minutes;

	if (str_is(text, "Z") || str_is(text, "z")) {
		*ret_s = 0;
		return 0;
	}
	if (text.len != 6 || (text.p[0] != '+' && text.p[0] != '-') || text.p[3] != ':' ||
	    str_to_u64((struct str){text.p + 1, 2}, 23, &hours) < 0 ||
	    str_to_u64((struct str){text.p + 4, 2}, 59, &minutes) < 0)
		return -EINVAL;
	*ret_s = (int64_t)(hours * 3600 + minutes * 60) * (text.p[0] == '-' ? -1 : 1);
	return 0;
}

int kube_time_parse(struct str text, int64_t *ret_s)
{
	struct tm tm = {0};
	int64_t offset_s;
	char copy[64];

	if (text.len >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, text.p, text.len);
	copy[text.len] = '\0';
	const char *rest = strptime(copy, "%Y-%m-%dT%H:%M:%S", &tm);

	if (!rest)
		return -EINVAL;
	if (*rest == '.')
		rest += 1 + strspn(rest + 1, "0123456789");
	if (parse_offset(str_of(rest), &offset_s) < 0)
		return -EINVAL;
	*ret_s = timegm(&tm) - offset_s;
	return 0;
}

/* A string of status, copied; "" when absent. */
static int copy_status(const struct node *status, const char *field, char **ret, struct err *err)
{
	const struct node *node = node_get(status, field);
	bool absent = !node || node->type == NODE_NULL;

	if (!absent && node->type != NODE_STRING) {
		err_set(err, -EBADMSG, "status.%s: expected a string", field);
		return -EBADMSG;
	}
	*ret = str_dup(absent ? STR_LIT("") : node->text);
	if (*ret)
		return 0;
	err_set(err, -ENOMEM, "out of memory");
	return -ENOMEM;
}

static int check_credential(const struct kube_credential *credential, struct err *err)
{
	if (credential->certificate[0] ? !credential->key[0] : credential->key[0])
		return err_set(err, -EBADMSG, "status: clientCertificateData and clientKeyData go together");
	if (!credential->token[0] && !credential->certificate[0])
		return err_set(err, -EBADMSG, "status: neither token nor clientCertificateData");
	if (credential->token[strcspn(credential->token, "\r\n\t ")])
		return err_set(err, -EBADMSG, "status.token: has white space in it");
	return 0;
}

static int read_status(const struct node *document, const char *api_version,
		       struct kube_credential *credential, struct err *err)
{
	const struct node *version = node_get(document, "apiVersion"), *status = node_get(document, "status");
	const struct node *expires = node_get(status, "expirationTimestamp");

	if (!version || !str_is(version->text, api_version))
		return err_set(err, -EBADMSG, "apiVersion: expected %s", api_version);
	if (!status || status->type != NODE_MAP)
		return err_set(err, -EBADMSG, "status: missing");
	int r = copy_status(status, "token", &credential->token, err);

	if (r == 0)
		r = copy_status(status, "clientCertificateData", &credential->certificate, err);
	if (r == 0)
		r = copy_status(status, "clientKeyData", &credential->key, err);
	if (r == 0 && expires && expires->type != NODE_NULL &&
	    kube_time_parse(expires->text, &credential->expires_s) < 0)
		return err_set(err, -EBADMSG, "status.expirationTimestamp: expected RFC 3339 time");
	return r < 0 ? r : check_credential(credential, err);
}

int kube_credential_parse(struct str text, const char *api_version, struct kube_credential *ret,
			  struct err *err)
{
	struct arena arena cleanup(arena_done) = {0};
	struct kube_credential credential cleanup(kube_credential_done) = {0};
	struct node *document;
	/* The parser's own message could quote what it read: a token. */
	int r = node_parse_json(&arena, text.p, text.len, &document, NULL);

	if (r < 0)
		return err_set(err, r, r == -ENOMEM ? "out of memory" : "its output is not JSON");
	r = read_status(document, api_version, &credential, err);
	if (r < 0)
		return r;
	*ret = credential;
	credential = (struct kube_credential){0};
	return 0;
}

/* ---- the end of the program ---- */

static void stop_watching(struct kube_exec *exec)
{
	ev_child_stop(exec->loop, &exec->child);
	ev_io_stop(exec->loop, &exec->readable);
	ev_timer_stop(exec->loop, &exec->timeout);
}

static const char *command(const struct kube_exec *exec)
{
	return exec->config->exec->command;
}

/* The last thing done with exec: fn may free it. */
static void finish(struct kube_exec *exec, int code, struct kube_credential *credential, struct err *err)
{
	char where[KUBE_WHERE_MAX];

	stop_watching(exec);
	if (code < 0)
		err_wrap(err, code, "%s: %s", kube_config_where_user(exec->config, "exec", where),
			 command(exec));
	exec->fn(exec->ctx, code, code < 0 ? NULL : credential, err);
}

static void fail(struct kube_exec *exec, int code, const char *why)
{
	struct err err;

	finish(exec, err_set(&err, code, "%s", why), NULL, &err);
}

/* Reads what is there; false when there is too much. */
static bool read_output(struct kube_exec *exec)
{
	for (;;) {
		char *to = buf_reserve(&exec->output, 4096);
		ssize_t n = to ? read(exec->fd, to, 4096) : -1;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			/* The end, or nothing more now: the child's end is told apart. */
			if (n == 0)
				ev_io_stop(exec->loop, &exec->readable);
			return !buf_failed(&exec->output);
		}
		buf_commit(&exec->output, (size_t)n);
		if (buf_len(&exec->output) > OUTPUT_MAX_BYTES)
			return false;
	}
}

static void on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct kube_exec *exec = watcher->data;

	(void)loop, (void)events;
	if (!read_output(exec))
		fail(exec, -EFBIG, "printed too much");
}

static void on_timeout(struct ev_loop *loop, ev_timer *watcher, int events)
{
	struct kube_exec *exec = watcher->data;
	char why[64];

	(void)loop, (void)events;
	snprintf(why, sizeof(why), "did not end within %.0f s", exec->timeout_s);
	fail(exec, -ETIMEDOUT, why);
}

static void on_child_end(struct ev_loop *loop, ev_child *watcher, int events)
{
	struct kube_exec *exec = watcher->data;
	struct kube_credential credential cleanup(kube_credential_done) = {0};
	int status = watcher->rstatus, r;
	struct err err;

	(void)loop, (void)events;
	exec->pid = 0;
	if (!read_output(exec))
		r = err_set(&err, -EFBIG, "printed too much");
	else if (WIFSIGNALED(status))
		r = err_set(&err, -EIO, "was killed by signal %d", WTERMSIG(status));
	else if (WEXITSTATUS(status) != 0)
		r = err_set(&err, -EIO, "ended with status %d", WEXITSTATUS(status));
	else
		r = kube_credential_parse(buf_str(&exec->output), exec->config->exec->api_version,
					  &credential, &err);
	finish(exec, r, &credential, &err);
}

/* ---- its start ---- */

static const char *ca_text(const struct kube_config *config, struct buf *storage)
{
	if (config->ca.text.len > 0)
		buf_append_str(storage, config->ca.text);
	else if (config->ca.file[0])
		(void)kube_file_read(config->ca.file, storage,
				     NULL); /* kube_tls says so if it cannot be read */
	buf_append_char(storage, '\0');
	return buf_failed(storage) ? "" : buf_head(storage);
}

static void append_base64(struct buf *out, const char *text)
{
	size_t len = strlen(text);
	char *to = len < INT32_MAX / 2 ? buf_reserve(out, len / 3 * 4 + 5) : NULL;

	if (to)
		buf_commit(
		    out, (size_t)EVP_EncodeBlock((unsigned char *)to, (const unsigned char *)text, (int)len));
}

static void append_cluster_info(struct buf *out, const struct kube_config *config)
{
	struct buf ca cleanup(buf_done) = {0};

	buf_append_text(out, ",\"cluster\":{\"server\":\"");
	buf_append_json(out, str_of(config->server));
	buf_append_text(out, "\",\"tls-server-name\":\"");
	buf_append_json(out, str_of(config->tls_server_name));
	buf_printf(out, "\",\"insecure-skip-tls-verify\":%s,\"certificate-authority-data\":\"",
		   config->insecure_skip_tls_verify ? "true" : "false");
	append_base64(out, ca_text(config, &ca));
	buf_append_text(out, "\"}");
}

/* What the program may want to know about us, as the API defines it. NULL when out of memory. */
static char *exec_info(const struct kube_config *config)
{
	struct buf out cleanup(buf_done) = {0};

	buf_printf(&out, "KUBERNETES_EXEC_INFO={\"apiVersion\":\"%s\",\"kind\":\"ExecCredential\",\"spec\":{",
		   config->exec->api_version);
	buf_append_text(&out, "\"interactive\":false");
	if (config->exec->provide_cluster_info)
		append_cluster_info(&out, config);
	buf_append_text(&out, "}}");
	return buf_take_text(&out);
}

static bool sets_same(const char *a, const char *b)
{
	size_t name_len = strcspn(a, "=");

	return strncmp(a, b, name_len + 1) == 0;
}

static bool is_set_again(const char *variable, const struct kube_exec_config *exec, const char *info)
{
	for (size_t i = 0; i < exec->env_count; i++)
		if (sets_same(variable, exec->env[i]))
			return true;
	return sets_same(variable, info);
}

/* Our own environment, with the plugin's variables in place of ours. The array is the caller's, not the
 * texts. */
static char **exec_environment(const struct kube_exec_config *exec, char *info)
{
	size_t count = 0, kept = 0;

	while (environ[count])
		count++;
	char **variables = calloc(count + exec->env_count + 2, sizeof(*variables));

	if (!variables)
		return NULL;
	for (size_t i = 0; i < count; i++)
		if (!is_set_again(environ[i], exec, info))
			variables[kept++] = environ[i];
	for (size_t i = 0; i < exec->env_count; i++)
		variables[kept++] = (char *)(uintptr_t)exec->env[i]; /* posix_spawn only reads */
	variables[kept] = info;
	return variables;
}

static char **exec_arguments(const struct kube_exec_config *exec)
{
	char **arguments = calloc(exec->arg_count + 2, sizeof(*arguments));

	if (!arguments)
		return NULL;
	arguments[0] = (char *)(uintptr_t)exec->command;
	for (size_t i = 0; i < exec->arg_count; i++)
		arguments[i + 1] = (char *)(uintptr_t)exec->args[i];
	return arguments;
}

/* Signals as a program expects them, a process group of its own so that all of it can be killed. */
static int set_attributes(posix_spawnattr_t *attributes)
{
	sigset_t none, all;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_setsigmask(attributes, &none);
	posix_spawnattr_setsigdefault(attributes, &all);
	posix_spawnattr_setpgroup(attributes, 0);
	return posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
							POSIX_SPAWN_SETPGROUP);
}

/* 0 or a negative errno. All our own descriptors are close-on-exec. */
static int spawn(const struct kube_exec_config *exec, int output_fd, char **environment, pid_t *ret_pid)
{
	char **arguments cleanup(free_p) = exec_arguments(exec);
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;

	if (!arguments)
		return -ENOMEM;
	if (posix_spawn_file_actions_init(&actions) != 0)
		return -ENOMEM;
	if (posix_spawnattr_init(&attributes) != 0) {
		posix_spawn_file_actions_destroy(&actions);
		return -ENOMEM;
	}
	int r = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);

	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&actions, output_fd, STDOUT_FILENO);
	if (r == 0)
		r = set_attributes(&attributes);
	if (r == 0)
		r = posix_spawnp(ret_pid, exec->command, &actions, &attributes, arguments, environment);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return -r;
}

static int start_child(struct kube_exec *exec)
{
	int output_fd cleanup(close_p) = -1;
	char *info cleanup(free_p) = exec_info(exec->config);
	char **environment cleanup(free_p) = info ? exec_environment(exec->config->exec, info) : NULL;
	int fds[2];

	if (!environment)
		return -ENOMEM;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	exec->fd = fds[0];
	output_fd = fds[1];
	if (fcntl(exec->fd, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	return spawn(exec->config->exec, output_fd, environment, &exec->pid);
}

static void start_watching(struct kube_exec *exec)
{
	ev_child_init(&exec->child, on_child_end, exec->pid, 0);
	ev_io_init(&exec->readable, on_readable, exec->fd, EV_READ);
	ev_timer_init(&exec->timeout, on_timeout, exec->timeout_s, 0);
	exec->child.data = exec->readable.data = exec->timeout.data = exec;
	ev_child_start(exec->loop, &exec->child);
	ev_io_start(exec->loop, &exec->readable);
	ev_timer_start(exec->loop, &exec->timeout);
}

static int start_error(const struct kube_exec *exec, int code, struct err *err)
{
	const char *hint = exec->config->exec->install_hint;
	char where[KUBE_WHERE_MAX];

	return err_set(err, code, "%s: %s: %s%s%s", kube_config_where_user(exec->config, "exec", where),
		       command(exec), strerror(-code), code == -ENOENT && hint[0] ? ": " : "",
		       code == -ENOENT ? hint : "");
}

struct kube_exec *kube_exec_start(struct ev_loop *loop, const struct kube_config *config, double timeout_s,
				  kube_exec_fn *fn, void *ctx, struct err *err)
{
	struct kube_exec *exec cleanup(kube_exec_free_p) = malloc(sizeof(*exec));

	if (!exec) {
		err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	*exec = (struct kube_exec){
	    .loop = loop,
	    .config = config,
	    .timeout_s = timeout_s,
	    .fn = fn,
	    .ctx = ctx,
	    .fd = -1,
	};
	int r = start_child(exec);

	if (r < 0) {
		exec->pid = 0;
		start_error(exec, r, err);
		return NULL;
	}
	start_watching(exec);
	return TAKE(exec);
}

struct kube_exec *kube_exec_free(struct kube_exec *exec)
{
	if (!exec)
		return NULL;
	stop_watching(exec);
	if (exec->pid > 0) {
		/* The loop reaps it: its handler takes every child that ends. */
		kill(-exec->pid, SIGKILL);
	}
	if (exec->fd >= 0)
		close(exec->fd);
	secret_buf_done(&exec->output);
	free(exec);
	return NULL;
}
