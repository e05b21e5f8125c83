/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl run: a command in a VM made for it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/guest/ssh_login.h"
#include "cli/guest/work_tree.h"
#include "cli/options.h"
#include "cli/request/matrix.h"
#include "cli/request/project.h"
#include "cli/request/vm_request.h"
#include "cli/request/run_vms.h"
#include "cli/request/shares.h"
#include "cli/show/describe.h"
#include "cli/show/junit.h"
#include "cli/wait/wakeup.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/owner_lock.h"
#include "specs/base/text.h"

struct run_values {
    struct which_values which;
    struct follow_values follow;
    const char *user;
    const char *key;
    struct arg_strings shares;
    struct arg_strings matrix;
    const char *junit;
    bool removes;
    bool is_cold;
    bool keeps_failed;
    bool keeps_ports;
    bool wants_terminal;
    bool syncs;
};

static const struct arg_option options[] = {
    OPTION_FILE(struct run_values, 'f'),
    {"name", 0, ARG_REPEATED, offsetof(struct run_values, which.names), "VM",
        "VM of the VMFile, if it has several"},
    {"rm", 0, ARG_FLAG, offsetof(struct run_values, removes), NULL,
        "destroy the VM at the end, even on failure"},
    {"cold", 0, ARG_FLAG, offsetof(struct run_values, is_cold), NULL,
        "create its disk from the image, not from a template (`warm`)"},
    {"keep-on-failure", 0, ARG_FLAG, offsetof(struct run_values, keeps_failed), NULL,
        "with --rm: keep the VM when the command fails"},
    {"service-ports", 0, ARG_FLAG, offsetof(struct run_values, keeps_ports), NULL,
        "use the VMFile's host ports, not free ones"},
    {"sync", 0, ARG_FLAG, offsetof(struct run_values, syncs), NULL,
        "run the command in a copy of the current directory, and copy back what it changed"},
    {"matrix", 0, ARG_REPEATED, offsetof(struct run_values, matrix), "NAME=VALUE,...",
        "run once per value of a variable, as with --set; may be repeated"},
    {"junit", 0, ARG_TEXT, offsetof(struct run_values, junit), "FILE",
        "write the results of steps and command to FILE, as JUnit XML"},
    OPTION_SHARE(struct run_values),
    {"user", 'u', ARG_TEXT, offsetof(struct run_values, user), "USER",
        "the guest's user [default: the VMFile's, vm]"},
    {"key", 'i', ARG_TEXT, offsetof(struct run_values, key), "PATH", "private key to try first"},
    {"tty", 't', ARG_FLAG, offsetof(struct run_values, wants_terminal), NULL,
        "allocate a terminal, even if stdin or stdout is not one"},
    {"timeout", 0, ARG_DURATION, offsetof(struct run_values, follow.timeout_ms), "DURATION",
        "how long to wait for the VM to be ready [default: 10m]"},
    OPTIONS_END,
};

static const struct run_values defaults = {.follow.timeout_ms = FOLLOW_TIMEOUT_MS};

/* One job. */
struct job {
    struct cli *cli;
    const struct run_values *values;
    const char *const *words; /* the command */
    size_t n_words;
    struct project project;
    char *name; /* in the VMFile */
    struct run_vms vms;
    struct wakeup
        wakeup;     /* from the first change to the last, a signal ends the job, not the process */
    uint64_t owner; /* 0: the VMs stay */
    int owner_fd;
    bool is_begun;     /* the VMs are, or may be, in the store */
    bool holds_result; /* --sync: what the command made is in the VM alone */
    struct junit_suite report;
};

static void job_clear(struct job *job)
{
    wakeup_close(&job->wakeup);
    run_vms_clear(&job->vms);
    project_clear(&job->project);
    buf_clear(&job->report.cases);
    free(TAKE_PTR(job->name));
    cleanup_close_(&job->owner_fd); /* last: VMs that are left are destroyed now */
}

/* ---- what is meant ---- */

static int find_command(struct job *job, const struct arg_strings *words, struct error *err)
{
    size_t n_before = words->n_before_dashes;
    if (n_before > 1 || words->count == n_before) {
        (void)error_set(err, ERR_USAGE, "run needs a command after `--`%s",
            n_before > 1 ? ", and at most one VMFile before it" : "");
        return error_help(err, "such as: vmctl run --rm -- make test");
    }
    job->words = words->items + n_before;
    job->n_words = words->count - n_before;
    return 0;
}

static int find_vm(struct job *job, const struct arg_strings *words, struct error *err)
{
    const struct which_values *which = &job->values->which;
    const char *word = words->n_before_dashes > 0 ? words->items[0] : NULL;
    cleanup_with(strings_clear) struct strings targets = {.count = 0};
    const struct arg_strings none = {.count = 0};
    const struct arg_strings first = {.items = words->items, .count = 1};
    if (word && which->files.count > 0) {
        return error_set(err, ERR_USAGE, "the VMFile is given twice: '%s' and '%s'",
            which->files.items[0], word);
    }
    int rc = project_load(job->cli, word ? &first : &which->files, &job->project, err);
    if (rc == -ERR_VMFILE_NOT_FOUND && word) {
        return error_help(err, "the argument before `--` is the VMFile; select its VM with --name");
    }
    if (rc != 0 || (rc = targets_of_project(&job->project, which, &none, &targets, err)) < 0) {
        return rc;
    }
    if (targets.count > 1) {
        const struct vmfile *file = job->project.file;
        (void)error_set(err, ERR_USAGE, "'%s' has %zu VMs", job->project.path, file->n_vms);
        return error_help(err, "choose one: --name %s", file->vms[0]->name);
    }
    job->name = mem_strdup(targets.items[0]);
    return 0;
}

/* ---- the VM ---- */

/* stdout is the command's. */
static void report_created(const struct cli *cli, const struct request *request, size_t i)
{
    const struct vm_spec *spec = request->changes[i].spec;
    cli_note(cli, "%s: created", spec->name);
    for (size_t j = 0; j < spec->network.n_forwards; j++) {
        const struct spec_forward *forward = &spec->network.forwards[j];
        cli_note(cli, "%s: %s:%u -> %u/%s", spec->name, forward_address(forward),
            forward->host_port, forward->guest_port, forward_protocol_name(forward->protocol));
    }
    if (spec->vnc.port) {
        cli_note(cli, "%s: its screen is at 127.0.0.1:%u", spec->name, spec->vnc.port);
    }
}

static int bring_up_once(struct job *job, struct error *err)
{
    const struct change pattern = {
        .must_be_new = true,
        .is_cold = job->values->is_cold,
        .owner = job->owner,
        .stands_for = job->name,
        .holds_ports = !job->values->keeps_ports,
        .sets_power = true,
        .power = POWER_RUNNING,
        .provision = PROVISION_ON_START,
    };
    cleanup_with(vm_request_clear) struct request request = {
        .goal.kind = GOAL_READY,
        .shows_provision = true,
        .is_for_us = job->owner != 0,
        .report = report_created,
    };
    vm_request_init(&request, &job->vms.names, &pattern);
    for (size_t i = 0; i < request.count; i++) {
        request.changes[i].spec = job->vms.specs[i];
    }
    job->is_begun = true;
    return vm_request_run(job->cli, &request, &job->values->follow, err);
}

/* Four digits are easy to type; when another job has the same ones, or one of the ports, others are
 * tried. */
static int bring_up(struct job *job, struct error *err)
{
    enum { TRIES = 20 };
    int rc = 0;
    for (int i = 0; i < TRIES; i++) {
        uint16_t rng = 0;
        char suffix[sizeof("run-ffff")];
        (void)!getrandom(&rng, sizeof(rng), 0);
        (void)snprintf(suffix, sizeof(suffix), "run-%04x", rng);
        run_vms_clear(&job->vms);
        error_clear(err);
        rc = run_vms_make(
            &job->project, job->name, suffix, job->values->keeps_ports, &job->vms, err);
        if (rc == 0) { /* the first is the VM itself, the others what it depends on */
            rc = shares_add(job->vms.specs[0], &job->values->shares, err);
        }
        if (rc == 0) {
            rc = bring_up_once(job, err);
        }
        if (rc != -ERR_VM_CONFLICT) {
            return rc;
        }
        job->is_begun = false; /* a conflict means that nothing was written */
    }
    return rc;
}

static int run_command(struct job *job, struct error *err)
{
    bool syncs = job->values->syncs;
    cleanup_buf struct buf line = BUF_INIT(0);
    ssh_login_quote(&line, job->words, job->n_words);
    cleanup_free char *command =
        mem_printf("%s%s", syncs ? "cd " WORK_TREE " && " : "", buf_str(&line));
    const char *words[] = {command};
    const struct ssh_call call = {
        .vm_name = job->vms.names.items[0],
        .user = job->values->user,
        .key = job->values->key,
        .wants_terminal =
            job->values->wants_terminal || (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)),
        .words = words,
        .n_words = 1,
    };
    int rc = syncs ? work_tree_push(job->cli, &call, &job->wakeup, err) : 0;
    if (rc == 0) {
        rc = ssh_login_run(job->cli, &call, &job->wakeup, err);
    }
    if (rc == 0 && syncs) {
        rc = work_tree_pull(job->cli, &call, &job->wakeup, err);
        job->holds_result = rc != 0;
    }
    return rc;
}

/* ---- what became of it ---- */

static void report(
    struct job *job, const char *name, int64_t began_ms, int status, const struct error *err)
{
    cleanup_free char *message =
        status < 0 ? mem_strdup(err->message) : mem_printf("exit status %d", status);
    junit_add(&job->report, &(struct junit_case){.name = name,
                                .took_ms = clock_monotonic_ms(clock_system()) - began_ms,
                                .result = status == 0  ? JUNIT_PASSED
                                          : status < 0 ? JUNIT_ERROR
                                                       : JUNIT_FAILED,
                                .message = message});
}

/* The steps that have run, each by its own time; nothing of them once the VM is gone. */
static void report_steps(struct job *job)
{
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    struct error ignored = {.code = ERR_NONE};
    if (job->vms.names.count == 0 ||
        store_get(job->cli->store, job->vms.names.items[0], &record, &ignored) < 0 ||
        !record.desired || !record.status) {
        return;
    }
    const struct vm_provision *provision = &record.status->provision;
    for (uint32_t i = 0; i < provision->n_steps && i < record.desired->spec->n_steps; i++) {
        const struct vm_step_record *step = &provision->steps[i];
        cleanup_buf struct buf name = BUF_INIT(0);
        buf_printf(&name, "step %u: ", i + 1);
        describe_add_step(&name, &record.desired->spec->steps[i]);
        cleanup_free char *message = step->outcome == STEP_FAILED
                                         ? mem_printf("exit status %d", step->exit_status)
                                         : mem_strdup(step_outcome_name(step->outcome));
        if (step->outcome != STEP_NOT_RUN) {
            junit_add(&job->report,
                &(struct junit_case){.name = buf_str(&name),
                    .took_ms = step->duration_ms,
                    .result = step->outcome == STEP_DONE ? JUNIT_PASSED : JUNIT_FAILED,
                    .message = message});
        }
    }
}

/* ---- the end ---- */

static int keep(struct job *job, struct error *err)
{
    static const struct change pattern = {.disowns = true};
    cleanup_with(vm_request_clear) struct request request = {.count = 0};
    vm_request_init(&request, &job->vms.names, &pattern);
    return change_apply(job->cli->store, request.changes, request.count, request.outcomes, err);
}

static int destroy(struct job *job, struct error *err)
{
    static const struct change pattern = {.deletes = true};
    const struct follow_values follow = {.timeout_ms = FOLLOW_TIMEOUT_MS};
    cleanup_with(vm_request_clear) struct request request = {
        .goal.kind = GOAL_DELETED, .is_for_us = true};
    vm_request_init(&request, &job->vms.names, &pattern);
    int rc = vm_request_run(job->cli, &request, &follow, err);
    if (rc == 0) {
        for (size_t i = 0; i < job->vms.names.count; i++) {
            cli_note(job->cli, "%s: destroyed", job->vms.names.items[i]);
        }
    }
    return rc;
}

static bool is_of_signal(int status)
{
    return status == wakeup_exit_status(SIGINT) || status == wakeup_exit_status(SIGTERM) ||
           status == wakeup_exit_status(SIGHUP);
}

/* Another command may have destroyed the VM already. A VM that cannot be destroyed turns success
 * into failure and leaves any other status as it is. */
static int run_finish(struct job *job, int status)
{
    struct error err = {.code = ERR_NONE};
    bool is_signalled = is_of_signal(status);
    bool is_worth_it = job->holds_result || (job->values->keeps_failed && status != 0);
    bool keeps = !job->owner || (is_worth_it && !is_signalled);
    int rc = 0;
    if (!keeps) {
        rc = destroy(job, &err);
    } else if (job->owner) {
        rc = keep(job, &err);
    }
    if (rc == -ERR_VM_NOT_FOUND) {
        return status;
    }
    if (rc < 0) {
        cli_print_error(job->cli, &err);
        rc = error_exit_status(err.code);
    } else if (keeps) {
        cli_note(job->cli, "%s: kept; to destroy it: vmctl destroy %s", job->vms.names.items[0],
            job->vms.names.items[0]);
    }
    return status != 0 ? status : rc;
}

static int carry_out(struct job *job, struct error *err)
{
    struct cli *cli = job->cli;
    int rc =
        job->values->removes ? owner_lock_take(&cli->paths, &job->owner, &job->owner_fd, err) : 0;
    if (rc < 0 || (rc = cli_open_store(cli, err)) < 0) {
        return rc;
    }
    int64_t began_ms = clock_monotonic_ms(clock_system());
    wakeup_open(&job->wakeup, &cli->paths);
    rc = bring_up(job, err);
    report_steps(job);
    report(job, "ready", began_ms, rc, err);
    if (rc == 0) {
        cleanup_buf struct buf line = BUF_INIT(0);
        began_ms = clock_monotonic_ms(clock_system());
        ssh_login_quote(&line, job->words, job->n_words);
        rc = run_command(job, err);
        report(job, buf_str(&line), began_ms, rc, err);
    }
    if (rc < 0) {
        cli_print_error(cli, err);
        rc = error_exit_status(err->code);
    }
    return job->is_begun ? run_finish(job, rc) : rc;
}

/* One combination of the matrix. */
static int run_job(struct cli *cli, const struct run_values *values,
    const struct arg_strings *words, const char *title, struct buf *reports, struct error *err)
{
    cleanup_with(job_clear) struct job job = {.cli = cli,
        .values = values,
        .owner_fd = -1,
        .wakeup = {.bell = {.fd = -1, .armed = -1}, .signal_fd = -1, .process_fd = -1}};
    int rc = find_command(&job, words, err);
    if (rc == 0 && values->syncs) {
        rc = work_tree_check(err);
    }
    if (rc < 0 || (rc = find_vm(&job, words, err)) != 0) {
        job.report.name = title[0] ? title : "run";
        report(&job, "begin", clock_monotonic_ms(clock_system()), rc, err);
        junit_end_suite(reports, &job.report);
        return rc;
    }
    cleanup_free char *name = mem_printf("%s%s%s", job.name, title[0] ? " " : "", title);
    job.report.name = name;
    rc = carry_out(&job, err);
    junit_end_suite(reports, &job.report);
    return rc;
}

/* All of them, whatever becomes of one; the first that failed gives the status. */
static int run_matrix(struct cli *cli, const struct run_values *values,
    const struct arg_strings *words, struct buf *reports, struct error *err)
{
    cleanup_with(matrix_clear) struct matrix matrix = {.n = 0};
    int rc = matrix_parse(&values->matrix, &matrix, err), status = 0;
    size_t n_given = cli->given.count;
    for (size_t i = 0; rc >= 0 && !is_of_signal(rc) && i < matrix_count(&matrix); i++) {
        matrix_choose(&matrix, i, &cli->given);
        cleanup_buf struct buf title = BUF_INIT(0);
        for (size_t k = n_given; k < cli->given.count; k++) {
            buf_printf(&title, "%s%s", k > n_given ? " " : "", cli->given.items[k]);
        }
        rc = run_job(cli, values, words, buf_str(&title), reports, err);
        if (matrix_count(&matrix) > 1 && rc >= 0) {
            cli_note(
                cli, "%s: %s%d", buf_str(&title), rc ? "failed with " : "done, exit status ", rc);
        }
        status = status ? status : rc;
        while (cli->given.count > n_given) {
            free(cli->given.items[--cli->given.count]);
        }
    }
    return rc < 0 ? rc : status;
}

static int run(
    struct cli *cli, const void *untyped, const struct arg_strings *words, struct error *err)
{
    const struct run_values *values = untyped;
    cleanup_buf struct buf reports = BUF_INIT(0);
    struct error unwritten = {.code = ERR_NONE};
    if (values->key && access(values->key, R_OK) < 0) { /* before a VM is made for it */
        return error_set_errno(
            err, ERR_KEY_UNREADABLE, errno, "cannot read the key '%s'", values->key);
    }
    if (values->junit && junit_write(values->junit, &reports, err) < 0) { /* the same */
        return -(int)err->code;
    }
    int status = run_matrix(cli, values, words, &reports, err);
    if (values->junit && junit_write(values->junit, &reports, &unwritten) < 0) {
        cli_print_error(cli, &unwritten);
        status = status ? status : error_exit_status(unwritten.code);
    }
    return status;
}

const struct command command_run = {
    .name = "run",
    .summary = "Run a command in a VM created for it",
    .usage = "[OPTIONS] [FILE] -- COMMAND [ARGS...]",
    .details =
        "Creates a VM like the VMFile's under a name of its own (web-run-a1b2), so that any\n"
        "number of jobs can run at once, brings it up with the VMs it depends on, and runs the\n"
        "command in it. Forwards use free host ports, which it prints, unless --service-ports\n"
        "selects those of the VMFile. Exits with the command's status, or with 255 if the\n"
        "connection failed. Only the command's output goes to stdout. With --rm the VM is\n"
        "destroyed at the end, also on Ctrl-C, SIGTERM and SIGHUP; the controller destroys it if\n"
        "vmctl itself is killed.\n"
        "\n"
        "With --sync the command runs in ~/work in the guest, a copy of the current directory. If\n"
        "it succeeds, new and changed files are copied back and listed; no file here is deleted,\n"
        "and newer files here stay. If copying back fails, the VM and the result in it are kept,\n"
        "even with --rm. Both sides need rsync.\n"
        "\n"
        "With --matrix it runs once for each combination of the values, one after the other; the\n"
        "exit status is that of the first failure, and the others still run. --junit writes a\n"
        "file for CI servers: a suite per run, with a test for each provision step, for the VM's\n"
        "readiness and for the command.",
    .examples = "  vmctl run --rm -- uname -a\n"
                "  vmctl run --rm --matrix tag=12,13 --junit result.xml -- make test\n"
                "  vmctl run --rm --sync -- make test\n"
                "  vmctl run --rm ci/VMFile.kdl -- sh -c 'cd /tmp && make test'\n"
                "  tar -c . | vmctl run --rm --name web -- tar -tv",
    .options = options,
    .values_size = sizeof(struct run_values),
    .defaults = &defaults,
    .run = run,
};
