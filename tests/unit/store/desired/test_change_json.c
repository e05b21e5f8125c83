/* SPDX-License-Identifier: MPL-2.0 */
/* A request that another process carries out asks for what was asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/vm/vm_spec.h"
#include "store/desired/change_json.h"

static void a_change_is_read_as_it_was_written(void **state)
{
    (void)state;
    struct error err = {.code = ERR_NONE};
    struct vm_spec *spec = vm_spec_new("shop/web");
    const struct change change = {.name = "shop/web",
        .spec = spec,
        .source = "//a/VMFile.kdl",
        .sets_power = true,
        .power = POWER_SUSPENDED,
        .saves = true,
        .restarts = true,
        .recreates = true,
        .erases_at_once = true,
        .deletes = true,
        .takes_over = true,
        .stop_timeout_s = 7,
        .provision = PROVISION_AGAIN,
        .provision_from = 3};
    cleanup_json json_t *json = change_to_json(&change);
    struct change_copy copy;
    assert_int_equal(change_from_json(json, &copy, &err), 0);
    assert_string_equal(copy.change.name, "shop/web");
    assert_string_equal(copy.change.source, "//a/VMFile.kdl");
    assert_true(vm_spec_equal(copy.change.spec, spec));
    assert_true(copy.change.sets_power && copy.change.saves && copy.change.restarts);
    assert_true(copy.change.recreates && copy.change.erases_at_once && copy.change.deletes);
    assert_true(copy.change.takes_over);
    assert_false(copy.change.must_be_new || copy.change.starts_new || copy.change.retries);
    assert_int_equal(copy.change.power, POWER_SUSPENDED);
    assert_int_equal(copy.change.stop_timeout_s, 7);
    assert_int_equal(copy.change.provision, PROVISION_AGAIN);
    assert_int_equal(copy.change.provision_from, 3);
    change_copy_clear(&copy);
    vm_spec_free(spec);
}

static void what_is_no_change_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"{}", "[]", "7", "{\"name\":\"../x\"}", "{\"name\":\"\"}",
        "{\"name\":\"a\",\"spec\":{}}", "{\"name\":\"a\",\"spec\":{\"name\":\"b\"}}",
        "{\"name\":\"a\",\"spec\":7}"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct error err = {.code = ERR_NONE};
        cleanup_json json_t *json = json_loads(texts[i], JSON_DECODE_ANY, NULL);
        struct change_copy copy;
        if (change_from_json(json, &copy, &err) == 0) {
            fail_msg("'%s' is taken", texts[i]);
        }
        change_copy_clear(&copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_change_is_read_as_it_was_written),
        cmocka_unit_test(what_is_no_change_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
