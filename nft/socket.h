/* A NETLINK_NETFILTER socket, and the errors of opening one in plain words. For nft/kernel.c and
 * nft/monitor.c. */
#ifndef NFT_SOCKET_H
#define NFT_SOCKET_H

#include <stdint.h>

#include "base/err.h"

/* The file descriptor, not blocking, bound to its own port; or -errno with *err. */
int nft_socket_open(uint32_t groups, uint32_t *ret_port, struct err *err);

/* The kernel's queue for what we have not read (SO_RCVBUF) and the largest batch we may send (SO_SNDBUF), as
 * large as the privileges allow. */
void nft_socket_receive_room(int fd, int bytes);
void nft_socket_send_room(int fd, int bytes);

#endif
