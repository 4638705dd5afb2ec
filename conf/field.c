/* The cursor: steps, values, complaints. */
#include "conf/field.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/cleanup.h"

#define PATH_MAX_BYTES   512
#define QUOTED_MAX_BYTES 60

/* ---- complaints ---- */

static bool key_needs_brackets(const char *key)
{
	return strpbrk(key, "./[] ") != NULL || key[0] == '\0';
}

/* Writes what fits of the path; returns its length. */
static size_t path_write(const struct field *field, char *buffer, size_t size)
{
	size_t used;
	int written;

	buffer[0] = '\0';
	if (!field->parent)
		return 0;
	used = path_write(field->parent, buffer, size);
	if (!field->key)
		written = snprintf(buffer + used, size - used, "[%zu]", field->index);
	else if (key_needs_brackets(field->key))
		written = snprintf(buffer + used, size - used, "[%s]", field->key);
	else
		written = snprintf(buffer + used, size - used, "%s%s", used ? "." : "", field->key);
	if (written < 0)
		return used;
	return (size_t)written < size - used ? used + (size_t)written : size - 1;
}

static int line_of(const struct field *field)
{
	while (!field->node && field->parent)
		field = field->parent;
	return field->node ? field->node->line : 0;
}

static void complain(const struct field *field, enum decode_severity severity, const char *why)
{
	const struct field_reader *reader = field->reader;
	char path[PATH_MAX_BYTES];
	struct decode_complaint complaint = {
	    .severity = severity,
	    .file = reader->file,
	    .line = line_of(field),
	    .kind = reader->kind,
	    .ns = reader->ns,
	    .name = reader->name,
	    .field = path,
	    .why = why,
	};

	if (!reader->sink)
		return;
	path_write(field, path, sizeof(path));
	reader->sink->complaint(reader->sink->ctx, &complaint);
}

static void complain_v(const struct field *field, enum decode_severity severity, const char *format,
		       va_list args) __attribute__((format(printf, 3, 0)));

static void complain_v(const struct field *field, enum decode_severity severity, const char *format,
		       va_list args)
{
	char why[512];

	vsnprintf(why, sizeof(why), format, args);
	complain(field, severity, why);
}

void field_complain(const struct field *field, const char *format, ...)
{
	va_list args;

	*field->failed = true;
	va_start(args, format);
	complain_v(field, field->severity, format, args);
	va_end(args);
}

void field_warn(const struct field *field, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	complain_v(field, DECODE_WARNING, format, args);
	va_end(args);
}

/* What stands there instead: "a list", or the value in quotes. */
static void describe(const struct node *node, char *buffer, size_t size)
{
	switch (node->type) {
	case NODE_LIST:
		snprintf(buffer, size, "a list");
		return;
	case NODE_MAP:
		snprintf(buffer, size, "a map");
		return;
	case NODE_STRING:
		snprintf(buffer, size, "\"%.*s\"%s", QUOTED_MAX_BYTES, node->text.p,
			 node->text.len > QUOTED_MAX_BYTES ? "..." : "");
		return;
	case NODE_NULL:
	case NODE_BOOL:
	case NODE_INT:
	case NODE_FLOAT:
		snprintf(buffer, size, "%.*s", QUOTED_MAX_BYTES, node->text.p);
		return;
	}
}

void field_expected(const struct field *field, const char *format, ...)
{
	char expected[256], got[QUOTED_MAX_BYTES + 8];
	va_list args;

	va_start(args, format);
	vsnprintf(expected, sizeof(expected), format, args);
	va_end(args);
	if (!field->node) {
		field_complain(field, "is missing: expected %s", expected);
		return;
	}
	describe(field->node, got, sizeof(got));
	field_complain(field, "expected %s, got %s", expected, got);
}

/* ---- memory ---- */

static void *take_memory(struct field_reader *reader, size_t len_bytes, size_t alignment)
{
	size_t start = (reader->used_bytes + alignment - 1) & ~(alignment - 1);
	void *memory;

	reader->used_bytes = start + len_bytes;
	if (!reader->room)
		memory = arena_alloc(reader->arena, len_bytes);
	else
		memory = reader->used_bytes <= reader->room_bytes ? reader->room + start : NULL;
	if (!memory)
		reader->out_of_memory = true;
	return memory;
}

const char *field_copy(struct field_reader *reader, struct str text)
{
	char *copy;

	if (text.len == 0)
		return "";
	copy = take_memory(reader, text.len + 1, 1);
	if (!copy)
		return "";
	memcpy(copy, text.p, text.len);
	copy[text.len] = '\0';
	return copy;
}

void *field_array(struct field_reader *reader, size_t count, size_t item_bytes)
{
	size_t len_bytes;

	if (count == 0)
		return NULL;
	if (__builtin_mul_overflow(count, item_bytes, &len_bytes)) {
		reader->out_of_memory = true;
		return NULL;
	}
	return take_memory(reader, len_bytes, sizeof(void *));
}

/* ---- steps ---- */

struct field field_root(struct field_reader *reader, const struct node *node)
{
	return (struct field){
	    .reader = reader,
	    .node = node,
	    .severity = DECODE_ERROR,
	    .failed = &reader->failed,
	};
}

static struct field step(const struct field *parent, const char *key, size_t index, const struct node *node)
{
	return (struct field){
	    .reader = parent->reader,
	    .parent = parent,
	    .key = key,
	    .index = index,
	    .node = node && node->type != NODE_NULL ? node : NULL,
	    .severity = parent->severity,
	    .failed = parent->failed,
	};
}

static struct field of_type(struct field field, enum node_type type, const char *expected)
{
	if (field.node && field.node->type != type) {
		field_expected(&field, "%s", expected);
		field.node = NULL;
	}
	return field;
}

struct field field_at(const struct field *map, const char *key)
{
	return step(map, key, 0, node_get(map->node, key));
}

struct field field_map_at(const struct field *map, const char *key)
{
	return of_type(field_at(map, key), NODE_MAP, "a map");
}

struct field field_list_at(const struct field *map, const char *key)
{
	return of_type(field_at(map, key), NODE_LIST, "a list");
}

struct field field_item(const struct field *list, size_t index)
{
	return step(list, NULL, index, list->node->items[index]);
}

bool field_next(struct field_iter *iter)
{
	while (iter->index < field_count(iter->list)) {
		iter->item = field_item(iter->list, iter->index++);
		if (field_present(&iter->item) && iter->item.node->type == NODE_MAP)
			return true;
		field_expected(&iter->item, "a map");
	}
	return false;
}

struct field field_entry(const struct field *map, size_t index)
{
	const struct node_entry *entry = &map->node->entries[index];

	return step(map, entry->key.p, 0, entry->value);
}

struct field field_droppable(struct field field, bool *ret_failed)
{
	*ret_failed = false;
	field.severity = DECODE_WARNING;
	field.failed = ret_failed;
	return field;
}

/* ---- values ---- */

struct str field_peek(const struct field *field)
{
	return field->node && field->node->type == NODE_STRING ? field->node->text : STR_LIT("");
}

struct str field_str(struct field field)
{
	field = of_type(field, NODE_STRING, "a string");
	return field.node ? field.node->text : STR_LIT("");
}

const char *field_text(struct field field)
{
	return field_copy(field.reader, field_str(field));
}

const char *field_text_required(struct field field)
{
	if (!field.node || (field.node->type == NODE_STRING && field.node->text.len == 0)) {
		field_expected(&field, "a string");
		return "";
	}
	return field_text(field);
}

const char *field_name(struct field field, field_test_fn *test, const char *what)
{
	return field.node ? field_name_required(field, test, what) : "";
}

const char *field_name_required(struct field field, field_test_fn *test, const char *what)
{
	if (field.node && field.node->type == NODE_STRING && test(field.node->text))
		return field_copy(field.reader, field.node->text);
	field_expected(&field, "%s", what);
	return "";
}

bool field_bool(struct field field, bool absent)
{
	field = of_type(field, NODE_BOOL, "true or false");
	return field.node ? field.node->boolean : absent;
}

int64_t field_number(struct field field, int64_t least, int64_t most, int64_t absent)
{
	if (!field.node)
		return absent;
	if (field.node->type == NODE_INT && field.node->integer >= least && field.node->integer <= most)
		return field.node->integer;
	field_expected(&field, "a number from %" PRId64 " to %" PRId64, least, most);
	return absent;
}

uint16_t field_port(struct field field, uint16_t absent)
{
	return (uint16_t)field_number(field, 1, UINT16_MAX, absent);
}

unsigned field_word(struct field field, const char *const *words, size_t count, unsigned absent)
{
	char list[128] = "";
	size_t used = 0;

	if (!field.node)
		return absent;
	for (unsigned i = 0; i < count; i++) {
		if (field.node->type == NODE_STRING && str_is(field.node->text, words[i]))
			return i;
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s",
					 i == 0          ? ""
					 : i + 1 < count ? ", "
							 : " or ",
					 words[i]);
	}
	field_expected(&field, "%s", list);
	return absent;
}

bool field_ip(struct field field, struct ip *ret)
{
	if (!field.node)
		return false;
	if (field.node->type == NODE_STRING && ip_parse(field.node->text, ret) == 0)
		return true;
	field_expected(&field, "an IP address");
	return false;
}

bool field_cidr(struct field field, struct cidr *ret)
{
	if (!field.node)
		return false;
	if (field.node->type == NODE_STRING && cidr_parse(str_trim(field.node->text), ret) == 0)
		return true;
	field_expected(&field, "an address range such as 10.0.0.0/8");
	return false;
}

/* Digits of the second's fraction as microseconds; advances *at. */
static int64_t fraction_us(const char **at)
{
	int64_t result = 0, scale = 100000;

	if (**at != '.')
		return 0;
	for ((*at)++; **at >= '0' && **at <= '9'; (*at)++) {
		result += (**at - '0') * scale;
		scale /= 10;
	}
	return result;
}

/* "Z", "+02:00", "-05:30": seconds east of UTC. */
static bool zone_parse(const char *at, int64_t *ret_s)
{
	struct tm tm = {0};
	const char *end;

	*ret_s = 0;
	if (strcmp(at, "Z") == 0)
		return true;
	if (*at != '+' && *at != '-')
		return false;
	end = strptime(at + 1, "%H:%M", &tm);
	if (!end || *end != '\0')
		return false;
	*ret_s = (tm.tm_hour * INT64_C(60) + tm.tm_min) * 60;
	if (*at == '-')
		*ret_s = -*ret_s;
	return true;
}

static bool time_parse(const char *text, int64_t *ret_us)
{
	struct tm tm = {0};
	const char *at = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	int64_t fraction, zone_s;

	if (!at)
		return false;
	fraction = fraction_us(&at);
	if (!zone_parse(at, &zone_s))
		return false;
	*ret_us = ((int64_t)timegm(&tm) - zone_s) * 1000000 + fraction;
	return true;
}

int64_t field_time_us(struct field field)
{
	int64_t time_us;

	if (!field.node)
		return 0;
	if (field.node->type == NODE_STRING && time_parse(field.node->text.p, &time_us))
		return time_us;
	field_expected(&field, "a time such as 2024-01-31T12:00:00Z");
	return 0;
}
