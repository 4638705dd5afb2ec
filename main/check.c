/* The offline check: every file is decoded as the running program would, what the decoder complains of is
 * printed, then each half says what would not work in the whole. */
#include "main/check.h"

#include <errno.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "conf/decode.h"
#include "conf/files.h"
#include "conf/store.h"
#include "ingress/check.h"
#include "proxy/check.h"

struct tally {
	struct store *store;
	unsigned findings;
	bool out_of_memory;
};

static void on_object(void *ctx, struct object *object)
{
	struct tally *tally = ctx;

	if (store_put(tally->store, object) < 0)
		tally->out_of_memory = true;
}

static void on_complaint(void *ctx, const struct decode_complaint *complaint)
{
	struct tally *tally = ctx;
	char text[2048];

	tally->findings++;
	(void)puts(decode_complaint_text(complaint, text, sizeof(text)));
}

static void on_finding(void *ctx, const struct object *object, const char *field, const char *why)
{
	struct tally *tally = ctx;

	tally->findings++;
	(void)printf("%s: %s %s%s%s: %s%s%s\n", object->origin, kind_name(object->kind), object->ns,
		     object->ns[0] ? "/" : "", object->name, field, field[0] ? ": " : "", why);
}

static int read_all(struct tally *tally, const struct option_strings *paths, struct err *err)
{
	struct decode_sink sink = {.object = on_object, .complaint = on_complaint, .ctx = tally};
	int code = source_files_read(paths->items, paths->count, &sink, err);

	store_set_synced(tally->store, ~0u);
	return code;
}

static int check_whole(struct tally *tally, const struct flags *flags)
{
	struct ingress_config config = {
	    .any_class = !flags->ingress_class && !flags->controller_class,
	    .ingress_class = flags->ingress_class ? flags->ingress_class : "fairlead",
	    .controller_class = flags->controller_class ? flags->controller_class : "fairlead.dev/ingress",
	    .annotations_prefix = flags->annotations_prefix,
	    .loopback_endpoints = true,
	    .settings = ingress_default_settings,
	};
	int code = proxy_check(tally->store, on_finding, tally);

	return code < 0 ? code : ingress_check(tally->store, &config, on_finding, tally);
}

int check(const struct flags *flags, const struct option_strings *paths)
{
	struct tally tally = {.store = store_new()};
	struct err err = {0};
	int code;

	if (paths->count == 0) {
		(void)fprintf(stderr, "fairlead check: no PATH given\n");
		return 2;
	}
	code = tally.store ? read_all(&tally, paths, &err) : err_set(&err, -ENOMEM, "out of memory");
	if (code == 0)
		code = check_whole(&tally, flags);
	if (tally.out_of_memory || (code == -ENOMEM && !err.text[0]))
		code = err_set(&err, -ENOMEM, "out of memory");
	if (code < 0)
		(void)fprintf(stderr, "fairlead check: %s\n", err.text);
	tally.store = store_free(tally.store);
	return code < 0 ? 2 : tally.findings ? 1 : 0;
}
