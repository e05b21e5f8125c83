/* SPDX-License-Identifier: MPL-2.0 */
/* What a pass says about a VM: conditions.c and trouble.c. */
#include "specs/vm/source_record.h"
#include "specs/vm/vm_steps.h"
#include "tests/unit/reconcilers/vm/pass_fixture.h"
#include "specs/vm/record_json.h"

static const struct condition *condition_of(struct pass *pass, enum condition_type type)
{
    return &pass->patch->status->conditions[type];
}

static void describe(struct pass *pass)
{
    pass_describe(pass);
    pass_describe_stalled(pass);
}

static void expect(
    struct pass *pass, enum condition_type type, enum condition_state state, enum reason reason)
{
    const struct condition *condition = condition_of(pass, type);
    if (condition->state != state || condition->reason != reason) {
        fail_msg("%s is %s %s, expected %s %s", condition_type_name(type),
            condition_state_name(condition->state), reason_name(condition->reason),
            condition_state_name(state), reason_name(reason));
    }
}

/* A running instance of the newest spec. */
static struct pass *a_running_vm(struct pass_fixture *f)
{
    f->status->instance = (struct vm_instance){
        .instance_id = "11111111111111111111111111111111", .boot_id = FIXTURE_BOOT_ID, .pid = 42};
    f->status->applied_generation = f->desired->generation;
    vm_status_set_applied_spec(f->status, f->desired->spec);
    struct pass *pass = begin(f);
    pass->machine.is_alive = true;
    pass->machine.run_state = RUN_STATE_RUNNING;
    pass->situation.has_instance = pass->situation.has_pid = pass->situation.is_alive = true;
    pass->situation.run_state = RUN_STATE_RUNNING;
    return pass;
}

static void fail_at(struct pass_fixture *f, enum action action, enum error_code code)
{
    struct error err = {.code = ERR_NONE};
    error_set(&err, code, "it failed");
    vm_fail(&f->vm, action, &err, f->desired->generation);
}

/* ---- the conditions ---- */

static void a_vm_that_runs_is_ready(void **state)
{
    struct pass *pass = a_running_vm(*state);
    describe(pass);
    expect(pass, CONDITION_READY, CONDITION_TRUE, REASON_READY);
    expect(pass, CONDITION_SYNCED, CONDITION_TRUE, REASON_SYNCED);
    expect(pass, CONDITION_IMAGE_READY, CONDITION_TRUE, REASON_LOCAL_FILE);
    expect(pass, CONDITION_PREPARED, CONDITION_TRUE, REASON_PREPARED);
    expect(pass, CONDITION_RUNNING, CONDITION_TRUE, REASON_RUNNING);
    expect(pass, CONDITION_GUEST_REACHABLE, CONDITION_TRUE, REASON_NOT_REQUIRED);
    expect(pass, CONDITION_PROVISIONED, CONDITION_TRUE, REASON_NOT_REQUIRED);
    expect(pass, CONDITION_RECONCILING, CONDITION_ABSENT, REASON_NONE);
    expect(pass, CONDITION_STALLED, CONDITION_ABSENT, REASON_NONE);
    expect(pass, CONDITION_ORPHANED, CONDITION_ABSENT, REASON_NONE);
}

static void every_condition_is_of_the_generation_observed(void **state)
{
    struct pass_fixture *f = *state;
    f->status->observed_generation = f->desired->generation = 7;
    struct pass *pass = a_running_vm(f);
    describe(pass);
    for (int i = 0; i < CONDITION_TYPE_COUNT_; i++) {
        const struct condition *condition = condition_of(pass, (enum condition_type)i);
        assert_true(condition->state == CONDITION_ABSENT || condition->observed_generation == 7);
    }
}

static void describing_twice_changes_nothing(void **state)
{
    struct pass *pass = a_running_vm(*state);
    describe(pass);
    struct vm_status *first = vm_status_copy(pass->patch->status);
    describe(pass);
    assert_true(vm_status_equal(first, pass->patch->status));
    vm_status_free(first);
}

/* A waiter for Ready must not be told that the old instance is the new one. */
static void a_vm_that_is_to_go_down_is_not_ready_from_the_first_look_on(void **state)
{
    struct pass *pass = a_running_vm(*state);
    pass->situation.is_restart_pending = true;
    describe(pass);
    expect(pass, CONDITION_READY, CONDITION_FALSE, REASON_STOPPING);
    pass = a_running_vm(*state);
    pass->situation.recreation = RECREATION_READY;
    describe(pass);
    expect(pass, CONDITION_READY, CONDITION_FALSE, REASON_STOPPING);
    pass = a_running_vm(*state);
    pass->situation.recreation = RECREATION_ASKED;
    describe(pass);
    expect(pass, CONDITION_RUNNING, CONDITION_TRUE, REASON_RUNNING);
    expect(pass, CONDITION_READY, CONDITION_FALSE, REASON_PREPARING);
    pass = a_running_vm(*state);
    pass->situation.power = POWER_SUSPENDED;
    describe(pass);
    expect(pass, CONDITION_READY, CONDITION_FALSE, REASON_PROGRESSING);
    pass = a_running_vm(*state);
    pass->situation.is_deleting = true;
    describe(pass);
    expect(pass, CONDITION_READY, CONDITION_FALSE, REASON_TERMINATING);
}

static void run_states_have_their_reasons(void **state)
{
    static const struct {
        enum run_state run_state;
        enum condition_state condition;
        enum reason reason;
    } expected[] = {
        {RUN_STATE_RUNNING, CONDITION_TRUE, REASON_RUNNING},
        {RUN_STATE_PAUSED, CONDITION_FALSE, REASON_PAUSED},
        {RUN_STATE_SHUTDOWN, CONDITION_FALSE, REASON_GUEST_SHUTDOWN},
        {RUN_STATE_PANICKED, CONDITION_FALSE, REASON_GUEST_PANICKED},
        {RUN_STATE_IO_ERROR, CONDITION_FALSE, REASON_IO_ERROR},
        {RUN_STATE_INTERNAL_ERROR, CONDITION_FALSE, REASON_INTERNAL_ERROR},
        {RUN_STATE_INMIGRATE, CONDITION_FALSE, REASON_STARTING},
        {RUN_STATE_POSTMIGRATE, CONDITION_FALSE, REASON_MIGRATED},
    };
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        struct pass *pass = a_running_vm(*state);
        pass->situation.run_state = expected[i].run_state;
        describe(pass);
        expect(pass, CONDITION_RUNNING, expected[i].condition, expected[i].reason);
    }
}

static void a_guest_that_is_out_of_room_says_where_and_stalls(void **state)
{
    struct pass *pass = a_running_vm(*state);
    pass->situation.run_state = RUN_STATE_IO_ERROR;
    pass->media.free_bytes = 1 << 20;
    describe(pass);
    expect(pass, CONDITION_RUNNING, CONDITION_FALSE, REASON_NO_SPACE);
    expect(pass, CONDITION_READY, CONDITION_FALSE, REASON_NO_SPACE);
    expect(pass, CONDITION_STALLED, CONDITION_TRUE, REASON_NO_SPACE);
    assert_non_null(
        strstr(condition_of(pass, CONDITION_RUNNING)->message, "'/nowhere/vms/web/overlay.qcow2'"));
    assert_string_equal(pass->patch->status->blocker.code, "vmctl::io::no_space");
}

static void a_moment_of_silence_changes_nothing_a_longer_one_is_told(void **state)
{
    struct pass_fixture *f = *state;
    vm_status_set(f->status, CONDITION_RUNNING, CONDITION_TRUE, REASON_RUNNING, NULL, 1);
    struct pass *pass = a_running_vm(f);
    pass->situation.run_state = RUN_STATE_UNKNOWN;
    pass->machine.silent_ms = 2000;
    describe(pass);
    expect(pass, CONDITION_RUNNING, CONDITION_TRUE, REASON_RUNNING);
    pass->machine.silent_ms = 2001;
    describe(pass);
    expect(pass, CONDITION_RUNNING, CONDITION_UNKNOWN, REASON_QMP_UNRESPONSIVE);
    expect(pass, CONDITION_READY, CONDITION_FALSE, REASON_QMP_UNRESPONSIVE);
}

static void waiting_for_a_machine_that_starts_is_progress(void **state)
{
    struct pass_fixture *f = *state;
    struct pass *pass = a_running_vm(f);
    pass->decision.action = ACTION_AWAIT_MACHINE;
    pass->situation.intent = INTENT_START;
    describe(pass);
    expect(pass, CONDITION_RECONCILING, CONDITION_TRUE, REASON_PROGRESSING);
    pass->situation.intent = INTENT_NONE;
    describe(pass);
    expect(pass, CONDITION_RECONCILING, CONDITION_ABSENT, REASON_NONE);
}

static void what_a_restart_would_bring_is_told(void **state)
{
    struct pass_fixture *f = *state;
    (void)a_running_vm(f);
    f->desired->spec->memory_mib = 2048;
    f->desired->spec->vcpus = 2;
    f->desired->generation = 2;
    struct pass *pass = begin(f);
    describe(pass);
    expect(pass, CONDITION_SYNCED, CONDITION_FALSE, REASON_RESTART_REQUIRED);
    assert_string_equal(
        condition_of(pass, CONDITION_SYNCED)->message, "vcpus 1 -> 2, memory 1024 -> 2048");
    free(f->desired->spec->image.location);
    f->desired->spec->image.location = mem_strdup("/images/new.qcow2");
    f->desired->generation = 3;
    pass = begin(f);
    describe(pass); /* the same bytes at another place */
    expect(pass, CONDITION_SYNCED, CONDITION_FALSE, REASON_RESTART_REQUIRED);
    pass = begin(f);
    pass->media.is_outdated = true;
    describe(pass);
    expect(pass, CONDITION_SYNCED, CONDITION_FALSE, REASON_RECREATE_REQUIRED);
    f->status->instance.instance_id[0] = '\0'; /* off: the next start brings it */
    pass = begin(f);
    describe(pass);
    expect(pass, CONDITION_SYNCED, CONDITION_TRUE, REASON_SYNCED);
}

/* ---- the rules that no story above or below meets, row by row ---- */

static void change_image(struct pass *pass)
{
    pass->media.is_image_changed = true;
}

static void fetch_image(struct pass *pass)
{
    pass->media.has_image = false;
    pass->vm->op_action = ACTION_FETCH_IMAGE;
}

static void fetch_url(struct pass *pass)
{
    fetch_image(pass);
    pass->view->desired->spec->image.kind = IMAGE_URL;
}

static void lose_image(struct pass *pass)
{
    pass->media.has_image = false;
}

static void prepare(struct pass *pass)
{
    pass->vm->op_action = ACTION_PREPARE;
}

static void fail_preparing(struct pass *pass)
{
    struct error err = {.code = ERR_NONE};
    error_set(&err, ERR_OVERLAY, "it failed");
    vm_fail(pass->vm, ACTION_PREPARE, &err, 1);
}

static void lose_disk(struct pass *pass)
{
    pass->media.disk = DISK_TO_GROW;
}

static void fail_start(struct pass *pass)
{
    struct error err = {.code = ERR_NONE};
    error_set(&err, ERR_QEMU_SPAWN, "it failed");
    vm_fail(pass->vm, ACTION_LAUNCH, &err, 1);
    pass->situation.is_alive = false;
}

static void go_down(struct pass *pass)
{
    pass->situation.is_alive = false;
}

static void start(struct pass *pass)
{
    pass->patch->status->instance.intent = INTENT_START;
}

static void stop(struct pass *pass)
{
    pass->patch->status->instance.intent = INTENT_STOP;
}

static void expect_ssh(struct pass *pass)
{
    pass->situation.expects_ssh = true;
}

static void reach(struct pass *pass)
{
    expect_ssh(pass);
    pass->patch->status->was_reached = true;
}

static void suspend(struct pass *pass)
{
    pass->situation.power = POWER_SUSPENDED;
    pass->situation.run_state = RUN_STATE_PAUSED;
}

static void outdate_disk(struct pass *pass)
{
    pass->media.is_outdated = true;
}

static void each_rule_of_a_running_vm_says_what_holds(void **state)
{
    static const struct {
        void (*arrange)(struct pass *pass);
        enum condition_type type;
        enum condition_state state;
        enum reason reason;
    } rows[] = {
        {change_image, CONDITION_IMAGE_READY, CONDITION_FALSE, REASON_BACKING_IMAGE_CHANGED},
        {fetch_image, CONDITION_IMAGE_READY, CONDITION_FALSE, REASON_PREPARING},
        {fetch_url, CONDITION_IMAGE_READY, CONDITION_FALSE, REASON_DOWNLOADING},
        {lose_image, CONDITION_IMAGE_READY, CONDITION_FALSE, REASON_PENDING},
        {prepare, CONDITION_PREPARED, CONDITION_FALSE, REASON_PREPARING},
        {fail_preparing, CONDITION_PREPARED, CONDITION_FALSE, REASON_OVERLAY_FAILED},
        {lose_disk, CONDITION_PREPARED, CONDITION_FALSE, REASON_PENDING},
        {fail_start, CONDITION_RUNNING, CONDITION_FALSE, REASON_SPAWN_FAILED},
        {go_down, CONDITION_RUNNING, CONDITION_FALSE, REASON_STARTING},
        {go_down, CONDITION_GUEST_REACHABLE, CONDITION_FALSE, REASON_STARTING},
        {start, CONDITION_RUNNING, CONDITION_FALSE, REASON_STARTING},
        {stop, CONDITION_RUNNING, CONDITION_FALSE, REASON_STOPPING},
        {expect_ssh, CONDITION_GUEST_REACHABLE, CONDITION_FALSE, REASON_WAITING_FOR_SSH},
        {expect_ssh, CONDITION_READY, CONDITION_FALSE, REASON_WAITING_FOR_SSH},
        {reach, CONDITION_GUEST_REACHABLE, CONDITION_TRUE, REASON_SSH_READY},
        {suspend, CONDITION_READY, CONDITION_FALSE, REASON_SUSPENDED},
        {outdate_disk, CONDITION_SYNCED, CONDITION_FALSE, REASON_RECREATE_REQUIRED},
    };
    struct pass_fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct pass *pass = a_running_vm(f);
        f->vm.op_action = ACTION_NONE;
        vm_failure_clear(&f->vm.failure);
        rows[i].arrange(pass);
        describe(pass);
        expect(pass, rows[i].type, rows[i].state, rows[i].reason);
    }
}

static void an_image_of_a_url_is_cached(void **state)
{
    struct pass_fixture *f = *state;
    f->desired->spec->image.kind = IMAGE_URL;
    struct pass *pass = a_running_vm(f);
    describe(pass);
    expect(pass, CONDITION_IMAGE_READY, CONDITION_TRUE, REASON_CACHED);
}

/* ---- failures ---- */

static void a_failure_shows_in_its_condition_and_in_ready(void **state)
{
    struct pass_fixture *f = *state;
    struct pass *pass = begin(f);
    pass->media.has_image = false;
    pass->decision.action = ACTION_FETCH_IMAGE;
    fail_at(f, ACTION_FETCH_IMAGE, ERR_IMAGE_DOWNLOAD);
    describe(pass);
    expect(pass, CONDITION_IMAGE_READY, CONDITION_FALSE, REASON_DOWNLOAD_BACK_OFF);
    expect(pass, CONDITION_READY, CONDITION_FALSE, REASON_DOWNLOAD_BACK_OFF);
    expect(pass, CONDITION_RECONCILING, CONDITION_TRUE, REASON_RETRYING);
    expect(pass, CONDITION_STALLED, CONDITION_ABSENT, REASON_NONE);
    assert_string_equal(condition_of(pass, CONDITION_READY)->message, "it failed");
}

static void a_failure_that_repeats_stalls_and_is_told_as_blocker(void **state)
{
    struct pass_fixture *f = *state;
    for (int i = 0; i < 3; i++) {
        fail_at(f, ACTION_FETCH_IMAGE, ERR_IMAGE_DOWNLOAD);
    }
    struct pass *pass = begin(f);
    describe(pass);
    expect(pass, CONDITION_STALLED, CONDITION_TRUE, REASON_DOWNLOAD_BACK_OFF);
    const struct vm_blocker *blocker = &pass->patch->status->blocker;
    assert_string_equal(blocker->code, error_code_name(ERR_IMAGE_DOWNLOAD));
    assert_string_equal(blocker->message, "it failed");
    vm_failure_clear(&f->vm.failure);
    describe(pass);
    expect(pass, CONDITION_STALLED, CONDITION_ABSENT, REASON_NONE);
    assert_null(blocker->code);
    assert_null(blocker->message);
    assert_null(blocker->help);
}

static void a_guest_that_is_not_reached_in_time_stalls(void **state)
{
    struct pass_fixture *f = *state;
    f->desired->spec->ssh.is_set = true;
    fail_at(f, ACTION_REACH, ERR_SSH);
    f->vm.reach_deadline_ms = FIXTURE_NOW_MS;
    struct pass *pass = a_running_vm(f);
    pass->patch->status->ssh_port = 10022;
    describe(pass);
    expect(pass, CONDITION_GUEST_REACHABLE, CONDITION_FALSE, REASON_WAITING_FOR_SSH);
    assert_string_equal(pass->patch->status->conditions[CONDITION_READY].message,
        "sshd does not answer yet (vm@127.0.0.1:10022)"); /* not the try's error */
    expect(pass, CONDITION_STALLED, CONDITION_ABSENT, REASON_NONE);
    f->vm.reach_deadline_ms = FIXTURE_NOW_MS - 1;
    describe(pass);
    expect(pass, CONDITION_GUEST_REACHABLE, CONDITION_FALSE, REASON_SSH_TIMEOUT);
    expect(pass, CONDITION_STALLED, CONDITION_TRUE, REASON_SSH_TIMEOUT);
    assert_string_equal(
        pass->patch->status->conditions[CONDITION_GUEST_REACHABLE].message, "it failed");
    assert_string_equal(pass->patch->status->blocker.code, error_code_name(ERR_SSH_TIMEOUT));
}

static void a_guest_that_refuses_the_key_stalls_with_that_reason(void **state)
{
    struct pass_fixture *f = *state;
    f->desired->spec->ssh.is_set = true;
    fail_at(f, ACTION_REACH, ERR_SSH_AUTH);
    f->vm.reach_deadline_ms = FIXTURE_NOW_MS - 1;
    struct pass *pass = a_running_vm(f);
    describe(pass);
    expect(pass, CONDITION_GUEST_REACHABLE, CONDITION_FALSE, REASON_AUTH_FAILED);
    expect(pass, CONDITION_STALLED, CONDITION_TRUE, REASON_AUTH_FAILED);
}

static void a_slow_guest_whose_console_moves_is_not_given_up(void **state)
{
    struct pass_fixture *f = *state;
    f->desired->spec->ssh.is_set = true;
    f->desired->spec->ssh.timeout_s = 600;
    fail_at(f, ACTION_REACH, ERR_SSH);
    f->vm.reach_deadline_ms = FIXTURE_NOW_MS - 1;
    f->vm.console_grew_ms = FIXTURE_NOW_MS - 60000;
    struct pass *pass = a_running_vm(f);
    describe(pass);
    expect(pass, CONDITION_GUEST_REACHABLE, CONDITION_FALSE, REASON_WAITING_FOR_SSH);
    expect(pass, CONDITION_STALLED, CONDITION_ABSENT, REASON_NONE);
    f->vm.console_grew_ms--;
    describe(pass);
    expect(pass, CONDITION_STALLED, CONDITION_TRUE, REASON_SSH_TIMEOUT);
    assert_non_null(strstr(pass->patch->status->blocker.message, "within 600 seconds"));
}

static void a_guest_that_does_not_let_us_in_stalls_before_its_deadline(void **state)
{
    static const struct {
        enum error_code code;
        enum reason reason;
    } rows[] = {
        {ERR_SSH_AUTH, REASON_AUTH_FAILED},
        {ERR_SSH_HOSTKEY, REASON_HOST_KEY_MISMATCH},
        {ERR_SSH_PORT, REASON_SSH_PORT_CLOSED},
    };
    struct pass_fixture *f = *state;
    f->desired->spec->ssh.is_set = true;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        fail_at(f, ACTION_REACH, rows[i].code);
        f->vm.reach_deadline_ms = FIXTURE_NOW_MS + 90000;
        f->vm.refused_since_ms = FIXTURE_NOW_MS - 24999;
        struct pass *pass = a_running_vm(f);
        describe(pass);
        expect(pass, CONDITION_GUEST_REACHABLE, CONDITION_FALSE, rows[i].reason);
        expect(pass, CONDITION_STALLED, CONDITION_ABSENT, REASON_NONE);
        f->vm.refused_since_ms--;
        describe(pass);
        expect(pass, CONDITION_STALLED, CONDITION_TRUE, rows[i].reason);
        assert_string_equal(pass->patch->status->blocker.code, error_code_name(rows[i].code));
    }
}

/* A pass, so many seconds on, whose attempt to log in has just failed. */
static struct pass *after_login_failed(struct pass_fixture *f, enum error_code code, int64_t at_s)
{
    struct pass *pass = a_running_vm(f);
    pass->now_ms += at_s * 1000;
    f->vm.op_began_ms = pass->now_ms;
    pass_fixture_end_op(f, ACTION_REACH, code, "it failed");
    assert_true(pass_record_outcomes(pass));
    describe(pass);
    return pass;
}

/* The user took the key out of the guest, or it changed its host key: what was to run has not run.
 */
static void a_login_that_is_lost_later_is_no_failed_step_and_no_failed_probe(void **state)
{
    static const struct {
        enum error_code code;
        enum reason reason;
    } rows[] = {
        {ERR_SSH_AUTH, REASON_AUTH_FAILED},
        {ERR_SSH_HOSTKEY, REASON_HOST_KEY_MISMATCH},
        {ERR_SSH_PORT, REASON_SSH_PORT_CLOSED},
    };
    static const enum action actions[] = {ACTION_RUN_STEP, ACTION_PROBE};
    struct pass_fixture *f = *state;
    f->desired->spec->ssh.is_set = true;
    for (size_t i = 0; i < ARRAY_LEN(rows) * ARRAY_LEN(actions); i++) {
        struct pass *pass = a_running_vm(f);
        pass->patch->status->was_reached = true;
        pass->situation.expects_ssh = true;
        pass_fixture_end_op(
            f, actions[i / ARRAY_LEN(rows)], rows[i % ARRAY_LEN(rows)].code, "it was refused");
        assert_true(pass_record_outcomes(pass));
        assert_false(pass->patch->status->provision.is_failed);
        assert_false(pass->patch->status->was_reached);
        fail_at(f, ACTION_REACH, rows[i % ARRAY_LEN(rows)].code); /* which comes next */
        describe(pass);
        expect(pass, CONDITION_GUEST_REACHABLE, CONDITION_FALSE, rows[i % ARRAY_LEN(rows)].reason);
    }
}

static void logins_that_time_out_between_refusals_do_not_change_what_is_reported(void **state)
{
    struct pass_fixture *f = *state;
    f->desired->spec->ssh.is_set = true;
    struct pass *pass = after_login_failed(f, ERR_SSH, 0);
    expect(pass, CONDITION_GUEST_REACHABLE, CONDITION_FALSE, REASON_WAITING_FOR_SSH);
    pass = after_login_failed(f, ERR_SSH_AUTH, 1);
    expect(pass, CONDITION_GUEST_REACHABLE, CONDITION_FALSE, REASON_AUTH_FAILED);
    pass = after_login_failed(f, ERR_SSH, 20);
    expect(pass, CONDITION_GUEST_REACHABLE, CONDITION_FALSE, REASON_AUTH_FAILED);
    expect(pass, CONDITION_STALLED, CONDITION_ABSENT, REASON_NONE);
    pass = after_login_failed(f, ERR_SSH, 26);
    expect(pass, CONDITION_STALLED, CONDITION_TRUE, REASON_AUTH_FAILED);
    pass = after_login_failed(f, ERR_SSH_AUTH, 30);
    pass = after_login_failed(f, ERR_SSH, 59);
    expect(pass, CONDITION_STALLED, CONDITION_TRUE, REASON_AUTH_FAILED);
}

static void a_guest_that_has_not_answered_since_its_refusal_is_waited_for(void **state)
{
    struct pass_fixture *f = *state;
    f->desired->spec->ssh.is_set = true;
    (void)after_login_failed(f, ERR_SSH_AUTH, 0);
    struct pass *pass = after_login_failed(f, ERR_SSH, 30);
    expect(pass, CONDITION_GUEST_REACHABLE, CONDITION_FALSE, REASON_WAITING_FOR_SSH);
    expect(pass, CONDITION_STALLED, CONDITION_ABSENT, REASON_NONE);
    (void)after_login_failed(f, ERR_SSH_AUTH, 31);
    vm_forget_boot(&f->vm); /* it boots again */
    pass = after_login_failed(f, ERR_SSH, 32);
    expect(pass, CONDITION_GUEST_REACHABLE, CONDITION_FALSE, REASON_WAITING_FOR_SSH);
}

static void a_guest_that_boots_again_after_a_refusal_is_waited_for(void **state)
{
    struct pass_fixture *f = *state;
    f->desired->spec->ssh.is_set = true;
    fail_at(f, ACTION_REACH, ERR_SSH);
    f->vm.reach_deadline_ms = FIXTURE_NOW_MS + 90000;
    f->vm.refused_since_ms = 1;
    struct pass *pass = a_running_vm(f);
    describe(pass);
    expect(pass, CONDITION_STALLED, CONDITION_ABSENT, REASON_NONE);
}

static struct pass *a_reached_vm(struct pass_fixture *f, enum cloud_init_state state)
{
    f->desired->spec->ssh.is_set = true;
    f->status->was_reached = true;
    f->status->cloud_init.state = state;
    struct pass *pass = a_running_vm(f);
    pass->situation.is_reached = true;
    pass->situation.is_setting_up = state == CLOUD_INIT_UNKNOWN || state == CLOUD_INIT_RUNNING;
    return pass;
}

static void a_vm_is_ready_once_its_cloud_init_is_done(void **state)
{
    static const struct {
        enum cloud_init_state state;
        enum condition_state done;
        enum reason reason;
    } rows[] = {
        {CLOUD_INIT_UNKNOWN, CONDITION_FALSE, REASON_PENDING},
        {CLOUD_INIT_RUNNING, CONDITION_FALSE, REASON_CLOUD_INIT_RUNNING},
        {CLOUD_INIT_DONE, CONDITION_TRUE, REASON_CLOUD_INIT_DONE},
        {CLOUD_INIT_DEGRADED, CONDITION_TRUE, REASON_CLOUD_INIT_DEGRADED},
        {CLOUD_INIT_FAILED, CONDITION_FALSE, REASON_CLOUD_INIT_FAILED},
        {CLOUD_INIT_DISABLED, CONDITION_TRUE, REASON_CLOUD_INIT_DISABLED},
        {CLOUD_INIT_ABSENT, CONDITION_TRUE, REASON_NOT_INSTALLED},
    };
    struct pass_fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct pass *pass = a_reached_vm(f, rows[i].state);
        bool is_done = rows[i].done == CONDITION_TRUE;
        describe(pass);
        expect(pass, CONDITION_CLOUD_INIT_DONE, rows[i].done, rows[i].reason);
        expect(pass, CONDITION_READY, rows[i].done, is_done ? REASON_READY : rows[i].reason);
    }
}

static void a_cloud_init_that_failed_stalls_in_its_words(void **state)
{
    struct pass_fixture *f = *state;
    f->status->cloud_init.message = mem_strdup("('users-groups', …)");
    struct pass *pass = a_reached_vm(f, CLOUD_INIT_FAILED);
    describe(pass);
    expect(pass, CONDITION_STALLED, CONDITION_TRUE, REASON_CLOUD_INIT_FAILED);
    const struct vm_blocker *trouble = &pass->patch->status->blocker;
    assert_string_equal(trouble->code, "vmctl::cloudinit::failed");
    assert_non_null(strstr(trouble->message, "('users-groups', …)"));
    pass->situation.is_restart_pending =
        true; /* it is over: nothing to wait for, nothing to mend */
    describe(pass);
    expect(pass, CONDITION_STALLED, CONDITION_ABSENT, REASON_NONE);
}

static void a_failed_cloud_init_that_the_vmfile_accepts_is_a_warning(void **state)
{
    struct pass_fixture *f = *state;
    f->desired->spec->cloud_init.on_error = SETUP_WARN;
    f->status->cloud_init.message = mem_strdup("('locale', …)");
    struct pass *pass = a_reached_vm(f, CLOUD_INIT_FAILED);
    describe(pass);
    expect(pass, CONDITION_CLOUD_INIT_DONE, CONDITION_TRUE, REASON_CLOUD_INIT_DEGRADED);
    assert_string_equal(
        pass->patch->status->conditions[CONDITION_CLOUD_INIT_DONE].message, "('locale', …)");
    expect(pass, CONDITION_READY, CONDITION_TRUE, REASON_READY);
    expect(pass, CONDITION_STALLED, CONDITION_ABSENT, REASON_NONE);
}

static void a_cloud_init_that_does_not_end_stalls_once_it_is_still(void **state)
{
    struct pass_fixture *f = *state;
    f->vm.setup_since_ms = FIXTURE_NOW_MS - SETUP_LIMIT_MINUTES * 60000 - 1;
    f->vm.console_grew_ms = FIXTURE_NOW_MS - 1000;
    struct pass *pass = a_reached_vm(f, CLOUD_INIT_RUNNING);
    describe(pass);
    expect(pass, CONDITION_STALLED, CONDITION_ABSENT, REASON_NONE);
    f->vm.console_grew_ms = FIXTURE_NOW_MS - 61000;
    describe(pass);
    expect(pass, CONDITION_STALLED, CONDITION_TRUE, REASON_PROGRESS_DEADLINE_EXCEEDED);
    f->vm.setup_since_ms += 2;
    describe(pass);
    expect(pass, CONDITION_STALLED, CONDITION_ABSENT, REASON_NONE);
}

static void a_vm_whose_probes_do_not_pass_is_not_ready(void **state)
{
    struct pass_fixture *f = *state;
    struct spec_check *ready = &f->desired->spec->checks[CHECK_READY];
    mem_grow(ready->probes, ready->n_probes);
    ready->probes[ready->n_probes++] = (struct spec_probe){.kind = PROBE_TCP, .port = 80};
    struct pass *pass = a_running_vm(f);
    describe(pass);
    expect(pass, CONDITION_READY, CONDITION_FALSE, REASON_WAITING_FOR_PROBE);
    expect(pass, CONDITION_RECONCILING, CONDITION_TRUE, REASON_PROGRESSING);
    pass->patch->status->probing.failure = mem_strdup("tcp 80: connection refused");
    describe(pass);
    expect(pass, CONDITION_READY, CONDITION_FALSE, REASON_PROBE_FAILED);
    expect(pass, CONDITION_RECONCILING, CONDITION_TRUE, REASON_RETRYING);
    expect(pass, CONDITION_STALLED, CONDITION_ABSENT, REASON_NONE);
    assert_string_equal(
        condition_of(pass, CONDITION_READY)->message, "ready: tcp 80: connection refused");
    pass->patch->status->probing.unready_since_ms = FIXTURE_NOW_MS - 600000;
    describe(pass);
    expect(pass, CONDITION_STALLED, CONDITION_TRUE, REASON_PROGRESS_DEADLINE_EXCEEDED);
    assert_string_equal(pass->patch->status->blocker.code, error_code_name(ERR_PROBE));
    pass->situation.power = POWER_STOPPED; /* probes do not depend on the power requested now */
    pass->situation.is_alive = false;
    describe(pass);
    expect(pass, CONDITION_STALLED, CONDITION_ABSENT, REASON_NONE);
    pass = a_running_vm(f);
    pass->patch->status->probing.is_passed = true;
    pass->decision.action = ACTION_PROBE;
    describe(pass);
    expect(pass, CONDITION_READY, CONDITION_TRUE, REASON_READY);
    expect(pass, CONDITION_RECONCILING, CONDITION_ABSENT, REASON_NONE);
}

static void a_crash_loop_stalls_from_the_third_crash_on(void **state)
{
    struct pass_fixture *f = *state;
    f->status->restart = (struct vm_restart){
        .count = 2, .last_cause = EXIT_PROCESS_DIED, .not_before_ms = FIXTURE_WALL_MS + 1000};
    struct pass *pass = begin(f);
    describe(pass);
    expect(pass, CONDITION_RUNNING, CONDITION_FALSE, REASON_CRASH_LOOP_BACK_OFF);
    assert_string_equal(condition_of(pass, CONDITION_RUNNING)->message,
        "exited 2 times in a row (ProcessDied), next try at 2026-01-01T00:00:01Z");
    expect(pass, CONDITION_STALLED, CONDITION_ABSENT, REASON_NONE);
    f->status->restart.count = 3;
    pass = begin(f);
    describe(pass);
    expect(pass, CONDITION_STALLED, CONDITION_TRUE, REASON_CRASH_LOOP_BACK_OFF);
    pass->situation.power = POWER_STOPPED;
    describe(pass);
    expect(pass, CONDITION_STALLED, CONDITION_ABSENT, REASON_NONE);
    expect(pass, CONDITION_RUNNING, CONDITION_FALSE, REASON_STOPPED);
}

static void a_vm_that_stays_down_says_why(void **state)
{
    struct pass_fixture *f = *state;
    f->status->restart.last_cause = EXIT_GUEST_SHUTDOWN;
    struct pass *pass = begin(f);
    pass->situation.is_held = true;
    pass->decision.action = ACTION_HOLD;
    describe(pass);
    expect(pass, CONDITION_RUNNING, CONDITION_FALSE, REASON_GUEST_SHUTDOWN);
    expect(pass, CONDITION_STALLED, CONDITION_TRUE, REASON_GUEST_SHUTDOWN);
    expect(pass, CONDITION_RECONCILING, CONDITION_ABSENT, REASON_NONE);
    assert_non_null(strstr(pass->patch->status->blocker.help, "vmctl up --name web"));
}

static void a_process_that_cannot_be_killed_stalls(void **state)
{
    struct pass_fixture *f = *state;
    (void)a_running_vm(f);
    f->status->instance.intent = INTENT_STOP;
    struct pass *pass = begin(f);
    pass->situation.is_alive = true;
    pass->situation.power = POWER_STOPPED;
    pass->situation.stage = STOP_STAGE_UNKILLABLE;
    describe(pass);
    expect(pass, CONDITION_RUNNING, CONDITION_FALSE, REASON_UNKILLABLE);
    expect(pass, CONDITION_STALLED, CONDITION_TRUE, REASON_UNKILLABLE);
}

static void a_failed_step_stays_told_after_its_failure_is_forgotten(void **state)
{
    struct pass_fixture *f = *state;
    struct vm_spec *spec = f->desired->spec;
    mem_grow(spec->steps, spec->n_steps);
    spec->steps[spec->n_steps++] =
        (struct spec_step){.kind = STEP_INLINE, .command = mem_strdup("false")};
    f->status->provision.is_failed = true;
    vm_status_set(f->status, CONDITION_PROVISIONED, CONDITION_FALSE, REASON_STEP_FAILED,
        "step 1 of 1: exit status 1", 1);
    struct pass *pass = a_running_vm(f);
    describe(pass);
    expect(pass, CONDITION_PROVISIONED, CONDITION_FALSE, REASON_STEP_FAILED);
    expect(pass, CONDITION_STALLED, CONDITION_TRUE, REASON_STEP_FAILED);
    assert_string_equal(
        condition_of(pass, CONDITION_STALLED)->message, "step 1 of 1: exit status 1");
    assert_string_equal(pass->patch->status->blocker.message, "step 1 of 1: exit status 1");
    f->desired->power = POWER_STOPPED;
    describe(pass);
    expect(pass, CONDITION_STALLED, CONDITION_ABSENT, REASON_NONE);
}

/* Steps "a", "b", … of the spec, of which the first `n_run` were run. */
static void give_steps(struct pass_fixture *f, size_t n_steps, uint32_t n_run)
{
    struct vm_spec *spec = f->desired->spec;
    struct vm_provision *provision = &f->status->provision;
    for (size_t i = 0; i < n_steps; i++) {
        mem_grow(spec->steps, spec->n_steps);
        spec->steps[spec->n_steps++] =
            (struct spec_step){.kind = STEP_INLINE, .command = mem_printf("%c", (int)('a' + i))};
    }
    provision->total = provision->next_step = n_run;
    vm_steps_digest(spec, n_run, provision->digest);
}

static void a_step_under_way_tells_which_and_which_try(void **state)
{
    struct pass_fixture *f = *state;
    give_steps(f, 2, 2);
    f->status->provision.next_step = 0;
    struct pass *pass = a_running_vm(f);
    describe(pass);
    expect(pass, CONDITION_PROVISIONED, CONDITION_FALSE, REASON_PENDING);
    f->vm.op_action = ACTION_RUN_STEP;
    describe(pass);
    expect(pass, CONDITION_PROVISIONED, CONDITION_FALSE, REASON_RUNNING_STEP);
    assert_string_equal(condition_of(pass, CONDITION_PROVISIONED)->message, "step 1 of 2");
    pass->patch->status->provision.next_step = 1;
    pass->patch->status->provision.run.tries = 1;
    describe(pass);
    assert_string_equal(condition_of(pass, CONDITION_PROVISIONED)->message, "step 2 of 2, try 2");
    f->vm.op_action = ACTION_NONE;
    fail_at(f, ACTION_RUN_STEP, ERR_SSH);
    describe(pass);
    expect(pass, CONDITION_PROVISIONED, CONDITION_FALSE, REASON_RETRYING);
    assert_string_equal(condition_of(pass, CONDITION_PROVISIONED)->message, "it failed");
}

static void appended_steps_are_pending_before_anything_is_done_about_them(void **state)
{
    struct pass_fixture *f = *state;
    give_steps(f, 2, 1);
    struct pass *pass = a_running_vm(f);
    describe(pass);
    expect(pass, CONDITION_PROVISIONED, CONDITION_FALSE, REASON_PENDING);
    expect(pass, CONDITION_SYNCED, CONDITION_TRUE, REASON_SYNCED);
}

static void steps_that_come_to_none_are_pending_too(void **state)
{
    struct pass_fixture *f = *state;
    give_steps(f, 1, 0);
    struct pass *pass = a_running_vm(f);
    describe(pass);
    expect(pass, CONDITION_PROVISIONED, CONDITION_FALSE, REASON_PENDING);
}

static void steps_that_were_left_out_are_skipped_and_say_from_where(void **state)
{
    struct pass_fixture *f = *state;
    give_steps(f, 3, 1);
    vm_steps_digest(f->desired->spec, 3, f->desired->skipped_steps);
    struct pass *pass = a_running_vm(f);
    describe(pass);
    expect(pass, CONDITION_PROVISIONED, CONDITION_TRUE, REASON_SKIPPED);
    expect(pass, CONDITION_SYNCED, CONDITION_TRUE, REASON_SYNCED);
    assert_string_equal(condition_of(pass, CONDITION_PROVISIONED)->message,
        "steps from step 2 on were left out, as requested (--no-provision)");
}

static void steps_that_changed_otherwise_are_outdated(void **state)
{
    struct pass_fixture *f = *state;
    give_steps(f, 2, 1);
    f->desired->spec->steps[0].command[0] = 'x';
    struct pass *pass = a_running_vm(f);
    describe(pass);
    expect(pass, CONDITION_PROVISIONED, CONDITION_TRUE, REASON_PROVISIONED);
    expect(pass, CONDITION_SYNCED, CONDITION_FALSE, REASON_PROVISION_OUTDATED);
}

/* ---- a watched VMFile ---- */

static void a_broken_vmfile_is_told_with_its_place_and_the_vm_stays_ready(void **state)
{
    struct pass_fixture *f = *state;
    struct source_record *source = source_record_new("/p/VMFile.kdl", 1);
    source->state = SOURCE_PARSE_FAILED;
    source->line = 3;
    source->column = 5;
    source->message = mem_strdup("unknown node `imge`");
    struct pass *pass = a_running_vm(f);
    f->view.source = source;
    describe(pass);
    expect(pass, CONDITION_SYNCED, CONDITION_FALSE, REASON_SOURCE_INVALID);
    assert_string_equal(
        condition_of(pass, CONDITION_SYNCED)->message, "/p/VMFile.kdl:3:5: unknown node `imge`");
    expect(pass, CONDITION_READY, CONDITION_TRUE, REASON_READY);
    assert_int_equal(pass->patch->n_events, 1);
    source->state = SOURCE_SYNCED;
    describe(pass);
    expect(pass, CONDITION_SYNCED, CONDITION_TRUE, REASON_SYNCED);
    f->view.source = NULL;
    source_record_free(source);
}

static void a_vm_outlives_its_vmfile_and_its_block_and_says_so(void **state)
{
    struct pass_fixture *f = *state;
    struct source_record *source = source_record_new("/p/VMFile.kdl", 1);
    struct pass *pass = a_running_vm(f);
    f->view.source = source;
    source->state = SOURCE_GONE;
    describe(pass);
    expect(pass, CONDITION_ORPHANED, CONDITION_TRUE, REASON_SOURCE_MISSING);
    expect(pass, CONDITION_SYNCED, CONDITION_TRUE, REASON_SYNCED);
    source->state = SOURCE_SYNCED;
    strings_add(&source->removed, "other");
    describe(pass);
    expect(pass, CONDITION_ORPHANED, CONDITION_ABSENT, REASON_NONE);
    strings_add(&source->removed, f->view.name);
    describe(pass);
    expect(pass, CONDITION_ORPHANED, CONDITION_TRUE, REASON_REMOVED_FROM_SOURCE);
    expect(pass, CONDITION_READY, CONDITION_TRUE, REASON_READY);
    f->view.source = NULL;
    source_record_free(source);
}

/* ---- orphans ---- */

static void an_orphans_status_can_be_read_again(void **state)
{
    struct pass_fixture *f = *state;
    struct error err = {.code = ERR_NONE};
    f->status->uid[0] = '\0';
    struct pass *pass = begin(f);
    f->view.desired = NULL;
    pass->decision.action = ACTION_ADOPT_ORPHAN;
    describe(pass);
    expect(pass, CONDITION_ORPHANED, CONDITION_TRUE, REASON_NO_DESIRED_RECORD);
    cleanup_json json_t *json = vm_status_to_json(pass->patch->status);
    struct vm_status *again = vm_status_from_json(json, &err);
    assert_non_null(again);
    vm_status_free(again);
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, pass_fixture_set_up, pass_fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_vm_that_runs_is_ready),
        TEST(every_condition_is_of_the_generation_observed),
        TEST(describing_twice_changes_nothing),
        TEST(a_vm_that_is_to_go_down_is_not_ready_from_the_first_look_on),
        TEST(run_states_have_their_reasons),
        TEST(a_guest_that_is_out_of_room_says_where_and_stalls),
        TEST(a_moment_of_silence_changes_nothing_a_longer_one_is_told),
        TEST(waiting_for_a_machine_that_starts_is_progress),
        TEST(what_a_restart_would_bring_is_told),
        TEST(each_rule_of_a_running_vm_says_what_holds),
        TEST(an_image_of_a_url_is_cached),
        TEST(a_failure_shows_in_its_condition_and_in_ready),
        TEST(a_failure_that_repeats_stalls_and_is_told_as_blocker),
        TEST(a_guest_that_is_not_reached_in_time_stalls),
        TEST(a_slow_guest_whose_console_moves_is_not_given_up),
        TEST(a_guest_that_does_not_let_us_in_stalls_before_its_deadline),
        TEST(a_guest_that_boots_again_after_a_refusal_is_waited_for),
        TEST(logins_that_time_out_between_refusals_do_not_change_what_is_reported),
        TEST(a_login_that_is_lost_later_is_no_failed_step_and_no_failed_probe),
        TEST(a_guest_that_has_not_answered_since_its_refusal_is_waited_for),
        TEST(a_vm_is_ready_once_its_cloud_init_is_done),
        TEST(a_cloud_init_that_failed_stalls_in_its_words),
        TEST(a_failed_cloud_init_that_the_vmfile_accepts_is_a_warning),
        TEST(a_cloud_init_that_does_not_end_stalls_once_it_is_still),
        TEST(a_guest_that_refuses_the_key_stalls_with_that_reason),
        TEST(a_vm_whose_probes_do_not_pass_is_not_ready),
        TEST(a_crash_loop_stalls_from_the_third_crash_on),
        TEST(a_vm_that_stays_down_says_why),
        TEST(a_process_that_cannot_be_killed_stalls),
        TEST(a_failed_step_stays_told_after_its_failure_is_forgotten),
        TEST(a_step_under_way_tells_which_and_which_try),
        TEST(appended_steps_are_pending_before_anything_is_done_about_them),
        TEST(steps_that_come_to_none_are_pending_too),
        TEST(steps_that_were_left_out_are_skipped_and_say_from_where),
        TEST(steps_that_changed_otherwise_are_outdated),
        TEST(a_broken_vmfile_is_told_with_its_place_and_the_vm_stays_ready),
        TEST(a_vm_outlives_its_vmfile_and_its_block_and_says_so),
        TEST(an_orphans_status_can_be_read_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
