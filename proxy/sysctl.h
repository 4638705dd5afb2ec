/* The kernel's connection tracking, set up at start as kube-proxy does (service-proxy contract row 45): what should
 * be written is decided apart (pure) from writing it. */
#ifndef PROXY_SYSCTL_H
#define PROXY_SYSCTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conntrack_settings {
	uint32_t max_per_core, min; /* entries; max_per_core 0: leave the table's size */
	double tcp_established_s, tcp_close_wait_s, udp_s, udp_stream_s; /* 0: leave it */
	bool tcp_be_liberal;                                             /* false: leave it */
};

struct sysctl_wish {
	const char *path; /* below the root, "proc/sys/net/netfilter/nf_conntrack_max" */
	uint64_t value;
	bool only_raise; /* a larger value stays */
};

#define SYSCTL_WISHES_MAX 8

/* Fills ret, returns how many. */
size_t sysctl_wishes(const struct conntrack_settings *settings, unsigned cpu_count,
		     struct sysctl_wish ret[static SYSCTL_WISHES_MAX]);

/* Writes what is not so already; root is "" or where a test keeps its files. What cannot be read or written is told to
 * `refused` (code: negative errno) and passed over. Returns how many were written. */
typedef void sysctl_refused_fn(void *ctx, const struct sysctl_wish *wish, int code);
unsigned sysctl_apply(const char *root, const struct sysctl_wish *wishes, size_t count,
		      sysctl_refused_fn *refused, void *ctx);

/* This process's, on which the kernel's out-of-memory killer decides. 0 or -errno. */
int sysctl_set_oom_score(const char *root, int32_t score);

#endif
