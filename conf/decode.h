/* From text to objects. One decoder reads a `struct node` tree (conf/node.h), which YAML (libyaml) and JSON
 * (jansson) both become, so each field is read in one place.
 *
 * Every complaint names the object, the field path and what was expected:
 *     web.yaml:14: Service shop/web: spec.ports[0].port: expected a number from 1 to 65535, got "http" */
#ifndef CONF_DECODE_H
#define CONF_DECODE_H

#include "conf/node.h"
#include "conf/object.h"

enum decode_severity {
	DECODE_ERROR,   /* the object cannot be used; its last good version stays */
	DECODE_WARNING, /* the field is ignored or defaulted, the object is used */
};

struct decode_complaint {
	enum decode_severity severity;
	const char *file;             /* NULL for the API */
	int line;                     /* 0 when unknown */
	const char *kind, *ns, *name; /* as far as known; "" otherwise */
	const char *field;            /* "spec.ports[0].port"; "" for the object as a whole */
	const char *why;
};

/* Where objects and complaints go. Strings in a complaint are borrowed. */
struct decode_sink {
	/* Takes over the reference. */
	void (*object)(void *ctx, struct object *object);
	void (*complaint)(void *ctx, const struct decode_complaint *complaint);
	void *ctx;
};

/* One object, or a `kind: List` (or ServiceList ...) of them. Kinds fairlead does not read are passed over in
 * silence. file: NULL when it comes from the API; a file's resourceVersion is not kept, since nobody raises
 * it. default_ns: for namespaced objects that name none ("default"). -ENOMEM, else 0. */
int decode_node(const struct node *node, const char *file, const char *default_ns,
		const struct decode_sink *sink);

/* A manifest file's text: many YAML documents, or JSON. What cannot be parsed is one complaint with its line
 * and without an object's name; every other document is delivered. -ENOMEM, -EBADMSG (some document could not
 * be parsed, or it cannot be told which object it is), else 0. */
int decode_manifest(const char *text, size_t len_bytes, const char *file, const struct decode_sink *sink);

/* The same for one document of it as node_yaml_cut cuts it off; first_line: its line in the file. */
int decode_document(struct str text, int first_line, const char *file, const struct decode_sink *sink);

/* One JSON object of a known kind, as the API server sends it in lists (where items lack kind) and watches.
 * -ENOMEM, -EBADMSG (not JSON: one complaint, without a name), else 0. */
int decode_json(const char *text, size_t len_bytes, enum kind kind, const struct decode_sink *sink);

/* "file:line: Kind ns/name: field: why" into buffer, on one line; what is not known is left out. Returns
 * buffer. */
const char *decode_complaint_text(const struct decode_complaint *complaint, char *buffer, size_t size);

#endif
