/* Registers the metrics by name, help and labels. */
#include "proxy/meters.h"

static const char *const families[TABLE_COUNT] = {"ip_family=\"IPv4\"", "ip_family=\"IPv6\""};

#define BUCKET_COUNT 15

/* first, first * 2, first * 4 ... */
static struct metric *histogram(struct metrics *metrics, const char *name, const char *help,
				const char *labels, double first)
{
	double bounds[BUCKET_COUNT];

	for (size_t i = 0; i < BUCKET_COUNT; i++)
		bounds[i] = first * (double)(1u << i);
	return metrics_histogram(metrics, name, help, labels, bounds, BUCKET_COUNT);
}

static void init_family(struct meters *meters, struct metrics *metrics, unsigned i)
{
	const char *labels = families[i];

	meters->sync_seconds[i] = histogram(metrics, "kubeproxy_sync_proxy_rules_duration_seconds",
					    "Time of one synchronisation of the rules.", labels, 0.001);
	meters->sync_failures[i] =
	    metrics_counter(metrics, "kubeproxy_sync_proxy_rules_nftables_sync_failures_total",
			    "Transactions that the kernel refused.", labels);
	meters->services[i] =
	    metrics_gauge(metrics, "fairlead_proxy_services", "Services with rules in force.", labels);
	meters->endpoints[i] = metrics_gauge(metrics, "fairlead_proxy_endpoints",
					     "Endpoints in force, over all service ports.", labels);
	meters->slots[i] = metrics_gauge(metrics, "fairlead_proxy_slots_used",
					 "Slots of the endpoint map that are reserved.", labels);
	meters->transactions[i] =
	    metrics_counter(metrics, "fairlead_proxy_transactions_total", "Transactions committed.", labels);
	meters->operations[i] = metrics_counter(metrics, "fairlead_proxy_operations_total",
						"Operations in the transactions committed.", labels);
}

void meters_init(struct meters *meters, struct metrics *metrics)
{
	*meters = (struct meters){0};
	if (!metrics)
		return;
	for (unsigned i = 0; i < TABLE_COUNT; i++)
		init_family(meters, metrics, i);
	meters->last_sync = metrics_gauge(metrics, "kubeproxy_sync_proxy_rules_last_timestamp_seconds",
					  "Unix time of the last successful synchronisation.", "");
	meters->last_queued =
	    metrics_gauge(metrics, "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
			  "Unix time when a synchronisation was last asked for.", "");
	meters->service_changes = metrics_counter(metrics, "kubeproxy_sync_proxy_rules_service_changes_total",
						  "Changes of Services heard of.", "");
	meters->endpoint_changes =
	    metrics_counter(metrics, "kubeproxy_sync_proxy_rules_endpoint_changes_total",
			    "Changes of endpoint objects heard of.", "");
	meters->services_pending = metrics_gauge(metrics, "fairlead_proxy_services_pending",
						 "Services with changes that are not in force yet.", "");
	meters->services_refused =
	    metrics_gauge(metrics, "fairlead_proxy_services_refused",
			  "Services left out because the kernel refused their rules.", "");
	meters->repairs = metrics_counter(metrics, "fairlead_proxy_repairs_total",
					  "Changes that others made to our tables, repaired.", "");
	meters->event_to_rule_seconds =
	    histogram(metrics, "fairlead_proxy_event_to_rule_seconds",
		      "From hearing of a change to the rules for it in force.", "", 0.0001);
	meters->first_sync_seconds =
	    metrics_gauge(metrics, "fairlead_proxy_first_sync_seconds",
			  "From the first complete lists to the rules for them in force.", "");
	meters->conntrack_seconds = histogram(metrics, "kubeproxy_conntrack_reconciler_sync_duration_seconds",
					      "Time of one sweep over the UDP connections.", "", 0.001);
	meters->conntrack_deleted =
	    metrics_counter(metrics, "fairlead_proxy_conntrack_deleted_total",
			    "UDP connections forgotten since their server was gone.", "");
	meters->conntrack_deleted_kube =
	    metrics_counter(metrics, "kubeproxy_conntrack_reconciler_deleted_entries_total",
			    "UDP connections forgotten since their server was gone.", "");
}

void meters_show_table(struct meters *meters, unsigned i, const struct table_figures *figures)
{
	struct table_figures *shown = &meters->shown[i];

	metric_set(meters->services[i], (double)figures->services);
	metric_set(meters->endpoints[i], (double)figures->endpoints);
	metric_set(meters->slots[i], (double)figures->slots);
	metric_add(meters->transactions[i], figures->transactions - shown->transactions);
	metric_add(meters->operations[i], figures->operations - shown->operations);
	metric_add(meters->sync_failures[i], figures->failures - shown->failures);
	*shown = *figures;
}
