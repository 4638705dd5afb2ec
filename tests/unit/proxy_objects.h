/* Objects for tests of the service proxy, written in one line each. They live in an arena and are not counted. */
#ifndef TESTS_PROXY_OBJECTS_H
#define TESTS_PROXY_OBJECTS_H

#include "base/arena.h"
#include "conf/object.h"

struct ip ip_of(const char *text);

/* A slice of service `service` named `name`, in the family of its first endpoint (IPv4 if it has none).
 * ports: "http:8080 dns:53/UDP :80"; a name, a number, a protocol (TCP).
 * endpoints: "10.0.0.1 10.0.0.2@node-1 10.0.0.3!ending#zone-a,zone-b": an address, its node, its condition (ready; "!not",
 * "!ending": not ready, serves and ends; "!dead": ends and does not serve), zones it is hinted for ("%node,..": nodes). */
struct endpoints *slice(struct arena *arena, const char *service, const char *name, const char *ports,
			const char *endpoints);
/* The same as an Endpoints object. */
struct endpoints *legacy(struct arena *arena, const char *service, const char *ports, const char *endpoints);

/* default/NAME with cluster IPs ("10.96.0.1 fd00::1") and ports "http:80 dns:53/UDP web:81=30081" (=: node port); the
 * rest is for the test to fill. */
struct service *service(struct arena *arena, const char *name, const char *cluster_ips, const char *ports);

#endif
