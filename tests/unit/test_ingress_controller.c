/* ingress/ingress and ingress/check: from a store's changes to published snapshots, and what is rebuilt for each. */
/* LINK: ingress/ingress.c ingress/ingress_hosts.c ingress/ingress_secrets.c ingress/check.c */
/* LINK: ingress/build_class.c ingress/build_ingress.c ingress/build_host.c ingress/annotations.c */
/* LINK: ingress/annotations_value.c ingress/auth.c ingress/auth_hash.c ingress/certs.c ingress/finding.c */
/* LINK: ingress/route.c ingress/snapshot.c ingress/snapshot_host.c ingress/snapshot_table.c */
/* LINK: ingress/snapshot_upstream.c ingress/upstreams.c ingress/upstreams_name.c ingress/upstreams_resolve.c */
/* LINK: conf/decode.c conf/decode_meta.c conf/decode_service.c conf/decode_endpoints.c conf/decode_ingress.c */
/* LINK: conf/decode_misc.c conf/decode_secret.c conf/field.c conf/names.c conf/object.c conf/node.c */
/* LINK: conf/node_json.c conf/node_yaml.c conf/node_scalar.c conf/store.c */
/* LINK: base/addr.c base/arena.c base/buf.c base/dns.c base/err.c base/log.c base/map.c base/metrics.c base/str.c */
/* LIBS: -ljansson -lyaml -lxxhash -lssl -lcrypto -laprutil-1 -lapr-1 -lcares -lev -lm */
#include "tests/unit/ingress_harness.h"

#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "ingress/auth.h"
#include "ingress/check.h"
#include "ingress/ingress.h"

/* ---- in the place of the data path ---- */

struct workers {
	struct snapshot *snapshot;
	unsigned published;
};

void workers_publish(struct workers *workers, struct snapshot *snapshot)
{
	snapshot_unref(workers->snapshot);
	workers->snapshot = snapshot;
	workers->published++;
}

/* ---- a source that says when a Secret is known ---- */

struct fake_source {
	struct source source;
	char wanted[256]; /* "shop/a shop/b ": at the moment */
	bool known;
	void (*on_known)(void *ctx);
	void *ctx;
};

static int fake_want(struct source *source, enum kind kind, const char *ns, const char *name)
{
	struct fake_source *fake = (struct fake_source *)source;
	size_t len = strlen(fake->wanted);

	assert_int_equal(kind, KIND_SECRET);
	snprintf(fake->wanted + len, sizeof(fake->wanted) - len, "%s/%s ", ns, name);
	return 0;
}

static void fake_unwant(struct source *source, enum kind kind, const char *ns, const char *name)
{
	struct fake_source *fake = (struct fake_source *)source;
	char text[128], *at;

	(void)kind;
	snprintf(text, sizeof(text), "%s/%s ", ns, name);
	at = strstr(fake->wanted, text);
	assert_non_null(at);
	memmove(at, at + strlen(text), strlen(at + strlen(text)) + 1);
}

static bool fake_known(struct source *source, enum kind kind, const char *ns, const char *name)
{
	(void)kind;
	(void)ns;
	(void)name;
	return ((struct fake_source *)source)->known;
}

static void fake_set_callback(struct source *source, void (*fn)(void *ctx), void *ctx)
{
	struct fake_source *fake = (struct fake_source *)source;

	fake->on_known = fn;
	fake->ctx = ctx;
}

static const struct source_ops fake_ops = {
    .want = fake_want, .unwant = fake_unwant, .known = fake_known, .set_known_callback = fake_set_callback};

/* ---- the controller under test ---- */

struct fixture {
	struct store *store;
	struct fake_source source;
	struct workers workers;
	struct ingress_controller *controller;
	char findings[2048]; /* one a line */
};

static void on_finding(void *ctx, const struct object *object, const char *field, const char *why)
{
	struct fixture *fixture = ctx;
	size_t len = strlen(fixture->findings);

	snprintf(fixture->findings + len, sizeof(fixture->findings) - len, "%s/%s: %s: %s\n", object->ns,
		 object->name, field, why);
}

static struct ingress_config config_of(struct fixture *fixture)
{
	return (struct ingress_config){.any_class = true,
				       .ingress_class = "fairlead",
				       .controller_class = "fairlead.dev/ingress",
				       .annotations_prefix = "nginx.ingress.kubernetes.io",
				       .settings = ingress_default_settings,
				       .finding = on_finding,
				       .finding_ctx = fixture};
}

static void start(struct fixture *fixture, const struct ingress_config *config)
{
	fixture->source.source.ops = &fake_ops;
	fixture->source.known = true;
	fixture->controller =
	    ingress_new(NULL, fixture->store, &fixture->source.source, &fixture->workers, config, NULL, NULL);
	assert_non_null(fixture->controller);
}

static struct fixture *fixture_of(const char *text)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct ingress_config config = config_of(fixture);

	assert_non_null(fixture);
	fixture->store = store_of_yaml(text);
	start(fixture, &config);
	return fixture;
}

static void fixture_free(struct fixture *fixture)
{
	ingress_free(fixture->controller);
	assert_string_equal(fixture->source.wanted, "");
	snapshot_unref(fixture->workers.snapshot);
	store_free(fixture->store);
	free(fixture);
}

static void change(struct fixture *fixture, const char *text)
{
	put_yaml(fixture->store, text);
	store_settle(fixture->store);
}

static void remove_object(struct fixture *fixture, enum kind kind, const char *ns, const char *name)
{
	store_delete(fixture->store, kind, str_of(ns), str_of(name));
	store_settle(fixture->store);
}

static const struct route *route_at(const struct fixture *fixture, const char *host, const char *path)
{
	return host_route(snapshot_host(fixture->workers.snapshot, str_of(host)), str_of(path));
}

/* The number of endpoints; -1: the default backend's 404. */
static int endpoint_count(const struct fixture *fixture, const char *host, const char *path)
{
	const struct upstream *upstream =
	    snapshot_route_upstream(fixture->workers.snapshot, route_at(fixture, host, path));

	return upstream ? (int)upstream->endpoint_count : -1;
}

#define SERVICE(name_)                                                                  \
	"---\napiVersion: v1\nkind: Service\nmetadata: { namespace: shop, name: " name_ \
	" }\nspec: { clusterIP: 10.1.0.1, ports: [ { port: 80 } ] }\n"
#define SLICE(service_, endpoints_)                                                                        \
	"---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"                                      \
	"metadata: { namespace: shop, name: " service_ ", labels: { kubernetes.io/service-name: " service_ \
	" } }\n"                                                                                           \
	"addressType: IPv4\nports: [ { port: 8080 } ]\nendpoints: [ " endpoints_ " ]\n"
#define POD(ip_) "{ addresses: [ " ip_ " ] }"
#define RULE(host_, path_, service_) \
	"  rules: [ { host: " host_ ", http: { paths: [ " PATH(path_, "Prefix", service_) " ] } } ]\n"
#define WEB SERVICE("web") SLICE("web", POD("10.0.0.1") ", " POD("10.0.0.2"))

/* ---- publishing ---- */

static void what_the_store_holds_at_the_start_is_published_at_once(void **state)
{
	struct fixture *fixture = fixture_of(WEB INGRESS("shop", "web", "spec:\n" RULE("h.io", "/", "web")));

	(void)state;
	assert_true(ingress_ready(fixture->controller));
	assert_int_equal(fixture->workers.published, 1);
	assert_int_equal(endpoint_count(fixture, "h.io", "/x"), 2);
	assert_int_equal(endpoint_count(fixture, "other.io", "/x"), -1);
	assert_string_equal(fixture->findings, "");
	fixture_free(fixture);
}

static void an_empty_cluster_is_published_too(void **state)
{
	struct fixture *fixture = fixture_of("");

	(void)state;
	assert_true(ingress_ready(fixture->controller));
	assert_int_equal(endpoint_count(fixture, "h.io", "/"), -1);
	fixture_free(fixture);
}

static void nothing_is_published_before_every_kind_is_complete(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct ingress_config config = config_of(fixture);

	(void)state;
	fixture->store = store_new();
	store_set_synced(fixture->store, INGRESS_KINDS & ~KIND_BIT(KIND_ENDPOINTSLICE));
	start(fixture, &config);
	change(fixture, WEB INGRESS("shop", "web", "spec:\n" RULE("h.io", "/", "web")));
	assert_false(ingress_ready(fixture->controller));
	store_set_synced(fixture->store, KIND_BIT(KIND_ENDPOINTSLICE));
	store_settle(fixture->store);
	assert_true(ingress_ready(fixture->controller));
	assert_int_equal(fixture->workers.published, 1);
	assert_int_equal(endpoint_count(fixture, "h.io", "/"), 2);
	fixture_free(fixture);
}

static void a_settle_publishes_once_whatever_changed_and_not_when_nothing_came_out_differently(void **state)
{
	struct fixture *fixture = fixture_of(WEB INGRESS("shop", "web", "spec:\n" RULE("h.io", "/", "web")));

	(void)state;
	change(fixture, SERVICE("api") SLICE("api", POD("10.0.0.3"))
			    INGRESS("shop", "api", "spec:\n" RULE("a.io", "/", "api"))
				INGRESS("shop", "b", "spec:\n" RULE("b.io", "/", "api")));
	assert_int_equal(fixture->workers.published, 2);
	change(fixture, SERVICE("nobody-uses-it") SLICE("nobody-uses-it", POD("10.0.0.9")));
	assert_int_equal(fixture->workers.published, 2);
	fixture_free(fixture);
}

/* ---- what a change rebuilds ---- */

static void an_endpoint_change_leaves_every_host_as_it_was(void **state)
{
	struct fixture *fixture = fixture_of(WEB INGRESS("shop", "web", "spec:\n" RULE("h.io", "/", "web")));
	struct snapshot *before = snapshot_ref(fixture->workers.snapshot);

	(void)state;
	change(fixture, SLICE("web", POD("10.0.0.7")));
	assert_int_equal(endpoint_count(fixture, "h.io", "/"), 1);
	assert_ptr_equal(snapshot_host(before, STR_LIT("h.io")),
			 snapshot_host(fixture->workers.snapshot, STR_LIT("h.io")));
	assert_int_equal(
	    snapshot_route_upstream(before, host_route(snapshot_host(before, STR_LIT("h.io")), STR_LIT("/")))
		->endpoint_count,
	    2);
	snapshot_unref(before);
	fixture_free(fixture);
}

static void an_ingress_change_rebuilds_its_hosts_only(void **state)
{
	struct fixture *fixture = fixture_of(WEB INGRESS("shop", "a", "spec:\n" RULE("a.io", "/", "web"))
						 INGRESS("shop", "b", "spec:\n" RULE("b.io", "/", "web")));
	struct snapshot *before = snapshot_ref(fixture->workers.snapshot);

	(void)state;
	change(fixture, INGRESS("shop", "a", "spec:\n" RULE("c.io", "/", "web")));
	assert_int_equal(endpoint_count(fixture, "a.io", "/"), -1);
	assert_int_equal(endpoint_count(fixture, "c.io", "/"), 2);
	assert_ptr_equal(snapshot_host(before, STR_LIT("b.io")),
			 snapshot_host(fixture->workers.snapshot, STR_LIT("b.io")));
	snapshot_unref(before);
	fixture_free(fixture);
}

static void a_deleted_ingress_gives_its_paths_to_who_was_behind_it(void **state)
{
	struct fixture *fixture =
	    fixture_of(WEB SERVICE("api") INGRESS_AT("shop", "old", "10", "spec:\n" RULE("h.io", "/", "web"))
			   INGRESS_AT("shop", "new", "20", "spec:\n" RULE("h.io", "/", "api")));

	(void)state;
	assert_string_equal(route_at(fixture, "h.io", "/")->service, "web");
	assert_non_null(
	    strstr(fixture->findings,
		   "shop/new: spec.rules[0].http.paths[0]: h.io/ is served for Ingress shop/old"));
	remove_object(fixture, KIND_INGRESS, "shop", "old");
	assert_string_equal(route_at(fixture, "h.io", "/")->service, "api");
	remove_object(fixture, KIND_INGRESS, "shop", "new");
	assert_int_equal(endpoint_count(fixture, "h.io", "/"), -1);
	assert_int_equal(snapshot_upstream_count(fixture->workers.snapshot), 0);
	fixture_free(fixture);
}

static void an_upstream_keeps_its_id_while_some_route_names_it(void **state)
{
	struct fixture *fixture = fixture_of(WEB INGRESS("shop", "web", "spec:\n" RULE("h.io", "/", "web")));
	uint32_t id = route_at(fixture, "h.io", "/")->upstream_id;

	(void)state;
	change(fixture, INGRESS("shop", "web", "spec:\n" RULE("h.io", "/new", "web")));
	assert_int_equal(route_at(fixture, "h.io", "/new")->upstream_id, id);
	fixture_free(fixture);
}

static void a_finding_is_told_once_until_it_is_gone_and_comes_again(void **state)
{
	struct fixture *fixture = fixture_of(INGRESS("shop", "web", "spec:\n" RULE("h.io", "/", "web")));

	(void)state;
	assert_string_equal(
	    fixture->findings,
	    "shop/web: spec.rules[0].http.paths[0]: Service shop/web does not exist; asked for port 80\n");
	assert_int_equal(endpoint_count(fixture, "h.io", "/"), 0);
	fixture->findings[0] = '\0';
	change(fixture, INGRESS("shop", "web", "spec:\n" RULE("h.io", "/", "web")));
	assert_string_equal(fixture->findings, "");
	change(fixture, WEB INGRESS("shop", "web", "spec:\n" RULE("h.io", "/", "web")));
	remove_object(fixture, KIND_SERVICE, "shop", "web");
	change(fixture, INGRESS("shop", "web", "spec:\n" RULE("h.io", "/", "web")));
	assert_non_null(strstr(fixture->findings, "does not exist"));
	fixture_free(fixture);
}

/* ---- classes ---- */

#define OF_CLASS(name_) \
	INGRESS("shop", "web", "spec:\n  ingressClassName: " name_ "\n" RULE("h.io", "/", "web"))
#define CLASS(name_, controller_)                                                             \
	"---\napiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: { name: " name_ \
	" }\nspec: { controller: " controller_ " }\n"

static void a_class_that_comes_late_or_is_edited_away_takes_its_ingresses_along(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct ingress_config config = config_of(fixture);

	(void)state;
	config.any_class = false;
	fixture->store = store_of_yaml(WEB OF_CLASS("edge"));
	start(fixture, &config);
	assert_int_equal(endpoint_count(fixture, "h.io", "/"), -1);
	change(fixture, CLASS("edge", "fairlead.dev/ingress"));
	assert_int_equal(endpoint_count(fixture, "h.io", "/"), 2);
	change(fixture, OF_CLASS("other"));
	assert_int_equal(endpoint_count(fixture, "h.io", "/"), -1);
	change(fixture, OF_CLASS("edge"));
	assert_int_equal(endpoint_count(fixture, "h.io", "/"), 2);
	remove_object(fixture, KIND_INGRESSCLASS, "", "edge");
	assert_int_equal(endpoint_count(fixture, "h.io", "/"), -1);
	fixture_free(fixture);
}

/* ---- Secrets ---- */

static char *pem_text(BIO *bio)
{
	char *data, *text;
	long len = BIO_get_mem_data(bio, &data);

	text = strndup(data, (size_t)len);
	BIO_free(bio);
	return text;
}

static void encode_base64(char *out, const char *text)
{
	EVP_EncodeBlock((unsigned char *)out, (const unsigned char *)text, (int)strlen(text));
}

/* A kubernetes.io/tls Secret for h.io with a key of its own. */
static char *tls_secret(const char *name)
{
	static char text[8192];
	char certificate_base64[3000], key_base64[3000];
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();
	BIO *certificate_bio = BIO_new(BIO_s_mem()), *key_bio = BIO_new(BIO_s_mem());
	char *certificate_pem, *key_pem;

	X509_gmtime_adj(X509_getm_notBefore(certificate), -10);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 86400);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
				   (const unsigned char *)"h.io", -1, -1, 0);
	X509_set_pubkey(certificate, key);
	X509_sign(certificate, key, EVP_sha256());
	PEM_write_bio_X509(certificate_bio, certificate);
	PEM_write_bio_PrivateKey(key_bio, key, NULL, NULL, 0, NULL, NULL);
	certificate_pem = pem_text(certificate_bio);
	key_pem = pem_text(key_bio);
	encode_base64(certificate_base64, certificate_pem);
	encode_base64(key_base64, key_pem);
	snprintf(text, sizeof(text),
		 "---\napiVersion: v1\nkind: Secret\ntype: kubernetes.io/tls\nmetadata: { namespace: shop, "
		 "name: %s }\n"
		 "data: { tls.crt: %s, tls.key: %s }\n",
		 name, certificate_base64, key_base64);
	free(certificate_pem);
	free(key_pem);
	X509_free(certificate);
	EVP_PKEY_free(key);
	return text;
}

static SSL_CTX *certificate_at(const struct fixture *fixture, const char *name)
{
	return snapshot_certificate(fixture->workers.snapshot, str_of(name));
}

#define TLS_INGRESS            \
	INGRESS("shop", "web", \
		"spec:\n  tls: [ { hosts: [ h.io ], secretName: pair } ]\n" RULE("h.io", "/", "web"))

static void a_certificate_follows_its_secret_and_the_default_one_stands_in(void **state)
{
	struct fixture *fixture = fixture_of(WEB TLS_INGRESS);
	SSL_CTX *fallback = certificate_at(fixture, ""), *first;

	(void)state;
	assert_non_null(fallback);
	assert_ptr_equal(certificate_at(fixture, "h.io"), fallback);
	assert_true(route_at(fixture, "h.io", "/")->ssl_redirect);
	change(fixture, tls_secret("pair"));
	first = certificate_at(fixture, "h.io");
	assert_ptr_not_equal(first, fallback);
	change(fixture, tls_secret("pair"));
	assert_ptr_not_equal(certificate_at(fixture, "h.io"), first);
	assert_ptr_not_equal(certificate_at(fixture, "h.io"), fallback);
	remove_object(fixture, KIND_SECRET, "shop", "pair");
	assert_ptr_equal(certificate_at(fixture, "h.io"), fallback);
	assert_true(route_at(fixture, "h.io", "/")->ssl_redirect);
	fixture_free(fixture);
}

static void a_secret_nobody_names_changes_nothing(void **state)
{
	struct fixture *fixture = fixture_of(WEB TLS_INGRESS);

	(void)state;
	change(fixture, tls_secret("other"));
	assert_int_equal(fixture->workers.published, 1);
	fixture_free(fixture);
}

static void the_default_certificate_comes_from_its_secret_when_one_is_named(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct ingress_config config = config_of(fixture);
	SSL_CTX *self_signed;

	(void)state;
	config.default_certificate = "shop/fallback";
	fixture->store = store_of_yaml("");
	start(fixture, &config);
	assert_string_equal(fixture->source.wanted, "shop/fallback ");
	self_signed = certificate_at(fixture, "any.io");
	change(fixture, tls_secret("fallback"));
	assert_ptr_not_equal(certificate_at(fixture, "any.io"), self_signed);
	remove_object(fixture, KIND_SECRET, "shop", "fallback");
	assert_ptr_equal(certificate_at(fixture, "any.io"), self_signed);
	fixture_free(fixture);
}

static void only_secrets_that_served_ingresses_name_are_asked_for(void **state)
{
	struct fixture *fixture = fixture_of(WEB TLS_INGRESS);

	(void)state;
	assert_string_equal(fixture->source.wanted, "shop/pair ");
	change(fixture,
	       INGRESS("shop", "web",
		       "spec:\n  tls: [ { hosts: [ h.io ], secretName: new } ]\n" RULE("h.io", "/", "web")));
	assert_string_equal(fixture->source.wanted, "shop/new ");
	change(fixture, INGRESS("shop", "web", "spec:\n" RULE("h.io", "/", "web")));
	assert_string_equal(fixture->source.wanted, "");
	fixture_free(fixture);
}

static void the_first_snapshot_waits_until_wanted_secrets_are_known(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct ingress_config config = config_of(fixture);

	(void)state;
	fixture->store = store_new();
	start(fixture, &config);
	fixture->source.known = false;
	put_yaml(fixture->store, WEB TLS_INGRESS);
	store_set_synced(fixture->store, INGRESS_KINDS);
	store_settle(fixture->store);
	assert_false(ingress_ready(fixture->controller));
	fixture->source.known = true;
	fixture->source.on_known(fixture->source.ctx);
	assert_true(ingress_ready(fixture->controller));
	assert_int_equal(endpoint_count(fixture, "h.io", "/"), 2);
	fixture_free(fixture);
}

static void a_host_whose_new_secret_is_not_known_yet_stays_as_it_was(void **state)
{
	struct fixture *fixture =
	    fixture_of(WEB INGRESS("shop", "web", "spec:\n" RULE("h.io", "/old", "web"))
			   INGRESS("shop", "other", "spec:\n" RULE("o.io", "/", "web")));

	(void)state;
	fixture->source.known = false;
	change(fixture, TLS_INGRESS INGRESS("shop", "other", "spec:\n" RULE("o.io", "/new", "web")));
	assert_string_equal(route_at(fixture, "h.io", "/old")->path, "/old");
	assert_string_equal(route_at(fixture, "o.io", "/new")->path, "/new");
	change(fixture, tls_secret("pair"));
	assert_string_equal(route_at(fixture, "h.io", "/old")->path, "/");
	assert_ptr_not_equal(certificate_at(fixture, "h.io"), certificate_at(fixture, ""));
	fixture_free(fixture);
}

#define PROTECTED                                                                                           \
	"---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  namespace: shop\n  name: web\n" \
	"  annotations:\n    nginx.ingress.kubernetes.io/auth-type: basic\n"                                \
	"    nginx.ingress.kubernetes.io/auth-secret: users\nspec:\n" RULE("h.io", "/", "web")
#define USERS(lines_)                                                                                   \
	"---\napiVersion: v1\nkind: Secret\nmetadata: { namespace: shop, name: users }\nstringData: { " \
	"auth: \"" lines_ "\" }\n"

static void users_follow_their_secret_and_without_it_the_route_is_denied(void **state)
{
	struct fixture *fixture = fixture_of(WEB PROTECTED);

	(void)state;
	assert_true(route_at(fixture, "h.io", "/")->denied);
	change(fixture, USERS("alice:{PLAIN}x"));
	assert_false(route_at(fixture, "h.io", "/")->denied);
	assert_int_equal(auth_user_count(route_at(fixture, "h.io", "/")->auth), 1);
	fixture->findings[0] = '\0';
	change(fixture, USERS("alice:{PLAIN}x\\nbob:{PLAIN}y\\ncarol:nonsense"));
	assert_int_equal(auth_user_count(route_at(fixture, "h.io", "/")->auth), 2);
	assert_non_null(
	    strstr(fixture->findings, "shop/users: data[auth] line 3: a kind of hash that is not supported"));
	remove_object(fixture, KIND_SECRET, "shop", "users");
	assert_true(route_at(fixture, "h.io", "/")->denied);
	assert_null(route_at(fixture, "h.io", "/")->auth);
	fixture_free(fixture);
}

/* ---- default backend ---- */

static void the_default_backend_service_answers_misses_by_its_first_port(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct ingress_config config = config_of(fixture);

	(void)state;
	config.default_backend = "shop/web";
	fixture->store = store_of_yaml(WEB INGRESS("shop", "api", "spec:\n" RULE("h.io", "/a", "absent")));
	start(fixture, &config);
	assert_int_equal(endpoint_count(fixture, "h.io", "/b"), 2);
	assert_int_equal(endpoint_count(fixture, "unknown.io", "/"), 2);
	fixture_free(fixture);
}

static void a_bad_option_is_refused_with_its_name(void **state)
{
	struct fixture fixture = {.store = store_new()};
	struct ingress_config config = config_of(&fixture);
	struct err err = {""};

	(void)state;
	config.default_backend = "web";
	assert_null(ingress_new(NULL, fixture.store, NULL, NULL, &config, NULL, &err));
	assert_string_equal(err.text, "--default-backend-service: expected namespace/name, got \"web\"");
	store_free(fixture.store);
}

/* ---- the offline check ---- */

static void the_check_reports_every_finding_in_the_order_of_names(void **state)
{
	struct fixture fixture = {
	    .store = store_of_yaml(WEB INGRESS("shop", "b", "spec:\n" RULE("h.io", "/", "absent"))
				       INGRESS("shop", "a", "spec:\n" RULE("h.io", "/", "web")) TLS_INGRESS)};
	struct ingress_config config = config_of(&fixture);

	(void)state;
	assert_int_equal(ingress_check(fixture.store, &config, on_finding, &fixture), 0);
	assert_string_equal(fixture.findings, "shop/a: spec.rules[0].http.paths[0]: h.io/ is served for "
					      "Ingress shop/web already, which comes first; ignored\n"
					      "shop/b: spec.rules[0].http.paths[0]: h.io/ is served for "
					      "Ingress shop/web already, which comes first; ignored\n"
					      "shop/web: spec.tls[0].secretName: Secret shop/pair does not "
					      "exist; the default certificate is served for h.io\n");
	store_free(fixture.store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_the_store_holds_at_the_start_is_published_at_once),
	    cmocka_unit_test(an_empty_cluster_is_published_too),
	    cmocka_unit_test(nothing_is_published_before_every_kind_is_complete),
	    cmocka_unit_test(
		a_settle_publishes_once_whatever_changed_and_not_when_nothing_came_out_differently),
	    cmocka_unit_test(an_endpoint_change_leaves_every_host_as_it_was),
	    cmocka_unit_test(an_ingress_change_rebuilds_its_hosts_only),
	    cmocka_unit_test(a_deleted_ingress_gives_its_paths_to_who_was_behind_it),
	    cmocka_unit_test(an_upstream_keeps_its_id_while_some_route_names_it),
	    cmocka_unit_test(a_finding_is_told_once_until_it_is_gone_and_comes_again),
	    cmocka_unit_test(a_class_that_comes_late_or_is_edited_away_takes_its_ingresses_along),
	    cmocka_unit_test(a_certificate_follows_its_secret_and_the_default_one_stands_in),
	    cmocka_unit_test(a_secret_nobody_names_changes_nothing),
	    cmocka_unit_test(the_default_certificate_comes_from_its_secret_when_one_is_named),
	    cmocka_unit_test(only_secrets_that_served_ingresses_name_are_asked_for),
	    cmocka_unit_test(the_first_snapshot_waits_until_wanted_secrets_are_known),
	    cmocka_unit_test(a_host_whose_new_secret_is_not_known_yet_stays_as_it_was),
	    cmocka_unit_test(users_follow_their_secret_and_without_it_the_route_is_denied),
	    cmocka_unit_test(the_default_backend_service_answers_misses_by_its_first_port),
	    cmocka_unit_test(a_bad_option_is_refused_with_its_name),
	    cmocka_unit_test(the_check_reports_every_finding_in_the_order_of_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
