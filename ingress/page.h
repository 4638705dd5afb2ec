/* Answers made here: error pages, redirects, 401, the health answer. Pure: bytes out.
 *
 * The pages are nginx's, so that what greps for "404 Not Found" keeps finding it; the Server field is not
 * sent. */
#ifndef INGRESS_PAGE_H
#define INGRESS_PAGE_H

#include "ingress/text.h"

/* https://host path [?query] */
struct page_redirect {
	struct str host;        /* empty: no redirect */
	struct str path, query; /* query.p NULL: none */
};

struct page {
	unsigned status;
	struct str detail;             /* a sentence below the title; empty: none */
	struct page_redirect redirect; /* with 3xx: Location */
	struct str realm;              /* with 401: WWW-Authenticate: Basic realm="..." */
	struct str allow;              /* with 405 */
	struct str hsts, date;
	bool plain; /* no page, an empty body: health answers */
	bool keep_alive, client_is_http10;
	bool is_head; /* fields as for GET, no body */
};

size_t page_bytes_max(const struct page *page);

/* Writes head and body; returns the body's length as sent. */
size_t page_write(struct text *out, const struct page *page);

#endif
