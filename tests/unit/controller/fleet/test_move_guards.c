/* SPDX-License-Identifier: MPL-2.0 */
/* What a move must not do to a VM: by what was requested of it before, by rows that somebody else
 * wrote, and by records that were lost. */
#include <poll.h>
#include <sys/stat.h>

#include "specs/base/buf.h"
#include "tests/support/loop_fake.h"
#include "tests/unit/controller/fleet/move_world.h"

#define TOKEN "11111111111111111111111111111111"
#define UID_OTHER "22222222222222222222222222222222"

static void put_row(struct world *world, const char *row, json_t *json_take)
{
    cleanup_free char *key = mem_printf(FLEET_ROOT "home/%s", row);
    cleanup_free char *text = json_dumps(json_take, JSON_COMPACT);
    engine_fake_put(world->fake, key, text);
    json_decref(json_take);
}

static json_t *row_of(const struct world *world, const char *row)
{
    return json_loads(move_etcd_has(world, row), 0, NULL);
}

/* web on b, as with `member` of its row changed, and a new generation. */
static void change_row(struct world *world, const char *member, json_t *value_take)
{
    json_t *json = row_of(world, "vm/b/web");
    json_put_int(json, "generation", json_int(json, "generation", 0) + 1);
    json_put(json, member, value_take);
    put_row(world, "vm/b/web", json);
    world_advance(world, 5);
}

static void begin(struct world *world)
{
    const struct fleet_move move = {
        .name = "web", .verb = FLEET_MOVE_BEGIN, .to = "c", .stops = true};
    free(world_ask_move(&world->nodes[0], &move));
    world_advance(world, 10);
}

static void put_fetched(struct world_node *node, const char *name, const char *token)
{
    struct error err = {.code = ERR_NONE};
    struct store_batch *batch = store_batch_new();
    cleanup_json json_t *done = json_object();
    cleanup_free char *row = fleet_row(FLEET_KIND_FETCHED, name, NULL);
    json_put_text(done, "token", token);
    json_put_flag(done, "isDone", true);
    store_batch_put_json(batch, STORE_FLEET, row, done);
    world_must(store_commit(node->store, batch, &err), &err);
    store_batch_free(batch);
    messenger_ring(node->messenger);
}

/* A disk that was made again once would be made again where the VM goes: with nothing on it. */
static void what_was_requested_before_is_not_done_once_more(void **state)
{
    struct world *world = *state;
    struct world_node *c = &world->nodes[2];
    change_row(world, "recreateToken", json_string(TOKEN));
    change_row(world, "provisionToken", json_string(TOKEN));
    change_row(world, "eraseAtOnce", json_true());
    begin(world);
    cleanup_json json_t *row = row_of(world, "in/c/web");
    assert_true(json_flag(row, "offered", false));
    put_fetched(c, "web", json_text(row, "token"));
    world_advance(world, 10);
    assert_moved(world);
    cleanup_with(vm_record_clear) struct vm_record record = world_record(c, "web");
    assert_string_equal(record.desired->recreate_token, "");
    assert_string_equal(record.desired->provision_token, "");
    assert_false(record.desired->erases_at_once);
}

/* "From step 3 on" was said of a disk that had the first two. */
static void nor_on_the_disk_of_a_vm_that_is_made_again(void **state)
{
    struct world *world = *state;
    change_row(world, "provisionToken", json_string(TOKEN));
    change_row(world, "provisionFrom", json_integer(3));
    move_lose(world, &world->nodes[1]);
    free(move_ask_recreate(world, "c", true));
    world_advance(world, 5);
    cleanup_with(vm_record_clear) struct vm_record record = world_record(&world->nodes[2], "web");
    assert_non_null(record.desired);
    assert_string_equal(record.desired->provision_token, "");
    assert_int_equal(record.desired->provision_from, 0);
}

static void forget_all(struct world_node *node)
{
    struct error err = {.code = ERR_NONE};
    struct store_batch *batch = store_batch_new();
    cleanup_with(vm_record_clear) struct vm_record record = world_record(node, "web");
    store_batch_forget_vm(batch, "web", record.desired->uid);
    world_must(store_commit(node->store, batch, &err), &err);
    store_batch_free(batch);
}

static void nor_where_its_record_was_lost(void **state)
{
    struct world *world = *state;
    struct world_node *b = &world->nodes[1];
    struct error err = {.code = ERR_NONE};
    cleanup_free char *directory = paths_vm(&b->paths, "web", VM_DIR);
    change_row(world, "recreateToken", json_string(TOKEN));
    b->is_off = true;
    world_must(fs_make_dirs(directory, 0700, &err), &err);
    forget_all(b);
    messenger_ring(b->messenger);
    world_advance(world, 5);
    cleanup_with(vm_record_clear) struct vm_record record = world_record(b, "web");
    assert_non_null(record.desired);
    assert_string_equal(record.desired->recreate_token, "");
}

static void no_record_of_etcd_ends_it_at_once(void **state)
{
    struct world *world = *state;
    struct world_node *b = &world->nodes[1];
    cleanup_json json_t *row = row_of(world, "vm/b/web");
    json_t *fleet = json_deep_copy(json_object_get(row, "fleet"));
    json_put_flag(fleet, "fenced", true);
    change_row(world, "fleet", fleet);
    cleanup_with(vm_record_clear) struct vm_record record = world_record(b, "web");
    assert_false(record.desired->fleet.is_fenced);
    change_row(world, "power", json_string("stopped")); /* it is still listened to */
    cleanup_with(vm_record_clear) struct vm_record next = world_record(b, "web");
    assert_int_equal(next.desired->power, POWER_STOPPED);
}

/* As by a backup of the whole host, of before its VM was given away and its mark was gone. */
static void an_earlier_life_ends_where_the_name_says_so(void **state)
{
    struct world *world = *state;
    struct world_node *b = &world->nodes[1];
    cleanup_json json_t *owner = row_of(world, "name/web");
    engine_fake_delete(world->fake, FLEET_ROOT "home/vm/b/web", false);
    json_put_text(owner, "node", "c");
    put_row(world, "name/web", json_deep_copy(owner)); /* of the same epoch: nobody knows */
    world_advance(world, 5);
    assert_true(world_has(b, "web"));
    json_put_text(owner, "uid", UID_OTHER);
    json_put_int(owner, "epoch", 5);
    put_row(world, "name/web", json_deep_copy(owner)); /* of another VM: likewise */
    world_advance(world, 5);
    assert_true(world_has(b, "web"));
    cleanup_with(vm_record_clear) struct vm_record record = world_record(b, "web");
    json_put_text(owner, "uid", record.desired->uid);
    b->is_off = true;
    put_row(world, "name/web", json_deep_copy(owner));
    world_advance(world, 5);
    cleanup_with(vm_record_clear) struct vm_record fenced = world_record(b, "web");
    assert_true(fenced.desired->fleet.is_fenced);
    assert_true(fenced.desired->is_deleting);
    b->is_off = false;
    world_advance(world, 5);
    assert_false(world_has(b, "web"));
}

/* Its disk would go with its node's quarantine. */
static void a_protected_vm_keeps_its_disk_whether_its_node_is_heard_of_or_not(void **state)
{
    struct world *world = *state;
    struct world_node *a = &world->nodes[0];
    cleanup_json json_t *row = row_of(world, "vm/b/web");
    json_t *spec = json_deep_copy(json_object_get(row, "spec"));
    json_put_flag(spec, "protected", true);
    change_row(world, "spec", json_deep_copy(spec));
    move_lose(world, &world->nodes[1]);
    const struct fleet_move destroy = {.name = "web", .verb = FLEET_MOVE_DESTROY, .is_off = true};
    cleanup_free char *recreated = move_ask_recreate(world, "c", true);
    cleanup_free char *destroyed = world_ask_move(a, &destroy);
    world_advance(world, 3);
    assert_answer(a, recreated, ERR_VM_INVALID_STATE);
    assert_answer(a, destroyed, ERR_VM_INVALID_STATE);
    assert_non_null(move_etcd_has(world, "vm/b/web"));
    json_put_flag(spec, "protected", false);
    change_row(world, "spec", spec);
    cleanup_free char *again = move_ask_recreate(world, "c", true);
    world_advance(world, 3);
    assert_answer(a, again, ERR_NONE);
}

static struct vm_desired *put_own(struct world_node *node, char *home_take)
{
    struct error err = {.code = ERR_NONE};
    struct store_batch *batch = store_batch_new();
    struct vm_desired *own = vm_desired_new(vm_spec_new("own"), 1);
    own->spec->backend = BACKEND_NOOP;
    own->generation = 1;
    own->fleet.home = home_take;
    store_batch_put_desired(batch, own, 0);
    world_must(store_commit(node->store, batch, &err), &err);
    store_batch_free(batch);
    return own;
}

static void put_as_fleets(struct world *world, struct vm_desired *own)
{
    own->fleet.epoch = 1;
    own->generation = 7;
    own->is_deleting = true;
    put_row(world, "vm/b/own", vm_desired_to_json(own));
    world_advance(world, 5);
    vm_desired_free(own);
}

/* Other nodes see its uid. */
static void a_host_keeps_its_own_vm_whoever_writes_its_uid(void **state)
{
    struct world *world = *state;
    struct world_node *b = &world->nodes[1];
    put_as_fleets(world, put_own(b, NULL));
    cleanup_with(vm_record_clear) struct vm_record record = world_record(b, "own");
    assert_non_null(record.desired);
    assert_false(record.desired->is_deleting);
    assert_int_equal(record.desired->fleet.epoch, 0);
}

/* As by `fleet leave --force`, and joined again. */
static void one_that_was_the_fleets_is_that_again(void **state)
{
    struct world *world = *state;
    put_as_fleets(world, put_own(&world->nodes[1], mem_strdup("a")));
    assert_false(world_has(&world->nodes[1], "own"));
}

/* Its files could not be put there, and by then it would be that node's. */
static void it_stays_where_it_is_while_a_directory_is_in_the_way(void **state)
{
    struct world *world = *state;
    struct world_node *c = &world->nodes[2];
    struct error err = {.code = ERR_NONE};
    cleanup_free char *directory = paths_vm(&c->paths, "web", VM_DIR);
    world_must(fs_make_dirs(directory, 0700, &err), &err);
    begin(world);
    cleanup_json json_t *row = row_of(world, "in/c/web");
    put_fetched(c, "web", json_text(row, "token"));
    world_advance(world, 5);
    assert_non_null(move_etcd_has(world, "vm/b/web"));
    assert_non_null(strstr(move_etcd_has(world, "in/c/web"), directory));
    world_must(fs_remove_tree(directory, &err), &err);
    messenger_ring(c->messenger);
    world_advance(world, 10);
    assert_moved(world);
}

static size_t count_lines(const char *path)
{
    struct error err = {.code = ERR_NONE};
    cleanup_buf struct buf bytes = BUF_INIT(1 << 20);
    size_t n = 0;
    if (fs_exists(path)) {
        world_must(fs_read_file(path, &bytes, &err), &err);
    }
    for (size_t i = 0; i < bytes.len; i++) {
        n += buf_str(&bytes)[i] == '\n';
    }
    return n;
}

/* Two whose node does not answer do not take turns without a pause. */
static void what_cannot_be_fetched_is_not_fetched_all_the_time(void **state)
{
    struct world *world = *state;
    struct world_node *c = &world->nodes[2];
    cleanup_free char *log = mem_printf("%s/log", c->dir);
    cleanup_free char *program = mem_printf("%s/fetch", c->dir);
    FILE *file = fopen(program, "w");
    assert_non_null(file);
    (void)fprintf(file, "#!/bin/sh\necho x >> %s\nexit 1\n", log);
    (void)fclose(file);
    assert_int_equal(chmod(program, 0700), 0);
    free(world_place(&world->nodes[0], "db", "b"));
    world_advance(world, 10);
    world_kill(c);
    const struct messenger_options options = {.loop = world->loop,
        .store = c->store,
        .paths = &c->paths,
        .engine = c->engine,
        .config = c->config,
        .fetch = program,
        .seed = 7};
    c->messenger = messenger_new(&options);
    world_advance(world, 10);
    const struct fleet_move move = {
        .name = "db", .verb = FLEET_MOVE_BEGIN, .to = "c", .stops = true};
    const struct fleet_move other = {
        .name = "web", .verb = FLEET_MOVE_BEGIN, .to = "c", .stops = true};
    free(world_ask_move(&world->nodes[0], &move));
    free(world_ask_move(&world->nodes[0], &other));
    for (int i = 0; i < 2000 && count_lines(log) < 2; i++) {
        loop_fake_advance(world->loop, 5);
        (void)poll(NULL, 0, 1); /* programs take real time */
    }
    assert_int_equal(count_lines(log), 2);
    for (int i = 0; i < 200; i++) {
        loop_fake_advance(world->loop, 10);
        (void)poll(NULL, 0, 1);
    }
    assert_int_equal(count_lines(log), 2);
}

int main(void)
{
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, move_set_up, world_tear_down)
    const struct CMUnitTest tests[] = {
        IN_WORLD(what_was_requested_before_is_not_done_once_more),
        IN_WORLD(nor_on_the_disk_of_a_vm_that_is_made_again),
        IN_WORLD(nor_where_its_record_was_lost),
        IN_WORLD(no_record_of_etcd_ends_it_at_once),
        IN_WORLD(an_earlier_life_ends_where_the_name_says_so),
        IN_WORLD(a_protected_vm_keeps_its_disk_whether_its_node_is_heard_of_or_not),
        IN_WORLD(a_host_keeps_its_own_vm_whoever_writes_its_uid),
        IN_WORLD(one_that_was_the_fleets_is_that_again),
        IN_WORLD(it_stays_where_it_is_while_a_directory_is_in_the_way),
        IN_WORLD(what_cannot_be_fetched_is_not_fetched_all_the_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
