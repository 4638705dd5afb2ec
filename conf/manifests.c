/* Files, their claims on objects, and which claim counts. */
#include "conf/manifests.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/map.h"
#include "conf/manifest_io.h"

struct file;

/* One object's key, with all files that give the object. */
struct entry {
	struct claim *claims;     /* the one that counts first */
	struct object *announced; /* what was told of last; NULL: nothing */
	struct entry *next_touched;
	bool touched;
	size_t key_len;
	char key[]; /* as in manifests.entries */
};

struct claim {
	struct file *file;
	struct entry *entry;
	struct object *object;
	struct claim *next;         /* of the same entry, counts less */
	struct claim *next_in_file; /* in no particular order */
	uint32_t reading;           /* the file's reading that found it last */
	uint64_t document;          /* hash of the document that it was found in */
};

/* Hashes of documents, for knowing them again. */
struct hash_list {
	uint64_t *items; /* sorted once complete */
	size_t count, size;
};

struct file {
	char *path;
	size_t path_index; /* of the path given that it comes from */
	struct manifest_stamp stamp;
	uint64_t text_hash;
	bool stamped, hashed; /* stamp, text_hash are of what was decoded last */
	uint32_t reading;     /* counts up with each decoding */
	struct claim *claims;
	/* Documents of the last reading without anything to complain of: they need no second look while they
	 * stay. None when an object stands in two documents. */
	struct hash_list clean;
	struct map said; /* complaints of this reading, by text; the values mean nothing */
	size_t error_count;
	int unreadable; /* the -errno that was complained of; 0: readable */
	bool listed;    /* seen in this scan */
	bool absent;    /* empty or gone since: */
	double absent_since_s;
};

struct manifests {
	const char *const *paths;
	size_t path_count;
	int *path_errors; /* for each path the -errno that was complained of */
	struct manifests_ops ops;
	struct map files;   /* path -> struct file */
	struct map entries; /* key_of -> struct entry */
	struct entry *touched, **touched_end;
	size_t error_count; /* of all files */
};

/* ---- complaints ---- */

static void complain(struct manifests *manifests, struct file *file, const struct decode_complaint *complaint)
{
	char text[2048];
	struct str key = str_of(decode_complaint_text(complaint, text, sizeof(text)));

	if (complaint->severity == DECODE_ERROR) {
		file->error_count++;
		manifests->error_count++;
	}
	if (file->said.count >= MANIFESTS_COMPLAINTS_MAX || map_get(&file->said, key))
		return;
	/* Without memory it may be said twice. */
	(void)map_set(&file->said, key, file, NULL);
	manifests->ops.complaint(manifests->ops.ctx, complaint);
}

static void forget_complaints(struct manifests *manifests, struct file *file)
{
	map_done(&file->said);
	manifests->error_count -= file->error_count;
	file->error_count = 0;
}

static struct decode_complaint about_path(const char *path, const char *why)
{
	return (struct decode_complaint){.severity = DECODE_ERROR,
					 .file = path,
					 .kind = "",
					 .ns = "",
					 .name = "",
					 .field = "",
					 .why = why};
}

static void complain_of_object(struct manifests *manifests, struct file *file, const struct object *object,
			       const char *why)
{
	const char *colon = strrchr(object->origin, ':');
	const struct decode_complaint complaint = {
	    .severity = DECODE_WARNING,
	    .file = file->path,
	    .line = colon ? (int)strtol(colon + 1, NULL, 10) : 0,
	    .kind = kind_name(object->kind),
	    .ns = object->ns,
	    .name = object->name,
	    .field = "",
	    .why = why,
	};

	complain(manifests, file, &complaint);
}

/* ---- entries and claims ---- */

/* A byte for the kind, "ns/name", in buffer. Lengths are the decoder's: 63 and 253 at most. */
#define KEY_MAX 512

static struct str key_make(char buffer[static KEY_MAX], enum kind kind, const char *ns, const char *name)
{
	int len = snprintf(buffer, KEY_MAX, "%c%s/%s", 'A' + (int)kind, ns, name);

	return (struct str){buffer, (size_t)len < KEY_MAX ? (size_t)len : KEY_MAX - 1};
}

static void touch(struct manifests *manifests, struct entry *entry)
{
	if (entry->touched)
		return;
	entry->touched = true;
	entry->next_touched = NULL;
	*manifests->touched_end = entry;
	manifests->touched_end = &entry->next_touched;
}

static struct entry *entry_get(struct manifests *manifests, const struct object *object)
{
	char buffer[KEY_MAX];
	struct str key = key_make(buffer, object->kind, object->ns, object->name);
	struct entry *entry = map_get(&manifests->entries, key);

	if (entry)
		return entry;
	entry = calloc(1, sizeof(*entry) + key.len);
	if (!entry)
		return NULL;
	memcpy(entry->key, key.p, key.len);
	entry->key_len = key.len;
	if (map_set(&manifests->entries, key, entry, NULL) < 0) {
		free(entry);
		return NULL;
	}
	return entry;
}

static struct claim *claim_find(const struct entry *entry, const struct file *file)
{
	struct claim *claim = entry->claims;

	while (claim && claim->file != file)
		claim = claim->next;
	return claim;
}

static bool counts_more(const struct file *a, const struct file *b)
{
	if (a->path_index != b->path_index)
		return a->path_index > b->path_index;
	return strcmp(a->path, b->path) > 0;
}

/* Not found in any reading yet. NULL when out of memory. */
static struct claim *claim_add(struct manifests *manifests, struct file *file, struct entry *entry,
			       struct object *object)
{
	struct claim *claim = calloc(1, sizeof(*claim));
	struct claim **at = &entry->claims;

	if (!claim)
		return NULL;
	*claim = (struct claim){.file = file, .entry = entry, .object = object_ref(object)};
	while (*at && counts_more((*at)->file, file))
		at = &(*at)->next;
	claim->next = *at;
	*at = claim;
	claim->next_in_file = file->claims;
	file->claims = claim;
	touch(manifests, entry);
	return claim;
}

/* The claim has left its file's list already. */
static void claim_drop(struct manifests *manifests, struct claim *claim)
{
	struct claim **at = &claim->entry->claims;

	while (*at != claim)
		at = &(*at)->next;
	*at = claim->next;
	touch(manifests, claim->entry);
	object_unref(claim->object);
	free(claim);
}

static void claim_update(struct manifests *manifests, struct claim *claim, struct object *object)
{
	if (claim->object->content_hash == object->content_hash)
		return;
	object_unref(claim->object);
	claim->object = object_ref(object);
	touch(manifests, claim->entry);
}

/* Drops the file's claims that its last reading did not find. */
static void drop_unfound(struct manifests *manifests, struct file *file)
{
	struct claim **at = &file->claims;

	while (*at) {
		struct claim *claim = *at;
		if (claim->reading == file->reading) {
			at = &claim->next_in_file;
			continue;
		}
		*at = claim->next_in_file;
		claim_drop(manifests, claim);
	}
}

/* ---- telling of what changed ---- */

static void complain_of_rivals(struct manifests *manifests, const struct claim *winner)
{
	for (const struct claim *loser = winner->next; loser; loser = loser->next) {
		char why[640];
		snprintf(why, sizeof(why), "is also in %s, which does not count", loser->object->origin);
		complain_of_object(manifests, winner->file, winner->object, why);
	}
}

static void settle_entry(struct manifests *manifests, struct entry *entry)
{
	struct object *old = entry->announced;
	struct object *new = entry->claims ? entry->claims->object : NULL;

	entry->touched = false;
	if (new)
		complain_of_rivals(manifests, entry->claims);
	if (old && new && old->content_hash == new->content_hash)
		return;
	entry->announced = new ? object_ref(new) : NULL;
	if (old || new)
		manifests->ops.changed(manifests->ops.ctx, old, new);
	object_unref(old);
	if (!new) {
		map_remove(&manifests->entries, (struct str){entry->key, entry->key_len});
		free(entry);
	}
}

static void settle(struct manifests *manifests)
{
	struct entry *entry = manifests->touched;

	manifests->touched = NULL;
	manifests->touched_end = &manifests->touched;
	while (entry) {
		struct entry *next = entry->next_touched;
		settle_entry(manifests, entry);
		entry = next;
	}
}

/* ---- documents known from before ---- */

static int hash_add(struct hash_list *list, uint64_t hash)
{
	if (list->count == list->size) {
		size_t size = list->size ? list->size * 2 : 16;
		uint64_t *items = reallocarray(list->items, size, sizeof(*items));
		if (!items)
			return -ENOMEM;
		list->items = items;
		list->size = size;
	}
	list->items[list->count++] = hash;
	return 0;
}

static int compare_hashes(const void *a_void, const void *b_void)
{
	const uint64_t *a = a_void, *b = b_void;

	return (*a > *b) - (*a < *b);
}

static void hash_sort(struct hash_list *list)
{
	if (list->count > 0)
		qsort(list->items, list->count, sizeof(list->items[0]), compare_hashes);
}

static bool hash_has(const struct hash_list *list, uint64_t hash)
{
	return list->count > 0 && bsearch(&hash, list->items, list->count, sizeof(hash), compare_hashes);
}

static void hash_done(struct hash_list *list)
{
	free(list->items);
	*list = (struct hash_list){0};
}

/* ---- reading a file ---- */

struct reading {
	struct manifests *manifests;
	struct file *file;
	struct hash_list clean;  /* as file->clean will be */
	struct hash_list former; /* where objects stood that were now found in another document */
	uint64_t document;       /* hash of the one being decoded */
	bool complained;         /* of it */
	bool twice;              /* an object stands in two documents */
	bool unidentified;       /* some document cannot be told from any other */
	int rc;
};

static void found(struct reading *reading, struct claim *claim, struct object *object)
{
	if (claim->reading == reading->file->reading) {
		reading->twice = true;
		complain_of_object(reading->manifests, reading->file, object,
				   "stands twice in this file, the last one counts");
	} else if (claim->document != reading->document && hash_add(&reading->former, claim->document) < 0) {
		reading->rc = -ENOMEM;
	}
	claim_update(reading->manifests, claim, object);
	claim->reading = reading->file->reading;
	claim->document = reading->document;
}

static void on_object(void *ctx, struct object *object)
{
	struct reading *reading = ctx;
	struct entry *entry = entry_get(reading->manifests, object);
	struct claim *claim = entry ? claim_find(entry, reading->file) : NULL;

	if (entry && !claim)
		claim = claim_add(reading->manifests, reading->file, entry, object);
	if (claim)
		found(reading, claim, object);
	else
		reading->rc = -ENOMEM;
	object_unref(object);
}

/* What is bad keeps its last good version, and its place in the file. */
static void keep_named(struct reading *reading, const struct decode_complaint *complaint)
{
	char buffer[KEY_MAX];
	enum kind kind;
	const struct entry *entry;
	struct claim *claim;

	if (complaint->name[0] == '\0' || !kind_from_name(str_of(complaint->kind), &kind))
		return;
	entry = map_get(&reading->manifests->entries, key_make(buffer, kind, complaint->ns, complaint->name));
	claim = entry ? claim_find(entry, reading->file) : NULL;
	if (claim)
		claim->reading = reading->file->reading;
}

static void on_complaint(void *ctx, const struct decode_complaint *complaint)
{
	struct reading *reading = ctx;

	reading->complained = true;
	if (complaint->severity == DECODE_ERROR)
		keep_named(reading, complaint);
	complain(reading->manifests, reading->file, complaint);
}

static int read_document(struct reading *reading, struct str text, int line)
{
	const struct decode_sink sink = {on_object, on_complaint, reading};

	reading->document = hash_bytes(text.p, text.len);
	reading->complained = false;
	if (!hash_has(&reading->file->clean, reading->document)) {
		int rc = decode_document(text, line, reading->file->path, &sink);
		reading->unidentified |= rc == -EBADMSG;
		if (rc == -ENOMEM || reading->rc < 0)
			return -ENOMEM;
	}
	return reading->complained ? 0 : hash_add(&reading->clean, reading->document);
}

static int read_documents(struct reading *reading, struct str text)
{
	struct str document;
	int line = 1, document_line, rc = 0;

	forget_complaints(reading->manifests, reading->file);
	reading->file->reading++;
	while (rc == 0 && node_yaml_cut(&text, &line, &document, &document_line))
		rc = read_document(reading, document, document_line);
	hash_sort(&reading->clean);
	return rc;
}

/* Was an object found anew whose former document is still there, and was not looked at? */
static bool overlooked_two(const struct reading *reading)
{
	for (size_t i = 0; i < reading->former.count; i++)
		if (hash_has(&reading->clean, reading->former.items[i]))
			return true;
	return false;
}

/* The file's objects in documents that were not looked at again are where they were. */
static void find_in_clean(struct file *file)
{
	for (struct claim *claim = file->claims; claim; claim = claim->next_in_file)
		if (hash_has(&file->clean, claim->document))
			claim->reading = file->reading;
}

static void reading_done(struct reading *reading)
{
	hash_done(&reading->clean);
	hash_done(&reading->former);
}

/* Reads what changed, unless the text was never read or what changed touches what did not: then all of it. */
static int read_text(struct manifests *manifests, struct file *file, struct str text)
{
	struct reading reading cleanup(reading_done) = {.manifests = manifests, .file = file};
	int rc = read_documents(&reading, text);

	if (rc == 0 && overlooked_two(&reading)) {
		hash_done(&file->clean);
		reading_done(&reading);
		rc = read_documents(&reading, text);
	}
	hash_done(&file->clean);
	if (rc < 0)
		return rc;
	file->clean = reading.clean;
	reading.clean = (struct hash_list){0};
	find_in_clean(file);
	if (!reading.unidentified)
		drop_unfound(manifests, file);
	if (reading.twice)
		hash_done(&file->clean);
	return 0;
}

/* ---- looking at a file ---- */

/* True once a file that is empty or gone has been so for long enough. */
static bool absence_counts(struct file *file, struct manifests_scan *scan)
{
	double left_s;

	if (!file->absent)
		file->absent_since_s = scan->now_s;
	file->absent = true;
	left_s = file->absent_since_s + MANIFESTS_GRACE_S - scan->now_s;
	if (left_s <= 0)
		return true;
	if (scan->again_s == 0 || scan->again_s > left_s)
		scan->again_s = left_s;
	return false;
}

static int unreadable(struct manifests *manifests, struct file *file, int rc, const struct err *err)
{
	struct decode_complaint complaint = about_path(file->path, err->text);

	if (file->unreadable != rc) {
		forget_complaints(manifests, file);
		complain(manifests, file, &complaint);
	}
	file->unreadable = rc;
	file->stamped = file->hashed = false;
	return rc;
}

static void text_done(struct buf *text)
{
	if (text->data)
		OPENSSL_cleanse(text->data, text->size); /* Secrets pass through here */
	buf_done(text);
}

static int read_changed(struct manifests *manifests, struct file *file, const struct manifest_stamp *stamp,
			struct manifests_scan *scan, struct err *err)
{
	struct buf text cleanup(text_done) = {0};
	int rc = manifest_read(file->path, &text, err);
	uint64_t hash;

	if (rc < 0)
		return rc == -ENOENT || rc == -ENOMEM ? rc : unreadable(manifests, file, rc, err);
	if (buf_len(&text) == 0 && file->claims && !absence_counts(file, scan))
		return 0;
	hash = hash_bytes(buf_str(&text).p, buf_len(&text));
	file->unreadable = 0;
	if (!file->hashed || file->text_hash != hash)
		rc = read_text(manifests, file, buf_str(&text));
	file->stamped = file->hashed = rc == 0;
	file->stamp = *stamp;
	file->text_hash = hash;
	return rc;
}

/* 0, -ENOENT (gone since it was listed), or why it cannot be read. */
static int look_at_file(struct manifests *manifests, struct file *file, struct manifests_scan *scan,
			struct err *err)
{
	struct manifest_stamp stamp;
	int rc = manifest_stat(file->path, &stamp, err);

	if (rc == 0 && stamp.size > 0)
		file->absent = false;
	if (rc < 0 && rc != -ENOENT)
		rc = unreadable(manifests, file, rc, err);
	else if (rc == 0 && !(file->stamped && manifest_stamp_equal(&file->stamp, &stamp)))
		rc = read_changed(manifests, file, &stamp, scan, err);
	file->listed = rc != -ENOENT;
	return rc;
}

/* ---- files ---- */

static struct file *file_free(struct file *file)
{
	map_done(&file->said);
	hash_done(&file->clean);
	free(file->path);
	free(file);
	return NULL;
}

static struct file *file_get(struct manifests *manifests, const char *path, size_t path_index)
{
	struct file *file = map_get(&manifests->files, str_of(path));

	if (file)
		return file;
	file = calloc(1, sizeof(*file));
	if (!file)
		return NULL;
	file->path_index = path_index;
	file->path = strdup(path);
	if (!file->path || map_set(&manifests->files, str_of(path), file, NULL) < 0)
		return file_free(file);
	return file;
}

static void file_gone(struct manifests *manifests, struct file *file)
{
	file->reading++;
	drop_unfound(manifests, file);
	forget_complaints(manifests, file);
	map_remove(&manifests->files, str_of(file->path));
	file_free(file);
}

/* What no scan finds any more has its grace, then its objects go. */
static void forget_unlisted(struct manifests *manifests, struct manifests_scan *scan)
{
	for (struct map_iter it = map_begin(&manifests->files); map_next(&it);) {
		struct file *file = it.value;
		if (!file->listed && absence_counts(file, scan))
			file_gone(manifests, file);
	}
}

/* ---- the paths given ---- */

static void keep_files_of(struct manifests *manifests, size_t path_index)
{
	for (struct map_iter it = map_begin(&manifests->files); map_next(&it);) {
		struct file *file = it.value;
		if (file->path_index == path_index)
			file->listed = true;
	}
}

static void path_unreadable(struct manifests *manifests, size_t path_index, int rc, const struct err *err)
{
	struct decode_complaint complaint = about_path(NULL, err->text);

	if (manifests->path_errors[path_index] != rc)
		manifests->ops.complaint(manifests->ops.ctx, &complaint);
	manifests->path_errors[path_index] = rc;
	if (rc != -ENOENT)
		keep_files_of(manifests, path_index);
}

static int scan_path(struct manifests *manifests, size_t path_index, struct manifests_scan *scan,
		     struct err *err)
{
	struct manifest_list list cleanup(manifest_list_done) = {0};
	struct err why;
	int rc = manifest_list(manifests->paths[path_index], &list, &why);

	if (rc == -ENOMEM)
		return rc;
	if (rc < 0 && scan->strict)
		return err_set(err, rc, "%s", why.text);
	if (rc < 0) {
		path_unreadable(manifests, path_index, rc, &why);
		return 0;
	}
	manifests->path_errors[path_index] = 0;
	scan->links_elsewhere |= list.links_elsewhere;
	for (size_t i = 0; i < list.count; i++) {
		struct file *file = file_get(manifests, list.paths[i], path_index);
		rc = file ? look_at_file(manifests, file, scan, &why) : -ENOMEM;
		if (rc == -ENOMEM)
			return rc;
		if (rc < 0 && scan->strict && !list.is_directory)
			return err_set(err, rc, "%s: %s", list.paths[i], why.text);
	}
	return 0;
}

int manifests_scan(struct manifests *manifests, struct manifests_scan *scan, struct err *err)
{
	int rc = 0;

	scan->again_s = 0;
	scan->links_elsewhere = false;
	for (struct map_iter it = map_begin(&manifests->files); map_next(&it);)
		((struct file *)it.value)->listed = false;
	for (size_t i = 0; i < manifests->path_count && rc == 0; i++)
		rc = scan_path(manifests, i, scan, err);
	if (rc < 0 && scan->strict)
		return rc;
	if (rc == 0)
		forget_unlisted(manifests, scan);
	settle(manifests);
	return rc;
}

/* ---- the whole ---- */

struct manifests *manifests_new(const char *const *paths, size_t path_count, const struct manifests_ops *ops)
{
	struct manifests *manifests = calloc(1, sizeof(*manifests));

	if (!manifests)
		return NULL;
	manifests->paths = paths;
	manifests->path_count = path_count;
	manifests->ops = *ops;
	manifests->touched_end = &manifests->touched;
	manifests->path_errors = calloc(path_count + 1, sizeof(int));
	if (!manifests->path_errors)
		return manifests_free(manifests);
	return manifests;
}

static void entry_free(struct entry *entry)
{
	struct claim *claim = entry->claims;

	while (claim) {
		struct claim *next = claim->next;
		object_unref(claim->object);
		free(claim);
		claim = next;
	}
	object_unref(entry->announced);
	free(entry);
}

struct manifests *manifests_free(struct manifests *manifests)
{
	if (!manifests)
		return NULL;
	for (struct map_iter it = map_begin(&manifests->entries); map_next(&it);)
		entry_free(it.value);
	for (struct map_iter it = map_begin(&manifests->files); map_next(&it);)
		file_free(it.value);
	map_done(&manifests->entries);
	map_done(&manifests->files);
	free(manifests->path_errors);
	free(manifests);
	return NULL;
}

size_t manifests_object_count(const struct manifests *manifests)
{
	return manifests->entries.count;
}

size_t manifests_error_count(const struct manifests *manifests)
{
	return manifests->error_count;
}
