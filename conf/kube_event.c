/* One event of a watch, read. */
#include "conf/kube_event.h"

#include <errno.h>

#define PAUSE_MAX_S 3600

static const char *text_of(const struct node *node)
{
	return node && node->type == NODE_STRING ? node->text.p : "";
}

const char *kube_metadata(const struct node *object, const char *field)
{
	return text_of(node_get(node_get(object, "metadata"), field));
}

bool kube_version_is_older(const char *version, const char *than)
{
	uint64_t a, b;

	return str_to_u64(str_of(version), UINT64_MAX, &a) == 0 &&
	       str_to_u64(str_of(than), UINT64_MAX, &b) == 0 && a < b;
}

static int read_type(const struct node *type, enum kube_event_type *ret, struct err *err)
{
	static const struct {
		const char *text;
		enum kube_event_type type;
	} types[] = {
	    {"ADDED", KUBE_EVENT_PUT},         {"MODIFIED", KUBE_EVENT_PUT}, {"DELETED", KUBE_EVENT_DELETED},
	    {"BOOKMARK", KUBE_EVENT_BOOKMARK}, {"ERROR", KUBE_EVENT_ERROR},
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (strcmp(types[i].text, text_of(type)) != 0)
			continue;
		*ret = types[i].type;
		return 0;
	}
	return err_set(err, -EBADMSG, "an event of type \"%.40s\"", text_of(type));
}

static bool ends_initial(const struct node *object)
{
	const struct node *annotations = node_get(node_get(object, "metadata"), "annotations");

	return strcmp(text_of(node_get(annotations, "k8s.io/initial-events-end")), "true") == 0;
}

static int64_t number(const struct node *node, int64_t most)
{
	return node && node->type == NODE_INT && node->integer > 0 && node->integer <= most ? node->integer
											    : 0;
}

int kube_event_parse(struct arena *arena, struct str text, struct kube_event *ret, struct err *err)
{
	struct node *document;
	int r = node_parse_json(arena, text.p, text.len, &document, err);

	if (r < 0)
		return r == -EBADMSG ? err_wrap(err, r, "an event that is not JSON") : r;
	const struct node *object = node_get(document, "object");
	struct kube_event event = {
	    .object = object,
	    .ns = kube_metadata(object, "namespace"),
	    .name = kube_metadata(object, "name"),
	    .version = kube_metadata(object, "resourceVersion"),
	    .ends_initial = ends_initial(object),
	    .code = number(node_get(object, "code"), 999),
	    .pause_s =
		(double)number(node_get(node_get(object, "details"), "retryAfterSeconds"), PAUSE_MAX_S),
	    .message = text_of(node_get(object, "message")),
	};

	r = read_type(node_get(document, "type"), &event.type, err);
	if (r < 0)
		return r;
	if (!object || object->type != NODE_MAP)
		return err_set(err, -EBADMSG, "an event without an object");
	*ret = event;
	return 0;
}
