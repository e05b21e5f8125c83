/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/vm_desired.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/record_json.h"

static struct vm_desired *a_filled_desired(void)
{
    struct vm_spec *spec = vm_spec_new("web");
    spec->image.location = mem_strdup("/images/base.qcow2");
    spec->vcpus = 4;
    struct vm_desired *desired = vm_desired_new(spec, 1111);
    desired->generation = 7;
    desired->revision = 9;
    desired->power = POWER_SUSPENDED;
    desired->is_deleting = true;
    desired->wants_prepared = true;
    desired->stop_timeout_s = 12;
    desired->halt_owner = 77;
    strcpy(desired->halt_boot, "a-boot");
    desired->spec->autostart = AUTOSTART_OFF;
    strcpy(desired->restart_token, "restart-1");
    strcpy(desired->recreate_token, "recreate-2");
    strcpy(desired->provision_token, "provision-3");
    desired->owner = UINT64_C(1) << 61;
    desired->provision_from = 2;
    strcpy(desired->skipped_steps, "skipped-4");
    desired->source = mem_strdup("/home/u/VMFile.kdl");
    return desired;
}

static void a_new_record_is_stopped_with_an_id_and_a_digest_of_its_own(void **state)
{
    (void)state;
    struct vm_desired *a = vm_desired_new(vm_spec_new("a"), 5);
    struct vm_desired *b = vm_desired_new(vm_spec_new("a"), 5);
    char digest[DIGEST_SIZE];
    vm_spec_digest(a->spec, digest);
    assert_int_equal(strlen(a->uid), TEXT_ID_SIZE - 1);
    assert_string_not_equal(a->uid, b->uid);
    assert_string_equal(a->spec_digest, digest);
    assert_int_equal(a->generation, 0);
    assert_int_equal(a->revision, 0);
    assert_int_equal(a->power, POWER_STOPPED);
    assert_int_equal(a->created_ms, 5);
    vm_desired_free(a);
    vm_desired_free(b);
}

static void a_filled_record_survives_json(void **state)
{
    (void)state;
    struct error err = {0};
    struct vm_desired *desired = a_filled_desired();
    cleanup_json json_t *json = vm_desired_to_json(desired);
    struct vm_desired *back = vm_desired_from_json(json, &err);
    assert_non_null(back);
    cleanup_json json_t *again = vm_desired_to_json(back);
    assert_true(json_equal(json, again));
    assert_string_equal(back->uid, desired->uid);
    assert_int_equal(back->generation, 7);
    assert_int_equal(back->revision, 9);
    assert_string_equal(back->spec->name, "web");
    assert_int_equal(back->spec->vcpus, 4);
    assert_string_equal(back->spec_digest, desired->spec_digest);
    assert_int_equal(back->power, POWER_SUSPENDED);
    assert_true(back->is_deleting);
    assert_true(back->wants_prepared);
    assert_int_equal(back->stop_timeout_s, 12);
    assert_int_equal(back->halt_owner, 77);
    assert_string_equal(back->halt_boot, "a-boot");
    assert_int_equal(back->spec->autostart, AUTOSTART_OFF);
    assert_string_equal(back->restart_token, "restart-1");
    assert_string_equal(back->recreate_token, "recreate-2");
    assert_string_equal(back->provision_token, "provision-3");
    assert_true(back->owner == UINT64_C(1) << 61);
    assert_int_equal(back->provision_from, 2);
    assert_string_equal(back->skipped_steps, "skipped-4");
    assert_string_equal(back->source, "/home/u/VMFile.kdl");
    assert_int_equal(back->created_ms, 1111);
    vm_desired_free(desired);
    vm_desired_free(back);
}

static void a_copy_shares_nothing(void **state)
{
    (void)state;
    struct vm_desired *desired = a_filled_desired();
    cleanup_json json_t *before = vm_desired_to_json(desired);
    struct vm_desired *copy = vm_desired_copy(desired);
    vm_desired_free(desired);
    cleanup_json json_t *after = vm_desired_to_json(copy);
    assert_true(json_equal(before, after));
    vm_desired_free(copy);
}

/* Removes or replaces one key of a good record and expects it to be refused. */
static void expect_refusal(const char *key, json_t *value_take)
{
    struct error err = {0};
    struct vm_desired *desired = a_filled_desired();
    cleanup_json json_t *json = vm_desired_to_json(desired);
    if (value_take) {
        json_object_set_new(json, key, value_take);
    } else {
        json_object_del(json, key);
    }
    assert_null(vm_desired_from_json(json, &err));
    assert_int_equal(err.code, ERR_STORE);
    vm_desired_free(desired);
}

static void what_a_vm_is_meant_to_be_is_never_guessed(void **state)
{
    (void)state;
    expect_refusal("uid", NULL);
    expect_refusal("uid", json_string("longer-than-thirty-two-characters-by-far"));
    expect_refusal("power", NULL);
    expect_refusal("power", json_string("hibernated"));
    expect_refusal("spec", NULL);
    expect_refusal("spec", json_string("web"));
}

/* Files and control groups are named by them. */
static void an_id_leads_to_no_other_place(void **state)
{
    static const char *const keys[] = {"uid", "restartToken", "recreateToken", "provisionToken"};
    (void)state;
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        expect_refusal(keys[i], json_string("../../db/overlay"));
        expect_refusal(keys[i], json_string(".."));
    }
    expect_refusal("snapshot",
        json_pack("{s:s, s:s, s:s}", "token", "../../db/x", "verb", "create", "name", "one"));
    expect_refusal("snapshot", json_pack("{s:s, s:s, s:s, s:s}", "token", "1", "verb", "create",
                                   "name", "one", "volume", ".."));
}

static void unknown_keys_and_missing_extras_are_fine(void **state)
{
    (void)state;
    struct error err = {0};
    struct vm_desired *desired = a_filled_desired();
    cleanup_json json_t *json = vm_desired_to_json(desired);
    json_object_set_new(json, "fromTheFuture", json_true());
    json_object_del(json, "restartToken");
    json_object_del(json, "source");
    json_object_set_new(json, "generation", json_integer(-4));
    json_object_set_new(json, "stopTimeout", json_integer(1LL << 40));
    struct vm_desired *back = vm_desired_from_json(json, &err);
    assert_non_null(back);
    assert_string_equal(back->restart_token, "");
    assert_null(back->source);
    assert_int_equal(back->generation, 0);
    assert_int_equal(back->stop_timeout_s, 0);
    vm_desired_free(desired);
    vm_desired_free(back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_record_is_stopped_with_an_id_and_a_digest_of_its_own),
        cmocka_unit_test(a_filled_record_survives_json),
        cmocka_unit_test(a_copy_shares_nothing),
        cmocka_unit_test(what_a_vm_is_meant_to_be_is_never_guessed),
        cmocka_unit_test(an_id_leads_to_no_other_place),
        cmocka_unit_test(unknown_keys_and_missing_extras_are_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
