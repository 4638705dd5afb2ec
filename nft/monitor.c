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

#define RECEIVE_BYTES      ((size_t)64 * 1024)
#define RECEIVE_ROOM_BYTES (8 * 1024 * 1024)

struct nft_monitor {
	int fd;
	uint32_t port;
	struct nft_kernel *kernel;
	struct nft_foreign_change pending; /* of a transaction whose generation message is still to come */
	_Alignas(struct nlmsghdr) char received[RECEIVE_BYTES];
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

struct nft_monitor *nft_monitor_open(struct nft_kernel *kernel, struct err *err)
{
	struct nft_monitor *monitor = calloc(1, sizeof(*monitor));
	int result;

	if (!monitor) {
		(void)err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	monitor->fd = nft_socket_open(1u << (NFNLGRP_NFTABLES - 1), &monitor->port, err);
	if (monitor->fd < 0)
		return nft_monitor_close(monitor);
	nft_socket_receive_room(monitor->fd, RECEIVE_ROOM_BYTES);
	result = drop_own(monitor->fd, nft_kernel_port(kernel));
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
	if (monitor->fd >= 0)
		(void)close(monitor->fd);
	free(monitor);
	return NULL;
}

static void set_membership(const struct nft_monitor *monitor, int option)
{
	const int group = NFNLGRP_NFTABLES;

	if (monitor)
		(void)setsockopt(monitor->fd, SOL_NETLINK, option, &group, sizeof(group));
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
	const struct sockaddr_nl self = {.nl_family = AF_NETLINK, .nl_pid = monitor->port};

	(void)sendto(monitor->fd, &lost, sizeof(lost), 0, (const struct sockaddr *)&self, sizeof(self));
}

int nft_monitor_fd(const struct nft_monitor *monitor)
{
	return monitor->fd;
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

static void note_datagram(struct nft_monitor *monitor, const char *table, size_t len,
			  struct nft_foreign_change *change)
{
	struct str datagram = {monitor->received, len};
	const struct nlmsghdr *message;

	while ((message = nft_next_message(&datagram)))
		note_message(monitor, table, message, change);
}

int nft_monitor_read(struct nft_monitor *monitor, const char *table, struct nft_foreign_change *ret)
{
	struct nft_foreign_change change = {0};

	for (;;) {
		ssize_t len = recv(monitor->fd, monitor->received, sizeof(monitor->received), MSG_DONTWAIT);

		if (len >= 0)
			note_datagram(monitor, table, (size_t)len, &change);
		else if (errno == ENOBUFS)
			change.lost = true;
		else if (errno == EAGAIN)
			break;
		else if (errno != EINTR)
			return -errno;
	}
	*ret = change;
	return 0;
}
