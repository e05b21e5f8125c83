/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/wait/follow.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/show/events.h"
#include "cli/show/result.h"
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
    const struct cli *cli; /* borrowed */
    bool is_live;
    int64_t started_ms;
    struct progress_line *lines;
    size_t count;
    size_t n_drawn;
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
    if (is_new && !progress->is_live && !progress->cli->is_quiet) {
        fprintf(stderr, "%s: %s\n", line->name, line->word);
    }
}

static void draw_line(const struct progress *progress, const struct progress_line *line)
{
    int64_t seconds = (clock_monotonic_ms(clock_system()) - progress->started_ms) / 1000;
    cleanup_free char *text = mem_printf("%-12s %-16s %3" PRId64 "s  %s", line->name, line->word,
        seconds, line->message ? line->message : "");
    struct winsize size;
    bool is_known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    /* the last column stays free: some terminals go to the next line when it is filled */
    unsigned columns = (is_known ? size.ws_col : 80U) - 1;
    int n = 0; /* bytes that fit: a character is taken to be one column wide */
    for (; text[n] && (columns > 0 || ((unsigned char)text[n] & 0xc0) == 0x80); n++) {
        columns -= ((unsigned char)text[n] & 0xc0) != 0x80;
    }
    fprintf(stderr, "%.*s\033[K\n", n, text);
}

static void progress_erase(struct progress *progress)
{
    if (progress->n_drawn > 0) {
        fprintf(stderr, "\r\033[%zuA\033[J", progress->n_drawn); /* "^C" moved the cursor */
        progress->n_drawn = 0;
    }
}

/* One line less than the screen at most: what scrolled away cannot be redrawn. */
static size_t lines_of_screen(void)
{
    enum { LINES_MAX = 16 };
    struct winsize size;
    bool is_known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 1;
    return is_known && size.ws_row <= LINES_MAX ? size.ws_row - 1U : LINES_MAX;
}

static void progress_draw(struct progress *progress)
{
    size_t n_left = 0, n_lines = lines_of_screen();
    if (!progress->is_live || progress->cli->is_quiet) {
        return;
    }
    progress_erase(progress);
    for (size_t i = 0; i < progress->count; i++) {
        n_left += !progress->lines[i].is_settled;
    }
    size_t n_shown = n_left > n_lines ? n_lines - 1 : n_left; /* the last line counts the rest */
    for (size_t i = 0; i < progress->count && progress->n_drawn < n_shown; i++) {
        if (!progress->lines[i].is_settled) {
            draw_line(progress, &progress->lines[i]);
            progress->n_drawn++;
        }
    }
    if (n_left > n_shown) {
        fprintf(stderr, "... and %zu more\033[K\n", n_left - n_shown);
        progress->n_drawn++;
    }
    (void)fflush(stderr);
}

static void progress_clear(struct progress *progress)
{
    progress_erase(progress);
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
        progress_erase(&follower->progress);
        fputs(buf_str(&out), stderr);
    }
}

static void report_end(
    struct follower *follower, const struct follow_target *target, const struct vm_record *record)
{
    struct cli *cli = follower->cli;
    bool is_of_ready = goal_resolve(&target->goal, record).kind == GOAL_READY;
    progress_erase(&follower->progress);
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
        progress_erase(&follower->progress);
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
    progress_draw(&follower->progress);
    return *ret_is_done ? exit_status(follower) : 0;
}

/* ---- endings ---- */

static void report_interrupt(void *context)
{
    struct follower *follower = context;
    const struct follow_target *target = follower->targets;
    progress_erase(&follower->progress);
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
    progress_erase(&follower->progress);
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
    const char *term = getenv("TERM");
    follower.progress = (struct progress){
        .cli = cli,
        .is_live = isatty(STDERR_FILENO) && term && !text_eq(term, "dumb"),
        .started_ms = clock_monotonic_ms(clock_system()),
        .lines = mem_calloc(count, sizeof(*follower.progress.lines)),
        .count = count,
    };
    for (size_t i = 0; i < count; i++) {
        follower.progress.lines[i].name = targets[i].name;
    }
    int rc = wait_loop_run(&follower.loop, err);
    progress_clear(&follower.progress);
    wait_loop_close(&follower.loop);
    put_results(&follower);
    return rc;
}
