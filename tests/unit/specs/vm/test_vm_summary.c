/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/vm_summary.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/mem.h"
#include "specs/vm/vm_status.h"

/* ---- lines ---- */

static void a_desired_line_reads_back(void **state)
{
    (void)state;
    struct vm_spec *spec = vm_spec_new("web");
    spec->backend = BACKEND_PROPOLIS;
    spec->vcpus = 8;
    spec->memory_mib = 4096;
    spec->network.mode = NETWORK_VNIC;
    struct vm_desired *desired = vm_desired_new(spec, 1700000000123);
    desired->generation = 42;
    desired->power = POWER_SUSPENDED;
    desired->is_deleting = true;
    cleanup_buf struct buf line = BUF_INIT(0);
    desired_summary_write(&line, desired);
    assert_string_equal(line.data, "v1\tpropolis\t8\t4096\tvnic\tsuspended\t1\t42\t1700000000123");
    struct desired_summary summary, direct;
    assert_true(desired_summary_parse(line.data, line.len, &summary));
    desired_summary_of(desired, &direct);
    assert_int_equal(summary.backend, BACKEND_PROPOLIS);
    assert_int_equal(summary.vcpus, 8);
    assert_int_equal(summary.memory_mib, 4096);
    assert_int_equal(summary.network, NETWORK_VNIC);
    assert_int_equal(summary.power, POWER_SUSPENDED);
    assert_true(summary.is_deleting);
    assert_int_equal(summary.generation, 42);
    assert_int_equal(summary.created_ms, 1700000000123);
    assert_int_equal(direct.backend, summary.backend);
    assert_int_equal(direct.generation, summary.generation);
    assert_int_equal(direct.created_ms, summary.created_ms);
    vm_desired_free(desired);
}

static void a_status_line_reads_back(void **state)
{
    (void)state;
    struct vm_status *status = vm_status_new("u");
    status->observed_generation = 41;
    status->instance.pid = 4711;
    status->ssh_port = 65535;
    status->ssh_host = mem_strdup("10.0.0.161");
    strcpy(status->instance.instance_id, "i");
    struct vm_spec *applied = vm_spec_new("web");
    applied->vcpus = 3;
    applied->memory_mib = 512;
    vm_status_take_applied_spec(status, applied);
    status->restart.total = 3;
    status->restart.not_before_ms = 1700000000999;
    vm_status_set(status, CONDITION_RUNNING, CONDITION_TRUE, REASON_RUNNING, NULL, 1);
    vm_status_set(status, CONDITION_READY, CONDITION_TRUE, REASON_READY, NULL, 1);
    vm_status_set(status, CONDITION_SYNCED, CONDITION_FALSE, REASON_SOURCE_INVALID, NULL, 1);
    cleanup_buf struct buf line = BUF_INIT(0);
    status_summary_write(&line, status);
    assert_string_equal(line.data,
        "v5\t4711\t65535\t1\tReady\t41\t3\t1700000000999\tSourceInvalid\t167772321\t3\t512\t");
    struct status_summary summary;
    assert_true(status_summary_parse(line.data, line.len, &summary));
    assert_int_equal(summary.pid, 4711);
    assert_int_equal(summary.ssh_port, 65535);
    assert_true(summary.is_ready);
    assert_int_equal(summary.display, REASON_READY);
    assert_int_equal(summary.observed_generation, 41);
    assert_int_equal(summary.restart_total, 3);
    assert_int_equal(summary.not_before_ms, 1700000000999);
    assert_int_equal(summary.source, REASON_SOURCE_INVALID);
    assert_int_equal(summary.ssh_ipv4, 0x0a0000a1);
    assert_int_equal(summary.vcpus, 3);
    assert_int_equal(summary.memory_mib, 512);
    free(status->ssh_host);
    status->ssh_host = mem_strdup("127.0.0.1");
    status->instance.instance_id[0] = '\0';
    status_summary_of(status, &summary);
    assert_int_equal(summary.ssh_port, 65535);
    assert_int_equal(summary.ssh_ipv4, 0);
    assert_int_equal(summary.vcpus, 0); /* what the last machine had */
    free(status->ssh_host);
    status->ssh_host = mem_strdup("fd00::1");
    status_summary_of(status, &summary);
    assert_int_equal(summary.ssh_port, 0);
    vm_status_free(status);
}

static void what_a_vmfile_has_to_do_with_it_is_told_by_its_reason(void **state)
{
    (void)state;
    struct vm_status *status = vm_status_new("u");
    struct status_summary summary;
    vm_status_set(status, CONDITION_SYNCED, CONDITION_FALSE, REASON_RESTART_REQUIRED, NULL, 1);
    status_summary_of(status, &summary);
    assert_int_equal(summary.source, REASON_NONE);
    vm_status_set(status, CONDITION_ORPHANED, CONDITION_TRUE, REASON_NO_DESIRED_RECORD, NULL, 1);
    status_summary_of(status, &summary);
    assert_int_equal(summary.source, REASON_NONE);
    vm_status_set(status, CONDITION_ORPHANED, CONDITION_TRUE, REASON_SOURCE_MISSING, NULL, 1);
    status_summary_of(status, &summary);
    assert_int_equal(summary.source, REASON_SOURCE_MISSING);
    vm_status_free(status);
}

static void every_line_but_the_right_one_is_refused(void **state)
{
    (void)state;
    static const char *const bad_desired[] = {
        "",
        "v1",
        "v2\tqemu\t1\t1\tuser\trunning\t0\t1\t1",
        "v1\tqemu\t1\t1\tuser\trunning\t0\t1",
        "v1\tqemu\t1\t1\tuser\trunning\t0\t1\t1\t",
        "v1\tvirtualbox\t1\t1\tuser\trunning\t0\t1\t1",
        "v1\tqemu\t-1\t1\tuser\trunning\t0\t1\t1",
        "v1\tqemu\t4294967296\t1\tuser\trunning\t0\t1\t1",
        "v1\tqemu\t1\t1\tuser\trunning\tyes\t1\t1",
        "v1\tqemu\t1\t1\tuser\trunning\t0\t1\t1x",
        "v1\tqemu\t1\t1\tuser\trunning\t0\t1\t 1",
    };
    const char *bad_status[] = {
        "v4\t1\t1\t1\tReady\t1\t1\t1\t\t0\t1\t1\t", "v5\t1\t1\t1\tReady\t1\t1\t1\t\t0\t1\t",
        "v5\t1\t65536\t1\tReady\t1\t1\t1\t\t0\t1\t1\t",
        "v5\t2147483648\t1\t1\tReady\t1\t1\t1\t\t0\t1\t1\t",
        "v5\t1\t1\t1\tBored\t1\t1\t1\t\t0\t1\t1\t",
        "v5\t1\t1\t1\tReady\t1\t1\t99999999999999999999\t\t0\t1\t1\t",
        "v5\t1\t1\t1\tReady\t1\t1\t1\tBored\t0\t1\t1\t",
        "v5\t1\t1\t1\tReady\t1\t1\t1\t\t0\t1\t1", /* no cause */
        NULL,                                     /* replaced by one whose cause is too long */
    };
    char too_long[512] = "v5\t1\t1\t1\tReady\t1\t1\t1\t\t0\t1\t1\t";
    memset(too_long + strlen(too_long), 'x', CAUSE_SIZE);
    bad_status[ARRAY_LEN(bad_status) - 1] = too_long;
    struct desired_summary desired;
    struct status_summary status;
    for (size_t i = 0; i < sizeof(bad_desired) / sizeof(bad_desired[0]); i++) {
        assert_false(desired_summary_parse(bad_desired[i], strlen(bad_desired[i]), &desired));
    }
    for (size_t i = 0; i < sizeof(bad_status) / sizeof(bad_status[0]); i++) {
        assert_false(status_summary_parse(bad_status[i], strlen(bad_status[i]), &status));
    }
}

/* ---- the cause ---- */

static void assert_cause(struct vm_status *status, const char *message, const char *expected)
{
    struct status_summary summary, read;
    cleanup_buf struct buf line = BUF_INIT(0);
    vm_status_set(status, CONDITION_PROVISIONED, CONDITION_FALSE, REASON_STEP_FAILED, message, 1);
    status_summary_of(status, &summary);
    assert_string_equal(summary.cause, expected);
    status_summary_write(&line, status);
    assert_true(status_summary_parse(line.data, line.len, &read));
    assert_string_equal(read.cause, expected);
}

static void what_failed_is_in_the_line_one_line_of_it_and_not_too_much(void **state)
{
    (void)state;
    struct vm_status *status = vm_status_new("u");
    vm_status_set(status, CONDITION_RUNNING, CONDITION_TRUE, REASON_RUNNING, "m", 1);
    char long_text[CAUSE_SIZE + 2], cut[CAUSE_SIZE];
    memset(long_text, 'x', sizeof(long_text));
    long_text[sizeof(long_text) - 1] = '\0';
    memset(cut, 'x', sizeof(cut));
    strcpy(cut + CAUSE_SIZE - 4, "…");
    assert_cause(status, "step 2/2 failed", "step 2/2 failed");
    assert_cause(status, "a\tb\x01\nsecond line", "a b\\x01");
    assert_cause(status, long_text, cut);
    assert_cause(status, "", "");
    vm_status_set(status, CONDITION_PROVISIONED, CONDITION_TRUE, REASON_PROVISIONED, "m", 1);
    vm_status_set(status, CONDITION_READY, CONDITION_TRUE, REASON_READY, "the VM is ready", 1);
    assert_null(vm_display_cause(status));
    vm_status_free(status);
}

/* ---- words ---- */

struct given {
    enum condition_type type;
    enum condition_state state;
    enum reason reason;
};

struct word_case {
    struct given given[4];
    const char *word;
    const char *book_state;
};

#define READY_NOT(reason)                                                                          \
    {                                                                                              \
        CONDITION_READY, CONDITION_FALSE, reason                                                   \
    }
#define RUNNING_YES                                                                                \
    {                                                                                              \
        CONDITION_RUNNING, CONDITION_TRUE, REASON_RUNNING                                          \
    }
#define RUNNING_NOT(reason)                                                                        \
    {                                                                                              \
        CONDITION_RUNNING, CONDITION_FALSE, reason                                                 \
    }
#define REACHED                                                                                    \
    {                                                                                              \
        CONDITION_GUEST_REACHABLE, CONDITION_TRUE, REASON_SSH_READY                                \
    }

static const struct word_case word_cases[] = {
    {{READY_NOT(REASON_TERMINATING), RUNNING_NOT(REASON_STOPPING)}, "Terminating", "destroyed"},
    {{RUNNING_NOT(REASON_STOPPING)}, "Stopping", "running"},
    {{READY_NOT(REASON_SUSPENDED), RUNNING_YES, REACHED}, "Suspended", "suspended"},
    {{RUNNING_NOT(REASON_RESUMING)}, "Resuming", "suspended"},
    {{RUNNING_NOT(REASON_PAUSED)}, "Paused", "suspended"},
    {{RUNNING_YES, REACHED, READY_NOT(REASON_PREPARING),
         {CONDITION_PROVISIONED, CONDITION_FALSE, REASON_PENDING}},
        "Preparing", "preparing"},
    {{RUNNING_NOT(REASON_MIGRATED)}, "Migrated", "suspended"},
    {{RUNNING_NOT(REASON_GUEST_PANICKED)}, "Panicked", "failed"},
    {{RUNNING_NOT(REASON_IO_ERROR)}, "IOError", "failed"},
    {{RUNNING_NOT(REASON_NO_SPACE)}, "NoSpace", "failed"},
    {{RUNNING_NOT(REASON_CRASH_LOOP_BACK_OFF)}, "CrashLoopBackOff", "failed"},
    {{{CONDITION_RUNNING, CONDITION_UNKNOWN, REASON_QMP_UNRESPONSIVE}}, "Unknown", "running"},
    {{RUNNING_YES, REACHED, {CONDITION_PROVISIONED, CONDITION_FALSE, REASON_RUNNING_STEP}},
        "Provisioning", "running"},
    {{RUNNING_YES, REACHED, {CONDITION_PROVISIONED, CONDITION_FALSE, REASON_PENDING}},
        "Provisioning", "running"},
    {{RUNNING_YES, {CONDITION_GUEST_REACHABLE, CONDITION_FALSE, REASON_WAITING_FOR_SSH},
         {CONDITION_PROVISIONED, CONDITION_FALSE, REASON_PENDING}},
        "Booting", "running"},
    {{RUNNING_YES, REACHED, {CONDITION_PROVISIONED, CONDITION_FALSE, REASON_STEP_TIMEOUT}},
        "ProvisionFailed", "running"},
    {{RUNNING_NOT(REASON_STOPPED), {CONDITION_PROVISIONED, CONDITION_FALSE, REASON_STEP_FAILED}},
        "Stopped", "stopped"},
    {{RUNNING_YES, {CONDITION_READY, CONDITION_TRUE, REASON_READY}, REACHED}, "Ready", "running"},
    {{RUNNING_YES, {CONDITION_GUEST_REACHABLE, CONDITION_FALSE, REASON_AUTH_FAILED}}, "AuthFailed",
        "running"},
    {{RUNNING_YES}, "Booting", "running"},
    {{RUNNING_YES, {CONDITION_READY, CONDITION_FALSE, REASON_PROGRESSING}}, "Suspending",
        "running"},
    {{RUNNING_NOT(REASON_STARTING)}, "Starting", "prepared"},
    {{RUNNING_NOT(REASON_STARTING), {CONDITION_IMAGE_READY, CONDITION_FALSE, REASON_PENDING},
         {CONDITION_PREPARED, CONDITION_FALSE, REASON_PENDING}},
        "Pending", "preparing"},
    {{RUNNING_NOT(REASON_STARTING), {CONDITION_PREPARED, CONDITION_FALSE, REASON_PENDING}},
        "Preparing", "preparing"},
    {{RUNNING_NOT(REASON_STOPPED), {CONDITION_PREPARED, CONDITION_FALSE, REASON_PENDING}},
        "Stopped", "stopped"},
    {{RUNNING_NOT(REASON_STARTING), {CONDITION_IMAGE_READY, CONDITION_FALSE, REASON_DOWNLOADING}},
        "ImagePulling", "preparing"},
    {{{CONDITION_IMAGE_READY, CONDITION_FALSE, REASON_DOWNLOAD_BACK_OFF}}, "ImagePullBackOff",
        "preparing"},
    {{{CONDITION_IMAGE_READY, CONDITION_FALSE, REASON_CHECKSUM_MISMATCH}}, "ChecksumMismatch",
        "failed"},
    {{{CONDITION_PREPARED, CONDITION_FALSE, REASON_PREPARING}}, "Preparing", "preparing"},
    {{{CONDITION_PREPARED, CONDITION_FALSE, REASON_DISK_SHRINK_FORBIDDEN}}, "DiskShrinkForbidden",
        "failed"},
    {{RUNNING_NOT(REASON_PORT_CONFLICT)}, "PortConflict", "failed"},
    {{{CONDITION_SYNCED, CONDITION_FALSE, REASON_INVALID_SPEC}}, "Invalid", "failed"},
    {{RUNNING_YES, {CONDITION_READY, CONDITION_TRUE, REASON_READY},
         {CONDITION_SYNCED, CONDITION_FALSE, REASON_INVALID_SPEC}},
        "Ready", "running"},
    {{RUNNING_NOT(REASON_GUEST_SHUTDOWN)}, "Stopped", "stopped"},
    {{RUNNING_NOT(REASON_STOPPED), {CONDITION_PREPARED, CONDITION_TRUE, REASON_PREPARED}},
        "Stopped", "prepared"},
    {{{CONDITION_READY, CONDITION_ABSENT, REASON_NONE}}, "Pending", "preparing"},
};

static struct vm_status *status_of(const struct word_case *c)
{
    struct vm_status *status = vm_status_new("u");
    status->observed_generation = 1;
    for (size_t i = 0; i < 4; i++) {
        if (c->given[i].state != CONDITION_ABSENT) {
            vm_status_set(status, c->given[i].type, c->given[i].state, c->given[i].reason, NULL, 1);
        }
    }
    return status;
}

static void each_state_has_its_words(void **state)
{
    (void)state;
    struct desired_summary desired = {.generation = 1};
    for (size_t i = 0; i < sizeof(word_cases) / sizeof(word_cases[0]); i++) {
        struct vm_status *status = status_of(&word_cases[i]);
        struct status_summary summary;
        status_summary_of(status, &summary);
        assert_string_equal(vm_display_word(&desired, &summary), word_cases[i].word);
        assert_string_equal(vm_display_book_state(&desired, &summary), word_cases[i].book_state);
        vm_status_free(status);
    }
}

static void a_vm_that_ran_once_is_stopped_and_not_prepared(void **state)
{
    (void)state;
    struct vm_status *status = vm_status_new("u");
    vm_status_set(status, CONDITION_PREPARED, CONDITION_TRUE, REASON_PREPARED, NULL, 1);
    vm_status_set(status, CONDITION_RUNNING, CONDITION_FALSE, REASON_STOPPED, NULL, 1);
    assert_int_equal(vm_display(status), REASON_PREPARED);
    status->restart.last_cause = EXIT_BY_USER;
    assert_int_equal(vm_display(status), REASON_STOPPED);
    vm_status_free(status);
}

static void what_the_user_asked_shows_before_the_controller_has_looked(void **state)
{
    (void)state;
    struct desired_summary desired = {.generation = 2, .power = POWER_STOPPED};
    struct status_summary status = {.observed_generation = 1, .pid = 7, .display = REASON_READY};
    assert_string_equal(vm_display_word(&desired, &status), "Stopping");
    desired.is_deleting = true;
    assert_string_equal(vm_display_word(&desired, &status), "Terminating");
    desired = (struct desired_summary){.generation = 2, .power = POWER_RUNNING};
    assert_string_equal(vm_display_word(&desired, &status), "Ready");
    status = (struct status_summary){.observed_generation = 1, .display = REASON_STOPPED};
    assert_string_equal(vm_display_word(&desired, &status), "Pending");
    status.observed_generation = 2;
    assert_string_equal(vm_display_word(&desired, &status), "Stopped");
}

static void no_records_at_all_are_pending(void **state)
{
    (void)state;
    struct desired_summary desired = {0};
    struct status_summary status = {0};
    assert_string_equal(vm_display_word(&desired, &status), "Pending");
    assert_string_equal(vm_display_book_state(&desired, &status), "preparing");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_failed_is_in_the_line_one_line_of_it_and_not_too_much),
        cmocka_unit_test(a_desired_line_reads_back),
        cmocka_unit_test(a_status_line_reads_back),
        cmocka_unit_test(what_a_vmfile_has_to_do_with_it_is_told_by_its_reason),
        cmocka_unit_test(every_line_but_the_right_one_is_refused),
        cmocka_unit_test(each_state_has_its_words),
        cmocka_unit_test(a_vm_that_ran_once_is_stopped_and_not_prepared),
        cmocka_unit_test(what_the_user_asked_shows_before_the_controller_has_looked),
        cmocka_unit_test(no_records_at_all_are_pending),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
