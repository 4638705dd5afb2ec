/* A NETLINK_NETFILTER socket: opening and sizing it, bytes out, datagrams in. Under nft/kernel.h, for the parts of it. */
#ifndef NFT_SOCKET_H
#define NFT_SOCKET_H

#include <linux/netlink.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct nft_socket {
	int fd;
	uint32_t port; /* our netlink address */
	uint32_t seq;  /* last sequence number used */
	size_t send_room_bytes;
	_Alignas(struct nlmsghdr) char received[64 * 1024]; /* the kernel fills 32 KiB at a time */
};

/* Subscribed to the groups in the bit mask, not blocking. 0, or -errno with *err. */
int nft_socket_open(struct nft_socket *socket, uint32_t groups, struct err *err);
void nft_socket_close(struct nft_socket *socket);

/* The queue for what we have not read, as large as the privileges allow. */
void nft_socket_receive_room(const struct nft_socket *socket, int bytes);

/* To the kernel, in one piece, however large; 0 or -errno: then nothing was taken. */
int nft_socket_send(struct nft_socket *socket, struct str bytes);

/* Receives one datagram. 0 with *ret, valid until the next call; -EAGAIN when there is none. That some were lost is passed
 * over, and said in *ret_lost (may be NULL). */
int nft_socket_receive(struct nft_socket *socket, struct str *ret, bool *ret_lost);

/* Reads and forgets whatever an earlier, broken off question left. */
void nft_socket_drain(struct nft_socket *socket);

void nft_pause_ms(long ms);

#endif
