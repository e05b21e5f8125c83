/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl provision: runs the provision steps of running VMs again. */
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/guest/ssh_login.h"
#include "cli/options.h"
#include "cli/request/project_request.h"
#include "cli/request/targets.h"
#include "cli/wait/wakeup.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/vm/vm_status.h"

static const struct arg_option options[] = {
    OPTION_FILE(struct project_values, 'f'),
    OPTION_NAME(struct project_values),
    {"from", 0, ARG_NUMBER, offsetof(struct project_values, from), "STEP",
        "start with this step (the first is 1); it runs regardless of its `run`"},
    {"shell", 0, ARG_FLAG, offsetof(struct project_values, opens_shell), NULL,
        "when a step fails, open a shell in the guest (of one VM)"},
    OPTIONS_FOLLOW(struct project_values),
    OPTIONS_END,
};

/* The VM has to run, and to have the step that --from names. */
static int check(const struct cli *cli, const struct vm_record *record, const struct change *change,
    struct error *err)
{
    const struct vm_desired *desired = record->desired;
    size_t n_steps = change->spec->n_steps;
    if (!desired) {
        (void)error_set(err, ERR_VM_NOT_FOUND, "vm '%s' does not exist yet", change->name);
        return error_help(err, "bring it up first: vmctl up --name %s", change->name);
    }
    if (desired->power != POWER_RUNNING) {
        (void)error_set(err, ERR_VM_INVALID_STATE, "vm '%s' is %s: provisioning needs it running",
            change->name, power_name(desired->power));
        return error_help(err, "bring it up first: vmctl up --name %s", change->name);
    }
    if (change->provision_from > n_steps) {
        (void)error_set(err, ERR_USAGE, "vm '%s' has %zu provision step%s, no step %u",
            change->name, n_steps, n_steps == 1 ? "" : "s", change->provision_from);
        return error_help(err, "list them: vmctl describe %s", change->name);
    }
    if (n_steps == 0) {
        cli_note(cli, "note: vm '%s' has no provision steps", change->name);
    }
    return 0;
}

static const struct project_action provision = {
    .retries = true,
    .provision = PROVISION_AGAIN,
    .goal = {.kind = GOAL_PROVISIONED},
    .done = "provisioned",
    .check = check,
};

/* As the user the steps are run by, in the same directory. What it ends with says nothing of them.
 */
static void open_shell(struct cli *cli, const char *vm_name)
{
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    struct error err = {.code = ERR_NONE};
    int rc = store_get(cli->store, vm_name, &record, &err);
    if (rc == 0 && record.status && record.status->provision.is_failed) {
        const struct ssh_call call = {.vm_name = vm_name, .wants_terminal = true};
        unsigned step = record.status->provision.next_step + 1;
        struct wakeup wakeup;
        cli_note(cli, "%s: a shell where step %u failed; then: vmctl provision --name %s --from %u",
            vm_name, step, vm_name, step);
        wakeup_open(&wakeup, &cli->paths);
        rc = ssh_login_run(cli, &call, &wakeup, &err);
        wakeup_close(&wakeup);
    }
    if (rc < 0) {
        cli_print_error(cli, &err);
    }
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct project_values *project = values;
    size_t n_names = words->count + project->which.names.count;
    cleanup_free char *name = NULL;
    if (project->opens_shell && (n_names > 1 || project->follow.is_detached)) {
        return error_set(err, ERR_USAGE, "--shell takes one VM, and excludes --detach");
    }
    int rc = project->opens_shell ? targets_find_one(cli, &project->which,
                                        words->count ? words->items[0] : NULL, &name, err)
                                  : 0;
    rc = rc == 0 ? project_request_run(cli, &provision, values, words, err) : rc;
    if (rc > 0 && name) {
        open_shell(cli, name);
    }
    return rc;
}

const struct command command_provision = {
    .name = "provision",
    .summary = "Run the provision steps of running VMs again",
    .usage = "[OPTIONS] [VM...]",
    .details =
        "Runs all steps of the VMFile in order and shows their output, which is also kept in the\n"
        "log: vmctl log --provision VM. With --from, earlier steps are skipped as if they had\n"
        "succeeded. With --shell, a step that fails opens a shell in the guest, as its user.",
    .examples = "  vmctl provision\n"
                "  vmctl provision --name web\n"
                "  vmctl provision --name web --from 3 --shell",
    .reach = REACH_FILE,
    .options = options,
    .values_size = sizeof(struct project_values),
    .defaults = &project_defaults,
    .acts = true,
    .run = run,
};
