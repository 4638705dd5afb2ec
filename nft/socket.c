/* Netlink sockets: see nft/socket.h. */
#include "nft/socket.h"

#include <errno.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SEND_TRIES    5
#define RECEIVE_TRIES 20

void nft_pause_ms(long ms)
{
	struct timespec rest = {.tv_nsec = ms * 1000000};

	while (nanosleep(&rest, &rest) != 0 && errno == EINTR)
		;
}

static int describe(struct err *err, int code)
{
	if (code == -EPROTONOSUPPORT || code == -ECONNREFUSED)
		return err_set(err, code, "this kernel has no nf_tables (module nfnetlink)");
	return err_set(err, code, "netlink socket: %s", strerror(-code));
}

static int bind_socket(struct nft_socket *socket, uint32_t groups)
{
	struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = groups};
	socklen_t len = sizeof(address);

	if (bind(socket->fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    getsockname(socket->fd, (struct sockaddr *)&address, &len) != 0)
		return -errno;
	socket->port = address.nl_pid;
	return 0;
}

int nft_socket_open(struct nft_socket *nft_socket, uint32_t groups, struct err *err)
{
	int result;

	nft_socket->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
	if (nft_socket->fd < 0)
		return describe(err, -errno);
	result = bind_socket(nft_socket, groups);
	return result == 0 ? 0 : describe(err, result);
}

void nft_socket_close(struct nft_socket *socket)
{
	if (socket->fd >= 0)
		(void)close(socket->fd);
	socket->fd = -1;
}

/* The forced options need CAP_NET_ADMIN in the machine's own user namespace; the others stop at the sysctls. */
static void set_room(int fd, int forced, int option, int bytes)
{
	if (setsockopt(fd, SOL_SOCKET, forced, &bytes, sizeof(bytes)) != 0)
		(void)setsockopt(fd, SOL_SOCKET, option, &bytes, sizeof(bytes));
}

void nft_socket_receive_room(const struct nft_socket *socket, int bytes)
{
	set_room(socket->fd, SO_RCVBUFFORCE, SO_RCVBUF, bytes);
}

static int send_once(int fd, struct str bytes)
{
	static const struct sockaddr_nl to_kernel = {.nl_family = AF_NETLINK};

	if (sendto(fd, bytes.p, bytes.len, 0, (const struct sockaddr *)&to_kernel, sizeof(to_kernel)) < 0)
		return -errno;
	return 0;
}

int nft_socket_send(struct nft_socket *socket, struct str bytes)
{
	int result = 0;

	if (bytes.len > socket->send_room_bytes) {
		set_room(socket->fd, SO_SNDBUFFORCE, SO_SNDBUF,
			 bytes.len < INT32_MAX / 2 ? (int)bytes.len : INT32_MAX / 2);
		socket->send_room_bytes = bytes.len;
	}
	for (int tries = 0; tries < SEND_TRIES; tries++) {
		result = send_once(socket->fd, bytes);
		if (result != -EINTR && result != -ENOBUFS && result != -EAGAIN)
			break;
		if (result != -EINTR)
			nft_pause_ms(1 << tries);
	}
	return result;
}

int nft_socket_receive(struct nft_socket *socket, struct str *ret, bool *ret_lost)
{
	for (int tries = 0; tries < RECEIVE_TRIES; tries++) {
		ssize_t len = recv(socket->fd, socket->received, sizeof(socket->received), MSG_DONTWAIT);

		if (len >= 0) {
			*ret = (struct str){socket->received, (size_t)len};
			return 0;
		}
		if (errno != EINTR && errno != ENOBUFS)
			return -errno;
		if (errno == ENOBUFS && ret_lost)
			*ret_lost = true;
	}
	return -ENOBUFS;
}

void nft_socket_drain(struct nft_socket *socket)
{
	struct str datagram;

	while (nft_socket_receive(socket, &datagram, NULL) == 0)
		;
}
