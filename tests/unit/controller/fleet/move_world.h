/* SPDX-License-Identifier: MPL-2.0 */
/* Three nodes, of which b has the VM web, and what tests of its moves ask and expect. */
#pragma once

#include "tests/support/loop_fake.h"
#include "tests/unit/controller/fleet/fleet_world.h"

static inline int move_set_up(void **state)
{
    struct world *world = world_new(3);
    *state = world;
    loop_fake_advance(world->loop, 10 * 1000);
    free(world_place(&world->nodes[0], "web", "b"));
    loop_fake_advance(world->loop, 10 * 1000);
    assert_true(world_has(&world->nodes[1], "web"));
    return 0;
}

/* Its lease has just ended, and nobody has waited yet. */
static inline void move_lose(struct world *world, struct world_node *node)
{
    cleanup_free char *key = mem_printf(FLEET_ROOT "home/alive/%s", node->config->node);
    world_kill(node);
    for (int i = 0; i < 40 && engine_fake_get(world->fake, key); i++) {
        world_advance(world, 1);
    }
    assert_null(engine_fake_get(world->fake, key));
}

static inline char *move_ask_recreate(struct world *world, const char *to, bool is_off)
{
    const struct fleet_move move = {
        .name = "web", .verb = FLEET_MOVE_RECREATE, .to = to, .is_off = is_off};
    return world_ask_move(&world->nodes[0], &move);
}

static inline bool move_is_answered(const struct world_node *node, const char *row)
{
    cleanup_json json_t *answer = world_answer(node, row);
    return answer != NULL;
}

static inline void assert_answer(
    const struct world_node *node, const char *row, enum error_code code)
{
    cleanup_json json_t *answer = world_answer(node, row);
    struct error err = {.code = ERR_NONE};
    assert_non_null(answer);
    if (fleet_answer_error(answer, &err) != -(int)code) {
        fail_msg("%s: %s", row, err.message);
    }
}

static inline uint64_t move_epoch_of(const struct world_node *node, const char *name)
{
    cleanup_with(vm_record_clear) struct vm_record record = world_record(node, name);
    return record.desired ? record.desired->fleet.epoch : 0;
}

static inline const char *move_etcd_has(const struct world *world, const char *row)
{
    cleanup_free char *key = mem_printf(FLEET_ROOT "home/%s", row);
    return engine_fake_get(world->fake, key);
}

static inline size_t move_count_marks(const struct world *world)
{
    return engine_fake_count(world->fake, FLEET_ROOT "home/gone/");
}

/* It runs on c alone, and nothing is left of it on b. */
static inline void assert_moved(struct world *world)
{
    assert_int_equal(move_epoch_of(&world->nodes[2], "web"), 2);
    assert_false(world_has(&world->nodes[1], "web"));
    assert_null(move_etcd_has(world, "vm/b/web"));
    assert_null(move_etcd_has(world, "st/b/web"));
    assert_non_null(move_etcd_has(world, "vm/c/web"));
    assert_non_null(strstr(move_etcd_has(world, "name/web"), "\"c\""));
    assert_int_equal(move_count_marks(world), 0);
}
