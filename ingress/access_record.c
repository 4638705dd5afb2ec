/* Access log lines: ingress-nginx's default format and JSON. */
#include "ingress/access_record.h"

#include <errno.h>
#include <stdio.h>

#include "ingress/text.h"

#define LINE_FIXED_BYTES    1024 /* numbers, times, names of fields */
#define ATTEMPT_BYTES       (ADDR_TEXT_MAX + 96)
#define ESCAPED_BYTES_PER_1 4 /* \xXX */

void access_clock_set(struct access_clock *clock, time_t now)
{
	struct tm tm;

	if (clock->second == now && clock->local[0] != '\0')
		return;
	clock->second = now;
	if (!localtime_r(&now, &tm))
		memset(&tm, 0, sizeof(tm));
	(void)strftime(clock->local, sizeof(clock->local), "%d/%b/%Y:%H:%M:%S %z", &tm);
	(void)strftime(clock->iso, sizeof(clock->iso), "%Y-%m-%dT%H:%M:%S%z", &tm);
}

/* ---- ingress-nginx's format ---- */

static bool nginx_escapes(unsigned char c)
{
	return c == '"' || c == '\\' || c < 32 || c > 126;
}

static void put_escaped(struct text *text, struct str value)
{
	size_t from = 0;

	for (size_t i = 0; i < value.len; i++) {
		unsigned char c = (unsigned char)value.p[i];

		if (!nginx_escapes(c))
			continue;
		text_put(text, value.p + from, i - from);
		text_put(text, (char[]){'\\', 'x', "0123456789ABCDEF"[c >> 4], "0123456789ABCDEF"[c & 15]},
			 4);
		from = i + 1;
	}
	if (from < value.len)
		text_put(text, value.p + from, value.len - from);
}

static void put_value(struct text *text, struct str value)
{
	if (value.len == 0)
		text_char(text, '-');
	else
		put_escaped(text, value);
}

static void put_quoted(struct text *text, struct str value)
{
	text_lit(text, " \"");
	put_value(text, value);
	text_char(text, '"');
}

typedef void attempt_part_fn(struct text *text, const struct access_attempt *attempt);

static void attempt_addr(struct text *text, const struct access_attempt *attempt)
{
	text_addr(text, &attempt->addr);
}

static void attempt_bytes(struct text *text, const struct access_attempt *attempt)
{
	text_u64(text, attempt->response_bytes);
}

static void attempt_seconds(struct text *text, const struct access_attempt *attempt)
{
	text_seconds(text, attempt->response_s);
}

static void attempt_status(struct text *text, const struct access_attempt *attempt)
{
	if (attempt->status == 0)
		text_char(text, '-');
	else
		text_u64(text, attempt->status);
}

static void put_attempts(struct text *text, const struct access_record *record, attempt_part_fn *part)
{
	text_char(text, ' ');
	if (record->attempt_count == 0)
		text_char(text, '-');
	for (size_t i = 0; i < record->attempt_count; i++) {
		if (i > 0)
			text_lit(text, ", ");
		part(text, &record->attempts[i]);
	}
}

static size_t record_strings_bytes(const struct access_record *record)
{
	return record->user.len + record->request_line.len + record->referer.len + record->user_agent.len +
	       record->upstream_name.len + record->request_id.len;
}

int access_record_nginx(struct buf *out, const struct access_record *record, const struct access_clock *clock)
{
	size_t len_max = LINE_FIXED_BYTES + ESCAPED_BYTES_PER_1 * record_strings_bytes(record) +
			 ATTEMPT_BYTES * record->attempt_count;
	char *line = buf_reserve(out, len_max);
	struct text text;

	if (!line)
		return -ENOMEM;
	text = (struct text){.p = line, .end = line + len_max};
	text_ip(&text, &record->remote);
	text_lit(&text, " - ");
	put_value(&text, record->user);
	text_lit(&text, " [");
	text_str(&text, str_of(clock->local));
	text_char(&text, ']');
	put_quoted(&text, record->request_line);
	text_char(&text, ' ');
	text_u64(&text, record->status);
	text_char(&text, ' ');
	text_u64(&text, record->body_bytes_sent);
	put_quoted(&text, record->referer);
	put_quoted(&text, record->user_agent);
	text_char(&text, ' ');
	text_u64(&text, record->request_bytes);
	text_char(&text, ' ');
	text_seconds(&text, record->request_s);
	text_lit(&text, " [");
	text_str(&text, record->upstream_name);
	text_lit(&text, "] []");
	put_attempts(&text, record, attempt_addr);
	put_attempts(&text, record, attempt_bytes);
	put_attempts(&text, record, attempt_seconds);
	put_attempts(&text, record, attempt_status);
	text_char(&text, ' ');
	put_value(&text, record->request_id);
	text_char(&text, '\n');
	buf_commit(out, (size_t)(text.p - line));
	return 0;
}

/* ---- JSON ---- */

static void json_str(struct buf *out, const char *key, struct str value)
{
	if (value.len == 0)
		return;
	(void)buf_printf(out, ",\"%s\":\"", key);
	(void)buf_append_json(out, value);
	(void)buf_append_char(out, '"');
}

static void json_u64(struct buf *out, const char *key, uint64_t value)
{
	(void)buf_printf(out, ",\"%s\":%llu", key, (unsigned long long)value);
}

static void json_seconds(struct buf *out, const char *key, double seconds)
{
	(void)buf_printf(out, ",\"%s\":%.3f", key, seconds > 0 ? seconds : 0.0);
}

static void json_attempt(struct buf *out, const struct access_attempt *attempt)
{
	char addr[ADDR_TEXT_MAX];

	(void)buf_printf(out, "{\"addr\":\"%s\",\"status\":%u,\"bytes\":%llu,\"time\":%.3f}",
			 endpoint_addr_format(&attempt->addr, addr), attempt->status,
			 (unsigned long long)attempt->response_bytes, attempt->response_s);
}

static void json_attempts(struct buf *out, const struct access_record *record)
{
	if (record->attempt_count == 0)
		return;
	(void)buf_append_text(out, ",\"upstream\":[");
	for (size_t i = 0; i < record->attempt_count; i++) {
		if (i > 0)
			(void)buf_append_char(out, ',');
		json_attempt(out, &record->attempts[i]);
	}
	(void)buf_append_char(out, ']');
}

int access_record_json(struct buf *out, const struct access_record *record, const struct access_clock *clock)
{
	char remote[ADDR_TEXT_MAX];

	(void)buf_printf(out, "{\"time\":\"%s\",\"remote_addr\":\"%s\"", clock->iso,
			 ip_format(&record->remote, remote));
	json_str(out, "remote_user", record->user);
	json_str(out, "request_id", record->request_id);
	json_str(out, "scheme", record->https ? STR_LIT("https") : STR_LIT("http"));
	json_str(out, "method", record->method);
	json_str(out, "host", record->host);
	json_str(out, "target", record->target);
	json_str(out, "request", record->method.len == 0 ? record->request_line : (struct str){0});
	json_u64(out, "status", record->status);
	json_str(out, "end", str_of(record->end));
	json_u64(out, "body_bytes_sent", record->body_bytes_sent);
	json_u64(out, "request_length", record->request_bytes);
	json_seconds(out, "request_time", record->request_s);
	json_str(out, "referer", record->referer);
	json_str(out, "user_agent", record->user_agent);
	json_str(out, "namespace", record->ns);
	json_str(out, "ingress", record->ingress);
	json_str(out, "service", record->service);
	json_str(out, "upstream_name", record->upstream_name);
	json_attempts(out, record);
	(void)buf_append_text(out, "}\n");
	return buf_failed(out) ? -ENOMEM : 0;
}
