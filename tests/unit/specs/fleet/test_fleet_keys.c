/* SPDX-License-Identifier: MPL-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"
#include "specs/fleet/fleet_keys.h"

static void assert_same(const char *a, const char *b)
{
    assert_true((a == NULL) == (b == NULL));
    if (a) {
        assert_string_equal(a, b);
    }
}

static void a_row_is_read_as_it_was_made(void **state)
{
    (void)state;
    static const struct {
        enum fleet_kind kind;
        const char *first, *second, *row;
    } rows[] = {
        {FLEET_KIND_FLEET, NULL, NULL, "fleet"},
        {FLEET_KIND_NODE, "b.lan", NULL, "node/b.lan"},
        {FLEET_KIND_HOLD, "b", NULL, "hold/b"},
        {FLEET_KIND_NAME, "shop/web", NULL, "name/shop+web"},
        {FLEET_KIND_VM, "b", "web", "vm/b/web"},
        {FLEET_KIND_STATUS, "b", "shop/web", "st/b/shop+web"},
        {FLEET_KIND_ASK, "0123", NULL, "ask/0123"},
        {FLEET_KIND_IN, "b", "shop/web", "in/b/shop+web"},
        {FLEET_KIND_GONE, "b", "0123", "gone/b/0123"},
        {FLEET_KIND_FETCHED, "shop/web", NULL, "fetched/shop+web"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cleanup_free char *row = fleet_row(rows[i].kind, rows[i].first, rows[i].second);
        assert_string_equal(row, rows[i].row);
        struct fleet_key key = fleet_row_parse(row);
        assert_int_equal(key.kind, rows[i].kind);
        assert_same(key.first, rows[i].first);
        assert_same(key.second, rows[i].second);
        fleet_key_clear(&key);
    }
}

static void what_is_no_row_is_left_alone(void **state)
{
    (void)state;
    static const char *const rows[] = {"", "/", "fleet/", "fleet/x", "node", "node/", "node//",
        "node/a/b", "vm/b", "vm/b/", "vm//web", "vm/b/web/x", "vm/b/../x", "vm/b/.x", "name/",
        "name/a b", "node/any", "node/b\033[31m", "alive/b c", "st/../web", "vmx/b/web",
        "inb/b/web", "in/b", "gone/b", "v"};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fleet_key key = fleet_row_parse(rows[i]);
        if (key.kind != FLEET_KIND_OTHER) {
            fail_msg("'%s' is taken for a row", rows[i]);
        }
        assert_null(key.first);
        assert_null(key.second);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_is_read_as_it_was_made),
        cmocka_unit_test(what_is_no_row_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
