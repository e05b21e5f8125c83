/* SPDX-License-Identifier: MPL-2.0 */
/* An etcd that was wiped or restored is filled again from the nodes: the later life of a VM wins.
 */
#include "specs/fleet/fleet_files.h"
#include "store/source/kept_files.h"
#include "tests/support/loop_fake.h"
#include "tests/unit/controller/fleet/fleet_world.h"

/* As `vmctl fleet rebuild` begins on each node. */
static void accept_again(struct world_node *node)
{
    struct error err = {.code = ERR_NONE};
    struct store_batch *batch = store_batch_new();
    cleanup_json json_t *rows = NULL;
    const char *row;
    json_t *value;
    world_kill(node);
    world_must(store_list_json(node->store, STORE_FLEET, &rows, &err), &err);
    json_object_foreach(rows, row, value)
    {
        store_batch_put_json(batch, STORE_FLEET, row, NULL);
    }
    world_must(store_commit(node->store, batch, &err), &err);
    store_batch_free(batch);
    world_start(node);
}

static void wipe(struct world *world)
{
    engine_fake_wipe(world->fake);
    world_advance(world, 20);
    assert_true(world_link_is(&world->nodes[1], "frozen"));
    engine_fake_put(world->fake, FLEET_ROOT "home/fleet", "{\"v\":1,\"uid\":\"f-1\"}");
    for (size_t i = 0; i < world->count; i++) {
        accept_again(&world->nodes[i]);
    }
    world_advance(world, 10);
    assert_true(world_link_is(&world->nodes[0], "up"));
}

static char *republish(struct world_node *node, const char *name)
{
    struct error err = {.code = ERR_NONE};
    struct store_batch *batch = store_batch_new();
    cleanup_json json_t *ask =
        fleet_ask_new_republish(clock_wall_ms(loop_clock(node->world->loop)));
    cleanup_free char *id =
        mem_printf("r%s-%llu", node->config->node, (unsigned long long)node->n_asks++);
    char *row = fleet_row(FLEET_KIND_ASK, id, NULL);
    fleet_ask_add_republish(ask, name);
    store_batch_put_json(batch, STORE_FLEET, row, ask);
    world_must(store_commit(node->store, batch, &err), &err);
    store_batch_free(batch);
    if (node->messenger) {
        messenger_ring(node->messenger);
    }
    return row;
}

static enum error_code code_of(const struct world_node *node, const char *row)
{
    cleanup_json json_t *answer = world_answer(node, row);
    struct error err = {.code = ERR_NONE};
    assert_non_null(answer);
    (void)fleet_answer_error(answer, &err);
    return err.code;
}

static void assert_owner(const struct world *world, const char *node, int64_t epoch)
{
    const char *text = engine_fake_get(world->fake, FLEET_ROOT "home/name/web");
    cleanup_json json_t *owner = text ? json_loads(text, 0, NULL) : NULL;
    assert_non_null(owner);
    assert_string_equal(json_text(owner, "node"), node);
    assert_int_equal(json_int(owner, "epoch", 0), epoch);
}

static void what_was_lost_is_there_again_as_it_was(void **state)
{
    struct world *world = *state;
    struct world_node *a = &world->nodes[0], *b = &world->nodes[1];
    free(world_place(a, "web", "b"));
    world_advance(world, 10);
    wipe(world);
    cleanup_with(vm_record_clear) struct vm_record before = world_record(b, "web");
    assert_non_null(before.desired); /* it runs on … */
    cleanup_json json_t *status = world_row(a, "st/b/web");
    cleanup_free char *text = json_dumps(status, JSON_COMPACT);
    assert_non_null(strstr(text, "FleetRecordMissing")); /* … and says what is wrong */

    cleanup_free char *row = republish(b, "web");
    world_advance(world, 10);
    assert_int_equal(code_of(b, row), ERR_NONE);
    assert_owner(world, "b", 1);
    cleanup_with(vm_record_clear) struct vm_record after = world_record(b, "web");
    assert_string_equal(after.desired->uid, before.desired->uid);
    assert_int_equal(after.desired->generation, before.desired->generation);
    const char *hold = engine_fake_get(world->fake, FLEET_ROOT "home/hold/b");
    assert_non_null(strstr(hold, "\"vms\":1"));
    cleanup_json json_t *well = world_row(a, "st/b/web");
    cleanup_free char *now = json_dumps(well, JSON_COMPACT);
    assert_null(strstr(now, "FleetRecordMissing"));
    const struct change stop = {.name = "web", .sets_power = true, .power = POWER_STOPPED};
    free(world_ask(a, &stop, NULL));
    world_advance(world, 10);
    cleanup_with(vm_record_clear) struct vm_record stopped = world_record(b, "web");
    assert_int_equal(stopped.desired->power, POWER_STOPPED);
    cleanup_free char *again = republish(b, "web");
    world_advance(world, 5);
    assert_int_equal(code_of(b, again), ERR_NONE);
}

static void what_is_not_the_fleets_here_is_refused(void **state)
{
    struct world *world = *state;
    cleanup_free char *row = republish(&world->nodes[0], "nobody");
    world_advance(world, 5);
    assert_int_equal(code_of(&world->nodes[0], row), ERR_VM_NOT_FOUND);
}

/* A record of the VM in a later epoch, as after a move whose marks etcd has lost. */
static void put_later(struct world_node *node, const struct vm_desired *first)
{
    struct error err = {.code = ERR_NONE};
    struct store_batch *batch = store_batch_new();
    struct vm_desired *later = vm_desired_copy(first);
    later->fleet.epoch = 2;
    later->revision = 0;
    store_batch_put_desired(batch, later, 0);
    world_must(store_commit(node->store, batch, &err), &err);
    store_batch_free(batch);
    vm_desired_free(later);
}

static void check_later_life(struct world *world, bool is_later_first)
{
    struct world_node *a = &world->nodes[0], *b = &world->nodes[1];
    free(world_place(a, "web", "b"));
    world_advance(world, 10);
    cleanup_with(vm_record_clear) struct vm_record record = world_record(b, "web");
    world_kill(a);
    put_later(a, record.desired);
    wipe(world);
    cleanup_free char *first = republish(is_later_first ? a : b, "web");
    world_advance(world, 10);
    cleanup_free char *second = republish(is_later_first ? b : a, "web");
    world_advance(world, 10);
    assert_int_equal(code_of(is_later_first ? a : b, first), ERR_NONE);
    assert_int_equal(
        code_of(is_later_first ? b : a, second), is_later_first ? ERR_VM_NOT_FOUND : ERR_NONE);
    assert_owner(world, "a", 2);
    assert_true(world_has(a, "web"));
    world_advance(world, 10);
    assert_false(world_has(b, "web")); /* by the mark; or by the name's row, as it had none */
}

static void the_later_life_wins(void **state)
{
    check_later_life(*state, true);
}

static void the_later_life_wins_also_when_it_comes_second(void **state)
{
    check_later_life(*state, false);
}

/* That one waits for the name: what the fleet wants of it is not written over. */
static void another_vm_of_the_name_is_not_replaced(void **state)
{
    struct world *world = *state;
    struct world_node *a = &world->nodes[0], *b = &world->nodes[1];
    free(world_place(a, "web", "b"));
    world_advance(world, 10);
    cleanup_json json_t *other =
        json_loads(engine_fake_get(world->fake, FLEET_ROOT "home/vm/b/web"), 0, NULL);
    json_put_text(other, "uid", "22222222222222222222222222222222");
    cleanup_free char *before = json_dumps(other, JSON_COMPACT);
    wipe(world);
    engine_fake_put(world->fake, FLEET_ROOT "home/vm/b/web", before);
    world_advance(world, 10);
    cleanup_free char *row = republish(b, "web");
    world_advance(world, 10);
    assert_int_equal(code_of(b, row), ERR_FLEET_NAME_TAKEN);
    assert_string_equal(engine_fake_get(world->fake, FLEET_ROOT "home/vm/b/web"), before);
}

static void its_files_are_put_again(void **state)
{
    struct world *world = *state;
    struct world_node *b = &world->nodes[1];
    struct error err = {.code = ERR_NONE};
    struct store_batch *batch = store_batch_new();
    struct vm_desired *desired = vm_desired_new(vm_spec_new("web"), 1);
    desired->spec->backend = BACKEND_NOOP;
    desired->fleet.epoch = 1;
    strcpy(desired->uid, "0123456789abcdef");
    mem_grow(desired->spec->steps, desired->spec->n_steps);
    struct spec_step *step = &desired->spec->steps[desired->spec->n_steps++];
    *step = (struct spec_step){.kind = STEP_SCRIPT, .run = RUN_ONCE};
    digest_text("true\n", step->file.digest);
    step->file.path = fleet_file_path(step->file.digest, false, "x.sh");
    cleanup_free char *dir = paths_path(&b->paths, FLEET_FILES_DIR);
    cleanup_free char *name = mem_printf("%s/x.sh", step->file.digest);
    fleet_files_place(desired->spec, b->paths.data_dir);
    store_batch_put_desired(batch, desired, 0);
    world_must(store_commit(b->store, batch, &err), &err);
    cleanup_free char *lost = republish(b, "web");
    world_advance(world, 10);
    assert_int_equal(code_of(b, lost), ERR_IO);
    world_must(kept_file_write(dir, name, 0600, (struct bytes){"true\n", 5}, &err), &err);
    cleanup_free char *row = republish(b, "web");
    world_advance(world, 10);
    assert_int_equal(code_of(b, row), ERR_NONE);
    cleanup_free char *key = fleet_file_key("home", "web", desired->spec->steps[0].file.digest);
    assert_string_equal(engine_fake_get(world->fake, key), "true\n");
    store_batch_free(batch);
    vm_desired_free(desired);
}

/* With its answers lost or late, and killed at each call. */
static void it_is_done_once_whatever_is_killed(void **state)
{
    (void)state;
    for (size_t call = 1; call < 5; call++) {
        for (unsigned fault = 0; fault < 3; fault++) {
            struct world *world;
            (void)world_set_up((void **)&world);
            struct world_node *b = &world->nodes[1];
            free(world_place(&world->nodes[0], "web", "b"));
            world_advance(world, 10);
            wipe(world);
            size_t before = engine_fake_calls(b->engine);
            cleanup_free char *row = republish(b, "web");
            for (int i = 0; i < 300 && engine_fake_calls(b->engine) < before + call; i++) {
                loop_fake_advance(world->loop, 10);
            }
            if (fault == 1) {
                engine_fake_lose_answers(b->engine, 1);
            } else if (fault == 2) {
                engine_fake_make_late(b->engine, 1, 500);
            }
            world_kill(b);
            world_start(b);
            world_advance(world, 60);
            assert_int_equal(code_of(b, row), ERR_NONE);
            assert_owner(world, "b", 1);
            cleanup_with(vm_record_clear) struct vm_record record = world_record(b, "web");
            assert_int_equal(record.desired->generation, 1);
            world_free(world);
        }
    }
}

int main(void)
{
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, world_set_up, world_tear_down)
    const struct CMUnitTest tests[] = {
        IN_WORLD(what_was_lost_is_there_again_as_it_was),
        IN_WORLD(what_is_not_the_fleets_here_is_refused),
        IN_WORLD(the_later_life_wins),
        IN_WORLD(the_later_life_wins_also_when_it_comes_second),
        IN_WORLD(another_vm_of_the_name_is_not_replaced),
        IN_WORLD(its_files_are_put_again),
        cmocka_unit_test(it_is_done_once_whatever_is_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
