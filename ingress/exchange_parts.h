/* The parts of an exchange, each in a file of its own, as they see each other. Nobody else includes this. */
#ifndef INGRESS_EXCHANGE_PARTS_H
#define INGRESS_EXCHANGE_PARTS_H

#include "ingress/exchange.h"
#include "ingress/upconn.h"
#include "ingress/worker_thread.h"

static inline struct str exchange_str(const struct exchange *x, struct span span)
{
	return span.len > 0 ? (struct str){x->head_block->data + span.at, span.len} : (struct str){"", 0};
}

static inline struct str exchange_request_id(const struct exchange *x)
{
	return x->has_own_id ? (struct str){x->own_id, sizeof(x->own_id)} : exchange_str(x, x->client_id);
}

static inline const struct ingress_settings *exchange_settings(const struct exchange *x)
{
	return generation_settings(x->generation);
}

static inline struct str exchange_hsts(const struct exchange *x)
{
	bool wanted = x->client->https && x->plan.host && x->plan.host->has_tls;

	return wanted ? str_of(x->generation->hsts) : (struct str){0};
}

/* Steps return whether something moved, so that another round may move more. */

/* ---- exchange_request.c: the request half ---- */
bool request_step(struct exchange *x, size_t *budget);
void request_give_up(struct exchange *x); /* its rest will not be read: the connection ends with the answer */
void request_body_begin(struct exchange *x); /* WAIT -> BODY */

/* ---- exchange_upstream.c: choosing, connecting, sending, trying again ---- */
void upstream_begin(struct exchange *x);
bool upstream_flush(struct exchange *x);
/* Tries again if that is allowed, else fails with `end`. */
void upstream_failed(struct exchange *x, enum exchange_end end);
/* Lets go of the connection; complete: the answer was read to its end. */
void upstream_leave(struct exchange *x, bool complete);
static inline size_t upstream_unsent(const struct exchange *x)
{
	return fifo_len(&x->to_upstream) - x->sent_bytes;
}
/* From now on what was sent is forgotten. */
void upstream_forget_sent(struct exchange *x);

/* ---- exchange_response.c: the response half ---- */
bool response_step(struct exchange *x, size_t *budget);
bool client_flush(struct exchange *x);

/* ---- exchange_answer.c: answers made here ---- */
void answer_end(struct exchange *x, enum exchange_end end);
void answer_refusal(struct exchange *x, unsigned status, const char *reason); /* of a head that is none */
void answer_redirect(struct exchange *x, const struct http_head *head);
void answer_healthy(struct exchange *x);

/* ---- exchange_record.c: what is remembered of it ---- */
void record_exchange(struct exchange *x);

#endif
