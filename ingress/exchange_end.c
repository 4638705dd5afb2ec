/* The words and statuses of the reasons an exchange ends for. */
#include "ingress/exchange_end.h"

static const struct {
	const char *name;
	unsigned status;
} ends[EXCHANGE_END_COUNT] = {
    [EXCHANGE_OK] = {"ok", 200},
    [EXCHANGE_REDIRECTED] = {"redirected", 308},
    [EXCHANGE_UNAUTHORIZED] = {"unauthorized", 401},
    [EXCHANGE_AUTH_BUSY] = {"auth_busy", 503},
    [EXCHANGE_DENIED] = {"denied", 503},
    [EXCHANGE_NO_ROUTE] = {"no_route", 404},
    [EXCHANGE_NO_ENDPOINT] = {"no_endpoint", 503},
    [EXCHANGE_METHOD_NOT_ALLOWED] = {"method_not_allowed", 405},
    [EXCHANGE_BAD_REQUEST] = {"bad_request", 400},
    [EXCHANGE_BODY_TOO_LARGE] = {"body_too_large", 413},
    [EXCHANGE_CLIENT_CLOSED] = {"client_closed", 499},
    [EXCHANGE_CLIENT_TIMEOUT] = {"client_timeout", 408},
    [EXCHANGE_UPSTREAM_REFUSED] = {"upstream_refused", 502},
    [EXCHANGE_UPSTREAM_TIMEOUT] = {"upstream_timeout", 504},
    [EXCHANGE_UPSTREAM_RESET] = {"upstream_reset", 502},
    [EXCHANGE_UPSTREAM_BAD] = {"upstream_bad", 502},
    [EXCHANGE_SHUTDOWN] = {"shutdown", 503},
    [EXCHANGE_NO_MEMORY] = {"no_memory", 503},
};

const char *exchange_end_name(enum exchange_end end)
{
	return ends[end].name;
}

unsigned exchange_end_status(enum exchange_end end)
{
	return ends[end].status;
}
