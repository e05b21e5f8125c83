/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/vm/saved.h"

#include <stdlib.h>
#include <string.h>

#include "reconcilers/vm/pass.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/file_stamp.h"
#include "specs/base/fs.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"

static char *file_of(const struct pass *pass)
{
    return paths_vm(pass->vm->host->paths, pass->vm->name, VM_SAVED_MEMORY);
}

static void clear(struct vm_saved *saved)
{
    free(saved->host);
    free(saved->accel);
    free(saved->refusal);
    *saved = (struct vm_saved){.phase = SAVED_NONE};
}

/* Killed between the two, or with a commit that fails: the next pass finds the same record, and
 * nothing to remove. */
static void forget(struct pass *pass)
{
    struct error err = {.code = ERR_NONE};
    cleanup_free char *file = file_of(pass);
    if (fs_remove_file(file, &err) < 0) { /* the next one is written over it */
        log_warn("vm", "%s: %s", pass->vm->name, err.message);
    }
    clear(&pass->patch->status->saved);
    vm_forget_comparison(pass->vm); /* that was of the spec it was saved with */
}

void saved_assess(struct pass *pass)
{
    const struct vm_desired *desired = pass->view->desired;
    struct situation *s = &pass->situation;
    bool can_save = pass->vm->backend->machine->save != NULL;
    s->saved = pass->view->status->saved.phase;
    s->is_save_failing = pass->vm->failure.action == ACTION_SAVE;
    s->is_to_disk = desired && can_save && desired->power == POWER_SUSPENDED && desired->is_saved;
}

const struct vm_spec *saved_spec(const struct vm_status *status)
{
    bool continues = status->saved.phase == SAVED_WHOLE || status->saved.phase == SAVED_LOADED;
    return continues ? status->applied_spec : NULL;
}

uint64_t saved_generation(const struct pass *pass)
{
    const struct vm_desired *desired = pass->view->desired;
    const struct vm_spec *wanted = pass->whole ? pass->whole : desired->spec;
    return vm_spec_equal(pass->env.spec, wanted) ? desired->generation
                                                 : pass->view->status->applied_generation;
}

/* ---- saving ---- */

/* All of its memory, though QEMU leaves out pages of zeros: the guest runs on then, and no other
 * process finds the file system full. */
static int check_room(const struct pass *pass, struct error *err)
{
    uint32_t needed_mib = pass->env.spec->memory_mib + ROOM_MIN_MIB;
    int64_t free_mib = pass->media.free_bytes >> 20;
    if (free_mib >= needed_mib) {
        return 0;
    }
    cleanup_free char *dir = paths_vm(pass->vm->host->paths, pass->vm->name, VM_DIR);
    (void)error_set(err, ERR_NO_SPACE,
        "vm '%s' cannot be suspended to disk: that takes %u MiB, and '%s' has %lld MiB left",
        pass->vm->name, needed_mib, dir, (long long)free_mib);
    return error_help(
        err, "free some (df -h %s); or resume it: vmctl resume %s", dir, pass->vm->name);
}

/* Killed before or during: the next controller cancels what QEMU may be writing, and begins again;
 * killed after, but before it is recorded: it finds the guest gone, and records that. */
int64_t saved_save(struct pass *pass)
{
    struct vm *vm = pass->vm;
    struct error err = {.code = ERR_NONE};
    if (pass->view->status->saved.phase == SAVED_NONE) {
        if (check_room(pass, &err) < 0) {
            return pass_fail(pass, &err);
        }
        pass->patch->status->saved.phase = SAVED_BEGUN;
        return VERDICT_NOW;
    }
    vm_begin(vm, ACTION_SAVE, pass->view->desired->generation);
    vm->op = vm->backend->machine->save(vm->machine, &pass->env, vm_op_done, vm);
    return VERDICT_WHEN_WOKEN;
}

bool saved_record(struct pass *pass)
{
    struct vm_status *status = pass->patch->status;
    const struct machine_ops *machine = pass->vm->backend->machine;
    cleanup_free char *file = file_of(pass);
    int64_t bytes = fs_size(file);
    clear(&status->saved);
    status->saved = (struct vm_saved){.phase = SAVED_WHOLE,
        .host = machine->memory_host ? machine->memory_host(pass->vm->host) : NULL,
        .accel = mem_strdup(status->instance.accel),
        .has_agent = status->instance.has_agent,
        .is_frozen = vm_status_is_frozen(status),
        .bytes = bytes > 0 ? (uint64_t)bytes : 0};
    (void)file_stamp(file, status->saved.stamp);
    return true;
}

int64_t saved_drop(struct pass *pass)
{
    bool was_whole = pass->view->status->saved.phase == SAVED_WHOLE;
    forget(pass);
    if (was_whole) {
        vm_patch_event(pass->patch, true, REASON_STOPPED, "its saved memory was discarded");
    }
    return VERDICT_NOW;
}

/* ---- continuing ---- */

/* What machine_ops.memory_host() says of the processor; "": nothing. */
static const char *cpu_of(const char *host)
{
    const char *cpu = host ? strstr(host, ", CPU ") : NULL;
    return cpu ? cpu : "";
}

/* What emulates a processor emulates the same one everywhere. */
static bool is_other_cpu(const struct pass *pass)
{
    const struct vm_saved *saved = &pass->view->status->saved;
    const struct machine_ops *machine = pass->vm->backend->machine;
    cleanup_free char *host = machine->memory_host ? machine->memory_host(pass->vm->host) : NULL;
    return text_eq(saved->accel, "kvm") && !text_eq(cpu_of(saved->host), cpu_of(host));
}

/* NULL: it fits. Borrowed. */
static const char *misfit(const struct pass *pass, const char *file)
{
    enum { TRIES = 3 }; /* a machine may be killed while it loads; another request tries again */
    const struct vm_saved *saved = &pass->view->status->saved;
    char stamp[DIGEST_SIZE];
    bool is_refused =
        saved->n_refused >= TRIES && saved->refused_generation == pass->view->desired->generation;
    return !file_stamp(file, stamp)        ? "its file is gone"
           : !text_eq(stamp, saved->stamp) ? "its file was changed"
           : !text_eq(pass->media.disk_stamp, saved->disk_stamp)
               ? "the disk was changed since the guest was stopped"
           : is_other_cpu(pass) ? "this host has another processor"
           : !is_refused        ? NULL
           : saved->refusal     ? saved->refusal
                                : "QEMU ends when it loads it";
}

int saved_check(const struct pass *pass, struct error *err)
{
    const char *name = pass->vm->name;
    cleanup_free char *file = file_of(pass);
    bool is_whole = pass->view->status->saved.phase == SAVED_WHOLE;
    const char *why = is_whole ? misfit(pass, file) : NULL;
    if (!why) {
        return 0;
    }
    (void)error_set(err, ERR_SAVED_MEMORY, "vm '%s' cannot resume from its memory in '%s': %s",
        name, file, why);
    return error_help(err,
        "discard the memory and boot from the disk, as after a power cut: vmctl stop %s && vmctl "
        "start %s",
        name, name);
}

void saved_begin(struct pass *pass)
{
    struct vm_status *status = pass->patch->status;
    if (status->saved.phase == SAVED_WHOLE && status->saved.is_frozen) {
        memcpy(status->frozen_instance_id, status->instance.instance_id, TEXT_ID_SIZE);
    }
}

/* Killed before the commit: the next pass confirms it again. */
void saved_confirm(struct pass *pass)
{
    struct vm_status *status = pass->patch->status;
    if (status->saved.phase != SAVED_LOADED) {
        return;
    }
    forget(pass);
    status->clock.is_due = true;
    vm_patch_event(pass->patch, false, REASON_RUNNING, "resumed from its saved memory");
}

/* ---- the end of its process ---- */

/* It takes the memory, which stays, or ends: no crash of the VM. */
static void note_refusal(struct pass *pass)
{
    struct vm_saved *saved = &pass->patch->status->saved;
    saved->n_refused++;
    saved->refused_generation = pass->view->desired->generation;
    free(saved->refusal);
    saved->refusal = mem_strdup(pass->machine.last_output);
    vm_patch_event(pass->patch, true, REASON_SAVED_MEMORY_FAILED,
        "QEMU ended while it loaded the memory%s%s", saved->refusal ? ": " : "",
        saved->refusal ? saved->refusal : "");
}

enum exit_cause saved_judge_exit(struct pass *pass, enum exit_cause cause)
{
    struct vm_saved *saved = &pass->patch->status->saved;
    const struct vm_instance *instance = &pass->view->status->instance;
    bool is_loading = instance->intent == INTENT_START;
    bool has_run = instance->pid != 0;
    /* A power cut may have taken back the commit that its guest may run. */
    bool may_have_run = is_loading && has_run && cause == EXIT_HOST_REBOOT;
    if (saved->phase == SAVED_WHOLE && !may_have_run) {
        if (!saved->disk_stamp[0]) { /* the process that was saved; none that loads it writes */
            memcpy(saved->disk_stamp, pass->media.disk_stamp, DIGEST_SIZE);
        }
        bool is_refusal = is_loading && has_run &&
                          (cause == EXIT_START_FAILED || cause == EXIT_PROCESS_DIED ||
                              exit_cause_is_oom_kill(cause));
        if (is_refusal) {
            note_refusal(pass);
        }
        bool is_known = is_loading || instance->cause != EXIT_NONE;
        return is_refusal || !is_known ? EXIT_SAVED : cause;
    }
    if (saved->phase != SAVED_NONE) {
        const char *what = saved->phase == SAVED_BEGUN ? "before its memory was saved"
                                                       : "when it resumed from its saved memory";
        forget(pass);
        vm_patch_event(pass->patch, true, REASON_PROCESS_EXITED, "it ended %s", what);
    }
    return cause;
}
