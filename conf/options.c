/* Command-line flags: reading them into a struct, and printing what there is. The table says all; nothing
 * here knows any flag but --help. */
#include "conf/options.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define HELP_WIDTH  100
#define HELP_INDENT 8

int duration_parse(struct str text, double *ret_seconds)
{
	static const struct {
		const char *unit;
		double seconds;
	} units[] = {{"ns", 1e-9}, {"us", 1e-6}, {"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3600}};
	double total = 0;

	if (text.len == 0 || text.len > 40)
		return -EINVAL;
	for (size_t at = 0; at < text.len;) {
		char number[48];
		size_t digits = 0, letters = 0, i;

		while (at + digits < text.len && (strchr("0123456789.", text.p[at + digits])))
			digits++;
		while (at + digits + letters < text.len && strchr("numsh", text.p[at + digits + letters]))
			letters++;
		if (digits == 0)
			return -EINVAL;
		memcpy(number, text.p + at, digits);
		number[digits] = 0;
		struct str unit = {text.p + at + digits, letters};
		for (i = 0; i < sizeof(units) / sizeof(units[0]) && !str_is(unit, units[i].unit); i++)
			;
		bool bare = letters == 0 && digits == text.len;
		if (i == sizeof(units) / sizeof(units[0]) && !bare)
			return -EINVAL;
		char *end;
		double value = strtod(number, &end);
		if (*end || !isfinite(value))
			return -EINVAL;
		total += value * (bare ? 1 : units[i].seconds);
		at += digits + letters;
	}
	*ret_seconds = total;
	return 0;
}

const char *duration_format(double seconds, char buffer[static 48])
{
	uint64_t total_ms = (uint64_t)(seconds * 1000 + 0.5), ms = total_ms % 60000;
	uint64_t hours = total_ms / 3600000, minutes = total_ms / 60000 % 60;
	size_t len = 0;

	if (total_ms > 0 && total_ms < 1000) {
		(void)snprintf(buffer, 48, "%ums", (unsigned)total_ms);
		return buffer;
	}
	if (hours > 0)
		len = (size_t)snprintf(buffer, 48, "%lluh", (unsigned long long)hours);
	if (hours > 0 || minutes > 0)
		len += (size_t)snprintf(buffer + len, 48 - len, "%um", (unsigned)minutes);
	(void)snprintf(buffer + len, 48 - len, "%gs", (double)ms / 1000);
	return buffer;
}

static int strings_add(struct option_strings *list, const char *text, struct arena *arena)
{
	const char **grown = arena_array(arena, list->count + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	if (list->count)
		memcpy(grown, list->items, list->count * sizeof(*grown));
	grown[list->count] = text;
	list->items = grown;
	list->count++;
	return 0;
}

static int list_add(struct option_strings *list, struct str text, struct arena *arena)
{
	while (text.p) {
		struct str item;

		text = str_cut(text, ',', &item);
		item = str_trim(item);
		if (item.len == 0)
			continue;
		const char *copy = arena_dup(arena, item);
		if (!copy || strings_add(list, copy, arena) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int cidrs_add(struct option_cidrs *list, struct str text, struct arena *arena)
{
	while (text.p) {
		struct str item;
		struct cidr cidr;

		text = str_cut(text, ',', &item);
		item = str_trim(item);
		if (item.len == 0)
			continue;
		if (cidr_parse(item, &cidr) < 0)
			return -EINVAL;
		struct cidr *grown = arena_array(arena, list->count + 1, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		if (list->count)
			memcpy(grown, list->items, list->count * sizeof(*grown));
		grown[list->count] = cidr;
		list->items = grown;
		list->count++;
	}
	return 0;
}

static int bool_parse(struct str text, bool *ret)
{
	static const char *const yes[] = {"true", "True", "TRUE", "t", "T", "1"};
	static const char *const no[] = {"false", "False", "FALSE", "f", "F", "0"};

	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
		if (!str_is(text, yes[i]) && !str_is(text, no[i]))
			continue;
		*ret = str_is(text, yes[i]);
		return 0;
	}
	return -EINVAL;
}

static int choice_parse(const struct option *option, struct str text, unsigned *ret)
{
	for (unsigned i = 0; option->choices[i]; i++) {
		if (!str_is(text, option->choices[i]))
			continue;
		*ret = i;
		return 0;
	}
	return -EINVAL;
}

static int number_parse(struct str text, uint64_t max, void *destination, size_t size)
{
	uint64_t number;
	int code = str_to_u64(text, max, &number);

	if (code < 0)
		return code;
	if (size == sizeof(uint16_t))
		*(uint16_t *)destination = (uint16_t)number;
	else
		*(uint32_t *)destination = (uint32_t)number;
	return 0;
}

static int signed_parse(struct str text, int32_t *ret)
{
	bool negative = text.len > 0 && text.p[0] == '-';
	struct str digits = negative ? (struct str){text.p + 1, text.len - 1} : text;
	uint64_t number;
	int code = str_to_u64(digits, INT32_MAX, &number);

	if (code == 0)
		*ret = negative ? -(int32_t)number : (int32_t)number;
	return code;
}

static int size_parse(struct str text, uint64_t *ret_bytes)
{
	unsigned shift = 0;

	switch (text.len ? text.p[text.len - 1] : 0) {
	case 'k':
	case 'K':
		shift = 10;
		break;
	case 'm':
	case 'M':
		shift = 20;
		break;
	case 'g':
	case 'G':
		shift = 30;
		break;
	default:
		break;
	}
	if (shift)
		text.len--;
	uint64_t number;
	int code = str_to_u64(text, UINT64_MAX >> shift, &number);
	if (code == 0)
		*ret_bytes = number << shift;
	return code;
}

static const char *expected(enum option_type type)
{
	switch (type) {
	case OPTION_BOOL:
		return "true or false";
	case OPTION_U32:
		return "a number from 0 to 4294967295";
	case OPTION_I32:
		return "a whole number";
	case OPTION_PORT:
		return "a port from 0 to 65535";
	case OPTION_DURATION:
		return "a duration, as 5s or 1m30s";
	case OPTION_SIZE:
		return "a size, as 512k, 1m or 0";
	case OPTION_CIDRS:
		return "prefixes, as 10.0.0.0/8,fd00::/16";
	case OPTION_IP:
		return "an IP address";
	case OPTION_ADDR:
		return "an address with a port, as 0.0.0.0:10256 or [::1]:10249";
	case OPTION_CHOICE:
		return "one of the listed words";
	case OPTION_STRING:
	case OPTION_STRINGS:
	case OPTION_LIST:
	case OPTION_IGNORED:
	case OPTION_IGNORED_BOOL:
		break;
	}
	return "text";
}

static int option_store(const struct option *option, const char *value, void *config, struct arena *arena)
{
	void *destination = (char *)config + option->offset;
	struct str text = str_of(value);

	switch (option->type) {
	case OPTION_BOOL:
		return bool_parse(text, destination);
	case OPTION_STRING:
		*(const char **)destination = value;
		return 0;
	case OPTION_U32:
		return number_parse(text, UINT32_MAX, destination, sizeof(uint32_t));
	case OPTION_I32:
		return signed_parse(text, destination);
	case OPTION_PORT:
		return number_parse(text, UINT16_MAX, destination, sizeof(uint16_t));
	case OPTION_DURATION:
		return duration_parse(text, destination);
	case OPTION_SIZE:
		return size_parse(text, destination);
	case OPTION_STRINGS:
		return strings_add(destination, value, arena);
	case OPTION_LIST:
		return list_add(destination, text, arena);
	case OPTION_CIDRS:
		return cidrs_add(destination, text, arena);
	case OPTION_IP:
		return ip_parse(text, destination);
	case OPTION_ADDR:
		return endpoint_addr_parse(text, destination);
	case OPTION_CHOICE:
		return choice_parse(option, text, destination);
	case OPTION_IGNORED:
	case OPTION_IGNORED_BOOL:
		return 0;
	}
	return -EINVAL;
}

static int option_apply(const struct option *option, const char *value, void *config, struct arena *arena,
			struct err *err)
{
	int code = option_store(option, value, config, arena);

	if (code == -ENOMEM || code == 0)
		return code;
	return err_set(err, -EINVAL, "--%s: expected %s, got \"%s\"", option->name, expected(option->type),
		       value);
}

static const struct option *find_name(const struct option_group *groups, struct str name)
{
	for (; groups->title; groups++)
		for (size_t i = 0; i < groups->count; i++)
			if (str_is(name, groups->options[i].name))
				return &groups->options[i];
	return NULL;
}

static const struct option *find_letter(const struct option_group *groups, char letter)
{
	for (; groups->title; groups++)
		for (size_t i = 0; i < groups->count; i++)
			if (groups->options[i].letter == letter)
				return &groups->options[i];
	return NULL;
}

const struct option *options_find(const struct option_group *groups, const char *name)
{
	return find_name(groups, str_of(name));
}

int options_set(const struct option_group *groups, const char *name, const char *value, void *config,
		struct arena *arena, struct err *err)
{
	const struct option *option = find_name(groups, str_of(name));

	return option ? option_apply(option, value, config, arena, err) : -ENOENT;
}

/* One argument list being read. */
struct reader {
	const struct option_group *groups;
	char *const *args;
	int count, at;
	void *config;
	struct options_result *result;
};

static bool takes_next(enum option_type type)
{
	return type != OPTION_BOOL && type != OPTION_IGNORED_BOOL;
}

/* `written` is the argument as given, `value` what stands behind '=' (NULL: nothing does). */
static int read_flag(struct reader *reader, const struct option *option, const char *written,
		     const char *value, struct err *err)
{
	struct arena *arena = &reader->result->arena;

	if (!option)
		return strings_add(&reader->result->unknown, written, arena);
	if (!value && takes_next(option->type)) {
		/* An ignored flag's value may be missing: what follows might be the next flag. */
		bool next = reader->at < reader->count &&
			    (option->type != OPTION_IGNORED || reader->args[reader->at][0] != '-');
		if (next)
			value = reader->args[reader->at++];
		else if (option->type != OPTION_IGNORED)
			return err_set(err, -EINVAL, "--%s: needs a value, %s", option->name,
				       expected(option->type));
	}
	if (option->type == OPTION_IGNORED || option->type == OPTION_IGNORED_BOOL)
		return strings_add(&reader->result->ignored, option->name, arena);
	return option_apply(option, value ? value : "true", reader->config, arena, err);
}

static int read_argument(struct reader *reader, struct err *err)
{
	const char *written = reader->args[reader->at++];
	bool is_long = strncmp(written, "--", 2) == 0;
	struct str name;

	if (written[0] != '-' || written[1] == 0)
		return strings_add(&reader->result->positional, written, &reader->result->arena);
	struct str value = str_cut(str_of(written + (is_long ? 2 : 1)), '=', &name);
	if (str_is(name, "help") || str_is(name, "h")) {
		reader->result->help = true;
		return 0;
	}
	if (is_long)
		return read_flag(reader, find_name(reader->groups, name), written, value.p, err);
	/* -v2 is the letter with its value behind it. */
	if (!value.p && name.len > 1)
		value.p = name.p + 1;
	return read_flag(reader, find_letter(reader->groups, name.p[0]), written, value.p, err);
}

int options_parse(const struct option_group *groups, int arg_count, char *const *args, void *config,
		  struct options_result *ret, struct err *err)
{
	struct reader reader = {
	    .groups = groups, .args = args, .count = arg_count, .config = config, .result = ret};

	*ret = (struct options_result){0};
	while (reader.at < reader.count) {
		int code = 0;

		if (strcmp(args[reader.at], "--") != 0) {
			code = read_argument(&reader, err);
		} else {
			for (reader.at++; reader.at < reader.count && code == 0; reader.at++)
				code = strings_add(&ret->positional, args[reader.at], &ret->arena);
		}
		if (code < 0) {
			options_result_done(ret);
			return code == -ENOMEM ? err_set(err, code, "out of memory") : code;
		}
	}
	return 0;
}

void options_result_done(struct options_result *result)
{
	arena_done(&result->arena);
	*result = (struct options_result){0};
}

static const char *argument_name(const struct option *option)
{
	if (option->argument)
		return option->argument;
	switch (option->type) {
	case OPTION_U32:
	case OPTION_I32:
		return "N";
	case OPTION_PORT:
		return "PORT";
	case OPTION_DURATION:
		return "DURATION";
	case OPTION_SIZE:
		return "SIZE";
	case OPTION_CIDRS:
		return "CIDR,...";
	case OPTION_IP:
		return "IP";
	case OPTION_ADDR:
		return "IP:PORT";
	case OPTION_STRING:
	case OPTION_STRINGS:
	case OPTION_CHOICE:
	case OPTION_IGNORED:
		return "TEXT";
	case OPTION_LIST:
		return "TEXT,...";
	case OPTION_BOOL:
	case OPTION_IGNORED_BOOL:
		break;
	}
	return NULL;
}

static void default_text(const struct option *option, const void *defaults, char *text, size_t size)
{
	const void *value = (const char *)defaults + option->offset;
	char address[ADDR_TEXT_MAX], duration[48];

	text[0] = 0;
	switch (option->type) {
	case OPTION_BOOL:
		if (*(const bool *)value)
			(void)snprintf(text, size, "true");
		break;
	case OPTION_STRING:
		if (*(const char *const *)value)
			(void)snprintf(text, size, "%s", *(const char *const *)value);
		break;
	case OPTION_U32:
		(void)snprintf(text, size, "%u", *(const uint32_t *)value);
		break;
	case OPTION_I32:
		(void)snprintf(text, size, "%d", *(const int32_t *)value);
		break;
	case OPTION_PORT:
		(void)snprintf(text, size, "%u", (unsigned)*(const uint16_t *)value);
		break;
	case OPTION_DURATION:
		(void)snprintf(text, size, "%s", duration_format(*(const double *)value, duration));
		break;
	case OPTION_SIZE:
		if (*(const uint64_t *)value % (1u << 20) == 0)
			(void)snprintf(text, size, "%llum",
				       (unsigned long long)(*(const uint64_t *)value >> 20));
		else
			(void)snprintf(text, size, "%llu", (unsigned long long)*(const uint64_t *)value);
		break;
	case OPTION_ADDR:
		if (((const struct endpoint_addr *)value)->port)
			(void)snprintf(text, size, "%s", endpoint_addr_format(value, address));
		break;
	case OPTION_CHOICE:
		(void)snprintf(text, size, "%s", option->choices[*(const unsigned *)value]);
		break;
	case OPTION_IP:
	case OPTION_STRINGS:
	case OPTION_LIST:
	case OPTION_CIDRS:
	case OPTION_IGNORED:
	case OPTION_IGNORED_BOOL:
		break;
	}
}

/* Words of text, wrapped and indented. */
static void print_wrapped(FILE *out, const char *text)
{
	int column = 0;

	while (*text) {
		int word = (int)strcspn(text, " ");

		if (column == 0 || column + 1 + word > HELP_WIDTH) {
			(void)fprintf(out, "%s%*s", column ? "\n" : "", HELP_INDENT, "");
			column = HELP_INDENT;
		} else {
			(void)fputc(' ', out);
			column++;
		}
		(void)fprintf(out, "%.*s", word, text);
		column += word;
		text += word;
		text += strspn(text, " ");
	}
	(void)fputc('\n', out);
}

static void print_option(FILE *out, const struct option *option, const void *defaults)
{
	const char *argument = argument_name(option);
	char initial[128], line[1024];
	bool ignored = option->type == OPTION_IGNORED || option->type == OPTION_IGNORED_BOOL;

	(void)fprintf(out, "    ");
	if (option->letter)
		(void)fprintf(out, "-%c, ", option->letter);
	(void)fprintf(out, "--%s%s%s\n", option->name, argument ? " " : "", argument ? argument : "");
	default_text(option, defaults, initial, sizeof(initial));
	(void)snprintf(line, sizeof(line), "%s%s%s%s%s", ignored ? "accepted, no effect: " : "", option->help,
		       initial[0] ? " (default " : "", initial, initial[0] ? ")" : "");
	print_wrapped(out, line);
}

void options_help(FILE *out, const char *usage, const struct option_group *groups, const void *defaults)
{
	(void)fprintf(out, "%s", usage);
	for (; groups->title; groups++) {
		(void)fprintf(out, "\n%s:\n", groups->title);
		for (size_t i = 0; i < groups->count; i++)
			print_option(out, &groups->options[i], defaults);
	}
}
