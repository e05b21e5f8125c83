/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/outcome.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"

static char text_1024[] = "1024", text_2048[] = "2048", text_30[] = "30", text_60[] = "60",
            text_old[] = "/old", text_new[] = "/new";
static struct spec_change memory = {
    .field = "memory", .before = text_1024, .after = text_2048, .disposition = DISPOSITION_RESTART};
static struct spec_change memory_off = {
    .field = "memory", .before = text_1024, .after = text_2048, .disposition = DISPOSITION_START};
static struct spec_change grace = {
    .field = "stop-timeout", .before = text_30, .after = text_60, .disposition = DISPOSITION_LIVE};
static struct spec_change image = {
    .field = "image", .before = text_old, .after = text_new, .disposition = DISPOSITION_RECREATE};
static struct spec_change steps = {.field = "provision",
    .before = text_old,
    .after = text_new,
    .disposition = DISPOSITION_PROVISION};

static struct spec_diff of(struct spec_change *change)
{
    return change ? (struct spec_diff){change, 1, change->disposition}
                  : (struct spec_diff){.count = 0};
}

static void assert_told(struct outcome_view view, enum change_result result,
    struct spec_change *change, struct spec_change *pending, const char *expected)
{
    cleanup_buf struct buf out = BUF_INIT(0);
    struct change_outcome outcome = {.result = result, .diff = of(change)};
    struct spec_diff diff = of(pending);
    view.name = "web";
    view.outcome = &outcome;
    view.pending = &diff;
    outcome_describe(&out, &view);
    assert_string_equal(buf_str(&out), expected);
}

static const struct outcome_view off = {.has_instance = false}, on = {.has_instance = true},
                                 restarting = {.has_instance = true, .is_restarting = true},
                                 recreating = {.has_instance = true, .is_recreating = true},
                                 provisioning = {.has_instance = true, .is_provisioning = true};

static void results_are_told_in_a_word(void **state)
{
    (void)state;
    assert_told(off, CHANGE_CREATED, NULL, NULL, "web: created\n");
    assert_told(off, CHANGE_STARTED, NULL, NULL, "web: started\n");
    assert_told(on, CHANGE_UNCHANGED, NULL, NULL, "web: unchanged\n");
    assert_told(on, CHANGE_REQUESTED, NULL, NULL, "web: trying again\n");
    const struct outcome_view resumed = {.was_suspended = true};
    assert_told(resumed, CHANGE_REQUESTED, NULL, NULL, "web: resumed\n");
    assert_told(provisioning, CHANGE_REQUESTED, NULL, NULL, "web: provisioning again\n");
    assert_told(on, CHANGE_CONFIGURED, NULL, NULL, "web: configured\n");
}

static void ports_that_other_hosts_reach_are_told_when_that_begins(void **state)
{
    (void)state;
    struct spec_forward forwards[] = {{.host_port = 22, .address = "127.0.0.2"},
        {.host_port = 80, .address = "0.0.0.0"}, {.host_port = 81, .address = "192.168.1.5"}};
    struct vm_spec spec = {.network = {.forwards = forwards, .n_forwards = 2}};
    const struct outcome_view open = {.spec = &spec};
    const char *one = "web: created\nweb: other hosts can connect to port 80 (0.0.0.0)\n";
    assert_told(open, CHANGE_CREATED, NULL, NULL, one);
    assert_told(open, CHANGE_UNCHANGED, NULL, NULL, "web: unchanged\n");
    spec.network.n_forwards = 3;
    one = "web: created\nweb: other hosts can connect to port 80 and 1 more (0.0.0.0)\n";
    assert_told(open, CHANGE_CREATED, NULL, NULL, one);
}

static void live_changes_are_configured(void **state)
{
    (void)state;
    assert_told(
        on, CHANGE_CONFIGURED, &grace, &grace, "web: configured (live): stop-timeout 30 -> 60\n");
}

/* However long they are, what is shown of both is not the same. */
static void long_values_are_shown_from_where_they_differ(void **state)
{
    (void)state;
    char before[] = "https://example.org/a/rather/long/path/to/the/images/of/debian-12.qcow2";
    char after[] = "https://example.org/a/rather/long/path/to/the/images/of/debian-13.qcow2";
    struct spec_change change = {
        .field = "image", .before = before, .after = after, .disposition = DISPOSITION_LIVE};
    assert_told(on, CHANGE_CONFIGURED, &change, &change,
        "web: configured (live): image …f/debian-12.qcow2 -> …f/debian-13.qcow2\n");
    before[12] = 'E';
    assert_told(on, CHANGE_CONFIGURED, &change, &change,
        "web: configured (live): image "
        "https://examEle.org/a/rather/long/path/to/the/images/of/debi… -> "
        "https://example.org/a/rather/long/path/to/the/images/of/debi…\n");
}

static void a_running_vm_needs_a_restart_again_and_again(void **state)
{
    (void)state;
    const char *told = "web: restart required: memory 1024 -> 2048 (vmctl up --restart)\n";
    assert_told(on, CHANGE_CONFIGURED, &memory, &memory, told);
    assert_told(on, CHANGE_UNCHANGED, NULL, &memory, told);
}

static void a_start_takes_the_new_settings_along(void **state)
{
    (void)state;
    assert_told(off, CHANGE_STARTED, &memory_off, &memory_off,
        "web: started\nweb: configured: memory 1024 -> 2048\n");
    assert_told(restarting, CHANGE_RESTARTED, NULL, &memory, "web: restarted\n");
}

static void a_vm_that_stays_off_takes_them_at_its_next_start(void **state)
{
    (void)state;
    const struct outcome_view staying_off = {.stays_off = true};
    assert_told(staying_off, CHANGE_CONFIGURED, &memory_off, &memory_off,
        "web: configured (at next start): memory 1024 -> 2048\n");
    assert_told(
        staying_off, CHANGE_CONFIGURED, &grace, &grace, "web: configured: stop-timeout 30 -> 60\n");
    assert_told(staying_off, CHANGE_UNCHANGED, NULL, &memory_off, "web: unchanged\n");
}

static void what_waits_is_what_nobody_asked_for(void **state)
{
    (void)state;
    assert_true(outcome_waits(&on, DISPOSITION_RESTART));
    assert_false(outcome_waits(&off, DISPOSITION_RESTART));
    assert_false(outcome_waits(&restarting, DISPOSITION_RESTART));
    assert_true(outcome_waits(&restarting, DISPOSITION_RECREATE));
    assert_false(outcome_waits(&recreating, DISPOSITION_RECREATE));
    assert_false(outcome_waits(&on, DISPOSITION_LIVE));
}

static void a_new_image_needs_a_new_disk_also_when_off(void **state)
{
    (void)state;
    const char *told =
        "web: recreate required: image /old -> /new (vmctl up --recreate; replaces the disk)\n";
    assert_told(on, CHANGE_CONFIGURED, &image, &image, told);
    assert_told(off, CHANGE_UNCHANGED, NULL, &image, told);
    assert_told(recreating, CHANGE_RECREATED, NULL, &image, "web: recreating\n");
}

static void changed_steps_are_told_unless_they_run(void **state)
{
    (void)state;
    assert_told(on, CHANGE_CONFIGURED, &steps, &steps,
        "web: provision steps changed (run them: vmctl provision --name web)\n");
    assert_told(provisioning, CHANGE_CONFIGURED, &steps, &steps, "web: configured\n");
}

static void steps_of_a_vm_that_is_off_run_when_it_is_brought_up(void **state)
{
    (void)state;
    const struct outcome_view staying_off = {.stays_off = true};
    assert_told(staying_off, CHANGE_CONFIGURED, &steps, &steps,
        "web: provision steps changed (run them: vmctl up --name web)\n");
}

static void appended_steps_that_are_left_out_are_told_with_how_to_run_them(void **state)
{
    (void)state;
    struct outcome_view skipping = {.has_instance = true, .left_out_from = 2};
    const char *told =
        "web: provision steps from step 2 on were left out (run them: vmctl up --name web)\n";
    assert_told(skipping, CHANGE_CONFIGURED, &steps, &steps, told);
    assert_told(skipping, CHANGE_UNCHANGED, NULL, &steps, told);
    const struct outcome_view taking_up = {.has_instance = true, .resumed_from = 2};
    assert_told(
        taking_up, CHANGE_REQUESTED, NULL, NULL, "web: running the steps that were left out\n");
}

static void an_unchanged_vm_that_is_not_in_sync_is_told_in_the_controllers_words(void **state)
{
    (void)state;
    struct outcome_view drifted = {.has_instance = true,
        .drift = REASON_RESTART_REQUIRED,
        .drift_message = "forward 1 entry -> 2 entries"};
    assert_told(drifted, CHANGE_UNCHANGED, NULL, NULL,
        "web: restart required: forward 1 entry -> 2 entries (vmctl up --restart)\n");
    assert_told(drifted, CHANGE_UNCHANGED, NULL, &memory, /* known better */
        "web: restart required: memory 1024 -> 2048 (vmctl up --restart)\n");
    drifted.is_restarting = true;
    assert_told(drifted, CHANGE_RESTARTED, NULL, NULL, "web: restarted\n");
    const struct outcome_view old_disk = {
        .drift = REASON_RECREATE_REQUIRED, .drift_message = "image or cloud-init changed"};
    assert_told(old_disk, CHANGE_UNCHANGED, NULL, NULL,
        "web: recreate required: image or cloud-init changed "
        "(vmctl up --recreate; replaces the disk)\n");
    const struct outcome_view applying = {.has_instance = true, .drift = REASON_APPLYING};
    assert_told(applying, CHANGE_UNCHANGED, NULL, NULL, "web: unchanged\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_are_told_in_a_word),
        cmocka_unit_test(ports_that_other_hosts_reach_are_told_when_that_begins),
        cmocka_unit_test(live_changes_are_configured),
        cmocka_unit_test(long_values_are_shown_from_where_they_differ),
        cmocka_unit_test(a_running_vm_needs_a_restart_again_and_again),
        cmocka_unit_test(a_start_takes_the_new_settings_along),
        cmocka_unit_test(a_vm_that_stays_off_takes_them_at_its_next_start),
        cmocka_unit_test(what_waits_is_what_nobody_asked_for),
        cmocka_unit_test(a_new_image_needs_a_new_disk_also_when_off),
        cmocka_unit_test(changed_steps_are_told_unless_they_run),
        cmocka_unit_test(steps_of_a_vm_that_is_off_run_when_it_is_brought_up),
        cmocka_unit_test(appended_steps_that_are_left_out_are_told_with_how_to_run_them),
        cmocka_unit_test(an_unchanged_vm_that_is_not_in_sync_is_told_in_the_controllers_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
