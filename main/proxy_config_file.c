/* kube-proxy's configuration file, read as what it is: another way to give the same settings. Each field that
 * matters names the flag it sets. */
#include "main/flags.h"

#include <errno.h>
#include <fcntl.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "conf/node.h"

#define FILE_BYTES_MAX (1u << 20)

/* flag NULL: read without effect (a default, or something fairlead does by itself). A field under a map is
 * "map.field". */
static const struct {
	const char *field, *flag;
} fields[] = {
    {"apiVersion", NULL},
    {"kind", NULL},
    {"bindAddress", "bind-address"},
    {"bindAddressHardFail", NULL},
    {"clientConnection.kubeconfig", "kubeconfig"},
    {"clientConnection.acceptContentTypes", NULL},
    {"clientConnection.contentType", NULL},
    {"clientConnection.qps", NULL},
    {"clientConnection.burst", NULL},
    {"clusterCIDR", "cluster-cidr"},
    {"configSyncPeriod", NULL},
    {"enableProfiling", NULL},
    {"healthzBindAddress", "healthz-bind-address"},
    {"hostnameOverride", "hostname-override"},
    {"logging.format", "logging-format"},
    {"logging.verbosity", "v"},
    {"metricsBindAddress", "metrics-bind-address"},
    {"mode", NULL},
    {"nftables.masqueradeAll", "masquerade-all"},
    {"nftables.minSyncPeriod", "nftables-min-sync-period"},
    {"nftables.syncPeriod", NULL},
    {"nftables.masqueradeBit", NULL},
    {"nodePortAddresses", "nodeport-addresses"},
    {"oomScoreAdj", NULL},
};

struct reading {
	struct flags *flags;
	const char *file;
	struct arena *arena;
	struct err *err;
};

/* Maps nobody set (all null, zero or empty, as kubeadm writes them) mean "the default". */
static bool means_default(const struct node *value)
{
	switch (value->type) {
	case NODE_NULL:
		return true;
	case NODE_STRING:
		return value->text.len == 0 || str_is(value->text, "0s");
	case NODE_INT:
		return value->integer == 0;
	case NODE_BOOL:
		return !value->boolean;
	case NODE_FLOAT:
		return false;
	case NODE_LIST:
		return value->count == 0;
	case NODE_MAP:
		for (size_t i = 0; i < value->count; i++)
			if (!means_default(value->entries[i].value))
				return false;
		return true;
	}
	return false;
}

static int set_flag(struct reading *reading, const char *field, const char *flag, const struct node *value)
{
	struct err why;

	if (strcmp(flag, "hostname-override") == 0 && reading->flags->hostname_override)
		return 0;
	const char *text = arena_dup(reading->arena, value->text);
	if (!text)
		return err_set(reading->err, -ENOMEM, "out of memory");
	if (options_set(flags_run, flag, text, reading->flags, reading->arena, &why) < 0)
		return err_set(reading->err, -EINVAL, "%s:%d: %s: %s", reading->file, value->line, field,
			       why.text);
	return 0;
}

static int set_list(struct reading *reading, const char *field, const char *flag, const struct node *list)
{
	int code = 0;

	for (size_t i = 0; i < list->count && code == 0; i++)
		code = set_flag(reading, field, flag, list->items[i]);
	return code;
}

static int read_field(struct reading *reading, const char *field, const struct node *value)
{
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		if (strcmp(fields[i].field, field) != 0)
			continue;
		if (!fields[i].flag || means_default(value))
			return 0;
		return value->type == NODE_LIST ? set_list(reading, field, fields[i].flag, value)
						: set_flag(reading, field, fields[i].flag, value);
	}
	if (!means_default(value))
		log_warn("field of the configuration file has no effect", L_STR("file", reading->file),
			 L_STR("field", field), L_INT("line", value->line));
	return 0;
}

static int read_map(struct reading *reading, const char *prefix, const struct node *map)
{
	int code = 0;

	for (size_t i = 0; i < map->count && code == 0; i++) {
		const struct node_entry *entry = &map->entries[i];
		char name[256];

		(void)snprintf(name, sizeof(name), "%s%s%.*s", prefix, prefix[0] ? "." : "",
			       (int)entry->key.len, entry->key.p);
		code = entry->value->type == NODE_MAP && !prefix[0] ? read_map(reading, name, entry->value)
								    : read_field(reading, name, entry->value);
	}
	return code;
}

static int read_document(void *ctx, const struct node *document)
{
	struct reading *reading = ctx;
	const struct node *kind = node_get(document, "kind");

	if (document->type != NODE_MAP || !kind || !str_is(kind->text, "KubeProxyConfiguration"))
		return err_set(reading->err, -EINVAL, "%s:%d: kind: expected KubeProxyConfiguration",
			       reading->file, document->line);
	return read_map(reading, "", document);
}

static int read_whole_file(const char *file, struct buf *text, struct err *err)
{
	cleanup_close int fd = open(file, O_RDONLY | O_CLOEXEC);
	ssize_t count = 1;

	if (fd < 0)
		return err_set(err, -errno, "%s: %s", file, strerror(errno));
	while (count > 0 && buf_len(text) <= FILE_BYTES_MAX) {
		char *room = buf_reserve(text, 16384);
		if (!room)
			return err_set(err, -ENOMEM, "out of memory");
		count = read(fd, room, 16384);
		if (count > 0)
			buf_commit(text, (size_t)count);
	}
	if (count < 0)
		return err_set(err, -errno, "%s: %s", file, strerror(errno));
	return count == 0 ? 0 : err_set(err, -EFBIG, "%s: larger than %u bytes", file, FILE_BYTES_MAX);
}

int flags_read_proxy_config(struct flags *flags, const char *file, struct arena *arena, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	struct reading reading = {.flags = flags, .file = file, .arena = arena, .err = err};
	struct err syntax;
	int line = 0;
	int code = read_whole_file(file, &text, err);

	if (code < 0)
		return code;
	code = node_parse_yaml(buf_head(&text), buf_len(&text), read_document, &reading, &line, &syntax);
	return code == -EBADMSG ? err_set(err, code, "%s:%d: %s", file, line, syntax.text) : code;
}
