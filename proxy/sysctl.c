/* Decides on connection-tracking settings, and writes numbers into the kernel's files. */
#include "proxy/sysctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/str.h"

#define NETFILTER "proc/sys/net/netfilter/"
#define HASHSIZE  "sys/module/nf_conntrack/parameters/hashsize"
#define OOM_SCORE "proc/self/oom_score_adj"

#define ENTRIES_PER_BUCKET 4

static uint64_t table_size(const struct conntrack_settings *settings, unsigned cpu_count)
{
	uint64_t scaled = (uint64_t)settings->max_per_core * cpu_count;

	return scaled > settings->min ? scaled : settings->min;
}

size_t sysctl_wishes(const struct conntrack_settings *settings, unsigned cpu_count,
		     struct sysctl_wish ret[static SYSCTL_WISHES_MAX])
{
	uint64_t size = settings->max_per_core ? table_size(settings, cpu_count) : 0;
	const struct sysctl_wish all[SYSCTL_WISHES_MAX] = {
	    {NETFILTER "nf_conntrack_max", size, false},
	    {HASHSIZE, size / ENTRIES_PER_BUCKET, true},
	    {NETFILTER "nf_conntrack_tcp_be_liberal", settings->tcp_be_liberal, false},
	    {NETFILTER "nf_conntrack_tcp_timeout_established", (uint64_t)settings->tcp_established_s, false},
	    {NETFILTER "nf_conntrack_tcp_timeout_close_wait", (uint64_t)settings->tcp_close_wait_s, false},
	    {NETFILTER "nf_conntrack_udp_timeout", (uint64_t)settings->udp_s, false},
	    {NETFILTER "nf_conntrack_udp_timeout_stream", (uint64_t)settings->udp_stream_s, false},
	};
	size_t count = 0;

	for (size_t i = 0; i < SYSCTL_WISHES_MAX; i++)
		if (all[i].value > 0)
			ret[count++] = all[i];
	return count;
}

/* Open for `flags`, or a negative errno. */
static int open_below(const char *root, const char *path, int flags)
{
	char name[4096];
	int fd;

	if ((size_t)snprintf(name, sizeof(name), "%s/%s", root, path) >= sizeof(name))
		return -ENAMETOOLONG;
	fd = open(name, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int read_number(const char *root, const char *path, uint64_t *ret)
{
	cleanup_close int fd = open_below(root, path, O_RDONLY);
	char text[64];
	ssize_t len;

	if (fd < 0)
		return fd;
	len = read(fd, text, sizeof(text));
	return len < 0 ? -errno : str_to_u64(str_trim((struct str){text, (size_t)len}), UINT64_MAX, ret);
}

static int write_number(const char *root, const char *path, int64_t value)
{
	cleanup_close int fd = open_below(root, path, O_WRONLY);
	char text[32];
	int len = snprintf(text, sizeof(text), "%lld\n", (long long)value);

	if (fd < 0)
		return fd;
	return write(fd, text, (size_t)len) < 0 ? -errno : 0;
}

static int fulfil(const char *root, const struct sysctl_wish *wish, unsigned *written)
{
	uint64_t now = 0;
	int code = read_number(root, wish->path, &now);

	if (code < 0 || now == wish->value || (wish->only_raise && now > wish->value))
		return code;
	code = write_number(root, wish->path, (int64_t)wish->value);
	*written += code == 0;
	return code;
}

unsigned sysctl_apply(const char *root, const struct sysctl_wish *wishes, size_t count,
		      sysctl_refused_fn *refused, void *ctx)
{
	unsigned written = 0;

	for (size_t i = 0; i < count; i++) {
		int code = fulfil(root, &wishes[i], &written);

		if (code < 0)
			refused(ctx, &wishes[i], code);
	}
	return written;
}

int sysctl_set_oom_score(const char *root, int32_t score)
{
	return write_number(root, OOM_SCORE, score);
}
