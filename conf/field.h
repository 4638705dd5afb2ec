/* Reading one object's fields: a cursor into the parsed document that knows its own path, so that each field
 * is one readable line in a decoder and each complaint names it:
 *
 *     port->port = field_port(field_at(&item, "port"), 0);
 *
 * Invariants
 *  1. A field that is absent or null reads as its default, without complaint; so does everything inside it.
 *  2. A complaint marks what the field belongs to as failed: the object, or the list item it can be dropped
 * with (field_droppable). Then its value is the default, and decoding goes on to find what else is wrong.
 *  3. Texts and arrays live in the object's memory; out of memory is remembered in the reader, and reads as
 *     absent. */
#ifndef CONF_FIELD_H
#define CONF_FIELD_H

#include "conf/decode.h"

/* The decoding of one object. */
struct field_reader {
	const struct decode_sink *sink; /* NULL: say nothing (it has been said) */
	const char *file;               /* NULL for the API */
	const char *kind, *ns, *name;   /* for complaints */
	bool failed;                    /* the object cannot be used */
	bool out_of_memory;

	/* Where texts and arrays go: into `room` if there is one, else into the arena; counted in both. */
	struct arena *arena;
	char *room;
	size_t room_bytes, used_bytes;
};

struct field {
	struct field_reader *reader;
	const struct field *parent; /* NULL: the object itself */
	const char *key;            /* NULL: an item of a list */
	size_t index;
	const struct node *node; /* NULL: absent or null */
	enum decode_severity severity;
	bool *failed;
};

struct field field_root(struct field_reader *reader, const struct node *node);

/* Steps. The parent must outlive the child. `at` takes any type; the others complain of another type. */
struct field field_at(const struct field *map, const char *key);
struct field field_map_at(const struct field *map, const char *key);
struct field field_list_at(const struct field *map, const char *key);
struct field field_item(const struct field *list, size_t index);
/* The items of a list that are maps; complains of others.
 * for (struct field_iter it = field_maps(&list); field_next(&it);) { it.item } */
struct field_iter {
	const struct field *list;
	size_t index; /* of the next item */
	struct field item;
};

static inline struct field_iter field_maps(const struct field *list)
{
	return (struct field_iter){.list = list};
}

bool field_next(struct field_iter *iter);

/* The value of a map's index-th entry; its key is in field.key. */
struct field field_entry(const struct field *map, size_t index);

static inline size_t field_count(const struct field *list)
{
	return list->node ? list->node->count : 0;
}

static inline bool field_present(const struct field *field)
{
	return field->node != NULL;
}

/* The same field, but what is wrong in it, or in fields reached from it, is a warning and sets *ret_failed:
 * the caller leaves it out. */
struct field field_droppable(struct field field, bool *ret_failed);

/* Values. */
struct str field_peek(const struct field *field); /* "" unless it is a string; without complaint */
struct str field_str(struct field field);         /* borrowed from the document; {"", 0} when absent */
const char *field_text(struct field field);
const char *field_text_required(struct field field);
/* A string that passes the test; if not, `what` was expected. */
typedef bool field_test_fn(struct str text);
const char *field_name(struct field field, field_test_fn *test, const char *what);
const char *field_name_required(struct field field, field_test_fn *test, const char *what);
bool field_bool(struct field field, bool absent);
int64_t field_number(struct field field, int64_t least, int64_t most, int64_t absent);
uint16_t field_port(struct field field, uint16_t absent); /* 1..65535 */
/* One of the words, as its index. */
unsigned field_word(struct field field, const char *const *words, size_t count, unsigned absent);
/* False when absent or bad. */
bool field_ip(struct field field, struct ip *ret);
bool field_cidr(struct field field, struct cidr *ret); /* blanks around it are cut */
/* RFC 3339 as microseconds of Unix time; 0 when absent. */
int64_t field_time_us(struct field field);

/* Memory for the object. No items: NULL; out of memory: "" or NULL, and the reader knows. */
const char *field_copy(struct field_reader *reader, struct str text);
void *field_array(struct field_reader *reader, size_t count, size_t item_bytes);

/* Complaints of the field's own severity. */
void field_complain(const struct field *field, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "expected <what>, got <value>", or "is missing: expected <what>". */
void field_expected(const struct field *field, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Only a warning, nothing fails. */
void field_warn(const struct field *field, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
