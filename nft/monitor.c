/* What others do to our tables: notifications of nf_tables, ours filtered out by the socket itself. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "nft/decode.h"
#include "nft/kernel.h"
#include "nft/monitor.h"
#include "nft/socket.h"

#define RECEIVE_ROOM_BYTES (8 * 1024 * 1024)

struct nft_monitor {
	struct nft_kernel *kernel;         /* NULL: none's */
	struct nft_foreign_change pending; /* of a transaction whose generation message is still to come */
	struct nft_socket socket;
};

/* All messages of a datagram are of one transaction, so the port in the first tells. */
static int drop_own(int fd, uint32_t own_port)
{
	struct sock_filter code[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_pid)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(own_port), 0, 1), /* loads are big-endian */
	    BPF_STMT(BPF_RET | BPF_K, 0),
	    BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};
	struct sock_fprog program = {.len = ARRAY_LEN(code), .filter = code};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0 ? 0 : -errno;
}

struct nft_monitor *nft_monitor_open_for_all(struct err *err)
{
	struct nft_monitor *monitor = calloc(1, sizeof(*monitor));

	if (!monitor) {
		(void)err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	if (nft_socket_open(&monitor->socket, 1u << (NFNLGRP_NFTABLES - 1), err) != 0)
		return nft_monitor_close(monitor);
	nft_socket_receive_room(&monitor->socket, RECEIVE_ROOM_BYTES);
	return monitor;
}

struct nft_monitor *nft_monitor_open(struct nft_kernel *kernel, struct err *err)
{
	struct nft_monitor *monitor = nft_monitor_open_for_all(err);
	int result;

	if (!monitor)
		return NULL;
	result = drop_own(monitor->socket.fd, nft_kernel_socket(kernel)->port);
	if (result != 0) {
		(void)err_set(err, result, "nftables notifications: %s", strerror(-result));
		return nft_monitor_close(monitor);
	}
	monitor->kernel = kernel;
	nft_kernel_set_monitor(kernel, monitor);
	return monitor;
}

struct nft_monitor *nft_monitor_close(struct nft_monitor *monitor)
{
	if (!monitor)
		return NULL;
	if (monitor->kernel)
		nft_kernel_set_monitor(monitor->kernel, NULL);
	nft_socket_close(&monitor->socket);
	free(monitor);
	return NULL;
}

static void set_membership(const struct nft_monitor *monitor, int option)
{
	const int group = NFNLGRP_NFTABLES;

	(void)setsockopt(monitor->socket.fd, SOL_NETLINK, option, &group, sizeof(group));
}

void nft_monitor_pause(struct nft_monitor *monitor)
{
	set_membership(monitor, NETLINK_DROP_MEMBERSHIP);
}

void nft_monitor_resume(struct nft_monitor *monitor)
{
	set_membership(monitor, NETLINK_ADD_MEMBERSHIP);
}

/* Netlink's own word for it, sent to ourselves. */
void nft_monitor_tell_loss(struct nft_monitor *monitor)
{
	const struct nlmsghdr lost = {.nlmsg_len = NLMSG_HDRLEN, .nlmsg_type = NLMSG_OVERRUN};
	const struct sockaddr_nl self = {.nl_family = AF_NETLINK, .nl_pid = monitor->socket.port};

	(void)sendto(monitor->socket.fd, &lost, sizeof(lost), 0, (const struct sockaddr *)&self,
		     sizeof(self));
}

int nft_monitor_fd(const struct nft_monitor *monitor)
{
	return monitor->socket.fd;
}

/* Adds what a whole transaction did, and who it was. */
static void note_generation(struct nft_foreign_change *change, struct nft_foreign_change *pending,
			    const struct nft_notification *generation)
{
	if (pending->changed) {
		change->changed = true;
		change->table_deleted |= pending->table_deleted;
		change->ip |= pending->ip;
		change->ip6 |= pending->ip6;
		change->pid = generation->pid;
		memcpy(change->process, generation->process, sizeof(change->process));
	}
	*pending = (struct nft_foreign_change){0};
}

static void note_message(struct nft_monitor *monitor, const char *table, const struct nlmsghdr *message,
			 struct nft_foreign_change *change)
{
	struct nft_foreign_change *pending = &monitor->pending;
	struct nft_notification notification;

	change->lost |= message->nlmsg_type == NLMSG_OVERRUN;
	if (nft_decode_notification(message, &notification) != 0)
		return;
	if (notification.is_generation) {
		note_generation(change, pending, &notification);
	} else if (strcmp(notification.table, table) == 0) {
		pending->changed = true;
		pending->table_deleted |= notification.is_table_deletion;
		pending->ip |= notification.family == NFPROTO_IPV4;
		pending->ip6 |= notification.family == NFPROTO_IPV6;
	}
}

int nft_monitor_read(struct nft_monitor *monitor, const char *table, struct nft_foreign_change *ret)
{
	struct nft_foreign_change change = {.pid = 0};
	const struct nlmsghdr *message;
	struct str datagram;
	int result;

	while ((result = nft_socket_receive(&monitor->socket, &datagram, &change.lost)) == 0)
		while ((message = nft_next_message(&datagram)))
			note_message(monitor, table, message, &change);
	if (result != -EAGAIN)
		return result;
	*ret = change;
	return 0;
}
