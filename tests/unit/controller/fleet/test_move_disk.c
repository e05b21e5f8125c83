/* SPDX-License-Identifier: MPL-2.0 */
/* A VM that another node fetches: off before, its old node's until the new one has it, and one VM
 * whatever is killed. */
#include "tests/support/loop_fake.h"
#include "tests/unit/controller/fleet/move_world.h"

static char *ask_begin(struct world *world, bool stops)
{
    const struct fleet_move move = {
        .name = "web", .verb = FLEET_MOVE_BEGIN, .to = "c", .stops = stops};
    return world_ask_move(&world->nodes[0], &move);
}

static char *ask_cancel(struct world *world)
{
    const struct fleet_move move = {.name = "web", .verb = FLEET_MOVE_CANCEL};
    return world_ask_move(&world->nodes[0], &move);
}

/* What `vmctl fleet fetch` does in the end. */
static void fetch(struct world_node *node, const char *token)
{
    struct error err = {.code = ERR_NONE};
    struct store_batch *batch = store_batch_new();
    cleanup_json json_t *done = json_object();
    json_put_text(done, "token", token);
    json_put_flag(done, "isDone", true);
    store_batch_put_json(batch, STORE_FLEET, "fetched/web", done);
    world_must(store_commit(node->store, batch, &err), &err);
    store_batch_free(batch);
    if (node->messenger) {
        messenger_ring(node->messenger);
    }
}

static json_t *incoming(const struct world *world)
{
    const char *text = move_etcd_has(world, "in/c/web");
    return text ? json_loads(text, 0, NULL) : NULL;
}

static void fetch_offered(struct world *world)
{
    cleanup_json json_t *row = incoming(world);
    assert_true(json_flag(row, "offered", false));
    fetch(&world->nodes[2], json_text(row, "token"));
}

static enum power power_of(const struct world_node *node)
{
    cleanup_with(vm_record_clear) struct vm_record record = world_record(node, "web");
    return record.desired ? record.desired->power : POWER_COUNT_;
}

static void it_is_off_before_it_is_fetched_and_there_when_it_was(void **state)
{
    struct world *world = *state;
    struct world_node *b = &world->nodes[1], *c = &world->nodes[2];
    cleanup_free char *running = ask_begin(world, false);
    world_advance(world, 2);
    assert_answer(&world->nodes[0], running, ERR_VM_INVALID_STATE);
    assert_null(move_etcd_has(world, "in/c/web"));
    b->is_off = true; /* its vmctld has not seen it yet, and might be starting it */
    cleanup_free char *row = ask_begin(world, true);
    world_advance(world, 5);
    assert_answer(&world->nodes[0], row, ERR_NONE);
    assert_int_equal(power_of(b), POWER_STOPPED);
    cleanup_json json_t *early = incoming(world);
    assert_non_null(early);
    assert_false(json_flag(early, "offered", false));
    fetch(c, json_text(early, "token"));
    world_advance(world, 5);
    assert_false(world_has(c, "web"));
    b->is_off = false;
    world_advance(world, 10);
    assert_moved(world);
    assert_int_equal(power_of(c), POWER_RUNNING);
    assert_null(move_etcd_has(world, "in/c/web"));
    cleanup_json json_t *left = world_row(c, "fetched/web");
    assert_null(left);
}

static void what_moves_is_not_changed_but_may_be_destroyed(void **state)
{
    struct world *world = *state;
    struct world_node *a = &world->nodes[0], *b = &world->nodes[1];
    struct error err = {.code = ERR_NONE};
    const struct change start = {.name = "web", .sets_power = true, .power = POWER_RUNNING};
    const struct change deletion = {.name = "web", .deletes = true};
    struct change_outcome outcome;
    free(ask_begin(world, true));
    world_advance(world, 5);
    cleanup_free char *asked = world_ask(a, &start, NULL);
    world_advance(world, 2);
    assert_answer(a, asked, ERR_VM_INVALID_STATE);
    assert_int_equal(change_apply(b->store, &start, 1, &outcome, &err), -ERR_VM_INVALID_STATE);
    cleanup_free char *destroy = world_ask(a, &deletion, NULL);
    world_advance(world, 5);
    assert_answer(a, destroy, ERR_NONE);
    assert_null(move_etcd_has(world, "in/c/web"));
    assert_null(move_etcd_has(world, "name/web"));
    assert_false(world_has(b, "web"));
}

static void a_move_that_is_cancelled_leaves_it_as_it_was(void **state)
{
    struct world *world = *state;
    struct world_node *a = &world->nodes[0], *b = &world->nodes[1];
    cleanup_free char *none = ask_cancel(world);
    world_advance(world, 2);
    assert_answer(a, none, ERR_VM_INVALID_STATE);
    free(ask_begin(world, true));
    world_advance(world, 5);
    assert_int_equal(power_of(b), POWER_STOPPED);
    cleanup_free char *row = ask_cancel(world);
    world_advance(world, 5);
    assert_answer(a, row, ERR_NONE);
    assert_int_equal(power_of(b), POWER_RUNNING);
    assert_null(move_etcd_has(world, "in/c/web"));
    /* what was fetched for it is of no use any more, nor for the next one */
    fetch(&world->nodes[2], "0123456789abcdef0123456789abcdef");
    world_advance(world, 5);
    cleanup_json json_t *left = world_row(&world->nodes[2], "fetched/web");
    assert_null(left);
    free(ask_begin(world, true));
    world_advance(world, 5);
    fetch(&world->nodes[2], "0123456789abcdef0123456789abcdef");
    world_advance(world, 5);
    assert_false(world_has(&world->nodes[2], "web"));
    assert_int_equal(move_epoch_of(b, "web"), 1);
}

static void its_node_may_be_gone_once_it_was_fetched(void **state)
{
    struct world *world = *state;
    free(ask_begin(world, true));
    world_advance(world, 5);
    cleanup_json json_t *row = incoming(world);
    move_lose(world, &world->nodes[1]);
    fetch(&world->nodes[2], json_text(row, "token"));
    world_advance(world, 5);
    assert_int_equal(move_epoch_of(&world->nodes[2], "web"), 2);
    world_start(&world->nodes[1]);
    world_advance(world, 10);
    assert_moved(world);
}

static void one_on_its_way_whose_node_is_lost_is_made_again(void **state)
{
    struct world *world = *state;
    free(ask_begin(world, true));
    world_advance(world, 5);
    move_lose(world, &world->nodes[1]);
    cleanup_free char *moving = ask_begin(world, true), *row = NULL;
    world_advance(world, 2);
    assert_answer(&world->nodes[0], moving, ERR_NONE); /* it does so already */
    row = move_ask_recreate(world, "c", true);
    world_advance(world, 5);
    assert_answer(&world->nodes[0], row, ERR_NONE);
    assert_null(move_etcd_has(world, "in/c/web"));
    assert_int_equal(power_of(&world->nodes[2]), POWER_RUNNING);
    world_start(&world->nodes[1]);
    world_advance(world, 10);
    assert_moved(world);
}

static void a_row_that_is_lost_on_the_way_is_put_again(void **state)
{
    struct world *world = *state;
    free(ask_begin(world, true));
    world_advance(world, 5);
    engine_fake_delete(world->fake, FLEET_ROOT "home/in/c/web", false);
    world_advance(world, 15);
    fetch_offered(world);
    world_advance(world, 10);
    assert_moved(world);
}

/* A host's own VM took the name meanwhile. */
static void it_stays_where_it_is_while_the_other_node_has_its_name(void **state)
{
    struct world *world = *state;
    struct world_node *c = &world->nodes[2];
    struct error err = {.code = ERR_NONE};
    struct vm_spec *spec = vm_spec_new("web");
    spec->backend = BACKEND_NOOP;
    const struct change change = {.name = "web", .spec = spec};
    const struct change deletion = {.name = "web", .deletes = true};
    struct change_outcome outcome;
    free(ask_begin(world, true));
    world_advance(world, 5);
    world_must(change_apply(c->store, &change, 1, &outcome, &err), &err);
    change_outcome_clear(&outcome);
    fetch_offered(world);
    world_advance(world, 5);
    assert_non_null(move_etcd_has(world, "vm/b/web"));
    cleanup_json json_t *row = incoming(world);
    assert_non_null(strstr(json_text(row, "error"), "of that name"));
    world_must(change_apply(c->store, &deletion, 1, &outcome, &err), &err);
    change_outcome_clear(&outcome);
    vm_spec_free(spec);
    messenger_ring(c->messenger);
    world_advance(world, 10);
    assert_moved(world);
}

/* The messenger of each side, at each call of the engine, with its answers lost or late. */
static void a_disk_moves_once_whatever_is_killed(void **state)
{
    (void)state;
    for (size_t call = 1; call < 9; call++) {
        for (size_t victim = 0; victim < 3; victim++) {
            struct world *world;
            (void)move_set_up((void **)&world);
            struct world_node *node = &world->nodes[victim];
            size_t before = engine_fake_calls(node->engine);
            cleanup_free char *row = ask_begin(world, true);
            for (int i = 0; i < 3000 && engine_fake_calls(node->engine) < before + call; i++) {
                loop_fake_advance(world->loop, 10);
                cleanup_json json_t *now = incoming(world);
                if (json_flag(now, "offered", false)) {
                    fetch(&world->nodes[2], json_text(now, "token"));
                }
            }
            if (call % 3 == 1) {
                engine_fake_lose_answers(node->engine, 1);
            } else if (call % 3 == 2) {
                engine_fake_make_late(node->engine, 1, 500);
            }
            world_kill(node);
            loop_fake_advance(world->loop, 100);
            world_start(node);
            world_advance(world, 30);
            if (!world_has(&world->nodes[2], "web")) {
                fetch_offered(world);
            }
            world_advance(world, 30);
            assert_answer(&world->nodes[0], row, ERR_NONE);
            assert_moved(world);
            world_free(world);
        }
    }
}

static void add_snapshot(struct world_node *node, const char *name)
{
    struct error err = {.code = ERR_NONE};
    struct store_batch *batch = store_batch_new();
    cleanup_with(vm_record_clear) struct vm_record record = world_record(node, "web");
    vm_status_add_snapshot(record.status, name, "", 0, 1);
    store_batch_put_status(batch, "web", record.status);
    world_must(store_commit(node->store, batch, &err), &err);
    store_batch_free(batch);
    messenger_ring(node->messenger);
}

static void assert_says(const struct world_node *node, const char *row, const char *text)
{
    cleanup_json json_t *answer = world_answer(node, row);
    cleanup_free char *shown = json_dumps(answer, JSON_COMPACT);
    if (!shown || !strstr(shown, text)) {
        fail_msg("not '%s': %s", text, shown ? shown : "no answer");
    }
}

static void its_snapshots_stay_behind_only_if_that_is_said(void **state)
{
    struct world *world = *state;
    struct world_node *a = &world->nodes[0];
    add_snapshot(&world->nodes[1], "before");
    add_snapshot(&world->nodes[1], "clean");
    world_advance(world, 2);
    cleanup_free char *refused = ask_begin(world, true);
    world_advance(world, 2);
    assert_answer(a, refused, ERR_VM_INVALID_STATE);
    assert_says(a, refused, "leaves behind: before, clean");
    assert_says(a, refused, "vmctl move web --to c --stop --without-snapshots");
    assert_null(move_etcd_has(world, "in/c/web"));
    const struct fleet_move move = {.name = "web",
        .verb = FLEET_MOVE_BEGIN,
        .to = "c",
        .stops = true,
        .leaves_snapshots = true};
    cleanup_free char *taken = world_ask_move(a, &move);
    world_advance(world, 5);
    assert_answer(a, taken, ERR_NONE);
    cleanup_json json_t *row = incoming(world); /* its node sends it for that word alone */
    assert_true(json_flag(row, "offered", false));
    assert_true(json_flag(row, "leavesSnapshots", false));
    fetch_offered(world);
    world_advance(world, 30);
    assert_moved(world);
}

static void of_one_without_any_nothing_is_said(void **state)
{
    struct world *world = *state;
    cleanup_free char *row = ask_begin(world, true);
    world_advance(world, 5);
    cleanup_json json_t *moving = incoming(world);
    assert_null(json_object_get(moving, "leavesSnapshots"));
    assert_null(strstr(move_etcd_has(world, "st/b/web"), "snapshots"));
}

int main(void)
{
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, move_set_up, world_tear_down)
    const struct CMUnitTest tests[] = {
        IN_WORLD(it_is_off_before_it_is_fetched_and_there_when_it_was),
        IN_WORLD(what_moves_is_not_changed_but_may_be_destroyed),
        IN_WORLD(a_move_that_is_cancelled_leaves_it_as_it_was),
        IN_WORLD(its_node_may_be_gone_once_it_was_fetched),
        IN_WORLD(one_on_its_way_whose_node_is_lost_is_made_again),
        IN_WORLD(a_row_that_is_lost_on_the_way_is_put_again),
        IN_WORLD(it_stays_where_it_is_while_the_other_node_has_its_name),
        IN_WORLD(its_snapshots_stay_behind_only_if_that_is_said),
        IN_WORLD(of_one_without_any_nothing_is_said),
        cmocka_unit_test(a_disk_moves_once_whatever_is_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
