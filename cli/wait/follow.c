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
#include "cli/show/vm_rows.h"
#include "cli/show/vm_text.h"
#include "cli/wait/console_tail.h"
#include "cli/wait/dependencies.h"
#include "cli/wait/live_block.h"
#include "cli/wait/wait_loop.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "store/desired/pending.h"
#include "store/store.h"

enum { STREAMING_MS = 150 }; /* while a step runs: its output does not ring the bell */

/* ---- progress on stderr, a line for each VM ---- */

struct progress_line {
    const char *name; /* borrowed */
    const char *word; /* static; NULL: what is recorded is from before the request */
    const char *color;
    char *message; /* what it waits for; NULL: nothing is known */
    char *console; /* the last line that its guest wrote; NULL: none since it started */
    struct console_tail tail;
    struct buf held;               /* output of its step: the start of a line */
    bool is_settled, is_streaming; /* a step of it runs, whose output does not ring the bell */
    struct vm_mark mark;           /* of its records when they were last read */
};

struct progress {
    struct cli *cli; /* borrowed */
    struct live_block block;
    int64_t started_ms;
    struct progress_line *lines;
    size_t count;
};

/* Why it is not ready; if it is, why it has not yet got what changed. The line names the VM. */
static char *message_of(const struct vm_record *record)
{
    const struct condition *all = record->status ? record->status->conditions : NULL;
    bool is_ready = all && all[CONDITION_READY].state == CONDITION_TRUE;
    bool is_building = all && all[CONDITION_WARM].reason == REASON_TEMPLATE_BUILDING;
    enum condition_type type = is_ready ? CONDITION_SYNCED : CONDITION_READY;
    type = is_building && !is_ready ? CONDITION_WARM : type;
    const char *full = all && all[type].state != CONDITION_TRUE ? all[type].message : NULL;
    if (!full) {
        return NULL;
    }
    cleanup_free char *named = mem_printf("vm '%s': ", record->name);
    const char *message = full + (text_starts_with(full, named) ? strlen(named) : 0);
    struct buf out = BUF_INIT(0);
    text_add_printable(&out, message, strcspn(message, "\n"));
    return buf_steal(&out);
}

/* What is recorded counts only once it is of the request (`is_known`): a VM that is restarted was
 * Ready a moment before. */
static void progress_update(struct progress *progress, size_t i, const struct vm_record *record,
    bool is_known, bool is_settled)
{
    struct progress_line *line = &progress->lines[i];
    struct desired_summary desired = {.generation = 0};
    struct status_summary status = {.pid = 0};
    const char *before = line->word;
    free(TAKE_PTR(line->message));
    free(TAKE_PTR(line->console));
    console_tail_note(&line->tail, progress->cli, record);
    line->is_settled = is_settled;
    line->word = record->desired ? NULL : "Deleted";
    line->color = "";
    if (record->desired && is_known) {
        desired_summary_of(record->desired, &desired);
        status_summary_of(record->status, &status);
        line->word = vm_display_word(&desired, &status);
        line->color = vm_tone_colors[vm_display_tone(&desired, &status)];
        line->message = message_of(record);
    }
    bool shows_step = text_eq(line->word, "Provisioning"); /* whose output is what matters */
    if (progress->block.is_live && is_known && !is_settled && !shows_step) {
        line->console = console_tail_line(&line->tail, progress->cli, record);
    }
    bool is_told = !progress->block.is_live && !progress->cli->is_quiet;
    if (is_told && line->word && !text_eq(before, line->word)) {
        bool waits = line->message && text_starts_with(line->message, "for ");
        const char *whom = waits ? line->message : "";
        live_block_erase(&progress->block);
        fprintf(stderr, "%s: %s%s%s\n", line->name, line->word, waits ? " " : "", whom);
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

static void draw_line(const struct progress *progress, size_t i, size_t name_width, struct buf *out)
{
    enum { WORD_WIDTH = 12, SECONDS_MAX = 100 };
    const struct progress_line *line = &progress->lines[i];
    int64_t seconds = (clock_monotonic_ms(clock_system()) - progress->started_ms) / 1000;
    bool is_colored = progress->block.is_colored;
    bool is_long = strlen(line->name) > name_width;
    int shown = (int)(name_width - is_long);
    buf_printf(out, "%-*.*s%s  %s%-*s%s", shown, shown, line->name, is_long ? "…" : "",
        is_colored ? line->color : "", WORD_WIDTH, line->word ? line->word : "...",
        is_colored ? "\033[0m" : "");
    if (seconds < SECONDS_MAX) {
        buf_printf(out, "  %5" PRId64 "s", seconds);
    } else {
        buf_printf(out, "  %2" PRId64 "m%02ds", seconds / 60, (int)(seconds % 60));
    }
    const char *message = line->word ? line->message : "the controller has not seen it yet";
    bool has_console = line->console && line->console[0];
    if (message) { /* an address in brackets is worth less than what the guest does */
        const char *detail = has_console ? strstr(message, " (") : NULL;
        int n = (int)(detail ? (size_t)(detail - message) : strlen(message));
        buf_printf(out, "  %.*s", n, message);
    }
    if (has_console) {
        buf_printf(out, "  %s%s%s", is_colored ? "\033[2m" : "", line->console,
            is_colored ? "\033[0m" : "");
    }
    buf_add_char(out, '\n');
}

/* One line for all: which is the first, and how many more there are. */
static void say_what_is_left(const struct progress *progress, struct buf *out)
{
    int64_t seconds = (clock_monotonic_ms(clock_system()) - progress->started_ms) / 1000;
    const struct progress_line *first = NULL;
    size_t n_left = 0;
    for (size_t i = 0; i < progress->count; i++) {
        const struct progress_line *line = &progress->lines[i];
        first = first || line->is_settled ? first : line;
        n_left += !line->is_settled;
    }
    if (first) {
        buf_printf(out, "%s: %s for %" PRId64 " s%s%s", first->name,
            first->word ? first->word : "waiting for the controller", seconds,
            first->message ? ": " : "", first->message ? first->message : "");
        if (n_left > 1) {
            buf_printf(out, " (and %zu more)", n_left - 1);
        }
        buf_add_char(out, '\n');
    }
}

static void progress_draw(struct progress *progress, const char *session)
{
    enum { NAME_MAX_WIDTH = 24, NAME_SHARE = 3 }; /* of the columns */
    cleanup_buf struct buf out = BUF_INIT(0);
    size_t name_width = 0;
    bool is_due = live_block_is_due(&progress->block);
    if (!is_due && !progress->block.is_live) {
        return;
    }
    for (size_t i = 0; i < progress->count; i++) {
        size_t length = progress->lines[i].is_settled ? 0 : strlen(progress->lines[i].name);
        name_width = length > name_width ? length : name_width;
    }
    size_t most = live_block_columns() / NAME_SHARE;
    most = most < NAME_MAX_WIDTH ? most : NAME_MAX_WIDTH;
    name_width = name_width < most ? name_width : most;
    draw_images(progress, session, &out);
    for (size_t i = 0; progress->block.is_live && i < progress->count; i++) {
        if (!progress->lines[i].is_settled) {
            draw_line(progress, i, name_width, &out);
        }
    }
    if (is_due && out.len == 0) {
        say_what_is_left(progress, &out);
    }
    fputs(is_due ? buf_str(&out) : "", stderr);
    live_block_draw(&progress->block, buf_str(&out));
}

static void progress_clear(struct progress *progress)
{
    live_block_close(&progress->block);
    for (size_t i = 0; i < progress->count; i++) {
        free(progress->lines[i].message);
        free(progress->lines[i].console);
        buf_clear(&progress->lines[i].held);
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
    struct controller_process trusted; /* what the last look believed of the controller */
    int64_t looked_ms, read_ms; /* when the last look was, and the last that read all records */
};

/* Titles of steps are ours: they are cut to the terminal's width. The rest is the guest's. */
static void print_output(const char *lines, size_t n)
{
    cleanup_free char *text = mem_strndup(lines, n);
    cleanup_buf struct buf out = BUF_INIT(0);
    for (const char *line = text; *line;) {
        size_t length = strcspn(line, "\n");
        const char *title = memmem(line, length, "==> step ", strlen("==> step "));
        length += line[length] == '\n';
        if (title == line || (title && title - line >= 2 && text_starts_with(title - 2, "| "))) {
            live_block_fit(&out, line, live_block_columns());
        } else {
            buf_add(&out, line, length);
        }
        line += length;
    }
    fputs(buf_str(&out), stderr);
}

/* On a terminal whole lines only: what is redrawn stands in lines of its own. */
static void show_output(struct follower *follower, size_t i, bool is_last)
{
    struct follow_target *target = &follower->targets[i];
    struct progress *progress = &follower->progress;
    struct buf *held = &progress->lines[i].held;
    if (!target->provision || follower->cli->is_quiet) {
        return;
    }
    while (log_stream_read(target->provision, held)) {
    }
    if (is_last) {
        log_stream_end(target->provision, held);
    }
    const char *end = progress->block.is_live ? strrchr(buf_str(held), '\n') : NULL;
    size_t n = !progress->block.is_live ? held->len : end ? (size_t)(end - buf_str(held)) + 1 : 0;
    if (n > 0) {
        live_block_erase(&progress->block);
        if (progress->block.is_live) {
            print_output(held->data, n);
        } else {
            fwrite(held->data, 1, n, stderr);
        }
        buf_consume(held, n);
    }
}

/* The step's output, where it was not shown as it came. */
static void show_last_lines(const struct follower *follower, const struct follow_target *target)
{
    enum { LINES = 10 };
    struct log_stream log;
    cleanup_buf struct buf out = BUF_INIT(0);
    bool is_of_step = text_starts_with(error_code_name(target->error.code), "vmctl::provision::");
    if (!is_of_step || (target->provision && !follower->cli->is_quiet)) {
        return;
    }
    cleanup_free char *path = paths_vm(&follower->cli->paths, target->name, VM_PROVISION_LOG);
    log_stream_open(&log, path, "  | ", false);
    log_stream_seek_tail(&log, LINES);
    while (log_stream_read(&log, &out)) {
    }
    log_stream_end(&log, &out);
    if (out.len > 0) {
        fprintf(stderr, "  the end of its output:\n%s", buf_str(&out));
    }
    log_stream_close(&log);
}

static void report_end(
    struct follower *follower, const struct follow_target *target, const struct vm_record *record)
{
    struct cli *cli = follower->cli;
    bool is_of_ready = goal_resolve(&target->goal, record).kind == GOAL_READY;
    live_block_erase(&follower->progress.block);
    if (target->result == GOAL_FAILED) {
        cli_print_error(cli, &target->error);
        show_last_lines(follower, target);
        events_explain(cli, target->name, target->error.message);
    } else if (goal_ignored_steps(&target->goal, record)) {
        /* This command did not ask for these steps: it does not fail for them, nor hide them. */
        const char *message = record->status->conditions[CONDITION_PROVISIONED].message;
        cli_note(cli, "%s: warning: not ready: its provisioning failed earlier%s%s", target->name,
            message ? ": " : "", message ? message : "");
        cli_note(
            cli, "%s: run the steps again: vmctl provision --name %s", target->name, target->name);
    } else if (is_of_ready) {
        cleanup_buf struct buf places = BUF_INIT(0);
        vm_text_add_places(&places, record->status);
        cli_note(cli, "%s: ready%s", target->name, buf_str(&places));
    }
    if (target->result == GOAL_REACHED && record->desired && record->status &&
        record->status->recreate_failure.code) {
        cli_note(cli, "%s: warning: %s; see: vmctl status %s", target->name,
            record->status->recreate_failure.message, target->name);
    }
}

/* The controller has seen the request, and this is what it made of it. */
static bool is_observed(const struct follower *follower, const struct follow_target *target,
    const struct vm_record *record)
{
    const struct controller_process *controller = &follower->loop.controller;
    return record->desired && record->status &&
           text_eq(record->status->uid, record->desired->uid) &&
           record->status->observed_generation >= target->generation &&
           (controller->is_stopped || controller->has_observed_all ||
               text_eq(record->status->observer, controller->session));
}

static void show_streaming(struct follower *follower, size_t i)
{
    if (follower->progress.lines[i].is_streaming) {
        show_output(follower, i, false);
        follower->loop.sleep_max_ms = STREAMING_MS;
    }
}

/* Records that are those of the last look mean what they meant then. */
static int check_target(struct follower *follower, size_t i, struct error *err)
{
    struct follow_target *target = &follower->targets[i];
    struct wait_loop *loop = &follower->loop;
    struct progress_line *line = &follower->progress.lines[i];
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    bool is_changed;
    int rc = store_get_changed(
        follower->cli->store, target->name, &line->mark, &record, &is_changed, err);
    if (rc < 0) {
        return rc;
    }
    if (!is_changed) {
        show_streaming(follower, i);
        return 0;
    }
    struct goal_subject subject = {target->name, target->uid, target->generation,
        loop->controller.session, loop->controller.has_observed_all, false};
    if (dependencies_stalled(&record) && !dependencies_are_stuck(follower->cli->store, &record)) {
        subject.is_dependency_coming = true;
        line->mark = VM_MARK_NEVER; /* not only its own records count */
    }
    target->result = goal_check(&target->goal, &subject, &record, &target->error);
    bool is_settled = target->result != GOAL_PENDING;
    bool is_known = is_observed(follower, target, &record);
    if (is_settled) { /* a step's output comes before the state it ends in, and after its own */
        show_output(follower, i, true);
    }
    progress_update(&follower->progress, i, &record, is_known, is_settled);
    if (is_settled) {
        report_end(follower, target, &record);
        return 0;
    }
    line->is_streaming =
        target->provision && record.status &&
        record.status->conditions[CONDITION_PROVISIONED].reason == REASON_RUNNING_STEP;
    show_output(follower, i, false);
    loop->sleep_max_ms = line->is_streaming ? STREAMING_MS : loop->sleep_max_ms;
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
            "note: the controller is stopped (SIGSTOP); resume it: kill -CONT %d",
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

/*
 * Many VMs that start ring the bell many times: they are looked at together, now and then. What
 * their records mean depends on which controller wrote them and whether it runs; and what a
 * terminal shows of a guest's console changes without them.
 */
static bool begin_look(struct follower *follower)
{
    enum { FEW = 16, PAUSE_MS = 20, CONSOLE_MS = 1000 };
    const struct controller_process *now = &follower->loop.controller, *then = &follower->trusted;
    int64_t now_ms = clock_monotonic_ms(clock_system());
    int64_t pause_ms = follower->looked_ms + PAUSE_MS - now_ms;
    bool is_console_due =
        follower->progress.block.is_live && now_ms - follower->read_ms >= CONSOLE_MS;
    if (follower->count > FEW && pause_ms > 0 && wait_loop_left_ms(&follower->loop) > 0) {
        follower->loop.sleep_max_ms = pause_ms;
        return false;
    }
    follower->looked_ms = now_ms;
    if (follower->read_ms == 0 || is_console_due || !text_eq(now->session, then->session) ||
        now->is_stopped != then->is_stopped || now->has_observed_all != then->has_observed_all) {
        for (size_t i = 0; i < follower->count; i++) {
            follower->progress.lines[i].mark = VM_MARK_NEVER;
        }
        follower->trusted = *now;
        follower->read_ms = now_ms;
    }
    return true;
}

static int check_targets(void *context, bool *ret_is_done, struct error *err)
{
    struct follower *follower = context;
    *ret_is_done = false;
    distrust_halted(follower);
    if (!begin_look(follower)) {
        return 0;
    }
    *ret_is_done = true;
    if (follower->loop.wakeup.was_suspended) {
        follower->loop.wakeup.was_suspended = false;
        live_block_leave(&follower->progress.block);
    }
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
    const struct follow_target *target = NULL;
    size_t n_pending = 0;
    live_block_erase(&follower->progress.block);
    for (size_t i = follower->count; i-- > 0;) {
        bool is_pending = follower->targets[i].result == GOAL_PENDING;
        target = is_pending || !target ? &follower->targets[i] : target;
        n_pending += is_pending;
    }
    struct error ignored = {.code = ERR_NONE};
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    bool is_off = store_get(follower->cli->store, target->name, &record, &ignored) == 0 &&
                  record.desired && record.desired->power == POWER_STOPPED &&
                  !record.desired->is_deleting && !record_has_instance(&record);
    if (target->is_for_us || is_off) { /* or nothing happens to it: `wait` of a stopped VM */
        cli_note(follower->cli, "interrupted");
    } else if (n_pending > 1) {
        cli_note(follower->cli,
            "interrupted; '%s' and %zu more continue in the background: vmctl list", target->name,
            n_pending - 1);
    } else {
        cli_note(follower->cli, "interrupted; '%s' continues in the background: vmctl status %s",
            target->name, target->name);
    }
}

static void set_timeout(
    const struct follower *follower, struct follow_target *target, const struct progress_line *line)
{
    struct error *err = &target->error;
    int pid = (int)follower->loop.controller.pid;
    cleanup_free char *goal = goal_describe(&target->goal);
    if (!line->word) { /* it hangs, or is halted; a status of the one before it does not count */
        (void)error_set(err, ERR_TIMEOUT,
            "vm '%s' is not %s yet: the controller has not processed the request", target->name,
            goal);
        (void)error_help(
            err, "is it stuck? vmctl controller status; vmctl controller stop (VMs keep running)");
        return;
    }
    if (follower->loop.controller.is_stopped) {
        (void)error_set(err, ERR_TIMEOUT,
            "cannot check whether vm '%s' is %s: vmctld is stopped (SIGSTOP)", target->name, goal);
        (void)error_help(
            err, "resume it: kill -CONT %d; or end it (VMs keep running): kill -9 %d", pid, pid);
        return;
    }
    (void)error_set(err, ERR_TIMEOUT, "vm '%s' is not %s yet: %s%s%s", target->name, goal,
        line->word, line->message ? ": " : "", line->message ? line->message : "");
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
