/* SPDX-License-Identifier: MPL-2.0 */
/* Which node is chosen, and what is said when there is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/fleet/fleet_view.h"
#include "cli/fleet/fleet_vms.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/vm/vm_spec.h"
#include "specs/vmfile/nodes_file.h"

static const char rows[] =
    "{\"link\":{\"state\":\"up\"},"
    "\"node/a\":{\"memMib\":4000,\"labels\":{}},\"alive/a\":{\"session\":\"s\"},"
    "\"node/b\":{\"memMib\":8000,\"labels\":{\"ssd\":\"yes\"}},\"alive/b\":{\"session\":\"s\"},"
    "\"node/c\":{\"memMib\":99000},\"lost/c\":1,"
    "\"node/d\":{\"memMib\":99000,\"cordoned\":true},\"alive/d\":{\"session\":\"s\"},"
    "\"vm/b/web\":{\"power\":\"running\",\"spec\":{\"memoryMib\":5000}},"
    "\"st/b/web\":{\"session\":\"s\"},"
    "\"st/a/own\":{\"desired\":{\"power\":\"stopped\",\"spec\":{\"memoryMib\":3000}}}}";

struct fixture {
    struct fleet_view view;
    json_t *promised;
    struct vm_spec *spec;
};

static int set_up(void **state)
{
    struct fixture *f = mem_new(struct fixture);
    f->view.rows = json_loads(rows, 0, NULL);
    f->view.contact_ms = clock_wall_ms(clock_system());
    f->promised = json_object();
    f->spec = vm_spec_new("ci");
    f->spec->memory_mib = 1000;
    assert_non_null(f->view.rows);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    fleet_view_clear(&f->view);
    json_decref(f->promised);
    vm_spec_free(f->spec);
    free(f);
    return 0;
}

static void assert_chosen(struct fixture *f, const char *place, const char *node)
{
    struct error err = {.code = ERR_NONE};
    cleanup_with(strings_clear) struct strings nodes = {.count = 0};
    if (fleet_choose_nodes(&f->view, place, f->spec, f->promised, &nodes, &err) < 0) {
        fail_msg("%s", err.message);
    }
    assert_string_equal(nodes.items[0], node);
}

static void assert_none(struct fixture *f, const char *place, struct error *err)
{
    struct strings nodes = {.count = 0};
    error_clear(err);
    assert_int_equal(
        fleet_choose_nodes(&f->view, place, f->spec, f->promised, &nodes, err), -ERR_FLEET_NO_NODE);
    assert_int_equal(nodes.count, 0);
}

/* For the case that somebody takes the memory of the first one meanwhile. */
static void the_others_that_fit_come_after_it(void **state)
{
    struct fixture *f = *state;
    struct error err = {.code = ERR_NONE};
    cleanup_with(strings_clear) struct strings nodes = {.count = 0};
    f->spec->memory_mib = 2500;
    assert_int_equal(fleet_choose_nodes(&f->view, "any", f->spec, f->promised, &nodes, &err), 0);
    assert_int_equal(nodes.count, 2);
    assert_string_equal(nodes.items[0], "a");
    assert_string_equal(nodes.items[1], "b");
}

static void the_one_with_most_memory_left_is_chosen(void **state)
{
    struct fixture *f = *state;
    f->spec->memory_mib = 1500;
    assert_chosen(f, "any", "a"); /* 4000, of b 3000 */
    f->spec->memory_mib = 2500;
    assert_chosen(f, "any", "b"); /* of a 2500 now */
}

static void a_label_restricts_the_choice(void **state)
{
    struct fixture *f = *state;
    assert_chosen(f, "any:ssd=yes", "b");
    assert_chosen(f, "any:node=b", "b");
}

static void why_none_fits_is_said_node_by_node(void **state)
{
    struct fixture *f = *state;
    struct error err = {.code = ERR_NONE};
    f->spec->memory_mib = 5000;
    assert_none(f, "any", &err);
    assert_int_equal(err.code, ERR_FLEET_NO_NODE);
    assert_non_null(strstr(err.message, "a: 4000 MiB of memory left"));
    assert_non_null(strstr(err.message, "b: 3000 MiB of memory left"));
    assert_non_null(strstr(err.message, "c: offline"));
    assert_non_null(strstr(err.message, "d: takes no new VMs"));
    assert_none(f, "any:gpu=yes", &err);
    assert_non_null(strstr(err.message, "a: not gpu=yes"));
}

static void a_path_is_for_a_node_that_takes_one(void **state)
{
    struct fixture *f = *state;
    struct error err = {.code = ERR_NONE};
    json_t *a = json_object_get(f->view.rows, "node/a");
    json_t *b = json_object_get(f->view.rows, "node/b");
    f->spec->image.location = mem_strdup("/img");
    json_put(a, "accept", json_loads("[\"url\",\"path\"]", 0, NULL));
    json_put(b, "accept", json_loads("[\"url\",\"cache\"]", 0, NULL));
    assert_chosen(f, "any", "a");
    assert_none(f, "any:node=b", &err);
    assert_non_null(strstr(err.message, "b: does not accept paths such as '/img'"));
}

static void without_a_link_nobody_is_heard_of(void **state)
{
    struct fixture *f = *state;
    struct error err = {.code = ERR_NONE};
    f->view.contact_ms = 1;
    assert_none(f, "any", &err);
    assert_int_equal(err.code, ERR_FLEET_NO_NODE);
}

static void any_is_no_name_of_a_node(void **state)
{
    (void)state;
    static const char *const others[] = {"", "b", "anyone", "any:", "any:x", "any:=y", "any:x="};
    assert_true(node_is_any("any"));
    assert_true(node_is_any("any:ssd=yes"));
    assert_false(node_is_any(NULL));
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        assert_false(node_is_any(others[i]));
    }
    assert_false(node_name_is_valid("any"));
    assert_true(node_name_is_valid("anyone"));
}

int main(void)
{
#define WITH_ROWS(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_ROWS(the_one_with_most_memory_left_is_chosen),
        WITH_ROWS(the_others_that_fit_come_after_it),
        WITH_ROWS(a_label_restricts_the_choice),
        WITH_ROWS(why_none_fits_is_said_node_by_node),
        WITH_ROWS(a_path_is_for_a_node_that_takes_one),
        WITH_ROWS(without_a_link_nobody_is_heard_of),
        cmocka_unit_test(any_is_no_name_of_a_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
