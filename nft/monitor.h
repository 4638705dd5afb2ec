/* Between nft/kernel.c and nft/monitor.c: a kernel knows its monitor, so that the monitor does not listen while the kernel
 * works on a large transaction. */
#ifndef NFT_MONITOR_H
#define NFT_MONITOR_H

#include <stdbool.h>
#include <stdint.h>

struct nft_kernel;
struct nft_monitor;

/* The socket's netlink port: who we are in notifications. */
uint32_t nft_kernel_port(const struct nft_kernel *kernel);
void nft_kernel_set_monitor(struct nft_kernel *kernel, struct nft_monitor *monitor); /* NULL: it is closed */

/* Both take NULL. */
void nft_monitor_pause(struct nft_monitor *monitor);
void nft_monitor_resume(struct nft_monitor *monitor);
/* Somebody may have done something while it was paused: its fd becomes readable, and the reader hears of a loss. */
void nft_monitor_tell_loss(struct nft_monitor *monitor);

#endif
