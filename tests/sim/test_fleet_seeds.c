/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Three nodes of a fleet, and what a seed makes of them: links that are cut, messengers that are
 * killed, answers that are lost or late, compaction, several commands at once, changes made while
 * cut off; in some seeds etcd is restored in the end. When all is healed, everything is as etcd
 * says, on each node and in each mirror, and no accepted request was lost.
 *
 * VMCTL_FLEET_SEEDS: how many [30]; VMCTL_FLEET_SEED: the first one.
 */
#include "specs/fleet/fleet_summary.h"
#include "tests/support/loop_fake.h"
#include "tests/unit/controller/fleet/fleet_world.h"

enum { NAMES = 3, ACTIONS = 40, HEAL_S = 120 };

static const char *const names[NAMES] = {"web", "db", "shop/web"};

struct history {
    struct world *world;
    uint64_t rng;
    bool is_placed[NAMES]; /* a request was accepted … */
    bool may_go[NAMES];    /* … and one to destroy it was made since */
    bool is_forced[NAMES]; /* one to take it from a node that is not heard of was made */
    struct asked {
        struct world_node *node;
        char *row;
        int name;
        bool deletes, places;
    } asked[ACTIONS + NAMES];
    size_t n_asked;
    int64_t compacted;
};

static uint32_t dice(struct history *history, uint32_t sides)
{
    history->rng = history->rng * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(history->rng >> 33) % sides;
}

/* ---- what may happen ---- */

static void ask_for(struct history *history, struct world_node *node)
{
    struct asked *asked = &history->asked[history->n_asked++];
    *asked = (struct asked){.node = node, .name = (int)dice(history, NAMES)};
    const char *name = names[asked->name];
    const char where[] = {(char)('a' + dice(history, WORLD_NODES)), '\0'};
    struct change change = {.name = name};
    switch (dice(history, 6)) {
    case 0:
        change.deletes = asked->deletes = true;
        history->may_go[asked->name] = true;
        break;
    case 1:
        change.sets_power = true;
        change.power = dice(history, 2) ? POWER_RUNNING : POWER_STOPPED;
        break;
    case 2:
        change.restarts = true;
        break;
    default:
        asked->places = true;
        asked->row = world_place(node, name, where);
        return;
    }
    asked->row = world_ask(node, &change, NULL);
}

static void place_all(struct history *history)
{
    for (int i = 0; i < NAMES; i++) {
        struct world_node *node = &history->world->nodes[dice(history, WORLD_NODES)];
        const char where[] = {(char)('a' + dice(history, WORLD_NODES)), '\0'};
        history->asked[history->n_asked++] = (struct asked){
            .node = node, .name = i, .places = true, .row = world_place(node, names[i], where)};
    }
}

static void ask_to_move(struct history *history, struct world_node *node)
{
    struct asked *asked = &history->asked[history->n_asked++];
    *asked = (struct asked){.node = node, .name = (int)dice(history, NAMES)};
    const char to[] = {(char)('a' + dice(history, WORLD_NODES)), '\0'};
    struct fleet_move move = {.name = names[asked->name],
        .verb = (enum fleet_move_verb)dice(history, FLEET_MOVE_VERB_COUNT_),
        .stops = true,
        .is_off = dice(history, 2)}; /* also where that is not so */
    bool has_target = move.verb == FLEET_MOVE_BEGIN || move.verb == FLEET_MOVE_RECREATE;
    move.to = has_target ? to : NULL;
    history->is_forced[asked->name] |=
        move.verb == FLEET_MOVE_RECREATE || move.verb == FLEET_MOVE_DESTROY;
    history->may_go[asked->name] |= move.verb == FLEET_MOVE_DESTROY;
    asked->row = world_ask_move(node, &move);
}

static void change_here(struct history *history, struct world_node *node)
{
    struct error err = {.code = ERR_NONE};
    const struct change change = {.name = names[dice(history, NAMES)],
        .sets_power = true,
        .power = dice(history, 2) ? POWER_RUNNING : POWER_STOPPED};
    struct change_outcome outcome = {.result = CHANGE_UNCHANGED};
    if (change_apply(node->store, &change, 1, &outcome, &err) == 0) {
        change_outcome_clear(&outcome);
    }
}

static void compact(struct history *history)
{
    int64_t revision = engine_fake_revision(history->world->fake);
    if (revision > history->compacted) {
        engine_fake_compact(history->world->fake, revision);
        history->compacted = revision;
    }
}

static void act(struct history *history)
{
    struct world *world = history->world;
    struct world_node *node = &world->nodes[dice(history, WORLD_NODES)];
    switch (dice(history, 14)) {
    case 0:
        engine_fake_cut(node->engine, true);
        break;
    case 1:
    case 2:
        engine_fake_cut(node->engine, false);
        break;
    case 3:
        world_kill(node);
        break;
    case 4:
        world_kill(node);
        world_start(node);
        break;
    case 5:
        engine_fake_lose_answers(node->engine, 1 + dice(history, 2));
        break;
    case 6:
        engine_fake_make_late(node->engine, 1, dice(history, 9000));
        break;
    case 7:
        engine_fake_delay(node->engine, dice(history, 300));
        break;
    case 8:
        compact(history);
        break;
    case 9:
        change_here(history, node);
        break;
    case 10:
    case 11:
        ask_to_move(history, node);
        break;
    default:
        ask_for(history, node);
    }
}

/* ---- what must hold ---- */

/* One that is taken from a node which is not heard of may run on there. */
static void check_life(
    const struct history *history, size_t n, const struct vm_desired *const *here)
{
    size_t count = 0;
    for (size_t i = 0; i < WORLD_NODES; i++) {
        count += here[i] && here[i]->power == POWER_RUNNING && !here[i]->is_deleting;
        for (size_t j = 0; here[i] && j < i; j++) {
            if (here[j] && text_eq(here[i]->uid, here[j]->uid) &&
                here[i]->fleet.epoch == here[j]->fleet.epoch) {
                fail_msg("%s is on two nodes in one epoch", names[n]);
            }
        }
    }
    if (count > 1 && !history->is_forced[n]) {
        fail_msg("%s runs on %zu nodes", names[n], count);
    }
}

static void check_lives(const struct history *history)
{
    for (size_t n = 0; n < NAMES; n++) {
        struct vm_record records[WORLD_NODES];
        const struct vm_desired *here[WORLD_NODES];
        for (size_t i = 0; i < WORLD_NODES; i++) {
            records[i] = world_record(&history->world->nodes[i], names[n]);
            const struct vm_desired *desired = records[i].desired;
            here[i] = desired && desired->fleet.epoch ? desired : NULL;
        }
        check_life(history, n, here);
        for (size_t i = 0; i < WORLD_NODES; i++) {
            vm_record_clear(&records[i]);
        }
    }
}

static char *key_of(const char *row)
{
    return mem_printf(FLEET_ROOT "home/%s", row);
}

/* What a node's copy of a row has besides. */
static void add_summary(const char *row, json_t *json)
{
    struct fleet_key key = fleet_row_parse(row);
    if (json && (key.kind == FLEET_KIND_VM || key.kind == FLEET_KIND_STATUS)) {
        fleet_summary_add(key.kind, json);
    }
    fleet_key_clear(&key);
}

/* A node's copy of a row is what etcd has, with the summary of just that. */
static void check_mirror(const struct world_node *node, const char *row)
{
    cleanup_free char *key = key_of(row);
    const char *text = engine_fake_get(node->world->fake, key);
    cleanup_json json_t *here = world_row(node, row);
    cleanup_json json_t *there = text ? json_loads(text, 0, NULL) : NULL;
    add_summary(row, there);
    if (!json_equal(here, there) && (here || there)) {
        cleanup_free char *shown = json_dumps(here, JSON_COMPACT | JSON_ENCODE_ANY);
        fail_msg("node %s has %s = %s, etcd %s", node->config->node, row, shown ? shown : "nothing",
            text ? text : "nothing");
    }
}

static void check_vm(struct history *history, size_t n)
{
    struct world *world = history->world;
    cleanup_free char *name_row = fleet_row(FLEET_KIND_NAME, names[n], NULL);
    cleanup_json json_t *owner = world_row(&world->nodes[0], name_row);
    for (size_t i = 0; i < world->count; i++) {
        struct world_node *node = &world->nodes[i];
        struct error err = {.code = ERR_NONE};
        cleanup_free char *vm_row = fleet_row(FLEET_KIND_VM, node->config->node, names[n]);
        cleanup_free char *key = key_of(vm_row);
        cleanup_with(vm_record_clear) struct vm_record record = world_record(node, names[n]);
        const char *text = engine_fake_get(world->fake, key);
        bool is_owner = text_eq(json_text(owner, "node"), node->config->node);
        if (is_owner != (text != NULL) || is_owner != (record.desired != NULL)) {
            fail_msg("%s: name/ says %d of node %s, vm/ %d, its store %d", names[n], is_owner,
                node->config->node, text != NULL, record.desired != NULL);
        }
        for (size_t k = 0; k < world->count; k++) {
            cleanup_free char *status_row =
                fleet_row(FLEET_KIND_STATUS, node->config->node, names[n]);
            check_mirror(&world->nodes[k], name_row);
            check_mirror(&world->nodes[k], vm_row);
            check_mirror(&world->nodes[k], status_row);
        }
        if (text) {
            struct vm_desired *object = vm_desired_read((struct bytes){text, strlen(text)}, &err);
            assert_non_null(object);
            assert_int_equal(object->generation, record.desired->generation);
            assert_int_equal(object->power, record.desired->power);
            assert_false(record.desired->fleet.is_ahead);
            assert_non_null(record.status);
            assert_int_equal(record.status->observed_generation, object->generation);
            vm_desired_free(object);
        }
    }
    if (history->is_placed[n] && !history->may_go[n] && !owner) {
        fail_msg("%s was accepted, and is gone", names[n]);
    }
}

/* What is promised is what there is. */
static void check_hold(const struct world *world)
{
    for (size_t i = 0; i < world->count; i++) {
        const char *node = world->nodes[i].config->node;
        cleanup_free char *hold_key = mem_printf(FLEET_ROOT "home/hold/%s", node);
        cleanup_free char *prefix = mem_printf(FLEET_ROOT "home/vm/%s/", node);
        cleanup_free char *coming = mem_printf(FLEET_ROOT "home/in/%s/", node);
        const char *text = engine_fake_get(world->fake, hold_key);
        cleanup_json json_t *hold = text ? json_loads(text, 0, NULL) : NULL;
        size_t n = engine_fake_count(world->fake, prefix) + engine_fake_count(world->fake, coming);
        assert_int_equal(json_int(hold, "vms", 0), n);
    }
}

static void take_answers(struct history *history)
{
    for (size_t i = 0; i < history->n_asked; i++) {
        struct asked *asked = &history->asked[i];
        struct error err = {.code = ERR_NONE};
        cleanup_json json_t *answer = world_answer(asked->node, asked->row);
        if (!answer) {
            fail_msg("%s of node %s is not answered", asked->row, asked->node->config->node);
        }
        if (asked->places && fleet_answer_error(answer, &err) == 0) {
            history->is_placed[asked->name] = true;
        }
        free(asked->row);
    }
}

static void heal(struct world *world)
{
    for (size_t i = 0; i < world->count; i++) {
        struct world_node *node = &world->nodes[i];
        engine_fake_cut(node->engine, false);
        engine_fake_delay(node->engine, 0);
        engine_fake_lose_answers(node->engine, 0);
        engine_fake_make_late(node->engine, 0, 0);
        if (!node->messenger) {
            world_start(node);
        }
    }
}

/* From then on nothing is done: what is there stays. */
static void check_restored(struct world *world, const struct engine_fake_snapshot *snapshot)
{
    bool had[WORLD_NODES][NAMES];
    for (size_t i = 0; i < world->count; i++) {
        for (size_t n = 0; n < NAMES; n++) {
            had[i][n] = world_has(&world->nodes[i], names[n]);
        }
    }
    engine_fake_restore(world->fake, snapshot);
    loop_fake_advance(world->loop, 60 * 1000);
    for (size_t i = 0; i < world->count; i++) {
        assert_true(world_link_is(&world->nodes[i], "frozen"));
        for (size_t n = 0; n < NAMES; n++) {
            assert_int_equal(world_has(&world->nodes[i], names[n]), had[i][n]);
        }
    }
}

static void run_seed(uint64_t seed)
{
    struct history history = {.world = world_new(WORLD_NODES), .rng = seed};
    struct world *world = history.world;
    world->fetches = true;
    loop_fake_advance(world->loop, 5000);
    struct engine_fake_snapshot *snapshot = engine_fake_save(world->fake);
    if (seed % 2) {
        place_all(&history);
    }
    for (int i = 0; i < ACTIONS; i++) {
        act(&history);
        loop_fake_advance(world->loop, dice(&history, 4) == 0 ? 20000 : dice(&history, 1500));
        check_lives(&history);
        check_hold(world);
    }
    heal(world);
    for (int i = 0; i < HEAL_S; i++) {
        loop_fake_advance(world->loop, 1000);
        check_lives(&history);
    }
    check_hold(world);
    take_answers(&history);
    for (size_t n = 0; n < NAMES; n++) {
        check_vm(&history, n);
    }
    if (seed % 5 == 0) {
        check_restored(world, snapshot);
    }
    engine_fake_snapshot_free(snapshot);
    world_free(world);
}

static uint64_t number_of(const char *variable, uint64_t otherwise)
{
    const char *text = getenv(variable);
    uint64_t number;
    return text && text_to_u64(text, 0, UINT64_MAX / 2, &number) ? number : otherwise;
}

static void every_seed_comes_to_what_etcd_says(void **state)
{
    (void)state;
    uint64_t first = number_of("VMCTL_FLEET_SEED", 1), count = number_of("VMCTL_FLEET_SEEDS", 30);
    for (uint64_t seed = first; seed < first + count; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        run_seed(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_seed_comes_to_what_etcd_says)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
