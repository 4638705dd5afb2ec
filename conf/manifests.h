/* What a set of manifest files says, kept true by looking at them again and again.
 *
 *     files --stamp changed--> decode --> claims ("this file says this object") --> the claim that counts
 *
 * Invariants
 *  1. Of several files that give the same object, the last one counts: by order of the paths, then by name.
 *  2. An object that becomes bad keeps its last good version. While some document of a file cannot be read, or
 *     cannot be told from any other, none of the file's objects is taken as gone.
 *  3. A file that is empty or gone counts as such once it has been so for MANIFESTS_GRACE_S (editors empty or
 *     remove files before they write them). A file or directory that cannot be read keeps what it said.
 *  4. A change that changes nothing of an object is not told of; what is told of is told of once, after all
 *     files have been looked at.
 *  5. A complaint is made once for each reading of changed text, at most MANIFESTS_COMPLAINTS_MAX a file. */
#ifndef CONF_MANIFESTS_H
#define CONF_MANIFESTS_H

#include "conf/decode.h"

#define MANIFESTS_GRACE_S        0.25
#define MANIFESTS_COMPLAINTS_MAX 1000

struct manifests;

struct manifests_ops {
	/* old, new: borrowed; NULL for added and gone. */
	void (*changed)(void *ctx, struct object *old, struct object *new);
	void (*complaint)(void *ctx, const struct decode_complaint *complaint);
	void *ctx;
};

/* paths: borrowed. NULL when out of memory. */
struct manifests *manifests_new(const char *const *paths, size_t path_count, const struct manifests_ops *ops);
struct manifests *manifests_free(struct manifests *manifests); /* returns NULL */

struct manifests_scan {
	double now_s; /* of a clock that only goes forward */
	bool strict;  /* a path given that cannot be read is an error, and nothing is told of */
	/* results */
	double again_s;       /* look again after so long at the latest; 0: when something happens */
	bool links_elsewhere; /* some files are links to where nobody may be watching */
};

/* 0; -errno of the path with *err if strict; -ENOMEM (the rest is made up for by the next scan). */
int manifests_scan(struct manifests *manifests, struct manifests_scan *scan, struct err *err);

size_t manifests_object_count(const struct manifests *manifests);
size_t manifests_error_count(const struct manifests *manifests); /* errors that stand, warnings not counted */

#endif
