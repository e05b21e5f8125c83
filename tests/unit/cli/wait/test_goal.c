/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/wait/goal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "store/store.h"

enum { GENERATION = 3 };
#define SESSION "5e5510"

/* A VM at generation 3 that the controller has looked at and that is meant to run. */
static struct vm_record record_new(void)
{
    struct vm_record record = {.name = mem_strdup("web")};
    record.desired = vm_desired_new(vm_spec_new("web"), 0);
    record.desired->generation = GENERATION;
    record.desired->power = POWER_RUNNING;
    record.status = vm_status_new(record.desired->uid);
    record.status->observed_generation = GENERATION;
    strcpy(record.status->observer, SESSION);
    return record;
}
#define cleanup_record __attribute__((cleanup(vm_record_clear)))

static void set(struct vm_record *record, enum condition_type type, enum condition_state state,
    enum reason reason)
{
    vm_status_set(record->status, type, state, reason, NULL, 0);
}

static void make_ready(struct vm_record *record)
{
    set(record, CONDITION_RUNNING, CONDITION_TRUE, REASON_RUNNING);
    set(record, CONDITION_PROVISIONED, CONDITION_TRUE, REASON_PROVISIONED);
    set(record, CONDITION_READY, CONDITION_TRUE, REASON_READY);
    set(record, CONDITION_SYNCED, CONDITION_TRUE, REASON_SYNCED);
}

static enum goal_result check_as(const struct vm_record *record, struct goal goal, const char *uid,
    uint64_t generation, struct error *err)
{
    struct goal_subject subject = {"web", uid, generation, SESSION, false, false};
    *err = (struct error){.code = ERR_NONE};
    return goal_check(&goal, &subject, record, err);
}

static enum goal_result check(
    const struct vm_record *record, enum goal_kind kind, struct error *err)
{
    const char *uid = record->desired ? record->desired->uid : "gone";
    return check_as(record, (struct goal){.kind = kind}, uid, GENERATION, err);
}

static void a_stall_on_another_vm_counts_while_that_one_is_in_the_way(void **state)
{
    (void)state;
    struct error err = {.code = ERR_NONE};
    cleanup_record struct vm_record record = record_new();
    struct goal goal = {.kind = GOAL_READY};
    struct goal_subject subject = {
        "web", record.desired->uid, GENERATION, SESSION, false, .is_dependency_coming = true};
    set(&record, CONDITION_STALLED, CONDITION_TRUE, REASON_WAITING_FOR_DEPENDENCY);
    assert_int_equal(goal_check(&goal, &subject, &record, &err), GOAL_PENDING);
    subject.is_dependency_coming = false;
    assert_int_equal(goal_check(&goal, &subject, &record, &err), GOAL_FAILED);
    err = (struct error){.code = ERR_NONE};
    set(&record, CONDITION_STALLED, CONDITION_TRUE, REASON_CRASH_LOOP_BACK_OFF);
    subject.is_dependency_coming = true;
    assert_int_equal(goal_check(&goal, &subject, &record, &err), GOAL_FAILED);
}

static void a_ready_vm_reaches_what_a_running_one_can(void **state)
{
    (void)state;
    struct error err;
    cleanup_record struct vm_record record = record_new();
    make_ready(&record);
    assert_int_equal(check(&record, GOAL_READY, &err), GOAL_REACHED);
    assert_int_equal(check(&record, GOAL_RUNNING, &err), GOAL_REACHED);
    assert_int_equal(check(&record, GOAL_PROVISIONED, &err), GOAL_REACHED);
    assert_int_equal(check(&record, GOAL_STOPPED, &err), GOAL_PENDING);
    assert_int_equal(check(&record, GOAL_SUSPENDED, &err), GOAL_PENDING);
    assert_int_equal(check(&record, GOAL_DELETED, &err), GOAL_PENDING);
}

static void a_status_from_before_the_change_is_no_answer(void **state)
{
    (void)state;
    struct error err;
    cleanup_record struct vm_record record = record_new();
    make_ready(&record);
    struct goal goal = {.kind = GOAL_READY};
    assert_int_equal(
        check_as(&record, goal, record.desired->uid, GENERATION + 1, &err), GOAL_PENDING);
    set(&record, CONDITION_STALLED, CONDITION_TRUE, REASON_CRASH_LOOP_BACK_OFF);
    set(&record, CONDITION_READY, CONDITION_FALSE, REASON_CRASH_LOOP_BACK_OFF);
    assert_int_equal(
        check_as(&record, goal, record.desired->uid, GENERATION + 1, &err), GOAL_PENDING);
}

static void a_condition_from_before_the_change_is_no_answer(void **state)
{
    (void)state;
    struct error err;
    cleanup_record struct vm_record record = record_new();
    record.status->observed_generation = GENERATION - 1;
    make_ready(&record);
    record.status->observed_generation = GENERATION;
    assert_int_equal(check(&record, GOAL_READY, &err), GOAL_PENDING);
}

static void no_status_yet_is_pending(void **state)
{
    (void)state;
    struct error err;
    cleanup_record struct vm_record record = record_new();
    vm_status_free(TAKE_PTR(record.status));
    for (int kind = 0; kind < GOAL_KIND_COUNT_; kind++) {
        assert_int_equal(check(&record, (enum goal_kind)kind, &err), GOAL_PENDING);
    }
}

static void the_status_of_the_names_former_owner_is_no_answer(void **state)
{
    (void)state;
    struct error err;
    cleanup_record struct vm_record record = record_new();
    make_ready(&record);
    strcpy(record.status->uid, "somebody else");
    assert_int_equal(check(&record, GOAL_READY, &err), GOAL_PENDING);
}

static void a_change_on_its_way_to_the_machine_is_waited_for(void **state)
{
    (void)state;
    struct error err;
    cleanup_record struct vm_record record = record_new();
    struct goal lenient = {.kind = GOAL_READY, .allows_drift = true};
    make_ready(&record);
    set(&record, CONDITION_SYNCED, CONDITION_FALSE, REASON_APPLYING);
    assert_int_equal(check(&record, GOAL_READY, &err), GOAL_PENDING);
    assert_int_equal(
        check_as(&record, lenient, record.desired->uid, GENERATION, &err), GOAL_PENDING);
}

static void a_change_that_failed_is_no_drift(void **state)
{
    (void)state;
    struct error err;
    cleanup_record struct vm_record record = record_new();
    struct goal lenient = {.kind = GOAL_READY, .allows_drift = true};
    make_ready(&record);
    set(&record, CONDITION_SYNCED, CONDITION_FALSE, REASON_PORT_CONFLICT);
    assert_int_equal(
        check_as(&record, lenient, record.desired->uid, GENERATION, &err), GOAL_PENDING);
    set(&record, CONDITION_STALLED, CONDITION_TRUE, REASON_PORT_CONFLICT);
    assert_int_equal(
        check_as(&record, lenient, record.desired->uid, GENERATION, &err), GOAL_FAILED);
}

static void a_pending_restart_is_not_ready(void **state)
{
    (void)state;
    struct error err;
    cleanup_record struct vm_record record = record_new();
    make_ready(&record);
    strcpy(record.desired->restart_token, "asked");
    assert_int_equal(check(&record, GOAL_READY, &err), GOAL_PENDING);
    strcpy(record.status->handled_restart_token, "asked");
    assert_int_equal(check(&record, GOAL_READY, &err), GOAL_REACHED);
}

static void drift_fails_unless_it_is_allowed_or_being_repaired(void **state)
{
    (void)state;
    struct error err;
    cleanup_record struct vm_record record = record_new();
    make_ready(&record);
    set(&record, CONDITION_SYNCED, CONDITION_FALSE, REASON_RESTART_REQUIRED);
    assert_int_equal(check(&record, GOAL_READY, &err), GOAL_FAILED);
    assert_int_equal(err.code, ERR_VM_FAILED);
    struct goal lenient = {.kind = GOAL_READY, .allows_drift = true};
    assert_int_equal(
        check_as(&record, lenient, record.desired->uid, GENERATION, &err), GOAL_REACHED);
    strcpy(record.desired->restart_token, "asked");
    assert_int_equal(check(&record, GOAL_READY, &err), GOAL_PENDING);
}

static void steps_that_wait_for_the_users_word_are_drift(void **state)
{
    (void)state;
    struct error err;
    cleanup_record struct vm_record record = record_new();
    make_ready(&record);
    set(&record, CONDITION_SYNCED, CONDITION_FALSE, REASON_PROVISION_OUTDATED);
    assert_int_equal(check(&record, GOAL_READY, &err), GOAL_FAILED);
    assert_non_null(strstr(error_help_text(&err), "vmctl provision --name web"));
    struct goal lenient = {.kind = GOAL_READY, .allows_drift = true};
    assert_int_equal(
        check_as(&record, lenient, record.desired->uid, GENERATION, &err), GOAL_REACHED);
}

static void a_vm_whose_vmfile_is_broken_fails_unless_that_is_allowed(void **state)
{
    (void)state;
    struct error err;
    cleanup_record struct vm_record record = record_new();
    make_ready(&record);
    set(&record, CONDITION_SYNCED, CONDITION_FALSE, REASON_SOURCE_INVALID);
    assert_int_equal(check(&record, GOAL_READY, &err), GOAL_FAILED);
    assert_int_equal(err.code, ERR_VMFILE_INVALID);
    struct goal lenient = {.kind = GOAL_READY, .allows_drift = true};
    assert_int_equal(
        check_as(&record, lenient, record.desired->uid, GENERATION, &err), GOAL_REACHED);
}

static void a_stalled_vm_fails_with_the_code_of_its_blocker(void **state)
{
    (void)state;
    struct error err;
    cleanup_record struct vm_record record = record_new();
    set(&record, CONDITION_READY, CONDITION_FALSE, REASON_IMAGE_NOT_FOUND);
    set(&record, CONDITION_STALLED, CONDITION_TRUE, REASON_IMAGE_NOT_FOUND);
    record.status->blocker = (struct vm_blocker){
        .code = mem_strdup("vmctl::image::not_found"),
        .message = mem_strdup("no image there"),
        .help = mem_strdup("look again"),
    };
    assert_int_equal(check(&record, GOAL_READY, &err), GOAL_FAILED);
    assert_int_equal(err.code, ERR_IMAGE_NOT_FOUND);
    assert_string_equal(err.message, "vm 'web': no image there");
    assert_string_equal(err.help, "look again");
}

static void a_blocker_never_decides_another_exit_status(void **state)
{
    (void)state;
    struct error err;
    cleanup_record struct vm_record record = record_new();
    set(&record, CONDITION_STALLED, CONDITION_TRUE, REASON_INTERNAL);
    record.status->blocker.code = mem_strdup("vmctl::store::unusable");
    assert_int_equal(check(&record, GOAL_READY, &err), GOAL_FAILED);
    assert_int_equal(error_exit_status(err.code), 1);
}

static void a_failed_step_is_no_obstacle_to_a_stop(void **state)
{
    (void)state;
    struct error err;
    cleanup_record struct vm_record record = record_new();
    set(&record, CONDITION_RUNNING, CONDITION_FALSE, REASON_STOPPING);
    set(&record, CONDITION_STALLED, CONDITION_TRUE, REASON_STEP_FAILED);
    assert_int_equal(check(&record, GOAL_READY, &err), GOAL_FAILED);
    record.desired->power = POWER_STOPPED;
    assert_int_equal(check(&record, GOAL_STOPPED, &err), GOAL_PENDING);
    set(&record, CONDITION_STALLED, CONDITION_TRUE, REASON_UNKILLABLE);
    assert_int_equal(check(&record, GOAL_STOPPED, &err), GOAL_FAILED);
}

static void what_stalled_before_is_no_obstacle_to_a_halt(void **state)
{
    (void)state;
    struct error err;
    cleanup_record struct vm_record record = record_new();
    set(&record, CONDITION_RUNNING, CONDITION_TRUE, REASON_RUNNING);
    set(&record, CONDITION_STALLED, CONDITION_TRUE, REASON_AUTH_FAILED);
    record.desired->halt_owner = 1;
    assert_int_equal(check(&record, GOAL_STOPPED, &err), GOAL_PENDING);
    set(&record, CONDITION_STALLED, CONDITION_TRUE, REASON_UNKILLABLE);
    assert_int_equal(check(&record, GOAL_STOPPED, &err), GOAL_FAILED);
}

static void an_old_step_failure_is_no_obstacle_to_who_asked_for_no_steps(void **state)
{
    (void)state;
    struct error err;
    cleanup_record struct vm_record record = record_new();
    const char *uid = record.desired->uid;
    struct goal goal = {.kind = GOAL_SETTLED, .allows_drift = true, .ignores_steps = true};
    make_ready(&record);
    assert_int_equal(check_as(&record, goal, uid, GENERATION, &err), GOAL_REACHED);
    assert_false(goal_ignored_steps(&goal, &record));
    record.status->provision.is_failed = true;
    set(&record, CONDITION_PROVISIONED, CONDITION_FALSE, REASON_STEP_FAILED);
    set(&record, CONDITION_READY, CONDITION_FALSE, REASON_STEP_FAILED);
    set(&record, CONDITION_STALLED, CONDITION_TRUE, REASON_STEP_FAILED);
    assert_int_equal(check(&record, GOAL_READY, &err), GOAL_FAILED);
    assert_int_equal(check_as(&record, goal, uid, GENERATION, &err), GOAL_REACHED);
    assert_true(goal_ignored_steps(&goal, &record));
    set(&record, CONDITION_READY, CONDITION_FALSE, REASON_WAITING_FOR_SSH); /* it boots again */
    assert_int_equal(check_as(&record, goal, uid, GENERATION, &err), GOAL_PENDING);
    set(&record, CONDITION_STALLED, CONDITION_TRUE, REASON_SSH_TIMEOUT);
    assert_int_equal(check_as(&record, goal, uid, GENERATION, &err), GOAL_FAILED);
}

static void stopped_means_that_no_instance_is_left(void **state)
{
    (void)state;
    struct error err;
    cleanup_record struct vm_record record = record_new();
    record.desired->power = POWER_STOPPED;
    set(&record, CONDITION_RUNNING, CONDITION_FALSE, REASON_GUEST_SHUTDOWN);
    strcpy(record.status->instance.instance_id, "still here");
    assert_int_equal(check(&record, GOAL_STOPPED, &err), GOAL_PENDING);
    record.status->instance.instance_id[0] = '\0';
    assert_int_equal(check(&record, GOAL_STOPPED, &err), GOAL_REACHED);
    set(&record, CONDITION_RUNNING, CONDITION_FALSE, REASON_CRASH_LOOP_BACK_OFF);
    assert_int_equal(check(&record, GOAL_STOPPED, &err), GOAL_PENDING);
}

static void a_vm_that_is_not_meant_to_run_fails_at_once(void **state)
{
    (void)state;
    struct error err;
    cleanup_record struct vm_record record = record_new();
    record.desired->power = POWER_STOPPED;
    assert_int_equal(check(&record, GOAL_READY, &err), GOAL_FAILED);
    assert_int_equal(err.code, ERR_VM_FAILED);
    assert_int_equal(check(&record, GOAL_SUSPENDED, &err), GOAL_FAILED);
    record.desired->power = POWER_SUSPENDED;
    assert_int_equal(check(&record, GOAL_RUNNING, &err), GOAL_FAILED);
    assert_int_equal(check(&record, GOAL_SUSPENDED, &err), GOAL_PENDING);
}

static void a_condition_of_a_running_guest_fails_at_once_when_the_vm_is_not_meant_to_run(
    void **state)
{
    (void)state;
    static const struct {
        enum condition_type type;
        enum condition_state wanted;
        enum goal_result stopped;
    } rows[] = {
        {CONDITION_READY, CONDITION_TRUE, GOAL_FAILED},
        {CONDITION_RUNNING, CONDITION_TRUE, GOAL_FAILED},
        {CONDITION_GUEST_REACHABLE, CONDITION_TRUE, GOAL_FAILED},
        {CONDITION_CLOUD_INIT_DONE, CONDITION_TRUE, GOAL_FAILED},
        {CONDITION_PROVISIONED, CONDITION_TRUE, GOAL_FAILED},
        {CONDITION_PREPARED, CONDITION_TRUE, GOAL_PENDING},
        {CONDITION_SYNCED, CONDITION_TRUE, GOAL_PENDING},
        {CONDITION_READY, CONDITION_FALSE, GOAL_PENDING},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err;
        cleanup_record struct vm_record record = record_new();
        const struct goal goal = {
            .kind = GOAL_CONDITION, .type = rows[i].type, .state = rows[i].wanted};
        set(&record, rows[i].type, CONDITION_UNKNOWN, REASON_STOPPED);
        record.desired->power = POWER_STOPPED;
        assert_int_equal(
            check_as(&record, goal, record.desired->uid, GENERATION, &err), rows[i].stopped);
        record.desired->power = POWER_SUSPENDED;
        assert_int_equal(
            check_as(&record, goal, record.desired->uid, GENERATION, &err), rows[i].stopped);
        record.desired->power = POWER_RUNNING;
        assert_int_equal(
            check_as(&record, goal, record.desired->uid, GENERATION, &err), GOAL_PENDING);
    }
}

static void a_snapshot_is_done_or_has_failed_once_its_request_is_over(void **state)
{
    (void)state;
    struct error err;
    cleanup_record struct vm_record record = record_new();
    record.desired->power = POWER_STOPPED;
    strcpy(record.desired->snapshot.token, "t");
    strcpy(record.status->handled_snapshot_token, "before");
    set(&record, CONDITION_STALLED, CONDITION_TRUE, REASON_OVERLAY_FAILED); /* of something else */
    assert_int_equal(check(&record, GOAL_SNAPSHOT, &err), GOAL_PENDING);
    strcpy(record.status->handled_snapshot_token, "t");
    assert_int_equal(check(&record, GOAL_SNAPSHOT, &err), GOAL_REACHED);
    record.status->snapshot_failure = (struct vm_blocker){.code = mem_strdup("vmctl::io::no_space"),
        .message = mem_strdup("it does not fit"),
        .help = mem_strdup("free some")};
    assert_int_equal(check(&record, GOAL_SNAPSHOT, &err), GOAL_FAILED);
    assert_int_equal(err.code, ERR_NO_SPACE);
    assert_string_equal(err.message, "vm 'web': it does not fit");
    assert_string_equal(err.help, "free some");
    strcpy(record.desired->snapshot.token, "next");
    assert_int_equal(check(&record, GOAL_SNAPSHOT, &err), GOAL_PENDING);
}

/* One failed or was done, and before its follower looked, another followed it. */
static void a_snapshot_followed_by_another_request_is_told_by_what_is_there(void **state)
{
    (void)state;
    static const struct {
        enum snapshot_verb verb;
        const char *name, *file; /* of the one snapshot that is there */
        bool has_other_failed;
        enum goal_result result;
    } rows[] = {
        {SNAPSHOT_CREATE, "x", "own", false, GOAL_REACHED},
        {SNAPSHOT_CREATE, "x", "own", true, GOAL_REACHED},
        {SNAPSHOT_CREATE, "other", "elder", false, GOAL_FAILED},
        {SNAPSHOT_CREATE, "x", "elder", false, GOAL_FAILED}, /* made by another command since */
        {SNAPSHOT_RESTORE, "before-restore", "own", false, GOAL_REACHED},
        {SNAPSHOT_RESTORE, "x", "elder", false, GOAL_FAILED},
        {SNAPSHOT_REMOVE, "other", "elder", false, GOAL_REACHED},
        {SNAPSHOT_REMOVE, "other", "elder", true, GOAL_REACHED},
        {SNAPSHOT_REMOVE, "x", "elder", false, GOAL_FAILED},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err;
        cleanup_record struct vm_record record = record_new();
        const struct snapshot_order order = {.verb = rows[i].verb, .name = "x"};
        const struct goal goal = {.kind = GOAL_SNAPSHOT, .order = &order, .token = "own"};
        const char *uid = record.desired->uid;
        record.desired->power = POWER_STOPPED;
        vm_status_add_snapshot(record.status, rows[i].name, rows[i].file, 1, 1);
        strcpy(record.desired->snapshot.token, "next");
        strcpy(record.status->handled_snapshot_token, "next");
        if (rows[i].has_other_failed) {
            record.status->snapshot_failure = (struct vm_blocker){
                .code = mem_strdup("vmctl::io::no_space"), .message = mem_strdup("of another")};
        }
        assert_int_equal(check_as(&record, goal, uid, GENERATION, &err), rows[i].result);
        if (rows[i].result == GOAL_FAILED) {
            assert_int_equal(err.code, ERR_VM_FAILED);
            assert_non_null(strstr(err.message, "is unknown"));
        }
    }
}

static void add_volume(struct vm_spec *spec, const char *mount)
{
    mem_grow(spec->volumes, spec->n_volumes);
    spec->volumes[spec->n_volumes++] =
        (struct spec_volume){.name = mem_strdup("data"), .mount = mem_strdup(mount)};
}

/* A machine that runs, of which the VM's own troubles are known. */
static struct vm_record record_running(const struct vm_spec *machine, enum reason stalled)
{
    struct vm_record record = record_new();
    strcpy(record.status->instance.instance_id, "iid");
    vm_status_set_applied_spec(record.status, machine);
    set(&record, CONDITION_RUNNING, CONDITION_TRUE, REASON_RUNNING);
    if (stalled != REASON_NONE) {
        set(&record, CONDITION_STALLED, CONDITION_TRUE, stalled);
    }
    return record;
}

/* Whatever is wrong with the VM besides: a probe that fails, steps that failed. */
static void a_volume_is_attached_once_the_machine_has_it(void **state)
{
    static const struct {
        const char *mount;
        bool has_it, is_mounted, is_reachable;
        enum reason stalled;
        enum goal_result attach, detach;
    } rows[] = {
        {NULL, true, false, false, REASON_NONE, GOAL_REACHED, GOAL_PENDING},
        {NULL, false, false, false, REASON_NONE, GOAL_PENDING, GOAL_REACHED},
        {NULL, false, false, false, REASON_SSH_TIMEOUT, GOAL_PENDING, GOAL_REACHED},
        {NULL, true, false, false, REASON_SSH_TIMEOUT, GOAL_REACHED, GOAL_FAILED},
        {NULL, true, false, true, REASON_PROGRESS_DEADLINE_EXCEEDED, GOAL_REACHED, GOAL_PENDING},
        {NULL, true, false, true, REASON_MOUNT_FAILED, GOAL_REACHED, GOAL_FAILED},
        {NULL, false, false, true, REASON_STEP_FAILED, GOAL_PENDING, GOAL_REACHED},
        {NULL, false, false, true, REASON_APPLYING, GOAL_FAILED, GOAL_REACHED},
        {"/data", true, false, true, REASON_NONE, GOAL_PENDING, GOAL_PENDING},
        {"/data", true, true, true, REASON_STEP_FAILED, GOAL_REACHED, GOAL_PENDING},
        {"/data", true, false, true, REASON_MOUNT_FAILED, GOAL_FAILED, GOAL_FAILED},
        {"/data", true, false, false, REASON_AUTH_FAILED, GOAL_FAILED, GOAL_FAILED},
        {"/data", true, false, true, REASON_SHARE_FAILED, GOAL_FAILED, GOAL_FAILED},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err;
        struct vm_spec *machine = vm_spec_new("web");
        if (rows[i].has_it) {
            add_volume(machine, rows[i].mount);
        }
        cleanup_record struct vm_record record = record_running(machine, rows[i].stalled);
        record.desired->spec->ssh.is_set = true;
        const struct spec_volume volume = {
            .name = (char *)"data", .mount = (char *)(uintptr_t)rows[i].mount};
        const struct goal attach = {.kind = GOAL_VOLUME, .attaches = &volume};
        const struct goal detach = {.kind = GOAL_VOLUME, .detaches = "data"};
        const char *uid = record.desired->uid;
        set(&record, CONDITION_GUEST_REACHABLE,
            rows[i].is_reachable ? CONDITION_TRUE : CONDITION_FALSE, REASON_WAITING_FOR_SSH);
        set(&record, CONDITION_MOUNTED, rows[i].is_mounted ? CONDITION_TRUE : CONDITION_FALSE,
            REASON_MOUNTING);
        assert_int_equal(check_as(&record, detach, uid, GENERATION, &err), rows[i].detach);
        assert_int_equal(check_as(&record, attach, uid, GENERATION, &err), GOAL_FAILED);
        assert_non_null(strstr(err.message, "not attached: another command undid"));
        add_volume(record.desired->spec, rows[i].mount);
        assert_int_equal(check_as(&record, attach, uid, GENERATION, &err), rows[i].attach);
        assert_int_equal(check_as(&record, detach, uid, GENERATION, &err), GOAL_FAILED);
        assert_non_null(strstr(err.message, "not detached: another command undid"));
        vm_spec_free(machine);
    }
}

static void a_volume_of_a_vm_that_is_off_is_there_at_its_next_start(void **state)
{
    struct error err;
    const struct spec_volume volume = {.name = (char *)"data"};
    const struct goal goal = {.kind = GOAL_VOLUME, .attaches = &volume};
    (void)state;
    cleanup_record struct vm_record record = record_new();
    add_volume(record.desired->spec, NULL);
    assert_int_equal(check_as(&record, goal, record.desired->uid, GENERATION, &err), GOAL_PENDING);
    record.desired->power = POWER_STOPPED;
    set(&record, CONDITION_RUNNING, CONDITION_FALSE, REASON_STOPPED);
    assert_int_equal(check_as(&record, goal, record.desired->uid, GENERATION, &err), GOAL_REACHED);
}

/* Another `vmctl provision --from` came while the steps ran. */
static void a_run_of_the_steps_is_judged_by_itself(void **state)
{
    static const struct {
        uint32_t from, other_from; /* 0: the other is this one */
        const char *handled, *ended;
        enum goal_result result;
    } rows[] = {
        {0, 0, "own", "own", GOAL_REACHED}, {0, 0, "", "", GOAL_PENDING},
        {0, 3, "", "", GOAL_FAILED}, {0, 3, "other", "other", GOAL_FAILED},
        {0, 3, "own", "own", GOAL_REACHED}, /* it had ended before */
        {0, 3, "own", "", GOAL_FAILED},     /* it had failed */
        {3, 3, "other", "other", GOAL_REACHED}, {0, 1, "other", "other", GOAL_REACHED},
        {4, 3, "other", "other", GOAL_REACHED},
        {0, UINT32_MAX, "other", "other", GOAL_REACHED}, /* all of them */
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err;
        cleanup_record struct vm_record record = record_new();
        const struct goal goal = {.kind = GOAL_PROVISIONED, .from = rows[i].from, .token = "own"};
        make_ready(&record);
        strcpy(record.desired->provision_token, rows[i].other_from ? "other" : "own");
        record.desired->provision_from = rows[i].other_from == UINT32_MAX ? 0 : rows[i].other_from;
        strcpy(record.status->handled_provision_token, rows[i].handled);
        strcpy(record.status->ended_provision_token, rows[i].ended);
        assert_int_equal(
            check_as(&record, goal, record.desired->uid, GENERATION, &err), rows[i].result);
        assert_int_equal(check(&record, GOAL_PROVISIONED, &err),
            text_eq(record.desired->provision_token, rows[i].handled) ? GOAL_REACHED
                                                                      : GOAL_PENDING);
    }
}

static struct vm_blocker disk_is_kept(void)
{
    return (struct vm_blocker){.code = mem_strdup("vmctl::image::not_found"),
        .message = mem_strdup("its disk is kept, because a new one cannot be created: 404"),
        .help = mem_strdup("check the URL")};
}

/* It stays requested: `restart`, `start`, `resume` and `stop` do what they say nevertheless. */
static void a_new_disk_that_cannot_be_made_fails_only_who_needs_it(void **state)
{
    (void)state;
    struct error err;
    static const struct {
        struct goal goal;
        enum goal_result result;
    } rows[] = {
        {{.kind = GOAL_READY, .allows_drift = true}, GOAL_FAILED},
        {{.kind = GOAL_PROVISIONED}, GOAL_FAILED},
        {{.kind = GOAL_READY, .allows_drift = true, .ignores_steps = true}, GOAL_REACHED},
        {{.kind = GOAL_RUNNING}, GOAL_REACHED},
        {{.kind = GOAL_CONDITION, .type = CONDITION_READY, .state = CONDITION_TRUE}, GOAL_REACHED},
        {{.kind = GOAL_STOPPED}, GOAL_PENDING},
        {{.kind = GOAL_SUSPENDED}, GOAL_PENDING},
    };
    cleanup_record struct vm_record record = record_new();
    make_ready(&record);
    strcpy(record.desired->recreate_token, "r");
    struct goal start = rows[2].goal; /* not before it is known that it cannot be made */
    assert_int_equal(check_as(&record, start, record.desired->uid, GENERATION, &err), GOAL_PENDING);
    record.status->recreate_failure = disk_is_kept();
    record.status->blocker = disk_is_kept();
    set(&record, CONDITION_STALLED, CONDITION_TRUE, REASON_IMAGE_NOT_FOUND);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(
            check_as(&record, rows[i].goal, record.desired->uid, GENERATION, &err), rows[i].result);
        assert_int_equal(err.code, rows[i].result == GOAL_FAILED ? ERR_IMAGE_NOT_FOUND : ERR_NONE);
    }
    strcpy(record.desired->restart_token, "t"); /* it has not begun yet, and is not in vain */
    assert_int_equal(check_as(&record, start, record.desired->uid, GENERATION, &err), GOAL_PENDING);
    free(record.status->blocker.message); /* what else is in the way of the VM is in its way */
    record.status->blocker.message = mem_strdup("it exited 3 times in a row");
    assert_int_equal(check_as(&record, start, record.desired->uid, GENERATION, &err), GOAL_FAILED);
    assert_string_equal(err.message, "vm 'web': it exited 3 times in a row");
}

static void a_deletion_fails_every_other_goal(void **state)
{
    (void)state;
    struct error err;
    cleanup_record struct vm_record record = record_new();
    record.desired->is_deleting = true;
    assert_int_equal(check(&record, GOAL_READY, &err), GOAL_FAILED);
    assert_int_equal(err.code, ERR_VM_DELETING);
    assert_int_equal(check(&record, GOAL_DELETED, &err), GOAL_PENDING);
}

static void a_vm_that_is_gone_or_replaced_is_told_apart(void **state)
{
    (void)state;
    struct error err;
    struct vm_record nothing = {.name = NULL};
    cleanup_record struct vm_record record = record_new();
    make_ready(&record);
    assert_int_equal(check(&nothing, GOAL_DELETED, &err), GOAL_REACHED);
    assert_int_equal(check(&nothing, GOAL_READY, &err), GOAL_FAILED);
    assert_int_equal(err.code, ERR_VM_NOT_FOUND);
    struct goal ready = {.kind = GOAL_READY}, deleted = {.kind = GOAL_DELETED};
    assert_int_equal(check_as(&record, ready, "before", 1, &err), GOAL_FAILED);
    assert_int_equal(err.code, ERR_VM_CONFLICT);
    assert_int_equal(check_as(&record, deleted, "before", 1, &err), GOAL_REACHED);
}

static void a_condition_is_reached_in_the_state_asked_for(void **state)
{
    (void)state;
    struct error err;
    cleanup_record struct vm_record record = record_new();
    const char *uid = record.desired->uid;
    struct goal goal = {
        .kind = GOAL_CONDITION, .type = CONDITION_GUEST_REACHABLE, .state = CONDITION_TRUE};
    set(&record, CONDITION_GUEST_REACHABLE, CONDITION_FALSE, REASON_WAITING_FOR_SSH);
    assert_int_equal(check_as(&record, goal, uid, GENERATION, &err), GOAL_PENDING);
    goal.state = CONDITION_FALSE;
    assert_int_equal(check_as(&record, goal, uid, GENERATION, &err), GOAL_REACHED);
    cleanup_free char *words = goal_describe(&goal);
    assert_string_equal(words, "GuestReachable=False");
}

/* It may have died since, and nobody saw it. */
static void what_an_ended_controller_wrote_is_no_answer(void **state)
{
    (void)state;
    struct error err = {.code = ERR_NONE};
    cleanup_record struct vm_record record = record_new();
    make_ready(&record);
    struct goal goal = {.kind = GOAL_READY};
    struct goal_subject subject = {"web", record.desired->uid, GENERATION, "another", false, false};
    assert_int_equal(goal_check(&goal, &subject, &record, &err), GOAL_PENDING);
    subject.has_observed_all = true;
    assert_int_equal(goal_check(&goal, &subject, &record, &err), GOAL_REACHED);
    subject.session = "";
    assert_int_equal(goal_check(&goal, &subject, &record, &err), GOAL_PENDING);
    record.status->observer[0] = '\0';
    assert_int_equal(goal_check(&goal, &subject, &record, &err), GOAL_PENDING);
}

/* The wish that was there when the waiting began may be another's by now. */
static void settled_follows_what_the_vm_is_meant_to_be(void **state)
{
    (void)state;
    struct error err;
    cleanup_record struct vm_record record = record_new();
    make_ready(&record);
    assert_int_equal(check(&record, GOAL_SETTLED, &err), GOAL_REACHED);
    record.desired->power = POWER_SUSPENDED;
    assert_int_equal(check(&record, GOAL_SETTLED, &err), GOAL_PENDING);
    set(&record, CONDITION_READY, CONDITION_FALSE, REASON_SUSPENDED);
    assert_int_equal(check(&record, GOAL_SETTLED, &err), GOAL_REACHED);
    record.desired->power = POWER_STOPPED;
    assert_int_equal(check(&record, GOAL_SETTLED, &err), GOAL_PENDING);
    set(&record, CONDITION_RUNNING, CONDITION_FALSE, REASON_STOPPED);
    assert_int_equal(check(&record, GOAL_SETTLED, &err), GOAL_REACHED);
}

/* Each row of goal.c's table. */
static void an_unreachable_goal_says_why_and_what_to_do(void **state)
{
    (void)state;
    static const struct {
        struct goal goal;
        enum power power;
        bool is_deleting;
        enum reason synced; /* REASON_NONE: it is Synced */
        enum error_code code;
        const char *message, *help;
    } rows[] = {
        {{.kind = GOAL_READY}, POWER_RUNNING, true, REASON_NONE, ERR_VM_DELETING,
            "vm 'web' is being deleted", "wait until it is gone: vmctl wait web --deleted"},
        {{.kind = GOAL_READY}, POWER_STOPPED, false, REASON_NONE, ERR_VM_FAILED,
            "vm 'web' is not meant to run: it was stopped", "start it: vmctl start web"},
        {{.kind = GOAL_RUNNING}, POWER_SUSPENDED, false, REASON_NONE, ERR_VM_FAILED,
            "vm 'web' is not meant to run: it was suspended", "start it: vmctl start web"},
        {{.kind = GOAL_STOPPED, .is_desired = true}, POWER_RUNNING, false, REASON_NONE,
            ERR_VM_FAILED, "vm 'web' is not stopped: another command started it since",
            "see its desired state: vmctl status web"},
        {{.kind = GOAL_READY}, POWER_RUNNING, false, REASON_SOURCE_INVALID, ERR_VMFILE_INVALID,
            "vm 'web' does not match its current VMFile: it is not valid",
            "fix the VMFile (vmctl watch --list), or accept it: --allow-drift"},
        {{.kind = GOAL_READY}, POWER_RUNNING, false, REASON_PROVISION_OUTDATED, ERR_VM_FAILED,
            "vm 'web' does not match its spec: its provision steps changed",
            "vmctl provision --name web, or accept it: --allow-drift"},
        {{.kind = GOAL_READY}, POWER_RUNNING, false, REASON_RESTART_REQUIRED, ERR_VM_FAILED,
            "vm 'web' does not match its spec: restart required ()",
            "vmctl up --restart, or accept it: --allow-drift"},
        {{.kind = GOAL_READY}, POWER_RUNNING, false, REASON_RECREATE_REQUIRED, ERR_VM_FAILED,
            "vm 'web' does not match its spec: recreate required ()",
            "vmctl up --recreate (replaces the disk), or accept it: --allow-drift"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err;
        cleanup_record struct vm_record record = record_new();
        make_ready(&record);
        record.desired->power = rows[i].power;
        record.desired->is_deleting = rows[i].is_deleting;
        if (rows[i].synced != REASON_NONE) {
            set(&record, CONDITION_SYNCED, CONDITION_FALSE, rows[i].synced);
        }
        if (rows[i].synced == REASON_NONE) { /* a ready VM would have reached it */
            set(&record, CONDITION_READY, CONDITION_FALSE, REASON_STARTING);
            set(&record, CONDITION_RUNNING, CONDITION_FALSE, REASON_STARTING);
        }
        assert_int_equal(
            check_as(&record, rows[i].goal, record.desired->uid, GENERATION, &err), GOAL_FAILED);
        assert_int_equal(err.code, rows[i].code);
        assert_string_equal(err.message, rows[i].message);
        assert_string_equal(error_help_text(&err), rows[i].help);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stall_on_another_vm_counts_while_that_one_is_in_the_way),
        cmocka_unit_test(a_ready_vm_reaches_what_a_running_one_can),
        cmocka_unit_test(what_an_ended_controller_wrote_is_no_answer),
        cmocka_unit_test(settled_follows_what_the_vm_is_meant_to_be),
        cmocka_unit_test(a_status_from_before_the_change_is_no_answer),
        cmocka_unit_test(a_condition_from_before_the_change_is_no_answer),
        cmocka_unit_test(no_status_yet_is_pending),
        cmocka_unit_test(the_status_of_the_names_former_owner_is_no_answer),
        cmocka_unit_test(a_change_on_its_way_to_the_machine_is_waited_for),
        cmocka_unit_test(a_change_that_failed_is_no_drift),
        cmocka_unit_test(a_pending_restart_is_not_ready),
        cmocka_unit_test(drift_fails_unless_it_is_allowed_or_being_repaired),
        cmocka_unit_test(steps_that_wait_for_the_users_word_are_drift),
        cmocka_unit_test(a_vm_whose_vmfile_is_broken_fails_unless_that_is_allowed),
        cmocka_unit_test(a_stalled_vm_fails_with_the_code_of_its_blocker),
        cmocka_unit_test(a_blocker_never_decides_another_exit_status),
        cmocka_unit_test(a_failed_step_is_no_obstacle_to_a_stop),
        cmocka_unit_test(what_stalled_before_is_no_obstacle_to_a_halt),
        cmocka_unit_test(an_old_step_failure_is_no_obstacle_to_who_asked_for_no_steps),
        cmocka_unit_test(stopped_means_that_no_instance_is_left),
        cmocka_unit_test(a_vm_that_is_not_meant_to_run_fails_at_once),
        cmocka_unit_test(
            a_condition_of_a_running_guest_fails_at_once_when_the_vm_is_not_meant_to_run),
        cmocka_unit_test(a_snapshot_is_done_or_has_failed_once_its_request_is_over),
        cmocka_unit_test(a_snapshot_followed_by_another_request_is_told_by_what_is_there),
        cmocka_unit_test(a_volume_is_attached_once_the_machine_has_it),
        cmocka_unit_test(a_volume_of_a_vm_that_is_off_is_there_at_its_next_start),
        cmocka_unit_test(a_run_of_the_steps_is_judged_by_itself),
        cmocka_unit_test(a_new_disk_that_cannot_be_made_fails_only_who_needs_it),
        cmocka_unit_test(a_deletion_fails_every_other_goal),
        cmocka_unit_test(a_vm_that_is_gone_or_replaced_is_told_apart),
        cmocka_unit_test(a_condition_is_reached_in_the_state_asked_for),
        cmocka_unit_test(an_unreachable_goal_says_why_and_what_to_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
