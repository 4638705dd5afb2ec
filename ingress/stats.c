/* Counting per route, and the merged text of all workers' counts. */
#include "ingress/stats.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/metrics.h"

#define ANSWERS_MAX 256 /* (method, status) pairs of one route; an endpoint chooses its statuses freely */

static const double bounds[STATS_BUCKETS - 1] = {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10};
static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "other"};

/* How often a route answered one method with one status. */
struct answers {
	uint16_t status;
	uint8_t method;
	count_t count;
};

struct stats_route {
	char *labels;         /* host, namespace, ingress, service, path */
	char *ingress_labels; /* namespace, ingress */
	struct answers *answers;
	size_t answer_count;
	count_t duration_buckets[STATS_BUCKETS]; /* each alone, not cumulated */
	_Atomic double duration_sum_s;
};

static uint8_t method_index(struct str method)
{
	uint8_t i = 0;

	while (i < ARRAY_LEN(methods) - 1 && !str_is(method, methods[i]))
		i++;
	return i;
}

/* ---- one worker's tables ---- */

static struct stats_route *route_free(struct stats_route *counters)
{
	if (!counters)
		return NULL;
	free(counters->labels);
	free(counters->ingress_labels);
	free(counters->answers);
	free(counters);
	return NULL;
}
DEFINE_CLEANUP(struct stats_route *, route_free)

static void put_label(struct buf *out, const char *name, const char *value)
{
	if (buf_len(out) > 0)
		(void)buf_append_char(out, ',');
	(void)buf_printf(out, "%s=\"", name);
	metrics_label_escape(out, str_of(value));
	(void)buf_append_char(out, '"');
}

static char *ingress_labels(const struct route *route)
{
	cleanup(buf_done) struct buf text = {0};

	put_label(&text, "namespace", route ? route->ns : "");
	put_label(&text, "ingress", route ? route->ingress : "");
	return buf_take_text(&text);
}

static char *route_labels(const struct host *host, const struct route *route)
{
	cleanup(buf_done) struct buf text = {0};

	put_label(&text, "host", host ? host->name : "");
	put_label(&text, "namespace", route ? route->ns : "");
	put_label(&text, "ingress", route ? route->ingress : "");
	put_label(&text, "service", route ? route->service : "");
	put_label(&text, "path", route ? route->path : "");
	return buf_take_text(&text);
}

static struct stats_route *route_new(char *labels, const struct route *route)
{
	cleanup(route_free_p) struct stats_route *counters = calloc(1, sizeof(*counters));

	if (!counters) {
		free(labels);
		return NULL;
	}
	counters->labels = labels;
	counters->ingress_labels = ingress_labels(route);
	return counters->labels && counters->ingress_labels ? TAKE(counters) : NULL;
}

int stats_init(struct stats *stats)
{
	pthread_mutex_init(&stats->lock, NULL);
	stats->overflow = route_new(route_labels(NULL, NULL), NULL);
	if (!stats->overflow ||
	    map_set(&stats->routes_by_labels, str_of(stats->overflow->labels), stats->overflow, NULL) != 0) {
		stats->overflow = route_free(stats->overflow);
		pthread_mutex_destroy(&stats->lock);
		return -ENOMEM;
	}
	return 0;
}

void stats_done(struct stats *stats)
{
	for (struct map_iter it = map_begin(&stats->routes_by_labels); map_next(&it);)
		(void)route_free(it.value);
	map_done(&stats->routes_by_labels);
	pthread_mutex_destroy(&stats->lock);
}

static struct stats_route *route_add(struct stats *stats, char *labels, const struct route *route)
{
	cleanup(route_free_p) struct stats_route *counters = route_new(labels, route);
	int code;

	if (!counters)
		return stats->overflow;
	pthread_mutex_lock(&stats->lock);
	code = map_set(&stats->routes_by_labels, str_of(counters->labels), counters, NULL);
	pthread_mutex_unlock(&stats->lock);
	return code == 0 ? TAKE(counters) : stats->overflow;
}

static struct stats_route *route_find(struct stats *stats, const struct host *host, const struct route *route)
{
	cleanup_free char *labels = route_labels(host, route);
	struct stats_route *counters;

	if (!labels)
		return stats->overflow;
	counters = map_get(&stats->routes_by_labels, str_of(labels));
	if (counters)
		return counters;
	if (stats->routes_by_labels.count >= STATS_ROUTES_MAX)
		return stats->overflow;
	return route_add(stats, TAKE(labels), route);
}

static struct stats_route *route_cached(struct stats *stats, struct stats_cache *cache,
					const struct host *host, const struct route *route)
{
	size_t slot = ((uintptr_t)route / sizeof(*route)) % STATS_CACHE_SIZE;

	if (!route)
		return stats->overflow;
	if (cache->entries[slot].route != route) {
		cache->entries[slot].counters = route_find(stats, host, route);
		cache->entries[slot].route = route;
	}
	return cache->entries[slot].counters;
}

/* NULL when there are too many kinds of answers, or no memory. */
static struct answers *answers_add(struct stats *stats, struct stats_route *counters, uint8_t method,
				   uint16_t status)
{
	size_t count = counters->answer_count;
	struct answers *grown;

	if (count >= ANSWERS_MAX)
		return NULL;
	pthread_mutex_lock(&stats->lock);
	grown = realloc(counters->answers, (count + 1) * sizeof(*grown));
	if (grown) {
		grown[count] = (struct answers){.method = method, .status = status};
		counters->answers = grown;
		counters->answer_count++;
	}
	pthread_mutex_unlock(&stats->lock);
	return grown ? &grown[count] : NULL;
}

static struct answers *answers_find(struct stats *stats, struct stats_route *counters, uint8_t method,
				    uint16_t status)
{
	for (size_t i = 0; i < counters->answer_count; i++)
		if (counters->answers[i].status == status && counters->answers[i].method == method)
			return &counters->answers[i];
	return answers_add(stats, counters, method, status);
}

static void duration_add(struct stats_route *counters, double seconds)
{
	double sum = atomic_load_explicit(&counters->duration_sum_s, memory_order_relaxed);
	size_t bucket = 0;

	while (bucket < STATS_BUCKETS - 1 && seconds > bounds[bucket])
		bucket++;
	count_add(&counters->duration_buckets[bucket], 1);
	atomic_store_explicit(&counters->duration_sum_s, sum + seconds, memory_order_relaxed);
}

void stats_request(struct stats *stats, struct stats_cache *cache, const struct host *host,
		   const struct route *route, struct str method, unsigned status, double seconds)
{
	struct stats_route *counters = route_cached(stats, cache, host, route);
	struct answers *answers = answers_find(stats, counters, method_index(method), (uint16_t)status);

	if (answers)
		count_add(&answers->count, 1);
	duration_add(counters, seconds);
}

/* ---- all workers together ---- */

struct histogram {
	uint64_t buckets[STATS_BUCKETS];
	double sum_s;
};

struct sums {
	struct map requests;  /* labels -> uint64_t */
	struct map durations; /* labels -> struct histogram */
};

static void *sums_slot(struct map *map, struct str labels, size_t bytes)
{
	void *slot = map_get(map, labels);

	if (slot)
		return slot;
	slot = calloc(1, bytes);
	if (slot && map_set(map, labels, slot, NULL) != 0) {
		free(slot);
		return NULL;
	}
	return slot;
}

static void sum_answers(struct sums *sums, const struct stats_route *counters, const struct answers *answers)
{
	cleanup(buf_done) struct buf labels = {0};
	uint64_t *total;

	(void)buf_printf(&labels, "%s,method=\"%s\",status=\"%u\"", counters->labels,
			 methods[answers->method], answers->status);
	if (buf_failed(&labels))
		return;
	total = sums_slot(&sums->requests, buf_str(&labels), sizeof(*total));
	if (total)
		*total += count_get(&answers->count);
}

static void sum_route(struct sums *sums, const struct stats_route *counters)
{
	struct histogram *histogram;

	if (counters->answer_count == 0)
		return;
	for (size_t i = 0; i < counters->answer_count; i++)
		sum_answers(sums, counters, &counters->answers[i]);
	histogram = sums_slot(&sums->durations, str_of(counters->ingress_labels), sizeof(*histogram));
	if (!histogram)
		return;
	for (size_t i = 0; i < STATS_BUCKETS; i++)
		histogram->buckets[i] += count_get(&counters->duration_buckets[i]);
	histogram->sum_s += atomic_load_explicit(&counters->duration_sum_s, memory_order_relaxed);
}

static void sum_worker(struct sums *sums, struct stats *stats)
{
	pthread_mutex_lock(&stats->lock);
	for (struct map_iter it = map_begin(&stats->routes_by_labels); map_next(&it);)
		sum_route(sums, it.value);
	pthread_mutex_unlock(&stats->lock);
}

static void sums_done(struct sums *sums)
{
	for (struct map_iter it = map_begin(&sums->requests); map_next(&it);)
		free(it.value);
	for (struct map_iter it = map_begin(&sums->durations); map_next(&it);)
		free(it.value);
	map_done(&sums->requests);
	map_done(&sums->durations);
}

static void put_requests(struct buf *out, const struct map *requests)
{
	metrics_family(out, "nginx_ingress_controller_requests", "counter",
		       "Client requests by route, method and status");
	for (struct map_iter it = map_begin(requests); map_next(&it);)
		(void)buf_printf(out, "nginx_ingress_controller_requests{%.*s} %" PRIu64 "\n",
				 (int)it.key.len, it.key.p, *(uint64_t *)it.value);
}

static void put_histogram(struct buf *out, struct str labels, const struct histogram *histogram)
{
	static const char name[] = "nginx_ingress_controller_request_duration_seconds";
	int len = (int)labels.len;
	uint64_t total = 0;

	for (size_t i = 0; i < STATS_BUCKETS; i++) {
		total += histogram->buckets[i];
		(void)buf_printf(out, "%s_bucket{%.*s,le=\"", name, len, labels.p);
		if (i < STATS_BUCKETS - 1)
			(void)buf_printf(out, "%g", bounds[i]);
		else
			(void)buf_append_text(out, "+Inf");
		(void)buf_printf(out, "\"} %" PRIu64 "\n", total);
	}
	(void)buf_printf(out, "%s_sum{%.*s} %.6f\n", name, len, labels.p, histogram->sum_s);
	(void)buf_printf(out, "%s_count{%.*s} %" PRIu64 "\n", name, len, labels.p, total);
}

static void put_durations(struct buf *out, const struct map *durations)
{
	metrics_family(out, "nginx_ingress_controller_request_duration_seconds", "histogram",
		       "From the first byte of a request to the last byte of its answer");
	for (struct map_iter it = map_begin(durations); map_next(&it);)
		put_histogram(out, it.key, it.value);
}

struct totals {
	uint64_t accepted, closed, refused, begun, ended, connects, reuses, retries;
	uint64_t ends[EXCHANGE_END_COUNT];
};

static void total_worker(struct totals *totals, const struct stats *stats)
{
	totals->closed +=
	    count_get(&stats->connections_closed); /* before accepted: their difference is never negative */
	totals->accepted += count_get(&stats->connections_accepted);
	totals->refused += count_get(&stats->connections_refused);
	totals->ended += count_get(&stats->requests_ended);
	totals->begun += count_get(&stats->requests_begun);
	totals->connects += count_get(&stats->upstream_connects);
	totals->reuses += count_get(&stats->upstream_reuses);
	totals->retries += count_get(&stats->retries);
	for (size_t i = 0; i < EXCHANGE_END_COUNT; i++)
		totals->ends[i] += count_get(&stats->ends[i]);
}

static void put_number(struct buf *out, const char *name, const char *type, const char *help, uint64_t value)
{
	metrics_family(out, name, type, help);
	(void)buf_printf(out, "%s %" PRIu64 "\n", name, value);
}

static void put_connections(struct buf *out, const struct totals *totals)
{
	uint64_t active = totals->accepted - totals->closed;
	uint64_t busy = totals->begun - totals->ended;

	metrics_family(out, "nginx_ingress_controller_nginx_process_connections", "gauge",
		       "Client connections by state");
	(void)buf_printf(out,
			 "nginx_ingress_controller_nginx_process_connections{state=\"active\"} %" PRIu64 "\n"
			 "nginx_ingress_controller_nginx_process_connections{state=\"writing\"} %" PRIu64 "\n"
			 "nginx_ingress_controller_nginx_process_connections{state=\"waiting\"} %" PRIu64
			 "\n",
			 active, busy, (active > busy ? active - busy : 0));
	metrics_family(out, "nginx_ingress_controller_nginx_process_connections_total", "counter",
		       "Client connections accepted, and those of them that were served");
	(void)buf_printf(
	    out,
	    "nginx_ingress_controller_nginx_process_connections_total{state=\"accepted\"} %" PRIu64 "\n"
	    "nginx_ingress_controller_nginx_process_connections_total{state=\"handled\"} %" PRIu64 "\n",
	    (totals->accepted + totals->refused), totals->accepted);
	put_number(out, "nginx_ingress_controller_nginx_process_requests_total", "counter", "Client requests",
		   totals->begun);
}

static void put_upstream(struct buf *out, const struct totals *totals)
{
	metrics_family(out, "fairlead_ingress_upstream_requests_total", "counter",
		       "Requests sent to endpoints by the connection used");
	(void)buf_printf(out,
			 "fairlead_ingress_upstream_requests_total{connection=\"new\"} %" PRIu64 "\n"
			 "fairlead_ingress_upstream_requests_total{connection=\"reused\"} %" PRIu64 "\n",
			 totals->connects, totals->reuses);
	put_number(out, "fairlead_ingress_retries_total", "counter",
		   "Requests sent again, to another endpoint or over a fresh connection", totals->retries);
}

static void put_ends(struct buf *out, const struct totals *totals)
{
	metrics_family(out, "fairlead_ingress_exchange_ends_total", "counter",
		       "Requests by the reason they ended for");
	for (size_t i = 0; i < EXCHANGE_END_COUNT; i++)
		(void)buf_printf(out, "fairlead_ingress_exchange_ends_total{reason=\"%s\"} %" PRIu64 "\n",
				 exchange_end_name((enum exchange_end)i), totals->ends[i]);
}

void stats_collect(struct buf *out, struct stats *const *all, size_t count)
{
	struct totals totals = {0};
	struct sums sums = {0};

	for (size_t i = 0; i < count; i++) {
		total_worker(&totals, all[i]);
		sum_worker(&sums, all[i]);
	}
	put_requests(out, &sums.requests);
	put_durations(out, &sums.durations);
	put_connections(out, &totals);
	put_upstream(out, &totals);
	put_ends(out, &totals);
	sums_done(&sums);
}
