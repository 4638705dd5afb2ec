/* Updates of a table: build what is wanted, settle claims, place endpoints in slots, difference, transaction, and then
 * either commit all of it or put everything back. */
#include "proxy/table.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"

struct table {
	unsigned index; /* of member->applied */
	int family;
	struct table_kernel kernel;
	struct table_owner owner;
	const struct plan_config *config;
	struct slots slots;
	struct claims claims;
	struct inforce inforce;
	uint32_t
	    affinity_last; /* the id of a port or number of an endpoint given last: none is given twice */
	bool adopting, base_in_force, wants_all;
	struct member **update; /* the members of the update under way */
	size_t update_count, update_size;
	int update_failed;
	struct table_figures figures;
};

/* ---- life ---- */

static void claim_changed(void *ctx, struct claimant *claimant);

struct table *table_new(unsigned index, int family, const struct table_kernel *kernel,
			const struct table_owner *owner)
{
	struct table *table = calloc(1, sizeof(*table));

	if (!table)
		return NULL;
	table->index = index;
	table->family = family;
	table->kernel = *kernel;
	table->owner = *owner;
	table->claims.changed = claim_changed;
	table->claims.ctx = table;
	return table;
}

struct table *table_free(struct table *table)
{
	if (table) {
		slots_done(&table->slots);
		claims_done(&table->claims);
		inforce_done(&table->inforce);
		free(table->update);
		free(table);
	}
	return NULL;
}

void table_configure(struct table *table, const struct plan_config *config)
{
	table->config = config;
}

bool table_wants_all(const struct table *table)
{
	return table->wants_all;
}

bool table_adopting(const struct table *table)
{
	return table->adopting;
}

struct table_figures table_figures(const struct table *table)
{
	struct table_figures figures = table->figures;

	figures.slots = table->slots.reserved;
	return figures;
}

struct member *table_frontend_owner(const struct table *table, const struct endpoint_addr *addr,
				    enum protocol protocol)
{
	struct claimant *owner = claims_frontend_owner(&table->claims, addr, protocol);

	return owner ? container_of(owner, struct member, claimant) : NULL;
}

/* ---- adoption ---- */

/* Sets and base chains whose nature changed cannot be changed in place. */
static int compare_base(struct table *table, struct err *err)
{
	struct nft_ruleset base = {0};
	struct nft_ops ops = {0};
	int code;

	plan_base(table->config, &base);
	code = nft_ruleset_sort(&base, err);
	if (!code)
		code = nft_diff(&table->inforce.items, &base, &ops);
	if (!code)
		table->wants_all = ops.rebuild;
	nft_ops_done(&ops);
	nft_ruleset_done(&base);
	return code;
}

static void start_over(struct table *table)
{
	slots_done(&table->slots);
	claims_done(&table->claims);
	table->claims.changed = claim_changed;
	table->claims.ctx = table;
	inforce_done(&table->inforce);
	table->figures.services = table->figures.endpoints = 0;
	table->adopting = true;
	table->base_in_force = table->wants_all = false;
}

int table_adopt(struct table *table, struct err *err)
{
	struct nft_ruleset dump = {0};
	int code;

	start_over(table);
	code = table->kernel.dump(table->kernel.ctx, table->family, &dump, err);
	if (code == -ENOENT) /* no table: nothing is in force */
		code = 0;
	if (!code)
		code = inforce_init(&table->inforce, &dump, &table->slots);
	if (!code)
		code = compare_base(table, err);
	table->affinity_last = inforce_affinity_last(&table->inforce);
	nft_ruleset_done(&dump);
	return code;
}

static void adoption_over(struct table *table)
{
	inforce_give_untaken(&table->inforce, &table->slots);
	inforce_done(&table->inforce);
	table->adopting = table->wants_all = false;
}

/* ---- members ---- */

static void count_state(struct table *table, const struct service_state *state, int sign)
{
	if (!state)
		return;
	table->figures.services += (size_t)sign;
	for (size_t i = 0; i < state->port_count; i++)
		for (size_t p = 0; p < POLICY_COUNT; p++)
			table->figures.endpoints += (size_t)sign * state->ports[i].sets[p].count;
}

static bool same_range(struct slot_range a, struct slot_range b)
{
	return a.base == b.base && a.capacity == b.capacity;
}

/* Gives back the ranges of `state` that `other` does not have as well. */
static void give_ranges(struct table *table, const struct service_state *state,
			const struct service_state *other)
{
	for (size_t i = 0; state && i < state->port_count; i++) {
		const struct service_port_state *port = &state->ports[i];
		const struct service_port_state *twin = service_state_port(other, port->name);

		for (size_t p = 0; p < POLICY_COUNT; p++) {
			if (twin && same_range(twin->ranges[p], port->ranges[p]))
				continue;
			if (!inforce_leave(&table->inforce, port->ranges[p]))
				slots_give(&table->slots, port->ranges[p]);
		}
	}
}

void table_forget(struct table *table, struct member *member)
{
	claims_remove_state(&table->claims, &member->claimant, member->applied[table->index]);
	count_state(table, member->applied[table->index], -1);
	member->applied[table->index] = service_state_free(member->applied[table->index]);
}

/* ---- an update: who takes part ---- */

static void join(struct table *table, struct member *member)
{
	if (member->part[table->index] != PART_NONE)
		return;
	if (table->update_count == table->update_size) {
		size_t size = table->update_size ? table->update_size * 2 : 16;
		struct member **update = realloc(table->update, size * sizeof(struct member *));

		if (!update) {
			table->update_failed = -ENOMEM;
			return;
		}
		table->update = update;
		table->update_size = size;
	}
	table->update[table->update_count++] = member;
	member->part[table->index] = PART_JOINED;
}

static void claim_changed(void *ctx, struct claimant *claimant)
{
	struct table *table = ctx;

	if (table->update_count > 0)
		join(table, container_of(claimant, struct member, claimant));
}

/* Moves a member's claims from one of its states to the other. */
static int move_claims(struct table *table, struct member *member, const struct service_state *from,
		       struct service_state *to)
{
	claims_remove_state(&table->claims, &member->claimant, from);
	return claims_add_state(&table->claims, &member->claimant, to);
}

static int build(struct table *table, struct member *member)
{
	struct service_state **wanted = &member->wanted[table->index];
	int code;

	if (member->part[table->index] == PART_BUILT)
		return 0;
	code = table->owner.build(table->owner.ctx, member, table->family, wanted);
	if (code)
		return code;
	member->part[table->index] = PART_BUILT;
	return move_claims(table, member, member->applied[table->index], *wanted);
}

/* ---- an update: slots ---- */

/* Where the endpoints of a port sit now, by what we know or by what an earlier run left. *ret_found is to be freed. */
static int current_place(struct table *table, const struct service_state *state,
			 const struct service_port_state *before, const char *port, enum policy policy,
			 struct slot_range *ret_range, struct endpoint_set *ret_set,
			 struct endpoint_set *ret_found)
{
	struct arena arena = {0};
	const char *chain;
	int code;

	if (before && before->ranges[policy].capacity > 0) {
		*ret_range = before->ranges[policy];
		*ret_set = before->sets[policy];
		return 0;
	}
	if (!table->adopting)
		return 0;
	chain = plan_chain_name(&arena, policy, state->ns, state->name, port);
	code = chain ? inforce_take(&table->inforce, table->family, chain, ret_range, ret_found) : -ENOMEM;
	arena_done(&arena);
	*ret_set = *ret_found;
	return code == -ENOENT ? 0 : code;
}

static bool same_addr(const struct endpoint_addr *a, const struct endpoint_addr *b)
{
	return a->port == b->port && ip_equal(&a->ip, &b->ip);
}

static uint32_t affinity_number_of(const struct endpoint_set *set, const struct endpoint_addr *addr,
				   size_t hint)
{
	if (hint < set->count && same_addr(&set->endpoints[hint].addr, addr))
		return set->endpoints[hint].affinity_number;
	for (size_t i = 0; i < set->count; i++)
		if (same_addr(&set->endpoints[i].addr, addr))
			return set->endpoints[i].affinity_number;
	return 0;
}

/* An endpoint has one number in both sets, for as long as it is in either. */
static void number_endpoints(struct table *table, const struct service_port_state *before,
			     const struct endpoint_set *old, struct service_port_state *port,
			     enum policy policy)
{
	enum policy other = policy == POLICY_CLUSTER ? POLICY_LOCAL : POLICY_CLUSTER;
	const struct endpoint_set *sources[] = {&port->sets[other], old, before ? &before->sets[other] : old};

	for (size_t i = 0; i < port->sets[policy].count; i++) {
		struct service_endpoint *endpoint = &port->sets[policy].endpoints[i];

		for (size_t k = 0; k < ARRAY_LEN(sources) && !endpoint->affinity_number; k++)
			endpoint->affinity_number = affinity_number_of(sources[k], &endpoint->addr, i);
		if (!endpoint->affinity_number)
			endpoint->affinity_number = ++table->affinity_last;
	}
}

static int place_set(struct table *table, const struct service_state *state,
		     const struct service_port_state *before, struct service_port_state *port,
		     enum policy policy)
{
	struct endpoint_set *set = &port->sets[policy], old = {0}, found = {0};
	struct slot_range range = {0};
	int code;

	if (set->count == 0 || port->ranges[policy].capacity > 0)
		return 0;
	code = current_place(table, state, before, port->name, policy, &range, &old, &found);
	if (!code)
		code = endpoints_keep_places(&old, set);
	if (!code && !slot_range_suits(range, set->count)) {
		if (found.endpoints)
			(void)inforce_leave(&table->inforce, range);
		code = slots_take(&table->slots, set->count, &range);
	}
	if (!code)
		port->ranges[policy] = range;
	if (!code && port->affinity_id)
		number_endpoints(table, before, &old, port, policy);
	free(found.endpoints);
	return code;
}

/* The id an earlier run gave to the port, from the rules of either of its chains. */
static int found_affinity_id(const struct table *table, const struct service_state *state, const char *port,
			     uint32_t *ret)
{
	struct arena arena = {0};
	uint32_t id = 0;
	int code = 0;

	for (unsigned p = 0; table->adopting && p < POLICY_COUNT && !id && !code; p++) {
		const char *chain = plan_chain_name(&arena, (enum policy)p, state->ns, state->name, port);

		if (chain)
			id = inforce_affinity_id(&table->inforce, chain);
		else
			code = -ENOMEM;
	}
	arena_done(&arena);
	*ret = id;
	return code;
}

static int settle_affinity(struct table *table, const struct service_state *state,
			   const struct service_port_state *before, struct service_port_state *port)
{
	uint32_t id = before ? before->affinity_id : 0;
	int code = 0;

	if (state->affinity_timeout_s == 0 || port->affinity_id)
		return 0;
	if (!id)
		code = found_affinity_id(table, state, port->name, &id);
	if (!code)
		port->affinity_id = id ? id : ++table->affinity_last;
	return code;
}

static int place(struct table *table, struct member *member)
{
	struct service_state *wanted = member->wanted[table->index];
	int code = 0;

	for (size_t i = 0; wanted && i < wanted->port_count && !code; i++) {
		const struct service_port_state *before =
		    service_state_port(member->applied[table->index], wanted->ports[i].name);

		code = settle_affinity(table, wanted, before, &wanted->ports[i]);
		for (unsigned p = 0; p < POLICY_COUNT && !code; p++)
			code = place_set(table, wanted, before, &wanted->ports[i], (enum policy)p);
	}
	return code;
}

/* Builds the members (their number may grow meanwhile), then settles who owns what and who sits where. What is done
 * already is not done again. */
static int prepare(struct table *table)
{
	int code = 0;

	for (size_t i = 0; i < table->update_count && !code; i++)
		code = build(table, table->update[i]);
	for (size_t i = 0; i < table->update_count && !code; i++) {
		struct member *member = table->update[i];

		if (member->wanted[table->index])
			claims_resolve(&table->claims, &member->claimant, member->wanted[table->index]);
		code = place(table, member);
	}
	return code ? code : table->update_failed;
}

/* ---- an update: its end ---- */

static void commit(struct table *table)
{
	for (size_t i = 0; i < table->update_count; i++) {
		struct member *member = table->update[i];
		struct service_state *before = member->applied[table->index];

		give_ranges(table, before, member->wanted[table->index]);
		count_state(table, before, -1);
		count_state(table, member->wanted[table->index], 1);
		member->applied[table->index] = TAKE(member->wanted[table->index]);
		member->part[table->index] = PART_NONE;
		member->refused[table->index] = false;
		table->owner.committed(table->owner.ctx, member, before, member->applied[table->index]);
		(void)service_state_free(before);
	}
	table->update_count = 0;
}

/* The member keeps what it has. */
static void put_back(struct table *table, struct member *member)
{
	struct service_state *wanted = TAKE(member->wanted[table->index]);

	/* Out of memory: its frontends are anybody's until its next change. */
	if (member->part[table->index] == PART_BUILT)
		(void)move_claims(table, member, wanted, member->applied[table->index]);
	member->part[table->index] = PART_NONE;
	give_ranges(table, wanted, member->applied[table->index]);
	(void)service_state_free(wanted);
}

static void roll_back(struct table *table)
{
	size_t count = table->update_count;

	table->update_count = 0; /* what others gain by it, they had before */
	for (size_t i = 0; i < count; i++)
		put_back(table, table->update[i]);
}

static int leave_out(struct table *table, struct member *member, const char *why)
{
	size_t i = 0;

	while (table->update[i] != member)
		i++;
	put_back(table, member);
	member->refused[table->index] = true;
	table->update[i] = table->update[--table->update_count];
	table->owner.refused(table->owner.ctx, member, why);
	return prepare(table);
}

/* ---- an update: the transaction ---- */

struct transaction {
	struct nft_ruleset from, to;
	struct nft_ruleset offer,
	    merged; /* while adopting: items borrowed from what is in force; from and offer */
	struct nft_ops ops;
};

static void transaction_done(struct transaction *transaction)
{
	nft_ops_done(&transaction->ops);
	free(transaction->merged.items);
	free(transaction->offer.items);
	nft_ruleset_done(&transaction->from);
	nft_ruleset_done(&transaction->to);
}

static int merge(const struct nft_ruleset *a, const struct nft_ruleset *b, struct nft_ruleset *ret)
{
	struct nft_ruleset merged = {.size = a->count + b->count};
	size_t i = 0, k = 0;

	merged.items = calloc(merged.size + 1, sizeof(*merged.items));
	if (!merged.items)
		return -ENOMEM;
	while (i < a->count || k < b->count) {
		bool first =
		    k == b->count || (i < a->count && nft_item_compare(&a->items[i], &b->items[k]) < 0);

		merged.items[merged.count++] = first ? a->items[i++] : b->items[k++];
	}
	*ret = merged;
	return 0;
}

static int compose(struct table *table, bool final, struct transaction *ret, struct err *err)
{
	int code;

	if (!table->base_in_force)
		plan_base(table->config, &ret->to);
	for (size_t i = 0; i < table->update_count; i++) {
		plan_service(table->config, table->update[i]->applied[table->index], &ret->from);
		plan_service(table->config, table->update[i]->wanted[table->index], &ret->to);
	}
	code = nft_ruleset_sort(&ret->from, err);
	if (!code)
		code = nft_ruleset_sort(&ret->to, err);
	if (code)
		return code == -EEXIST
			   ? -EINVAL
			   : code; /* two fragments with one item: our mistake, not the kernel's */
	if (!table->adopting)
		return nft_diff(&ret->from, &ret->to, &ret->ops);
	if (!table->wants_all)
		code = inforce_offer(&table->inforce, &ret->to, final, &ret->offer);
	if (!code)
		code = merge(&ret->from, &ret->offer, &ret->merged);
	if (!code)
		code = nft_diff(&ret->merged, &ret->to, &ret->ops);
	ret->ops.rebuild |= table->wants_all;
	return code;
}

static bool plans(const struct table *table, const struct service_state *state, const struct nft_item *item)
{
	struct nft_ruleset ruleset = {0};
	bool found = false;

	plan_service(table->config, state, &ruleset);
	for (size_t i = 0; i < ruleset.count && !found; i++)
		found = nft_item_compare(&ruleset.items[i], item) == 0;
	nft_ruleset_done(&ruleset);
	return found;
}

/* Whose item is it? NULL: no member's. */
static struct member *culprit(const struct table *table, const struct nft_item *item)
{
	for (size_t i = 0; i < table->update_count; i++) {
		struct member *member = table->update[i];

		if (plans(table, member->wanted[table->index], item) ||
		    plans(table, member->applied[table->index], item))
			return member;
	}
	return NULL;
}

static int apply(struct table *table, const struct transaction *transaction, struct member **ret_culprit,
		 struct err *err)
{
	const struct nft_ops *ops = &transaction->ops;
	size_t failed_op = ops->count;
	int code;

	if (ops->count == 0 && !ops->rebuild)
		return 0;
	code = table->kernel.apply(table->kernel.ctx, table->family, ops, &failed_op, err);
	if (code) {
		table->figures.failures++;
		if (failed_op < ops->count)
			*ret_culprit = culprit(table, ops->ops[failed_op].item);
		return code;
	}
	table->figures.transactions++;
	table->figures.operations += ops->count;
	return 0;
}

static int transact(struct table *table, bool final, struct member **ret_culprit, struct err *err)
{
	struct transaction transaction = {0};
	int code = compose(table, final, &transaction, err);

	*ret_culprit = NULL;
	if (!code)
		code = apply(table, &transaction, ret_culprit, err);
	if (!code) {
		table->base_in_force = true;
		if (table->adopting && final)
			adoption_over(table);
		else if (table->adopting)
			inforce_keep(&table->inforce, &transaction.to);
	}
	transaction_done(&transaction);
	return code;
}

int table_update(struct table *table, struct member *const *members, size_t count, bool final, bool blame,
		 struct err *err)
{
	int code;

	table->update_failed = 0;
	for (size_t i = 0; i < count; i++)
		join(table, members[i]);
	code = prepare(table);
	while (!code) {
		struct member *member;

		code = transact(table, final, &member, err);
		if (!code || !member || (!blame && (code == -ENOENT || code == -EEXIST)))
			break;
		code = leave_out(table, member, err->text);
	}
	if (code)
		roll_back(table);
	else
		commit(table);
	return code == -ENOMEM ? err_set(err, code, "out of memory") : code;
}
