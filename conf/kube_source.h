/* source_kube_new of conf/source.h with times of the caller's choice, for tests. */
#ifndef CONF_KUBE_SOURCE_H
#define CONF_KUBE_SOURCE_H

#include "conf/kube_timing.h"
#include "conf/source.h"

/* timing: borrowed until the source is freed. */
struct source *source_kube_new_timed(struct ev_loop *loop, struct store *store,
				     const struct kube_config *config, const struct source_needs *needs,
				     struct metrics *metrics, const struct kube_timing *timing,
				     struct err *err);

#endif
