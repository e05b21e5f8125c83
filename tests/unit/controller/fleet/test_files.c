/* SPDX-License-Identifier: MPL-2.0 */
/* Files that go along with a VM of the fleet: into etcd, to its node, and away again. */
#include <sys/stat.h>

#include "specs/base/base64.h"
#include "specs/base/buf.h"
#include "specs/fleet/fleet_files.h"
#include "tests/support/loop_fake.h"
#include "tests/unit/controller/fleet/fleet_world.h"

/* A VM with one script. */
static struct vm_spec *spec_of(const char *content)
{
    struct vm_spec *spec = vm_spec_new("web");
    spec->backend = BACKEND_NOOP;
    mem_grow(spec->steps, spec->n_steps);
    struct spec_step *step = &spec->steps[spec->n_steps++];
    *step = (struct spec_step){.kind = STEP_SCRIPT, .run = RUN_ONCE};
    digest_text(content, step->file.digest);
    step->file.path = fleet_file_path(step->file.digest, true, "set-up.sh");
    return spec;
}

/* As the command does it; `sent` NULL: nothing goes along. free() the row. */
static char *ask(struct world *world, struct vm_spec *spec_take, const char *sent)
{
    struct world_node *a = &world->nodes[0];
    struct error err = {.code = ERR_NONE};
    struct store_batch *batch = store_batch_new();
    const struct change change = {.name = "web",
        .spec = spec_take,
        .source = "//a/VMFile.kdl",
        .starts_new = true,
        .sets_power = true,
        .power = POWER_RUNNING};
    cleanup_json json_t *json = fleet_ask_new(clock_wall_ms(loop_clock(world->loop)));
    cleanup_json json_t *files = json_object();
    cleanup_free char *id = mem_printf("f-%llu", (unsigned long long)a->n_asks++);
    char *row = fleet_row(FLEET_KIND_ASK, id, NULL);
    cleanup_buf struct buf text = BUF_INIT(1 << 20);
    base64_encode(&text, sent ? sent : "", sent ? strlen(sent) : 0);
    json_put_text(files, spec_take->steps[0].file.digest, sent ? buf_str(&text) : NULL);
    json_put(json, "files", json_incref(files));
    fleet_ask_add(json, "b", change_to_json(&change));
    store_batch_put_json(batch, STORE_FLEET, row, json);
    world_must(store_commit(a->store, batch, &err), &err);
    store_batch_free(batch);
    messenger_ring(a->messenger);
    world_advance(world, 10);
    vm_spec_free(spec_take);
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

static char *path_at_b(const struct world *world, const char *content)
{
    char digest[DIGEST_SIZE];
    digest_text(content, digest);
    return mem_printf(
        "%s/" FLEET_FILES_DIR "/%s.x/set-up.sh", world->nodes[1].paths.data_dir, digest);
}

static void assert_file(const struct world *world, const char *content)
{
    cleanup_free char *path = path_at_b(world, content);
    cleanup_buf struct buf found = BUF_INIT(1 << 20);
    struct error err = {.code = ERR_NONE};
    struct stat st;
    world_must(fs_read_regular(path, &found, &err), &err);
    assert_string_equal(buf_str(&found), content);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
}

static size_t count_keys(const struct world *world)
{
    return engine_fake_count(world->fake, FLEET_ROOT "home+file/web/");
}

static void it_lies_on_its_node_before_the_vm_does(void **state)
{
    struct world *world = *state;
    struct world_node *b = &world->nodes[1];
    cleanup_free char *row = ask(world, spec_of("echo one\n"), "echo one\n");
    assert_int_equal(code_of(world, row), ERR_NONE);
    cleanup_with(vm_record_clear) struct vm_record record = world_record(b, "web");
    cleanup_free char *path = path_at_b(world, "echo one\n");
    assert_non_null(record.desired);
    assert_string_equal(record.desired->spec->steps[0].file.path, path);
    assert_file(world, "echo one\n");
    assert_int_equal(count_keys(world), 1);
    cleanup_json json_t *object = world_row(&world->nodes[0], "vm/b/web"); /* no host's path */
    cleanup_free char *text = json_dumps(object, JSON_COMPACT);
    assert_null(strstr(text, b->paths.data_dir));
}

static void another_content_takes_its_place_and_goes_with_the_vm(void **state)
{
    struct world *world = *state;
    free(ask(world, spec_of("echo one\n"), "echo one\n"));
    cleanup_free char *changed = ask(world, spec_of("echo two\n"), "echo two\n");
    assert_int_equal(code_of(world, changed), ERR_NONE);
    assert_file(world, "echo two\n");
    assert_int_equal(count_keys(world), 1);
    cleanup_with(vm_record_clear) struct vm_record record = world_record(&world->nodes[1], "web");
    assert_int_equal(record.desired->generation, 2);
    cleanup_free char *again = ask(world, spec_of("echo two\n"), "echo two\n");
    assert_int_equal(code_of(world, again), ERR_NONE);
    cleanup_with(vm_record_clear) struct vm_record same = world_record(&world->nodes[1], "web");
    assert_int_equal(same.desired->generation, 2);

    const struct change deletion = {.name = "web", .deletes = true};
    free(world_ask(&world->nodes[0], &deletion, NULL));
    world_advance(world, 10);
    assert_false(world_has(&world->nodes[1], "web"));
    assert_int_equal(count_keys(world), 0);
}

static void what_was_not_sent_is_refused(void **state)
{
    struct world *world = *state;
    cleanup_free char *row = ask(world, spec_of("echo one\n"), NULL);
    assert_int_equal(code_of(world, row), ERR_USAGE);
    assert_false(world_has(&world->nodes[1], "web"));
}

/* As a node of the fleet that is not to be trusted writes it. */
static void other_bytes_than_the_name_says_are_not_taken(void **state)
{
    struct world *world = *state;
    cleanup_free char *row = ask(world, spec_of("echo one\n"), "rm -rf /\n");
    cleanup_free char *path = path_at_b(world, "echo one\n");
    assert_int_equal(code_of(world, row), ERR_NONE);
    assert_false(world_has(&world->nodes[1], "web"));
    assert_false(fs_exists(path));
    cleanup_json json_t *status = world_row(&world->nodes[0], "st/b/web");
    cleanup_free char *text = json_dumps(status, JSON_COMPACT);
    assert_non_null(strstr(text, "NotAccepted"));
    size_t before = engine_fake_calls(world->nodes[1].engine);
    world_advance(world, 60);
    assert_true(engine_fake_calls(world->nodes[1].engine) < before + 40); /* not again and again */
}

static void what_is_changed_on_its_node_stays_the_fleets(void **state)
{
    struct world *world = *state;
    struct world_node *b = &world->nodes[1];
    struct error err = {.code = ERR_NONE};
    struct change_outcome outcome;
    free(ask(world, spec_of("echo one\n"), "echo one\n"));
    engine_fake_cut(b->engine, true);
    world_advance(world, 30);
    const struct change stop = {.name = "web", .sets_power = true, .power = POWER_STOPPED};
    world_must(change_apply(b->store, &stop, 1, &outcome, &err), &err);
    change_outcome_clear(&outcome);
    engine_fake_cut(b->engine, false);
    world_advance(world, 30);
    const char *text = engine_fake_get(world->fake, FLEET_ROOT "home/vm/b/web");
    assert_non_null(strstr(text, FLEET_FILES_ROOT));
    assert_non_null(strstr(text, "stopped"));
    assert_null(strstr(text, b->paths.data_dir));
}

static void a_link_in_its_place_is_replaced(void **state)
{
    struct world *world = *state;
    struct error err = {.code = ERR_NONE};
    cleanup_free char *path = path_at_b(world, "echo one\n");
    cleanup_free char *dir = mem_strndup(path, (size_t)(strrchr(path, '/') - path));
    world_must(fs_make_dirs(dir, 0700, &err), &err);
    assert_int_equal(symlink("/etc/hostname", path), 0);
    free(ask(world, spec_of("echo one\n"), "echo one\n"));
    assert_true(world_has(&world->nodes[1], "web"));
    assert_file(world, "echo one\n");
}

static void paths_are_read_strictly(void **state)
{
    (void)state;
    struct fleet_file file;
    char digest[DIGEST_SIZE];
    digest_text("x", digest);
    static const char *const wrong[] = {
        "", "/", ".x", "/..", "/a/b", "/../x", ".x/", "x/a", "0/a", "/.", ".x/.."};
    cleanup_free char *good = fleet_file_path(digest, false, "a b");
    assert_true(fleet_file_parse(good, &file));
    assert_string_equal(file.name, "a b");
    assert_false(file.is_executable);
    assert_false(fleet_file_parse(NULL, &file));
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        cleanup_free char *path = mem_printf(FLEET_FILES_ROOT "%s%s", digest, wrong[i]);
        if (fleet_file_parse(path, &file)) {
            fail_msg("'%s' is taken", wrong[i]);
        }
    }
}

int main(void)
{
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, world_set_up, world_tear_down)
    const struct CMUnitTest tests[] = {
        IN_WORLD(it_lies_on_its_node_before_the_vm_does),
        IN_WORLD(another_content_takes_its_place_and_goes_with_the_vm),
        IN_WORLD(what_was_not_sent_is_refused),
        IN_WORLD(other_bytes_than_the_name_says_are_not_taken),
        IN_WORLD(what_is_changed_on_its_node_stays_the_fleets),
        IN_WORLD(a_link_in_its_place_is_replaced),
        cmocka_unit_test(paths_are_read_strictly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
