/* Reads kubeconfig files and the pod's service account into struct kube_config. */
#include "conf/kubeconfig.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/addr.h"
#include "base/cleanup.h"
#include "conf/kube_file.h"
#include "conf/kube_secret.h"
#include "conf/node.h"

/* What is being read, so that a message can say where. */
struct reader {
	struct kube_config *config;
	const char *section, *entry; /* "users", "web"; NULL at the top of the file */
	struct err *err;
};

DEFINE_CLEANUP(struct kube_config *, kube_config_free)

static void node_yaml_close_p(struct node_yaml **yaml)
{
	(void)node_yaml_close(*yaml);
}

/* ---- messages ---- */

static const char *where(const char *file, const char *section, const char *entry, const char *field,
			 char buffer[static KUBE_WHERE_MAX])
{
	if (section)
		snprintf(buffer, KUBE_WHERE_MAX, "%s: %s[\"%s\"]: %s", file, section, entry, field);
	else
		snprintf(buffer, KUBE_WHERE_MAX, "%s: %s", file, field);
	return buffer;
}

const char *kube_config_where_user(const struct kube_config *config, const char *field,
				   char buffer[static KUBE_WHERE_MAX])
{
	return where(config->file, config->user[0] ? "users" : NULL, config->user, field, buffer);
}

const char *kube_config_where_cluster(const struct kube_config *config, const char *field,
				      char buffer[static KUBE_WHERE_MAX])
{
	return where(config->file, config->cluster[0] ? "clusters" : NULL, config->cluster, field, buffer);
}

__attribute__((format(printf, 4, 5))) static int refuse(const struct reader *reader, int code,
							const char *field, const char *format, ...)
{
	char place[KUBE_WHERE_MAX], why[256];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	where(reader->config->file, reader->section, reader->entry, field, place);
	return err_set(reader->err, code, "%s: %s", place, why);
}

static int no_memory(const struct reader *reader)
{
	return err_set(reader->err, -ENOMEM, "out of memory");
}

/* ---- fields ---- */

static bool is_absent(const struct node *node)
{
	return !node || node->type == NODE_NULL;
}

static int keep(const struct reader *reader, struct str text, const char **ret)
{
	char *copy = arena_dup(&reader->config->arena, text);

	if (!copy)
		return no_memory(reader);
	*ret = copy;
	return 0;
}

/* Control characters have no place in any of these strings, and would split an HTTP header. */
static bool has_control(struct str text)
{
	for (size_t i = 0; i < text.len; i++)
		if ((unsigned char)text.p[i] < 0x20 || text.p[i] == 0x7f)
			return true;
	return false;
}

static int read_string(const struct reader *reader, const struct node *map, const char *field,
		       const char **ret)
{
	const struct node *node = node_get(map, field);

	if (is_absent(node))
		return 0;
	if (node->type == NODE_LIST || node->type == NODE_MAP)
		return refuse(reader, -EBADMSG, field, "expected a string");
	if (has_control(node->text))
		return refuse(reader, -EBADMSG, field, "has a control character in it");
	return keep(reader, node->text, ret);
}

static int read_bool(const struct reader *reader, const struct node *map, const char *field, bool *ret)
{
	const struct node *node = node_get(map, field);

	if (is_absent(node))
		return 0;
	if (node->type != NODE_BOOL)
		return refuse(reader, -EBADMSG, field, "expected true or false");
	*ret = node->boolean;
	return 0;
}

/* Relative names start from the kubeconfig's folder. */
static int keep_path(const struct reader *reader, const char *path, const char **ret)
{
	const char *file = reader->config->file, *slash = strrchr(file, '/');
	char *joined;

	if (path[0] == '/' || path[0] == '\0' || !slash)
		return keep(reader, str_of(path), ret);
	size_t folder_len = (size_t)(slash - file) + 1;

	joined = arena_alloc(&reader->config->arena, folder_len + strlen(path) + 1);
	if (!joined)
		return no_memory(reader);
	memcpy(joined, file, folder_len);
	memcpy(joined + folder_len, path, strlen(path) + 1);
	*ret = joined;
	return 0;
}

static int read_path(const struct reader *reader, const struct node *map, const char *field, const char **ret)
{
	const char *path = "";
	int r = read_string(reader, map, field, &path);

	return r < 0 ? r : keep_path(reader, path, ret);
}

static void evp_encode_ctx_free_p(EVP_ENCODE_CTX **ctx)
{
	EVP_ENCODE_CTX_free(*ctx);
}

/* Base64 with line breaks allowed, as kubectl writes and people paste it. */
static int decode_base64(const struct reader *reader, struct str text, struct str *ret)
{
	EVP_ENCODE_CTX *ctx cleanup(evp_encode_ctx_free_p) = EVP_ENCODE_CTX_new();
	unsigned char *data = arena_alloc(&reader->config->arena, text.len + 1);
	int len = 0, rest = 0;

	if (!ctx || !data)
		return no_memory(reader);
	if (text.len > KUBE_FILE_MAX_BYTES)
		return -EBADMSG;
	EVP_DecodeInit(ctx);
	if (EVP_DecodeUpdate(ctx, data, &len, (const unsigned char *)text.p, (int)text.len) < 0 ||
	    EVP_DecodeFinal(ctx, data + len, &rest) < 0)
		return -EBADMSG;
	*ret = (struct str){(const char *)data, (size_t)(len + rest)};
	return 0;
}

/* `field` names a file, `field`-data holds the text itself and wins. */
static int read_pem(const struct reader *reader, const struct node *map, const char *field,
		    struct kube_pem *ret)
{
	char data_field[64];

	snprintf(data_field, sizeof(data_field), "%s-data", field);
	const struct node *data = node_get(map, data_field);

	if (is_absent(data) || (data->type == NODE_STRING && data->text.len == 0))
		return read_path(reader, map, field, &ret->file);
	if (data->type != NODE_STRING)
		return refuse(reader, -EBADMSG, data_field, "expected a string");
	int r = decode_base64(reader, data->text, &ret->text);

	return r == -EBADMSG || (r == 0 && ret->text.len == 0)
		   ? refuse(reader, -EBADMSG, data_field, "not base64")
		   : r;
}

static int refuse_fields(const struct reader *reader, const struct node *map, const char *const *fields)
{
	for (; *fields; fields++)
		if (!is_absent(node_get(map, *fields)))
			return refuse(reader, -ENOTSUP, *fields, "not supported");
	return 0;
}

/* ---- the server's address ---- */

static bool is_host_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
	       c == '.' || c == '_' || c == ':';
}

static bool is_host(struct str host)
{
	for (size_t i = 0; i < host.len; i++)
		if (!is_host_char(host.p[i]))
			return false;
	return host.len > 0 && host.len <= 253;
}

/* "host", "host:port", "[v6]", "[v6]:port"; *port keeps its default when none is given. */
static int split_authority(struct str authority, struct str *ret_host, uint16_t *port)
{
	struct str rest;

	if (authority.len > 0 && authority.p[0] == '[') {
		authority.p++, authority.len--;
		rest = str_cut(authority, ']', ret_host);
		if (!rest.p || (rest.len > 0 && rest.p[0] != ':'))
			return -EINVAL;
		rest = rest.len > 0 ? (struct str){rest.p + 1, rest.len - 1} : (struct str){NULL, 0};
	} else {
		rest = str_cut(authority, ':', ret_host);
	}
	uint64_t number = *port;

	if (!is_host(*ret_host) || (rest.p && (str_to_u64(rest, UINT16_MAX, &number) < 0 || number == 0)))
		return -EINVAL;
	*port = (uint16_t)number;
	return 0;
}

static bool is_path(struct str path)
{
	for (size_t i = 0; i < path.len; i++)
		if ((unsigned char)path.p[i] <= 0x20 || (unsigned char)path.p[i] >= 0x7f ||
		    path.p[i] == '?' || path.p[i] == '#')
			return false;
	return true;
}

static int read_server(const struct reader *reader, const char *server)
{
	struct kube_config *config = reader->config;
	struct str url = str_of(server), host, path;
	size_t scheme_len = str_has_prefix(url, STR_LIT("https://")) ? 8 : 7;

	if (server[0] == '\0')
		return refuse(reader, -EBADMSG, "server", "missing");
	config->tls = scheme_len == 8;
	if (!config->tls && !str_has_prefix(url, STR_LIT("http://")))
		return refuse(reader, -EBADMSG, "server", "expected https://HOST[:PORT], got \"%.100s\"",
			      server);
	config->port = config->tls ? 443 : 80;
	url = (struct str){url.p + scheme_len, url.len - scheme_len};
	path = (struct str){memchr(url.p, '/', url.len), 0};
	if (path.p) {
		path.len = url.len - (size_t)(path.p - url.p);
		url.len -= path.len;
	}
	while (path.len > 0 && path.p[path.len - 1] == '/')
		path.len--;
	if (split_authority(url, &host, &config->port) < 0 || !is_path(path))
		return refuse(reader, -EBADMSG, "server", "expected https://HOST[:PORT], got \"%.100s\"",
			      server);
	int r = keep(reader, host, &config->host);

	return r < 0 ? r : keep(reader, path, &config->path_prefix);
}

/* ---- cluster ---- */

static int check_cluster(const struct reader *reader)
{
	const struct kube_config *config = reader->config;

	if (config->insecure_skip_tls_verify && kube_pem_given(&config->ca))
		return refuse(reader, -EBADMSG, "insecure-skip-tls-verify",
			      "contradicts certificate-authority: give one of them");
	return 0;
}

static int read_cluster(const struct reader *reader, const struct node *map)
{
	static const char *const unsupported[] = {"proxy-url", NULL};
	struct kube_config *config = reader->config;
	int r = refuse_fields(reader, map, unsupported);

	if (r == 0)
		r = read_string(reader, map, "server", &config->server);
	if (r == 0)
		r = read_server(reader, config->server);
	if (r == 0)
		r = read_pem(reader, map, "certificate-authority", &config->ca);
	if (r == 0)
		r = read_string(reader, map, "tls-server-name", &config->tls_server_name);
	if (r == 0)
		r = read_bool(reader, map, "insecure-skip-tls-verify", &config->insecure_skip_tls_verify);
	return r < 0 ? r : check_cluster(reader);
}

/* ---- user ---- */

/* A list of `count` texts made by `item`, NULL-terminated. */
static int read_list(const struct reader *reader, const struct node *map, const char *list_field,
		     int (*item)(const struct reader *, const struct node *, const char **),
		     const char *const **ret, size_t *ret_count)
{
	const struct node *list = node_get(map, list_field);
	size_t count = is_absent(list) ? 0 : list->count;
	const char **texts;

	if (!is_absent(list) && list->type != NODE_LIST)
		return refuse(reader, -EBADMSG, "exec", "%s: expected a list", list_field);
	texts = arena_array(&reader->config->arena, count + 1, sizeof(*texts));
	if (!texts)
		return no_memory(reader);
	for (size_t i = 0; i < count; i++) {
		int r = item(reader, list->items[i], &texts[i]);

		if (r == -EBADMSG)
			return refuse(reader, r, "exec", "%s[%zu]: expected a string", list_field, i);
		if (r < 0)
			return r;
	}
	*ret = texts;
	*ret_count = count;
	return 0;
}

static int read_arg(const struct reader *reader, const struct node *node, const char **ret)
{
	return node->type == NODE_LIST || node->type == NODE_MAP ? -EBADMSG : keep(reader, node->text, ret);
}

static int read_env(const struct reader *reader, const struct node *node, const char **ret)
{
	const struct node *name = node_get(node, "name"), *value = node_get(node, "value");
	struct buf text cleanup(buf_done) = {0};

	if (!name || name->text.len == 0 || memchr(name->text.p, '=', name->text.len) || !value ||
	    value->type == NODE_LIST || value->type == NODE_MAP)
		return -EBADMSG;
	buf_append_str(&text, name->text);
	buf_append_char(&text, '=');
	buf_append_str(&text, value->text);
	return buf_failed(&text) ? no_memory(reader) : keep(reader, buf_str(&text), ret);
}

static int check_exec(const struct reader *reader, const struct node *map,
		      const struct kube_exec_config *exec)
{
	const struct node *interactive = node_get(map, "interactiveMode");

	if (strcmp(exec->api_version, "client.authentication.k8s.io/v1") != 0 &&
	    strcmp(exec->api_version, "client.authentication.k8s.io/v1beta1") != 0)
		return refuse(
		    reader, -ENOTSUP, "exec",
		    "apiVersion: expected client.authentication.k8s.io/v1 or /v1beta1, got \"%.100s\"",
		    exec->api_version);
	if (exec->command[0] == '\0')
		return refuse(reader, -EBADMSG, "exec", "command: missing");
	if (interactive && str_is(interactive->text, "Always"))
		return refuse(reader, -ENOTSUP, "exec", "interactiveMode: Always: nobody is here to answer");
	return 0;
}

static int read_exec(const struct reader *reader, const struct node *map)
{
	struct kube_exec_config *exec = arena_alloc(&reader->config->arena, sizeof(*exec));
	int r;

	if (!exec)
		return no_memory(reader);
	if (map->type != NODE_MAP)
		return refuse(reader, -EBADMSG, "exec", "expected a map");
	*exec = (struct kube_exec_config){.api_version = "", .command = "", .install_hint = ""};
	r = read_string(reader, map, "apiVersion", &exec->api_version);
	if (r == 0)
		r = read_string(reader, map, "command", &exec->command);
	/* A bare name is looked up in PATH; with a slash it is a path like all others here. */
	if (r == 0 && strchr(exec->command, '/'))
		r = keep_path(reader, exec->command, &exec->command);
	if (r == 0)
		r = read_list(reader, map, "args", read_arg, &exec->args, &exec->arg_count);
	if (r == 0)
		r = read_list(reader, map, "env", read_env, &exec->env, &exec->env_count);
	if (r == 0)
		r = read_bool(reader, map, "provideClusterInfo", &exec->provide_cluster_info);
	const struct node *hint = node_get(map, "installHint");

	if (r == 0 && hint && hint->type == NODE_STRING)
		r = keep(reader, hint->text, &exec->install_hint);
	if (r == 0)
		r = check_exec(reader, map, exec);
	if (r == 0)
		reader->config->exec = exec;
	return r;
}

static int check_user(const struct reader *reader)
{
	const struct kube_config *config = reader->config;
	bool has_token = config->token[0] || config->token_file[0];

	if (kube_pem_given(&config->client_certificate) != kube_pem_given(&config->client_key))
		return refuse(reader, -EBADMSG,
			      kube_pem_given(&config->client_key) ? "client-certificate" : "client-key",
			      "missing: certificate and key go together");
	if (has_token + (config->username[0] != '\0') + (config->exec != NULL) > 1)
		return refuse(reader, -EBADMSG, config->exec ? "exec" : "username",
			      "only one of token, username and exec can be used");
	if (config->username[0] == '\0' && config->password[0])
		return refuse(reader, -EBADMSG, "username", "missing: username and password go together");
	if (!config->tls &&
	    (has_token || config->username[0] || config->exec || kube_pem_given(&config->client_key)))
		return refuse(reader, -ENOTSUP,
			      config->exec ? "exec"
			      : has_token  ? "token"
					   : "username",
			      "credentials are not sent over plain http (server: %.100s)", config->server);
	return 0;
}

static int read_user(const struct reader *reader, const struct node *map)
{
	static const char *const unsupported[] = {"auth-provider", "as", "as-uid", "as-groups",
						  "as-user-extra", NULL};
	struct kube_config *config = reader->config;
	int r = refuse_fields(reader, map, unsupported);

	if (r == 0)
		r = read_pem(reader, map, "client-certificate", &config->client_certificate);
	if (r == 0)
		r = read_pem(reader, map, "client-key", &config->client_key);
	if (r == 0)
		r = read_string(reader, map, "token", &config->token);
	if (r == 0)
		r = read_path(reader, map, "tokenFile", &config->token_file);
	if (r == 0)
		r = read_string(reader, map, "username", &config->username);
	if (r == 0)
		r = read_string(reader, map, "password", &config->password);
	if (r == 0 && !is_absent(node_get(map, "exec")))
		r = read_exec(reader, node_get(map, "exec"));
	return r < 0 ? r : check_user(reader);
}

/* ---- the file ---- */

/* The map `inner` of the first entry of that name, and from now on messages are about it. */
static int find_entry(struct reader *reader, const struct node *document, const char *section,
		      const char *inner, const char *name, const struct node **ret)
{
	const struct node *list = node_get(document, section);

	for (size_t i = 0; list && list->type == NODE_LIST && i < list->count; i++) {
		const struct node *entry_name = node_get(list->items[i], "name");

		if (!entry_name || !str_is(entry_name->text, name))
			continue;
		const struct node *entry = node_get(list->items[i], inner);

		reader->section = section;
		reader->entry = name;
		if (!is_absent(entry) && entry->type != NODE_MAP)
			return refuse(reader, -EBADMSG, inner, "expected a map");
		*ret = entry;
		return 0;
	}
	return refuse(reader, -ENOENT, section, "there is no entry named \"%.100s\"", name);
}

static int read_context(struct reader *reader, const struct node *document, const char *name)
{
	struct kube_config *config = reader->config;
	const struct node *map = NULL;
	int r = find_entry(reader, document, "contexts", "context", name, &map);

	if (r == 0)
		r = read_string(reader, map, "cluster", &config->cluster);
	if (r == 0)
		r = read_string(reader, map, "user", &config->user);
	if (r == 0)
		r = read_string(reader, map, "namespace", &config->ns);
	if (r == 0 && config->cluster[0] == '\0')
		return refuse(reader, -EBADMSG, "cluster", "missing");
	if (r == 0 && config->ns[0] == '\0')
		config->ns = "default";
	return r;
}

static int read_document(struct reader *reader, const struct node *document, const char *context)
{
	struct kube_config *config = reader->config;
	const struct node *map = NULL;
	int r = context ? keep(reader, str_of(context), &context)
			: read_string(reader, document, "current-context", &context);

	if (r == 0 && (!context || context[0] == '\0'))
		return refuse(reader, -EBADMSG, "current-context", "missing: no context is chosen");
	if (r == 0)
		r = read_context(reader, document, context);
	reader->section = reader->entry = NULL;
	if (r == 0)
		r = find_entry(reader, document, "clusters", "cluster", config->cluster, &map);
	if (r == 0)
		r = read_cluster(reader, map);
	if (r < 0 || config->user[0] == '\0')
		return r;
	reader->section = reader->entry = NULL;
	r = find_entry(reader, document, "users", "user", config->user, &map);
	return r < 0 ? r : read_user(reader, map);
}

static int read_text(struct reader *reader, struct str text, const char *context)
{
	struct node_yaml *yaml cleanup(node_yaml_close_p) = node_yaml_open(text.p, text.len);
	const struct node *document;
	struct err why;
	int line = 0;

	if (!yaml)
		return no_memory(reader);
	int r = node_yaml_next(yaml, &document, &line, &why);

	if (r == -EBADMSG)
		return err_set(reader->err, r, "%s:%d: %s", reader->config->file, line, why.text);
	if (r < 0)
		return no_memory(reader);
	if (r == 0 || document->type != NODE_MAP)
		return err_set(reader->err, -EBADMSG, "%s: not a kubeconfig", reader->config->file);
	return read_document(reader, document, context);
}

static struct kube_config *config_new(const char *file, struct err *err)
{
	struct kube_config *config cleanup(kube_config_free_p) = malloc(sizeof(*config));

	if (!config) {
		err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	*config = (struct kube_config){
	    .cluster = "",
	    .user = "",
	    .ns = "default",
	    .host = "",
	    .path_prefix = "",
	    .server = "",
	    .ca.file = "",
	    .tls_server_name = "",
	    .client_certificate.file = "",
	    .client_key.file = "",
	    .token = "",
	    .token_file = "",
	    .username = "",
	    .password = "",
	};
	config->file = arena_dup(&config->arena, str_of(file));
	if (!config->file) {
		err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	return TAKE(config);
}

struct kube_config *kube_config_parse(struct str text, const char *file, const char *context, struct err *err)
{
	struct kube_config *config cleanup(kube_config_free_p) = config_new(file, err);
	struct reader reader = {.config = config, .err = err};

	return config && read_text(&reader, text, context) == 0 ? TAKE(config) : NULL;
}

struct kube_config *kube_config_load(const char *file, const char *context, struct err *err)
{
	struct buf text cleanup(buf_done) = {0};

	if (kube_file_read(file, &text, err) < 0)
		return NULL;
	return kube_config_parse(buf_str(&text), file, context, err);
}

/* ---- in a pod ---- */

static int read_pod_namespace(const struct reader *reader, const char *dir)
{
	struct buf text cleanup(buf_done) = {0};
	char path[4096];

	snprintf(path, sizeof(path), "%s/namespace", dir);
	if (kube_file_read(path, &text, NULL) < 0 || str_trim(buf_str(&text)).len == 0)
		return 0;
	return keep(reader, str_trim(buf_str(&text)), &reader->config->ns);
}

static int read_service_account(const struct reader *reader, const char *dir, const char *host,
				const char *port)
{
	struct kube_config *config = reader->config;
	uint64_t number = 0;
	char path[4096];

	if (!is_host(str_of(host)) || str_to_u64(str_of(port), UINT16_MAX, &number) < 0 || number == 0)
		return refuse(reader, -EINVAL, "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT",
			      "no address and port: \"%.100s\" and \"%.20s\"", host, port);
	config->tls = true;
	config->port = (uint16_t)number;
	int r = keep(reader, str_of(host), &config->host);

	snprintf(path, sizeof(path), strchr(host, ':') ? "https://[%s]:%s" : "https://%s:%s", host, port);
	if (r == 0)
		r = keep(reader, str_of(path), &config->server);
	snprintf(path, sizeof(path), "%s/token", dir);
	if (r == 0)
		r = keep(reader, str_of(path), &config->token_file);
	snprintf(path, sizeof(path), "%s/ca.crt", dir);
	if (r == 0)
		r = keep(reader, str_of(path), &config->ca.file);
	return r < 0 ? r : read_pod_namespace(reader, dir);
}

struct kube_config *kube_config_in_cluster(const char *service_account_dir, struct err *err)
{
	const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");

	if (!host || !host[0] || !port || !port[0]) {
		err_set(err, -ENOENT,
			"not in a pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set");
		return NULL;
	}
	struct kube_config *config cleanup(kube_config_free_p) = config_new("service account", err);
	struct reader reader = {.config = config, .err = err};

	return config && read_service_account(&reader, service_account_dir, host, port) == 0 ? TAKE(config)
											     : NULL;
}

/* ---- the end ---- */

static void wipe(const char *text, size_t len)
{
	secret_wipe((void *)(uintptr_t)text, len); /* in our own arena */
}

struct kube_config *kube_config_free(struct kube_config *config)
{
	if (!config)
		return NULL;
	wipe(config->token, strlen(config->token));
	wipe(config->password, strlen(config->password));
	wipe(config->client_key.text.p, config->client_key.text.len);
	for (size_t i = 0; config->exec && i < config->exec->env_count; i++)
		wipe(config->exec->env[i], strlen(config->exec->env[i]));
	arena_done(&config->arena);
	free(config);
	return NULL;
}
