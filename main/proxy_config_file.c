/* kube-proxy's configuration file, read as what it is: another way to give the same settings. Each field that
 * matters names the flag it sets. */
#include "main/flags.h"

#include <errno.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "conf/manifest_io.h"
#include "conf/node.h"
#include "conf/node_write.h"

#define API_VERSION "kubeproxy.config.k8s.io/v1alpha1"
#define KIND        "KubeProxyConfiguration"
#define MODE        "nftables" /* the only one */

/* A field under a map is "map.field". flag NULL: known, without effect here. zero: 0 means 0 (Kubernetes keeps a
 * pointer there, and null is the default); elsewhere what is zero or empty is not set. */
static const struct config_field {
	const char *field, *flag;
	bool zero;
} fields[] = {
    {"bindAddress", "bind-address", false},
    {"bindAddressHardFail", "bind-address-hard-fail", false},
    {"clientConnection.acceptContentTypes", NULL, false},
    {"clientConnection.burst", NULL, false},
    {"clientConnection.contentType", NULL, false},
    {"clientConnection.kubeconfig", "kubeconfig", false},
    {"clientConnection.qps", NULL, false},
    {"clusterCIDR", "cluster-cidr", false},
    {"configSyncPeriod", NULL, false},
    {"conntrack.maxPerCore", "conntrack-max-per-core", true},
    {"conntrack.min", "conntrack-min", true},
    {"conntrack.tcpBeLiberal", "conntrack-tcp-be-liberal", false},
    {"conntrack.tcpCloseWaitTimeout", "conntrack-tcp-timeout-close-wait", true},
    {"conntrack.tcpEstablishedTimeout", "conntrack-tcp-timeout-established", true},
    {"conntrack.udpStreamTimeout", "conntrack-udp-timeout-stream", true},
    {"conntrack.udpTimeout", "conntrack-udp-timeout", true},
    {"detectLocal.bridgeInterface", "pod-bridge-interface", false},
    {"detectLocal.interfaceNamePrefix", "pod-interface-name-prefix", false},
    {"detectLocalMode", "detect-local-mode", false},
    {"enableProfiling", NULL, false},
    {"featureGates", NULL, false},
    {"healthzBindAddress", "healthz-bind-address", false},
    {"hostnameOverride", "hostname-override", false},
    {"iptables", NULL, false},
    {"ipvs", NULL, false},
    {"logging.flushFrequency", NULL, false},
    {"logging.format", "logging-format", false},
    {"logging.options", NULL, false},
    {"logging.verbosity", "v", false},
    {"logging.vmodule", NULL, false},
    {"metricsBindAddress", "metrics-bind-address", false},
    {"mode", NULL, false},
    {"nftables.masqueradeAll", "masquerade-all", false},
    {"nftables.masqueradeBit", NULL, false},
    {"nftables.minSyncPeriod", "nftables-min-sync-period", true},
    {"nftables.syncPeriod", NULL, false},
    {"nodePortAddresses", "nodeport-addresses", false},
    {"oomScoreAdj", "oom-score-adj", true},
    {"portRange", NULL, false},
    {"showHiddenMetricsForVersion", NULL, false},
    {"windows", NULL, false},
    {"windowsRunAsService", NULL, false},
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
	struct err why = {0};

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

/* A list in the file takes the place of the one the flags gave. */
static void forget_list(struct flags *flags, const char *flag)
{
	const struct option *option = options_find(flags_run, flag);
	void *value = (char *)flags + (option ? option->offset : 0);

	if (option && (option->type == OPTION_LIST || option->type == OPTION_STRINGS))
		*(struct option_strings *)value = (struct option_strings){0};
	else if (option && option->type == OPTION_CIDRS)
		*(struct option_cidrs *)value = (struct option_cidrs){0};
}

static const struct config_field *find_field(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		if (strcmp(fields[i].field, name) == 0)
			return &fields[i];
	return NULL;
}

/* Is it a map that holds fields we know? */
static bool is_group(const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		if (strncmp(fields[i].field, name, len) == 0 && fields[i].field[len] == '.')
			return true;
	return false;
}

static int read_field(struct reading *reading, const struct config_field *field, const struct node *value)
{
	bool unset = value->type == NODE_NULL || (!field->zero && means_default(value));

	if (unset)
		return 0;
	if (!field->flag && !str_is(value->text, MODE)) {
		log_info("field of the configuration file has no effect", L_STR("file", reading->file),
			 L_STR("field", field->field), L_INT("line", value->line));
	}
	if (!field->flag)
		return 0;
	if (value->type == NODE_MAP)
		return err_set(reading->err, -EINVAL, "%s:%d: %s: expected a value, got a map", reading->file,
			       value->line, field->field);
	forget_list(reading->flags, field->flag);
	return value->type == NODE_LIST ? set_list(reading, field->field, field->flag, value)
					: set_flag(reading, field->field, field->flag, value);
}

static int read_map(struct reading *reading, const char *prefix, const struct node *map);

static int read_entry(struct reading *reading, const char *name, const struct node_entry *entry)
{
	const struct config_field *field = find_field(name);

	if (field)
		return read_field(reading, field, entry->value);
	if (!is_group(name)) {
		log_warn("unknown field in the configuration file", L_STR("file", reading->file),
			 L_STR("field", name), L_INT("line", entry->line));
		return 0;
	}
	if (entry->value->type == NODE_MAP)
		return read_map(reading, name, entry->value);
	return entry->value->type == NODE_NULL ? 0
					       : err_set(reading->err, -EINVAL, "%s:%d: %s: expected a map",
							 reading->file, entry->line, name);
}

static int read_map(struct reading *reading, const char *prefix, const struct node *map)
{
	int code = 0;

	for (size_t i = 0; i < map->count && code == 0; i++) {
		const struct node_entry *entry = &map->entries[i];
		char name[256];

		if (!prefix[0] && (str_is(entry->key, "apiVersion") || str_is(entry->key, "kind")))
			continue;
		(void)snprintf(name, sizeof(name), "%s%s%.*s", prefix, prefix[0] ? "." : "",
			       (int)entry->key.len, entry->key.p);
		code = read_entry(reading, name, entry);
	}
	return code;
}

static int expect_text(const struct reading *reading, const struct node *document, const char *field,
		       const char *expected)
{
	const struct node *value = node_get(document, field);

	if (value && str_is(value->text, expected))
		return 0;
	return err_set(reading->err, -EINVAL, "%s:%d: %s: expected %s", reading->file,
		       value ? value->line : document->line, field, expected);
}

static int read_document(void *ctx, const struct node *document)
{
	struct reading *reading = ctx;
	int code = expect_text(reading, document, "kind", KIND);

	if (code == 0)
		code = expect_text(reading, document, "apiVersion", API_VERSION);
	return code < 0 ? code : read_map(reading, "", document);
}

int flags_read_proxy_config(struct flags *flags, const char *file, struct arena *arena, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	struct reading reading = {.flags = flags, .file = file, .arena = arena, .err = err};
	struct err syntax;
	int line = 0;
	int code = manifest_read(file, &text, err);

	if (code < 0)
		return err_wrap(err, code, "%s", file);
	code = node_parse_yaml(buf_head(&text), buf_len(&text), read_document, &reading, &line, &syntax);
	return code == -EBADMSG ? err_set(err, code, "%s:%d: %s", file, line, syntax.text) : code;
}

/* ---- and back ---- */

static struct node *list_of(struct arena *arena, const struct option_strings *strings)
{
	struct node *list = node_new_list(arena);

	for (size_t i = 0; i < strings->count; i++)
		if (node_add_item(arena, list, node_new_string(arena, str_of(strings->items[i]))) < 0)
			return NULL;
	return list;
}

/* "10.0.0.0/8,fd00::/16" */
static struct node *joined(struct arena *arena, const struct option_cidrs *cidrs)
{
	cleanup(buf_done) struct buf text = {0};
	char one[ADDR_TEXT_MAX];

	for (size_t i = 0; i < cidrs->count; i++)
		(void)buf_printf(&text, "%s%s", i ? "," : "", cidr_format(&cidrs->items[i], one));
	return buf_failed(&text) ? NULL : node_new_string(arena, buf_str(&text));
}

static struct node *text_of(struct arena *arena, const char *text)
{
	return node_new_string(arena, str_of(text ? text : ""));
}

/* Every address is written with its family's unspecified address, as kube-proxy writes it. */
static struct node *address_of(struct arena *arena, const struct endpoint_addr *addr)
{
	char text[ADDR_TEXT_MAX];
	struct endpoint_addr whole = *addr;

	if (whole.ip.family == 0)
		whole.ip.family = AF_INET;
	return text_of(arena, endpoint_addr_format(&whole, text));
}

struct node *flags_value(struct arena *arena, const struct option *option, const struct flags *flags)
{
	const void *value = (const char *)flags + option->offset;
	const struct ip *ip = value;
	char text[ADDR_TEXT_MAX];

	switch (option->type) {
	case OPTION_BOOL:
		return node_new_bool(arena, *(const bool *)value);
	case OPTION_STRING:
		return text_of(arena, *(const char *const *)value);
	case OPTION_U32:
		return node_new_int(arena, *(const uint32_t *)value);
	case OPTION_I32:
		return node_new_int(arena, *(const int32_t *)value);
	case OPTION_PORT:
		return node_new_int(arena, *(const uint16_t *)value);
	case OPTION_SIZE:
		return node_new_int(arena, (int64_t) * (const uint64_t *)value);
	case OPTION_DURATION:
		return text_of(arena, duration_format(*(const double *)value, text));
	case OPTION_STRINGS:
	case OPTION_LIST:
		return list_of(arena, value);
	case OPTION_CIDRS:
		return joined(arena, value);
	case OPTION_IP:
		return text_of(arena, ip->family ? ip_format(ip, text) : "0.0.0.0");
	case OPTION_ADDR:
		return address_of(arena, value);
	case OPTION_CHOICE:
		return text_of(arena, option->choices[*(const unsigned *)value]);
	case OPTION_IGNORED:
	case OPTION_IGNORED_BOOL:
		break;
	}
	return NULL;
}

/* The map that "map.field" stands in, made when it is the first field of it; *ret_field is the rest of the name. */
static struct node *map_of(struct arena *arena, struct node *document, const char *name,
			   const char **ret_field)
{
	const char *dot = strchr(name, '.');
	struct node_entry *last = document->count ? &document->entries[document->count - 1] : NULL;
	char group[64];
	struct node *map;

	*ret_field = dot ? dot + 1 : name;
	if (!dot)
		return document;
	(void)snprintf(group, sizeof(group), "%.*s", (int)(dot - name), name);
	if (last && str_is(last->key, group))
		return last->value;
	map = node_new_map(arena);
	return node_add_entry(arena, document, group, map) < 0 ? NULL : map;
}

struct node *flags_as_proxy_config(const struct flags *flags, struct arena *arena)
{
	struct node *document = node_new_map(arena);

	if (node_add_entry(arena, document, "apiVersion", text_of(arena, API_VERSION)) < 0 ||
	    node_add_entry(arena, document, "kind", text_of(arena, KIND)) < 0 ||
	    node_add_entry(arena, document, "mode", text_of(arena, MODE)) < 0)
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		const struct option *option =
		    fields[i].flag ? options_find(flags_proxy, fields[i].flag) : NULL;
		const char *field;
		struct node *map;

		if (!option)
			continue;
		map = map_of(arena, document, fields[i].field, &field);
		if (node_add_entry(arena, map, field, flags_value(arena, option, flags)) < 0)
			return NULL;
	}
	return document;
}
