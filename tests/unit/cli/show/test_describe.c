/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/describe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_status.h"
#include "specs/vm/vm_steps.h"
#include "store/store.h"

/* A running VM with three steps, started from what is desired now. */
struct fixture {
    struct vm_record record;
    struct vm_spec *spec;     /* of record.desired */
    struct vm_status *status; /* record.status */
};

static int set_up(void **state)
{
    struct fixture *fixture = mem_new(struct fixture);
    struct vm_spec *spec = vm_spec_new("web");
    spec->n_steps = 3;
    spec->steps = mem_calloc(3, sizeof(*spec->steps));
    spec->image.location = mem_strdup("/image");
    for (size_t i = 0; i < 3; i++) {
        spec->steps[i].kind = STEP_INLINE;
        spec->steps[i].command = mem_strdup("true");
    }
    fixture->spec = spec;
    fixture->record.name = mem_strdup("web");
    fixture->record.desired = vm_desired_new(spec, 1);
    fixture->status = fixture->record.status = vm_status_new(fixture->record.desired->uid);
    vm_status_set_applied_spec(fixture->status, spec);
    strcpy(fixture->status->instance.instance_id, "i");
    vm_status_set(fixture->status, CONDITION_RUNNING, CONDITION_TRUE, REASON_RUNNING, NULL, 1);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    vm_record_clear(&fixture->record);
    free(fixture);
    return 0;
}

static void set_synced(struct fixture *fixture, enum condition_state state, enum reason reason)
{
    vm_status_set(fixture->status, CONDITION_SYNCED, state, reason, NULL, 1);
}

static void assert_changes(const struct fixture *fixture, const char *only_field)
{
    cleanup_with(spec_diff_clear) struct spec_diff diff = describe_changes(&fixture->record);
    assert_int_equal(diff.count, only_field ? 1 : 0);
    if (only_field) {
        assert_string_equal(diff.changes[0].field, only_field);
    }
}

static void assert_needs(const struct fixture *fixture, const char *what)
{
    cleanup_with(spec_diff_clear) struct spec_diff diff = describe_changes(&fixture->record);
    assert_int_equal(diff.count, 1);
    assert_string_equal(describe_needs(diff.changes[0].disposition), what);
}

static void what_runs_as_wanted_has_no_changes(void **state)
{
    assert_changes(*state, NULL);
}

static void a_change_that_needs_a_restart_waits(void **state)
{
    struct fixture *fixture = *state;
    fixture->spec->memory_mib = 2048;
    assert_changes(fixture, "memory");
    assert_needs(fixture, "restart");
    fixture->status->instance.instance_id[0] = '\0';
    assert_changes(fixture, "memory");
    assert_needs(fixture, "the next start");
}

static void a_live_change_waits_only_until_it_is_applied(void **state)
{
    struct fixture *fixture = *state;
    fixture->spec->stop_timeout_s = 99;
    fixture->record.desired->generation = 2;
    assert_changes(fixture, "stop-timeout");
    fixture->status->observed_generation = 2;
    assert_changes(fixture, NULL);
    set_synced(fixture, CONDITION_FALSE, REASON_APPLYING);
    assert_changes(fixture, "stop-timeout");
}

static void changed_steps_wait_only_while_they_are_outdated(void **state)
{
    struct fixture *fixture = *state;
    free(fixture->spec->steps[2].command);
    fixture->spec->steps[2].command = mem_strdup("false");
    assert_changes(fixture, NULL);
    set_synced(fixture, CONDITION_FALSE, REASON_PROVISION_OUTDATED);
    assert_changes(fixture, "provision");
}

static void without_a_status_nothing_is_compared(void **state)
{
    struct fixture *fixture = *state;
    struct vm_record fresh = fixture->record;
    fresh.status = NULL;
    cleanup_with(spec_diff_clear) struct spec_diff diff = describe_changes(&fresh);
    assert_int_equal(diff.count, 0);
    assert_string_equal(describe_step_state(&fresh, 0), "pending");
}

static void assert_steps(
    const struct fixture *fixture, const char *first, const char *second, const char *third)
{
    const char *expected[] = {first, second, third};
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        assert_string_equal(describe_step_state(&fixture->record, i), expected[i]);
    }
}

static void steps_are_done_under_way_or_pending(void **state)
{
    struct fixture *fixture = *state;
    struct vm_status *status = fixture->status;
    assert_steps(fixture, "pending", "pending", "pending");
    status->provision.total = 3;
    status->provision.next_step = 1;
    assert_steps(fixture, "done", "pending", "pending");
    vm_status_set(status, CONDITION_PROVISIONED, CONDITION_FALSE, REASON_RUNNING_STEP, NULL, 1);
    assert_steps(fixture, "done", "running", "pending");
    status->provision.is_failed = true;
    assert_steps(fixture, "done", "failed", "pending");
    status->provision.is_failed = false;
    status->provision.next_step = 3;
    assert_steps(fixture, "done", "done", "done");
}

static void steps_that_were_never_run_are_skipped(void **state)
{
    struct fixture *fixture = *state;
    vm_status_set(fixture->status, CONDITION_PROVISIONED, CONDITION_TRUE, REASON_SKIPPED, NULL, 1);
    assert_steps(fixture, "skipped", "skipped", "skipped");
}

static void assert_step_record(const struct fixture *fixture, const char *expected)
{
    cleanup_buf struct buf out = BUF_INIT(0);
    describe_add_step_record(&out, &fixture->record, 1, 400000);
    assert_string_equal(buf_str(&out), expected);
}

static void a_step_reports_how_its_last_run_ended(void **state)
{
    struct fixture *fixture = *state;
    struct vm_step_record last = {.content = "00ff",
        .outcome = STEP_FAILED,
        .exit_status = 3,
        .ended_at_ms = 100000,
        .duration_ms = 130000};
    assert_step_record(fixture, "");
    assert_null(describe_step_record_to_json(&fixture->record, 1));
    vm_provision_record(&fixture->status->provision, 1, &last);
    assert_step_record(fixture, " (Failed with 3 after 2m, 5m ago)");
    assert_null(describe_step_record_to_json(&fixture->record, 0)); /* it never ran */
    cleanup_json json_t *json = describe_step_record_to_json(&fixture->record, 1);
    assert_string_equal(json_text(json, "outcome"), "Failed");
    assert_string_equal(json_text(json, "content"), "00ff");
    assert_int_equal(json_int(json, "exitStatus", 0), 3);
    assert_int_equal(json_int(json, "endedAt", 0), 100000);
    assert_int_equal(json_int(json, "durationMs", 0), 130000);
    last = (struct vm_step_record){.outcome = STEP_TIMED_OUT, .exit_status = -1};
    vm_provision_record(&fixture->status->provision, 1, &last);
    assert_step_record(fixture, " (TimedOut after 0.0s, 6m ago)");
    last = (struct vm_step_record){.outcome = STEP_DONE, .ended_at_ms = 399001, .duration_ms = 449};
    vm_provision_record(&fixture->status->provision, 1, &last);
    assert_step_record(fixture, " (Done after 0.4s, just now)"); /* and is to run again */
    fixture->status->provision.total = 3;
    fixture->status->provision.next_step = 2;
    assert_step_record(fixture, " (in 0.4s, just now)");
}

static void nothing_is_said_of_steps_that_were_changed(void **state)
{
    struct fixture *fixture = *state;
    struct vm_provision *provision = &fixture->status->provision;
    provision->total = provision->next_step = 3;
    vm_steps_digest(fixture->spec, 3, provision->digest);
    assert_string_equal(describe_step_state(&fixture->record, 0), "done");
    provision->digest[0] ^= 1; /* of other steps */
    assert_null(describe_step_state(&fixture->record, 0));
    assert_int_equal(describe_steps_total(&fixture->record), 3);
    provision->total = 4;
    assert_null(describe_step_state(&fixture->record, 0));
    assert_int_equal(describe_steps_total(&fixture->record), 4);
    /* Whether it runs is another question: of one that is off, Synced says nothing about them. */
    fixture->record.desired->power = POWER_STOPPED;
    fixture->status->instance.instance_id[0] = '\0';
    assert_null(describe_step_state(&fixture->record, 0));
    assert_int_equal(describe_steps_total(&fixture->record), 4);
}

static void steps_behind_a_failed_one_wait_and_those_before_it_are_done(void **state)
{
    struct fixture *fixture = *state;
    struct vm_provision *provision = &fixture->status->provision;
    provision->total = 2;
    provision->next_step = 1;
    provision->is_failed = true;
    vm_steps_digest(fixture->spec, 2, provision->digest);
    set_synced(fixture, CONDITION_FALSE, REASON_PROVISION_OUTDATED);
    assert_steps(fixture, "done", "failed", "pending");
    assert_int_equal(describe_steps_total(&fixture->record), 3);
}

static void appended_steps_wait_or_are_skipped(void **state)
{
    struct fixture *fixture = *state;
    fixture->status->provision.total = fixture->status->provision.next_step = 2;
    vm_status_set(fixture->status, CONDITION_PROVISIONED, CONDITION_FALSE, REASON_PENDING, NULL, 1);
    assert_string_equal(describe_step_state(&fixture->record, 1), "done");
    assert_string_equal(describe_step_state(&fixture->record, 2), "pending");
    vm_status_set(fixture->status, CONDITION_PROVISIONED, CONDITION_TRUE, REASON_SKIPPED, NULL, 1);
    assert_string_equal(describe_step_state(&fixture->record, 1), "done");
    assert_string_equal(describe_step_state(&fixture->record, 2), "skipped");
    assert_int_equal(describe_steps_total(&fixture->record), 3);
}

static void assert_step(const struct spec_step *step, const char *expected)
{
    cleanup_buf struct buf out = BUF_INIT(0);
    describe_add_step(&out, step);
    assert_string_equal(buf_str(&out), expected);
}

static void a_step_is_one_harmless_line(void **state)
{
    (void)state;
    char first[] = "echo \033[2J\nrest", path[] = "/tmp/x", destination[] = "/etc/x",
         wide[] = "ääääääääääääääääääääääääääääääää";
    assert_step(&(struct spec_step){.kind = STEP_INLINE, .command = first},
        "shell inline \"echo \\x1b[2J…\"");
    assert_step(&(struct spec_step){.kind = STEP_SCRIPT, .file.path = path}, "shell script /tmp/x");
    assert_step(
        &(struct spec_step){.kind = STEP_FILE, .file.path = path, .destination = destination},
        "file /tmp/x -> /etc/x");
    assert_step(&(struct spec_step){.kind = STEP_INLINE, .command = wide},
        "shell inline \"ääääääääääääääääääääääääääääää…\"");
}

static void a_failed_vm_is_tried_again_when_its_time_comes(void **state)
{
    struct fixture *fixture = *state;
    struct vm_record *record = &fixture->record;
    record->desired->power = POWER_RUNNING;
    fixture->status->restart.count = 2;
    fixture->status->restart.not_before_ms = 5000;
    assert_int_equal(describe_next_try_ms(record, 1000), 0); /* it runs */
    fixture->status->instance.instance_id[0] = '\0';
    assert_int_equal(describe_next_try_ms(record, 1000), 5000);
    assert_int_equal(describe_next_try_ms(record, 5000), 0);
    record->desired->power = POWER_STOPPED;
    assert_int_equal(describe_next_try_ms(record, 1000), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_runs_as_wanted_has_no_changes),
        TEST(a_change_that_needs_a_restart_waits),
        TEST(a_live_change_waits_only_until_it_is_applied),
        TEST(changed_steps_wait_only_while_they_are_outdated),
        TEST(without_a_status_nothing_is_compared),
        TEST(steps_are_done_under_way_or_pending),
        TEST(steps_that_were_never_run_are_skipped),
        TEST(a_step_reports_how_its_last_run_ended),
        TEST(nothing_is_said_of_steps_that_were_changed),
        TEST(steps_behind_a_failed_one_wait_and_those_before_it_are_done),
        TEST(appended_steps_wait_or_are_skipped),
        cmocka_unit_test(a_step_is_one_harmless_line),
        TEST(a_failed_vm_is_tried_again_when_its_time_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
