/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl controller: vmctld by hand. Other commands start it by themselves. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/request/targets.h"
#include "cli/show/output.h"
#include "cli/wait/controller_process.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

static int run_in_foreground(struct cli *cli, struct error *err)
{
    cleanup_free char *program = cli_controller_program();
    char *const argv[] = {program, mem_strdup("--foreground"), mem_strdup("--data-dir"),
        mem_strdup(cli->paths.data_dir), NULL};
    (void)execv(program, argv);
    (void)error_set_errno(err, ERR_CONTROLLER, errno, "cannot run '%s'", program);
    for (size_t i = 1; argv[i]; i++) {
        free(argv[i]);
    }
    return error_help(err, "install vmctld beside vmctl");
}

static int controller_start_now(struct cli *cli, struct error *err)
{
    int rc = cli_ensure_controller(cli, err);
    if (rc == 0) {
        puts("controller: running");
    }
    return rc;
}

static int stop(struct cli *cli, struct error *err)
{
    int rc = controller_end(cli, err);
    if (rc == 0) {
        puts("controller: stopped");
    }
    return rc;
}

static void print_status(
    const struct cli *cli, const struct controller_process *process, size_t n_vms)
{
    static const char *const words[] = {
        [CONTROLLER_NONE] = "not running",
        [CONTROLLER_SERVES] = "running",
        [CONTROLLER_CHANGING] = "starting or ending",
        [CONTROLLER_ELSEWHERE] = "running in another PID namespace",
    };
    char age[DURATION_SIZE];
    printf("controller: %s\n",
        process->is_halted ? "halted (SIGSTOP or a debugger)" : words[process->state]);
    if (process->pid) {
        duration_format(clock_wall_ms(clock_system()) - process->started_ms, age);
        printf("pid:        %d\nversion:    %s\nage:        %s\n", (int)process->pid,
            process->version, age);
    }
    printf("data dir:   %s\nVMs:        %zu\n", cli->paths.data_dir, n_vms);
}

static bool is_at_work(const struct controller_process *process)
{
    return process->state == CONTROLLER_SERVES && !process->is_halted;
}

static void controller_print_data(
    const struct cli *cli, const struct controller_process *process, size_t n_vms)
{
    cleanup_json json_t *json = json_object();
    json_put_flag(json, "running", is_at_work(process));
    json_put_flag(json, "halted", process->is_halted);
    if (process->pid) {
        json_put_int(json, "pid", process->pid);
        json_put_text(json, "version", process->version);
        json_put_int(json, "startedAt", process->started_ms);
    }
    json_put_text(json, "dataDir", cli->paths.data_dir);
    json_put_int(json, "vms", (json_int_t)n_vms);
    output_print(cli, json);
}

static int show(struct cli *cli, struct error *err)
{
    struct controller_process process;
    cleanup_with(strings_clear) struct strings vms = {.count = 0};
    int rc = controller_find(cli, &process, err);
    if (rc < 0 || (rc = targets_of_store(cli, &vms, err)) < 0) {
        return rc;
    }
    (output_is_data(cli) ? controller_print_data : print_status)(cli, &process, vms.count);
    if (process.is_halted) {
        cli_note(cli, "it is stopped (SIGSTOP); resume it: kill -CONT %d", (int)process.pid);
    }
    return is_at_work(&process) ? 0 : 1;
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    static const struct {
        const char *word;
        int (*run)(struct cli *cli, struct error *err);
    } verbs[] = {{"run", run_in_foreground}, {"start", controller_start_now}, {"stop", stop},
        {"status", show}};
    (void)values;
    for (size_t i = 0; words->count == 1 && i < ARRAY_LEN(verbs); i++) {
        if (text_eq(verbs[i].word, words->items[0])) {
            return verbs[i].run(cli, err);
        }
    }
    return error_set(err, ERR_USAGE, "controller needs one of: run, start, stop, status");
}

const struct command command_controller = {
    .name = "controller",
    .summary = "Run, start, stop or check the controller",
    .usage = "run|start|stop|status",
    .details = "vmctld makes the VMs what they should be. Every command that needs it starts it,\n"
               "so this is for service managers (run) and for looking. Stopping it leaves the\n"
               "VMs running; the next one takes them over. status ends with 1 when none runs, or\n"
               "when it was halted (SIGSTOP).",
    .examples = "  vmctl controller status",
    .run = run,
};
