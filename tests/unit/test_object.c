/* conf/object: references, look-ups, and secrets that do not outlive their object. */
/* LINK: conf/object.c base/arena.c base/str.c */
/* LIBS: -lcrypto */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "conf/object.h"

static void every_kind_has_a_name_and_can_be_made(void **state)
{
	(void)state;
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		struct object *object = object_new((enum kind)kind);
		enum kind found;
		assert_non_null(object);
		assert_int_equal(object->kind, kind);
		assert_true(kind_from_name(str_of(kind_name(object->kind)), &found));
		assert_int_equal(found, kind);
		assert_string_equal(object->ns, "");
		assert_string_equal(object->resource_version, "");
		assert_null(object_unref(object));
	}
}

static void an_object_lives_until_its_last_reference_is_gone(void **state)
{
	struct object *object = object_new(KIND_SERVICE);

	(void)state;
	object->name = arena_dup(&object->arena, STR_LIT("web"));
	assert_ptr_equal(object_ref(object), object);
	object_unref(object);
	assert_string_equal(object->name, "web");
	object_unref(object);
	assert_null(object_unref(NULL));
}

static void look_ups_find_the_key_or_nothing(void **state)
{
	struct kv items[] = {{"app", "web"}, {"empty", ""}};
	struct kv_list list = {items, 2};
	struct named_bytes data[] = {{"tls.crt", {(const uint8_t *)"pem", 3}}};
	struct secret secret = {.data = data, .data_count = 1};

	(void)state;
	assert_string_equal(kv_get(&list, "app"), "web");
	assert_string_equal(kv_get(&list, "empty"), "");
	assert_null(kv_get(&list, "ap"));
	assert_int_equal(secret_get(&secret, "tls.crt")->len, 3);
	assert_null(secret_get(&secret, "tls.key"));
}

static void a_secret_s_bytes_are_wiped_when_it_dies(void **state)
{
	/* The bytes stand outside the arena here, so that they can be looked at afterwards. */
	static uint8_t key[] = "private";
	struct secret *secret = (struct secret *)object_new(KIND_SECRET);
	const uint8_t zeroes[sizeof(key)] = {0};

	(void)state;
	secret->data = arena_array(&secret->meta.arena, 1, sizeof(*secret->data));
	secret->data[0] = (struct named_bytes){"tls.key", {key, sizeof(key)}};
	secret->data_count = 1;
	object_unref(&secret->meta);
	assert_memory_equal(key, zeroes, sizeof(key));
}

static void protocols_have_the_api_s_names(void **state)
{
	(void)state;
	assert_string_equal(protocol_name(PROTOCOL_TCP), "TCP");
	assert_string_equal(protocol_name(PROTOCOL_UDP), "UDP");
	assert_string_equal(protocol_name(PROTOCOL_SCTP), "SCTP");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_kind_has_a_name_and_can_be_made),
	    cmocka_unit_test(an_object_lives_until_its_last_reference_is_gone),
	    cmocka_unit_test(look_ups_find_the_key_or_nothing),
	    cmocka_unit_test(a_secret_s_bytes_are_wiped_when_it_dies),
	    cmocka_unit_test(protocols_have_the_api_s_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
