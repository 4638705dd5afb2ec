/* The kernel's side of a table: transactions in, dumps and notifications out, over one NETLINK_NETFILTER socket.
 * libmnl frames, libnftnl encodes; no child process.
 *
 * Invariants
 *  1. A transaction is all or nothing: after an error the table is as it was.
 *  2. Calls block for as long as the kernel works on the transaction (it does so inside sendmsg).
 *  3. Nothing outside the named table is ever touched. */
#ifndef NFT_KERNEL_H
#define NFT_KERNEL_H

#include <stddef.h>
#include <sys/socket.h>

#include "base/err.h"
#include "nft/ruleset.h"

struct nft_kernel;

/* NULL with *err: no permission (CAP_NET_ADMIN), no nf_tables in this kernel. */
struct nft_kernel *nft_kernel_open(struct err *err);
struct nft_kernel *nft_kernel_close(struct nft_kernel *kernel);

struct nft_table_id {
	int family; /* AF_INET, AF_INET6 */
	const char *name;
};

/* Applies ops as one transaction; creates the table if it is not there; with ops->rebuild deletes it first, in the
 * same transaction. On failure *ret_failed_op (may be NULL) is the index of the op the kernel refused, or ops->count
 * if it is not one op's fault. -EPERM, -ENOMEM, -ENOSPC, -EEXIST, -ENOENT (something is not there: the table is not
 * what we think, dump it again), -EINTR and -ENOBUFS are retried inside. */
int nft_kernel_apply(struct nft_kernel *kernel, struct nft_table_id table, const struct nft_ops *ops,
		     size_t *ret_failed_op, struct err *err);

/* Reads the whole table into *ret (sorted). Rules carry their fingerprint only (value empty); a rule that is not ours
 * makes the chain's fingerprint 0. An interrupted dump (NLM_F_DUMP_INTR) is begun again. -ENOENT: no such table. */
int nft_kernel_dump(struct nft_kernel *kernel, struct nft_table_id table, struct nft_ruleset *ret, struct err *err);

int nft_kernel_delete_table(struct nft_kernel *kernel, struct nft_table_id table, struct err *err); /* absent is fine */

/* Notifications (NFNLGRP_NFTABLES): a second socket whose fd the caller watches; call nft_monitor_read when readable. */
struct nft_monitor;
struct nft_monitor *nft_monitor_open(struct err *err);
struct nft_monitor *nft_monitor_close(struct nft_monitor *monitor);
int nft_monitor_fd(const struct nft_monitor *monitor);

struct nft_foreign_change {
	bool table_deleted, changed; /* ours, by somebody else */
	bool lost;                   /* ENOBUFS: notifications were lost, look for yourself */
	unsigned pid;
	char process[16];
};
/* Drains the socket; says what others did to `table`. Our own transactions (by port id) are passed over. */
int nft_monitor_read(struct nft_monitor *monitor, const struct nft_kernel *kernel, const char *table,
		     struct nft_foreign_change *ret);

#endif
