/* SPDX-License-Identifier: MPL-2.0 */
/* `cpu-limit` and `memory-limit`: the control group of a machine's processes. */
#include <stdlib.h>

#include "reconcilers/backend/qemu/machine.h"
#include "specs/base/cleanup.h"
#include "specs/base/control_group.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"

static bool has_limits(const struct group_limits *limits)
{
    return limits->cpu_milli > 0 || limits->memory_mib > 0;
}

static int set_limits(const struct machine *machine, const char *group, const char *uid, pid_t pid,
    const struct group_limits *limits, struct error *err)
{
    cleanup_free char *name = mem_printf(CONTROL_GROUP_MACHINE "%s", uid);
    cleanup_free char *kept = paths_path(machine->host->paths, "killed");
    control_group_remove(group, kept, name);
    control_group_sweep(group);
    return has_limits(limits) ? control_group_limit(group, name, pid, limits, err)
                              : control_group_release(group, name, err);
}

void machine_limit(struct machine *machine, const struct vm_spec *spec, const char *uid, pid_t pid)
{
    const struct group_limits limits = {spec->cpu_limit_milli, spec->memory_limit_mib};
    struct error err = {.code = ERR_NONE};
    if (!has_limits(&limits) && machine->limit_state == MACHINE_UNLIMITED) {
        return;
    }
    cleanup_free char *group = control_group_find("/proc", 0, &err);
    machine->has_group |= group != NULL;
    int rc = group ? set_limits(machine, group, uid, pid, &limits, &err) : -1;
    bool has_failed = rc < 0 && has_limits(&limits);
    const char *help = error_help_text(&err);
    free(machine->limit_fault);
    machine->limit_fault =
        has_failed ? mem_printf("%s%s%s", err.message, help[0] ? ": " : "", help) : NULL;
    machine->limit_state = !has_limits(&limits) ? MACHINE_UNLIMITED : MACHINE_LIMITED;
}

static bool is_limited(const struct vm_spec *spec)
{
    return spec &&
           has_limits(&(struct group_limits){spec->cpu_limit_milli, spec->memory_limit_mib});
}

/* Once an instance; what it finds stays in the group until the exit is committed, because vmctld
 * may be killed before. */
void machine_find_oom_kill(struct machine *machine, const struct vm_env *env)
{
    struct error ignored = {.code = ERR_NONE};
    machine->oom_kill = OOM_KILL_NONE;
    if (env->status->instance.pid > 0 && is_limited(vm_status_running_spec(env->status))) {
        cleanup_free char *group = control_group_find("/proc", 0, &ignored);
        cleanup_free char *name = mem_printf(CONTROL_GROUP_MACHINE "%s", env->uid);
        cleanup_free char *kept = paths_path(machine->host->paths, "killed");
        machine->oom_kill = group ? control_group_oom_kill(group, kept, name) : OOM_KILL_NONE;
    }
}

void machine_forget_oom_kill(struct machine *machine, const char *uid)
{
    struct error ignored = {.code = ERR_NONE};
    cleanup_free char *group = control_group_find("/proc", 0, &ignored);
    cleanup_free char *name = mem_printf(CONTROL_GROUP_MACHINE "%s", uid);
    cleanup_free char *kept = paths_path(machine->host->paths, "killed");
    if (group) {
        control_group_remove(group, kept, name);
    }
    machine->oom_kill = OOM_KILL_NONE;
}

void machine_sweep_limits(const struct machine *machine)
{
    struct error ignored = {.code = ERR_NONE};
    if (machine->has_group) {
        cleanup_free char *group = control_group_find("/proc", 0, &ignored);
        if (group) {
            control_group_sweep(group);
        }
    }
}
