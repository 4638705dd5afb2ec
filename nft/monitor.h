/* What nft/kernel.c, nft/dump.c and nft/monitor.c know of each other. */
#ifndef NFT_MONITOR_H
#define NFT_MONITOR_H

struct err;
struct nft_kernel;
struct nft_monitor;
struct nft_socket;

struct nft_socket *nft_kernel_socket(struct nft_kernel *kernel);

/* Returns when every transaction begun before is over and told to its monitors. 0 or -errno. */
int nft_kernel_wait(struct nft_kernel *kernel);

/* The kernel's own monitor does not listen while the kernel works on a large transaction. NULL: it is closed. */
void nft_kernel_set_monitor(struct nft_kernel *kernel, struct nft_monitor *monitor);
void nft_monitor_pause(struct nft_monitor *monitor);
void nft_monitor_resume(struct nft_monitor *monitor);
/* Somebody may have done something while it was paused: its fd becomes readable, and the reader hears of a loss. */
void nft_monitor_tell_loss(struct nft_monitor *monitor);

/* One that belongs to no kernel: it hears all that is done, by whomever. */
struct nft_monitor *nft_monitor_open_for_all(struct err *err);

#endif
