/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/queue/name_map.h"

#include "tests/unit/controller/test_support.h"

static void an_empty_map_has_nothing(void **state)
{
    (void)state;
    struct name_map map = {0};
    assert_null(name_map_get(&map, "a"));
    assert_null(name_map_remove(&map, "a"));
    name_map_clear(&map);
}

static void what_is_added_is_found_until_it_is_removed(void **state)
{
    (void)state;
    struct name_map map = {0};
    int one, two;
    name_map_add(&map, "one", &one);
    name_map_add(&map, "two", &two);
    assert_ptr_equal(name_map_get(&map, "one"), &one);
    assert_ptr_equal(name_map_get(&map, "two"), &two);
    assert_null(name_map_get(&map, "three"));
    assert_ptr_equal(name_map_remove(&map, "one"), &one);
    assert_null(name_map_get(&map, "one"));
    assert_ptr_equal(name_map_get(&map, "two"), &two);
    assert_int_equal(map.count, 1);
    name_map_clear(&map);
}

/* Deletion shifts slots back: every other key must still be found after each step. */
static void many_random_adds_and_removes_lose_nothing(void **state)
{
    enum { NAMES = 200, STEPS = 20000 };
    (void)state;
    struct name_map map = {0};
    char names[NAMES][16];
    bool is_in[NAMES] = {0};
    size_t count = 0;
    uint64_t rng = 7;
    for (int i = 0; i < NAMES; i++) {
        snprintf(names[i], sizeof(names[i]), "vm-%d", i);
    }
    for (int step = 0; step < STEPS; step++) {
        rng = rng * UINT64_C(6364136223846793005) + 1442695040888963407u;
        size_t i = (size_t)(rng >> 33) % NAMES;
        if (is_in[i]) {
            assert_ptr_equal(name_map_remove(&map, names[i]), &is_in[i]);
        } else {
            name_map_add(&map, names[i], &is_in[i]);
        }
        is_in[i] = !is_in[i];
        count = is_in[i] ? count + 1 : count - 1;
        assert_int_equal(map.count, count);
        for (size_t k = step % 97 == 0 ? 0 : NAMES; k < NAMES; k++) {
            assert_ptr_equal(name_map_get(&map, names[k]), is_in[k] ? &is_in[k] : NULL);
        }
    }
    name_map_clear(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_map_has_nothing),
        cmocka_unit_test(what_is_added_is_found_until_it_is_removed),
        cmocka_unit_test(many_random_adds_and_removes_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
