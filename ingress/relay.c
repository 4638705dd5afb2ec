/* Moving body bytes. */
#include "ingress/relay.h"

#include <errno.h>

#include "ingress/text.h"

#define CHUNK_OVERHEAD 24 /* size line and the CR LF after the data */
#define LAST_CHUNK_MAX 16
#define READ_MIN       1024

void relay_begin(struct relay *relay, struct http1 *parser, const struct http_head *head,
		 enum http_framing sink)
{
	*relay = (struct relay){
	    .source = head->framing, .sink = sink, .left_bytes = head->content_length, .parser = parser};
	if (head->framing == HTTP_BODY_CHUNKED)
		http1_trailers(parser, &relay->trailers);
}

void relay_begin_raw(struct relay *relay)
{
	*relay = (struct relay){.source = HTTP_BODY_UNTIL_CLOSE, .sink = HTTP_BODY_UNTIL_CLOSE};
}

void relay_done(struct relay *relay)
{
	buf_done(&relay->trailers);
}

/* ---- the sink ---- */

static size_t sink_overhead(const struct relay *relay)
{
	return relay->sink == HTTP_BODY_CHUNKED ? CHUNK_OVERHEAD : 0;
}

static size_t sink_room(const struct relay *relay, const struct fifo *out)
{
	size_t room = out->block ? fifo_room(out) : BLOCK_MEDIUM;

	if (relay->discard)
		return BLOCK_MEDIUM;
	return room > sink_overhead(relay) ? room - sink_overhead(relay) : 0;
}

static size_t block_size(const struct relay *relay, const struct block_pool *blocks)
{
	return relay->is_bulk && block_large_is_free(blocks) ? BLOCK_LARGE : BLOCK_MEDIUM;
}

bool relay_has_room(const struct relay *relay, const struct fifo *out)
{
	return sink_room(relay, out) > 0;
}

static bool sink_open(const struct relay *relay, const struct relay_ends *ends)
{
	return ends->out->block || fifo_reserve(ends->out, ends->blocks, block_size(relay, ends->blocks));
}

static void put_chunk(struct fifo *out, struct str payload)
{
	struct text text = {.p = out->block->data + out->tail, .end = out->block->data + out->block->size};
	const char *start = text.p;

	text_hex(&text, payload.len);
	text_lit(&text, "\r\n");
	text_str(&text, payload);
	text_lit(&text, "\r\n");
	fifo_commit(out, (size_t)(text.p - start));
}

/* payload fits: the caller asked sink_room. 0 or -ENOMEM. */
static int sink_put(struct relay *relay, const struct relay_ends *ends, struct str payload)
{
	relay->moved_bytes += payload.len;
	if (relay->discard || payload.len == 0)
		return 0;
	if (!sink_open(relay, ends))
		return -ENOMEM;
	if (relay->sink == HTTP_BODY_CHUNKED) {
		put_chunk(ends->out, payload);
		return 0;
	}
	return fifo_append(ends->out, ends->blocks, payload);
}

static enum relay_result relay_finish(struct relay *relay, const struct relay_ends *ends)
{
	struct str trailers = buf_str(&relay->trailers);

	relay->source = HTTP_BODY_NONE; /* asked again, it is still done */
	if (relay->discard || relay->sink != HTTP_BODY_CHUNKED)
		return RELAY_DONE;
	if (!fifo_reserve(ends->out, ends->blocks, trailers.len + LAST_CHUNK_MAX))
		return RELAY_NO_MEMORY;
	(void)fifo_append(ends->out, ends->blocks, STR_LIT("0\r\n"));
	(void)fifo_append(ends->out, ends->blocks, trailers);
	(void)fifo_append(ends->out, ends->blocks, STR_LIT("\r\n"));
	return RELAY_DONE;
}

static bool too_large(const struct relay *relay)
{
	return relay->max_bytes > 0 && relay->moved_bytes > relay->max_bytes;
}

/* ---- what was read already ---- */

static size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

static size_t within_body(const struct relay *relay, size_t len)
{
	if (relay->source != HTTP_BODY_LENGTH || len <= relay->left_bytes)
		return len;
	return (size_t)relay->left_bytes;
}

static enum relay_result move_plain(struct relay *relay, const struct relay_ends *ends)
{
	size_t len = within_body(relay, fifo_len(ends->in));
	size_t room = sink_room(relay, ends->out);

	if (len == 0)
		return RELAY_WAITS;
	if (room == 0)
		return RELAY_FULL;
	len = min_size(len, room);
	if (sink_put(relay, ends, (struct str){fifo_data(ends->in), len}) != 0)
		return RELAY_NO_MEMORY;
	fifo_consume(ends->in, ends->blocks, len);
	if (relay->source == HTTP_BODY_LENGTH)
		relay->left_bytes -= len;
	return too_large(relay) ? RELAY_TOO_LARGE : RELAY_WAITS;
}

/* Decodes a run at a time; what fits in before decoding fits in after. */
static enum relay_result move_chunked(struct relay *relay, const struct relay_ends *ends)
{
	struct str payload;
	ssize_t consumed;
	size_t room;
	bool done = false;

	while (fifo_len(ends->in) > 0 && !done) {
		room = sink_room(relay, ends->out);
		if (room == 0)
			return RELAY_FULL;
		consumed = http1_body(relay->parser, fifo_data(ends->in), min_size(fifo_len(ends->in), room),
				      &payload, &done);
		if (consumed < 0)
			return RELAY_BAD;
		if (sink_put(relay, ends, payload) != 0)
			return RELAY_NO_MEMORY;
		fifo_consume(ends->in, ends->blocks, (size_t)consumed);
		if (too_large(relay))
			return RELAY_TOO_LARGE;
	}
	return done ? relay_finish(relay, ends) : RELAY_WAITS;
}

static enum relay_result move_buffered(struct relay *relay, const struct relay_ends *ends)
{
	enum relay_result result = RELAY_WAITS;

	switch (relay->source) {
	case HTTP_BODY_NONE:
		return RELAY_DONE;
	case HTTP_BODY_CHUNKED:
		return move_chunked(relay, ends);
	case HTTP_BODY_LENGTH:
	case HTTP_BODY_UNTIL_CLOSE:
		do {
			result = move_plain(relay, ends);
		} while (result == RELAY_WAITS && within_body(relay, fifo_len(ends->in)) > 0);
		break;
	}
	if (result == RELAY_WAITS && relay->source == HTTP_BODY_LENGTH && relay->left_bytes == 0)
		return relay_finish(relay, ends);
	return result;
}

/* ---- reading ---- */

/* Straight into the sink; `in` is empty. */
static ssize_t read_through(struct relay *relay, const struct relay_ends *ends)
{
	size_t size;
	ssize_t n;

	if (!sink_open(relay, ends))
		return -ENOMEM;
	size = within_body(relay, sink_room(relay, ends->out));
	n = transport_read(ends->from, ends->out->block->data + ends->out->tail, size);
	if (n <= 0) {
		fifo_settle(ends->out, ends->blocks);
		return n;
	}
	fifo_commit(ends->out, (size_t)n);
	relay->is_bulk = (size_t)n == size;
	relay->moved_bytes += (uint64_t)n;
	if (relay->source == HTTP_BODY_LENGTH)
		relay->left_bytes -= (uint64_t)n;
	return n;
}

static ssize_t read_buffered(struct relay *relay, const struct relay_ends *ends)
{
	size_t size = within_body(relay, block_size(relay, ends->blocks));
	char *tail = fifo_reserve(ends->in, ends->blocks, size);
	ssize_t n;

	if (!tail)
		return -ENOMEM;
	n = transport_read(ends->from, tail, size);
	relay->is_bulk = n == (ssize_t)size;
	if (n > 0)
		fifo_commit(ends->in, (size_t)n);
	else
		fifo_settle(ends->in, ends->blocks);
	return n;
}

/* Less than a system call is worth, with more to come: better send what there is and begin a new block. */
static bool is_crumb(const struct relay *relay, const struct fifo *out)
{
	size_t room = sink_room(relay, out);

	return fifo_len(out) > 0 && room < READ_MIN && room < within_body(relay, READ_MIN);
}

static enum relay_result relay_read(struct relay *relay, const struct relay_ends *ends, size_t *budget)
{
	bool through =
	    relay->source != HTTP_BODY_CHUNKED && relay->sink != HTTP_BODY_CHUNKED && !relay->discard;
	ssize_t n;

	if (sink_room(relay, ends->out) == 0 || (through && is_crumb(relay, ends->out)))
		return RELAY_FULL;
	n = through ? read_through(relay, ends) : read_buffered(relay, ends);
	if (n == -EAGAIN)
		return RELAY_WAITS;
	if (n == -ENOMEM)
		return RELAY_NO_MEMORY;
	if (n < 0)
		return RELAY_CUT;
	if (n == 0)
		return relay->source == HTTP_BODY_UNTIL_CLOSE ? relay_finish(relay, ends) : RELAY_CUT;
	*budget -= min_size(*budget, (size_t)n);
	return too_large(relay) ? RELAY_TOO_LARGE : RELAY_YIELDS;
}

enum relay_result relay_run(struct relay *relay, const struct relay_ends *ends, size_t *budget)
{
	enum relay_result result;

	do {
		result = move_buffered(relay, ends);
		if (result != RELAY_WAITS)
			return result;
		if (ends->from->at_eof)
			return relay->source == HTTP_BODY_UNTIL_CLOSE ? relay_finish(relay, ends) : RELAY_CUT;
		if (!ends->from->readable)
			return RELAY_WAITS;
		if (*budget == 0)
			return RELAY_YIELDS;
		result = relay_read(relay, ends, budget);
	} while (result == RELAY_YIELDS);
	return result;
}
