/* SPDX-License-Identifier: MPL-2.0 */
/* The QEMU backend's handle of one VM, shared by the files that make up its machine_ops. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "reconcilers/backend/backend.h"
#include "specs/base/json.h"
#include "specs/base/text.h"
#include "specs/vm/vm_spec.h"

struct agent_watch;
struct buf;
struct loop_timer;
struct monitor;
struct process;
struct share_watch;
struct spawned;

/* Of `cpu-limit` and `memory-limit`. MACHINE_LIMIT_UNKNOWN: an earlier controller may have set one.
 */
enum machine_limit_state { MACHINE_LIMIT_UNKNOWN, MACHINE_UNLIMITED, MACHINE_LIMITED };

/* Bytes of console.log (specs/base/log_file.h); it may have more until the next look. */
enum { CONSOLE_LOG_MAX = 8 << 20 };

struct machine {
    struct reconciler_host *host; /* borrowed: outlives all machines */
    char *vm_name;
    char *lock_path;
    char *control_path;
    char *log_path;
    void (*changed)(void *context);
    void *context;

    struct process *process; /* the instance's, once found; NULL unknown */
    char process_instance_id[TEXT_ID_SIZE];
    int exit_status; /* of `process`, -1 unknown */
    int start_pipe;  /* our child waits at its other end; -1: none does */
    /* Of each of its networks; NULL: that was no project network yet. */
    struct switch_link *networks[NETWORKS_MAX];
    struct share_watch *shares; /* as `monitor` */
    struct monitor *monitor;    /* NULL: no process, or it does not run QEMU yet */
    struct agent_watch *agent;  /* as `monitor` */
    enum machine_limit_state limit_state;
    bool has_group;         /* … in a control group, which may be left of it */
    char *limit_fault;      /* why the limits are not enforced; NULL: they are */
    char *told_fault;       /* the same in the facts of a pass, which may set limits */
    bool is_unthrottled;    /* none of its disks has an `io-limit`, as this controller knows */
    bool is_output_read;    /* last_output is set from the end of qemu.log, and oom_kill is known */
    enum oom_kill oom_kill; /* of the last instance, until its end is recorded */
    char *last_output;
    struct loop_timer *log_timer; /* while there is a monitor */
    struct op *rotation;          /* of the logs; NULL: none is under way */
};

extern const struct machine_ops qemu_machine_ops;

/* Takes over the process that a launch created; consumes `spawned`. */
int machine_take_child(struct machine *machine, const char *instance_id,
    struct spawned *spawned_take, struct error *err);

/* Returns the node of that name in the reply to query-named-block-nodes; NULL: none. Borrowed. */
const json_t *machine_find_node(const json_t *nodes, const char *name);
/* Removes the bitmaps of backups that a killed QEMU left inconsistent in that node: they are
 * useless, and a disk with one cannot be resized. Sent before any later command. */
void machine_drop_bitmaps(struct machine *machine, const json_t *node);

/* limits.c: gives the machine's processes the limits of the spec, or takes ours away, as far as
 * this host lets vmctld; may be done twice. `pid`: of QEMU, or of what becomes it. */
void machine_limit(struct machine *machine, const struct vm_spec *spec, const char *uid, pid_t pid);
/* Reads whether the kernel killed the instance that has ended for lack of memory … */
void machine_find_oom_kill(struct machine *machine, const struct vm_env *env);
/* … and removes that from the host, once it is recorded. */
void machine_forget_oom_kill(struct machine *machine, const char *uid);
/* Removes what is left of the control groups of machines that have ended. */
void machine_sweep_limits(const struct machine *machine);

/*
 * Gives the disks of the machine the `io-limit` of its spec over QMP: its disk, its volumes and its
 * further disks share one group of QEMU's, so that the numbers are those of the VM. It asks what
 * each has and sets only what differs, so a controller killed in the middle resumes, and a second
 * call does nothing. Without a limit it removes only vmctl's own: limits set over the machine's QMP
 * socket stay. Appends a text of the changes to `changes`, which must live as long. Errors:
 * ERR_QMP_COMMAND with QEMU's message, ERR_TIMEOUT, ERR_QMP_CONNECT; NULL: at once.
 */
struct op *machine_throttle(struct machine *machine, const struct spec_io_limit *limit,
    struct buf *changes, op_done_fn *done, void *context, struct error *err);

/* The operations, each in a file of its own. */
struct op *machine_launch(struct machine *machine, const struct vm_env *env,
    struct vm_instance *instance, op_done_fn *done, void *context);
struct op *machine_freeze(
    struct machine *machine, const struct vm_env *env, op_done_fn *done, void *context);
struct op *machine_save(
    struct machine *machine, const struct vm_env *env, op_done_fn *done, void *context);
struct op *machine_load(
    struct machine *machine, const struct vm_env *env, op_done_fn *done, void *context);
struct op *machine_thaw(
    struct machine *machine, const struct vm_env *env, op_done_fn *done, void *context);
struct op *machine_set_clock(struct machine *machine, const struct vm_env *env,
    struct clock_result *result, op_done_fn *done, void *context);
char *machine_memory_host(const struct reconciler_host *host);
struct op *machine_snapshot(struct machine *machine, const struct vm_env *env,
    const struct snapshot_order *order, struct snapshot_made *result, op_done_fn *done,
    void *context);
struct op *machine_boot(struct machine *machine, const struct vm_env *env,
    struct boot_result *result, op_done_fn *done, void *context);
