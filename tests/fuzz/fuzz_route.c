/* Paths of any bytes: normal forms are normal, and the index of a host's routes finds what reading its rules one by one
 * finds. Input: request path, then one rule a line, '=' in front of an Exact one. */
/* LINK: ingress/route.c ingress/snapshot_host.c ingress/auth.c ingress/auth_hash.c ingress/finding.c */
/* LINK: conf/object.c base/arena.c base/err.c base/map.c base/str.c */
/* LIBS: -laprutil-1 -lapr-1 -lcrypto -lxxhash */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "ingress/route.h"
#include "ingress/snapshot_draft.h"

#define RULES_MAX 64

static void must(bool condition)
{
	if (!condition)
		abort();
}

/* Begins with a slash, has no empty, "." or ".." element, and is no longer than what it came from. */
static void check_normal_form(struct str path, size_t given_len)
{
	struct str rest = path, element;

	must(path.len > 0 && path.p[0] == '/' && path.len <= given_len);
	must(!memchr(path.p, '\0', path.len));
	rest = str_cut(rest, '/', &element);
	while (rest.p) {
		rest = str_cut(rest, '/', &element);
		must(element.len > 0 || !rest.p);
		must(!str_is(element, ".") && !str_is(element, ".."));
	}
}

static bool matches(const struct route *route, struct str path)
{
	struct str rule = {route->path, route->path_len};

	if (route->type == PATH_EXACT)
		return str_equal(rule, path);
	return rule.len == 1 ||
	       (str_has_prefix(path, rule) && (path.len == rule.len || path.p[rule.len] == '/'));
}

static void check_match(const struct host *host, struct str path)
{
	const struct route *found = host_route(host, path);

	for (size_t i = 0; i < host->route_count; i++) {
		if (matches(&host->routes[i], path)) {
			must(found != host->fallback);
			must(found->path_len == host->routes[i].path_len &&
			     found->type == host->routes[i].type);
			must(matches(found, path));
			return;
		}
	}
	must(found == host->fallback);
}

static size_t read_rules(char *text, struct route *routes)
{
	size_t count = 0;

	for (char *line = strtok(text, "\n"); line && count < RULES_MAX; line = strtok(NULL, "\n")) {
		bool exact = line[0] == '=';

		line += exact;
		if (line[0] == '/')
			routes[count++] =
			    (struct route){.path = line, .type = exact ? PATH_EXACT : PATH_PREFIX};
	}
	return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str rules, path;
	struct route routes[RULES_MAX];
	char *text, *normal;
	struct host *host;
	ssize_t len;

	rules = str_cut((struct str){(const char *)data, size}, '\n', &path);
	normal = malloc(path.len + 1);
	text = str_dup(rules);
	host = host_new("h", false, routes, read_rules(text, routes), NULL);
	len = route_path_normalise(path, normal);
	if (len >= 0) {
		struct str normal_path = {normal, (size_t)len};

		check_normal_form(normal_path, path.len);
		check_match(host, normal_path);
	} else {
		must(len == -EBADMSG);
	}
	(void)host_route(host, path); /* also what nobody normalised */
	host_unref(host);
	free(text);
	free(normal);
	return 0;
}
