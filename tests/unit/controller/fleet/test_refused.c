/* SPDX-License-Identifier: MPL-2.0 */
/* What a node does not take of the fleet, whoever wrote it into etcd, and how that is seen. */
#include "tests/support/loop_fake.h"
#include "tests/unit/controller/fleet/fleet_world.h"

/* Node b as it joins with --accept. */
static void join_with(struct world *world, const char *words)
{
    struct world_node *b = &world->nodes[1];
    world_kill(b);
    free(b->config->accept);
    b->config->accept = mem_strdup(words);
    world_start(b);
    world_advance(world, 10);
}

static void set_image(struct vm_spec *spec, const char *location)
{
    free(spec->image.location);
    spec->image.location = mem_strdup(location);
    spec->image.kind = location[0] == '/'        ? IMAGE_FILE
                       : strstr(location, "://") ? IMAGE_URL
                                                 : IMAGE_NAME;
}

static char *ask(struct world *world, const char *image)
{
    struct vm_spec *spec = vm_spec_new("web");
    spec->backend = BACKEND_NOOP;
    set_image(spec, image);
    const struct change change = {.name = "web",
        .spec = spec,
        .source = "//a/VMFile.kdl",
        .starts_new = true,
        .sets_power = true,
        .power = POWER_RUNNING};
    char *row = world_ask(&world->nodes[0], &change, "b");
    vm_spec_free(spec);
    world_advance(world, 10);
    return row;
}

static enum error_code code_of(const struct world *world, const char *row)
{
    cleanup_json json_t *answer = world_answer(&world->nodes[0], row);
    struct error err = {.code = ERR_NONE};
    assert_non_null(answer);
    (void)fleet_answer_error(answer, &err);
    return err.code;
}

/* As somebody who has a node's certificate: vm/b/web without a messenger's check. */
static void write_object(struct world *world, struct vm_desired *object)
{
    cleanup_json json_t *json = vm_desired_to_json(object);
    cleanup_free char *text = json_dumps(json, JSON_COMPACT);
    engine_fake_put(world->fake, FLEET_ROOT "home/vm/b/web", text);
    world_advance(world, 10);
}

static struct vm_desired *object_of(const char *image, uint64_t generation)
{
    struct vm_desired *object = vm_desired_new(vm_spec_new("web"), 1);
    object->spec->backend = BACKEND_NOOP;
    set_image(object->spec, image);
    strcpy(object->uid, "0123456789abcdef");
    object->generation = generation;
    object->power = POWER_RUNNING;
    object->fleet.epoch = 1;
    object->fleet.home = mem_strdup("b"); /* it says that it is b's own */
    return object;
}

static void assert_refused(const struct world *world, const char *what, uint64_t generation)
{
    cleanup_json json_t *row = world_row(&world->nodes[0], "st/b/web");
    cleanup_json json_t *alive = world_row(&world->nodes[0], "alive/b");
    const json_t *status = json_object_get(row, "status");
    cleanup_free char *text = status ? json_dumps(status, JSON_COMPACT) : NULL;
    assert_non_null(text);
    struct error err = {.code = ERR_NONE};
    struct vm_status *read = vm_status_read((struct bytes){text, strlen(text)}, &err);
    assert_non_null(read);
    const struct condition *stalled = &read->conditions[CONDITION_STALLED];
    assert_string_equal(json_text(row, "session"), json_text(alive, "session"));
    assert_int_equal(read->observed_generation, generation);
    assert_int_equal(stalled->state, CONDITION_TRUE);
    assert_int_equal(stalled->reason, REASON_NOT_ACCEPTED);
    assert_int_equal(read->conditions[CONDITION_SYNCED].reason, REASON_NOT_ACCEPTED);
    assert_non_null(strstr(stalled->message, what));
    vm_status_free(read);
}

static void a_path_is_taken_by_a_node_that_says_so(void **state)
{
    struct world *world = *state;
    cleanup_free char *refused = ask(world, "/etc/shadow");
    assert_int_equal(code_of(world, refused), ERR_FLEET_NO_NODE);
    assert_null(engine_fake_get(world->fake, FLEET_ROOT "home/vm/b/web"));
    join_with(world, "url,cache,path");
    cleanup_free char *taken = ask(world, "/images/a.qcow2");
    assert_int_equal(code_of(world, taken), ERR_NONE);
    assert_true(world_has(&world->nodes[1], "web"));
}

static void what_is_in_etcd_all_the_same_is_not_believed(void **state)
{
    struct world *world = *state;
    struct vm_desired *object = object_of("/etc/shadow", 1);
    write_object(world, object);
    assert_false(world_has(&world->nodes[1], "web"));
    assert_refused(world, "/etc/shadow", 1);
    int64_t revision = engine_fake_revision(world->fake);
    world_advance(world, 60);
    assert_int_equal(engine_fake_revision(world->fake), revision); /* it is said once */

    join_with(world, "path");
    assert_true(world_has(&world->nodes[1], "web"));
    vm_desired_free(object);
}

static void every_path_of_a_spec_is_one(void **state)
{
    struct world *world = *state;
    struct vm_desired *share = object_of("debian:12", 1), *vnc = object_of("debian:12", 2);
    struct vm_desired *socket = object_of("debian:12", 3), *disk = object_of("debian:12", 4);
    share->spec->shares = mem_calloc(1, sizeof(*share->spec->shares));
    share->spec->n_shares = 1;
    share->spec->shares[0] = (struct spec_share){
        .host = mem_strdup("/root"), .guest = mem_strdup("/mnt"), .tag = mem_strdup("share0")};
    vnc->spec->vnc.port = 5901;
    vnc->spec->vnc.password_file = mem_strdup("/root/password");
    socket->spec->network.sockets = mem_calloc(1, sizeof(*socket->spec->network.sockets));
    socket->spec->network.n_sockets = 1;
    socket->spec->network.sockets[0] = (struct spec_socket){
        .host = mem_strdup("/run/docker.sock"), .guest = mem_strdup("/run/docker.sock")};
    disk->spec->disks = mem_calloc(1, sizeof(*disk->spec->disks));
    disk->spec->n_disks = 1;
    disk->spec->disks[0] =
        (struct spec_disk){.name = mem_strdup("data"), .file = mem_strdup("/dev/sda")};
    write_object(world, share);
    assert_refused(world, "/root", 1);
    write_object(world, vnc);
    assert_refused(world, "/root/password", 2);
    write_object(world, socket);
    assert_refused(world, "/run/docker.sock", 3);
    write_object(world, disk);
    assert_refused(world, "/dev/sda", 4);
    assert_false(world_has(&world->nodes[1], "web"));
    vm_desired_free(share);
    vm_desired_free(vnc);
    vm_desired_free(socket);
    vm_desired_free(disk);
}

static void a_node_that_fetches_nothing_takes_what_it_has(void **state)
{
    struct world *world = *state;
    struct world_node *b = &world->nodes[1];
    struct error err = {.code = ERR_NONE};
    struct vm_desired *object = object_of("debian:12", 1);
    join_with(world, "cache");
    write_object(world, object);
    assert_refused(world, "debian:12", 1);
    struct store_batch *batch = store_batch_new();
    cleanup_json json_t *record = json_object();
    json_put_text(record, "url", "debian:12");
    store_batch_put_json(batch, STORE_IMAGES, "url:debian:12", record);
    world_must(store_commit(b->store, batch, &err), &err);
    store_batch_free(batch);
    messenger_ring(b->messenger);
    world_advance(world, 5);
    assert_true(world_has(b, "web"));
    vm_desired_free(object);
}

static void put_image_record(struct world_node *b, const char *key, const char *arch)
{
    struct error err = {.code = ERR_NONE};
    struct store_batch *batch = store_batch_new();
    cleanup_json json_t *record = json_object();
    json_put_text(record, "url", "oci://x/y:1");
    json_put_text(record, "arch", arch);
    store_batch_put_json(batch, STORE_IMAGES, key, record);
    world_must(store_commit(b->store, batch, &err), &err);
    store_batch_free(batch);
    messenger_ring(b->messenger);
}

/* The image of another processor under the same name is not what it has. */
static void what_it_has_is_for_the_processor_of_the_vm(void **state)
{
    struct world *world = *state;
    struct world_node *b = &world->nodes[1];
    struct vm_desired *object = object_of("oci://x/y:1", 1);
    object->spec->image.arch = ARCH_RISCV64;
    join_with(world, "cache");
    write_object(world, object);
    assert_refused(world, "oci://x/y:1", 1);
    put_image_record(b, "url:oci://x/y:1", "x86_64");
    world_advance(world, 5);
    assert_false(world_has(b, "web"));
    put_image_record(b, "url:oci://x/y:1 riscv64", "riscv64");
    world_advance(world, 5);
    assert_true(world_has(b, "web"));
    vm_desired_free(object);
}

static void a_record_of_an_earlier_version_is_for_any_processor(void **state)
{
    struct world *world = *state;
    struct world_node *b = &world->nodes[1];
    struct vm_desired *object = object_of("oci://x/y:1", 1);
    object->spec->image.arch = ARCH_RISCV64;
    join_with(world, "cache");
    put_image_record(b, "url:oci://x/y:1", NULL);
    write_object(world, object);
    world_advance(world, 5);
    assert_true(world_has(b, "web"));
    vm_desired_free(object);
}

static void what_was_taken_before_stays_and_obeys(void **state)
{
    struct world *world = *state;
    struct world_node *b = &world->nodes[1];
    join_with(world, "url,path");
    cleanup_free char *taken = ask(world, "/images/a.qcow2");
    assert_int_equal(code_of(world, taken), ERR_NONE);
    join_with(world, "url");
    assert_true(world_has(b, "web"));
    const struct change stop = {.name = "web", .sets_power = true, .power = POWER_STOPPED};
    cleanup_free char *row = world_ask(&world->nodes[0], &stop, NULL);
    world_advance(world, 10);
    assert_int_equal(code_of(world, row), ERR_NONE);
    cleanup_with(vm_record_clear) struct vm_record record = world_record(b, "web");
    assert_int_equal(record.desired->power, POWER_STOPPED);

    struct vm_desired *object = vm_desired_copy(record.desired);
    object->generation++;
    object->power = POWER_RUNNING;
    set_image(object->spec, "/etc/shadow");
    write_object(world, object);
    assert_refused(world, "/etc/shadow", object->generation);
    cleanup_with(vm_record_clear) struct vm_record after = world_record(b, "web");
    assert_string_equal(after.desired->spec->image.location, "/images/a.qcow2");
    assert_int_equal(after.desired->power, POWER_STOPPED);
    const struct change deletion = {.name = "web", .deletes = true};
    cleanup_free char *destroy = world_ask(&world->nodes[0], &deletion, NULL);
    world_advance(world, 10);
    assert_int_equal(code_of(world, destroy), ERR_NONE);
    assert_false(world_has(b, "web"));
    assert_null(engine_fake_get(world->fake, FLEET_ROOT "home/st/b/web"));
    vm_desired_free(object);
}

int main(void)
{
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, world_set_up, world_tear_down)
    const struct CMUnitTest tests[] = {
        IN_WORLD(a_path_is_taken_by_a_node_that_says_so),
        IN_WORLD(what_is_in_etcd_all_the_same_is_not_believed),
        IN_WORLD(every_path_of_a_spec_is_one),
        IN_WORLD(a_node_that_fetches_nothing_takes_what_it_has),
        IN_WORLD(what_it_has_is_for_the_processor_of_the_vm),
        IN_WORLD(a_record_of_an_earlier_version_is_for_any_processor),
        IN_WORLD(what_was_taken_before_stays_and_obeys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
