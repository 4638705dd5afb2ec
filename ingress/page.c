/* Error pages and redirects as bytes. */
#include "ingress/page.h"

#include "base/http1.h"

#define FIXED_BYTES 1024

#define BODY_MAX 768

static void put_title(struct text *out, const struct page *page)
{
	text_u64(out, page->status);
	text_char(out, ' ');
	text_str(out, str_of(http_reason(page->status)));
}

static void put_body(struct text *out, const struct page *page)
{
	if (page->plain)
		return;
	text_lit(out, "<html>\r\n<head><title>");
	put_title(out, page);
	text_lit(out, "</title></head>\r\n<body>\r\n<center><h1>");
	put_title(out, page);
	text_lit(out, "</h1></center>\r\n");
	if (page->detail.len > 0) {
		text_lit(out, "<center>");
		text_str(out, page->detail);
		text_lit(out, "</center>\r\n");
	}
	text_lit(out, "</body>\r\n</html>\r\n");
}

static void put_optional(struct text *out, struct str name, struct str value)
{
	if (value.len == 0)
		return;
	text_str(out, name);
	text_lit(out, ": ");
	text_str(out, value);
	text_lit(out, "\r\n");
}

static void put_location(struct text *out, const struct page_redirect *redirect)
{
	if (redirect->host.len == 0)
		return;
	text_lit(out, "Location: https://");
	text_str(out, redirect->host);
	text_str(out, redirect->path);
	if (redirect->query.p) {
		text_char(out, '?');
		text_str(out, redirect->query);
	}
	text_lit(out, "\r\n");
}

static void put_realm(struct text *out, struct str realm)
{
	text_lit(out, "WWW-Authenticate: Basic realm=\"");
	for (size_t i = 0; i < realm.len; i++) {
		unsigned char c = (unsigned char)realm.p[i];

		if (c == '"' || c == '\\')
			text_char(out, '\\');
		if (c >= ' ' && c != 127)
			text_char(out, realm.p[i]);
	}
	text_lit(out, "\"\r\n");
}

static void put_head(struct text *out, const struct page *page, size_t body_bytes)
{
	text_lit(out, "HTTP/1.1 ");
	put_title(out, page);
	text_lit(out, "\r\n");
	put_optional(out, STR_LIT("Date"), page->date);
	if (!page->plain)
		text_lit(out, "Content-Type: text/html\r\n");
	text_lit(out, "Content-Length: ");
	text_u64(out, body_bytes);
	text_lit(out, "\r\n");
	put_location(out, &page->redirect);
	if (page->status == 401)
		put_realm(out, page->realm);
	put_optional(out, STR_LIT("Allow"), page->allow);
	put_optional(out, STR_LIT("Strict-Transport-Security"), page->hsts);
	if (!page->keep_alive)
		text_lit(out, "Connection: close\r\n");
	else if (page->client_is_http10)
		text_lit(out, "Connection: keep-alive\r\n");
	text_lit(out, "\r\n");
}

size_t page_bytes_max(const struct page *page)
{
	return FIXED_BYTES + BODY_MAX + page->redirect.host.len + page->redirect.path.len +
	       page->redirect.query.len + 2 * page->realm.len + page->allow.len + page->hsts.len +
	       page->date.len;
}

size_t page_write(struct text *out, const struct page *page)
{
	char body[BODY_MAX];
	struct text text = {.p = body, .end = body + sizeof(body)};
	size_t body_bytes;

	put_body(&text, page);
	body_bytes = (size_t)(text.p - body);
	put_head(out, page, body_bytes);
	if (page->is_head)
		return 0;
	text_put(out, body, body_bytes);
	return body_bytes;
}
