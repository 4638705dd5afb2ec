/* Path normalisation (RFC 3986 sections 2.1 and 5.2.4, as nginx does it) and the route index of route.h. */
#include "ingress/route.h"

#include <errno.h>
#include <stdlib.h>

/* ---- normalisation ---- */

/* The byte at *pos, an escape decoded; *pos moves behind it. -EBADMSG for a bad escape or a NUL. */
static int next_byte(struct str path, size_t *pos)
{
	size_t i = *pos;
	int high, low, byte = (unsigned char)path.p[i];

	*pos = i + 1;
	if (byte == '%') {
		if (path.len - i < 3)
			return -EBADMSG;
		high = hex_digit(path.p[i + 1]);
		low = hex_digit(path.p[i + 2]);
		if (high < 0 || low < 0)
			return -EBADMSG;
		*pos = i + 3;
		byte = high * 16 + low;
	}
	return byte ? byte : -EBADMSG;
}

/* out[0 .. len) ends with the element just finished, after the slash at `slash`. Resolves "", "." and "..":
 * returns the new length, or -EBADMSG above the root. last: nothing follows, else a '/' does. */
static ssize_t finish_element(char *out, size_t slash, size_t len, bool last)
{
	size_t element_len = len - slash - 1;
	const char *element = out + slash + 1;

	if (element_len == 0 || (element_len == 1 && element[0] == '.'))
		len = slash + 1;
	else if (element_len == 2 && element[0] == '.' && element[1] == '.') {
		if (slash == 0)
			return -EBADMSG;
		len = slash;
		while (out[len - 1] != '/')
			len--;
	} else if (!last) {
		out[len++] = '/';
	}
	return (ssize_t)len;
}

ssize_t route_path_normalise(struct str path, char *out)
{
	size_t len = 0, slash = 0, pos = 0;
	ssize_t finished;
	int byte;

	if (path.len == 0 || path.p[0] != '/')
		return -EBADMSG;
	out[len++] = '/';
	for (pos = 1; pos < path.len;) {
		byte = next_byte(path, &pos);
		if (byte < 0)
			return -EBADMSG;
		if (byte != '/') {
			out[len++] = (char)byte;
			continue;
		}
		finished = finish_element(out, slash, len, false);
		if (finished < 0)
			return finished;
		len = (size_t)finished;
		slash = len - 1;
	}
	return finish_element(out, slash, len, true);
}

struct str route_rule_path(struct str path, enum path_type type)
{
	if (path.len == 0)
		return STR_LIT("/");
	if (type != PATH_EXACT) {
		while (path.len > 1 && path.p[path.len - 1] == '/')
			path.len--;
	}
	return path;
}

/* ---- order ---- */

int route_compare(const struct route *a, const struct route *b)
{
	if (a->path_len != b->path_len)
		return a->path_len > b->path_len ? -1 : 1;
	return (b->type == PATH_EXACT) - (a->type == PATH_EXACT);
}

static struct str route_path(const struct route *route)
{
	return (struct str){route->path, route->path_len};
}

/* ---- the index ---- */

/* What a lookup compares stands here, so that it touches no route but the one it finds. */
struct index_entry {
	const char *key; /* the path; of the root "" : every path lies under it */
	uint32_t key_len;
	uint32_t route;
	uint32_t parent; /* position among the prefixes; ROUTE_NOT_FOUND: none */
};

struct host_index {
	uint32_t exact_count, prefix_count;
	struct index_entry entries[]; /* the exact ones (parent unused), then the prefixes */
};

size_t route_index_bytes(size_t route_count)
{
	return sizeof(struct host_index) + route_count * sizeof(struct index_entry);
}

static struct str key_of(const struct index_entry *entry)
{
	return (struct str){entry->key, entry->key_len};
}

static struct str without_root(struct str path)
{
	return path.len == 1 && path.p[0] == '/' ? (struct str){path.p, 0} : path;
}

/* Eight bytes at a time; this is where a lookup spends its time. */
static size_t common_len(struct str a, struct str b)
{
	size_t least = a.len < b.len ? a.len : b.len, i = 0;

	for (; i + sizeof(uint64_t) <= least; i += sizeof(uint64_t)) {
		uint64_t word_a, word_b;

		memcpy(&word_a, a.p + i, sizeof(word_a));
		memcpy(&word_b, b.p + i, sizeof(word_b));
		if (word_a != word_b)
			break;
	}
	while (i < least && a.p[i] == b.p[i])
		i++;
	return i;
}

/* Bytes with '/' below all others. */
static int compare_elementwise(struct str a, struct str b)
{
	size_t at = common_len(a, b);

	if (at == a.len || at == b.len)
		return (a.len > b.len) - (a.len < b.len);
	if (a.p[at] == '/' || b.p[at] == '/')
		return a.p[at] == '/' ? -1 : 1;
	return (unsigned char)a.p[at] < (unsigned char)b.p[at] ? -1 : 1;
}

static bool lies_under(struct str path, struct str prefix)
{
	return str_has_prefix(path, prefix) && (path.len == prefix.len || path.p[prefix.len] == '/');
}

/* Equal keys keep the order of the routes, so that the preferred one comes first. */
static int compare_entries(const void *a, const void *b)
{
	const struct index_entry *entry_a = a, *entry_b = b;
	int order = compare_elementwise(key_of(entry_a), key_of(entry_b));

	return order ? order : (entry_a->route > entry_b->route) - (entry_a->route < entry_b->route);
}

/* Of entries with the same path only the first stays. */
static uint32_t drop_unreachable(struct index_entry *entries, uint32_t count)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (kept == 0 || !str_equal(key_of(&entries[kept - 1]), key_of(&entries[i])))
			entries[kept++] = entries[i];
	}
	return kept;
}

static uint32_t collect(struct index_entry *entries, const struct route *routes, size_t route_count,
			bool exact)
{
	uint32_t count = 0;

	for (size_t i = 0; i < route_count; i++) {
		struct str key = without_root(route_path(&routes[i]));

		if ((routes[i].type == PATH_EXACT) == exact)
			entries[count++] =
			    (struct index_entry){key.p, (uint32_t)key.len, (uint32_t)i, ROUTE_NOT_FOUND};
	}
	qsort(entries, count, sizeof(*entries), compare_entries);
	return drop_unreachable(entries, count);
}

static void link_parents(struct index_entry *prefixes, uint32_t count)
{
	for (uint32_t i = 1; i < count; i++) {
		uint32_t parent = i - 1;

		while (parent != ROUTE_NOT_FOUND &&
		       !lies_under(key_of(&prefixes[i]), key_of(&prefixes[parent])))
			parent = prefixes[parent].parent;
		prefixes[i].parent = parent;
	}
}

void route_index_build(struct host_index *index, const struct route *routes, size_t route_count)
{
	index->exact_count = collect(index->entries, routes, route_count, true);
	index->prefix_count = collect(index->entries + index->exact_count, routes, route_count, false);
	link_parents(index->entries + index->exact_count, index->prefix_count);
}

/* How many of the sorted entries are not greater than key. */
static uint32_t count_up_to(const struct index_entry *entries, uint32_t count, struct str key)
{
	uint32_t low = 0;

	while (count) {
		uint32_t half = count / 2;

		if (compare_elementwise(key_of(&entries[low + half]), key) <= 0) {
			low += half + 1;
			count -= half + 1;
		} else {
			count = half;
		}
	}
	return low;
}

static uint32_t find_exact(const struct host_index *index, struct str path)
{
	struct str key = without_root(path);
	uint32_t above = count_up_to(index->entries, index->exact_count, key);

	if (above == 0 || path.len == 0 || !str_equal(key_of(&index->entries[above - 1]), key))
		return ROUTE_NOT_FOUND;
	return index->entries[above - 1].route;
}

static uint32_t find_prefix(const struct host_index *index, struct str path)
{
	const struct index_entry *prefixes = index->entries + index->exact_count;
	uint32_t at = count_up_to(prefixes, index->prefix_count, path);
	size_t shared;

	if (at == 0)
		return ROUTE_NOT_FOUND;
	at--;
	shared = common_len(key_of(&prefixes[at]), path);
	for (; at != ROUTE_NOT_FOUND; at = prefixes[at].parent) {
		size_t len = prefixes[at].key_len;

		if (len <= shared && (len == path.len || path.p[len] == '/'))
			return prefixes[at].route;
	}
	return ROUTE_NOT_FOUND;
}

uint32_t route_index_find(const struct host_index *index, struct str path)
{
	uint32_t route = index->exact_count ? find_exact(index, path) : ROUTE_NOT_FOUND;

	return route != ROUTE_NOT_FOUND ? route : find_prefix(index, path);
}
