/* One request and its answer: two half machines, joined here.
 *
 *     request:   HEAD -> WAIT -> BODY -> DONE              response:   NONE -> HEAD -> BODY -> SENT
 *                  '- answered here -> DISCARD -> DONE                   '- answered here -----'
 *
 * The request half reads from the client and writes to the endpoint, the response half the other way round.
 * Each goes on as far as its own state and buffers allow.
 *
 * Invariants
 *  1. It ends through exchange_finish, once, with one reason (exchange_end.h).
 *  2. Nothing is retried once a byte of an answer came, or once the endpoint may have acted on a request that
 *     is not idempotent (RFC 9110 section 9.2.2).
 *  3. An answer begun and not complete ends in a way the client cannot take for its end. */
#ifndef INGRESS_EXCHANGE_H
#define INGRESS_EXCHANGE_H

#include "base/http1.h"
#include "ingress/access_record.h"
#include "ingress/auth.h"
#include "ingress/block.h"
#include "ingress/downstream.h"
#include "ingress/plan.h"
#include "ingress/relay.h"

struct worker;
struct generation;
struct upconn;

enum request_state {
	REQUEST_HEAD,    /* being read */
	REQUEST_WAIT,    /* the body waits for the password check or for a connection */
	REQUEST_BODY,    /* passes to the endpoint */
	REQUEST_DISCARD, /* is read and dropped: the answer is ours */
	REQUEST_DONE,
};

enum response_state {
	RESPONSE_NONE, /* nobody was asked yet */
	RESPONSE_HEAD, /* the endpoint was, or is being, asked */
	RESPONSE_BODY,
	RESPONSE_SENT, /* all of it is in the client's output or beyond */
};

/* A piece of the request head as received: its place in head_block. */
struct span {
	uint32_t at, len;
};

struct exchange {
	struct exchange *next_spare;
	struct worker *worker;
	struct downstream *client;
	struct generation *generation;
	struct upconn *up;
	struct plan plan;
	struct auth_query *auth_query;

	enum request_state request_state;
	enum response_state response_state;
	enum exchange_end end;
	bool over;       /* nothing more to do: exchange_finish */
	bool cut;        /* the client's connection cannot go on */
	bool unread;     /* part of the request was not read, and will not be */
	bool keep_alive; /* the client's connection may carry another request */
	bool answered;   /* the head of a final answer is out, or on its way */
	bool client_is_http10, is_head_request, is_idempotent, has_own_id;
	bool expects_continue; /* and was not told to go on yet */
	bool wants_upgrade, tunnel;
	bool upload_ended, download_ended; /* of a tunnel: the half close was passed on */
	bool replayable;                   /* to_upstream still begins with the first byte of the request */
	bool up_keep_alive;
	uint8_t interim_count;

	struct http1 request, response;
	struct relay upload, download;
	struct fifo to_upstream;
	uint32_t sent_bytes; /* of to_upstream: written, but kept for a replay */

	uint32_t turn; /* of the round robin */
	unsigned endpoint_tries;
	struct access_attempt attempts[ACCESS_ATTEMPTS_MAX];
	size_t attempt_count;
	double attempt_begun_s;

	double begun_s;
	double pace_since_s; /* the body's rate is judged from here on, */
	uint64_t pace_bytes; /* where so much had come */
	unsigned status;
	uint64_t request_bytes, written_bytes, answer_head_bytes;
	struct ip remote;
	struct block *head_block; /* the request head as received, */
	uint32_t head_end;        /* which ends there */
	struct span request_line, method, target, host, referer, user_agent, client_id;
	char own_id[REQUEST_ID_BYTES];
	char *user; /* of basic authentication */
};

enum exchange_step { EXCHANGE_WAITS, EXCHANGE_YIELDS, EXCHANGE_OVER };

/* On the first byte of a request. NULL when out of memory. */
struct exchange *exchange_new(struct downstream *client);
void exchange_free_spares(struct worker *worker);

/* Moves on; after EXCHANGE_OVER, exchange_finish. */
enum exchange_step exchange_run(struct exchange *x);

/* Counts, logs and frees; says what becomes of the client's connection. */
enum downstream_next exchange_finish(struct exchange *x);

/* Ends it for a reason from outside, with an answer if there was none yet and the client can take one. */
void exchange_fail(struct exchange *x, enum exchange_end end);
void exchange_upstream_expired(struct exchange *x);

/* What is wanted of the client's connection, and by when; due 0: no deadline. */
struct levels exchange_client_levels(const struct exchange *x);
double exchange_client_due_s(const struct exchange *x);
/* The same of the upstream connection, put into force. */
void exchange_watch_upstream(struct exchange *x, int events);

#endif
