/* SPDX-License-Identifier: MPL-2.0 */
#include "store/desired/snapshot_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"
#include "store/store.h"

#define TOKEN "11111111111111111111111111111111"

/* A stopped VM "web" with a disk, of which a snapshot "one" is being made. vm_record_clear() it. */
static struct vm_record a_vm(void)
{
    struct vm_desired *desired = vm_desired_new(vm_spec_new("web"), 0);
    desired->snapshot = (struct snapshot_order){.verb = SNAPSHOT_CREATE, .name = "one"};
    memcpy(desired->snapshot.token, TOKEN, sizeof(TOKEN));
    struct vm_status *status = vm_status_new(desired->uid);
    memcpy(status->prepared.digest, TOKEN, sizeof(TOKEN));
    return (struct vm_record){.name = mem_strdup("web"), .desired = desired, .status = status};
}

static void only_the_very_same_request_is_under_way(void **state)
{
    static const struct {
        struct snapshot_order order;
        bool is_under_way;
    } rows[] = {
        {{.verb = SNAPSHOT_CREATE, .name = "one"}, true},
        {{.verb = SNAPSHOT_CREATE, .name = "two"}, false},
        {{.verb = SNAPSHOT_REMOVE, .name = "one"}, false},
    };
    cleanup_with(vm_record_clear) struct vm_record vm = a_vm();
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err = {.code = ERR_NONE};
        assert_int_equal(snapshot_is_under_way(&vm, &rows[i].order), rows[i].is_under_way);
        assert_int_equal(snapshot_check(&vm, &rows[i].order, "web", &err), -ERR_VM_CONFLICT);
    }
}

static void what_was_carried_out_is_not_under_way(void **state)
{
    const struct snapshot_order order = {.verb = SNAPSHOT_CREATE, .name = "one"};
    cleanup_with(vm_record_clear) struct vm_record vm = a_vm();
    struct error err = {.code = ERR_NONE};
    (void)state;
    memcpy(vm.status->handled_snapshot_token, TOKEN, sizeof(TOKEN));
    assert_false(snapshot_is_under_way(&vm, &order));
    assert_int_equal(snapshot_check(&vm, &order, "web", &err), 0);
    vm_status_add_snapshot(vm.status, "one", TOKEN, 1, 0);
    assert_int_equal(snapshot_check(&vm, &order, "web", &err), -ERR_VM_CONFLICT);
}

/* What is stopped is read where it is. */
static void a_volume_is_copied_by_the_machine_that_has_it(void **state)
{
    const struct snapshot_order order = {
        .verb = SNAPSHOT_CREATE, .name = "two", .volume = "shop/data"};
    cleanup_with(vm_record_clear) struct vm_record vm = a_vm();
    struct error err = {.code = ERR_NONE};
    (void)state;
    memcpy(vm.status->handled_snapshot_token, TOKEN, sizeof(TOKEN));
    assert_int_equal(snapshot_check(&vm, &order, "web", &err), -ERR_VM_INVALID_STATE);
    error_clear(&err);
    vm.desired->power = POWER_RUNNING;
    struct vm_spec *spec = vm_spec_new("web");
    mem_grow(spec->volumes, spec->n_volumes);
    spec->volumes[spec->n_volumes++] = (struct spec_volume){.name = mem_strdup("shop/data")};
    vm_status_set_applied_spec(vm.status, spec);
    vm_spec_free(spec);
    assert_int_equal(snapshot_check(&vm, &order, "web", &err), -ERR_VM_INVALID_STATE);
    error_clear(&err);
    strcpy(vm.status->instance.instance_id, "iid");
    assert_int_equal(snapshot_check(&vm, &order, "web", &err), 0);
}

/* Of a backup that was killed it stays for a while. */
static void a_copy_of_a_volume_does_not_become_the_disk(void **state)
{
    struct snapshot_order order = {.verb = SNAPSHOT_RESTORE, .name = "one"};
    cleanup_with(vm_record_clear) struct vm_record vm = a_vm();
    struct error err = {.code = ERR_NONE};
    (void)state;
    memcpy(vm.status->handled_snapshot_token, TOKEN, sizeof(TOKEN));
    vm_status_add_snapshot(vm.status, "one", TOKEN, 1, 0);
    assert_int_equal(snapshot_check(&vm, &order, "web", &err), 0);
    vm_status_snapshot(vm.status, "one")->volume = mem_strdup("shop/data");
    assert_int_equal(snapshot_check(&vm, &order, "web", &err), -ERR_VM_INVALID_STATE);
    assert_non_null(strstr(err.message, "a backup copy of volume 'shop/data'"));
    error_clear(&err);
    order.verb = SNAPSHOT_REMOVE;
    assert_int_equal(snapshot_check(&vm, &order, "web", &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_of_a_volume_does_not_become_the_disk),
        cmocka_unit_test(only_the_very_same_request_is_under_way),
        cmocka_unit_test(what_was_carried_out_is_not_under_way),
        cmocka_unit_test(a_volume_is_copied_by_the_machine_that_has_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
