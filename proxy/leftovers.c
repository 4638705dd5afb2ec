/* Each kind of leftover is one part, tried on its own. */
#include "proxy/leftovers.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>

#include <libmnl/libmnl.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "nft/foreign_chains.h"
#include "nft/kernel.h"
#include "proxy/legacy_rules.h"
#include "proxy/program.h"

#define KUBE_PROXY_TABLE "kube-proxy"
#define IPVS_DEVICE      "kube-ipvs0"

static const int families[] = {AF_INET, AF_INET6};

/* kubelet's own, and the mark that plugins may still use. */
static const char *const kept_chains[] = {"KUBE-FIREWALL", "KUBE-MARK-DROP", "KUBE-MARK-MASQ",
					  "KUBE-KUBELET-CANARY", "KUBE-IPTABLES-HINT"};

bool leftovers_is_kube_proxys(const char *chain)
{
	for (size_t i = 0; i < ARRAY_LEN(kept_chains); i++)
		if (strcmp(chain, kept_chains[i]) == 0)
			return false;
	return strncmp(chain, "KUBE-", strlen("KUBE-")) == 0;
}

static unsigned failed(const struct leftovers_report *report, const char *what, const char *why)
{
	report->failed(report->ctx, what, why);
	return 1;
}

/* ---- nf_tables ---- */

static unsigned remove_tables(const struct leftovers_report *report)
{
	struct err err = {0};
	struct nft_kernel *kernel = nft_kernel_open(&err);
	unsigned failures = kernel ? 0 : failed(report, "kube-proxy's nftables tables", err.text);

	for (size_t i = 0; i < ARRAY_LEN(families) && kernel; i++) {
		const struct nft_table_id table = {families[i], KUBE_PROXY_TABLE};

		if (nft_kernel_delete_table(kernel, table, &err) < 0)
			failures += failed(report, "kube-proxy's nftables table", err.text);
	}
	(void)nft_kernel_close(kernel);
	return failures;
}

static unsigned remove_chains(const struct leftovers_report *report)
{
	static const char *const tables[] = {"nat", "filter", "mangle"};
	unsigned failures = 0;
	size_t total = 0;

	for (size_t i = 0; i < ARRAY_LEN(families) * ARRAY_LEN(tables); i++) {
		const struct nft_table_id table = {families[i % 2], tables[i / 2]};
		struct err err = {0};
		size_t count = 0;

		if (nft_foreign_chains_remove(table, leftovers_is_kube_proxys, &count, &err) < 0)
			failures += failed(report, "kube-proxy's iptables chains", err.text);
		total += count;
	}
	if (total > 0)
		report->removed(report->ctx, "kube-proxy's iptables chains", total);
	return failures;
}

/* ---- IPVS ---- */

static int delete_link(unsigned index)
{
	char room[4096];
	struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	struct nlmsghdr *message = mnl_nlmsg_put_header(room);
	struct ifinfomsg *info = mnl_nlmsg_put_extra_header(message, sizeof(*info));
	ssize_t len = -1;
	int code = 0;

	if (!socket)
		return -errno;
	message->nlmsg_type = RTM_DELLINK;
	message->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	info->ifi_family = AF_UNSPEC;
	info->ifi_index = (int)index;
	if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) == 0 &&
	    mnl_socket_sendto(socket, message, message->nlmsg_len) >= 0)
		len = mnl_socket_recvfrom(socket, room, sizeof(room));
	if (len < 0 || mnl_cb_run(room, (size_t)len, 0, mnl_socket_get_portid(socket), NULL, NULL) < 0)
		code = -errno;
	(void)mnl_socket_close(socket);
	return code;
}

static unsigned remove_ipvs_device(const struct leftovers_report *report)
{
	unsigned index = if_nametoindex(IPVS_DEVICE);
	int code = index ? delete_link(index) : 0;

	if (code < 0)
		return failed(report, "kube-proxy's IPVS device", strerror(-code));
	if (index)
		report->removed(report->ctx, "kube-proxy's IPVS device", 1);
	return 0;
}

unsigned leftovers_remove_by_netlink(const struct leftovers_report *report)
{
	return remove_tables(report) + remove_chains(report) + remove_ipvs_device(report);
}

/* ---- by other programs ---- */

static unsigned remove_legacy_rules(const struct leftovers_report *report, const char *save,
				    const char *restore)
{
	cleanup(buf_done) struct buf saved = {0}, script = {0};
	const char *const save_args[] = {save, NULL}, *const restore_args[] = {restore, "--noflush", NULL};
	size_t count = 0;
	int code = program_run(save_args, STR_LIT(""), &saved);

	if (code == -ENOENT)
		return 0;
	if (code == 0)
		code = legacy_rules_removal(buf_str(&saved), leftovers_is_kube_proxys, &script, &count);
	if (code == 0 && count > 0)
		code = program_run(restore_args, buf_str(&script), NULL);
	if (code < 0)
		return failed(report, "kube-proxy's legacy iptables chains", strerror(-code));
	if (count > 0)
		report->removed(report->ctx, "kube-proxy's legacy iptables chains", count);
	return 0;
}

/* Only where the device says that kube-proxy used IPVS: others' virtual services are not ours to remove. */
static unsigned remove_virtual_services(const struct leftovers_report *report)
{
	const char *const args[] = {"ipvsadm", "--clear", NULL};
	int code = if_nametoindex(IPVS_DEVICE) ? program_run(args, STR_LIT(""), NULL) : 0;

	if (code == -ENOENT)
		return failed(report, "kube-proxy's IPVS services", "ipvsadm is not installed here");
	return code < 0 ? failed(report, "kube-proxy's IPVS services", strerror(-code)) : 0;
}

unsigned leftovers_remove_by_programs(const struct leftovers_report *report)
{
	return remove_virtual_services(report) +
	       remove_legacy_rules(report, "iptables-legacy-save", "iptables-legacy-restore") +
	       remove_legacy_rules(report, "ip6tables-legacy-save", "ip6tables-legacy-restore");
}
