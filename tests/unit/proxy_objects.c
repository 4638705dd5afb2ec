/* The small language of tests/unit/proxy_objects.h. Malformed lines are the test's mistake: they abort. */
#include "tests/unit/proxy_objects.h"

#include <stdlib.h>

static struct str next_word(struct str *text, char separator)
{
	struct str word;

	*text = str_cut(*text, separator, &word);
	return word;
}

static size_t word_count(const char *text)
{
	struct str rest = str_of(text);
	size_t count = 0;

	while (rest.p)
		count += next_word(&rest, ' ').len > 0;
	return count;
}

static uint16_t number_of(struct str text)
{
	uint64_t number;

	if (str_to_u64(text, UINT16_MAX, &number))
		abort();
	return (uint16_t)number;
}

static struct ip parse_ip(struct str text)
{
	struct ip ip;

	if (ip_parse(text, &ip))
		abort();
	return ip;
}

struct ip ip_of(const char *text)
{
	return parse_ip(str_of(text));
}

/* "name:number/PROTOCOL=node port" */
struct port_words {
	const char *name;
	enum protocol protocol;
	uint16_t number, node_port;
};

static struct port_words parse_port(struct arena *arena, struct str word)
{
	struct str name, number, protocol;
	struct str rest = str_cut(word, ':', &name);
	struct str node_port = str_cut(rest, '=', &rest);
	struct port_words port = {.name = arena_dup(arena, name)};

	protocol = str_cut(rest, '/', &number);
	port.number = number_of(number);
	port.node_port = node_port.p ? number_of(node_port) : 0;
	port.protocol = str_is(protocol, "UDP")    ? PROTOCOL_UDP
			: str_is(protocol, "SCTP") ? PROTOCOL_SCTP
						   : PROTOCOL_TCP;
	return port;
}

static struct string_list parse_list(struct arena *arena, struct str text)
{
	struct string_list list = {.items = arena_array(arena, text.len + 1, sizeof(char *))};

	while (text.p)
		list.items[list.count++] = arena_dup(arena, next_word(&text, ','));
	return list;
}

static struct str cut_suffix(struct str *word, char separator)
{
	struct str head;
	struct str suffix = str_cut(*word, separator, &head);

	*word = head;
	return suffix;
}

static struct endpoint parse_endpoint(struct arena *arena, struct str word)
{
	struct str nodes = cut_suffix(&word, '%');
	struct str zones = cut_suffix(&word, '#');
	struct str condition = cut_suffix(&word, '!');
	struct str node = cut_suffix(&word, '@');
	struct endpoint endpoint = {.ip = parse_ip(word),
				    .ready = !condition.p,
				    .serving = !condition.p || str_is(condition, "ending"),
				    .terminating = str_is(condition, "ending") || str_is(condition, "dead"),
				    .node_name = arena_dup(arena, node),
				    .zone = "",
				    .hostname = ""};

	if (zones.p)
		endpoint.hint_zones = parse_list(arena, zones);
	if (nodes.p)
		endpoint.hint_nodes = parse_list(arena, nodes);
	return endpoint;
}

static struct endpoint_group *parse_group(struct arena *arena, const char *ports, const char *endpoints)
{
	struct endpoint_group *group = arena_alloc(arena, sizeof(*group));
	struct str words = str_of(ports);

	group->ports = arena_array(arena, word_count(ports) + 1, sizeof(*group->ports));
	while (words.p) {
		struct str word = next_word(&words, ' ');

		if (word.len > 0) {
			struct port_words port = parse_port(arena, word);

			group->ports[group->port_count++] = (struct endpoint_port){.name = port.name,
										   .protocol = port.protocol,
										   .port = port.number,
										   .app_protocol = ""};
		}
	}
	group->endpoints = arena_array(arena, word_count(endpoints) + 1, sizeof(*group->endpoints));
	words = str_of(endpoints);
	while (words.p) {
		struct str word = next_word(&words, ' ');

		if (word.len > 0)
			group->endpoints[group->endpoint_count++] = parse_endpoint(arena, word);
	}
	group->family = group->endpoint_count ? group->endpoints[0].ip.family : AF_INET;
	return group;
}

static struct endpoints *object(struct arena *arena, enum kind kind, const char *service, const char *name,
				const char *ports, const char *endpoints)
{
	struct endpoints *object = arena_alloc(arena, sizeof(*object));

	object->meta = (struct object){.kind = kind, .refs = 1, .ns = "default", .name = name, .uid = ""};
	object->service_name = service;
	object->groups = parse_group(arena, ports, endpoints);
	object->group_count = 1;
	return object;
}

struct endpoints *slice(struct arena *arena, const char *service, const char *name, const char *ports,
			const char *endpoints)
{
	return object(arena, KIND_ENDPOINTSLICE, service, name, ports, endpoints);
}

struct endpoints *legacy(struct arena *arena, const char *service, const char *ports, const char *endpoints)
{
	return object(arena, KIND_ENDPOINTS, service, service, ports, endpoints);
}

struct service *service(struct arena *arena, const char *name, const char *cluster_ips, const char *ports)
{
	struct service *service = arena_alloc(arena, sizeof(*service));
	struct str words = str_of(cluster_ips);

	service->meta =
	    (struct object){.kind = KIND_SERVICE, .refs = 1, .ns = "default", .name = name, .uid = ""};
	service->cluster_ips = arena_array(arena, word_count(cluster_ips) + 1, sizeof(*service->cluster_ips));
	while (words.p) {
		struct str word = next_word(&words, ' ');

		if (word.len > 0)
			service->cluster_ips[service->cluster_ip_count++] = parse_ip(word);
	}
	service->ports = arena_array(arena, word_count(ports) + 1, sizeof(*service->ports));
	words = str_of(ports);
	while (words.p) {
		struct str word = next_word(&words, ' ');
		struct port_words port;

		if (word.len == 0)
			continue;
		port = parse_port(arena, word);
		if (port.node_port)
			service->type = SERVICE_NODE_PORT;
		service->ports[service->port_count++] = (struct service_port){.name = port.name,
									      .protocol = port.protocol,
									      .port = port.number,
									      .node_port = port.node_port,
									      .target_port_name = "",
									      .app_protocol = ""};
	}
	return service;
}
