/* Counts a Service's ready endpoints on this node, and words the answer as kube-proxy does. */
#include "proxy/local_ready.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "proxy/endpoints.h"

struct ips {
	struct ip *items;
	size_t count, size;
};

static int add_ip(struct ips *ips, const struct ip *ip)
{
	if (ips->count == ips->size) {
		size_t size = ips->size ? ips->size * 2 : 16;
		struct ip *items = realloc(ips->items, size * sizeof(*items));

		if (!items)
			return -ENOMEM;
		ips->items = items;
		ips->size = size;
	}
	ips->items[ips->count++] = *ip;
	return 0;
}

/* Endpoints without any port stand behind no service port (row 8). */
static int gather(struct ips *ips, const struct endpoint_group *group, const char *node_name,
		  bool allow_loopback)
{
	int code = 0;

	for (size_t i = 0; i < group->endpoint_count && group->port_count > 0 && code == 0; i++) {
		const struct endpoint *endpoint = &group->endpoints[i];

		if (endpoint->ready && strcmp(endpoint->node_name, node_name) == 0 &&
		    endpoint->ip.family == group->family && !endpoint_refusal(endpoint, allow_loopback))
			code = add_ip(ips, &endpoint->ip);
	}
	return code;
}

static int ip_compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct ip));
}

static unsigned count_distinct(const struct ips *ips, int family)
{
	unsigned count = 0;

	for (size_t i = 0; i < ips->count; i++)
		if (ips->items[i].family == family &&
		    (i == 0 || !ip_equal(&ips->items[i], &ips->items[i - 1])))
			count++;
	return count;
}

int local_ready_count(const struct endpoints *const *objects, size_t object_count, const char *node_name,
		      bool allow_loopback, unsigned *ret)
{
	struct ips ips = {0};
	unsigned ipv4, ipv6;
	int code = 0;

	for (size_t i = 0; i < object_count && code == 0; i++)
		for (size_t g = 0; g < objects[i]->group_count && code == 0; g++)
			code = gather(&ips, &objects[i]->groups[g], node_name, allow_loopback);
	if (ips.count > 1)
		qsort(ips.items, ips.count, sizeof(*ips.items), ip_compare);
	ipv4 = count_distinct(&ips, AF_INET);
	ipv6 = count_distinct(&ips, AF_INET6);
	if (code == 0)
		*ret = ipv4 > ipv6 ? ipv4 : ipv6;
	free(ips.items);
	return code;
}

void local_ready_answer(const char *ns, const char *name, unsigned count, bool proxy_healthy,
			struct httpd_answer *answer)
{
	struct buf *body = &answer->body;

	answer->status = count > 0 && proxy_healthy ? 200 : 503;
	answer->content_type = "application/json";
	(void)buf_printf(&answer->headers,
			 "X-Content-Type-Options: nosniff\r\nX-Load-Balancing-Endpoint-Weight: %u\r\n",
			 count);
	(void)buf_append_text(body, "{\n\t\"service\": {\n\t\t\"namespace\": \"");
	(void)buf_append_json(body, str_of(ns));
	(void)buf_append_text(body, "\",\n\t\t\"name\": \"");
	(void)buf_append_json(body, str_of(name));
	(void)buf_printf(body, "\"\n\t},\n\t\"localEndpoints\": %u,\n\t\"serviceProxyHealthy\": %s\n}", count,
			 proxy_healthy ? "true" : "false");
}
