/* The kernel's side of a table: transactions in, dumps and notifications out, over NETLINK_NETFILTER
 * sockets; no child process.
 *
 * Invariants
 *  1. A transaction is all or nothing: after an error (but -EUCLEAN) the table is as it was.
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

/* Applies ops as one transaction; creates the table if it is not there; with ops->rebuild deletes it first,
 * in the same transaction. On failure *ret_failed_op (may be NULL) is the index of the op the kernel refused,
 * or ops->count if it is not one op's fault. -EPERM, -ENOMEM, -ENOSPC, -EMSGSIZE (larger than the socket may
 * send), -EEXIST and -ENOENT (something is there or is not: the table is not what we think, dump it again).
 * -EPROTO: the kernel gave no answer; dump to see. -EINTR and -ENOBUFS are retried inside. Chains that something still refers to when they are to be deleted
 * (kernels before 6.2 drop references late) are deleted by a second transaction. Where that fails too the
 * answer is -EUCLEAN: all is in force but the deletion of chain *ret_failed_op. */
int nft_kernel_apply(struct nft_kernel *kernel, struct nft_table_id table, const struct nft_ops *ops,
		     size_t *ret_failed_op, struct err *err);

/* Reads the whole table into *ret (sorted; to be freed with nft_ruleset_done). Rules carry fingerprint and
 * tag only (value empty); a rule that is not ours makes the chain's fingerprint 0. Comments are left out, so
 * are elements made by packets. A dump that somebody's change interrupted is begun again; -EAGAIN if that
 * happens too often. -ENOENT: no such table. */
int nft_kernel_dump(struct nft_kernel *kernel, struct nft_table_id table, struct nft_ruleset *ret,
		    struct err *err);
/* The elements of one set only, dynamic ones too; -ENOENT: no such set. */
int nft_kernel_dump_set(struct nft_kernel *kernel, struct nft_table_id table, const char *set,
			struct nft_ruleset *ret, struct err *err);
/* The table's named counters, with their packets and bytes. */
int nft_kernel_dump_counters(struct nft_kernel *kernel, struct nft_table_id table, struct nft_ruleset *ret,
			     struct err *err);

int nft_kernel_delete_table(struct nft_kernel *kernel, struct nft_table_id table,
			    struct err *err); /* absent is fine */

/* Notifications (NFNLGRP_NFTABLES): a second socket whose fd the caller watches; call nft_monitor_read when readable.
 * What `kernel` does itself is never heard: a filter in the socket drops it. For as long as `kernel` works on a large
 * transaction the socket leaves the group, or the kernel would make a message of each element (three times as slow);
 * what others did in that moment shows in the generation number and is reported as lost. One monitor for a kernel,
 * closed before it. */
struct nft_monitor;
struct nft_monitor *nft_monitor_open(struct nft_kernel *kernel, struct err *err);
struct nft_monitor *nft_monitor_close(struct nft_monitor *monitor);
int nft_monitor_fd(const struct nft_monitor *monitor);

struct nft_foreign_change {
	bool table_deleted, changed; /* one of ours, by somebody else */
	bool ip, ip6;                /* the table of which family */
	bool lost;                   /* notifications were lost, look for yourself */
	unsigned pid;                /* of who changed it last, 0 if not known */
	char process[16];
};
/* Drains the socket; says what others did to the tables named `table`, in *ret. 0 or -errno. */
int nft_monitor_read(struct nft_monitor *monitor, const char *table, struct nft_foreign_change *ret);

#endif
