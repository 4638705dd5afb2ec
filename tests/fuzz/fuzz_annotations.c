/* Annotations of any text: what guards access and cannot be used denies, limits stay in their bounds. One annotation a line,
 * "name value"; '\r' stands for the line end inside a value. */
/* LINK: ingress/annotations.c ingress/annotations_value.c ingress/finding.c conf/object.c */
/* LINK: base/addr.c base/arena.c base/str.c */
/* LIBS: -lcrypto */
#include <stdint.h>
#include <stdlib.h>

#include "ingress/annotations.h"

#define PREFIX    "nginx.ingress.kubernetes.io"
#define LINES_MAX 32

static void must(bool condition)
{
	if (!condition)
		abort();
}

static void check(const struct annotations *annotations, const struct findings *findings)
{
	must(annotations->tries >= 1 && annotations->tries <= 1000);
	must(annotations->connect_timeout_s >= 1 && annotations->read_timeout_s >= 1 &&
	     annotations->send_timeout_s >= 1);
	must(!strpbrk(annotations->auth_realm, "\r\n"));
	must(!annotations->denied || findings->count > 0);
	if (annotations->auth_basic && !annotations->denied) {
		must(strcmp(annotations->auth_secret_ns, "shop") == 0); /* never another namespace's */
		must(annotations->auth_secret_name[0] && !strpbrk(annotations->auth_secret_name, "/ \r\n"));
	}
}

static size_t read_lines(char *text, struct kv *items, struct arena *arena)
{
	size_t count = 0;

	for (char *line = strtok(text, "\n"); line && count < LINES_MAX; line = strtok(NULL, "\n")) {
		char *value = strchr(line, ' ');
		char *key = arena_alloc(arena, strlen(PREFIX) + strlen(line) + 2);

		if (value)
			*value++ = '\0';
		stpcpy(stpcpy(stpcpy(key, PREFIX), "/"), line);
		items[count++] = (struct kv){key, value ? value : ""};
	}
	return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct ingress_settings settings = {.body_max_bytes = 1 << 20};
	const struct annotations_options options = {.prefix = PREFIX, .settings = &settings};
	struct object object = {.kind = KIND_INGRESS, .ns = "shop", .name = "web"};
	struct kv items[LINES_MAX];
	struct arena arena = {0};
	struct findings findings = {0};
	struct annotations annotations;
	char *text = str_dup((struct str){(const char *)data, size});

	object.annotations = (struct kv_list){items, read_lines(text, items, &arena)};
	must(annotations_compile(&object, &options, &arena, &annotations, &findings) == 0);
	check(&annotations, &findings);
	findings_done(&findings);
	arena_done(&arena);
	free(text);
	return 0;
}
