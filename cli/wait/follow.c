/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/wait/follow.h"

#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>

#include "cli/cli.h"
#include "cli/show/events.h"
#include "cli/show/result.h"
#include "cli/wait/controller_process.h"
#include "cli/wait/progress.h"
#include "cli/wait/wakeup.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "store/store.h"

enum { STREAMING_MS = 150 }; /* while a step runs: its output does not ring the bell */

struct follower {
    struct cli *cli;
    struct follow_target *targets;
    size_t count;
    struct progress progress;
    struct wakeup wakeup;
    int64_t deadline_ms;
    int64_t controller_checked_ms;
    struct controller_process controller; /* as of this look */
    pid_t watched_pid;                    /* whose end the news tell; 0: nobody's */
    bool is_halt_told;
    bool is_streaming;
};

static int64_t now_ms(void)
{
    return clock_monotonic_ms(clock_system());
}

/* ---- beginning and end ---- */

static void begin(struct follower *follower, int64_t timeout_ms)
{
    (void)fflush(stdout); /* what was said before stands before the progress */
    wakeup_open(&follower->wakeup, &follower->cli->paths);
    follower->deadline_ms = now_ms() + timeout_ms;
    follower->controller_checked_ms = now_ms();
    progress_init(&follower->progress, follower->cli, follower->count);
    for (size_t i = 0; i < follower->count; i++) {
        progress_set_name(&follower->progress, i, follower->targets[i].name);
    }
}

static void end(struct follower *follower)
{
    progress_clear(&follower->progress);
    wakeup_close(&follower->wakeup);
}

/* ---- looking ---- */

static void show_output(struct follower *follower, struct follow_target *target, bool is_last)
{
    cleanup_buf struct buf out = BUF_INIT(0);
    if (!target->provision || follower->cli->is_quiet) {
        return;
    }
    while (log_stream_read(target->provision, &out)) {
    }
    if (is_last) {
        log_stream_end(target->provision, &out);
    }
    if (out.len > 0) {
        progress_erase(&follower->progress);
        fputs(buf_str(&out), stderr);
    }
}

/* What this command did not ask for, it does not fail for; nor does it hide it. */
static void warn_of_steps(
    const struct cli *cli, const char *name, const struct vm_status *status)
{
    const char *message = status->conditions[CONDITION_PROVISIONED].message;
    cli_note(cli, "%s: warning: not ready, its provisioning failed before%s%s", name,
        message ? ": " : "", message ? message : "");
    cli_note(cli, "%s: run the steps again: vmctl provision --name %s", name, name);
}

static void report_end(struct follower *follower, const struct follow_target *target,
    const struct vm_record *record)
{
    struct cli *cli = follower->cli;
    bool is_of_ready = goal_resolve(&target->goal, record).kind == GOAL_READY;
    progress_erase(&follower->progress);
    if (target->result == GOAL_FAILED) {
        cli_print_error(cli, &target->error);
        events_explain(cli, target->name, target->error.message);
    } else if (goal_ignored_steps(&target->goal, record)) {
        warn_of_steps(cli, target->name, record->status);
    } else if (is_of_ready && record->status->ssh_port) {
        cli_note(cli, "%s: ready (ssh %s:%u)", target->name,
            record->status->ssh_host ? record->status->ssh_host : "127.0.0.1",
            record->status->ssh_port);
    } else if (is_of_ready) {
        cli_note(cli, "%s: ready", target->name);
    }
}

static int look_at(struct follower *follower, size_t i, struct error *err)
{
    struct follow_target *target = &follower->targets[i];
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    struct goal_subject subject = {
        target->name, target->uid, target->generation, follower->controller.session};
    int rc = store_get(follower->cli->store, target->name, &record, err);
    if (rc < 0) {
        return rc;
    }
    target->result = goal_check(&target->goal, &subject, &record, &target->error);
    bool is_settled = target->result != GOAL_PENDING;
    show_output(follower, target, is_settled);
    progress_update(&follower->progress, i, &record, is_settled);
    if (is_settled) {
        report_end(follower, target, &record);
    }
    bool is_in_step = record.status &&
        record.status->conditions[CONDITION_PROVISIONED].reason == REASON_RUNNING_STEP;
    follower->is_streaming =
        follower->is_streaming || (!is_settled && target->provision && is_in_step);
    return 0;
}

/* One that is killed rings no bell: its end is waited for. */
static void watch_controller(struct follower *follower)
{
    pid_t pid = follower->controller.pid;
    if (pid != follower->watched_pid) {
        cleanup_close_(&follower->wakeup.process_fd);
        follower->wakeup.process_fd = pid > 0 ? pidfd_open(pid, 0) : -1;
        follower->watched_pid = pid;
    }
}

/* What a halted one told last was true then: the VM may have died since, and nobody saw it. */
static int find_controller(struct follower *follower, struct error *err)
{
    struct controller_process *controller = &follower->controller;
    int rc = controller_find(follower->cli, controller, err);
    if (rc < 0) {
        return rc;
    }
    watch_controller(follower);
    if (controller->is_stopped) {
        controller->session[0] = '\0';
    }
    if (controller->is_stopped && !follower->is_halt_told) {
        progress_erase(&follower->progress);
        cli_note(follower->cli, "note: the controller is halted, nothing is known until it goes on: "
            "kill -CONT %d", (int)controller->pid);
        follower->is_halt_told = true;
    }
    return 0;
}

/* Returns how many are still pending. */
static int look(struct follower *follower, struct error *err)
{
    int n_pending = 0;
    follower->is_streaming = false;
    int found = find_controller(follower, err);
    if (found < 0) {
        return found;
    }
    for (size_t i = 0; i < follower->count; i++) {
        if (follower->targets[i].result != GOAL_PENDING) {
            continue;
        }
        int rc = look_at(follower, i, err);
        if (rc < 0) {
            return rc;
        }
        n_pending += follower->targets[i].result == GOAL_PENDING;
    }
    progress_draw(&follower->progress);
    return n_pending;
}

/* ---- waiting ---- */

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int check_controller(struct follower *follower, struct error *err)
{
    bool is_known = follower->controller.pid != 0;
    if (is_known && now_ms() - follower->controller_checked_ms < WAKEUP_MAX_MS) {
        return 0;
    }
    follower->controller_checked_ms = now_ms();
    return cli_ensure_controller(follower->cli, err);
}

static int wait_for_wakeup(struct follower *follower)
{
    int64_t limit_ms = least(
        controller_requeue_after_ms(&follower->controller), follower->deadline_ms - now_ms());
    return wakeup_wait(
        &follower->wakeup, follower->is_streaming ? least(limit_ms, STREAMING_MS) : limit_ms);
}

/* ---- endings ---- */

static const struct follow_target *first_pending(const struct follower *follower)
{
    size_t i = 0;
    while (i + 1 < follower->count && follower->targets[i].result != GOAL_PENDING) {
        i++;
    }
    return &follower->targets[i];
}

static int be_interrupted(struct follower *follower, int number)
{
    progress_erase(&follower->progress);
    const struct follow_target *target = first_pending(follower);
    if (target->is_for_us) {
        cli_note(follower->cli, "interrupted");
    } else {
        cli_note(follower->cli, "interrupted; '%s' goes on in the background: vmctl status %s",
            target->name, target->name);
    }
    return wakeup_exit_status(number);
}

/* A controller that hangs, or is stopped, leaves the wish where it is; and what the one before told of
 * the VM is no answer. */
static bool is_taken_up(const struct follower *follower, const struct follow_target *target)
{
    struct error ignored = {.code = ERR_NONE};
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    if (store_get(follower->cli->store, target->name, &record, &ignored) < 0 || !record.desired) {
        return true; /* not the controller's fault */
    }
    const struct controller_process *controller = &follower->controller;
    return record.status && text_eq(record.status->uid, record.desired->uid) &&
        record.status->observed_generation >= target->generation &&
        (controller->is_stopped || text_eq(record.status->observer, controller->session));
}

/* Much of what the controller tells begins with the VM's name, and so does our own message. */
static const char *without_name(const char *message, const char *name)
{
    cleanup_free char *named = mem_printf("vm '%s': ", name);
    bool is_named = message && text_starts_with(message, named);
    return is_named ? message + strlen(named) : message;
}

static void set_timeout(const struct follower *follower, struct follow_target *target,
    const struct progress_line *line)
{
    cleanup_free char *goal = goal_describe(&target->goal);
    const char *message = without_name(line->message, target->name);
    if (!is_taken_up(follower, target)) {
        (void)error_set(&target->error, ERR_TIMEOUT,
            "vm '%s' is not %s yet: the controller has not taken up what was asked", target->name,
            goal);
        (void)error_help(&target->error,
            "is it stuck? vmctl controller status; vmctl controller stop (VMs go on running)");
        return;
    }
    if (follower->controller.is_stopped) {
        (void)error_set(&target->error, ERR_TIMEOUT,
            "whether vm '%s' is %s is not known: the controller is halted", target->name, goal);
        (void)error_help(&target->error, "let it go on: kill -CONT %d; or end it (VMs go on "
            "running): kill -9 %d", (int)follower->controller.pid, (int)follower->controller.pid);
        return;
    }
    (void)error_set(&target->error, ERR_TIMEOUT, "vm '%s' is not %s yet: %s%s%s", target->name,
        goal, line->word, message ? ": " : "", message ? message : "");
    if (target->is_for_us) {
        (void)error_help(&target->error, "give it longer: --timeout");
        return;
    }
    (void)error_help(&target->error, "it goes on; wait longer (--timeout), or see: vmctl status %s",
        target->name);
}

static void time_out(struct follower *follower)
{
    progress_erase(&follower->progress);
    for (size_t i = 0; i < follower->count; i++) {
        struct follow_target *target = &follower->targets[i];
        const struct progress_line *line = &follower->progress.lines[i];
        if (target->result != GOAL_PENDING) {
            continue;
        }
        set_timeout(follower, target, line);
        cli_print_error(follower->cli, &target->error);
        events_explain(follower->cli, target->name, target->error.message);
    }
}

static int exit_status(const struct follower *follower)
{
    for (size_t i = 0; i < follower->count; i++) {
        if (follower->targets[i].error.code != ERR_NONE) {
            return error_exit_status(follower->targets[i].error.code);
        }
    }
    return 0;
}

static int run(struct follower *follower, struct error *err)
{
    for (;;) {
        int n_pending = look(follower, err);
        if (n_pending <= 0) {
            return n_pending < 0 ? n_pending : exit_status(follower);
        }
        if (now_ms() >= follower->deadline_ms) {
            time_out(follower);
            return exit_status(follower);
        }
        int number = wait_for_wakeup(follower);
        if (number > 0) {
            return be_interrupted(follower, number);
        }
        int rc = check_controller(follower, err);
        if (rc < 0) {
            return rc;
        }
    }
}

int follow(struct cli *cli, struct follow_target *targets, size_t count, int64_t timeout_ms,
    struct error *err)
{
    struct follower follower = {.cli = cli, .targets = targets, .count = count};
    begin(&follower, timeout_ms);
    int rc = run(&follower, err);
    end(&follower);
    for (size_t i = 0; i < count; i++) {
        result_target(cli, &targets[i]);
    }
    return rc;
}
