/* SPDX-License-Identifier: MPL-2.0 */
/* A VM whose node is not heard of gets another one, or is given up; and what that node does when
 * it is back. */
#include "tests/support/loop_fake.h"
#include "tests/unit/controller/fleet/move_world.h"

static void a_whole_lease_passes_before_it_is_made_again_elsewhere(void **state)
{
    struct world *world = *state;
    move_lose(world, &world->nodes[1]);
    cleanup_free char *row = move_ask_recreate(world, "c", false);
    world_advance(world, FLEET_TTL_S);
    assert_false(move_is_answered(&world->nodes[0], row));
    assert_non_null(move_etcd_has(world, "vm/b/web"));
    world_advance(world, 3);
    assert_answer(&world->nodes[0], row, ERR_NONE);
    assert_int_equal(move_epoch_of(&world->nodes[2], "web"), 2);
    assert_int_equal(move_epoch_of(&world->nodes[1], "web"), 1); /* it is off, and knows nothing */
    assert_int_equal(move_count_marks(world), 1);

    world_start(&world->nodes[1]);
    world_advance(world, 10);
    assert_moved(world);
    struct event_list events = {.count = 0};
    struct error err = {.code = ERR_NONE};
    world_must(store_list_events(world->nodes[1].store, "web", 0, 0, &events, &err), &err);
    assert_int_equal(events.items[events.count - 1].reason, REASON_MOVED_AWAY);
    assert_string_equal(events.items[events.count - 1].message, "node c has it now");
    event_list_clear(&events);
}

static void what_is_off_by_the_users_word_is_not_waited_for(void **state)
{
    struct world *world = *state;
    cleanup_free char *early = move_ask_recreate(world, "c", true);
    world_advance(world, 1);
    assert_answer(&world->nodes[0], early, ERR_VM_INVALID_STATE); /* it is heard of */
    move_lose(world, &world->nodes[1]);
    cleanup_free char *row = move_ask_recreate(world, "c", true);
    world_advance(world, 1);
    assert_answer(&world->nodes[0], row, ERR_NONE);
    world_start(&world->nodes[1]);
    world_advance(world, 10);
    assert_moved(world);
}

static void a_node_that_is_heard_of_keeps_its_vm(void **state)
{
    struct world *world = *state;
    cleanup_free char *row = move_ask_recreate(world, "c", false);
    world_advance(world, 1);
    assert_answer(&world->nodes[0], row, ERR_VM_INVALID_STATE);
    /* its lease ends by mistake, again and again */
    for (int i = 0; i < 4; i++) {
        engine_fake_delete(world->fake, FLEET_ROOT "home/alive/b", false);
        cleanup_free char *again = move_ask_recreate(world, "c", false);
        world_advance(world, 2 * FLEET_TTL_S);
        assert_answer(&world->nodes[0], again, ERR_VM_INVALID_STATE);
        assert_int_equal(move_epoch_of(&world->nodes[1], "web"), 1);
        assert_false(world_has(&world->nodes[2], "web"));
    }
    assert_int_equal(move_count_marks(world), 0);
}

/* Nobody sees that it was back: reg/b shows it. */
static void a_node_that_was_back_in_between_is_waited_for_anew(void **state)
{
    struct world *world = *state;
    move_lose(world, &world->nodes[1]);
    cleanup_free char *row = move_ask_recreate(world, "c", false);
    world_advance(world, FLEET_TTL_S - 2);
    engine_fake_put(world->fake, FLEET_ROOT "home/reg/b", "{\"session\":\"other\"}");
    world_advance(world, FLEET_TTL_S - 2);
    assert_false(move_is_answered(&world->nodes[0], row));
    world_advance(world, 5);
    assert_answer(&world->nodes[0], row, ERR_NONE);
}

static void a_node_that_comes_back_while_it_is_waited_for_keeps_its_vm(void **state)
{
    struct world *world = *state;
    move_lose(world, &world->nodes[1]);
    cleanup_free char *row = move_ask_recreate(world, "c", false);
    world_advance(world, FLEET_TTL_S - 5);
    world_start(&world->nodes[1]);
    world_advance(world, 60);
    assert_answer(&world->nodes[0], row, ERR_VM_INVALID_STATE);
    assert_int_equal(move_epoch_of(&world->nodes[1], "web"), 1);
    assert_int_equal(move_count_marks(world), 0);
}

static void it_is_given_up_and_set_aside_when_its_node_is_back(void **state)
{
    struct world *world = *state;
    const struct fleet_move move = {.name = "web", .verb = FLEET_MOVE_DESTROY, .is_off = true};
    move_lose(world, &world->nodes[1]);
    cleanup_free char *row = world_ask_move(&world->nodes[0], &move);
    world_advance(world, 2);
    assert_answer(&world->nodes[0], row, ERR_NONE);
    assert_null(move_etcd_has(world, "name/web"));
    /* the name is free */
    cleanup_free char *place = world_place(&world->nodes[0], "web", "c");
    world_advance(world, 5);
    assert_answer(&world->nodes[0], place, ERR_NONE);
    world_start(&world->nodes[1]);
    world_advance(world, 10);
    assert_false(world_has(&world->nodes[1], "web"));
    assert_true(world_has(&world->nodes[2], "web"));
    assert_int_equal(move_count_marks(world), 0);
    cleanup_free char *again = world_ask_move(&world->nodes[1],
        &(struct fleet_move){.name = "nobody", .verb = FLEET_MOVE_DESTROY, .is_off = true});
    world_advance(world, 2);
    assert_answer(&world->nodes[1], again, ERR_VM_NOT_FOUND);
}

/* The store of b is new, and it has the name again for a VM of its own. */
static void a_mark_of_what_is_not_there_any_more_goes(void **state)
{
    struct world *world = *state;
    struct world_node *b = &world->nodes[1];
    struct error err = {.code = ERR_NONE};
    move_lose(world, b);
    b->is_off = true;
    cleanup_free char *row = move_ask_recreate(world, "c", true);
    world_advance(world, 2);
    assert_answer(&world->nodes[0], row, ERR_NONE);
    cleanup_with(vm_record_clear) struct vm_record record = world_record(b, "web");
    struct store_batch *batch = store_batch_new();
    store_batch_forget_vm(batch, "web", record.desired->uid);
    world_must(store_commit(b->store, batch, &err), &err);
    store_batch_free(batch);
    struct vm_spec *spec = vm_spec_new("web");
    spec->backend = BACKEND_NOOP;
    const struct change change = {.name = "web", .spec = spec};
    struct change_outcome outcome;
    world_must(change_apply(b->store, &change, 1, &outcome, &err), &err);
    change_outcome_clear(&outcome);
    vm_spec_free(spec);
    world_start(b);
    world_advance(world, 10);
    assert_int_equal(move_count_marks(world), 0);
    cleanup_with(vm_record_clear) struct vm_record now = world_record(b, "web");
    assert_int_equal(now.desired->fleet.epoch, 0);
    assert_false(now.desired->is_deleting);
}

/* … and of its earlier life only the directory is left. */
static void files_of_an_earlier_life_are_set_aside_by_their_mark_alone(void **state)
{
    struct world *world = *state;
    struct world_node *b = &world->nodes[1];
    struct error err = {.code = ERR_NONE};
    move_lose(world, b);
    b->is_off = true;
    free(move_ask_recreate(world, "c", true));
    world_advance(world, 2);
    cleanup_with(vm_record_clear) struct vm_record record = world_record(b, "web");
    struct store_batch *batch = store_batch_new();
    store_batch_forget_vm(batch, "web", record.desired->uid);
    world_must(store_commit(b->store, batch, &err), &err);
    store_batch_free(batch);
    cleanup_free char *directory = paths_vm(&b->paths, "web", VM_DIR);
    world_must(fs_make_dirs(directory, 0700, &err), &err);
    world_start(b);
    world_advance(world, 10);
    cleanup_with(vm_record_clear) struct vm_record fenced = world_record(b, "web");
    assert_true(fenced.desired->fleet.is_fenced);
    assert_true(fenced.desired->is_deleting);
    assert_int_equal(fenced.desired->fleet.epoch, 1);
    assert_int_equal(move_count_marks(world), 1);
    world_must(fs_remove_tree(directory, &err), &err); /* vmctld has set it aside */
    b->is_off = false;
    world_advance(world, 10);
    assert_moved(world);
}

/* Back and forth while b is off all the time: what it has is two lives old. */
static void it_comes_back_to_a_node_that_still_has_an_earlier_life(void **state)
{
    struct world *world = *state;
    struct world_node *b = &world->nodes[1];
    move_lose(world, b);
    free(move_ask_recreate(world, "c", true));
    world_advance(world, 5);
    move_lose(world, &world->nodes[2]);
    world_start(b); /* its vmctld takes its time */
    b->is_off = true;
    world_advance(world, 5);
    cleanup_free char *row = move_ask_recreate(world, "b", true);
    world_advance(world, 5);
    assert_answer(&world->nodes[0], row, ERR_NONE);
    cleanup_with(vm_record_clear) struct vm_record fenced = world_record(b, "web");
    assert_true(fenced.desired->fleet.is_fenced);
    b->is_off = false;
    world_advance(world, 10);
    assert_int_equal(move_epoch_of(b, "web"), 3);
    world_start(&world->nodes[2]);
    world_advance(world, 10);
    assert_false(world_has(&world->nodes[2], "web"));
    assert_int_equal(move_count_marks(world), 0);
}

static void what_cannot_be_is_refused(void **state)
{
    struct world *world = *state;
    struct world_node *a = &world->nodes[0];
    struct error err = {.code = ERR_NONE};
    struct vm_spec *spec = vm_spec_new("web");
    spec->backend = BACKEND_NOOP;
    const struct change change = {.name = "web", .spec = spec};
    struct change_outcome outcome;
    world_must(change_apply(world->nodes[2].store, &change, 1, &outcome, &err), &err);
    change_outcome_clear(&outcome);
    vm_spec_free(spec);
    world_advance(world, 10);
    move_lose(world, &world->nodes[1]);
    cleanup_free char *taken = move_ask_recreate(world, "c", true);
    cleanup_free char *unknown = move_ask_recreate(world, "z", true);
    cleanup_free char *same = move_ask_recreate(world, "b", true);
    world_advance(world, 3);
    assert_answer(a, taken, ERR_FLEET_NAME_TAKEN);
    assert_answer(a, unknown, ERR_FLEET_NO_NODE);
    assert_answer(a, same, ERR_NONE); /* it is there */
    assert_int_equal(move_count_marks(world), 0);
    engine_fake_cut(a->engine, true);
    world_advance(world, 60);
    cleanup_free char *cut = move_ask_recreate(world, "a", true);
    world_advance(world, 10);
    assert_answer(a, cut, ERR_FLEET_UNREACHABLE);
}

static void one_that_has_something_of_its_host_stays(void **state)
{
    struct world *world = *state;
    struct world_node *a = &world->nodes[0];
    struct vm_spec *spec = vm_spec_new("db");
    spec->backend = BACKEND_NOOP;
    mem_grow(spec->volumes, spec->n_volumes);
    spec->volumes[spec->n_volumes++] = (struct spec_volume){.name = mem_strdup("data")};
    const struct change change = {.name = "db", .spec = spec};
    free(world_ask(a, &change, "b"));
    world_advance(world, 10);
    vm_spec_free(spec);
    move_lose(world, &world->nodes[1]);
    const struct fleet_move move = {
        .name = "db", .verb = FLEET_MOVE_RECREATE, .to = "c", .is_off = true};
    cleanup_free char *row = world_ask_move(a, &move);
    world_advance(world, 3);
    assert_answer(a, row, ERR_VM_INVALID_STATE);
}

/* Killed at each call of the engine, with its answers lost or late: it is done once. */
static void a_move_is_done_once_whatever_is_killed(void **state)
{
    (void)state;
    for (size_t call = 1; call < 8; call++) {
        for (unsigned fault = 0; fault < 3; fault++) {
            struct world *world;
            (void)move_set_up((void **)&world);
            struct world_node *a = &world->nodes[0];
            move_lose(world, &world->nodes[1]);
            size_t before = engine_fake_calls(a->engine);
            cleanup_free char *row = move_ask_recreate(world, "c", true);
            for (int i = 0; i < 3000 && engine_fake_calls(a->engine) < before + call; i++) {
                loop_fake_advance(world->loop, 10);
            }
            if (fault == 1) {
                engine_fake_lose_answers(a->engine, 1);
            } else if (fault == 2) {
                engine_fake_make_late(a->engine, 1, 500);
            }
            world_kill(a);
            loop_fake_advance(world->loop, 100);
            world_start(a);
            world_advance(world, 60);
            assert_answer(a, row, ERR_NONE);
            assert_int_equal(move_epoch_of(&world->nodes[2], "web"), 2);
            world_start(&world->nodes[1]);
            world_advance(world, 10);
            assert_moved(world);
            world_free(world);
        }
    }
}

static void a_move_whose_answer_is_lost_is_found_done(void **state)
{
    struct world *world = *state;
    struct world_node *a = &world->nodes[0];
    move_lose(world, &world->nodes[1]);
    engine_fake_lose_answers(a->engine, 1);
    cleanup_free char *row = move_ask_recreate(world, "c", true);
    world_advance(world, 60);
    assert_answer(a, row, ERR_NONE);
    assert_int_equal(move_epoch_of(&world->nodes[2], "web"), 2);
    const struct fleet_move move = {.name = "web", .verb = FLEET_MOVE_DESTROY, .is_off = true};
    move_lose(world, &world->nodes[2]);
    engine_fake_lose_answers(a->engine, 1);
    cleanup_free char *gone = world_ask_move(a, &move);
    world_advance(world, 60);
    assert_answer(a, gone, ERR_NONE);
}

/* Two hosts ask at once, for different nodes. */
static void of_two_that_move_it_one_wins(void **state)
{
    struct world *world = *state;
    struct world_node *a = &world->nodes[0], *c = &world->nodes[2];
    const struct fleet_move to_a = {
        .name = "web", .verb = FLEET_MOVE_RECREATE, .to = "a", .is_off = true};
    move_lose(world, &world->nodes[1]);
    cleanup_free char *x = move_ask_recreate(world, "c", true), *y = world_ask_move(c, &to_a);
    world_advance(world, 20);
    assert_int_equal(world_has(a, "web") + world_has(c, "web"), 1);
    assert_true(move_is_answered(a, x));
    assert_true(move_is_answered(c, y));
}

int main(void)
{
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, move_set_up, world_tear_down)
    const struct CMUnitTest tests[] = {
        IN_WORLD(a_whole_lease_passes_before_it_is_made_again_elsewhere),
        IN_WORLD(what_is_off_by_the_users_word_is_not_waited_for),
        IN_WORLD(a_node_that_is_heard_of_keeps_its_vm),
        IN_WORLD(a_node_that_was_back_in_between_is_waited_for_anew),
        IN_WORLD(a_node_that_comes_back_while_it_is_waited_for_keeps_its_vm),
        IN_WORLD(it_is_given_up_and_set_aside_when_its_node_is_back),
        IN_WORLD(a_mark_of_what_is_not_there_any_more_goes),
        IN_WORLD(files_of_an_earlier_life_are_set_aside_by_their_mark_alone),
        IN_WORLD(it_comes_back_to_a_node_that_still_has_an_earlier_life),
        IN_WORLD(what_cannot_be_is_refused),
        IN_WORLD(one_that_has_something_of_its_host_stays),
        cmocka_unit_test(a_move_is_done_once_whatever_is_killed),
        IN_WORLD(a_move_whose_answer_is_lost_is_found_done),
        IN_WORLD(of_two_that_move_it_one_wins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
