/* What is wrong with an Ingress (or a Secret it names) and was survived: the field, and why. Collected while
 * compiling and building, logged as warnings by the controller, shown by `fairlead check`, later Events. */
#ifndef INGRESS_FINDING_H
#define INGRESS_FINDING_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"

struct finding {
	const char *field; /* "spec.rules[0].http.paths[1]",
			      "metadata.annotations[nginx.ingress.kubernetes.io/auth-type]" */
	const char *why;
};

/* All zeroes is a valid empty list. */
struct findings {
	struct finding *items;
	size_t count, size;
	bool incomplete; /* one could not be kept for want of memory */
	struct arena arena;
};

/* findings may be NULL: then nothing is kept. Both texts are copied. */
void findings_add(struct findings *findings, const char *field, const char *why_format, ...)
    __attribute__((format(printf, 3, 4)));
void findings_clear(struct findings *findings);
void findings_done(struct findings *findings);

#endif
