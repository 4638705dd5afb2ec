/* Counters, gauges and histograms, shown as Prometheus text (exposition format 0.0.4).
 *
 * Invariants
 *  1. A metric lives as long as its registry; the pointer returned is stable.
 *  2. add/set/observe may be called from any thread (relaxed atomics); register and render from the main one.
 *  3. The same name and labels give the same metric again; one name has one type and one help text. */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct metrics;
struct metric;

struct metrics *metrics_new(void);
struct metrics *metrics_free(struct metrics *metrics); /* returns NULL */

/* labels: "" or `code="200",method="GET"`, values already escaped (metrics_label_escape). NULL when out of
 * memory; every function below takes a NULL metric and does nothing. */
struct metric *metrics_counter(struct metrics *metrics, const char *name, const char *help,
			       const char *labels);
struct metric *metrics_gauge(struct metrics *metrics, const char *name, const char *help, const char *labels);
/* bounds: upper bounds, ascending, without +Inf; copied. */
struct metric *metrics_histogram(struct metrics *metrics, const char *name, const char *help,
				 const char *labels, const double *bounds, size_t bound_count);

void metric_add(struct metric *counter, uint64_t n);
void metric_set(struct metric *gauge, double value);
void metric_adjust(struct metric *gauge, double difference); /* what is counted up and down by many threads */
void metric_observe(struct metric *histogram, double value);

/* fn runs at each render, before the registered metrics: sets gauges or writes whole families itself.
 * 0 or -ENOMEM. */
int metrics_collector(struct metrics *metrics, void (*fn)(void *ctx, struct buf *out), void *ctx);
void metrics_collector_remove(struct metrics *metrics, void *ctx);

int metrics_render(struct metrics *metrics, struct buf *out); /* 0 or -ENOMEM */

/* Writes "# HELP" and "# TYPE" for a family that a collector writes itself. */
void metrics_family(struct buf *out, const char *name, const char *type, const char *help);
void metrics_label_escape(struct buf *out, struct str value);

#endif
