/* Round robin counters by upstream id. */
#include "ingress/balance.h"

#include <stdlib.h>

static struct str id_key(const uint32_t *id)
{
	return (struct str){(const char *)id, sizeof(*id)};
}

struct balance_turn *balance_turn(struct balance *balance, uint32_t upstream_id, uint32_t start)
{
	struct balance_turn *turn = map_get(&balance->turns, id_key(&upstream_id));

	if (turn)
		return turn;
	turn = malloc(sizeof(*turn));
	if (!turn)
		return NULL;
	*turn = (struct balance_turn){.upstream_id = upstream_id, .next = start};
	if (map_set(&balance->turns, id_key(&turn->upstream_id), turn, NULL) != 0) {
		free(turn);
		return NULL;
	}
	return turn;
}

void balance_sweep(struct balance *balance, bool (*fn)(void *ctx, uint32_t upstream_id), void *ctx)
{
	for (struct map_iter it = map_begin(&balance->turns); map_next(&it);) {
		struct balance_turn *turn = it.value;

		if (fn(ctx, turn->upstream_id))
			continue;
		(void)map_remove(&balance->turns, it.key);
		free(turn);
	}
}

void balance_done(struct balance *balance)
{
	for (struct map_iter it = map_begin(&balance->turns); map_next(&it);)
		free(it.value);
	map_done(&balance->turns);
}
