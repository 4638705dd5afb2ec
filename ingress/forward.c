/* Rewriting of request and response heads. */
#include "ingress/forward.h"

#include "base/http_syntax.h"

#define FIXED_BYTES 1024 /* names of the fields added, numbers, addresses */

static bool in_set(const bool *set, const struct http_field *field)
{
	return set[field->id];
}

static void put_field(struct text *out, struct str name, struct str value)
{
	text_str(out, name);
	text_lit(out, ": ");
	text_str(out, value);
	text_lit(out, "\r\n");
}

/* ---- who the client is ---- */

static struct str first_of_list(struct str list)
{
	struct str first;

	(void)str_cut(list, ',', &first);
	return str_trim(first);
}

static struct str forwarded_value(const struct http_head *head, const char *name)
{
	return first_of_list(http_head_get(head, name));
}

static void identify_as_told(struct forward_identity *identity, const struct http_head *head)
{
	struct str host = forwarded_value(head, "X-Forwarded-Host");
	struct str proto = forwarded_value(head, "X-Forwarded-Proto");
	uint64_t port;

	(void)ip_parse(forwarded_value(head, "X-Forwarded-For"), &identity->client);
	if (host.len > 0 && http_authority_parse(host, &host))
		identity->host = host;
	if (str_equal_nocase(proto, STR_LIT("https")) || str_equal_nocase(proto, STR_LIT("http"))) {
		identity->https = proto.len == 5;
		identity->local.port = identity->https ? 443 : 80;
	}
	if (str_to_u64(forwarded_value(head, "X-Forwarded-Port"), UINT16_MAX, &port) == 0 && port > 0)
		identity->local.port = (uint16_t)port;
}

struct forward_identity forward_identify(const struct http_head *head, const struct forward_origin *origin)
{
	struct forward_identity identity = {
	    .client = origin->peer, .host = head->host, .local = origin->local, .https = origin->https};

	if (origin->trust)
		identify_as_told(&identity, head);
	return identity;
}

struct str forward_request_id(const struct http_head *head)
{
	const struct http_field *field = http_head_find(head, HTTP_NAME_X_REQUEST_ID);

	if (!field || field->value.len > REQUEST_ID_BYTES_MAX)
		return (struct str){0};
	return field->value;
}

/* ---- requests ---- */

bool forward_upgrade_allowed(const struct http_head *head)
{
	struct str protocol = head->upgrade_protocol;
	struct str name;

	(void)str_cut(protocol, '/', &name);
	return head->upgrade && head->framing == HTTP_BODY_NONE && protocol.len > 0 &&
	       !memchr(protocol.p, ',', protocol.len) && !str_equal_nocase(name, STR_LIT("h2c")) &&
	       !str_equal_nocase(name, STR_LIT("h2")) && !str_equal_nocase(name, STR_LIT("http")) &&
	       !str_equal_nocase(name, STR_LIT("tls"));
}

/* Written anew, ours to say, or (Proxy) known to be mistaken for an environment variable by CGI programs. */
static const bool request_names_dropped[HTTP_NAME_COUNT] = {
    [HTTP_NAME_HOST] = true,      [HTTP_NAME_CONTENT_LENGTH] = true,
    [HTTP_NAME_EXPECT] = true,    [HTTP_NAME_TRANSFER_ENCODING] = true,
    [HTTP_NAME_PROXY] = true,     [HTTP_NAME_X_FORWARDED] = true,
    [HTTP_NAME_X_REAL_IP] = true, [HTTP_NAME_X_REQUEST_ID] = true,
    [HTTP_NAME_X_SCHEME] = true,  [HTTP_NAME_X_ORIGINAL_FORWARDED] = true,
    [HTTP_NAME_FORWARDED] = true,
};

/* Names we would have to mean: those a backend reads as one of ours, and what we say of client certificates.
 */
static bool is_spoof(const struct http_field *field)
{
	return field->underscore || (field->name.len > 11 && str_equal_nocase((struct str){field->name.p, 11},
									      STR_LIT("ssl-client-")));
}

/* With trust, what a proxy in front says beyond the fields we write ourselves is passed on
 * (X-Forwarded-Prefix ...). */
static bool is_trusted_extra(const struct http_field *field)
{
	static const char *const written[] = {"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port",
					      "X-Forwarded-Proto", "X-Forwarded-Scheme"};

	if (field->id == HTTP_NAME_FORWARDED)
		return true;
	if (field->id != HTTP_NAME_X_FORWARDED)
		return false;
	for (size_t i = 0; i < sizeof(written) / sizeof(written[0]); i++)
		if (str_equal_nocase(field->name, str_of(written[i])))
			return false;
	return true;
}

static bool request_field_passes(const struct http_field *field, const struct forward_request *how)
{
	if (http_field_is_hop_by_hop(field) || is_spoof(field))
		return false;
	if (field->id == HTTP_NAME_AUTHORIZATION)
		return !how->drop_authorization;
	return !in_set(request_names_dropped, field) || (how->trust && is_trusted_extra(field));
}

static void put_request_line(struct text *out, const struct http_head *head)
{
	text_str(out, head->method);
	text_char(out, ' ');
	text_str(out, head->path);
	if (head->query.p) {
		text_char(out, '?');
		text_str(out, head->query);
	}
	text_lit(out, " HTTP/1.1\r\n");
}

static void put_framing(struct text *out, enum http_framing framing, uint64_t content_length)
{
	switch (framing) {
	case HTTP_BODY_LENGTH:
		text_lit(out, "Content-Length: ");
		text_u64(out, content_length);
		text_lit(out, "\r\n");
		return;
	case HTTP_BODY_CHUNKED:
		text_lit(out, "Transfer-Encoding: chunked\r\n");
		return;
	case HTTP_BODY_NONE:
	case HTTP_BODY_UNTIL_CLOSE:
		return;
	}
}

static void put_upgrade(struct text *out, struct str protocol)
{
	text_lit(out, "Connection: upgrade\r\n");
	put_field(out, STR_LIT("Upgrade"), protocol);
}

/* Every X-Forwarded-For the client sent, as one list; nothing when it sent none. */
static void put_original_forwarded_for(struct text *out, const struct http_head *head)
{
	bool begun = false;

	for (unsigned i = 0; i < head->field_count; i++) {
		const struct http_field *field = &head->fields[i];

		if (field->id != HTTP_NAME_X_FORWARDED ||
		    !str_equal_nocase(field->name, STR_LIT("X-Forwarded-For")))
			continue;
		if (begun)
			text_lit(out, ", ");
		else
			text_lit(out, "X-Original-Forwarded-For: ");
		text_str(out, field->value);
		begun = true;
	}
	if (begun)
		text_lit(out, "\r\n");
}

static void put_host(struct text *out, const struct forward_identity *identity)
{
	if (identity->host.len > 0)
		text_str(out, identity->host);
	else
		text_addr(out, &identity->local);
	text_lit(out, "\r\n");
}

static void put_identity(struct text *out, const struct http_head *head, const struct forward_request *how)
{
	const struct forward_identity *identity = &how->identity;
	struct str scheme = identity->https ? STR_LIT("https") : STR_LIT("http");

	put_field(out, STR_LIT("X-Request-ID"), how->request_id);
	text_lit(out, "X-Real-IP: ");
	text_ip(out, &identity->client);
	text_lit(out, "\r\nX-Forwarded-For: ");
	text_ip(out, &identity->client);
	text_lit(out, "\r\n");
	text_lit(out, "X-Forwarded-Host: ");
	put_host(out, identity);
	text_lit(out, "X-Forwarded-Port: ");
	text_u64(out, identity->local.port);
	text_lit(out, "\r\n");
	put_field(out, STR_LIT("X-Forwarded-Proto"), scheme);
	put_field(out, STR_LIT("X-Forwarded-Scheme"), scheme);
	put_field(out, STR_LIT("X-Scheme"), scheme);
	put_original_forwarded_for(out, head);
}

size_t forward_request_bytes_max(const struct http_head *head, size_t head_len,
				 const struct forward_request *how)
{
	/* Each field may grow by the blank after its colon; forwarded lists may be written twice. */
	return 2 * head_len + 2 * (size_t)head->field_count + 2 * how->identity.host.len +
	       how->request_id.len + FIXED_BYTES;
}

void forward_request(struct text *out, const struct http_head *head, const struct forward_request *how)
{
	put_request_line(out, head);
	text_lit(out, "Host: ");
	put_host(out, &how->identity);
	for (unsigned i = 0; i < head->field_count; i++)
		if (request_field_passes(&head->fields[i], how))
			put_field(out, head->fields[i].name, head->fields[i].value);
	put_identity(out, head, how);
	put_framing(out, head->framing, head->content_length);
	if (how->upgrade)
		put_upgrade(out, head->upgrade_protocol);
	text_lit(out, "\r\n");
}

/* ---- responses ---- */

static const bool response_names_dropped[HTTP_NAME_COUNT] = {
    [HTTP_NAME_CONTENT_LENGTH] = true,
    [HTTP_NAME_TRANSFER_ENCODING] = true,
    [HTTP_NAME_SERVER] = true,
};

static bool response_field_passes(const struct http_field *field, bool replaces_hsts)
{
	if (http_field_is_hop_by_hop(field) || in_set(response_names_dropped, field))
		return false;
	return !(replaces_hsts && field->id == HTTP_NAME_STRICT_TRANSPORT_SECURITY);
}

static void put_status_line(struct text *out, const struct http_head *head)
{
	text_lit(out, "HTTP/1.1 ");
	text_u64(out, head->status);
	text_char(out, ' ');
	text_str(out, head->reason.len > 0 ? head->reason : str_of(http_reason(head->status)));
	text_lit(out, "\r\n");
}

static void put_response_fields(struct text *out, const struct http_head *head, bool replaces_hsts)
{
	for (unsigned i = 0; i < head->field_count; i++)
		if (response_field_passes(&head->fields[i], replaces_hsts))
			put_field(out, head->fields[i].name, head->fields[i].value);
}

enum http_framing forward_response_framing(const struct http_head *head, bool client_is_http10)
{
	switch (head->framing) {
	case HTTP_BODY_NONE:
	case HTTP_BODY_LENGTH:
		return head->framing;
	case HTTP_BODY_CHUNKED:
	case HTTP_BODY_UNTIL_CLOSE:
		return client_is_http10 ? HTTP_BODY_UNTIL_CLOSE : HTTP_BODY_CHUNKED;
	}
	return HTTP_BODY_NONE;
}

/* What GET would have had (RFC 9110 section 8.6); only as a number. */
static void put_length_of_head_answer(struct text *out, const struct http_head *head)
{
	const struct http_field *field = http_head_find(head, HTTP_NAME_CONTENT_LENGTH);
	uint64_t length;

	if (field && str_to_u64(field->value, INT64_MAX, &length) == 0)
		put_framing(out, HTTP_BODY_LENGTH, length);
}

static void put_connection(struct text *out, const struct forward_response *how)
{
	if (!how->keep_alive)
		text_lit(out, "Connection: close\r\n");
	else if (how->client_is_http10)
		text_lit(out, "Connection: keep-alive\r\n");
}

size_t forward_response_bytes_max(const struct http_head *head, size_t head_len,
				  const struct forward_response *how)
{
	return head_len + 2 * (size_t)head->field_count + how->hsts.len + how->date.len + FIXED_BYTES;
}

void forward_response(struct text *out, const struct http_head *head, const struct forward_response *how)
{
	put_status_line(out, head);
	put_response_fields(out, head, how->hsts.len > 0);
	if (how->date.len > 0 && !http_head_find(head, HTTP_NAME_DATE))
		put_field(out, STR_LIT("Date"), how->date);
	if (how->hsts.len > 0)
		put_field(out, STR_LIT("Strict-Transport-Security"), how->hsts);
	if (how->was_head || head->status == 304)
		put_length_of_head_answer(out, head);
	else
		put_framing(out, how->framing, head->content_length);
	put_connection(out, how);
	text_lit(out, "\r\n");
}

void forward_interim(struct text *out, const struct http_head *head)
{
	put_status_line(out, head);
	put_response_fields(out, head, false);
	if (head->status == 101)
		put_upgrade(out, head->upgrade_protocol);
	text_lit(out, "\r\n");
}
