/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/vm_rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "cli/show/table.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"

static const struct cli cli;

static char vnc[] = "127.0.0.1:5900";

static const struct vm_row running = {
    .name = "web",
    .has_desired = true,
    .desired = {.vcpus = 2, .memory_mib = 512, .generation = 1, .created_ms = 60000},
    .status = {.pid = 7,
        .ssh_port = 10022,
        .display = REASON_READY,
        .observed_generation = 1,
        .restart_total = 3},
    .vnc = vnc,
};

static void assert_row(const struct vm_row *row, bool is_wide, const char *expected)
{
    cleanup_with(table_clear) struct table table;
    cleanup_buf struct buf out = BUF_INIT(0);
    vm_rows_begin(&cli, &table, is_wide, vm_row_has_cause(row));
    vm_rows_add(&table, row, is_wide, 90000);
    table_print(&table, &out);
    assert_string_equal(buf_str(&out), expected);
}

static void a_running_vm_has_a_process_and_a_port(void **state)
{
    (void)state;
    assert_row(&running, false,
        "NAME   BACKEND   VCPUS   MEM   NETWORK   PID   SSH     STATE   AGE\n"
        "web    qemu      2       512   user      7     10022   Ready   30s\n");
}

static void wide_rows_report_age_restarts_and_vnc(void **state)
{
    (void)state;
    assert_row(&running, true,
        "NAME   BACKEND   VCPUS   MEM   NETWORK   PID   SSH     STATE   AGE   RESTARTS   VNC\n"
        "web    qemu      2       512   user      7     10022   Ready   30s   3          "
        "127.0.0.1:5900\n");
}

static void what_runs_is_shown_with_what_is_wanted_behind_an_arrow(void **state)
{
    (void)state;
    struct vm_row row = running;
    row.status.vcpus = 1;
    row.status.memory_mib = 512;
    assert_row(&row, false,
        "NAME   BACKEND   VCPUS   MEM   NETWORK   PID   SSH     STATE   AGE\n"
        "web    qemu      1->2    512   user      7     10022   Ready   30s\n");
}

static void a_guest_with_an_address_of_its_own_is_shown_with_it(void **state)
{
    (void)state;
    struct vm_row row = running;
    row.status.ssh_ipv4 = 0x0a0000a1;
    row.status.ssh_port = 22;
    row.desired.network = NETWORK_TAP;
    assert_row(&row, false,
        "NAME   BACKEND   VCPUS   MEM   NETWORK   PID   SSH             STATE   AGE\n"
        "web    qemu      2       512   tap       7     10.0.0.161:22   Ready   30s\n");
}

static void without_a_process_there_are_dashes(void **state)
{
    (void)state;
    struct vm_row row = running;
    row.status = (struct status_summary){
        .ssh_port = 10022, .display = REASON_STOPPED, .observed_generation = 1};
    row.desired.power = POWER_STOPPED;
    row.vnc = NULL;
    assert_row(&row, true,
        "NAME   BACKEND   VCPUS   MEM   NETWORK   PID   SSH   STATE     AGE   RESTARTS   VNC\n"
        "web    qemu      2       512   user      -     -     Stopped   30s   0          -\n");
}

static void what_its_vmfile_has_to_do_with_it_stands_beside_the_state(void **state)
{
    (void)state;
    struct vm_row row = running;
    row.status.source = REASON_SOURCE_INVALID;
    assert_row(&row, false,
        "NAME   BACKEND   VCPUS   MEM   NETWORK   PID   SSH     STATE                 AGE\n"
        "web    qemu      2       512   user      7     10022   Ready,SourceInvalid   30s\n");
}

static void what_cannot_be_known_is_a_question_mark(void **state)
{
    (void)state;
    struct vm_row orphan = {.name = "web"}, damaged = running;
    damaged.is_damaged = true;
    assert_row(&orphan, true,
        "NAME   BACKEND   VCPUS   MEM   NETWORK   PID   SSH   STATE      AGE   RESTARTS   VNC\n"
        "web    ?         ?       ?     ?         -     -     Orphaned   ?     0          -\n");
    assert_string_equal(vm_row_state(&damaged), "Damaged");
}

static void a_vm_that_is_gone_is_deleted(void **state)
{
    (void)state;
    struct vm_row row = running;
    row.is_deleted = true;
    assert_string_equal(vm_row_state(&row), "Deleted");
}

static void rows_that_come_later_stay_in_line(void **state)
{
    (void)state;
    cleanup_with(table_clear) struct table table;
    cleanup_buf struct buf out = BUF_INIT(0);
    struct vm_row row = running;
    row.status.pid = 0;
    vm_rows_begin(&cli, &table, false, false);
    vm_rows_make_room(&table);
    vm_rows_add(&table, &row, false, 90000);
    table_print(&table, &out);
    table_empty(&table);
    row.status.pid = 4194304;
    row.status.ssh_port = 65535;
    vm_rows_add(&table, &row, false, 90000);
    table_print(&table, &out);
    assert_string_equal(buf_str(&out),
        "NAME   BACKEND   VCPUS   MEM   NETWORK   PID       SSH     STATE              AGE\n"
        "web    qemu      2       512   user      -         -       Ready              30s\n"
        "web    qemu      2       512   user      4194304   65535   Ready              30s\n");
}

static void a_crash_loop_reports_when_the_next_try_is(void **state)
{
    (void)state;
    struct vm_row row = running;
    row.status = (struct status_summary){.display = REASON_CRASH_LOOP_BACK_OFF,
        .observed_generation = 1,
        .restart_total = 5,
        .not_before_ms = 90000 + 12000};
    assert_row(&row, false,
        "NAME   BACKEND   VCPUS   MEM   NETWORK   PID   SSH   STATE              AGE   CAUSE\n"
        "web    qemu      2       512   user      -     -     CrashLoopBackOff   30s   "
        "next try in 12s\n");
    strcpy(row.status.cause, "QEMU exited with 1");
    assert_row(&row, false,
        "NAME   BACKEND   VCPUS   MEM   NETWORK   PID   SSH   STATE              AGE   CAUSE\n"
        "web    qemu      2       512   user      -     -     CrashLoopBackOff   30s   "
        "next try in 12s: QEMU exited with 1\n");
    row.status.not_before_ms = 90000; /* it is on its way */
    assert_row(&row, false,
        "NAME   BACKEND   VCPUS   MEM   NETWORK   PID   SSH   STATE              AGE   CAUSE\n"
        "web    qemu      2       512   user      -     -     CrashLoopBackOff   30s   "
        "QEMU exited with 1\n");
}

static void a_failure_has_a_cause_until_something_else_is_requested(void **state)
{
    (void)state;
    struct vm_row row = running;
    row.status.display = REASON_STEP_FAILED;
    strcpy(row.status.cause, "step 2/2 exited\033with 3");
    assert_true(vm_row_has_failed(&row));
    assert_row(&row, false,
        "NAME   BACKEND   VCPUS   MEM   NETWORK   PID   SSH     STATE             AGE   CAUSE\n"
        "web    qemu      2       512   user      7     10022   ProvisionFailed   30s   "
        "step 2/2 exited\\x1bwith 3\n");
    strcpy(row.status.cause, "vm 'web': no key"); /* the row names it */
    assert_row(&row, false,
        "NAME   BACKEND   VCPUS   MEM   NETWORK   PID   SSH     STATE             AGE   CAUSE\n"
        "web    qemu      2       512   user      7     10022   ProvisionFailed   30s   no key\n");
    strcpy(row.status.cause, "vm 'webb': no key");
    row.status.not_before_ms = 100000; /* of a crash loop alone it says when the next try is */
    assert_row(&row, false,
        "NAME   BACKEND   VCPUS   MEM   NETWORK   PID   SSH     STATE             AGE   CAUSE\n"
        "web    qemu      2       512   user      7     10022   ProvisionFailed   30s   vm 'webb': "
        "no key\n");
    row.desired.generation = 2;
    assert_false(vm_row_has_cause(&row));
    assert_false(vm_row_has_failed(&running));
    row.status.display = REASON_WAITING_FOR_DEPENDENCY; /* no failure, but with a cause */
    row.desired.generation = 1;
    assert_false(vm_row_has_failed(&row));
    assert_true(vm_row_has_cause(&row));
}

static void states_are_coloured_where_colours_are_wanted(void **state)
{
    (void)state;
    static const struct cli colored = {.use_color_stdout = true};
    cleanup_with(table_clear) struct table table;
    cleanup_buf struct buf out = BUF_INIT(0);
    struct vm_row row = running;
    vm_rows_begin(&colored, &table, false, false);
    vm_rows_add(&table, &row, false, 90000);
    row.status.display = REASON_STEP_FAILED;
    vm_rows_add(&table, &row, false, 90000);
    table_print(&table, &out);
    assert_string_equal(buf_str(&out),
        "NAME   BACKEND   VCPUS   MEM   NETWORK   PID   SSH     STATE             AGE\n"
        "web    qemu      2       512   user      7     10022   \033[32mReady\033[0m             "
        "30s\n"
        "web    qemu      2       512   user      7     10022   \033[31mProvisionFailed\033[0m   "
        "30s\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_running_vm_has_a_process_and_a_port),
        cmocka_unit_test(wide_rows_report_age_restarts_and_vnc),
        cmocka_unit_test(what_runs_is_shown_with_what_is_wanted_behind_an_arrow),
        cmocka_unit_test(a_guest_with_an_address_of_its_own_is_shown_with_it),
        cmocka_unit_test(without_a_process_there_are_dashes),
        cmocka_unit_test(what_its_vmfile_has_to_do_with_it_stands_beside_the_state),
        cmocka_unit_test(what_cannot_be_known_is_a_question_mark),
        cmocka_unit_test(a_vm_that_is_gone_is_deleted),
        cmocka_unit_test(rows_that_come_later_stay_in_line),
        cmocka_unit_test(a_crash_loop_reports_when_the_next_try_is),
        cmocka_unit_test(a_failure_has_a_cause_until_something_else_is_requested),
        cmocka_unit_test(states_are_coloured_where_colours_are_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
