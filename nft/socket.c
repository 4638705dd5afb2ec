/* Opening and sizing netlink sockets. */
#include "nft/socket.h"

#include <errno.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"

static int describe(struct err *err, int code)
{
	if (code == -EPROTONOSUPPORT || code == -ECONNREFUSED)
		return err_set(err, code, "this kernel has no nf_tables (module nfnetlink)");
	return err_set(err, code, "netlink socket: %s", strerror(-code));
}

int nft_socket_open(uint32_t groups, uint32_t *ret_port, struct err *err)
{
	cleanup_close int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
	struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = groups};
	socklen_t len = sizeof(address);
	int opened;

	if (fd < 0)
		return describe(err, -errno);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &len) != 0)
		return describe(err, -errno);
	*ret_port = address.nl_pid;
	opened = fd;
	fd = -1;
	return opened;
}

void nft_socket_receive_room(int fd, int bytes)
{
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) != 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

void nft_socket_send_room(int fd, int bytes)
{
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) != 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}
