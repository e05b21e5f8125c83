/* SPDX-License-Identifier: MPL-2.0 */
/* What a node knows of the fleet's rows: of a read, a watch and its own transactions, whose answers
 * may come after what the watch shows. */
#include "tests/unit/store/store_fixture.h"

#include "controller/fleet/engine.h"
#include "controller/fleet/mirror.h"
#include "specs/base/cleanup.h"

#define PREFIX "/vmctl/1/home/"

static struct mirror *mirror_at(struct store *store, int64_t revision)
{
    struct error err = {.code = ERR_NONE};
    const struct engine_rows none = {.revision = revision};
    struct mirror *mirror = mirror_new(store, PREFIX);
    must(mirror_replace(mirror, &none, 0, &err), &err);
    return mirror;
}

static void show(struct mirror *mirror, const char *key, const char *text, int64_t revision)
{
    struct error err = {.code = ERR_NONE};
    const struct engine_event event = {.kind = text ? ENGINE_WAS_PUT : ENGINE_WAS_DELETED,
        .row = {.key = key, .value = {text, text ? strlen(text) : 0}, .mod_revision = revision}};
    must(mirror_update(mirror, &event, 1, 0, &err), &err);
}

static void assert_known(const struct mirror *mirror, const char *text)
{
    const struct mirror_row *row = mirror_get(mirror, "name/web");
    assert_true((row != NULL) == (text != NULL));
    if (text) {
        assert_string_equal(row->text, text);
    }
}

static void our_own_write_is_known_before_the_watch_shows_it(void **state)
{
    struct fixture *f = *state;
    struct mirror *mirror = mirror_at(f->store, 5);
    mirror_note(mirror, "name/web", "{}", 6);
    assert_known(mirror, "{}");
    show(mirror, PREFIX "name/web", "{}", 6);
    mirror_note(mirror, "name/web", NULL, 7);
    assert_known(mirror, NULL);
    mirror_free(mirror);
}

static void an_answer_that_comes_late_brings_nothing_back(void **state)
{
    struct fixture *f = *state;
    struct mirror *mirror = mirror_at(f->store, 5);
    show(mirror, PREFIX "name/web", "{}", 6);
    show(mirror, PREFIX "name/web", NULL, 7); /* another node's */
    mirror_note(mirror, "name/web", "{}", 6);
    assert_known(mirror, NULL);
    mirror_note(mirror, "name/web", "{\"new\":1}", 8);
    assert_known(mirror, "{\"new\":1}");
    mirror_free(mirror);
}

static void nor_does_one_from_before_all_was_read(void **state)
{
    struct fixture *f = *state;
    struct mirror *mirror = mirror_at(f->store, 9);
    mirror_note(mirror, "name/web", "{}", 8);
    assert_known(mirror, NULL);
    mirror_free(mirror);
}

int main(void)
{
#define IN_STORE(test) cmocka_unit_test_setup_teardown(test, fixture_set_up_open, fixture_tear_down)
    const struct CMUnitTest tests[] = {
        IN_STORE(our_own_write_is_known_before_the_watch_shows_it),
        IN_STORE(an_answer_that_comes_late_brings_nothing_back),
        IN_STORE(nor_does_one_from_before_all_was_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
