/* The service proxy's metrics: kube-proxy's names where it has one (service-proxy contract a.4), ours beside them. */
#ifndef PROXY_METERS_H
#define PROXY_METERS_H

#include "base/metrics.h"
#include "proxy/table.h"

struct meters {
	struct metric *sync_seconds[TABLE_COUNT], *sync_failures[TABLE_COUNT];
	struct metric *last_sync, *last_queued;
	struct metric *service_changes, *endpoint_changes;
	struct metric *services_pending, *services_refused;
	struct metric *services[TABLE_COUNT], *endpoints[TABLE_COUNT], *slots[TABLE_COUNT];
	struct metric *transactions[TABLE_COUNT], *operations[TABLE_COUNT];
	struct table_figures shown[TABLE_COUNT]; /* what the counters hold already */
	struct metric *repairs, *event_to_rule_seconds, *first_sync_seconds;
	struct metric *conntrack_seconds, *conntrack_deleted, *conntrack_deleted_kube;
};

/* metrics may be NULL: every metric is then NULL, which their functions take. */
void meters_init(struct meters *meters, struct metrics *metrics);
void meters_show_table(struct meters *meters, unsigned i, const struct table_figures *figures);

#endif
