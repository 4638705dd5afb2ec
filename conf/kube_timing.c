/* The Kubernetes client's times: the defaults. */
#include "conf/kube_timing.h"

const struct kube_timing kube_default_timing = {
    .connect_s = 5,
    .head_s = 30,
    .answer_s = 60,
    .idle_s = 50,
    .silence_s = 30,
    .watch_least_s = 300,
    .watch_most_s = 600,
    .watch_grace_s = 30,
    .retry_first_s = 0.8,
    .retry_most_s = 30,
    .apart_s = 1,
    .lived_s = 5,
    .probe_s = 1,
    .absent_s = 300,
    .poll_s = 10,
    .token_file_s = 60,
    .exec_s = 60,
    .exec_apart_s = 5,
};
