/* ingress/build: what Ingress objects mean. The sentences are those of the Ingress contract (a.1 to a.5, a.7, a.9). */
/* LINK: ingress/build_class.c ingress/build_ingress.c ingress/build_host.c ingress/annotations.c */
/* LINK: ingress/annotations_value.c ingress/auth.c ingress/auth_hash.c ingress/certs.c ingress/finding.c */
/* LINK: ingress/route.c ingress/snapshot_host.c */
/* LINK: conf/decode.c conf/decode_meta.c conf/decode_service.c conf/decode_endpoints.c conf/decode_ingress.c */
/* LINK: conf/decode_misc.c conf/decode_secret.c conf/field.c conf/names.c conf/object.c conf/node.c */
/* LINK: conf/node_json.c conf/node_yaml.c conf/node_scalar.c conf/store.c */
/* LINK: base/addr.c base/arena.c base/buf.c base/err.c base/map.c base/str.c */
/* LIBS: -ljansson -lyaml -lxxhash -lssl -lcrypto -laprutil-1 -lapr-1 -lm */
#include "tests/unit/ingress_harness.h"

#include "ingress/build.h"
#include "ingress/build_class.h"

/* ---- a world: all served Ingresses of a text, and its hosts built ---- */

#define MANY 16

struct world_host {
	const char *name;
	struct host *host;
	const struct certificate *certificate;
};

struct world_finding {
	char ingress[64], field[128], why[512];
};

struct world {
	struct store *store;
	struct build_ingress *ingresses[MANY]; /* in order of precedence */
	size_t ingress_count;
	struct world_host hosts[MANY];
	size_t host_count;
	struct world_finding findings[MANY * 4];
	size_t finding_count;
	struct certificate certificates[3];
	struct auth *users;
	uint32_t last_upstream;
};

static const char *shop_names[] = {"shop.example.com", "www.example.com"};
static const char *wild_names[] = {"*.example.com"};
static const char *old_names[] = {"shop.example.com"};

static uint32_t world_upstream(void *ctx, const char *ns, const char *service, const char *port,
			       const char **ret_why)
{
	struct world *world = ctx;

	(void)ns;
	(void)port;
	*ret_why = strcmp(service, "absent") == 0 ? "Service does not exist" : NULL;
	return ++world->last_upstream;
}

static const struct certificate *world_certificate(void *ctx, const char *ns, const char *name,
						   const char **ret_why)
{
	static const char *const secrets[] = {"shop-tls", "wild-tls", "old-tls"};
	struct world *world = ctx;

	(void)ns;
	for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
		if (strcmp(name, secrets[i]) == 0)
			return &world->certificates[i];
	}
	*ret_why = "does not exist";
	return NULL;
}

static const struct auth *world_auth(void *ctx, const char *ns, const char *name, enum auth_secret_type type,
				     const char **ret_why)
{
	struct world *world = ctx;

	(void)ns;
	(void)type;
	*ret_why = "does not exist";
	return strcmp(name, "users") == 0 ? world->users : NULL;
}

static void add_finding(struct world *world, const struct build_ingress *ingress, const char *field,
			const char *why)
{
	struct world_finding *finding = &world->findings[world->finding_count++];

	assert_true(world->finding_count <= ARRAY_LEN(world->findings));
	snprintf(finding->ingress, sizeof(finding->ingress), "%s/%s", ingress->object->meta.ns,
		 ingress->object->meta.name);
	snprintf(finding->field, sizeof(finding->field), "%s", field);
	snprintf(finding->why, sizeof(finding->why), "%s", why);
}

static void world_finding(void *ctx, const struct build_ingress *ingress, const char *field, const char *why)
{
	add_finding(ctx, ingress, field, why);
}

static int by_precedence(const void *a, const void *b)
{
	return build_precedence(*(struct build_ingress *const *)a, *(struct build_ingress *const *)b);
}

static const struct annotations_options *options(void)
{
	static const struct ingress_settings settings = {.body_max_bytes = 1 << 20};
	static const struct annotations_options value = {.prefix = "nginx.ingress.kubernetes.io",
							 .settings = &settings};

	return &value;
}

static void compile_ingresses(struct world *world, const struct class_rules *rules)
{
	for (struct map_iter it = store_begin(world->store, KIND_INGRESS); map_next(&it);) {
		struct build_ingress *ingress;

		if (!class_serves(rules, world->store, it.value))
			continue;
		ingress = build_ingress_new(it.value, options());
		assert_non_null(ingress);
		assert_true(world->ingress_count < MANY);
		world->ingresses[world->ingress_count++] = ingress;
		for (size_t i = 0; i < ingress->findings.count; i++)
			add_finding(world, ingress, ingress->findings.items[i].field,
				    ingress->findings.items[i].why);
	}
	qsort(world->ingresses, world->ingress_count, sizeof(struct build_ingress *), by_precedence);
}

static bool claims(const struct build_ingress *ingress, const char *host)
{
	for (size_t i = 0; i < ingress->host_count; i++) {
		if (strcmp(ingress->hosts[i], host) == 0)
			return true;
	}
	return false;
}

static const struct world_host *find_host(const struct world *world, const char *name)
{
	for (size_t i = 0; i < world->host_count; i++) {
		if (strcmp(world->hosts[i].name, name) == 0)
			return &world->hosts[i];
	}
	return NULL;
}

static void build_one(struct world *world, const struct build_env *env, const char *name)
{
	const struct build_ingress *claimants[MANY];
	struct world_host *host = &world->hosts[world->host_count];
	size_t count = 0;

	if (find_host(world, name))
		return;
	for (size_t i = 0; i < world->ingress_count; i++) {
		if (claims(world->ingresses[i], name))
			claimants[count++] = world->ingresses[i];
	}
	host->name = name;
	assert_int_equal(build_host(env, name, claimants, count, &host->host, &host->certificate), 0);
	assert_true(++world->host_count < MANY);
}

static struct world *world_with(const char *text, const struct class_rules *rules)
{
	struct world *world = calloc(1, sizeof(*world));
	const struct build_env env = {.upstream = world_upstream,
				      .certificate = world_certificate,
				      .auth = world_auth,
				      .finding = world_finding,
				      .ctx = world,
				      .annotations = options(),
				      .default_upstream = UPSTREAM_NONE,
				      .now_s = 1700000000};

	assert_non_null(world);
	world->certificates[0] = (struct certificate){1, NULL, shop_names, 2, 0, INT64_MAX};
	world->certificates[1] = (struct certificate){1, NULL, wild_names, 1, 0, INT64_MAX};
	world->certificates[2] = (struct certificate){1, NULL, old_names, 1, 0, 1600000000};
	world->users = auth_from_htpasswd(STR_LIT("alice:{PLAIN}x"), NULL);
	world->store = store_of_yaml(text);
	compile_ingresses(world, rules);
	for (size_t i = 0; i < world->ingress_count; i++) {
		for (size_t h = 0; h < world->ingresses[i]->host_count; h++)
			build_one(world, &env, world->ingresses[i]->hosts[h]);
	}
	return world;
}

static struct world *world_of(const char *text)
{
	return world_with(text, &(struct class_rules){.any = true});
}

static void world_free(struct world *world)
{
	for (size_t i = 0; i < world->host_count; i++)
		host_unref(world->hosts[i].host);
	for (size_t i = 0; i < world->ingress_count; i++)
		build_ingress_free(world->ingresses[i]);
	auth_unref(world->users);
	store_free(world->store);
	free(world);
}

static const struct route *route_at(const struct world *world, const char *host, const char *path)
{
	const struct world_host *found = find_host(world, host);

	if (!found)
		fail_msg("nobody serves %s", host);
	return host_route(found->host, str_of(path));
}

/* service: "" for the controller's default backend. */
static void assert_goes_to(const struct world *world, const char *host, const char *path, const char *service)
{
	const struct route *route = route_at(world, host, path);

	assert_string_equal(route->service, service);
	assert_int_equal(route->upstream_id == UPSTREAM_NONE, service[0] == '\0');
}

static void assert_finding(const struct world *world, const char *ingress, const char *field, const char *why)
{
	for (size_t i = 0; i < world->finding_count; i++) {
		const struct world_finding *finding = &world->findings[i];

		if (strcmp(finding->ingress, ingress) == 0 && strcmp(finding->field, field) == 0 &&
		    strstr(finding->why, why))
			return;
	}
	for (size_t i = 0; i < world->finding_count; i++)
		print_message("%s: %s: %s\n", world->findings[i].ingress, world->findings[i].field,
			      world->findings[i].why);
	fail_msg("no finding %s: %s: %s", ingress, field, why);
}

#define RULE(host_, ...) "  - { host: " host_ ", http: { paths: [ " __VA_ARGS__ " ] } }\n"

/* ---- a.1 hosts ---- */

static void a_rule_without_host_speaks_for_the_catch_all(void **state)
{
	struct world *world = world_of(INGRESS(
	    "shop", "web", "spec:\n  rules:\n  - http: { paths: [ " PATH("/", "Prefix", "web") " ] }\n"));

	(void)state;
	assert_goes_to(world, "_", "/any", "web");
	assert_int_equal(world->finding_count, 0);
	world_free(world);
}

static void a_miss_inside_a_known_host_never_falls_through_to_the_wildcard_or_the_catch_all(void **state)
{
	struct world *world = world_of(
	    INGRESS("shop", "web",
		    "spec:\n  rules:\n" RULE("a.foo.com", PATH("/a", "Prefix", "exact"))
			RULE("\"*.foo.com\"", PATH("/", "Prefix", "wild")) "  - http: { paths: [ " PATH(
			    "/", "Prefix", "any") " ] }\n"));

	(void)state;
	assert_goes_to(world, "a.foo.com", "/a", "exact");
	assert_goes_to(world, "a.foo.com", "/b", "");
	assert_goes_to(world, "*.foo.com", "/b", "wild");
	world_free(world);
}

/* ---- a.2 paths ---- */

static void an_empty_path_is_allowed_for_implementation_specific_and_means_the_root(void **state)
{
	struct world *world = world_of(
	    "---\napiVersion: extensions/v1beta1\nkind: Ingress\nmetadata: { name: old, namespace: shop }\n"
	    "spec:\n  rules:\n  - host: h.io\n    http:\n      paths:\n"
	    "      - backend: { serviceName: web, servicePort: 80 }\n");

	(void)state;
	assert_goes_to(world, "h.io", "/x", "web");
	assert_string_equal(route_at(world, "h.io", "/x")->path, "/");
	world_free(world);
}

/* ---- a.3 several Ingresses on one host ---- */

static void rules_merge_per_host_across_ingresses_and_namespaces(void **state)
{
	struct world *world = world_of(
	    INGRESS("one", "a", "spec:\n  rules:\n" RULE("h.io", PATH("/a", "Prefix", "service-a")))
		INGRESS("two", "b", "spec:\n  rules:\n" RULE("h.io", PATH("/b", "Prefix", "service-b"))));

	(void)state;
	assert_goes_to(world, "h.io", "/a", "service-a");
	assert_goes_to(world, "h.io", "/b", "service-b");
	assert_string_equal(route_at(world, "h.io", "/a")->ns, "one");
	assert_string_equal(route_at(world, "h.io", "/b")->ingress, "b");
	world_free(world);
}

static void the_oldest_ingress_wins_the_same_path_and_the_loser_is_told(void **state)
{
	struct world *world =
	    world_of(INGRESS_AT("shop", "zz-young", "30",
				"spec:\n  rules:\n" RULE("h.io", PATH("/a", "Prefix", "young")))
			 INGRESS_AT("shop", "aa-old", "10",
				    "spec:\n  rules:\n" RULE("h.io", PATH("/a/", "Prefix", "old"))));

	(void)state;
	assert_goes_to(world, "h.io", "/a", "old");
	assert_int_equal(find_host(world, "h.io")->host->route_count, 1);
	assert_finding(world, "shop/zz-young", "spec.rules[0].http.paths[0]",
		       "h.io/a is served for Ingress shop/aa-old already");
	world_free(world);
}

static void of_equally_old_ingresses_the_one_whose_name_sorts_last_wins(void **state)
{
	struct world *world = world_of(
	    INGRESS("shop", "host-ingress", "spec:\n  rules:\n" RULE("h.io", PATH("/", "Prefix", "first")))
		INGRESS("shop", "path-ingress",
			"spec:\n  rules:\n" RULE("h.io", PATH("/", "Prefix", "last"))));

	(void)state;
	assert_goes_to(world, "h.io", "/", "last");
	world_free(world);
}

static void the_tie_is_broken_on_namespace_slash_name_as_one_text(void **state)
{
	/* '-' sorts before '/', so "a-b/x" comes before "a/x", and loses. */
	struct world *world =
	    world_of(INGRESS("a", "x", "spec:\n  rules:\n" RULE("h.io", PATH("/", "Prefix", "a")))
			 INGRESS("a-b", "x", "spec:\n  rules:\n" RULE("h.io", PATH("/", "Prefix", "a-b"))));

	(void)state;
	assert_goes_to(world, "h.io", "/", "a");
	world_free(world);
}

static void exact_and_prefix_of_the_same_path_are_no_conflict(void **state)
{
	struct world *world = world_of(
	    INGRESS("shop", "a", "spec:\n  rules:\n" RULE("h.io", PATH("/a", "Prefix", "prefix")))
		INGRESS("shop", "b", "spec:\n  rules:\n" RULE("h.io", PATH("/a", "Exact", "exact"))));

	(void)state;
	assert_goes_to(world, "h.io", "/a", "exact");
	assert_goes_to(world, "h.io", "/a/b", "prefix");
	assert_int_equal(world->finding_count, 0);
	world_free(world);
}

static void the_same_path_twice_in_one_ingress_is_found_too(void **state)
{
	struct world *world = world_of(INGRESS(
	    "shop", "web",
	    "spec:\n  rules:\n" RULE("h.io", PATH("/a", "Prefix", "one") ", " PATH("/a", "Prefix", "two"))));

	(void)state;
	assert_goes_to(world, "h.io", "/a", "one");
	assert_finding(world, "shop/web", "spec.rules[0].http.paths[1]", "ignored");
	world_free(world);
}

static void annotations_act_only_on_the_paths_of_their_own_ingress(void **state)
{
	struct world *world = world_of(
	    "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\n"
	    "metadata:\n  namespace: shop\n  name: big\n  annotations:\n"
	    "    nginx.ingress.kubernetes.io/proxy-body-size: 8m\n"
	    "spec:\n  rules:\n" RULE("h.io", PATH("/big", "Prefix", "web"))
		INGRESS("shop", "small", "spec:\n  rules:\n" RULE("h.io", PATH("/small", "Prefix", "web"))));

	(void)state;
	assert_int_equal(route_at(world, "h.io", "/big")->body_max_bytes, 8 << 20);
	assert_int_equal(route_at(world, "h.io", "/small")->body_max_bytes, 1 << 20);
	world_free(world);
}

/* ---- a.4 default backends ---- */

#define DEFAULT(service_) "  defaultBackend: { service: { name: " service_ ", port: { number: 80 } } }\n"

static void a_default_backend_without_rules_is_the_catch_all(void **state)
{
	struct world *world = world_of(INGRESS("shop", "all", "spec:\n" DEFAULT("everything")));

	(void)state;
	assert_goes_to(world, "_", "/any/path", "everything");
	world_free(world);
}

static void the_oldest_default_backend_without_rules_wins(void **state)
{
	struct world *world = world_of(INGRESS_AT("shop", "young", "20", "spec:\n" DEFAULT("young"))
					   INGRESS_AT("shop", "old", "10", "spec:\n" DEFAULT("old")));

	(void)state;
	assert_goes_to(world, "_", "/", "old");
	assert_finding(world, "shop/young", "spec.defaultBackend", "is served for Ingress shop/old already");
	world_free(world);
}

static void redirects_of_a_default_backend_without_rules_are_skipped(void **state)
{
	struct world *world = world_of("---\napiVersion: networking.k8s.io/v1\nkind: Ingress\n"
				       "metadata:\n  namespace: shop\n  name: all\n  annotations:\n"
				       "    nginx.ingress.kubernetes.io/force-ssl-redirect: \"true\"\n"
				       "spec:\n" DEFAULT("everything"));

	(void)state;
	assert_false(route_at(world, "_", "/")->ssl_redirect);
	world_free(world);
}

static void rules_with_a_default_backend_use_it_for_their_hosts_only(void **state)
{
	struct world *world = world_of(
	    INGRESS("shop", "web",
		    "spec:\n" DEFAULT("rest") "  rules:\n" RULE("h.io", PATH("/a", "Prefix", "a")))
		INGRESS("shop", "other", "spec:\n  rules:\n" RULE("o.io", PATH("/a", "Prefix", "o"))));

	(void)state;
	assert_goes_to(world, "h.io", "/a", "a");
	assert_goes_to(world, "h.io", "/b", "rest");
	assert_goes_to(world, "o.io", "/b", "");
	assert_null(find_host(world, "_"));
	world_free(world);
}

static void the_fallback_of_a_host_is_that_of_the_ingress_that_first_created_it(void **state)
{
	struct world *world = world_of(
	    INGRESS_AT("shop", "second", "20",
		       "spec:\n" DEFAULT("rest") "  rules:\n" RULE("h.io", PATH("/b", "Prefix", "b")))
		INGRESS_AT("shop", "first", "10",
			   "spec:\n  rules:\n" RULE("h.io", PATH("/a", "Prefix", "a"))));

	(void)state;
	assert_goes_to(world, "h.io", "/c", "");
	world_free(world);
}

static void the_implicit_root_carries_the_annotations_of_the_ingress_that_first_created_the_host(void **state)
{
	struct world *world = world_of("---\napiVersion: networking.k8s.io/v1\nkind: Ingress\n"
				       "metadata:\n  namespace: shop\n  name: web\n  annotations:\n"
				       "    nginx.ingress.kubernetes.io/auth-type: basic\n"
				       "    nginx.ingress.kubernetes.io/auth-secret: users\n"
				       "spec:\n  rules:\n" RULE("h.io", PATH("/foo", "Prefix", "web")));

	(void)state;
	assert_goes_to(world, "h.io", "/", "");
	assert_ptr_equal(route_at(world, "h.io", "/")->auth, world->users);
	assert_ptr_equal(route_at(world, "h.io", "/foo")->auth, world->users);
	world_free(world);
}

static void a_host_rule_without_http_goes_to_the_default_backend(void **state)
{
	struct world *world =
	    world_of(INGRESS("shop", "web", "spec:\n" DEFAULT("rest") "  rules:\n  - host: h.io\n"));

	(void)state;
	assert_goes_to(world, "h.io", "/x", "rest");
	world_free(world);
}

static void a_host_rule_without_http_and_default_backend_is_found(void **state)
{
	struct world *world = world_of(INGRESS("shop", "web", "spec:\n  rules:\n  - host: h.io\n"));

	(void)state;
	assert_goes_to(world, "h.io", "/x", "");
	assert_finding(world, "shop/web", "spec.rules[0]", "the default backend answers");
	world_free(world);
}

static void a_resource_backend_gets_the_default_backends_answer(void **state)
{
	struct world *world = world_of(
	    INGRESS("shop", "web",
		    "spec:\n  rules:\n" RULE("h.io", "{ path: /r, pathType: Prefix, backend: { resource: { "
						     "apiGroup: a.io, kind: Bucket, name: b } } }")));

	(void)state;
	assert_goes_to(world, "h.io", "/r", "");
	assert_finding(world, "shop/web", "spec.rules[0].http.paths[0]",
		       "resource backends are not supported");
	world_free(world);
}

static void what_is_wrong_with_a_service_is_found_at_the_path_that_names_it(void **state)
{
	struct world *world =
	    world_of(INGRESS("shop", "web", "spec:\n  rules:\n" RULE("h.io", PATH("/", "Prefix", "absent"))));

	(void)state;
	assert_goes_to(world, "h.io", "/", "absent");
	assert_finding(world, "shop/web", "spec.rules[0].http.paths[0]", "Service does not exist");
	world_free(world);
}

/* ---- a.5 classes ---- */

#define CLASS(name_, controller_)                                                             \
	"---\napiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: { name: " name_ \
	" }\nspec: { controller: " controller_ " }\n"
#define DEFAULT_CLASS(name_, controller_)                                                      \
	"---\napiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: { name: " name_  \
	", annotations: { ingressclass.kubernetes.io/is-default-class: \"true\" } }\nspec: { " \
	"controller: " controller_ " }\n"
#define OF_CLASS(meta_, spec_)                                                                               \
	"---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: { namespace: shop, name: web" meta_ \
	" }\nspec:\n" spec_ "  rules:\n" RULE("h.io", PATH("/", "Prefix", "web"))
#define BY_ANNOTATION(class_) ", annotations: { kubernetes.io/ingress.class: " class_ " }"
#define BY_FIELD(class_)      "  ingressClassName: " class_ "\n"

struct class_case {
	const char *text;
	bool by_name, without_class, served;
};

static void assert_class_cases(const struct class_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct class_rules rules = {.ingress_class = "fairlead",
						  .controller_class = "fairlead.dev/ingress",
						  .by_name = cases[i].by_name,
						  .without_class = cases[i].without_class};
		struct world *world = world_with(cases[i].text, &rules);

		if ((world->ingress_count == 1) != cases[i].served)
			fail_msg("case %zu: served is %zu", i, world->ingress_count);
		world_free(world);
	}
}

#define ASSERT_CLASS_CASES(...)                                   \
	do {                                                      \
		const struct class_case cases_[] = {__VA_ARGS__}; \
		assert_class_cases(cases_, ARRAY_LEN(cases_));    \
	} while (0)

static void a_class_name_is_ours_if_its_ingressclass_has_our_controller(void **state)
{
	(void)state;
	ASSERT_CLASS_CASES(
	    {CLASS("edge", "fairlead.dev/ingress") OF_CLASS("", BY_FIELD("edge")), .served = true},
	    {CLASS("edge", "k8s.io/ingress-nginx") OF_CLASS("", BY_FIELD("edge")), .served = false},
	    {OF_CLASS("", BY_FIELD("edge")), .served = false},
	    {OF_CLASS("", BY_FIELD("fairlead")), .served = false, .without_class = true});
}

static void with_class_by_name_an_ingressclass_of_our_name_is_ours(void **state)
{
	(void)state;
	ASSERT_CLASS_CASES(
	    {CLASS("fairlead", "other/x") OF_CLASS("", BY_FIELD("fairlead")), .by_name = true,
	     .served = true},
	    {CLASS("fairlead", "other/x") OF_CLASS("", BY_FIELD("fairlead")), .served = false});
}

static void without_a_class_name_the_annotation_decides(void **state)
{
	(void)state;
	ASSERT_CLASS_CASES({OF_CLASS(BY_ANNOTATION("fairlead"), ""), .served = true},
			   {OF_CLASS(BY_ANNOTATION("nginx"), ""), .served = false},
			   {OF_CLASS(BY_ANNOTATION("nginx"), ""), .without_class = true, .served = false});
}

static void the_class_name_wins_over_the_annotation(void **state)
{
	(void)state;
	ASSERT_CLASS_CASES(
	    {CLASS("edge", "fairlead.dev/ingress") OF_CLASS(BY_ANNOTATION("nginx"), BY_FIELD("edge")),
	     .served = true},
	    {CLASS("nginx", "k8s.io/ingress-nginx") OF_CLASS(BY_ANNOTATION("fairlead"), BY_FIELD("nginx")),
	     .served = false});
}

static void without_class_and_annotation_only_the_flag_or_a_default_class_of_ours_serves(void **state)
{
	(void)state;
	ASSERT_CLASS_CASES({OF_CLASS("", ""), .served = false},
			   {OF_CLASS("", ""), .without_class = true, .served = true},
			   {CLASS("edge", "fairlead.dev/ingress") OF_CLASS("", ""), .served = false},
			   {DEFAULT_CLASS("edge", "fairlead.dev/ingress") OF_CLASS("", ""), .served = true},
			   {DEFAULT_CLASS("edge", "other/x") OF_CLASS("", ""), .served = false});
}

static void one_watched_namespace_leaves_the_others_alone(void **state)
{
	const struct class_rules rules = {.any = true, .namespace_only = "shop"};
	struct world *world =
	    world_with(INGRESS("shop", "a", "spec:\n  rules:\n" RULE("a.io", PATH("/", "Prefix", "a")))
			   INGRESS("other", "b", "spec:\n  rules:\n" RULE("b.io", PATH("/", "Prefix", "b"))),
		       &rules);

	(void)state;
	assert_non_null(find_host(world, "a.io"));
	assert_null(find_host(world, "b.io"));
	world_free(world);
}

/* ---- a.7 TLS ---- */

#define TLS(hosts_, secret_) "  tls: [ { hosts: [ " hosts_ " ], secretName: " secret_ " } ]\n"
#define SHOP_RULE            "  rules:\n" RULE("shop.example.com", PATH("/", "Prefix", "web"))

static const struct certificate *certificate_of(const struct world *world, const char *host)
{
	return find_host(world, host)->certificate;
}

static void the_entry_that_lists_the_host_chooses_the_certificate_and_http_redirects(void **state)
{
	struct world *world =
	    world_of(INGRESS("shop", "web", "spec:\n" TLS("Shop.Example.COM", "shop-tls") SHOP_RULE));

	(void)state;
	assert_ptr_equal(certificate_of(world, "shop.example.com"), &world->certificates[0]);
	assert_true(find_host(world, "shop.example.com")->host->has_tls);
	assert_true(route_at(world, "shop.example.com", "/")->ssl_redirect);
	assert_int_equal(world->finding_count, 0);
	world_free(world);
}

static void a_wildcard_entry_counts_for_the_wildcard_host(void **state)
{
	struct world *world =
	    world_of(INGRESS("shop", "web",
			     "spec:\n" TLS("\"*.example.com\"", "wild-tls") "  rules:\n" RULE(
				 "\"*.example.com\"", PATH("/", "Prefix", "web"))));

	(void)state;
	assert_ptr_equal(certificate_of(world, "*.example.com"), &world->certificates[1]);
	world_free(world);
}

static void a_host_nobody_lists_gets_any_certificate_of_the_ingress_that_covers_it(void **state)
{
	struct world *world = world_of(INGRESS("shop", "web",
					       "spec:\n  tls: [ { hosts: [ other.io ], secretName: none }, { "
					       "secretName: wild-tls } ]\n" SHOP_RULE));

	(void)state;
	assert_ptr_equal(certificate_of(world, "shop.example.com"), &world->certificates[1]);
	assert_true(route_at(world, "shop.example.com", "/")->ssl_redirect);
	world_free(world);
}

static void a_missing_secret_leaves_the_default_certificate_and_http_still_redirects(void **state)
{
	struct world *world =
	    world_of(INGRESS("shop", "web", "spec:\n" TLS("shop.example.com", "none") SHOP_RULE));

	(void)state;
	assert_null(certificate_of(world, "shop.example.com"));
	assert_true(route_at(world, "shop.example.com", "/")->ssl_redirect);
	assert_finding(
	    world, "shop/web", "spec.tls[0].secretName",
	    "Secret shop/none does not exist; the default certificate is served for shop.example.com");
	world_free(world);
}

static void an_empty_secret_name_leaves_the_default_certificate(void **state)
{
	struct world *world =
	    world_of(INGRESS("shop", "web", "spec:\n  tls: [ { hosts: [ shop.example.com ] } ]\n" SHOP_RULE));

	(void)state;
	assert_null(certificate_of(world, "shop.example.com"));
	assert_true(find_host(world, "shop.example.com")->host->has_tls);
	assert_finding(world, "shop/web", "spec.tls[0].secretName",
		       "no Secret is named; the default certificate is served");
	world_free(world);
}

static void a_certificate_that_does_not_cover_the_host_is_not_served(void **state)
{
	struct world *world = world_of(
	    INGRESS("shop", "web",
		    "spec:\n" TLS("h.io", "shop-tls") "  rules:\n" RULE("h.io", PATH("/", "Prefix", "web"))));

	(void)state;
	assert_null(certificate_of(world, "h.io"));
	assert_true(find_host(world, "h.io")->host->has_tls);
	assert_finding(world, "shop/web", "spec.tls[0].secretName", "does not cover h.io");
	world_free(world);
}

static void an_expired_certificate_is_served_and_found(void **state)
{
	struct world *world =
	    world_of(INGRESS("shop", "web", "spec:\n" TLS("shop.example.com", "old-tls") SHOP_RULE));

	(void)state;
	assert_ptr_equal(certificate_of(world, "shop.example.com"), &world->certificates[2]);
	assert_finding(world, "shop/web", "spec.tls[0].secretName", "expired on 2020-09-13");
	world_free(world);
}

static void the_certificate_of_a_host_is_that_of_the_oldest_ingress_with_a_tls_section(void **state)
{
	struct world *world = world_of(
	    INGRESS_AT("shop", "young", "30", "spec:\n" TLS("shop.example.com", "wild-tls") SHOP_RULE)
		INGRESS_AT("shop", "old", "20", "spec:\n" TLS("shop.example.com", "shop-tls") SHOP_RULE)
		    INGRESS_AT("shop", "oldest", "10", "spec:\n" SHOP_RULE));

	(void)state;
	assert_ptr_equal(certificate_of(world, "shop.example.com"), &world->certificates[0]);
	assert_string_equal(route_at(world, "shop.example.com", "/")->ingress, "oldest");
	assert_true(route_at(world, "shop.example.com", "/")->ssl_redirect);
	world_free(world);
}

static void a_host_without_tls_does_not_redirect(void **state)
{
	struct world *world = world_of(INGRESS("shop", "web", "spec:\n" SHOP_RULE));

	(void)state;
	assert_false(route_at(world, "shop.example.com", "/")->ssl_redirect);
	world_free(world);
}

static void the_catch_all_is_never_a_tls_host(void **state)
{
	struct world *world = world_of(
	    INGRESS("shop", "web",
		    "spec:\n  tls: [ { secretName: shop-tls } ]\n  rules:\n  - http: { paths: [ " PATH(
			"/", "Prefix", "web") " ] }\n"));

	(void)state;
	assert_false(find_host(world, "_")->host->has_tls);
	assert_false(route_at(world, "_", "/")->ssl_redirect);
	world_free(world);
}

static void a_tls_host_without_a_rule_makes_no_host(void **state)
{
	struct world *world = world_of(
	    INGRESS("shop", "web", "spec:\n" TLS("www.example.com, shop.example.com", "shop-tls") SHOP_RULE));

	(void)state;
	assert_null(find_host(world, "www.example.com"));
	world_free(world);
}

#define ANNOTATED(annotations_, spec_)                                                                      \
	"---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  namespace: shop\n  name: web\n" \
	"  annotations:\n" annotations_ "spec:\n" spec_

static void ssl_redirect_can_be_turned_off_and_forced(void **state)
{
	struct world *off = world_of(ANNOTATED("    nginx.ingress.kubernetes.io/ssl-redirect: \"false\"\n",
					       TLS("shop.example.com", "shop-tls") SHOP_RULE));
	struct world *forced =
	    world_of(ANNOTATED("    nginx.ingress.kubernetes.io/force-ssl-redirect: \"true\"\n", SHOP_RULE));

	(void)state;
	assert_false(route_at(off, "shop.example.com", "/")->ssl_redirect);
	assert_true(route_at(forced, "shop.example.com", "/")->ssl_redirect);
	world_free(off);
	world_free(forced);
}

static void acme_challenges_are_neither_redirected_nor_protected(void **state)
{
	struct world *world =
	    world_of(ANNOTATED("    nginx.ingress.kubernetes.io/auth-type: basic\n    "
			       "nginx.ingress.kubernetes.io/auth-secret: users\n"
			       "    nginx.ingress.kubernetes.io/force-ssl-redirect: \"true\"\n",
			       TLS("shop.example.com", "shop-tls") "  rules:\n" RULE(
				   "shop.example.com", PATH("/.well-known/acme-challenge/token", "Exact",
							    "solver") ", " PATH("/", "Prefix", "web"))));
	const struct route *open = route_at(world, "shop.example.com", "/.well-known/acme-challenge/token");

	(void)state;
	assert_string_equal(open->service, "solver");
	assert_false(open->ssl_redirect);
	assert_null(open->auth);
	assert_true(route_at(world, "shop.example.com", "/x")->ssl_redirect);
	assert_non_null(route_at(world, "shop.example.com", "/x")->auth);
	world_free(world);
}

/* ---- access ---- */

static void a_missing_auth_secret_denies_the_paths_of_that_ingress_only(void **state)
{
	struct world *world = world_of(
	    ANNOTATED("    nginx.ingress.kubernetes.io/auth-type: basic\n"
		      "    nginx.ingress.kubernetes.io/auth-secret: nobody\n",
		      "  rules:\n" RULE("h.io", PATH("/closed", "Prefix", "web")))
		INGRESS("shop", "zz", "spec:\n  rules:\n" RULE("h.io", PATH("/open", "Prefix", "web"))));

	(void)state;
	assert_true(route_at(world, "h.io", "/closed")->denied);
	assert_false(route_at(world, "h.io", "/open")->denied);
	assert_finding(world, "shop/web", "metadata.annotations[nginx.ingress.kubernetes.io/auth-secret]",
		       "Secret shop/nobody does not exist; all paths of this Ingress answer 503");
	world_free(world);
}

static void a_canary_is_left_out(void **state)
{
	struct world *world = world_of(
	    ANNOTATED("    nginx.ingress.kubernetes.io/canary: \"true\"\n",
		      "  rules:\n" RULE("h.io", PATH("/", "Prefix", "new")))
		INGRESS("shop", "main", "spec:\n  rules:\n" RULE("h.io", PATH("/", "Prefix", "main"))));

	(void)state;
	assert_goes_to(world, "h.io", "/", "main");
	assert_finding(world, "shop/web", "metadata.annotations[nginx.ingress.kubernetes.io/canary]",
		       "left out");
	world_free(world);
}

static void the_secrets_an_ingress_names_are_listed_once_per_use(void **state)
{
	struct world *world =
	    world_of(ANNOTATED("    nginx.ingress.kubernetes.io/auth-type: basic\n"
			       "    nginx.ingress.kubernetes.io/auth-secret: shop/users\n",
			       "  tls: [ { hosts: [ a.io ], secretName: t }, { hosts: [ b.io ], secretName: "
			       "t }, { hosts: [ c.io ] } ]\n" SHOP_RULE));
	const struct build_ingress *ingress = world->ingresses[0];

	(void)state;
	assert_int_equal(ingress->secret_count, 2);
	assert_string_equal(ingress->secrets[0].name, "t");
	assert_int_equal(ingress->secrets[0].use, BUILD_SECRET_TLS);
	assert_string_equal(ingress->secrets[1].name, "users");
	assert_int_equal(ingress->secrets[1].use, BUILD_SECRET_AUTH);
	world_free(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_rule_without_host_speaks_for_the_catch_all),
	    cmocka_unit_test(a_miss_inside_a_known_host_never_falls_through_to_the_wildcard_or_the_catch_all),
	    cmocka_unit_test(an_empty_path_is_allowed_for_implementation_specific_and_means_the_root),
	    cmocka_unit_test(rules_merge_per_host_across_ingresses_and_namespaces),
	    cmocka_unit_test(the_oldest_ingress_wins_the_same_path_and_the_loser_is_told),
	    cmocka_unit_test(of_equally_old_ingresses_the_one_whose_name_sorts_last_wins),
	    cmocka_unit_test(the_tie_is_broken_on_namespace_slash_name_as_one_text),
	    cmocka_unit_test(exact_and_prefix_of_the_same_path_are_no_conflict),
	    cmocka_unit_test(the_same_path_twice_in_one_ingress_is_found_too),
	    cmocka_unit_test(annotations_act_only_on_the_paths_of_their_own_ingress),
	    cmocka_unit_test(a_default_backend_without_rules_is_the_catch_all),
	    cmocka_unit_test(the_oldest_default_backend_without_rules_wins),
	    cmocka_unit_test(redirects_of_a_default_backend_without_rules_are_skipped),
	    cmocka_unit_test(rules_with_a_default_backend_use_it_for_their_hosts_only),
	    cmocka_unit_test(the_fallback_of_a_host_is_that_of_the_ingress_that_first_created_it),
	    cmocka_unit_test(
		the_implicit_root_carries_the_annotations_of_the_ingress_that_first_created_the_host),
	    cmocka_unit_test(a_host_rule_without_http_goes_to_the_default_backend),
	    cmocka_unit_test(a_host_rule_without_http_and_default_backend_is_found),
	    cmocka_unit_test(a_resource_backend_gets_the_default_backends_answer),
	    cmocka_unit_test(what_is_wrong_with_a_service_is_found_at_the_path_that_names_it),
	    cmocka_unit_test(a_class_name_is_ours_if_its_ingressclass_has_our_controller),
	    cmocka_unit_test(with_class_by_name_an_ingressclass_of_our_name_is_ours),
	    cmocka_unit_test(without_a_class_name_the_annotation_decides),
	    cmocka_unit_test(the_class_name_wins_over_the_annotation),
	    cmocka_unit_test(without_class_and_annotation_only_the_flag_or_a_default_class_of_ours_serves),
	    cmocka_unit_test(one_watched_namespace_leaves_the_others_alone),
	    cmocka_unit_test(the_entry_that_lists_the_host_chooses_the_certificate_and_http_redirects),
	    cmocka_unit_test(a_wildcard_entry_counts_for_the_wildcard_host),
	    cmocka_unit_test(a_host_nobody_lists_gets_any_certificate_of_the_ingress_that_covers_it),
	    cmocka_unit_test(a_missing_secret_leaves_the_default_certificate_and_http_still_redirects),
	    cmocka_unit_test(an_empty_secret_name_leaves_the_default_certificate),
	    cmocka_unit_test(a_certificate_that_does_not_cover_the_host_is_not_served),
	    cmocka_unit_test(an_expired_certificate_is_served_and_found),
	    cmocka_unit_test(the_certificate_of_a_host_is_that_of_the_oldest_ingress_with_a_tls_section),
	    cmocka_unit_test(a_host_without_tls_does_not_redirect),
	    cmocka_unit_test(the_catch_all_is_never_a_tls_host),
	    cmocka_unit_test(a_tls_host_without_a_rule_makes_no_host),
	    cmocka_unit_test(ssl_redirect_can_be_turned_off_and_forced),
	    cmocka_unit_test(acme_challenges_are_neither_redirected_nor_protected),
	    cmocka_unit_test(a_missing_auth_secret_denies_the_paths_of_that_ingress_only),
	    cmocka_unit_test(a_canary_is_left_out),
	    cmocka_unit_test(the_secrets_an_ingress_names_are_listed_once_per_use),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
