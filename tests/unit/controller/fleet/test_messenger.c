/* SPDX-License-Identifier: MPL-2.0 */
/* What each node of a fleet sees and does, when all is well and when it is not. */
#include <signal.h>
#include <sys/resource.h>

#include "tests/support/loop_fake.h"
#include "tests/unit/controller/fleet/fleet_world.h"

/* They have not registered yet. */
static int set_up(void **state)
{
    *state = world_new(2);
    return 0;
}

static void assert_result(const struct world_node *node, const char *row, const char *result)
{
    cleanup_json json_t *answer = world_answer(node, row);
    struct error err = {.code = ERR_NONE};
    assert_non_null(answer);
    world_must(fleet_answer_error(answer, &err), &err);
    assert_string_equal(json_text(answer, "result"), result);
}

static void assert_refused(const struct world_node *node, const char *row, enum error_code code)
{
    cleanup_json json_t *answer = world_answer(node, row);
    struct error err = {.code = ERR_NONE};
    assert_non_null(answer);
    assert_int_equal(fleet_answer_error(answer, &err), -(int)code);
}

static void make_local(struct world_node *node, const char *name)
{
    struct error err = {.code = ERR_NONE};
    struct vm_spec *spec = vm_spec_new(name);
    spec->backend = BACKEND_NOOP;
    spec->vcpus = 3;
    const struct change change = {.name = name, .spec = spec, .starts_new = true};
    struct change_outcome outcome;
    world_must(change_apply(node->store, &change, 1, &outcome, &err), &err);
    change_outcome_clear(&outcome);
    vm_spec_free(spec);
}

static void the_nodes_see_each_other_and_their_vms(void **state)
{
    struct world *world = *state;
    make_local(&world->nodes[1], "db");
    world_advance(world, 10);
    cleanup_json json_t *node = world_row(&world->nodes[0], "node/b");
    cleanup_json json_t *alive = world_row(&world->nodes[0], "alive/b");
    cleanup_json json_t *status = world_row(&world->nodes[0], "st/b/db");
    assert_string_equal(json_text(node, "ssh"), "me@b");
    assert_non_null(json_text(alive, "session"));
    assert_string_equal(json_text(status, "session"), json_text(alive, "session"));
    const json_t *spec = json_object_get(json_object_get(status, "desired"), "spec");
    assert_int_equal(json_int(spec, "vcpus", 0), 3);
    assert_true(world_link_is(&world->nodes[0], "up"));
    assert_false(world_has(&world->nodes[0], "db"));
}

static void a_vm_goes_to_the_node_that_is_asked_for_and_away_again(void **state)
{
    struct world *world = *state;
    struct world_node *a = &world->nodes[0], *b = &world->nodes[1];
    world_advance(world, 10);
    cleanup_free char *place = world_place(a, "web", "b");
    world_advance(world, 3);
    assert_result(a, place, "created");
    assert_false(world_has(a, "web"));
    cleanup_with(vm_record_clear) struct vm_record record = world_record(b, "web");
    assert_int_equal(record.desired->fleet.epoch, 1);
    assert_string_equal(record.desired->fleet.home, "a");
    cleanup_json json_t *status = world_row(a, "st/b/web");
    assert_int_equal(json_int(json_object_get(status, "status"), "observedGeneration", 0),
        (json_int_t)record.desired->generation);

    cleanup_free char *again = world_place(a, "web", "b");
    world_advance(world, 3);
    assert_result(a, again, "unchanged");

    const struct change deletion = {.name = "web", .deletes = true};
    cleanup_free char *destroy = world_ask(a, &deletion, NULL);
    world_advance(world, 5);
    assert_result(a, destroy, "deleted");
    assert_false(world_has(b, "web"));
    assert_null(engine_fake_get(world->fake, FLEET_ROOT "home/vm/b/web"));
    assert_null(engine_fake_get(world->fake, FLEET_ROOT "home/name/web"));
    assert_null(engine_fake_get(world->fake, FLEET_ROOT "home/st/b/web"));
    cleanup_json json_t *gone = world_row(a, "name/web");
    assert_null(gone);
}

static void what_cannot_be_is_refused(void **state)
{
    struct world *world = *state;
    struct world_node *a = &world->nodes[0];
    make_local(&world->nodes[1], "db");
    world_advance(world, 10);
    cleanup_free char *no_node = world_place(a, "web", "z");
    cleanup_free char *taken = world_place(a, "db", "b");
    const struct change start = {.name = "nobody", .sets_power = true, .power = POWER_RUNNING};
    cleanup_free char *no_vm = world_ask(a, &start, NULL);
    world_advance(world, 3);
    assert_refused(a, no_node, ERR_FLEET_NO_NODE);
    assert_refused(a, taken, ERR_FLEET_NAME_TAKEN);
    assert_refused(a, no_vm, ERR_VM_NOT_FOUND);
    cleanup_free char *web = world_place(a, "web", "b");
    world_advance(world, 3);
    cleanup_free char *other = world_place(a, "web", "a");
    world_advance(world, 3);
    assert_result(a, web, "created");
    assert_refused(a, other, ERR_FLEET_NAME_TAKEN);
}

static void of_two_that_place_one_name_one_wins(void **state)
{
    struct world *world = *state;
    struct world_node *a = &world->nodes[0], *b = &world->nodes[1];
    world_advance(world, 10);
    cleanup_free char *first = world_place(a, "web", "a");
    cleanup_free char *second = world_place(b, "web", "b");
    world_advance(world, 10);
    struct error err = {.code = ERR_NONE};
    cleanup_json json_t *x = world_answer(a, first), *y = world_answer(b, second);
    assert_non_null(x);
    assert_non_null(y);
    bool has_first = fleet_answer_error(x, &err) == 0;
    error_clear(&err);
    bool has_second = fleet_answer_error(y, &err) == 0;
    assert_true(has_first != has_second);
    assert_true(world_has(a, "web") == has_first);
    assert_true(world_has(b, "web") == has_second);
}

static void a_node_that_is_cut_off_is_lost_and_found(void **state)
{
    struct world *world = *state;
    struct world_node *a = &world->nodes[0], *b = &world->nodes[1];
    cleanup_free char *place = world_place(a, "web", "b");
    world_advance(world, 10);
    engine_fake_cut(b->engine, true);
    world_advance(world, 60);
    cleanup_json json_t *lost = world_row(a, "lost/b");
    cleanup_json json_t *alive = world_row(a, "alive/b");
    assert_non_null(lost);
    assert_null(alive);
    assert_true(world_link_is(b, "down"));
    assert_true(world_has(b, "web")); /* it runs on */
    cleanup_free char *new = world_place(a, "other", "b");
    cleanup_free char *unreachable = world_place(b, "third", "a");
    world_advance(world, 3);
    assert_refused(a, new, ERR_FLEET_NODE_LOST);
    assert_refused(b, unreachable, ERR_FLEET_UNREACHABLE);
    /* what is asked of a VM that is there waits for it */
    const struct change stop = {.name = "web", .sets_power = true, .power = POWER_STOPPED};
    cleanup_free char *row = world_ask(a, &stop, NULL);
    world_advance(world, 3);
    assert_result(a, row, "stopped");
    engine_fake_cut(b->engine, false);
    world_advance(world, 20);
    cleanup_json json_t *found = world_row(a, "lost/b");
    assert_null(found);
    cleanup_with(vm_record_clear) struct vm_record record = world_record(b, "web");
    assert_int_equal(record.desired->power, POWER_STOPPED);
}

static void change_power(struct world_node *node, enum power power)
{
    struct error err = {.code = ERR_NONE};
    const struct change change = {.name = "web", .sets_power = true, .power = power};
    struct change_outcome outcome;
    world_must(change_apply(node->store, &change, 1, &outcome, &err), &err);
    change_outcome_clear(&outcome);
}

static void what_was_changed_while_cut_off_becomes_the_fleets(void **state)
{
    struct world *world = *state;
    struct world_node *a = &world->nodes[0], *b = &world->nodes[1];
    cleanup_free char *place = world_place(a, "web", "b");
    world_advance(world, 10);
    engine_fake_cut(b->engine, true);
    world_advance(world, 30);
    change_power(b, POWER_STOPPED);
    engine_fake_cut(b->engine, false);
    world_advance(world, 30);
    cleanup_with(vm_record_clear) struct vm_record record = world_record(b, "web");
    assert_int_equal(record.desired->power, POWER_STOPPED);
    assert_false(record.desired->fleet.is_ahead);
    const char *text = engine_fake_get(world->fake, FLEET_ROOT "home/vm/b/web");
    assert_non_null(text);
    assert_non_null(strstr(text, "\"power\":\"stopped\""));
}

static void a_change_that_the_fleet_made_since_counts_more(void **state)
{
    struct world *world = *state;
    struct world_node *a = &world->nodes[0], *b = &world->nodes[1];
    cleanup_free char *place = world_place(a, "web", "b");
    world_advance(world, 10);
    engine_fake_cut(b->engine, true);
    world_advance(world, 30);
    change_power(b, POWER_STOPPED);
    const struct change suspend = {.name = "web", .sets_power = true, .power = POWER_SUSPENDED};
    cleanup_free char *row = world_ask(a, &suspend, NULL);
    world_advance(world, 3);
    engine_fake_cut(b->engine, false);
    world_advance(world, 30);
    cleanup_with(vm_record_clear) struct vm_record record = world_record(b, "web");
    assert_int_equal(record.desired->power, POWER_SUSPENDED);
    assert_false(record.desired->fleet.is_ahead);
    struct error err = {.code = ERR_NONE};
    struct event_list events = {.count = 0};
    world_must(store_list_events(b->store, "web", 0, 0, &events, &err), &err);
    assert_true(events.count > 0);
    assert_int_equal(events.items[events.count - 1].reason, REASON_OVERRIDE_DROPPED);
    event_list_clear(&events);
}

static void its_host_alone_neither_destroys_nor_redefines_it(void **state)
{
    struct world *world = *state;
    struct world_node *b = &world->nodes[1];
    cleanup_free char *place = world_place(&world->nodes[0], "web", "b");
    world_advance(world, 10);
    struct error err = {.code = ERR_NONE};
    const struct change deletion = {.name = "web", .deletes = true};
    struct change_outcome outcome;
    assert_int_equal(change_apply(b->store, &deletion, 1, &outcome, &err), -ERR_VM_CONFLICT);
}

static void nothing_is_done_on_the_word_of_an_etcd_that_was_wiped(void **state)
{
    struct world *world = *state;
    struct world_node *a = &world->nodes[0], *b = &world->nodes[1];
    cleanup_free char *place = world_place(a, "web", "b");
    world_advance(world, 10);
    engine_fake_wipe(world->fake);
    world_advance(world, 60);
    assert_true(world_link_is(b, "frozen"));
    assert_true(world_has(b, "web"));
    assert_int_equal(engine_fake_count(world->fake, ""), 0); /* nor is it written to */
    cleanup_free char *refused = world_place(a, "new", "b");
    world_advance(world, 3);
    assert_refused(a, refused, ERR_FLEET_FROZEN);
    /* another fleet of the name is not ours either, however long it has been there */
    engine_fake_put(world->fake, FLEET_ROOT "home/fleet", "{\"v\":1,\"uid\":\"f-2\"}");
    for (int i = 0; i < 1000; i++) {
        engine_fake_put(world->fake, "/other", "x");
    }
    world_advance(world, 60);
    assert_true(world_link_is(b, "frozen"));
    assert_true(world_has(b, "web"));
}

static void nothing_is_done_on_the_word_of_an_etcd_that_was_restored(void **state)
{
    struct world *world = *state;
    struct world_node *a = &world->nodes[0], *b = &world->nodes[1];
    world_advance(world, 10);
    struct engine_fake_snapshot *snapshot = engine_fake_save(world->fake);
    cleanup_free char *place = world_place(a, "web", "b");
    world_advance(world, 10);
    engine_fake_restore(world->fake, snapshot);
    engine_fake_snapshot_free(snapshot);
    world_advance(world, 60);
    assert_true(world_link_is(b, "frozen"));
    assert_true(world_has(b, "web"));
    for (int i = 0; i < 100; i++) { /* nor once others have written more than it had */
        engine_fake_put(world->fake, FLEET_ROOT "home/st/z/other", "{}");
    }
    world_advance(world, 60);
    assert_true(world_link_is(b, "frozen"));
    assert_true(world_has(b, "web"));
    world_kill(b); /* nor by the next messenger */
    world_start(b);
    world_advance(world, 60);
    assert_true(world_link_is(b, "frozen"));
    assert_true(world_has(b, "web"));
}

static void a_newer_format_is_left_alone(void **state)
{
    struct world *world = *state;
    world_advance(world, 10);
    engine_fake_put(world->fake, FLEET_ROOT "home/fleet", "{\"v\":2,\"uid\":\"f-1\"}");
    world_kill(&world->nodes[0]);
    world_start(&world->nodes[0]);
    world_advance(world, 60);
    assert_true(world_link_is(&world->nodes[0], "frozen"));
}

static void a_row_that_nobody_understands_harms_nobody(void **state)
{
    struct world *world = *state;
    struct world_node *a = &world->nodes[0], *b = &world->nodes[1];
    engine_fake_put(world->fake, FLEET_ROOT "home/vm/b/x", "no json");
    engine_fake_put(world->fake, FLEET_ROOT "home/vm/b/y", "{\"uid\":\"\"}");
    engine_fake_put(world->fake, FLEET_ROOT "home/vm/b/z", "[1]");
    engine_fake_put(world->fake, FLEET_ROOT "home/node/q", "7");
    engine_fake_put(world->fake, FLEET_ROOT "home/later/b/z", "{}");
    cleanup_free char *place = world_place(a, "web", "b");
    world_advance(world, 20);
    assert_result(a, place, "created");
    assert_true(world_has(b, "web"));
    assert_false(world_has(b, "x"));
    assert_false(world_has(b, "y"));
    assert_false(world_has(b, "z"));
}

/* No file can grow, nor be written to behind its first byte. */
static void a_full_disk_delays_an_answer(void **state)
{
    struct world *world = *state;
    struct world_node *a = &world->nodes[0];
    struct rlimit before;
    world_advance(world, 10);
    cleanup_free char *place = world_place(a, "web", "z");
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    const struct rlimit full = {.rlim_cur = 1, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &full), 0);
    world_advance(world, 3);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    cleanup_json json_t *none = world_answer(a, place);
    assert_null(none);
    messenger_ring(a->messenger);
    world_advance(world, 3);
    assert_refused(a, place, ERR_FLEET_NO_NODE);
}

/* Put into etcd by something else than a command. */
static void a_spec_that_names_files_of_its_node_is_not_taken(void **state)
{
    struct world *world = *state;
    struct world_node *a = &world->nodes[0], *b = &world->nodes[1];
    struct vm_spec *spec = vm_spec_new("web");
    spec->backend = BACKEND_NOOP;
    spec->cloud_init.is_set = true;
    spec->cloud_init.user_data.path = mem_strdup("/etc/shadow");
    const struct change change = {.name = "web", .spec = spec};
    world_advance(world, 10);
    cleanup_free char *place = world_ask(a, &change, "b");
    world_advance(world, 10);
    assert_result(a, place, "created");
    assert_false(world_has(b, "web"));
    const struct change deletion = {.name = "web", .deletes = true};
    cleanup_free char *destroy = world_ask(a, &deletion, NULL);
    world_advance(world, 10);
    assert_result(a, destroy, "deleted");
    assert_null(engine_fake_get(world->fake, FLEET_ROOT "home/vm/b/web"));
    vm_spec_free(spec);
}

static void another_host_of_the_name_is_kept_out(void **state)
{
    struct world *world = *state;
    world_advance(world, 10);
    world_make_node(world, 2);
    world->count = 3;
    struct world_node *c = &world->nodes[2];
    world_kill(c);
    free(c->config->node);
    c->config->node = mem_strdup("b");
    world_start(c);
    world_advance(world, 40);
    assert_true(world_link_is(c, "frozen"));
    assert_true(world_link_is(&world->nodes[1], "up"));
    world_kill(&world->nodes[1]); /* or cut off, and its VMs run */
    world_advance(world, 120);
    assert_true(world_link_is(c, "frozen"));
}

static void put_alive_of_other_boot(struct world *world, const char *boot)
{
    cleanup_free char *alive = mem_printf("{\"session\":\"other\",\"bootId\":\"%s\"}", boot);
    engine_fake_put(world->fake, FLEET_ROOT "home/alive/b", alive);
}

static bool is_registered_as(const struct world *world, const char *session)
{
    const char *text = engine_fake_get(world->fake, FLEET_ROOT "home/alive/b");
    return text && strstr(text, session);
}

/* It has the same id, as it has the same machine-id and data directory. */
static void a_copy_of_a_host_does_not_take_its_place(void **state)
{
    struct world *world = *state;
    struct world_node *b = &world->nodes[1];
    world_advance(world, 10);
    assert_true(world_link_is(b, "up"));
    world_kill(b);
    put_alive_of_other_boot(world, "boot-of-the-first");
    world_start(b);
    world_advance(world, 20); /* it may be the lease of before its own restart */
    assert_true(world_link_is(b, "down"));
    assert_true(is_registered_as(world, "other"));
    world_advance(world, 40);
    assert_true(world_link_is(b, "frozen"));
    cleanup_json json_t *link = world_row(b, "link");
    assert_non_null(strstr(json_text(link, "message"), "one is a copy"));
    assert_non_null(strstr(json_text(link, "help"), "vmctl fleet leave --force"));
    assert_non_null(strstr(json_text(link, "help"), "etcdctl del " FLEET_ROOT "home/alive/b"));
    put_alive_of_other_boot(world, "after-a-restart-of-the-first");
    world_advance(world, 60);
    assert_true(world_link_is(b, "frozen"));
    assert_true(is_registered_as(world, "other"));
    engine_fake_delete(world->fake, FLEET_ROOT "home/alive/b", false);
    world_advance(world, 20);
    assert_true(world_link_is(b, "up"));
    assert_false(is_registered_as(world, "other"));
}

static void after_its_own_restart_a_host_waits_for_its_lease(void **state)
{
    struct world *world = *state;
    struct world_node *b = &world->nodes[1];
    world_advance(world, 10);
    world_kill(b);
    put_alive_of_other_boot(world, "before");
    world_start(b);
    world_advance(world, 14);
    assert_false(world_link_is(b, "up"));
    engine_fake_delete(world->fake, FLEET_ROOT "home/alive/b", false);
    world_advance(world, 10);
    assert_true(world_link_is(b, "up"));
}

/* Nor does a lease end, which a new leader gives a second time. */
static void while_etcd_does_not_answer_no_registration_grows_older(void **state)
{
    struct world *world = *state;
    struct world_node *b = &world->nodes[1];
    world_advance(world, 10);
    world_kill(b);
    put_alive_of_other_boot(world, "before");
    world_start(b);
    world_advance(world, 10);
    engine_fake_cut(b->engine, true);
    world_advance(world, 120);
    engine_fake_cut(b->engine, false);
    for (int i = 0; i < 20; i++) {
        world_advance(world, 1);
        assert_true(world_link_is(b, "down"));
    }
    world_advance(world, 40);
    assert_true(world_link_is(b, "frozen"));
}

/* Killed at each call of the engine, with its answers lost or late: it is done once. */
static void a_request_is_done_once_whatever_is_killed(void **state)
{
    (void)state;
    for (size_t call = 1; call < 14; call++) {
        for (size_t victim = 0; victim < 2; victim++) {
            struct world *world = world_new(2);
            struct world_node *node = &world->nodes[victim];
            cleanup_free char *place = world_place(&world->nodes[0], "web", "b");
            for (int i = 0; i < 4000 && engine_fake_calls(node->engine) < call; i++) {
                loop_fake_advance(world->loop, 10);
            }
            if (call % 3 == 1) {
                engine_fake_lose_answers(node->engine, 1);
            } else if (call % 3 == 2) {
                engine_fake_make_late(node->engine, 1, 500);
            }
            world_kill(node);
            loop_fake_advance(world->loop, 100);
            world_start(node);
            world_advance(world, 60);
            assert_result(&world->nodes[0], place, "created");
            assert_true(world_has(&world->nodes[1], "web"));
            cleanup_with(vm_record_clear) struct vm_record record =
                world_record(&world->nodes[1], "web");
            assert_int_equal(record.desired->generation, 1);
            world_free(world);
        }
    }
}

static void a_request_whose_answer_is_lost_is_found_done(void **state)
{
    struct world *world = *state;
    struct world_node *a = &world->nodes[0];
    world_advance(world, 10);
    engine_fake_lose_answers(a->engine, 1);
    cleanup_free char *place = world_place(a, "web", "b");
    world_advance(world, 60);
    assert_result(a, place, "created");
    const struct change restart = {.name = "web", .restarts = true};
    engine_fake_lose_answers(a->engine, 1);
    cleanup_free char *row = world_ask(a, &restart, NULL);
    world_advance(world, 60);
    cleanup_with(vm_record_clear) struct vm_record record = world_record(&world->nodes[1], "web");
    assert_int_equal(record.desired->generation, 2); /* once */
}

static void a_lease_that_ends_by_mistake_is_taken_again(void **state)
{
    struct world *world = *state;
    world_advance(world, 10);
    engine_fake_delete(world->fake, FLEET_ROOT "home/alive/b", false);
    world_advance(world, 10);
    assert_non_null(engine_fake_get(world->fake, FLEET_ROOT "home/alive/b"));
    assert_true(world_link_is(&world->nodes[1], "up"));
}

static void compaction_is_not_noticed(void **state)
{
    struct world *world = *state;
    struct world_node *a = &world->nodes[0], *b = &world->nodes[1];
    world_advance(world, 10);
    engine_fake_cut(b->engine, true);
    cleanup_free char *place = world_place(a, "web", "a");
    world_advance(world, 30);
    engine_fake_compact(world->fake, engine_fake_revision(world->fake));
    engine_fake_cut(b->engine, false);
    world_advance(world, 30);
    cleanup_json json_t *name = world_row(b, "name/web");
    assert_string_equal(json_text(name, "node"), "a");
}

/* etcd#19179: a watch from the next revision would miss it, and nothing would say so. */
static void what_is_deleted_and_compacted_before_the_watch_begins_is_seen(void **state)
{
    struct world *world = *state;
    struct world_node *a = &world->nodes[0];
    for (int after_ms = 0; after_ms <= 1000; after_ms += 50) {
        engine_fake_put(world->fake, FLEET_ROOT "home/st/z/gone", "{}");
        world_advance(world, 20);
        world_kill(a);
        engine_fake_delay(a->engine, 100);
        world_start(a);
        loop_fake_advance(world->loop, after_ms);
        engine_fake_delete(world->fake, FLEET_ROOT "home/st/z/gone", false);
        engine_fake_compact(world->fake, engine_fake_revision(world->fake));
        world_advance(world, 20);
        cleanup_json json_t *row = world_row(a, "st/z/gone");
        if (row) {
            fail_msg("deleted after %d ms, and still there", after_ms);
        }
    }
}

/* More than an answer holds: read page by page, and as of one revision. */
static void a_large_fleet_is_read_in_pages(void **state)
{
    struct world *world = *state;
    struct world_node *a = &world->nodes[0];
    enum { ROWS = 5200 };
    char key[64];
    world_advance(world, 10);
    world_kill(a);
    for (int i = 0; i < ROWS; i++) {
        (void)snprintf(key, sizeof(key), FLEET_ROOT "home/st/z/v%05d", i);
        engine_fake_put(world->fake, key, "{}");
    }
    size_t before = engine_fake_calls(a->engine);
    engine_fake_delay(a->engine, 100);
    world_start(a);
    loop_fake_advance(world->loop, 500);
    engine_fake_put(world->fake, FLEET_ROOT "home/st/z/v00000", "{\"is\":\"new\"}");
    engine_fake_delete(world->fake, FLEET_ROOT "home/st/z/v05199", false);
    engine_fake_put(world->fake, FLEET_ROOT "home/st/z/zz", "{}");
    world_advance(world, 20);
    assert_true(engine_fake_calls(a->engine) >= before + 2);
    assert_true(world_link_is(a, "up"));
    cleanup_json json_t *first = world_row(a, "st/z/v00000"), *gone = world_row(a, "st/z/v05199");
    cleanup_json json_t *middle = world_row(a, "st/z/v05100"), *last = world_row(a, "st/z/zz");
    assert_string_equal(json_text(first, "is"), "new");
    assert_null(gone);
    assert_non_null(middle);
    assert_non_null(last);
}

int main(void)
{
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, world_tear_down)
    const struct CMUnitTest tests[] = {
        IN_WORLD(the_nodes_see_each_other_and_their_vms),
        IN_WORLD(a_vm_goes_to_the_node_that_is_asked_for_and_away_again),
        IN_WORLD(what_cannot_be_is_refused),
        IN_WORLD(of_two_that_place_one_name_one_wins),
        IN_WORLD(a_node_that_is_cut_off_is_lost_and_found),
        IN_WORLD(what_was_changed_while_cut_off_becomes_the_fleets),
        IN_WORLD(a_change_that_the_fleet_made_since_counts_more),
        IN_WORLD(its_host_alone_neither_destroys_nor_redefines_it),
        IN_WORLD(nothing_is_done_on_the_word_of_an_etcd_that_was_wiped),
        IN_WORLD(nothing_is_done_on_the_word_of_an_etcd_that_was_restored),
        IN_WORLD(a_newer_format_is_left_alone),
        IN_WORLD(a_row_that_nobody_understands_harms_nobody),
        IN_WORLD(a_full_disk_delays_an_answer),
        IN_WORLD(a_spec_that_names_files_of_its_node_is_not_taken),
        IN_WORLD(another_host_of_the_name_is_kept_out),
        IN_WORLD(a_copy_of_a_host_does_not_take_its_place),
        IN_WORLD(after_its_own_restart_a_host_waits_for_its_lease),
        IN_WORLD(while_etcd_does_not_answer_no_registration_grows_older),
        cmocka_unit_test(a_request_is_done_once_whatever_is_killed),
        IN_WORLD(a_request_whose_answer_is_lost_is_found_done),
        IN_WORLD(a_lease_that_ends_by_mistake_is_taken_again),
        IN_WORLD(compaction_is_not_noticed),
        IN_WORLD(what_is_deleted_and_compacted_before_the_watch_begins_is_seen),
        IN_WORLD(a_large_fleet_is_read_in_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
