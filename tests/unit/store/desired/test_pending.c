/* SPDX-License-Identifier: MPL-2.0 */
#include "store/desired/pending.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/fields.h"
#include "specs/base/mem.h"
#include "specs/vm/record_fields.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"
#include "store/store.h"

#define TOKEN "11111111111111111111111111111111"

/* A VM that is off, with a disk, of which all was seen and done. vm_record_clear() it. */
static struct vm_record a_vm(void)
{
    struct vm_desired *desired = vm_desired_new(vm_spec_new("web"), 0);
    struct vm_status *status = vm_status_new(desired->uid);
    status->observed_generation = desired->generation = 3;
    memcpy(status->prepared.digest, TOKEN, sizeof(TOKEN));
    memcpy(desired->recreate_token, TOKEN, sizeof(TOKEN));
    memcpy(status->handled_recreate_token, TOKEN, sizeof(TOKEN));
    return (struct vm_record){.name = mem_strdup("web"), .desired = desired, .status = status};
}

static void it_rests_until_something_is_due(void **state)
{
    cleanup_with(vm_record_clear) struct vm_record vm = a_vm();
    (void)state;
    assert_true(record_is_at_rest(&vm));
    vm.desired->generation++; /* not seen yet: it may be started */
    assert_false(record_is_at_rest(&vm));
    vm.status->observed_generation++;
    assert_true(record_is_at_rest(&vm));
    vm.desired->recreate_token[0] = '2'; /* its disk is about to go */
    assert_false(record_is_at_rest(&vm));
    vm.desired->recreate_token[0] = '1';
    memcpy(vm.desired->snapshot.token, TOKEN, sizeof(TOKEN)); /* … or to be another one */
    assert_false(record_is_at_rest(&vm));
    memcpy(vm.status->handled_snapshot_token, TOKEN, sizeof(TOKEN));
    assert_true(record_is_at_rest(&vm));
    strcpy(vm.status->instance.instance_id, "i");
    assert_false(record_is_at_rest(&vm));
}

static void one_whose_disk_is_still_to_come_does_not_rest(void **state)
{
    cleanup_with(vm_record_clear) struct vm_record vm = a_vm();
    (void)state;
    vm.desired->origin = fields_new(&vm_origin_fields);
    vm.desired->n_origins = 1;
    vm.desired->origin->import = mem_strdup(TOKEN);
    assert_true(record_is_at_rest(&vm));
    vm.status->prepared.digest[0] = '\0';
    assert_false(record_is_at_rest(&vm));
}

static void another_vms_status_says_nothing(void **state)
{
    cleanup_with(vm_record_clear) struct vm_record vm = a_vm();
    (void)state;
    vm.status->uid[0] ^= 1;
    assert_false(record_is_at_rest(&vm));
    vm_status_free(TAKE_PTR(vm.status));
    assert_false(record_is_at_rest(&vm));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_rests_until_something_is_due),
        cmocka_unit_test(one_whose_disk_is_still_to_come_does_not_rest),
        cmocka_unit_test(another_vms_status_says_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
