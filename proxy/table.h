/* One family's table: the states in force, their slots and claims, and the transactions from one to the next.
 *
 *     table_adopt -> adopting --update (final)--> settled --update--> settled ...
 *                       ^ '--update--'               |
 *                       '--- table_adopt ------------'   the kernel's table is not what we think, or settings changed
 *
 * Invariants
 *  1. member->applied is what the last committed transaction left in the kernel for this table.
 *  2. An update is one transaction for all its members. If the kernel refuses an operation, the member it belongs to is
 *     left out (it keeps what it has) and the others go on.
 *  3. While adopting, what nobody asked for so far stays in force until the final update.
 *  4. Claims follow what is wanted; who gains or loses by another's change joins the same update. */
#ifndef PROXY_TABLE_H
#define PROXY_TABLE_H

#include "proxy/claims.h"
#include "proxy/inforce.h"
#include "proxy/plan.h"

#define TABLE_COUNT 2 /* IPv4, IPv6 */

/* Its part in the update under way: none; it takes part; its claims are those of what it wants. */
enum member_part { PART_NONE, PART_JOINED, PART_BUILT };

/* A Service as the tables know it; embedded in what the proxy knows of it. */
struct member {
	struct claimant claimant; /* first: the claims speak of members by it */
	struct service_state *applied[TABLE_COUNT];
	struct service_state *wanted[TABLE_COUNT]; /* during an update */
	uint8_t part[TABLE_COUNT];                 /* enum member_part */
	bool refused[TABLE_COUNT];                 /* by the kernel, at the last try */
};

/* Where transactions go: nf_tables, or a model of it in tests. Errors as of nft/kernel.h. */
struct table_kernel {
	int (*apply)(void *ctx, int family, const struct nft_ops *ops, size_t *ret_failed_op,
		     struct err *err);
	int (*dump)(void *ctx, int family, struct nft_ruleset *ret, struct err *err);
	void *ctx;
};

/* Who says what members should do, and hears what became of them. */
struct table_owner {
	/* What the member should do now; NULL: nothing. 0 or -ENOMEM. */
	int (*build)(void *ctx, struct member *member, int family, struct service_state **ret);
	/* The member's new state is in force; `before` dies after the call. Both may be NULL. */
	void (*committed)(void *ctx, struct member *member, const struct service_state *before,
			  const struct service_state *now);
	/* The kernel refused the member's state, which is left out. */
	void (*refused)(void *ctx, struct member *member, const char *why);
	void *ctx;
};

struct table;

struct table *table_new(unsigned index, int family, const struct table_kernel *kernel,
			const struct table_owner *owner);
struct table *table_free(struct table *table); /* rules in force stay; members must have been forgotten */

/* The settings are borrowed and must stay as they are until the next table_adopt. */
void table_configure(struct table *table, const struct plan_config *config);

/* Reads what is in force. All members must have been forgotten before. 0 or -errno with *err. */
int table_adopt(struct table *table, struct err *err);
/* Everything must go into one final update: the table has to be built anew. */
bool table_wants_all(const struct table *table);
bool table_adopting(const struct table *table);

/* Brings `count` members up to date, as far as the kernel lets. `final`: nothing else is coming, whatever is in force
 * and was not asked for goes. 0, or -errno with *err: nothing has changed. -ENOENT and -EEXIST: the kernel's table is
 * not what we think; with `blame` these too count against single members. */
int table_update(struct table *table, struct member *const *members, size_t count, bool final, bool blame,
		 struct err *err);

/* The member's state is dropped from memory, not from the kernel. */
void table_forget(struct table *table, struct member *member);

struct member *table_frontend_owner(const struct table *table, const struct endpoint_addr *addr,
				    enum protocol protocol);

struct table_figures {
	size_t services, endpoints,
	    slots; /* in force: Services, endpoints over all their ports, slots reserved */
	uint64_t transactions, failures, operations;
};
struct table_figures table_figures(const struct table *table);

#endif
