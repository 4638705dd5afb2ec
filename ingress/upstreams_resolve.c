/* Resolving a Service port. */
#include "ingress/upstreams_resolve.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define WHY_BYTES 512

struct resolver {
	const struct resolve_input *input;
	struct arena *arena;
	struct resolution resolution;
	size_t endpoint_size;
	unsigned refused; /* addresses nobody may be sent to */
	int code;
};

static void explain(struct resolver *resolver, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void explain(struct resolver *resolver, const char *format, ...)
{
	char why[WHY_BYTES];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	resolver->resolution.why = arena_dup(resolver->arena, str_of(why));
	if (!resolver->resolution.why)
		resolver->code = -ENOMEM;
}

static void miss(struct resolver *resolver, const char *what)
{
	const struct resolve_input *input = resolver->input;

	resolver->resolution.missing = true;
	explain(resolver, "Service %s/%s %s%.*s", input->ns, input->name, what, (int)input->port.len,
		input->port.p);
}

bool upstreams_address_allowed(const struct ip *ip, bool loopback_allowed)
{
	if (ip_is_loopback(ip))
		return loopback_allowed;
	return ip->family != 0 && !ip_is_unspecified(ip) && !ip_is_link_local(ip) && !ip_is_multicast(ip);
}

/* ---- which port ---- */

static uint16_t port_number(struct str port)
{
	uint64_t number;

	return str_to_u64(port, UINT16_MAX, &number) == 0 ? (uint16_t)number : 0;
}

enum port_match { BY_NUMBER_OR_NAME, BY_TARGET };

static bool port_matches(const struct service_port *port, struct str wanted, enum port_match match)
{
	uint16_t number = port_number(wanted);

	if (port->protocol != PROTOCOL_TCP)
		return false;
	switch (match) {
	case BY_NUMBER_OR_NAME:
		return wanted.len == 0 || (number ? port->port == number : str_is(wanted, port->name));
	case BY_TARGET:
		return number ? port->target_port == number : str_is(wanted, port->target_port_name);
	}
	return false;
}

static const struct service_port *find_port(const struct service *service, struct str wanted,
					    enum port_match match)
{
	for (size_t i = 0; i < service->port_count; i++) {
		if (port_matches(&service->ports[i], wanted, match))
			return &service->ports[i];
	}
	return NULL;
}

/* ---- which endpoints ---- */

static void add_endpoint(struct resolver *resolver, const struct ip *ip, uint16_t port)
{
	struct resolution *resolution = &resolver->resolution;

	if (!upstreams_address_allowed(ip, resolver->input->loopback_allowed)) {
		resolver->refused++;
		return;
	}
	if (resolution->endpoint_count < resolver->endpoint_size)
		resolution->endpoints[resolution->endpoint_count++] = (struct endpoint_addr){*ip, port};
}

/* 0: the group has no such port. */
static uint16_t group_port(const struct endpoint_group *group, const struct service_port *port)
{
	for (size_t i = 0; i < group->port_count; i++) {
		const struct endpoint_port *candidate = &group->ports[i];

		if (candidate->protocol == PROTOCOL_TCP &&
		    (port->name[0] == '\0' || strcmp(candidate->name, port->name) == 0))
			return candidate->port;
	}
	return 0;
}

enum choice { READY, LEAVING };

static bool is_chosen(const struct endpoint *endpoint, enum choice choice)
{
	switch (choice) {
	case READY:
		return endpoint->ready && !endpoint->terminating;
	case LEAVING:
		return endpoint->serving && endpoint->terminating;
	}
	return false;
}

/* port NULL: a Service without ports, `number` is used as it is. */
static void add_group(struct resolver *resolver, const struct endpoint_group *group,
		      const struct service_port *port, uint16_t number, enum choice choice)
{
	uint16_t target = port ? group_port(group, port) : number;

	if (group->family == 0 || target == 0)
		return;
	for (size_t i = 0; i < group->endpoint_count; i++) {
		if (is_chosen(&group->endpoints[i], choice))
			add_endpoint(resolver, &group->endpoints[i].ip, target);
	}
}

static bool has_endpoints_object(const struct resolve_input *input)
{
	for (size_t i = 0; i < input->endpoints_count; i++) {
		if (input->endpoints[i]->meta.kind == KIND_ENDPOINTS)
			return true;
	}
	return false;
}

static void add_all(struct resolver *resolver, const struct service_port *port, uint16_t number,
		    enum choice choice)
{
	const struct resolve_input *input = resolver->input;
	bool skip_mirrored = has_endpoints_object(input);

	resolver->refused = 0;
	for (size_t i = 0; i < input->endpoints_count; i++) {
		const struct endpoints *endpoints = input->endpoints[i];

		if (endpoints->mirrored && skip_mirrored)
			continue;
		for (size_t g = 0; g < endpoints->group_count; g++)
			add_group(resolver, &endpoints->groups[g], port, number, choice);
	}
}

static size_t count_all(const struct resolve_input *input)
{
	size_t count = 0;

	for (size_t i = 0; i < input->endpoints_count; i++) {
		for (size_t g = 0; g < input->endpoints[i]->group_count; g++)
			count += input->endpoints[i]->groups[g].endpoint_count;
	}
	return count;
}

static void resolve_endpoints(struct resolver *resolver, const struct service_port *port, uint16_t number)
{
	resolver->endpoint_size = count_all(resolver->input);
	resolver->resolution.endpoints =
	    arena_array(resolver->arena, resolver->endpoint_size, sizeof(struct endpoint_addr));
	if (!resolver->resolution.endpoints && resolver->endpoint_size) {
		resolver->code = -ENOMEM;
		return;
	}
	add_all(resolver, port, number, READY);
	if (resolver->resolution.endpoint_count == 0 && resolver->refused == 0)
		add_all(resolver, port, number, LEAVING);
	if (resolver->refused)
		explain(resolver,
			"Service %s/%s: endpoint addresses that are loopback, link-local or multicast are "
			"ignored: %u",
			resolver->input->ns, resolver->input->name, resolver->refused);
}

static void resolve_external(struct resolver *resolver, const struct service_port *port, uint16_t number)
{
	struct str name = str_of(resolver->input->service->external_name);

	if (name.len == 0) {
		explain(resolver, "Service %s/%s has no externalName", resolver->input->ns,
			resolver->input->name);
		return;
	}
	resolver->resolution.external_name = arena_dup(resolver->arena, name);
	resolver->resolution.external_port = number;
	if (port) /* as ingress-nginx: the targetPort, which is the port unless it says otherwise */
		resolver->resolution.external_port = port->target_port ? port->target_port : port->port;
	if (!resolver->resolution.external_name)
		resolver->code = -ENOMEM;
}

static void resolve(struct resolver *resolver)
{
	const struct resolve_input *input = resolver->input;
	const struct service *service = input->service;
	bool external = service && service->type == SERVICE_EXTERNAL_NAME;
	const struct service_port *port = service ? find_port(service, input->port, BY_NUMBER_OR_NAME) : NULL;
	uint16_t number = port_number(input->port);

	if (!port && service)
		port = find_port(service, input->port, BY_TARGET);
	if (!service)
		miss(resolver, "does not exist; asked for port ");
	else if (!port && !(number && (external || service->port_count == 0)))
		miss(resolver, "has no TCP port ");
	else if (external)
		resolve_external(resolver, port, number);
	else
		resolve_endpoints(resolver, port, number);
}

int upstreams_resolve(const struct resolve_input *input, struct arena *arena, struct resolution *ret)
{
	struct resolver resolver = {.input = input, .arena = arena};

	resolve(&resolver);
	if (resolver.code)
		return resolver.code;
	*ret = resolver.resolution;
	return 0;
}
