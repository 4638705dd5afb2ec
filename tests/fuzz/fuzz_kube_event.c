/* Any bytes as a watch event, as an item of a list, and as what a credential plugin printed. The first byte says
 * which of them. */
/* LINK: conf/kube_event.c conf/kube_item.c conf/kube_exec.c conf/kube_file.c conf/kubeconfig.c */
/* LINK: conf/node.c conf/node_json.c conf/node_yaml.c conf/node_scalar.c conf/object.c conf/store.c */
/* LINK: conf/decode.c conf/decode_endpoints.c conf/decode_ingress.c conf/decode_meta.c conf/decode_misc.c */
/* LINK: conf/decode_secret.c conf/decode_service.c conf/field.c conf/names.c base/addr.c base/arena.c */
/* LINK: base/buf.c base/err.c base/log.c base/map.c base/metrics.c base/str.c */
/* LIBS: -lev -ljansson -lyaml -lcrypto -lxxhash -lm */
#include <stdlib.h>

#include "base/log.h"
#include "conf/kube_event.h"
#include "conf/kube_exec.h"
#include "conf/kube_item.h"

static void expect(bool holds)
{
	if (!holds)
		abort();
}

/* An item either is an object of the kind asked for, or says of whom it speaks as far as that can be told. */
static void expect_item(struct kube_item *item, enum kind kind)
{
	expect(item->ns && item->name && item->resource_version);
	expect(!item->object || (item->object->kind == kind && item->object->name[0]));
	object_unref(item->object);
}

static void read_event(struct str text)
{
	struct arena arena = {0};
	struct kube_complaints complaints = {0};
	struct kube_event event;
	struct kube_item item;
	struct err err = {{0}};

	if (kube_event_parse(&arena, text, &event, &err) < 0)
		expect(err.text[0] != '\0');
	else if (event.type == KUBE_EVENT_PUT &&
		 kube_item_from_node(&complaints, KIND_SERVICE, event.object, &item) == 0)
		expect_item(&item, KIND_SERVICE);
	kube_complaints_done(&complaints);
	arena_done(&arena);
}

static void read_item(struct str text)
{
	struct arena arena = {0};
	struct kube_complaints complaints = {0};
	struct kube_item item;

	if (kube_item_from_json(&complaints, &arena, KIND_ENDPOINTSLICE, text, &item) == 0)
		expect_item(&item, KIND_ENDPOINTSLICE);
	kube_complaints_prune(&complaints);
	kube_complaints_prune(&complaints);
	expect(complaints.seen.count == 0);
	kube_complaints_done(&complaints);
	arena_done(&arena);
}

static void read_credential(struct str text)
{
	struct kube_credential credential;
	struct err err = {{0}};

	if (kube_credential_parse(text, "client.authentication.k8s.io/v1", &credential, &err) < 0) {
		expect(err.text[0] != '\0');
		return;
	}
	expect(credential.token[0] || credential.certificate[0]);
	expect(!strpbrk(credential.token, "\r\n"));
	kube_credential_done(&credential);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	if (len_bytes == 0)
		return 0;
	struct str text = {(const char *)data + 1, len_bytes - 1};

	switch (data[0]) {
	case 'I':
		read_item(text);
		break;
	case 'C':
		read_credential(text);
		break;
	default:
		read_event(text);
	}
	return 0;
}
