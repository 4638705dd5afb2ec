/* Claims: a compact hash table from things to their owner; the few contested things keep a list of all who
 * want them. */
#include "proxy/claims.h"

#include <errno.h>
#include <stdlib.h>

enum thing { THING_FRONTEND = 1, THING_CLUSTER_IP, THING_HAIRPIN };

struct claim_slot {
	uint64_t hash; /* 0: empty */
	struct claimant *owner;
};

/* All claimants of one thing, the owner among them. */
struct contest {
	struct claimant **claimants;
	size_t count, size;
};

static uint64_t thing_hash(enum thing thing, const struct ip *ip, uint16_t port, unsigned protocol)
{
	struct {
		struct ip ip;
		uint16_t port;
		uint8_t protocol, thing;
	} key = {*ip, port, (uint8_t)protocol, (uint8_t)thing};
	uint64_t hash;

	_Static_assert(sizeof(key) == sizeof(struct ip) + 4, "no padding may be hashed");
	hash = hash_bytes(&key, sizeof(key));
	return hash ? hash : 1;
}

static bool better(const struct claimant *a, const struct claimant *b)
{
	int order;

	if (a->created_s != b->created_s)
		return a->created_s < b->created_s;
	order = strcmp(a->ns, b->ns);
	return order ? order < 0 : strcmp(a->name, b->name) < 0;
}

/* ---- the table ---- */

static struct claim_slot *find(const struct claims *claims, uint64_t hash)
{
	size_t mask = claims->size - 1;

	if (claims->size == 0)
		return NULL;
	for (size_t i = hash & mask; claims->slots[i].hash; i = (i + 1) & mask)
		if (claims->slots[i].hash == hash)
			return &claims->slots[i];
	return NULL;
}

static void insert(struct claims *claims, uint64_t hash, struct claimant *owner)
{
	size_t mask = claims->size - 1, i = hash & mask;

	while (claims->slots[i].hash)
		i = (i + 1) & mask;
	claims->slots[i] = (struct claim_slot){hash, owner};
	claims->count++;
}

static int make_room(struct claims *claims)
{
	size_t old_size = claims->size, size = old_size ? old_size * 2 : 64;
	struct claim_slot *old = claims->slots, *slots;

	if (claims->count + claims->count / 4 < old_size)
		return 0;
	slots = calloc(size, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	claims->slots = slots;
	claims->size = size;
	claims->count = 0;
	for (size_t i = 0; i < old_size; i++)
		if (old[i].hash)
			insert(claims, old[i].hash, old[i].owner);
	free(old);
	return 0;
}

/* Empties a slot and moves what was pushed past it back, so that no probe ends too early. */
static void erase(struct claims *claims, struct claim_slot *slot)
{
	size_t mask = claims->size - 1, hole = (size_t)(slot - claims->slots);

	for (size_t i = (hole + 1) & mask; claims->slots[i].hash; i = (i + 1) & mask) {
		size_t home = claims->slots[i].hash & mask;

		if (((i - home) & mask) >= ((i - hole) & mask)) {
			claims->slots[hole] = claims->slots[i];
			hole = i;
		}
	}
	claims->slots[hole] = (struct claim_slot){0};
	claims->count--;
}

/* ---- contests ---- */

static struct str contest_key(const uint64_t *hash)
{
	return (struct str){(const char *)hash, sizeof(*hash)};
}

static struct contest *contest_free(struct contest *contest)
{
	if (contest) {
		free(contest->claimants);
		free(contest);
	}
	return NULL;
}

static int contest_join(struct contest *contest, struct claimant *claimant)
{
	if (contest->count == contest->size) {
		size_t size = contest->size ? contest->size * 2 : 4;
		struct claimant **claimants = realloc(contest->claimants, size * sizeof(*claimants));

		if (!claimants)
			return -ENOMEM;
		contest->claimants = claimants;
		contest->size = size;
	}
	contest->claimants[contest->count++] = claimant;
	return 0;
}

static size_t contest_index(const struct contest *contest, const struct claimant *claimant)
{
	size_t i = 0;

	while (i < contest->count && contest->claimants[i] != claimant)
		i++;
	return i;
}

static struct contest *contest_open(struct claims *claims, uint64_t hash, struct claimant *owner)
{
	struct contest *contest = calloc(1, sizeof(*contest));

	if (!contest || contest_join(contest, owner) ||
	    map_set(&claims->contests, contest_key(&hash), contest, NULL))
		return contest_free(contest);
	return contest;
}

static void announce(struct claims *claims, struct claimant *claimant)
{
	if (claims->changed)
		claims->changed(claims->ctx, claimant);
}

/* 0; 1 if the claimant has claimed it before; -ENOMEM. */
static int claim(struct claims *claims, uint64_t hash, struct claimant *claimant)
{
	struct claim_slot *slot;
	struct contest *contest;
	int code = make_room(claims);

	if (code)
		return code;
	slot = find(claims, hash);
	if (!slot) {
		insert(claims, hash, claimant);
		return 0;
	}
	if (slot->owner == claimant)
		return 1;
	contest = map_get(&claims->contests, contest_key(&hash));
	if (!contest)
		contest = contest_open(claims, hash, slot->owner);
	if (!contest)
		return -ENOMEM;
	if (contest_index(contest, claimant) < contest->count)
		return 1;
	if (contest_join(contest, claimant))
		return -ENOMEM;
	if (better(claimant, slot->owner)) {
		struct claimant *loser = slot->owner;

		slot->owner = claimant;
		announce(claims, loser);
	}
	return 0;
}

static struct claimant *best_of(const struct contest *contest)
{
	struct claimant *best = contest->claimants[0];

	for (size_t i = 1; i < contest->count; i++)
		if (better(contest->claimants[i], best))
			best = contest->claimants[i];
	return best;
}

static void give_up(struct claims *claims, uint64_t hash, struct claimant *claimant)
{
	struct claim_slot *slot = find(claims, hash);
	struct contest *contest = map_get(&claims->contests, contest_key(&hash));

	size_t index;

	if (!slot)
		return;
	if (!contest) {
		if (slot->owner == claimant)
			erase(claims, slot);
		return;
	}
	index = contest_index(contest, claimant);
	if (index == contest->count)
		return;
	contest->claimants[index] = contest->claimants[--contest->count];
	if (slot->owner == claimant) {
		slot->owner = best_of(contest);
		announce(claims, slot->owner);
	}
	if (contest->count == 1)
		contest_free(map_remove(&claims->contests, contest_key(&hash)));
}

/* ---- states ---- */

static uint64_t frontend_hash(const struct frontend *frontend)
{
	return thing_hash(THING_FRONTEND, &frontend->ip, frontend->port, frontend->protocol);
}

static int claim_hairpins(struct claims *claims, struct claimant *claimant, struct endpoint_set *set)
{
	for (size_t i = 0; i < set->count; i++) {
		struct service_endpoint *endpoint = &set->endpoints[i];
		int code;

		endpoint->claims_hairpin = false;
		if (!endpoint->may_be_here)
			continue;
		code = claim(claims, thing_hash(THING_HAIRPIN, &endpoint->addr.ip, 0, 0), claimant);
		if (code < 0)
			return code;
		endpoint->claims_hairpin = code == 0;
	}
	return 0;
}

static int claim_all(struct claims *claims, struct claimant *claimant, struct service_state *state)
{
	int code = claim(claims, thing_hash(THING_CLUSTER_IP, &state->cluster_ip, 0, 0), claimant);

	for (size_t i = 0; i < state->frontend_count && code >= 0; i++)
		code = claim(claims, frontend_hash(&state->frontends[i]), claimant);
	for (size_t i = 0; i < state->port_count && code >= 0; i++)
		for (size_t p = 0; p < POLICY_COUNT && code >= 0; p++)
			code = claim_hairpins(claims, claimant, &state->ports[i].sets[p]);
	return code < 0 ? code : 0;
}

int claims_add_state(struct claims *claims, struct claimant *claimant, struct service_state *state)
{
	int code = state ? claim_all(claims, claimant, state) : 0;

	if (code)
		claims_remove_state(claims, claimant, state);
	return code;
}

void claims_remove_state(struct claims *claims, struct claimant *claimant, const struct service_state *state)
{
	if (!state)
		return;
	give_up(claims, thing_hash(THING_CLUSTER_IP, &state->cluster_ip, 0, 0), claimant);
	for (size_t i = 0; i < state->frontend_count; i++)
		give_up(claims, frontend_hash(&state->frontends[i]), claimant);
	for (size_t i = 0; i < state->port_count; i++) {
		for (size_t p = 0; p < POLICY_COUNT; p++) {
			const struct endpoint_set *set = &state->ports[i].sets[p];

			for (size_t e = 0; e < set->count; e++)
				if (set->endpoints[e].claims_hairpin)
					give_up(claims,
						thing_hash(THING_HAIRPIN, &set->endpoints[e].addr.ip, 0, 0),
						claimant);
		}
	}
}

static bool owns(const struct claims *claims, uint64_t hash, const struct claimant *claimant)
{
	const struct claim_slot *slot = find(claims, hash);

	return slot && slot->owner == claimant;
}

void claims_resolve(const struct claims *claims, const struct claimant *claimant, struct service_state *state)
{
	state->owns_cluster_ip =
	    owns(claims, thing_hash(THING_CLUSTER_IP, &state->cluster_ip, 0, 0), claimant);
	for (size_t i = 0; i < state->frontend_count; i++)
		state->frontends[i].owned = owns(claims, frontend_hash(&state->frontends[i]), claimant);
	for (size_t i = 0; i < state->port_count; i++) {
		for (size_t p = 0; p < POLICY_COUNT; p++) {
			struct endpoint_set *set = &state->ports[i].sets[p];

			for (size_t e = 0; e < set->count; e++)
				set->endpoints[e].owns_hairpin =
				    set->endpoints[e].claims_hairpin &&
				    owns(claims, thing_hash(THING_HAIRPIN, &set->endpoints[e].addr.ip, 0, 0),
					 claimant);
		}
	}
}

struct claimant *claims_frontend_owner(const struct claims *claims, const struct endpoint_addr *addr,
				       enum protocol protocol)
{
	const struct claim_slot *slot =
	    find(claims, thing_hash(THING_FRONTEND, &addr->ip, addr->port, protocol));

	return slot ? slot->owner : NULL;
}

void claims_done(struct claims *claims)
{
	for (struct map_iter it = map_begin(&claims->contests); map_next(&it);)
		contest_free(it.value);
	map_done(&claims->contests);
	free(claims->slots);
	*claims = (struct claims){0};
}
