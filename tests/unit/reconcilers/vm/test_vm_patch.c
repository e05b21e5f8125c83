/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/vm/vm_patch.h"

#include "tests/unit/controller/test_support.h"

static void what_is_put_in_is_there_in_order_and_goes_with_the_patch(void **state)
{
    (void)state;
    struct vm_patch patch = {.status = vm_status_new("0123456789abcdef0123456789abcdef")};
    char key[] = "tcp/10022";
    vm_patch_lease(&patch, key);
    vm_patch_lease(&patch, "mac/52:54:00:00:00:01");
    vm_patch_drop_lease(&patch, "tcp/1");
    vm_patch_event(&patch, true, REASON_PORT_CONFLICT, "port %d is taken", 10022);
    vm_patch_event(&patch, false, REASON_STARTING, "starting");
    vm_patch_image(&patch, "http://x", json_pack("{s:i}", "bytes", 1));
    vm_patch_image(&patch, "http://y", NULL);
    key[0] = 'X'; /* copied, not borrowed */

    assert_int_equal(patch.n_leases, 2);
    assert_string_equal(patch.leases[0], "tcp/10022");
    assert_string_equal(patch.leases[1], "mac/52:54:00:00:00:01");
    assert_int_equal(patch.n_dropped_leases, 1);
    assert_string_equal(patch.dropped_leases[0], "tcp/1");
    assert_int_equal(patch.n_events, 2);
    assert_string_equal(patch.events[0].message, "port 10022 is taken");
    assert_true(patch.events[0].is_warning);
    assert_int_equal(patch.events[1].reason, REASON_STARTING);
    assert_false(patch.events[1].is_warning);
    assert_int_equal(patch.n_images, 2);
    assert_int_equal(json_int(patch.images[0].record, "bytes", 0), 1);
    assert_null(patch.images[1].record);

    vm_patch_clear(&patch);
    assert_null(patch.status);
    assert_int_equal(patch.n_leases + patch.n_events + patch.n_images, 0);
}

/* A pass may release what the last instance held and choose for the next one. */
static void a_lease_that_was_dropped_and_is_wanted_again_stays(void **state)
{
    (void)state;
    struct vm_status *committed = vm_status_new("0123456789abcdef0123456789abcdef");
    struct vm_patch patch = {.status = vm_status_copy(committed)};
    assert_true(vm_patch_is_empty(&patch, committed));
    vm_patch_drop_lease(&patch, "tcp/1");
    vm_patch_drop_lease(&patch, "tcp/2");
    vm_patch_drop_lease(&patch, "tcp/1");
    assert_false(vm_patch_is_empty(&patch, committed));
    vm_patch_lease(&patch, "tcp/1");
    assert_int_equal(patch.n_leases, 1);
    assert_int_equal(patch.n_dropped_leases, 1);
    assert_string_equal(patch.dropped_leases[0], "tcp/2");
    vm_patch_clear(&patch);
    vm_status_free(committed);
}

static void a_message_too_long_is_cut(void **state)
{
    (void)state;
    struct vm_patch patch = {0};
    vm_patch_event(&patch, false, REASON_STARTING, "%5000s", "x");
    assert_int_equal(strlen(patch.events[0].message), 1023);
    vm_patch_clear(&patch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_in_is_there_in_order_and_goes_with_the_patch),
        cmocka_unit_test(a_lease_that_was_dropped_and_is_wanted_again_stays),
        cmocka_unit_test(a_message_too_long_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
