/* Between the flags, the functions that act on the host, and the log. */
#include "main/host.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "proxy/leftovers.h"
#include "proxy/proxy.h"

struct attempt {
	bool last, absent;
};

static void on_refused(void *ctx, const struct sysctl_wish *wish, int code)
{
	struct attempt *attempt = ctx;
	char path[256];

	if (code == -ENOENT && !attempt->last) {
		attempt->absent = true;
		return;
	}
	(void)snprintf(path, sizeof(path), "/%s", wish->path);
	log_warn("connection tracking is not as wanted", L_STR("file", path), L_INT("wanted", wish->value),
		 L_STR("reason", strerror(-code)));
}

static unsigned cpu_count(void)
{
	cpu_set_t cpus;

	return sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? (unsigned)CPU_COUNT(&cpus) : 1;
}

bool host_set_conntrack(const struct flags *flags, bool last)
{
	struct attempt attempt = {.last = last};
	struct sysctl_wish wishes[SYSCTL_WISHES_MAX];
	size_t count = sysctl_wishes(&flags->conntrack, cpu_count(), wishes);
	unsigned written = sysctl_apply("", wishes, count, on_refused, &attempt);

	if (written > 0)
		log_info("connection tracking set", L_INT("settings", written));
	return !attempt.absent;
}

void host_set_oom_score(const struct flags *flags)
{
	int code = flags->oom_score_adj ? sysctl_set_oom_score("", flags->oom_score_adj) : 0;

	if (code < 0)
		log_info("out-of-memory score not set", L_INT("wanted", flags->oom_score_adj),
			 L_STR("reason", strerror(-code)));
}

static void on_removed(void *ctx, const char *what, size_t count)
{
	(void)ctx;
	log_info("removed", L_STR("what", what), L_INT("count", count));
}

static void on_failed(void *ctx, const char *what, const char *why)
{
	(void)ctx;
	log_warn("not removed", L_STR("what", what), L_STR("reason", why));
}

static const struct leftovers_report report = {.removed = on_removed, .failed = on_failed};

void host_take_over(void)
{
	(void)leftovers_remove_by_netlink(&report);
}

int host_clean_up(struct err *err)
{
	int code = proxy_cleanup(err);
	/* Programs first: the device says whether IPVS was used. */
	unsigned failures = leftovers_remove_by_programs(&report) + leftovers_remove_by_netlink(&report);

	if (code == 0 && failures > 0)
		code = err_set(err, -EIO, "something is left, see the warnings before");
	return code;
}
