/* Times and JSON as Go prints them. */
#include "main/health_text.h"

#include <stdio.h>

void health_append_time(struct buf *out, struct timespec time)
{
	char fraction[16];
	struct tm utc;
	size_t len;

	(void)gmtime_r(&time.tv_sec, &utc);
	len = (size_t)snprintf(fraction, sizeof(fraction), ".%09ld", time.tv_nsec);
	while (len > 0 && (fraction[len - 1] == '0' || fraction[len - 1] == '.')) {
		bool dot = fraction[--len] == '.';

		if (dot)
			break;
	}
	(void)buf_printf(out, "%04d-%02d-%02d %02d:%02d:%02d%.*s +0000 UTC", utc.tm_year + 1900,
			 utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, (int)len,
			 fraction);
}

/* To load balancers that look at its age, a healthy proxy was updated just now. */
static void append_times(struct buf *out, const struct health_verdict *verdict, bool good)
{
	(void)buf_append_text(out, "{\"lastUpdated\": \"");
	health_append_time(out, good ? verdict->now : verdict->updated);
	(void)buf_append_text(out, "\",\"currentTime\": \"");
	health_append_time(out, verdict->now);
	(void)buf_append_char(out, '"');
}

unsigned health_append_healthz(struct buf *out, const struct health_verdict *verdict)
{
	bool good = verdict->healthy && verdict->eligible;

	append_times(out, verdict, good);
	(void)buf_printf(out, ", \"nodeEligible\": %s}", verdict->eligible ? "true" : "false");
	return good ? 200 : 503;
}

unsigned health_append_livez(struct buf *out, const struct health_verdict *verdict)
{
	append_times(out, verdict, verdict->healthy);
	(void)buf_append_char(out, '}');
	return verdict->healthy ? 200 : 503;
}
