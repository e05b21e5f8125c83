/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/vm/exit.h"

#include <stdlib.h>
#include <string.h>

#include "controller/queue/backoff.h"
#include "reconcilers/vm/addresses.h"
#include "reconcilers/vm/memory.h"
#include "reconcilers/vm/pass.h"
#include "reconcilers/vm/saved.h"
#include "reconcilers/vm/volumes.h"
#include "reconcilers/trash/trash.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/image/volume_file.h"

/* An instance that ran so long is unrelated to the crashes before it. */
enum { STABLE_MS = 10 * 60 * 1000 };

static enum exit_cause cause_of(const struct pass *pass)
{
    const struct vm_instance *instance = &pass->view->status->instance;
    if (instance->cause != EXIT_NONE) {
        return instance->cause;
    }
    const char *boot_id = clock_boot_id(pass->vm->host->clock);
    if (instance->boot_id[0] && !text_eq(instance->boot_id, boot_id)) {
        return EXIT_HOST_REBOOT;
    }
    enum oom_kill kill = pass->machine.oom_kill;
    enum exit_cause death = kill == OOM_KILL_BY_LIMIT  ? EXIT_OOM_KILLED
                            : kill == OOM_KILL_BY_HOST ? EXIT_HOST_OUT_OF_MEMORY
                                                       : EXIT_PROCESS_DIED;
    if (instance->intent != INTENT_START) {
        return death;
    }
    if (situation_must_be_down(&pass->situation)) {
        /* a start that was called off did not fail */
        return pass->situation.is_halted ? EXIT_HOST_SHUTDOWN : EXIT_BY_USER;
    }
    /* Nor did one whose controller died: its child may never have been released. If there is
     * another cause, the next start fails too. */
    bool is_ours = text_eq(pass->vm->launched_instance_id, instance->instance_id);
    return death != EXIT_PROCESS_DIED ? death : is_ours ? EXIT_START_FAILED : EXIT_NONE;
}

char *exit_oom_kill_help(const char *name, enum exit_cause cause)
{
    const char *what = cause == EXIT_OOM_KILLED           ? "raise `memory-limit`"
                       : cause == EXIT_HOST_OUT_OF_MEMORY ? "free memory on the host,"
                                                          : NULL;
    return what ? mem_printf(
                      "%s or lower `memory` in its VMFile, then: vmctl up --name %s", what, name)
                : NULL;
}

static bool is_failure(enum exit_cause cause)
{
    return cause == EXIT_GUEST_PANIC || cause == EXIT_INTERNAL_ERROR ||
           cause == EXIT_PROCESS_DIED || cause == EXIT_START_FAILED ||
           cause == EXIT_LIVENESS_FAILED || cause == EXIT_SHARE_LOST || cause == EXIT_TPM_LOST ||
           exit_cause_is_oom_kill(cause);
}

void exit_hold(struct pass *pass, enum exit_cause cause)
{
    enum restart_policy policy = pass->view->desired->spec->restart;
    bool is_with_host = cause == EXIT_HOST_SHUTDOWN || cause == EXIT_HOST_REBOOT;
    if ((is_with_host && pass->view->desired->spec->autostart == AUTOSTART_OFF) ||
        (cause == EXIT_GUEST_SHUTDOWN && policy != RESTART_ALWAYS) ||
        (is_failure(cause) && policy == RESTART_NEVER)) {
        pass->patch->status->restart.held_generation = pass->view->desired->generation;
    }
}

/* The wall clock may have been set back since: a time beyond the longest backoff is ignored. */
int64_t exit_backoff_left_ms(const struct pass *pass)
{
    int64_t longest_ms =
        backoff_crash.max_ms + backoff_crash.max_ms * backoff_crash.jitter_percent / 100;
    int64_t left_ms = pass->patch->status->restart.not_before_ms - pass->wall_ms;
    return left_ms > 0 && left_ms <= longest_ms ? left_ms : 0;
}

static void count_exit(struct pass *pass)
{
    struct vm_restart *restart = &pass->patch->status->restart;
    const struct vm_instance *instance = &pass->view->status->instance;
    if (text_eq(restart->last_failed_instance_id, instance->instance_id)) {
        return;
    }
    bool was_stable =
        instance->started_at_ms > 0 && pass->wall_ms - instance->started_at_ms >= STABLE_MS;
    restart->count = was_stable ? 1 : restart->count + 1;
    memcpy(restart->last_failed_instance_id, instance->instance_id, TEXT_ID_SIZE);
    restart->not_before_ms = pass->wall_ms + backoff_delay_ms(&backoff_crash, restart->count,
                                                 pass->vm->host->rng(pass->vm->host));
}

static void exit_report(struct pass *pass, enum exit_cause cause)
{
    const struct backend_words *backend = pass->vm->backend->words;
    const struct {
        enum reason reason;
        const char *text;
    } reports[EXIT_CAUSE_COUNT_] = {
        [EXIT_NONE] = {REASON_PROCESS_EXITED, "the start was interrupted with the controller"},
        [EXIT_BY_USER] = {REASON_STOPPED, "stopped"},
        [EXIT_GUEST_SHUTDOWN] = {REASON_GUEST_SHUTDOWN, "the guest powered itself off"},
        [EXIT_GUEST_PANIC] = {REASON_GUEST_PANICKED, "the guest's kernel panicked"},
        [EXIT_INTERNAL_ERROR] = {REASON_INTERNAL_ERROR, backend->internal_error},
        [EXIT_PROCESS_DIED] = {REASON_PROCESS_EXITED, backend->died},
        [EXIT_START_FAILED] = {REASON_SPAWN_FAILED, backend->not_up},
        [EXIT_HOST_REBOOT] = {REASON_HOST_REBOOTED, "the host was rebooted"},
        [EXIT_HOST_SHUTDOWN] = {REASON_HOST_SHUTDOWN, "shut down with the host"},
        [EXIT_LIVENESS_FAILED] = {REASON_LIVENESS_FAILED,
            "stopped because its `live` probes failed"},
        [EXIT_SHARE_LOST] = {REASON_SHARE_LOST, "stopped to restore its shared folder"},
        [EXIT_TPM_LOST] = {REASON_TPM_LOST, "stopped to restore its TPM"},
        [EXIT_SAVED] = {REASON_SUSPENDED, "its memory is on disk"},
        [EXIT_OOM_KILLED] = {REASON_OOM_KILLED, "the kernel killed it"},
        [EXIT_HOST_OUT_OF_MEMORY] = {REASON_OOM_KILLED, "the kernel killed it"},
    };
    cleanup_free char *help = exit_oom_kill_help(pass->vm->name, cause);
    bool has_more = is_failure(cause) || cause == EXIT_BY_USER || cause == EXIT_HOST_SHUTDOWN;
    const char *last = has_more ? pass->patch->status->restart.last_message : NULL;
    vm_patch_event(pass->patch, is_failure(cause), reports[cause].reason, "%s%s%s%s%s",
        reports[cause].text, last ? ": " : "", last ? last : "", help ? "; " : "",
        help ? help : "");
}

/* During a stop, by this controller's own commands: no guest ran in the machine, or not yet. */
static bool was_cancelled(const struct pass *pass)
{
    return pass->vm->last_command == MACHINE_KILL && pass->situation.stage < STOP_STAGE_KILL;
}

static bool was_empty(const struct pass *pass)
{
    return pass->vm->last_command == MACHINE_QUIT && pass->situation.stage < STOP_STAGE_QUIT;
}

/* The stage at which it stopped, by this controller's own commands: NULL when the controller was
 * restarted since, because it does not know those of the one before. */
static const char *stop_message(const struct pass *pass)
{
    const struct vm *vm = pass->vm;
    const char *const *stops = vm->backend->words->stops;
    return vm->has_guest_left         ? stops[MACHINE_POWERDOWN]
           : vm->last_command_ms == 0 ? NULL
           : was_cancelled(pass)      ? "cancelled before the guest ran"
           : was_empty(pass)          ? "no guest was running in it"
                                      : stops[vm->last_command];
}

static char *oom_kill_message(const struct pass *pass, enum exit_cause cause)
{
    const struct vm_spec *spec = vm_status_running_spec(pass->view->status);
    return cause == EXIT_HOST_OUT_OF_MEMORY ? mem_strdup("the host ran out of memory")
           : spec && spec->memory_limit_mib > 0
               ? mem_printf(
                     "it needed more than its `memory-limit` of %u MiB", spec->memory_limit_mib)
               : mem_strdup("it needed more than its `memory-limit`");
}

/* The machine's last output; that it was silent, when it was given up for that; for a guest that
 * was ended, the message recorded at that decision. */
static const char *last_message(const struct pass *pass, enum exit_cause cause)
{
    const char *output = pass->machine.last_output;
    bool is_given_up = pass->view->status->instance.cause == EXIT_START_FAILED;
    bool is_stop = cause == EXIT_BY_USER || cause == EXIT_HOST_SHUTDOWN;
    bool is_ended =
        cause == EXIT_LIVENESS_FAILED || cause == EXIT_SHARE_LOST || cause == EXIT_TPM_LOST;
    return is_stop       ? stop_message(pass)
           : is_ended    ? pass->view->status->restart.last_message
           : output      ? output
           : is_given_up ? pass->vm->backend->words->silence
                         : NULL;
}

enum exit_cause exit_hold_unhealthy(struct pass *pass)
{
    const struct vm_liveness *live = &pass->patch->status->probing.live;
    char **last_message = &pass->patch->status->restart.last_message;
    bool is_lost = pass->situation.is_share_lost;
    const char *share = is_lost ? pass->machine.lost_share : NULL;
    const char *failure = live->failure ? live->failure : "?";
    cleanup_free char *why =
        share     ? mem_printf("the server of the shared folder %s ended", share)
        : is_lost ? mem_strdup("swtpm, which emulates its TPM, ended")
                  : mem_printf("failed %u times in a row: %s", live->failures, failure);
    enum exit_cause cause = share     ? EXIT_SHARE_LOST
                            : is_lost ? EXIT_TPM_LOST
                                      : EXIT_LIVENESS_FAILED;
    enum reason reason = share     ? REASON_SHARE_LOST
                         : is_lost ? REASON_TPM_LOST
                                   : REASON_LIVENESS_FAILED;
    exit_hold(pass, cause);
    free(*last_message);
    *last_message = mem_strdup(is_lost ? share : live->failure);
    vm_patch_event(pass->patch, true, reason, "%s", why);
    return cause;
}

/* Nothing of them is meant to be seen again; the next start makes them anyway. */
static void discard_scratch_disks(const struct pass *pass)
{
    struct reconciler_host *host = pass->vm->host;
    const struct vm_spec *spec = pass->view->status->applied_spec;
    for (size_t i = 0; spec && i < spec->n_disks; i++) {
        struct error err = {.code = ERR_NONE};
        cleanup_free char *path = scratch_path(host->paths, pass->vm->name, spec->disks[i].name);
        if (fs_exists(path) && removal_discard_file(host, path, &err) < 0) {
            log_warn("vm", "%s: %s", pass->vm->name, err.message);
        }
    }
}

/* How it left the disk; without a guest, as it was. A shutdown that was not seen, because the
 * controller was restarted meanwhile, counts as none. */
static void record_consistency(struct pass *pass, enum exit_cause cause)
{
    const struct vm_instance *instance = &pass->view->status->instance;
    bool has_left = cause == EXIT_GUEST_SHUTDOWN || pass->vm->has_guest_left;
    bool was_stopped = instance->intent == INTENT_STOP && pass->vm->last_command_ms > 0;
    bool had_none = cause == EXIT_NONE || cause == EXIT_START_FAILED ||
                    (cause == EXIT_BY_USER && instance->intent == INTENT_START) ||
                    (was_stopped && (was_cancelled(pass) || was_empty(pass)));
    if (has_left || !had_none) {
        pass->patch->status->prepared.is_crash_consistent = !has_left;
    }
}

void exit_record(struct pass *pass)
{
    struct vm_status *status = pass->patch->status;
    enum exit_cause cause = saved_judge_exit(pass, memory_judge_exit(pass, cause_of(pass)));
    if (cause != EXIT_NONE) { /* else the start had not begun */
        status->restart.last_cause = cause;
        status->restart.is_due = cause != EXIT_BY_USER && cause != EXIT_SAVED;
        status->restart.last_exit_status = pass->machine.exit_status;
        free(status->restart.last_message);
        status->restart.last_message = exit_cause_is_oom_kill(cause) ? oom_kill_message(pass, cause)
                                       : is_failure(cause)           ? memory_exit_message(pass)
                                                                     : NULL;
        if (!status->restart.last_message) {
            status->restart.last_message = mem_strdup(last_message(pass, cause));
        }
    }
    /* A guest that `restart "always"` starts again and again waits like one that crashes. */
    if (is_failure(cause) ||
        (cause == EXIT_GUEST_SHUTDOWN && pass->view->desired->spec->restart == RESTART_ALWAYS)) {
        count_exit(pass);
    }
    if (pass->view->status->instance.cause ==
        EXIT_NONE) { /* else exit_hold() was called when it was learnt */
        exit_hold(pass, cause);
    }
    if (pass->view->desired->power == POWER_STOPPED) {
        addresses_release_forwards(pass);
    }
    exit_report(pass, cause);
    if (status->prepared.digest[0]) {
        record_consistency(pass, cause);
    }
    discard_scratch_disks(pass);
    vm_instance_clear(&status->instance);
    if (pass->vm->backend->media->check_disk) {
        volumes_record_ended(pass);
    }
    if (pass->vm->backend->media->check_disk && status->prepared.digest[0]) {
        int64_t bytes = pass->media.disk_file_bytes;
        bool is_known = bytes > 0 || status->prepared.file_bytes;
        status->prepared.file_bytes = bytes > 0  ? (uint64_t)bytes
                                      : is_known ? status->prepared.file_bytes
                                                 : 1; /* used, and gone while it was */
    }
    status->was_reached = false;
    vm_status_forget_cloud_init(status);
    free(TAKE_PTR(status->vnc));
}

void exit_count_restart(struct vm_restart *restart)
{
    restart->total += restart->is_due;
    restart->is_due = false;
}

void exit_forget_restart(struct vm_restart *restart)
{
    restart->is_due = false;
}

int64_t exit_mark_restarted(struct pass *pass)
{
    struct vm_status *status = pass->patch->status;
    memcpy(status->handled_restart_token, pass->view->desired->restart_token, TEXT_ID_SIZE);
    exit_forget_restart(&status->restart);
    return VERDICT_NOW;
}

enum reason pass_reason_while_down(const struct pass *pass)
{
    const struct vm_status *status = pass->patch->status;
    const struct situation *s = &pass->situation;
    if (s->power == POWER_STOPPED || s->is_deleting) { /* a start right after it must be a boot */
        return s->saved == SAVED_NONE ? REASON_STOPPED : REASON_STOPPING;
    }
    if (s->is_to_disk) {
        return s->saved == SAVED_WHOLE ? REASON_SUSPENDED : REASON_PROCESS_EXITED;
    }
    bool is_with_host = status->restart.last_cause == EXIT_HOST_SHUTDOWN ||
                        status->restart.last_cause == EXIT_HOST_REBOOT;
    if ((s->is_held && is_with_host) || (s->is_halted && !s->is_held)) {
        return REASON_HOST_SHUTDOWN;
    }
    if (s->is_held) {
        return status->restart.last_cause == EXIT_GUEST_SHUTDOWN    ? REASON_GUEST_SHUTDOWN
               : status->restart.last_cause == EXIT_GUEST_PANIC     ? REASON_GUEST_PANICKED
               : status->restart.last_cause == EXIT_LIVENESS_FAILED ? REASON_LIVENESS_FAILED
               : exit_cause_is_oom_kill(status->restart.last_cause) ? REASON_OOM_KILLED
                                                                    : REASON_PROCESS_EXITED;
    }
    if (s->is_dependency_missing) {
        return REASON_WAITING_FOR_DEPENDENCY;
    }
    bool is_looping = status->restart.count > 1 && exit_backoff_left_ms(pass) > 0;
    return is_looping ? REASON_CRASH_LOOP_BACK_OFF : REASON_STARTING;
}
