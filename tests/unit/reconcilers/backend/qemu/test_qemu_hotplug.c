/* SPDX-License-Identifier: MPL-2.0 */
/* Adding CPUs and memory to a real QEMU. What the guest makes of it: tests/e2e/qemu_live.bats. */
#include "reconcilers/backend/qemu/hotplug.h"

#include "specs/vm/spec_diff.h"
#include "tests/unit/reconcilers/backend/qemu/test_qemu_machine.h"

/* As a start from the fixture's spec, with room for more, records it. */
static void start_with_room(struct fixture *f)
{
    f->spec->network.mode = NETWORK_NONE;
    f->spec->max_vcpus = 4;
    f->spec->max_memory_mib = 64 + 3 * SPEC_MEMORY_BLOCK_MIB;
    vm_status_set_applied_spec(f->status, f->spec);
    start_and_boot(f);
    assert_null(f->boot.changes);
}

static void boot_with(struct fixture *f, uint32_t vcpus, uint32_t memory_mib)
{
    free(TAKE_PTR(f->boot.changes));
    f->spec->vcpus = vcpus;
    f->spec->memory_mib = memory_mib;
    try_boot(f);
}

static long long number_of(struct fixture *f, const char *command, const char *key)
{
    cleanup_free char *request = mem_printf("{\"execute\":\"%s\"}", command);
    cleanup_free char *answer = ask_user_socket(f, request);
    const char *at = strstr(answer, key);
    assert_non_null(at);
    return strtoll(at + strlen(key), NULL, 10);
}

static long long plugged_mib(struct fixture *f)
{
    return number_of(f, "query-memory-size-summary", "\"plugged-memory\":") >> 20;
}

static size_t count(const char *text, const char *word)
{
    size_t n = 0;
    while ((text = strstr(text, word))) {
        n++;
        text += strlen(word);
    }
    return n;
}

static size_t count_cpus(struct fixture *f)
{
    cleanup_free char *answer = ask_user_socket(f, "{\"execute\":\"query-cpus-fast\"}");
    return count(answer, "\"cpu-index\"");
}

static void cpus_and_memory_are_added_up_to_the_target(void **state)
{
    struct fixture *f = *state;
    start_with_room(f);
    boot_with(f, 3, 64 + 128);
    expect_ok(f);
    assert_string_equal(f->boot.changes, "vcpus 1 -> 3, memory 64 -> 192");
    assert_int_equal(count_cpus(f), 3);
    assert_int_equal(plugged_mib(f), 128);
    vm_status_set_applied_spec(f->status, f->spec);
    boot_with(f, 4, 64 + 3 * 128);
    expect_ok(f);
    assert_string_equal(f->boot.changes, "vcpus 3 -> 4, memory 192 -> 448");
    assert_int_equal(plugged_mib(f), 384);
}

/* Killed after the effect and before its record, it is all done again. */
static void doing_it_twice_adds_nothing(void **state)
{
    struct fixture *f = *state;
    start_with_room(f);
    boot_with(f, 2, 64 + 128);
    expect_ok(f);
    boot_with(f, 2, 64 + 128);
    expect_ok(f);
    assert_null(f->boot.changes);
    assert_int_equal(count_cpus(f), 2);
    assert_int_equal(plugged_mib(f), 128);
}

/* Killed between the backend and its DIMM; what is left may be of another size than needed now. */
static void a_backend_left_behind_is_not_in_the_way(void **state)
{
    struct fixture *f = *state;
    start_with_room(f);
    cleanup_free char *answer = ask_user_socket(f,
        "{\"execute\":\"object-add\",\"arguments\":{\"qom-type\":\"memory-backend-ram\","
        "\"id\":\"vmctl-memory0\",\"size\":268435456}}");
    assert_string_equal(answer, "{}");
    boot_with(f, 1, 64 + 128);
    expect_ok(f);
    assert_int_equal(plugged_mib(f), 128);
}

static void a_slot_that_somebody_took_is_passed_over(void **state)
{
    struct fixture *f = *state;
    start_with_room(f);
    cleanup_free char *backend = ask_user_socket(f,
        "{\"execute\":\"object-add\",\"arguments\":{\"qom-type\":\"memory-backend-ram\","
        "\"id\":\"mine\",\"size\":134217728}}");
    cleanup_free char *dimm = ask_user_socket(f,
        "{\"execute\":\"device_add\",\"arguments\":{\"driver\":\"pc-dimm\",\"id\":\"mine\","
        "\"memdev\":\"mine\",\"slot\":0}}");
    assert_string_equal(dimm, "{}");
    boot_with(f, 1, 64 + 2 * 128);
    expect_ok(f);
    assert_string_equal(f->boot.changes, "memory 192 -> 320");
    assert_int_equal(plugged_mib(f), 256);
}

static void what_there_is_no_room_for_is_left_to_a_restart(void **state)
{
    struct fixture *f = *state;
    start_with_room(f);
    boot_with(f, 5, 64 + 100);
    expect_ok(f);
    assert_null(f->boot.changes);
    assert_int_equal(count_cpus(f), 1);
    assert_int_equal(plugged_mib(f), 0);
}

static void less_is_left_to_a_restart(void **state)
{
    struct fixture *f = *state;
    f->spec->vcpus = 2;
    start_with_room(f);
    boot_with(f, 1, 32);
    expect_ok(f);
    assert_null(f->boot.changes);
    assert_int_equal(count_cpus(f), 2);
}

static void qemus_refusal_is_told(void **state)
{
    struct fixture *f = *state;
    start_with_room(f);
    /* recorded is more room than the machine has */
    f->spec->max_memory_mib = 4096;
    vm_status_set_applied_spec(f->status, f->spec);
    boot_with(f, 1, 64 + 8 * 128);
    assert_int_equal(f->err.code, ERR_QMP_COMMAND);
    assert_non_null(strstr(f->err.message, "cannot change it while it runs"));
    assert_non_null(strstr(f->err.message, "cannot add memory"));
    assert_int_equal(observe(f).run_state, RUN_STATE_RUNNING);
    boot_with(f, 1, 64 + 128); /* and what was tried is not in the way */
    expect_ok(f);
    assert_int_equal(plugged_mib(f), 128);
}

static void cancelled_in_the_middle_it_can_be_done_again(void **state)
{
    struct fixture *f = *state;
    start_with_room(f);
    f->spec->vcpus = 4;
    f->spec->memory_mib = 64 + 128;
    f->is_done = false;
    op_cancel(ops()->boot(f->machine, &f->env, &f->boot, on_done, f));
    boot_with(f, 4, 64 + 128);
    expect_ok(f);
    assert_int_equal(count_cpus(f), 4);
    assert_int_equal(plugged_mib(f), 128);
}

int main(void)
{
    if (!qemu_is_installed()) {
        fprintf(stderr, "qemu-system-x86_64 and qemu-img are needed: skipped\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        TEST(cpus_and_memory_are_added_up_to_the_target),
        TEST(doing_it_twice_adds_nothing),
        TEST(a_backend_left_behind_is_not_in_the_way),
        TEST(a_slot_that_somebody_took_is_passed_over),
        TEST(what_there_is_no_room_for_is_left_to_a_restart),
        TEST(less_is_left_to_a_restart),
        TEST(qemus_refusal_is_told),
        TEST(cancelled_in_the_middle_it_can_be_done_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
