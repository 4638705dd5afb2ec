/* Lists of findings: appended while compiling, read once. */
#include "ingress/finding.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "ingress/grow.h"

#define WHY_MAX_BYTES 512

void findings_add(struct findings *findings, const char *field, const char *why_format, ...)
{
	char why[WHY_MAX_BYTES];
	struct finding finding;
	va_list args;

	if (!findings)
		return;
	va_start(args, why_format);
	(void)vsnprintf(why, sizeof(why), why_format, args);
	va_end(args);
	finding.field = arena_dup(&findings->arena, str_of(field));
	finding.why = arena_dup(&findings->arena, str_of(why));
	if (finding.field && finding.why &&
	    grow_by_one(findings->items, findings->count, findings->size) == 0)
		findings->items[findings->count++] = finding;
	else
		findings->incomplete = true;
}

void findings_clear(struct findings *findings)
{
	arena_done(&findings->arena);
	findings->count = 0;
	findings->incomplete = false;
}

void findings_done(struct findings *findings)
{
	findings_clear(findings);
	free(findings->items);
	findings->items = NULL;
	findings->size = 0;
}
