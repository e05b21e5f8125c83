/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/wait/follow.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/show/events.h"
#include "cli/show/image_progress.h"
#include "cli/show/result.h"
#include "cli/wait/live_block.h"
#include "cli/wait/wait_loop.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "store/store.h"

enum { STREAMING_MS = 150 }; /* while a step runs: its output does not ring the bell */

/* ---- progress on stderr ---- */

/* On a terminal one line a VM, redrawn; elsewhere a line each time the state's word changes;
 * nothing with --quiet. */
struct progress_line {
    const char *name; /* borrowed */
    char word[32];
    char *message; /* "120 of 620 MB"; NULL: none */
    bool is_settled;
};

struct progress {
    struct cli *cli; /* borrowed */
    struct live_block block;
    int64_t started_ms;
    struct progress_line *lines;
    size_t count;
};

/* The reason of Ready is the most informative. */
static char *message_of(const struct vm_record *record)
{
    const struct condition *ready =
        record->status ? &record->status->conditions[CONDITION_READY] : NULL;
    if (!ready || ready->state == CONDITION_TRUE || !ready->message) {
        return NULL;
    }
    struct buf out = BUF_INIT(0);
    text_add_printable(&out, ready->message, strcspn(ready->message, "\n"));
    return buf_steal(&out);
}

static const char *word_of(const struct vm_record *record)
{
    struct desired_summary desired = {.generation = 0};
    struct status_summary status = {.pid = 0};
    if (!record->desired) {
        return "Deleted";
    }
    desired_summary_of(record->desired, &desired);
    if (record->status && text_eq(record->status->uid, record->desired->uid)) {
        status_summary_of(record->status, &status);
    }
    return vm_display_word(&desired, &status);
}

static void progress_update(
    struct progress *progress, size_t i, const struct vm_record *record, bool is_settled)
{
    struct progress_line *line = &progress->lines[i];
    const char *word = word_of(record);
    bool is_new = !text_eq(line->word, word);
    (void)snprintf(line->word, sizeof(line->word), "%s", word);
    free(line->message);
    line->message = message_of(record);
    line->is_settled = is_settled;
    if (is_new && !progress->block.is_live && !progress->cli->is_quiet) {
        fprintf(stderr, "%s: %s\n", line->name, line->word);
    }
}

/* Images come first: what all wait for must not be what there is no room for. */
static void draw_images(struct progress *progress, const char *session, struct buf *out)
{
    struct error ignored = {.code = ERR_NONE}; /* shown without */
    cleanup_json json_t *records = NULL;
    const char *key;
    json_t *record;
    if (image_progress_read(progress->cli, session, &records, &ignored) < 0) {
        return;
    }
    json_object_foreach(records, key, record)
    {
        if (json_int(record, "vms", 0) == 0) {
            continue;
        }
        if (progress->block.is_live) {
            image_progress_draw(out, record, live_block_columns());
        } else {
            image_progress_name(out, record);
            buf_add_str(out, ": ");
            image_progress_say(out, record);
        }
        buf_add_char(out, '\n');
    }
}

static void progress_draw(struct progress *progress, const char *session)
{
    cleanup_buf struct buf out = BUF_INIT(0);
    int64_t seconds = (clock_monotonic_ms(clock_system()) - progress->started_ms) / 1000;
    bool is_due = live_block_is_due(&progress->block);
    if (!is_due && !progress->block.is_live) {
        return;
    }
    draw_images(progress, session, &out);
    for (size_t i = 0; progress->block.is_live && i < progress->count; i++) {
        const struct progress_line *line = &progress->lines[i];
        if (!line->is_settled) {
            buf_printf(&out, "%-12s %-16s %3" PRId64 "s  %s\n", line->name, line->word, seconds,
                line->message ? line->message : "");
        }
    }
    if (is_due) {
        fputs(buf_str(&out), stderr);
    }
    live_block_draw(&progress->block, buf_str(&out));
}

static void progress_clear(struct progress *progress)
{
    live_block_close(&progress->block);
    for (size_t i = 0; i < progress->count; i++) {
        free(progress->lines[i].message);
    }
    free(progress->lines);
    progress->lines = NULL;
}

/* ---- the followed VMs ---- */

struct follower {
    struct cli *cli;
    struct follow_target *targets;
    size_t count;
    struct progress progress;
    struct wait_loop loop;
    bool is_halt_noted;
};

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
        live_block_erase(&follower->progress.block);
        fputs(buf_str(&out), stderr);
    }
}

static void report_end(
    struct follower *follower, const struct follow_target *target, const struct vm_record *record)
{
    struct cli *cli = follower->cli;
    bool is_of_ready = goal_resolve(&target->goal, record).kind == GOAL_READY;
    live_block_erase(&follower->progress.block);
    if (target->result == GOAL_FAILED) {
        cli_print_error(cli, &target->error);
        events_explain(cli, target->name, target->error.message);
    } else if (goal_ignored_steps(&target->goal, record)) {
        /* This command did not ask for these steps: it does not fail for them, nor hide them. */
        const char *message = record->status->conditions[CONDITION_PROVISIONED].message;
        cli_note(cli, "%s: warning: not ready, its provisioning failed before%s%s", target->name,
            message ? ": " : "", message ? message : "");
        cli_note(
            cli, "%s: run the steps again: vmctl provision --name %s", target->name, target->name);
    } else if (is_of_ready && record->status->ssh_port) {
        cli_note(cli, "%s: ready (ssh %s:%u)", target->name,
            record->status->ssh_host ? record->status->ssh_host : "127.0.0.1",
            record->status->ssh_port);
    } else if (is_of_ready) {
        cli_note(cli, "%s: ready", target->name);
    }
}

static int check_target(struct follower *follower, size_t i, struct error *err)
{
    struct follow_target *target = &follower->targets[i];
    struct wait_loop *loop = &follower->loop;
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    int rc = store_get(follower->cli->store, target->name, &record, err);
    if (rc < 0) {
        return rc;
    }
    const struct goal_subject subject = {
        target->name, target->uid, target->generation, loop->controller.session};
    target->result = goal_check(&target->goal, &subject, &record, &target->error);
    bool is_settled = target->result != GOAL_PENDING;
    show_output(follower, target, is_settled);
    progress_update(&follower->progress, i, &record, is_settled);
    if (is_settled) {
        report_end(follower, target, &record);
    } else if (target->provision && record.status &&
               record.status->conditions[CONDITION_PROVISIONED].reason == REASON_RUNNING_STEP) {
        loop->sleep_max_ms = STREAMING_MS;
    }
    return 0;
}

/* What a halted controller wrote last was true then: the VM may have died since, unseen. */
static void distrust_halted(struct follower *follower)
{
    struct controller_process *controller = &follower->loop.controller;
    if (!controller->is_stopped) {
        return;
    }
    controller->session[0] = '\0';
    if (!follower->is_halt_noted) {
        live_block_erase(&follower->progress.block);
        cli_note(follower->cli,
            "note: the controller is halted, nothing is known until it resumes: kill -CONT %d",
            (int)controller->pid);
        follower->is_halt_noted = true;
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

static int check_targets(void *context, bool *ret_is_done, struct error *err)
{
    struct follower *follower = context;
    *ret_is_done = true;
    distrust_halted(follower);
    for (size_t i = 0; i < follower->count; i++) {
        if (follower->targets[i].result == GOAL_PENDING) {
            int rc = check_target(follower, i, err);
            if (rc < 0) {
                return rc;
            }
            *ret_is_done = *ret_is_done && follower->targets[i].result != GOAL_PENDING;
        }
    }
    progress_draw(&follower->progress, follower->loop.controller.session);
    return *ret_is_done ? exit_status(follower) : 0;
}

/* ---- endings ---- */

static void report_interrupt(void *context)
{
    struct follower *follower = context;
    const struct follow_target *target = follower->targets;
    live_block_erase(&follower->progress.block);
    while (target + 1 < follower->targets + follower->count && target->result != GOAL_PENDING) {
        target++;
    }
    if (target->is_for_us) {
        cli_note(follower->cli, "interrupted");
    } else {
        cli_note(follower->cli, "interrupted; '%s' continues in the background: vmctl status %s",
            target->name, target->name);
    }
}

/* False: the controller hangs or is stopped and has not read the request; a status of the one
 * before it does not count. */
static bool is_observed(const struct follower *follower, const struct follow_target *target)
{
    struct error ignored = {.code = ERR_NONE};
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    if (store_get(follower->cli->store, target->name, &record, &ignored) < 0 || !record.desired) {
        return true; /* not the controller's fault */
    }
    const struct controller_process *controller = &follower->loop.controller;
    return record.status && text_eq(record.status->uid, record.desired->uid) &&
           record.status->observed_generation >= target->generation &&
           (controller->is_stopped || text_eq(record.status->observer, controller->session));
}

static void set_timeout(
    const struct follower *follower, struct follow_target *target, const struct progress_line *line)
{
    struct error *err = &target->error;
    int pid = (int)follower->loop.controller.pid;
    cleanup_free char *goal = goal_describe(&target->goal);
    cleanup_free char *named = mem_printf("vm '%s': ", target->name);
    const char *message = line->message;
    if (message && text_starts_with(message, named)) { /* the name is in this error already */
        message += strlen(named);
    }
    if (!is_observed(follower, target)) {
        (void)error_set(err, ERR_TIMEOUT,
            "vm '%s' is not %s yet: the controller has not processed the request", target->name,
            goal);
        (void)error_help(
            err, "is it stuck? vmctl controller status; vmctl controller stop (VMs keep running)");
        return;
    }
    if (follower->loop.controller.is_stopped) {
        (void)error_set(err, ERR_TIMEOUT,
            "whether vm '%s' is %s is not known: the controller is halted", target->name, goal);
        (void)error_help(
            err, "resume it: kill -CONT %d; or end it (VMs keep running): kill -9 %d", pid, pid);
        return;
    }
    (void)error_set(err, ERR_TIMEOUT, "vm '%s' is not %s yet: %s%s%s", target->name, goal,
        line->word, message ? ": " : "", message ? message : "");
    (void)(target->is_for_us
               ? error_help(err, "give it longer: --timeout")
               : error_help(err, "it continues; wait longer (--timeout), or see: vmctl status %s",
                     target->name));
}

static int time_out(void *context, struct error *err)
{
    struct follower *follower = context;
    (void)err; /* each VM has its own */
    live_block_erase(&follower->progress.block);
    for (size_t i = 0; i < follower->count; i++) {
        struct follow_target *target = &follower->targets[i];
        if (target->result == GOAL_PENDING) {
            set_timeout(follower, target, &follower->progress.lines[i]);
            cli_print_error(follower->cli, &target->error);
            events_explain(follower->cli, target->name, target->error.message);
        }
    }
    return exit_status(follower);
}

/* ---- the whole ---- */

static void put_results(const struct follower *follower)
{
    static const char *const names[] = {
        [GOAL_PENDING] = "pending",
        [GOAL_REACHED] = "done",
        [GOAL_FAILED] = "failed",
    };
    for (size_t i = 0; i < follower->count; i++) {
        const struct follow_target *target = &follower->targets[i];
        result_followed(follower->cli, target->name, goal_word(&target->goal),
            names[target->result], &target->error);
    }
}

int follow(struct cli *cli, struct follow_target *targets, size_t count, int64_t timeout_ms,
    struct error *err)
{
    struct follower follower = {.cli = cli, .targets = targets, .count = count};
    follower.loop = (struct wait_loop){
        .cli = cli,
        .needs_controller = true,
        .ignores_reader = count > 0 && targets[0].is_for_us,
        .check = check_targets,
        .time_out = time_out,
        .interrupted = report_interrupt,
        .context = &follower,
    };
    (void)fflush(stdout); /* earlier output comes before the progress */
    wait_loop_open(&follower.loop, timeout_ms);
    follower.progress = (struct progress){
        .cli = cli,
        .started_ms = clock_monotonic_ms(clock_system()),
        .lines = mem_calloc(count, sizeof(*follower.progress.lines)),
        .count = count,
    };
    live_block_open(&follower.progress.block, cli);
    for (size_t i = 0; i < count; i++) {
        follower.progress.lines[i].name = targets[i].name;
    }
    int rc = wait_loop_run(&follower.loop, err);
    progress_clear(&follower.progress);
    wait_loop_close(&follower.loop);
    put_results(&follower);
    return rc;
}
