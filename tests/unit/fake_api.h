/* A fake API server for faults no real one shows on demand: real TLS over loopback sockets, on the test's own loop,
 * saying what a script tells it to, byte for byte. It knows nothing of Kubernetes. */
#ifndef TESTS_UNIT_FAKE_API_H
#define TESTS_UNIT_FAKE_API_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "conf/kubeconfig.h"

#define FAKE_REQUESTS_MAX 4096

struct fake_api;

/* How a streamed answer goes on after its first text. */
enum fake_after {
	FAKE_HOLD, /* stays open, for fake_push */
	FAKE_END,  /* ends in order */
	FAKE_CUT,  /* the connection closes in the middle */
};

/* What is said to the first request from now on whose "METHOD path?query" contains `match`. */
struct fake_step {
	const char *match;
	unsigned status;
	const char *headers; /* extra lines, each with CRLF; NULL: none */
	const char *body;
	bool streamed; /* chunked, as watches are; else with its length */
	enum fake_after after;
	bool forever;     /* not used up */
	bool drip;        /* one byte at a time */
	bool silent;      /* says nothing at all and stays */
	bool close_now;   /* closes instead of answering */
	size_t cut_bytes; /* closes after so many bytes of the body; 0: says all */
};

struct fake_request {
	char *line;          /* "GET /api/v1/services?limit=500" */
	char *authorization; /* "" when absent */
	char *body;
	uint64_t certificate; /* a digest of the client's; 0 when it showed none */
	ev_tstamp at;
	unsigned connection; /* its number, from 1 */
};

struct fake_api *fake_api_start(struct ev_loop *loop);
struct fake_api *fake_api_stop(struct fake_api *fake);

/* The listening socket closes and every connection with it; then it opens again on the same port. */
void fake_api_die(struct fake_api *fake);
void fake_api_revive(struct fake_api *fake);
void fake_api_close_idle(struct fake_api *fake); /* connections without a request under way */

/* Copied. Later steps win over those that are forever, earlier ones over later ones otherwise. */
void fake_say(struct fake_api *fake, struct fake_step step);
void fake_forget(struct fake_api *fake); /* all steps */
/* Credentials other than these get 401; NULL: all are welcome. */
void fake_require(struct fake_api *fake, const char *authorization);

/* Into each held stream whose request contains match; returns how many there were. */
unsigned fake_push(struct fake_api *fake, const char *match, const char *text);
unsigned fake_end(struct fake_api *fake, const char *match, enum fake_after after);

/* Requests so far whose line contains match. */
unsigned fake_count(const struct fake_api *fake, const char *match);
const struct fake_request *fake_nth(const struct fake_api *fake, const char *match, unsigned n); /* from 0 */
unsigned fake_connections(const struct fake_api *fake); /* accepted so far */
unsigned fake_open_streams(const struct fake_api *fake);

bool fake_is_at_work(void); /* its code is on the stack: what is allocated now is its own */

uint16_t fake_port(const struct fake_api *fake);
const char *fake_ca(const struct fake_api *fake);  /* PEM: its certificate, its own authority */
const char *fake_key(const struct fake_api *fake); /* PEM: that certificate's key */

/* A kubeconfig for it; user: the fields of the user's entry as flow YAML, "{token: x}". */
struct kube_config *fake_kubeconfig(const struct fake_api *fake, const char *user);

#endif
