/* SPDX-License-Identifier: MPL-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "specs/vm/backend_traits.h"
#include "specs/vm/vm_spec.h"

static void only_a_propolis_machine_is_fixed_while_it_runs(void **state)
{
    (void)state;
    for (int kind = 0; kind < BACKEND_COUNT_; kind++) {
        const struct backend_traits *traits = backend_traits((enum backend_kind)kind);
        assert_int_equal(traits->is_fixed, kind == BACKEND_PROPOLIS);
        assert_int_equal(traits->console_url != NULL, kind == BACKEND_PROPOLIS);
    }
}

static void every_backend_names_what_identifies_its_machine(void **state)
{
    (void)state;
    assert_string_equal(backend_traits(BACKEND_QEMU)->handle, "pid");
    assert_string_equal(backend_traits(BACKEND_NOOP)->handle_label, "PID:");
    assert_string_equal(backend_traits(BACKEND_PROPOLIS)->handle, "zone");
    assert_string_equal(backend_traits(BACKEND_PROPOLIS)->handle_label, "Zone ID:");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_a_propolis_machine_is_fixed_while_it_runs),
        cmocka_unit_test(every_backend_names_what_identifies_its_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
