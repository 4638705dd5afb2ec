/* v1 Secret: the data keys somebody reads, decoded; everything else is passed over. */
#include <string.h>

#include "base/cleanup.h"
#include "conf/decode_kinds.h"

/* Certificates and keys, revocation lists, password files. Opaque secrets may hold passwords under any key.
 */
static bool is_read_always(struct str key)
{
	static const char *const keys[] = {"tls.crt", "tls.key", "ca.crt", "ca.crl", "auth"};

	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (str_is(key, keys[i]))
			return true;
	return false;
}

static bool is_kept(const struct secret *secret, struct str key)
{
	return is_read_always(key) || strcmp(secret->type, "Opaque") == 0;
}

/* ---- base64 (RFC 4648 section 4), line breaks allowed ---- */

static int digit_value(char c)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *found = c == '\0' ? NULL : strchr(digits, c);

	return found ? (int)(found - digits) : -1;
}

/* out: room for 3 bytes for each 4 of text. Padding only at the end and as long as it must be. */
static bool base64_decode(struct str text, uint8_t *out, size_t *ret_len)
{
	uint32_t group = 0;
	size_t digits = 0, padding = 0, len = 0;

	for (size_t i = 0; i < text.len; i++) {
		int value = digit_value(text.p[i]);
		if (text.p[i] == '\n' || text.p[i] == '\r')
			continue;
		if (text.p[i] == '=')
			padding++;
		else if (value < 0 || padding > 0)
			return false;
		group = group << 6 | (uint32_t)(value < 0 ? 0 : value);
		if (++digits % 4 != 0)
			continue;
		if (padding > 2)
			return false;
		out[len++] = (uint8_t)(group >> 16);
		if (padding < 2)
			out[len++] = (uint8_t)(group >> 8);
		if (padding < 1)
			out[len++] = (uint8_t)group;
	}
	*ret_len = len;
	return digits % 4 == 0;
}

/* ---- values: none may get into a complaint, which ends in a log ---- */

static bool decode_base64_value(const struct field *field, struct bytes *ret)
{
	struct str text = field_peek(field);
	uint8_t *out = field_array(field->reader, text.len / 4 * 3, 1);

	ret->data = out ? out : (const uint8_t *)"";
	if (field->reader->out_of_memory || text.len == 0)
		return true;
	if (out && base64_decode(text, out, &ret->len))
		return true;
	field_complain(field, "expected base64");
	return false;
}

static bool decode_plain_value(const struct field *field, struct bytes *ret)
{
	struct str text = field_peek(field);

	ret->data = (const uint8_t *)field_copy(field->reader, text);
	ret->len = text.len;
	return true;
}

typedef bool decode_value_fn(const struct field *field, struct bytes *ret);

static void add_value(const struct field *field, decode_value_fn *decode, struct secret *secret)
{
	struct named_bytes *slot = &secret->data[secret->data_count];

	slot->key = field_copy(field->reader, str_of(field->key));
	if (field_present(field) && field->node->type != NODE_STRING)
		field_complain(field, "expected a string");
	else if (decode(field, &slot->value))
		secret->data_count++;
}

static void add_values(const struct field *map, const struct node *winner, decode_value_fn *decode,
		       struct secret *secret)
{
	for (size_t i = 0; i < field_count(map); i++) {
		struct field value = field_entry(map, i);
		if (is_kept(secret, map->node->entries[i].key) && !node_get(winner, value.key))
			add_value(&value, decode, secret);
	}
}

static size_t kept_count(const struct field *map, const struct secret *secret)
{
	size_t count = 0;

	for (size_t i = 0; i < field_count(map); i++)
		count += is_kept(secret, map->node->entries[i].key);
	return count;
}

void decode_secret(const struct field *root, struct object *object)
{
	struct secret *secret = (struct secret *)object;
	struct field type = field_at(root, "type");
	struct field data = field_map_at(root, "data"), plain = field_map_at(root, "stringData");

	secret->type = field_present(&type) ? field_text(type) : "Opaque";
	if (!decode_data_fits(&data) || !decode_data_fits(&plain))
		return;
	secret->data = field_array(root->reader, kept_count(&data, secret) + kept_count(&plain, secret),
				   sizeof(*secret->data));
	if (!secret->data)
		return;
	add_values(&data, plain.node, decode_base64_value, secret);
	add_values(&plain, NULL, decode_plain_value, secret);
}
