/* The metrics registry: families of metrics told apart by labels, and their text form. */
#include "base/metrics.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/map.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct family {
	struct family *next; /* in the order of registration */
	char *name, *help;
	enum metric_type type;
	struct map metrics_by_labels;
	struct metric *first, **last_next;
};

struct metric {
	struct metric *next; /* in the order of registration */
	char *labels;
	_Atomic uint64_t count; /* counter */
	_Atomic double real;    /* gauge: value; histogram: sum of all observed */
	size_t bound_count;
	double *bounds;
	_Atomic uint64_t *buckets; /* bound_count + 1, the last one up to +Inf; each alone, not cumulated */
};

struct collector {
	struct collector *next;
	void (*fn)(void *ctx, struct buf *out);
	void *ctx;
};

struct metrics {
	struct map families_by_name;
	struct family *first, **last_next;
	struct collector *collectors;
};

static const char *type_name(enum metric_type type)
{
	switch (type) {
	case METRIC_COUNTER:
		return "counter";
	case METRIC_GAUGE:
		return "gauge";
	case METRIC_HISTOGRAM:
		return "histogram";
	}
	return "untyped";
}

struct metrics *metrics_new(void)
{
	struct metrics *metrics = calloc(1, sizeof(*metrics));

	if (metrics)
		metrics->last_next = &metrics->first;
	return metrics;
}

static struct metric *metric_free(struct metric *metric)
{
	if (!metric)
		return NULL;
	free(metric->labels);
	free(metric->bounds);
	free(metric->buckets);
	free(metric);
	return NULL;
}

static struct family *family_free(struct family *family)
{
	struct metric *metric = family->first;

	while (metric) {
		struct metric *next = metric->next;

		(void)metric_free(metric);
		metric = next;
	}
	map_done(&family->metrics_by_labels);
	free(family->name);
	free(family->help);
	free(family);
	return NULL;
}

DEFINE_CLEANUP(struct family *, family_free)

struct metrics *metrics_free(struct metrics *metrics)
{
	if (!metrics)
		return NULL;
	for (struct family *family = metrics->first, *next; family; family = next) {
		next = family->next;
		(void)family_free(family);
	}
	for (struct collector *collector = metrics->collectors, *next; collector; collector = next) {
		next = collector->next;
		free(collector);
	}
	map_done(&metrics->families_by_name);
	free(metrics);
	return NULL;
}

static struct family *family_get(struct metrics *metrics, const char *name, const char *help,
				 enum metric_type type)
{
	struct family *known = map_get(&metrics->families_by_name, str_of(name));
	cleanup(family_free_p) struct family *family = NULL;

	if (known) {
		assert(known->type == type);
		return known;
	}
	family = calloc(1, sizeof(*family));
	if (!family)
		return NULL;
	family->type = type;
	family->last_next = &family->first;
	family->name = str_dup(str_of(name));
	family->help = str_dup(str_of(help));
	if (!family->name || !family->help ||
	    map_set(&metrics->families_by_name, str_of(name), family, NULL) != 0)
		return NULL;
	*metrics->last_next = family;
	metrics->last_next = &family->next;
	return TAKE(family);
}

static int metric_set_bounds(struct metric *metric, const double *bounds, size_t bound_count)
{
	metric->bounds = calloc(bound_count + 1, sizeof(*metric->bounds));
	metric->buckets = calloc(bound_count + 1, sizeof(*metric->buckets));
	if (!metric->bounds || !metric->buckets)
		return -ENOMEM;
	for (size_t i = 0; i < bound_count; i++)
		metric->bounds[i] = bounds[i];
	metric->bound_count = bound_count;
	return 0;
}

static int metric_init(struct metric *metric, struct family *family, const char *labels)
{
	metric->labels = str_dup(str_of(labels));
	if (!metric->labels)
		return -ENOMEM;
	return map_set(&family->metrics_by_labels, str_of(labels), metric, NULL);
}

static struct metric *metric_new(struct family *family, const char *labels, const double *bounds,
				 size_t bound_count)
{
	struct metric *metric = calloc(1, sizeof(*metric));

	if (!metric || metric_set_bounds(metric, bounds, bound_count) != 0 ||
	    metric_init(metric, family, labels) != 0)
		return metric_free(metric);
	*family->last_next = metric;
	family->last_next = &metric->next;
	return metric;
}

static struct metric *metric_get(struct family *family, const char *labels, const double *bounds,
				 size_t bound_count)
{
	struct metric *known;

	if (!family)
		return NULL;
	known = map_get(&family->metrics_by_labels, str_of(labels));
	return known ? known : metric_new(family, labels, bounds, bound_count);
}

struct metric *metrics_counter(struct metrics *metrics, const char *name, const char *help,
			       const char *labels)
{
	return metric_get(family_get(metrics, name, help, METRIC_COUNTER), labels, NULL, 0);
}

struct metric *metrics_gauge(struct metrics *metrics, const char *name, const char *help, const char *labels)
{
	return metric_get(family_get(metrics, name, help, METRIC_GAUGE), labels, NULL, 0);
}

struct metric *metrics_histogram(struct metrics *metrics, const char *name, const char *help,
				 const char *labels, const double *bounds, size_t bound_count)
{
	return metric_get(family_get(metrics, name, help, METRIC_HISTOGRAM), labels, bounds, bound_count);
}

static void real_add(_Atomic double *sum, double difference)
{
	double before = atomic_load_explicit(sum, memory_order_relaxed);

	while (!atomic_compare_exchange_weak_explicit(sum, &before, before + difference, memory_order_relaxed,
						      memory_order_relaxed))
		;
}

void metric_add(struct metric *counter, uint64_t n)
{
	if (counter)
		(void)atomic_fetch_add_explicit(&counter->count, n, memory_order_relaxed);
}

void metric_set(struct metric *gauge, double value)
{
	if (gauge)
		atomic_store_explicit(&gauge->real, value, memory_order_relaxed);
}

void metric_adjust(struct metric *gauge, double difference)
{
	if (gauge)
		real_add(&gauge->real, difference);
}

void metric_observe(struct metric *histogram, double value)
{
	size_t i = 0;

	if (!histogram)
		return;
	while (i < histogram->bound_count && !(value <= histogram->bounds[i]))
		i++;
	(void)atomic_fetch_add_explicit(&histogram->buckets[i], 1, memory_order_relaxed);
	real_add(&histogram->real, value);
}

int metrics_collector(struct metrics *metrics, void (*fn)(void *ctx, struct buf *out), void *ctx)
{
	struct collector **end = &metrics->collectors;
	struct collector *collector = malloc(sizeof(*collector));

	if (!collector)
		return -ENOMEM;
	while (*end)
		end = &(*end)->next;
	*collector = (struct collector){.fn = fn, .ctx = ctx};
	*end = collector;
	return 0;
}

void metrics_collector_remove(struct metrics *metrics, void *ctx)
{
	struct collector **at = &metrics->collectors;

	while (*at) {
		struct collector *collector = *at;

		if (collector->ctx == ctx) {
			*at = collector->next;
			free(collector);
		} else {
			at = &collector->next;
		}
	}
}

/* The shortest of the two forms that reads back as the same number. */
static void append_real(struct buf *out, double value)
{
	char text[40];

	if (isnan(value)) {
		(void)buf_append_text(out, "NaN");
	} else if (isinf(value)) {
		(void)buf_append_text(out, value > 0 ? "+Inf" : "-Inf");
	} else {
		(void)snprintf(text, sizeof(text), "%.15g", value);
		if (strtod(text, NULL) < value || strtod(text, NULL) > value)
			(void)snprintf(text, sizeof(text), "%.17g", value);
		(void)buf_append_text(out, text);
	}
}

static void append_sample_name(struct buf *out, const struct family *family, const char *suffix,
			       const struct metric *metric)
{
	(void)buf_printf(out, metric->labels[0] ? "%s%s{%s} " : "%s%s ", family->name, suffix,
			 metric->labels);
}

static void render_histogram(struct buf *out, const struct family *family, const struct metric *metric)
{
	uint64_t count = 0;

	for (size_t i = 0; i <= metric->bound_count; i++) {
		count += atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
		(void)buf_printf(out, "%s_bucket{%s%sle=\"", family->name, metric->labels,
				 metric->labels[0] ? "," : "");
		append_real(out, i < metric->bound_count ? metric->bounds[i] : INFINITY);
		(void)buf_printf(out, "\"} %llu\n", (unsigned long long)count);
	}
	append_sample_name(out, family, "_sum", metric);
	append_real(out, atomic_load_explicit(&metric->real, memory_order_relaxed));
	(void)buf_append_char(out, '\n');
	append_sample_name(out, family, "_count", metric);
	(void)buf_printf(out, "%llu\n", (unsigned long long)count);
}

static void render_metric(struct buf *out, const struct family *family, const struct metric *metric)
{
	switch (family->type) {
	case METRIC_COUNTER:
		append_sample_name(out, family, "", metric);
		(void)buf_printf(
		    out, "%llu\n",
		    (unsigned long long)atomic_load_explicit(&metric->count, memory_order_relaxed));
		return;
	case METRIC_GAUGE:
		append_sample_name(out, family, "", metric);
		append_real(out, atomic_load_explicit(&metric->real, memory_order_relaxed));
		(void)buf_append_char(out, '\n');
		return;
	case METRIC_HISTOGRAM:
		render_histogram(out, family, metric);
		return;
	}
}

int metrics_render(struct metrics *metrics, struct buf *out)
{
	for (const struct collector *collector = metrics->collectors; collector; collector = collector->next)
		collector->fn(collector->ctx, out);
	for (const struct family *family = metrics->first; family; family = family->next) {
		if (family->first)
			metrics_family(out, family->name, type_name(family->type), family->help);
		for (const struct metric *metric = family->first; metric; metric = metric->next)
			render_metric(out, family, metric);
	}
	return buf_failed(out) ? -ENOMEM : 0;
}

static void append_escaped(struct buf *out, struct str text, bool escape_quotes)
{
	for (size_t i = 0; i < text.len; i++) {
		char c = text.p[i];

		if (c == '\n')
			(void)buf_append_text(out, "\\n");
		else if (c == '\\' || (c == '"' && escape_quotes))
			(void)buf_printf(out, "\\%c", c);
		else
			(void)buf_append_char(out, c);
	}
}

void metrics_family(struct buf *out, const char *name, const char *type, const char *help)
{
	(void)buf_printf(out, "# HELP %s ", name);
	append_escaped(out, str_of(help), false);
	(void)buf_printf(out, "\n# TYPE %s %s\n", name, type);
}

void metrics_label_escape(struct buf *out, struct str value)
{
	append_escaped(out, value, true);
}
