/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/vm_status.h"

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

/* No field has the value it has in a new status. */
static struct vm_status *a_filled_status(void)
{
    struct vm_status *status = vm_status_new("0123456789abcdef0123456789abcdef");
    status->observed_generation = 5;
    status->applied_generation = 4;
    strcpy(status->handled_restart_token, "r");
    strcpy(status->handled_recreate_token, "c");
    strcpy(status->handled_provision_token, "p");
    for (int i = 0; i < CONDITION_TYPE_COUNT_; i++) {
        vm_status_set(
            status, (enum condition_type)i, CONDITION_FALSE, REASON_STEP_FAILED, "why", 1000 + i);
    }
    status->instance = (struct vm_instance){.instance_id = "iid-1",
        .intent = INTENT_STOP,
        .boot_id = "boot-1",
        .pid = 4711,
        .start_ticks = 99,
        .started_at_ms = 11,
        .start_deadline_ms = 12,
        .stop_deadline_ms = 13,
        .cause = EXIT_GUEST_PANIC,
        .accel = mem_strdup("kvm")};
    strcpy(status->observer, "session-1");
    status->restart = (struct vm_restart){.count = 3,
        .last_failed_instance_id = "iid-0",
        .not_before_ms = 14,
        .last_cause = EXIT_PROCESS_DIED,
        .last_exit_status = 139,
        .last_message = mem_strdup("boom"),
        .held_generation = 2};
    status->prepared = (struct vm_prepared){
        .digest = "pd", .image_path = mem_strdup("/i.qcow2"), .image_id = "id", .disk_gib = 20};
    status->provision = (struct vm_provision){.digest = "sd",
        .next_step = 1,
        .ran_digest = "rd",
        .total = 3,
        .last_exit_status = 2,
        .token = "t-1",
        .is_failed = true,
        .done = mem_strdup(" once:ab "),
        .asked_step = 2,
        .run = {.instance_id = "iid-1", .tries = 1, .started_at_ms = 15, .log_begin = 16}};
    vm_provision_record(&status->provision, 0,
        &(struct vm_step_record){.content = "0011",
            .outcome = STEP_FAILED,
            .exit_status = 2,
            .ended_at_ms = 17,
            .duration_ms = 18});
    status->probing = (struct vm_probing){.is_passed = true,
        .failure = mem_strdup("tcp 80: refused"),
        .unready_since_ms = 19,
        .live = {
            .has_passed = true, .failures = 20, .due_ms = 21, .failure = mem_strdup("exec x")}};
    status->cloud_init =
        (struct vm_cloud_init){.state = CLOUD_INIT_FAILED, .message = mem_strdup("it broke")};
    status->blocker = (struct vm_blocker){.code = mem_strdup("vmctl::ssh::timeout"),
        .message = mem_strdup("no answer"),
        .help = mem_strdup("see the log")};
    status->warm = (struct vm_warm){.template_digest = "td", .refusal = mem_strdup("it failed")};
    status->build_failure = (struct vm_blocker){.code = mem_strdup("vmctl::provision::failed"),
        .message = mem_strdup("step 1"),
        .help = mem_strdup("see the log")};
    status->build_failed_ms = 22;
    status->recreate_failure = (struct vm_blocker){.code = mem_strdup("vmctl::image::not_found"),
        .message = mem_strdup("its disk is kept"),
        .help = mem_strdup("check the URL")};
    struct vm_spec *applied = vm_spec_new("web");
    applied->vcpus = 2;
    vm_status_take_applied_spec(status, applied);
    status->was_reached = true;
    status->ssh_host = mem_strdup("127.0.0.1");
    status->ssh_port = 10022;
    status->mac = mem_strdup("52:54:00:00:00:01");
    status->vnc = mem_strdup("127.0.0.1:5900");
    return status;
}

static struct vm_status *read_back(const json_t *json)
{
    struct error err = {0};
    struct vm_status *status = vm_status_from_json(json, &err);
    assert_non_null(status);
    return status;
}

static void a_filled_status_survives_json(void **state)
{
    (void)state;
    struct vm_status *status = a_filled_status();
    cleanup_json json_t *json = vm_status_to_json(status);
    struct vm_status *back = read_back(json);
    cleanup_json json_t *again = vm_status_to_json(back);
    assert_true(json_equal(json, again));
    assert_true(vm_status_equal(status, back));
    assert_int_equal(back->instance.intent, INTENT_STOP);
    assert_int_equal(back->instance.pid, 4711);
    assert_int_equal(back->restart.last_exit_status, 139);
    assert_int_equal(back->conditions[CONDITION_ORPHANED].last_transition_ms, 1012);
    assert_string_equal(back->conditions[CONDITION_READY].message, "why");
    vm_status_free(status);
    vm_status_free(back);
}

/* Earlier versions marked a QEMU of the original vmctl that was taken over while it ran. */
static void a_record_of_an_adopted_machine_is_read_like_any_other(void **state)
{
    (void)state;
    struct vm_status *status = a_filled_status();
    cleanup_json json_t *json = vm_status_to_json(status);
    json_put_flag(json_object_get(json, "instance"), "foreign", true);
    struct vm_status *back = read_back(json);
    assert_true(vm_status_equal(status, back));
    vm_status_free(status);
    vm_status_free(back);
}

/* After a downgrade: the newer version gets back what it wrote, whatever this one writes meanwhile.
 */
static void an_applied_spec_that_cannot_be_read_is_written_back_as_it_was(void **state)
{
    (void)state;
    struct vm_status *status = a_filled_status();
    cleanup_json json_t *json = vm_status_to_json(status);
    json_t *spec = json_object_get(json, "appliedSpec");
    json_put_text(spec, "backend", "hologram");
    json_put(spec, "hologram", json_pack("{s:[i,f,n]}", "beams", 3, 0.5));
    struct vm_status *back = read_back(json);
    assert_null(back->applied_spec);
    assert_false(vm_status_equal(status, back));
    struct vm_status *copy = vm_status_copy(back);
    assert_true(vm_status_equal(copy, back));
    copy->restart.count++;
    cleanup_json json_t *written = vm_status_to_json(copy);
    assert_true(json_equal(json_object_get(written, "appliedSpec"), spec));
    struct vm_spec *started = vm_spec_new("web");
    vm_status_set_applied_spec(copy, started); /* a new instance */
    cleanup_json json_t *replaced = vm_status_to_json(copy);
    cleanup_json json_t *wanted = vm_spec_to_json(started);
    assert_true(json_equal(json_object_get(replaced, "appliedSpec"), wanted));
    vm_spec_free(started);
    vm_status_free(status);
    vm_status_free(back);
    vm_status_free(copy);
}

/* A value that is no spec at all is kept, too. */
static void an_applied_spec_of_another_form_is_kept(void **state)
{
    static const char *const forms[] = {"\"x\"", "[1,2]", "null", "7", "{}"};
    (void)state;
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        cleanup_json json_t *json = json_pack("{s:s}", "uid", "u");
        json_put(json, "appliedSpec", json_loads(forms[i], JSON_DECODE_ANY, NULL));
        struct vm_status *back = read_back(json);
        assert_null(back->applied_spec);
        cleanup_json json_t *written = vm_status_to_json(back);
        assert_true(json_equal(
            json_object_get(written, "appliedSpec"), json_object_get(json, "appliedSpec")));
        vm_status_free(back);
    }
}

static void a_new_status_survives_json(void **state)
{
    (void)state;
    struct vm_status *status = vm_status_new("u");
    cleanup_json json_t *json = vm_status_to_json(status);
    struct vm_status *back = read_back(json);
    assert_true(vm_status_equal(status, back));
    assert_int_equal(back->restart.last_exit_status, -1);
    assert_int_equal(back->provision.last_exit_status, -1);
    vm_status_free(status);
    vm_status_free(back);
}

/* ---- every leaf of the JSON is a field that is read and compared ---- */

static json_t *another_value(const char *key, const json_t *leaf)
{
    if (json_is_integer(leaf)) {
        return json_integer(json_integer_value(leaf) + 1);
    }
    if (json_is_boolean(leaf)) {
        return json_boolean(!json_is_true(leaf));
    }
    static const struct {
        const char *key, *word;
    } words[] = {{"type", "NoSuchType"}, {"status", "True"}, {"reason", "Retrying"},
        {"journal", "start"}, {"cause", "ByUser"}, {"lastCause", "ByUser"}, {"outcome", "Done"}};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(key, words[i].key) == 0) {
            return json_string(words[i].word);
        }
    }
    return json_string("another");
}

struct leaf_walk {
    const struct vm_status *original;
    json_t *root;
    int leaves;
};

static void try_leaf(struct leaf_walk *walk, json_t *object, const char *key, json_t *leaf)
{
    json_incref(leaf);
    json_object_set_new(object, key, another_value(key, leaf));
    struct vm_status *changed = read_back(walk->root);
    if (vm_status_equal(walk->original, changed)) {
        fail_msg("a change of '%s' is not seen", key);
    }
    vm_status_free(changed);
    json_object_set_new(object, key, leaf);
    walk->leaves++;
}

static void try_leaves(struct leaf_walk *walk, json_t *object)
{
    const char *key;
    json_t *value, *item;
    size_t i;
    void *next;
    json_object_foreach_safe(object, next, key, value)
    {
        if (json_is_object(value)) {
            try_leaves(walk, value);
        } else if (json_is_array(value)) {
            json_array_foreach(value, i, item)
            {
                try_leaves(walk, item);
            }
        } else {
            try_leaf(walk, object, key, value);
        }
    }
}

static void a_change_of_any_field_is_seen(void **state)
{
    (void)state;
    struct vm_status *status = a_filled_status();
    cleanup_json json_t *shared = vm_status_to_json(status);
    cleanup_json json_t *json = json_deep_copy(shared);
    struct leaf_walk walk = {.original = status, .root = json};
    try_leaves(&walk, json);
    assert_int_equal(
        walk.leaves, 12 + 3 + 22 + 16 * 6 + 6 + 11 + 7 + 4 + 8 + 4 + 5 + 2 + 3 + 4 + 3);
    vm_status_free(status);
}

static void a_copy_equals_and_shares_no_text(void **state)
{
    (void)state;
    struct vm_status *status = a_filled_status();
    struct vm_status *copy = vm_status_copy(status);
    assert_true(vm_status_equal(status, copy));
    cleanup_json json_t *before = vm_status_to_json(status);
    vm_status_free(status);
    cleanup_json json_t *after = vm_status_to_json(copy);
    assert_true(json_equal(before, after));
    vm_status_free(copy);
}

/* ---- conditions ---- */

static void the_transition_time_moves_only_with_the_state(void **state)
{
    (void)state;
    struct vm_status *status = vm_status_new("u");
    const struct condition *ready = &status->conditions[CONDITION_READY];
    status->observed_generation = 1;
    vm_status_set(status, CONDITION_READY, CONDITION_FALSE, REASON_PREPARING, "a", 10);
    assert_int_equal(ready->last_transition_ms, 10);
    status->observed_generation = 2;
    vm_status_set(status, CONDITION_READY, CONDITION_FALSE, REASON_STARTING, "b", 20);
    assert_int_equal(ready->last_transition_ms, 10);
    assert_int_equal(ready->reason, REASON_STARTING);
    assert_string_equal(ready->message, "b");
    assert_int_equal(ready->observed_generation, 2);
    vm_status_set(status, CONDITION_READY, CONDITION_TRUE, REASON_READY, NULL, 30);
    assert_int_equal(ready->last_transition_ms, 30);
    assert_null(ready->message);
    assert_true(vm_status_is_true(status, CONDITION_READY));
    vm_status_free(status);
}

static void a_condition_made_absent_leaves_nothing_behind(void **state)
{
    (void)state;
    struct vm_status *status = vm_status_new("u");
    struct vm_status *fresh = vm_status_new("u");
    vm_status_set(status, CONDITION_STALLED, CONDITION_TRUE, REASON_NEEDS_USER, "m", 10);
    assert_false(vm_status_equal(status, fresh));
    vm_status_set(status, CONDITION_STALLED, CONDITION_ABSENT, REASON_NONE, NULL, 20);
    assert_true(vm_status_equal(status, fresh));
    vm_status_free(status);
    vm_status_free(fresh);
}

static void a_condition_may_be_set_to_its_own_message(void **state)
{
    (void)state;
    struct vm_status *status = vm_status_new("u");
    vm_status_set(status, CONDITION_READY, CONDITION_FALSE, REASON_STOPPED, "again", 1);
    vm_status_set(status, CONDITION_READY, CONDITION_FALSE, REASON_STOPPED,
        status->conditions[CONDITION_READY].message, 2);
    assert_string_equal(status->conditions[CONDITION_READY].message, "again");
    vm_status_free(status);
}

static void a_message_from_a_guest_becomes_printable_and_survives_json(void **state)
{
    (void)state;
    struct vm_status *status = vm_status_new("u");
    vm_status_set(status, CONDITION_READY, CONDITION_FALSE, REASON_STEP_FAILED,
        "caf\xc3\xa9 \xff\x1b[31m", 1);
    assert_string_equal(status->conditions[CONDITION_READY].message, "caf\xc3\xa9 \\xff\\x1b[31m");
    cleanup_json json_t *json = vm_status_to_json(status);
    struct vm_status *back = read_back(json);
    assert_true(vm_status_equal(status, back));
    vm_status_free(status);
    vm_status_free(back);
}

/* ---- tolerance ---- */

static void a_status_without_uid_is_refused(void **state)
{
    (void)state;
    struct error err = {0};
    cleanup_json json_t *empty = json_object();
    assert_null(vm_status_from_json(empty, &err));
    assert_int_equal(err.code, ERR_STORE);
    error_clear(&err);
    assert_null(vm_status_from_json(NULL, &err));
    assert_int_equal(err.code, ERR_STORE);
}

static void what_a_newer_version_wrote_reads_as_default(void **state)
{
    (void)state;
    cleanup_json json_t *json =
        json_pack("{s:s, s:i, s:[{s:s,s:s},{s:s,s:s,s:s},{s:s,s:s}, i], s:{s:s,s:I,s:s}, s:s, s:i}",
            "uid", "u", "observedGeneration", -3, "conditions", "type", "Levitating", "status",
            "True", "type", "Ready", "status", "False", "reason", "NotInvented", "type", "Synced",
            "status", "Maybe", 5, "instance", "journal", "teleport", "pid", (json_int_t)1 << 40,
            "cause", "Moon", "restart", "not an object", "sshPort", 70000);
    assert_non_null(json);
    struct vm_status *status = read_back(json);
    assert_int_equal(status->observed_generation, 0);
    assert_int_equal(status->conditions[CONDITION_READY].state, CONDITION_FALSE);
    assert_int_equal(status->conditions[CONDITION_READY].reason, REASON_NONE);
    assert_int_equal(status->conditions[CONDITION_SYNCED].state, CONDITION_ABSENT);
    assert_int_equal(status->instance.intent, INTENT_NONE);
    assert_int_equal(status->instance.pid, 0);
    assert_int_equal(status->instance.cause, EXIT_NONE);
    assert_int_equal(status->restart.last_exit_status, -1);
    assert_int_equal(status->ssh_port, 0);
    vm_status_free(status);
}

static void a_condition_that_comes_twice_counts_once(void **state)
{
    (void)state;
    cleanup_json json_t *json = json_pack("{s:s, s:[{s:s,s:s,s:s},{s:s,s:s,s:s}]}", "uid", "u",
        "conditions", "type", "Ready", "status", "True", "message", "one", "type", "Ready",
        "status", "False", "message", "two");
    struct vm_status *status = read_back(json);
    assert_int_equal(status->conditions[CONDITION_READY].state, CONDITION_TRUE);
    assert_string_equal(status->conditions[CONDITION_READY].message, "one");
    vm_status_free(status);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_filled_status_survives_json),
        cmocka_unit_test(a_record_of_an_adopted_machine_is_read_like_any_other),
        cmocka_unit_test(an_applied_spec_that_cannot_be_read_is_written_back_as_it_was),
        cmocka_unit_test(an_applied_spec_of_another_form_is_kept),
        cmocka_unit_test(a_new_status_survives_json),
        cmocka_unit_test(a_change_of_any_field_is_seen),
        cmocka_unit_test(a_copy_equals_and_shares_no_text),
        cmocka_unit_test(the_transition_time_moves_only_with_the_state),
        cmocka_unit_test(a_condition_made_absent_leaves_nothing_behind),
        cmocka_unit_test(a_condition_may_be_set_to_its_own_message),
        cmocka_unit_test(a_message_from_a_guest_becomes_printable_and_survives_json),
        cmocka_unit_test(a_status_without_uid_is_refused),
        cmocka_unit_test(what_a_newer_version_wrote_reads_as_default),
        cmocka_unit_test(a_condition_that_comes_twice_counts_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
