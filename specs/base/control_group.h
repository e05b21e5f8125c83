/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Control groups of version 2 (cgroups(7)): the group that the service manager gave to vmctld
 * ("delegated", systemd.resource-control(5)), and the groups of limited processes below it:
 *
 *   vmctld.service            the service manager's; without processes once a limit was set
 *     vmctld                  vmctld, and all that it starts without a limit
 *     vmctl-UID               a machine with a limit
 *
 * A group with limited children may have no processes, and a service manager starts the next vmctld
 * in just that group: so the limits are lifted when vmctld ends (control_group_lift(), by the
 * unit), and set again by the next one. Everything may be done twice, and continues what was killed
 * halfway. No group here is ever removed with a process in it: the kernel does not do that.
 *
 * The kernel counts in a group whom it killed for lack of memory. The count is lost when the limits
 * are lifted, and the group when systemd then clears the unit: so control_group_lift() writes it to
 * a file in the directory `kept`, for the next vmctld.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

struct error;

#define CONTROL_GROUP_MACHINE "vmctl-" /* what the names of machines' groups begin with */

/* 0: no limit. */
struct group_limits {
    uint32_t cpu_milli; /* thousandths of a CPU */
    uint32_t memory_mib;
};

/* Whether the kernel killed a process of the group because memory was short. */
enum oom_kill {
    OOM_KILL_NONE,
    OOM_KILL_BY_LIMIT, /* the group reached its limit */
    OOM_KILL_BY_HOST,  /* memory was short outside of the group */
};

/*
 * The group that the process `pid` (0: this one) was given, an absolute path; free() it. `proc` is
 * "/proc". NULL, ERR_BACKEND_UNAVAILABLE: limits cannot be enforced by such a process, with the
 * cause and what to do.
 */
char *control_group_find(const char *proc, pid_t pid, struct error *err);

/* Moves the session's leader and its other members, where that is, into the child group `name`,
 * which is made, with these limits. What else `group` has of processes goes to "vmctld". ERR_IO. */
int control_group_limit(const char *group, const char *name, pid_t session,
    const struct group_limits *limits, struct error *err);

/* Sets no limits to what is in that child, if it is there. */
int control_group_release(const char *group, const char *name, struct error *err);

/* Takes the limits away, so that the group may have processes; its children keep theirs. In `kept`
 * are then the kills that control_group_remove() has not forgotten, and none of the time before the
 * last call. NULL: they are not kept. */
int control_group_lift(const char *group, const char *kept, struct error *err);

/* What was killed in that child since it was made, or before the limits were lifted. */
enum oom_kill control_group_oom_kill(const char *group, const char *kept, const char *name);

/* Removes that child if it has no processes, and what was kept of it. Call it for one that is to be
 * used again, too: what was killed in it before does not count. */
void control_group_remove(const char *group, const char *kept, const char *name);

/* Removes the child groups of machines that have no process any more, unless one was killed there:
 * those stay until control_group_remove(). */
void control_group_sweep(const char *group);
