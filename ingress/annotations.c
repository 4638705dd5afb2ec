/* The table of annotations and how each becomes a field of struct annotations. */
#include "ingress/annotations.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "ingress/annotations_value.h"

#define FIELD_BYTES 320
#define SECONDS_MAX 1000000000u
#define TRIES_UNLIMITED \
	64u /* ingress-nginx's 0: more endpoints than this are not worth trying for one request */
#define SHOWN_VALUE_BYTES 80

struct compile {
	const struct object *object;
	const struct annotations_options *options;
	struct arena *arena;
	struct annotations *annotations;
	struct findings *findings;
	bool out_of_memory;
};

/* Writes the field and returns NULL, or says what was expected and leaves it alone. */
typedef const char *annotation_parser(struct compile *compile, void *field, struct str value);

struct annotation_rule {
	const char *name;
	annotation_parser *parse;
	size_t offset;
	bool guards; /* access: a value that cannot be used denies */
};

/* ---- parsers ---- */

static const char *parse_bool(struct compile *compile, void *field, struct str value)
{
	(void)compile;
	return value_bool(value, field) ? "expected true or false" : NULL;
}

static const char *parse_seconds(struct compile *compile, void *field, struct str value)
{
	(void)compile;
	return value_count(value, 1, SECONDS_MAX, field) ? "expected whole seconds, at least 1" : NULL;
}

static const char *parse_size(struct compile *compile, void *field, struct str value)
{
	(void)compile;
	return value_size(value, field) ? "expected a size such as 512k, 8m or 1g" : NULL;
}

static const char *parse_tries(struct compile *compile, void *field, struct str value)
{
	unsigned *tries = field;

	(void)compile;
	if (value_count(value, 0, INT_MAX, tries))
		return "expected a number";
	if (*tries == 0 || *tries > TRIES_UNLIMITED)
		*tries = TRIES_UNLIMITED;
	return NULL;
}

static const char *parse_auth_type(struct compile *compile, void *field, struct str value)
{
	(void)compile;
	if (str_is(value, "basic")) {
		*(bool *)field = true;
		return NULL;
	}
	return str_is(value, "digest") ? "digest is not supported, only basic is" : "expected basic";
}

static const char *parse_auth_secret(struct compile *compile, void *field, struct str value)
{
	struct annotations *annotations = compile->annotations;
	struct str ns, name;

	(void)field;
	if (value_object_name(value, &ns, &name))
		return "expected the name of a Secret, or namespace/name";
	if (ns.len == 0)
		ns = str_of(compile->object->ns);
	if (!str_is(ns, compile->object->ns) && !compile->options->allow_cross_namespace)
		return "a Secret of another namespace is not allowed";
	annotations->auth_secret_ns = arena_dup(compile->arena, ns);
	annotations->auth_secret_name = arena_dup(compile->arena, name);
	compile->out_of_memory = !annotations->auth_secret_ns || !annotations->auth_secret_name;
	return NULL;
}

static const char *parse_auth_secret_type(struct compile *compile, void *field, struct str value)
{
	enum auth_secret_type *type = field;

	(void)compile;
	if (!str_is(value, "auth-file") && !str_is(value, "auth-map"))
		return "expected auth-file or auth-map";
	*type = str_is(value, "auth-map") ? AUTH_SECRET_MAP : AUTH_SECRET_FILE;
	return NULL;
}

static const char *parse_text(struct compile *compile, void *field, struct str value)
{
	const char *text;

	for (size_t i = 0; i < value.len; i++) {
		if ((unsigned char)value.p[i] < ' ' || value.p[i] == 0x7f)
			return "expected text without control characters";
	}
	text = arena_dup(compile->arena, value);
	if (text)
		*(const char **)field = text;
	else
		compile->out_of_memory = true;
	return NULL;
}

/* Served as an Ingress of its own it would take all of the requests it is to get a few of. */
static const char *parse_canary(struct compile *compile, void *field, struct str value)
{
	const char *why = parse_bool(compile, field, value);

	return why || !*(bool *)field ? why : "canaries are not supported: this Ingress is left out";
}

/* cert-manager's solver asks for a list that lets everybody in; any other cannot be honoured yet. */
static const char *parse_allow_list(struct compile *compile, void *field, struct str value)
{
	bool everybody;

	(void)compile;
	(void)field;
	if (value_cidrs_cover_ipv4(value, &everybody))
		return "expected a comma-separated list of prefixes such as 10.0.0.0/8";
	return everybody ? NULL : "not supported, and it guards access";
}

static const char *refuse(struct compile *compile, void *field, struct str value)
{
	(void)compile;
	(void)field;
	(void)value;
	return "not supported, and it guards access";
}

/* ---- the table, sorted by name ---- */

#define FIELD(member_) offsetof(struct annotations, member_)

static const struct annotation_rule rules[] = {
    {"allowlist-source-range", parse_allow_list, 0, true},
    {"auth-realm", parse_text, FIELD(auth_realm), true},
    {"auth-secret", parse_auth_secret, 0, true},
    {"auth-secret-type", parse_auth_secret_type, FIELD(auth_secret_type), true},
    {"auth-tls-secret", refuse, 0, true},
    {"auth-type", parse_auth_type, FIELD(auth_basic), true},
    {"auth-url", refuse, 0, true},
    {"canary", parse_canary, FIELD(canary), false},
    {"denylist-source-range", refuse, 0, true},
    {"force-ssl-redirect", parse_bool, FIELD(force_ssl_redirect), false},
    {"proxy-body-size", parse_size, FIELD(body_max_bytes), false},
    {"proxy-connect-timeout", parse_seconds, FIELD(connect_timeout_s), false},
    {"proxy-next-upstream-tries", parse_tries, FIELD(tries), false},
    {"proxy-read-timeout", parse_seconds, FIELD(read_timeout_s), false},
    {"proxy-send-timeout", parse_seconds, FIELD(send_timeout_s), false},
    {"ssl-redirect", parse_bool, FIELD(ssl_redirect), false},
    {"whitelist-source-range", parse_allow_list, 0, true},
};

static int compare_name(const void *name, const void *rule)
{
	return strcmp(name, ((const struct annotation_rule *)rule)->name);
}

static const struct annotation_rule *find_rule(const char *name)
{
	return bsearch(name, rules, ARRAY_LEN(rules), sizeof(rules[0]), compare_name);
}

/* ---- compiling ---- */

const char *annotation_field(const struct annotations_options *options, const char *name, char *buffer,
			     size_t size)
{
	(void)snprintf(buffer, size, "metadata.annotations[%s/%s]", options->prefix, name);
	return buffer;
}

static void found(struct compile *compile, const char *name, const char *why, struct str value)
{
	char field[FIELD_BYTES];

	(void)annotation_field(compile->options, name, field, sizeof(field));
	if (value.p)
		findings_add(compile->findings, field, "%s, got \"%.*s\"", why,
			     (int)(value.len < SHOWN_VALUE_BYTES ? value.len : SHOWN_VALUE_BYTES), value.p);
	else
		findings_add(compile->findings, field, "%s", why);
}

static void deny(struct compile *compile, const char *name, const char *why)
{
	char field[FIELD_BYTES];

	compile->annotations->denied = true;
	findings_add(compile->findings, annotation_field(compile->options, name, field, sizeof(field)),
		     "%s; all paths of this Ingress answer 503", why);
}

static void compile_one(struct compile *compile, const char *name, struct str value)
{
	const struct annotation_rule *rule = find_rule(name);
	const char *why;

	if (!rule) {
		found(compile, name, "not supported, without effect", (struct str){0});
		return;
	}
	if (memchr(value.p, '\n', value.len) || memchr(value.p, '\r', value.len))
		why = "expected one line";
	else
		why = rule->parse(compile, (char *)compile->annotations + rule->offset, value);
	if (why && rule->guards)
		deny(compile, name, why);
	else if (why)
		found(compile, name, why, value);
}

/* What is under the prefix behind its slash; NULL when key is not. */
static const char *name_under(const char *prefix, const char *key)
{
	size_t len = strlen(prefix);

	return strncmp(key, prefix, len) == 0 && key[len] == '/' ? key + len + 1 : NULL;
}

static void settle_auth(struct compile *compile)
{
	struct annotations *annotations = compile->annotations;

	if (annotations->denied)
		return;
	if (annotations->auth_basic && !annotations->auth_secret_name)
		deny(compile, "auth-type", "auth-secret is missing");
	else if (!annotations->auth_basic && annotations->auth_secret_name)
		found(compile, "auth-secret", "without effect, since auth-type is missing", (struct str){0});
}

static struct annotations defaults(const struct ingress_settings *settings)
{
	return (struct annotations){
	    .auth_realm = "",
	    .ssl_redirect = true,
	    .body_max_bytes = settings->body_max_bytes,
	    .connect_timeout_s = 5,
	    .read_timeout_s = 60,
	    .send_timeout_s = 60,
	    .tries = 3,
	};
}

int annotations_compile(const struct object *object, const struct annotations_options *options,
			struct arena *arena, struct annotations *ret, struct findings *findings)
{
	struct annotations annotations = defaults(options->settings);
	struct compile compile = {.object = object,
				  .options = options,
				  .arena = arena,
				  .annotations = &annotations,
				  .findings = findings};

	for (size_t i = 0; i < object->annotations.count; i++) {
		const char *name = name_under(options->prefix, object->annotations.items[i].key);
		struct str value = str_trim(str_of(object->annotations.items[i].value));

		if (name && value.len)
			compile_one(&compile, name, value);
	}
	settle_auth(&compile);
	if (compile.out_of_memory)
		return -ENOMEM;
	*ret = annotations;
	return 0;
}
