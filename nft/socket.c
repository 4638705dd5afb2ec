/* Opening and sizing netlink sockets. */
#include "nft/socket.h"

#include <errno.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int describe(struct err *err, int code)
{
	if (code == -EPROTONOSUPPORT || code == -ECONNREFUSED)
		return err_set(err, code, "this kernel has no nf_tables (module nfnetlink)");
	return err_set(err, code, "netlink socket: %s", strerror(-code));
}

static int bind_socket(int fd, uint32_t groups, uint32_t *ret_port)
{
	struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = groups};
	socklen_t len = sizeof(address);

	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &len) != 0)
		return -errno;
	*ret_port = address.nl_pid;
	return 0;
}

int nft_socket_open(uint32_t groups, uint32_t *ret_port, struct err *err)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
	int result;

	if (fd < 0)
		return describe(err, -errno);
	result = bind_socket(fd, groups, ret_port);
	if (result == 0)
		return fd;
	(void)close(fd);
	return describe(err, result);
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
