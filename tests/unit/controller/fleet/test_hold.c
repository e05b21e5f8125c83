/* SPDX-License-Identifier: MPL-2.0 */
/* What nodes promise to VMs: never more than they have, whoever places at once, and given back. */
#include "tests/support/loop_fake.h"
#include "tests/unit/controller/fleet/move_world.h"

enum { NODE_MIB = 10000 };

/* Each has registered; it does not write node/N again. */
static int set_up(void **state)
{
    (void)world_set_up(state);
    struct world *world = *state;
    for (size_t i = 0; i < world->count; i++) {
        cleanup_free char *key = mem_printf(FLEET_ROOT "home/node/%c", (char)('a' + i));
        cleanup_free char *id = fleet_host_id(&world->nodes[i].paths);
        cleanup_free char *text = mem_printf("{\"uid\":\"%s\",\"memMib\":%d}", id, NODE_MIB);
        engine_fake_put(world->fake, key, text);
    }
    world_advance(world, 3);
    return 0;
}

static char *place_at(
    struct world_node *node, const char *name, uint32_t mib, const char *where, const char *other)
{
    struct vm_spec *spec = vm_spec_new(name);
    spec->backend = BACKEND_NOOP;
    spec->memory_mib = mib;
    const struct change change = {.name = name,
        .spec = spec,
        .source = "//a/VMFile.kdl",
        .starts_new = true,
        .sets_power = true,
        .power = POWER_STOPPED};
    char *row = world_ask_either(node, &change, where, other);
    vm_spec_free(spec);
    return row;
}

static char *place(struct world_node *node, const char *name, uint32_t mib)
{
    return place_at(node, name, mib, "b", NULL);
}

static enum error_code code_of(const struct world_node *node, const char *row)
{
    cleanup_json json_t *answer = world_answer(node, row);
    struct error err = {.code = ERR_NONE};
    assert_non_null(answer);
    (void)fleet_answer_error(answer, &err);
    return err.code;
}

static void assert_promised(const struct world *world, int64_t mib, int64_t vms)
{
    const char *text = engine_fake_get(world->fake, FLEET_ROOT "home/hold/b");
    cleanup_json json_t *hold = text ? json_loads(text, 0, NULL) : NULL;
    assert_int_equal(json_int(hold, "memMib", 0), mib);
    assert_int_equal(json_int(hold, "vms", 0), vms);
}

static void of_two_that_place_at_once_one_finds_no_room(void **state)
{
    struct world *world = *state;
    struct world_node *a = &world->nodes[0], *b = &world->nodes[1];
    engine_fake_delay(a->engine, 200); /* neither sees what the other does */
    engine_fake_delay(b->engine, 200);
    cleanup_free char *first = place(a, "web", 6000);
    cleanup_free char *second = place(b, "db", 6000);
    world_advance(world, 20);
    enum error_code x = code_of(a, first), y = code_of(b, second);
    assert_true((x == ERR_NONE) != (y == ERR_NONE));
    assert_int_equal(x == ERR_NONE ? y : x, ERR_FLEET_NO_NODE);
    assert_promised(world, 6000, 1);
}

static const char *node_of(const struct world *world, const char *name)
{
    cleanup_free char *row = mem_printf("name/%s", name);
    cleanup_json json_t *owner = json_loads(move_etcd_has(world, row), 0, NULL);
    return text_eq(json_text(owner, "node"), "a") ? "a" : "b";
}

static void who_finds_no_room_takes_the_next_node(void **state)
{
    struct world *world = *state;
    struct world_node *a = &world->nodes[0], *b = &world->nodes[1];
    engine_fake_delay(a->engine, 200);
    engine_fake_delay(b->engine, 200);
    cleanup_free char *first = place_at(a, "web", 6000, "b", "a");
    cleanup_free char *second = place_at(b, "db", 6000, "b", "a");
    world_advance(world, 20);
    assert_int_equal(code_of(a, first), ERR_NONE);
    assert_int_equal(code_of(b, second), ERR_NONE);
    assert_string_not_equal(node_of(world, "web"), node_of(world, "db"));
    assert_promised(world, 6000, 1);
    cleanup_free char *third = place_at(a, "ci", 6000, "b", "a");
    world_advance(world, 20);
    cleanup_json json_t *answer = world_answer(a, third);
    struct error err = {.code = ERR_NONE};
    assert_int_equal(fleet_answer_error(answer, &err), -ERR_FLEET_NO_NODE);
    assert_non_null(strstr(err.message, "node 'b' has 4000 MiB"));
    assert_non_null(strstr(err.message, "node 'a' has 4000 MiB"));
    /* the last of them is offline: what the others lack is said all the same */
    world_kill(b);
    world_advance(world, 120);
    cleanup_free char *fourth = place_at(a, "ci", 6000, "a", "b");
    world_advance(world, 20);
    cleanup_json json_t *both = world_answer(a, fourth);
    struct error why = {.code = ERR_NONE};
    assert_int_equal(fleet_answer_error(both, &why), -ERR_FLEET_NO_NODE);
    assert_non_null(strstr(why.message, "node 'a' has 4000 MiB"));
    assert_non_null(strstr(why.message, "node 'b' is offline"));
    world_start(b);
    world_advance(world, 20);
    /* the same once more: it is where it is, and fits there */
    cleanup_free char *again = place_at(a, "db", 6000, "b", "a");
    world_advance(world, 20);
    assert_int_equal(code_of(a, again), ERR_NONE);
}

static void what_is_promised_is_given_back_with_the_end(void **state)
{
    struct world *world = *state;
    struct world_node *a = &world->nodes[0];
    cleanup_free char *web = place(a, "web", 6000);
    cleanup_free char *db = place(a, "db", 3000);
    world_advance(world, 10);
    assert_int_equal(code_of(a, web), ERR_NONE);
    assert_int_equal(code_of(a, db), ERR_NONE);
    assert_promised(world, 9000, 2); /* also of one that is stopped */
    cleanup_free char *late = place(a, "late", 6000);
    world_advance(world, 10);
    assert_int_equal(code_of(a, late), ERR_FLEET_NO_NODE);
    const struct change deletion = {.name = "web", .deletes = true};
    cleanup_free char *destroy = world_ask(a, &deletion, NULL);
    world_advance(world, 10);
    assert_int_equal(code_of(a, destroy), ERR_NONE);
    assert_promised(world, 3000, 1);
    cleanup_free char *again = place(a, "late", 6000);
    world_advance(world, 10);
    assert_int_equal(code_of(a, again), ERR_NONE);
    assert_promised(world, 9000, 2);
}

static char *move(struct world *world, const char *name, enum fleet_move_verb verb)
{
    const struct fleet_move move = {
        .name = name, .verb = verb, .to = verb == FLEET_MOVE_BEGIN ? "a" : NULL};
    char *row = world_ask_move(&world->nodes[1], &move);
    world_advance(world, 5);
    return row;
}

static void what_is_on_its_way_to_a_node_has_its_room_there(void **state)
{
    struct world *world = *state;
    struct world_node *b = &world->nodes[1];
    cleanup_free char *web = place(b, "web", 6000);
    cleanup_free char *db = place(b, "db", 3000);
    world_advance(world, 10);
    cleanup_free char *id = fleet_host_id(&world->nodes[0].paths);
    cleanup_free char *text = mem_printf("{\"uid\":\"%s\",\"memMib\":%d}", id, 8000);
    engine_fake_put(world->fake, FLEET_ROOT "home/node/a", text);
    world_advance(world, 3);
    cleanup_free char *first = move(world, "web", FLEET_MOVE_BEGIN);
    assert_int_equal(code_of(b, first), ERR_NONE);
    assert_non_null(strstr(move_etcd_has(world, "hold/a"), "6000"));
    cleanup_free char *second = move(world, "db", FLEET_MOVE_BEGIN);
    assert_int_equal(code_of(b, second), ERR_FLEET_NO_NODE);
    cleanup_free char *cancelled = move(world, "web", FLEET_MOVE_CANCEL);
    assert_int_equal(code_of(b, cancelled), ERR_NONE);
    assert_non_null(strstr(move_etcd_has(world, "hold/a"), "\"vms\":0"));
    cleanup_free char *third = move(world, "db", FLEET_MOVE_BEGIN);
    assert_int_equal(code_of(b, third), ERR_NONE);
}

static void a_vm_grows_into_what_is_left_and_no_further(void **state)
{
    struct world *world = *state;
    struct world_node *a = &world->nodes[0];
    cleanup_free char *web = place(a, "web", 4000);
    world_advance(world, 10);
    cleanup_free char *larger = place(a, "web", 9000);
    world_advance(world, 10);
    assert_int_equal(code_of(a, web), ERR_NONE);
    assert_int_equal(code_of(a, larger), ERR_NONE);
    assert_promised(world, 9000, 1);
    cleanup_free char *too_large = place(a, "web", 11000);
    cleanup_free char *smaller = place(a, "web", 2000);
    world_advance(world, 10);
    assert_int_equal(code_of(a, too_large), ERR_FLEET_NO_NODE);
    assert_int_equal(code_of(a, smaller), ERR_NONE);
    assert_promised(world, 2000, 1);
}

/* As of a node of before there was the row, or of one who wrote nonsense. */
static void a_row_that_is_wrong_or_missing_is_right_after_the_next(void **state)
{
    struct world *world = *state;
    struct world_node *a = &world->nodes[0];
    cleanup_free char *web = place(a, "web", 6000);
    world_advance(world, 10);
    assert_int_equal(code_of(a, web), ERR_NONE);
    engine_fake_delete(world->fake, FLEET_ROOT "home/hold/b", false);
    world_advance(world, 3);
    cleanup_free char *late = place(a, "late", 6000);
    cleanup_free char *db = place(a, "db", 1000);
    world_advance(world, 10);
    assert_int_equal(code_of(a, late), ERR_FLEET_NO_NODE);
    assert_int_equal(code_of(a, db), ERR_NONE);
    assert_promised(world, 7000, 2);
    engine_fake_put(world->fake, FLEET_ROOT "home/hold/b", "[-1]");
    world_advance(world, 3);
    const struct change deletion = {.name = "web", .deletes = true};
    cleanup_free char *destroy = world_ask(a, &deletion, NULL);
    world_advance(world, 10);
    assert_int_equal(code_of(a, destroy), ERR_NONE);
    assert_promised(world, 1000, 1);
}

static void many_that_place_on_one_node_all_come_to_their_turn(void **state)
{
    enum { COUNT = 20 };
    struct world *world = *state;
    char *rows[2][COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t n = 0; n < 2; n++) {
            cleanup_free char *name = mem_printf("%c%zu", (char)('a' + n), i);
            rows[n][i] = place(&world->nodes[n], name, 100);
        }
    }
    world_advance(world, 60);
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t n = 0; n < 2; n++) {
            assert_int_equal(code_of(&world->nodes[n], rows[n][i]), ERR_NONE);
            free(rows[n][i]);
        }
    }
    assert_promised(world, 2 * COUNT * 100, 2 * COUNT);
}

int main(void)
{
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, world_tear_down)
    const struct CMUnitTest tests[] = {
        IN_WORLD(of_two_that_place_at_once_one_finds_no_room),
        IN_WORLD(who_finds_no_room_takes_the_next_node),
        IN_WORLD(what_is_promised_is_given_back_with_the_end),
        IN_WORLD(what_is_on_its_way_to_a_node_has_its_room_there),
        IN_WORLD(a_vm_grows_into_what_is_left_and_no_further),
        IN_WORLD(a_row_that_is_wrong_or_missing_is_right_after_the_next),
        IN_WORLD(many_that_place_on_one_node_all_come_to_their_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
