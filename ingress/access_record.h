/* What one line of the access log says, and its two spellings. Pure: a record in, text out.
 *
 * ACCESS_LOG_NGINX is ingress-nginx's default log-format-upstream, field for field:
 *   $remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer"
 * "$http_user_agent" $request_length $request_time [$proxy_upstream_name] [$proxy_alternative_upstream_name]
 * $upstream_addr $upstream_response_length $upstream_response_time $upstream_status $req_id with nginx's
 * escaping: '"', '\' and bytes outside 32..126 as \xXX; absent values are "-". */
#ifndef INGRESS_ACCESS_RECORD_H
#define INGRESS_ACCESS_RECORD_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/str.h"

/* One endpoint that was tried. */
struct access_attempt {
	struct endpoint_addr addr;
	uint16_t status; /* 0: no answer came from it */
	uint64_t response_bytes;
	double response_s;
};

#define ACCESS_ATTEMPTS_MAX 4

/* Empty strings are absent. */
struct access_record {
	struct ip remote;
	struct str user;
	struct str request_line;
	struct str method, host, target; /* JSON only */
	struct str referer, user_agent;
	struct str upstream_name, request_id;
	struct str ns, ingress, service; /* JSON only */
	const char *end;                 /* JSON only: enum exchange_end as a word */
	bool https;                      /* JSON only */
	unsigned status;
	uint64_t request_bytes;   /* head and body as received */
	uint64_t body_bytes_sent; /* without the head */
	double request_s;
	const struct access_attempt *attempts;
	size_t attempt_count;
};

/* "21/Nov/2026:08:15:00 +0000" and "2026-11-21T08:15:00+00:00", made once a second. */
struct access_clock {
	time_t second;
	char local[32], iso[32];
};
void access_clock_set(struct access_clock *clock, time_t now);

/* Append one line, '\n' included. 0 or -ENOMEM (then out may hold part of the line). */
int access_record_nginx(struct buf *out, const struct access_record *record,
			const struct access_clock *clock);
int access_record_json(struct buf *out, const struct access_record *record, const struct access_clock *clock);

#endif
