/* Messages of any bytes: what they are taken for must not depend on how they were cut, and whatever we take as a whole
 * request llhttp must take with the same body. The first byte says what is read, the second how many cuts follow. */
/* LINK: base/http1.c base/http_syntax.c base/chunked.c base/addr.c base/buf.c base/str.c */
#include <stdint.h>
#include <stdlib.h>

#include <llhttp.h>

#include "base/http1.h"
#include "base/http_syntax.h"

#define CUTS_MAX     15
#define MESSAGES_MAX 8

enum { IS_RESPONSE = 1, TO_HEAD = 2, TO_CONNECT = 4 };

struct plan {
	unsigned kind;
	const uint8_t *cuts; /* lengths of the pieces, the rest is the last one */
	size_t cut_count;
	bool octets; /* instead: one octet at a time */
};

/* Everything a caller can see of a run over the input, as text. */
struct trace {
	struct buf text, trailers;
};

static void must(bool condition)
{
	if (!condition)
		abort();
}

/* How many bytes the reader has after the piece that begins at `given`. */
static size_t next_piece(const struct plan *plan, size_t given, size_t *cut, size_t len)
{
	size_t piece = plan->octets ? 1 : *cut < plan->cut_count ? plan->cuts[(*cut)++] : len - given;

	return piece < len - given ? given + piece : len;
}

static bool is_within(struct str slice, struct str bytes)
{
	return slice.p >= bytes.p && slice.p + slice.len <= bytes.p + bytes.len;
}

static void check_field(const struct http_field *field, struct str bytes)
{
	must(is_within(field->name, bytes) && is_within(field->value, bytes));
	must(http_is_token(field->name));
	must(http_name_of(field->name) == field->id);
	for (size_t i = 0; i < field->value.len; i++) {
		unsigned char c = (unsigned char)field->value.p[i];

		must(c == '\t' || (c >= 0x20 && c != 0x7f));
	}
}

static void trace_slice(struct trace *trace, struct str slice)
{
	(void)buf_printf(&trace->text, "%d:", slice.p != NULL);
	(void)buf_append_str(&trace->text, slice);
	(void)buf_append_char(&trace->text, '\n');
}

static void trace_head(struct trace *trace, const struct http_head *head, struct str bytes)
{
	const struct str slices[] = {head->method, head->target, head->scheme, head->host,
				     head->path,   head->query,  head->reason, head->upgrade_protocol};

	for (size_t i = 0; i < sizeof(slices) / sizeof(slices[0]); i++)
		trace_slice(trace, slices[i]);
	(void)buf_printf(&trace->text, "%u %u %d %llu %d%d%d\n", head->status, head->version_minor,
			 (int)head->framing, (unsigned long long)head->content_length, head->keep_alive,
			 head->expect_continue, head->upgrade);
	for (unsigned i = 0; i < head->field_count; i++) {
		check_field(&head->fields[i], bytes);
		trace_slice(trace, head->fields[i].name);
		trace_slice(trace, head->fields[i].value);
		(void)buf_printf(&trace->text, "%d%d\n", head->fields[i].nominated,
				 head->fields[i].underscore);
	}
}

static void trace_refusal(struct trace *trace, const struct http1 *parser)
{
	(void)buf_printf(&trace->text, "refused %u %s\n", parser->error_status, parser->error_reason);
}

/* Reads one message from `at` on; the offset after it, or 0 when it was refused or is incomplete. `given` is how far
 * the pieces handed out reach. */
static size_t read_message(const struct plan *plan, struct http1 *parser, struct str bytes, size_t at,
			   size_t *given, size_t *cut, struct trace *trace)
{
	struct http_head head;
	ssize_t len;
	bool done;

	if (plan->kind & TO_HEAD)
		http1_expect_response_to(parser, STR_LIT("HEAD"));
	if (plan->kind & TO_CONNECT)
		http1_expect_response_to(parser, STR_LIT("CONNECT"));
	while ((len = http1_head(parser, bytes.p + at, *given - at, &head)) == 0 && *given < bytes.len)
		*given = next_piece(plan, *given, cut, bytes.len);
	if (len <= 0) {
		if (len < 0)
			trace_refusal(trace, parser);
		return 0;
	}
	trace_head(trace, &head, bytes);
	http1_trailers(parser, &trace->trailers);
	at += (size_t)len;
	for (done = http1_done(parser); !done;) {
		struct str run;

		if (at == *given && *given == bytes.len)
			return 0;
		if (at == *given)
			*given = next_piece(plan, *given, cut, bytes.len);
		len = http1_body(parser, bytes.p + at, *given - at, &run, &done);
		if (len < 0) {
			trace_refusal(trace, parser);
			return 0;
		}
		must(is_within(run, bytes) && (size_t)len <= *given - at &&
		     (len > 0 || done || at == *given));
		(void)buf_append_str(&trace->text, run);
		at += (size_t)len;
	}
	return at;
}

static void read_all(const struct plan *plan, struct str bytes, struct trace *trace)
{
	size_t at = 0, given = 0, cut = 0;
	struct http1 parser;

	http1_init(&parser, plan->kind & IS_RESPONSE ? HTTP1_RESPONSE : HTTP1_REQUEST, NULL);
	given = next_piece(plan, 0, &cut, bytes.len);
	for (int i = 0; i < MESSAGES_MAX; i++) {
		size_t next = read_message(plan, &parser, bytes, at, &given, &cut, trace);

		if (next == 0)
			break;
		(void)buf_printf(&trace->text, "\nmessage ended at %zu\n", next);
		http1_next(&parser);
		at = next;
	}
	(void)buf_printf(&trace->text, "\nend: %d\n", http1_eof(&parser));
}

static void trace_done(struct trace *trace)
{
	buf_done(&trace->text);
	buf_done(&trace->trailers);
}

static void must_read_alike(const struct plan *one, const struct plan *other, struct str bytes)
{
	struct trace first = {0}, second = {0};

	read_all(one, bytes, &first);
	read_all(other, bytes, &second);
	must(!buf_failed(&first.text) && !buf_failed(&second.text));
	must(str_equal(buf_str(&first.text), buf_str(&second.text)));
	must(str_equal(buf_str(&first.trailers), buf_str(&second.trailers)));
	trace_done(&first);
	trace_done(&second);
}

/* ---- llhttp as a second reader of the first request ---- */

static int on_body(llhttp_t *llhttp, const char *at, size_t len)
{
	return buf_append(llhttp->data, at, len);
}

static int on_message_complete(llhttp_t *llhttp)
{
	return buf_append_text(llhttp->data, "<end>");
}

/* llhttp 8.1 refuses a chunk extension behind another one's value, and backslashes in quoted ones. */
static bool is_known_defect(llhttp_errno_t code, struct str bytes)
{
	return (code == HPE_INVALID_CHUNK_SIZE || code == HPE_STRICT) && memchr(bytes.p, ';', bytes.len);
}

static void llhttp_must_agree(struct str bytes, const struct buf *body)
{
	llhttp_settings_t settings;
	struct buf seen = {0};
	llhttp_t llhttp;
	llhttp_errno_t code;

	llhttp_settings_init(&settings);
	settings.on_body = on_body;
	settings.on_message_complete = on_message_complete;
	llhttp_init(&llhttp, HTTP_REQUEST, &settings);
	llhttp.data = &seen;
	code = llhttp_execute(&llhttp, bytes.p, bytes.len);
	if (is_known_defect(code, bytes)) {
		buf_done(&seen);
		return;
	}
	must(code == HPE_OK || code == HPE_PAUSED_UPGRADE);
	must(str_has_suffix(buf_str(&seen), STR_LIT("<end>")));
	must(str_equal((struct str){buf_head(&seen), buf_len(&seen) - strlen("<end>")}, buf_str(body)));
	buf_done(&seen);
}

static void whole_requests_must_be_whole_for_llhttp(struct str bytes)
{
	struct http_head head;
	struct http1 parser;
	struct buf body = {0};
	ssize_t len;
	size_t at;
	bool done;

	http1_init(&parser, HTTP1_REQUEST, NULL);
	len = http1_head(&parser, bytes.p, bytes.len, &head);
	if (len <= 0 || str_is(head.method, "CONNECT"))
		return; /* to llhttp, CONNECT never has a body */
	at = (size_t)len;
	for (done = http1_done(&parser); !done && at < bytes.len; at += (size_t)len) {
		struct str run;

		len = http1_body(&parser, bytes.p + at, bytes.len - at, &run, &done);
		if (len < 0)
			break;
		(void)buf_append_str(&body, run);
	}
	if (done)
		llhttp_must_agree((struct str){bytes.p, at}, &body);
	buf_done(&body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct plan whole = {0}, octets = {.octets = true}, cut = {0};
	struct str bytes;

	if (size < 2 || size < 2 + (size_t)(data[1] & CUTS_MAX))
		return 0;
	cut.kind = whole.kind = octets.kind = data[0] & (IS_RESPONSE | TO_HEAD | TO_CONNECT);
	cut.cuts = data + 2;
	cut.cut_count = data[1] & CUTS_MAX;
	bytes = (struct str){(const char *)data + 2 + cut.cut_count, size - 2 - cut.cut_count};
	must_read_alike(&whole, &cut, bytes);
	must_read_alike(&whole, &octets, bytes);
	if (!(whole.kind & IS_RESPONSE))
		whole_requests_must_be_whole_for_llhttp(bytes);
	return 0;
}
