/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Stalled: waiting alone will not help, or has not helped for a while. The controller keeps trying
 * in any case; waiters fail fast on it. The cause is recorded in vm_status.blocker with the members
 * of a struct error, so that the CLI can show it as an error of its own.
 */
#include "reconcilers/vm/pass.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "reconcilers/template/template_files.h"
#include "reconcilers/vm/exit.h"
#include "reconcilers/vm/failure.h"
#include "reconcilers/vm/forwards.h"
#include "reconcilers/vm/probes.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/log_file.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/base/user_path.h"

enum { CRASHES_UNTIL_STALLED = 3 };

/* The help text of an error code writes NAME for the VM. */
static char *name_the_vm(const char *help, const char *vm_name)
{
    static const char placeholder[] = "NAME";
    struct buf out = BUF_INIT(0);
    const char *at;
    while ((at = strstr(help, placeholder))) {
        buf_add(&out, help, (size_t)(at - help));
        buf_add_str(&out, vm_name);
        help = at + strlen(placeholder);
    }
    buf_add_str(&out, help);
    return buf_steal(&out);
}

static void forget_blocker(struct vm_blocker *blocker)
{
    free(blocker->code);
    free(blocker->message);
    free(blocker->help);
    *blocker = (struct vm_blocker){0};
}

void pass_report(struct pass *pass, struct vm_blocker *blocker, const struct error *error)
{
    forget_blocker(blocker);
    if (error->code != ERR_NONE) {
        blocker->code = mem_strdup(error_code_name(error->code));
        blocker->message = mem_strdup(error->message);
        blocker->help = name_the_vm(error_help_text(error), pass->vm->name);
    }
}

static void stall(struct pass *pass, enum reason reason, const struct error *error)
{
    pass_set(pass, CONDITION_STALLED, CONDITION_TRUE, reason, error->message);
    pass_report(pass, &pass->patch->status->blocker, error);
}

/* What the firmware prints (edk2, BdsDxe) stands at the end of the console as long as nothing
 * boots.
 */
static bool is_boot_refused(const struct pass *pass)
{
    static const char *const refusals[] = {": Access Denied", ": Security Violation"};
    enum { TAIL_SIZE = 2048 };
    char tail[TAIL_SIZE];
    bool is_refused = false;
    if (pass->env.spec->firmware != FIRMWARE_UEFI_SECURE) {
        return false;
    }
    cleanup_free char *log = paths_vm(pass->vm->host->paths, pass->vm->name, VM_CONSOLE_LOG);
    ssize_t n = log_file_read_tail(log, tail, sizeof(tail));
    for (size_t i = 0; n > 0 && i < ARRAY_LEN(refusals); i++) {
        is_refused |= memmem(tail, (size_t)n, refusals[i], strlen(refusals[i])) != NULL;
    }
    return is_refused;
}

char *pass_explain_silence(const struct pass *pass)
{
    const struct vm_status *status = pass->patch->status;
    if (is_boot_refused(pass)) {
        return mem_strdup("its firmware refuses the disk's boot loader: it is not signed by a key "
                          "that secure boot trusts");
    }
    return pass_is_reach_overdue(pass)
               ? mem_strdup(pass->vm->failure.error->message)
               : mem_printf("sshd does not answer yet (%s@%s:%u)", pass->env.spec->ssh.user,
                     status->ssh_host ? status->ssh_host : "127.0.0.1", status->ssh_port);
}

static bool stall_on_failure(struct pass *pass)
{
    const struct vm_failure *failure = &pass->vm->failure;
    if (failure->action == ACTION_NONE) {
        return false;
    }
    struct failure_class class = vm_failure_class(failure);
    bool is_repeated = class.stalled_after > 0 && failure->count >= class.stalled_after;
    bool is_overdue = failure->action == ACTION_REACH && pass_is_reach_overdue(pass);
    bool is_refused =
        failure->action == ACTION_REACH && pass_is_refused(pass) && failure->error->code != ERR_SSH;
    if (!is_overdue && !is_refused && !is_repeated) {
        return false;
    }
    struct error error = *failure->error;
    if (is_overdue && error.code == ERR_SSH) {
        cleanup_free char *why = pass_explain_silence(pass);
        error = (struct error){.code = ERR_NONE};
        error_set(&error, ERR_SSH_TIMEOUT, "the guest did not answer on SSH within %u seconds: %s",
            vm_spec_ssh_timeout_s(pass->env.spec), why);
    } else if (is_overdue && error.code == ERR_IP_TIMEOUT) {
        error = (struct error){.code = ERR_NONE};
        error_set(&error, ERR_IP_TIMEOUT,
            "no address of the guest (MAC %s) was found within %u seconds",
            pass->view->status->mac ? pass->view->status->mac : "?",
            vm_spec_ssh_timeout_s(pass->env.spec));
    }
    stall(pass, is_overdue && error.code == ERR_SSH_TIMEOUT ? REASON_SSH_TIMEOUT : class.reason,
        &error);
    return true;
}

/* Also recorded by itself: a command that has not requested the new disk does not fail for it. */
static bool stall_on_replacement(struct pass *pass, bool is_stalled)
{
    const struct vm_failure *failure = &pass->vm->put_off;
    struct vm_blocker *recorded = &pass->patch->status->recreate_failure;
    if (failure->action == ACTION_NONE ||
        failure->count < vm_failure_class(failure).stalled_after) {
        forget_blocker(recorded);
        return is_stalled;
    }
    struct error error = *failure->error;
    (void)error_wrap(&error, "its disk is kept, because a new one cannot be created");
    if (pass->media.is_outdated) {
        cleanup_free char *help = mem_strdup(error_help_text(&error));
        (void)error_help(&error,
            "%s; or keep this disk: restore the image and cloud-init of the VMFile, then: vmctl up "
            "--name %s",
            help, pass->vm->name);
    }
    pass_report(pass, recorded, &error);
    if (!is_stalled) {
        stall(pass, vm_failure_class(failure).reason, &error);
    }
    return true;
}

static void report_crash_loop(struct pass *pass, const char *last)
{
    const struct vm_restart *restart = &pass->patch->status->restart;
    const char *name = pass->vm->name;
    cleanup_free char *dir = paths_vm(pass->vm->host->paths, name, VM_DIR);
    bool never_came_up = restart->last_cause == EXIT_START_FAILED;
    struct error error = {.code = ERR_NONE};
    error_set(&error, never_came_up ? ERR_QEMU_SPAWN : ERR_VM_FAILED,
        "it exited %u times in a row (%s)%s%s", restart->count,
        exit_cause_name(restart->last_cause), last[0] ? ": " : "", last);
    const char *log = pass->vm->backend->words->log;
    cleanup_free char *help = exit_oom_kill_help(name, restart->last_cause);
    if (help) {
        error_help(&error, "%s", help);
    } else if (!log || restart->last_cause == EXIT_GUEST_SHUTDOWN ||
               restart->last_cause == EXIT_LIVENESS_FAILED ||
               restart->last_cause == EXIT_SHARE_LOST || restart->last_cause == EXIT_TPM_LOST) {
        error_help(&error,
            "see the guest's output: vmctl log %s --console; once fixed: "
            "vmctl up --name %s",
            name, name);
    } else {
        error_help(&error, "see %s in %s; once fixed: vmctl up --name %s", log, dir, name);
    }
    stall(pass, REASON_CRASH_LOOP_BACK_OFF, &error);
}

static bool stall_on_exit(struct pass *pass)
{
    const struct vm_status *status = pass->patch->status;
    const struct situation *s = &pass->situation;
    const char *last = status->restart.last_message ? status->restart.last_message : "";
    if (situation_must_be_down(s)) {
        return false;
    }
    if (s->is_held && !s->is_alive && pass_reason_while_down(pass) != REASON_HOST_SHUTDOWN) {
        const char *name = pass->vm->name;
        struct error error = {.code = ERR_NONE};
        error_set(&error, ERR_VM_FAILED, "it ended (%s), and its policy does not restart it%s%s",
            exit_cause_name(status->restart.last_cause), last[0] ? ": " : "", last);
        error_help(&error,
            "start it again: vmctl up --name %s; see its output: vmctl log %s --console", name,
            name);
        cleanup_free char *help = exit_oom_kill_help(name, status->restart.last_cause);
        if (help) {
            error_help(&error, "%s", help);
        }
        stall(pass, pass_reason_while_down(pass), &error);
        return true;
    }
    bool is_up = status->was_reached || vm_status_is_true(status, CONDITION_READY);
    if (status->restart.count >= CRASHES_UNTIL_STALLED && !is_up) {
        report_crash_loop(pass, last);
        return true;
    }
    return false;
}

static bool stall_on_unkillable(struct pass *pass)
{
    if (!pass->situation.is_alive || pass->situation.stage != STOP_STAGE_UNKILLABLE) {
        return false;
    }
    struct error error = {.code = ERR_NONE};
    error_set(&error, ERR_VM_FAILED, "its process (pid %d) does not end on SIGKILL",
        pass->view->status->instance.pid);
    error_help(&error, "it waits for a device or a file system of the host: see dmesg");
    stall(pass, REASON_UNKILLABLE, &error);
    return true;
}

static bool stall_on_room(struct pass *pass)
{
    if (!pass_lacks_room(pass) || situation_must_be_down(&pass->situation)) {
        return false;
    }
    struct error error = {.code = ERR_NONE};
    cleanup_free char *disk = paths_vm(pass->vm->host->paths, pass->vm->name, VM_OVERLAY);
    error_set(&error, ERR_NO_SPACE, "no space left for its disk '%s'", disk);
    error_help(&error, "free some (df %s); the guest is paused and resumes by itself", disk);
    stall(pass, REASON_NO_SPACE, &error);
    return true;
}

/* Only what sent it away knows where it runs now. A builder was frozen, by a controller that is
 * gone, and is made again. */
static bool stall_on_migration(struct pass *pass)
{
    if (pass->situation.run_state != RUN_STATE_POSTMIGRATE || pass->situation.build != BUILD_NONE ||
        pass->situation.saved != SAVED_NONE || situation_must_be_down(&pass->situation)) {
        return false;
    }
    struct error error = {.code = ERR_NONE};
    error_set(&error, ERR_VM_INVALID_STATE,
        "its memory was sent away over QEMU's socket, so the guest may run elsewhere");
    error_help(&error,
        "stop it here: vmctl stop %s; once it runs nowhere else, boot it here from its disk: vmctl "
        "restart %s",
        pass->vm->name, pass->vm->name);
    if (pass->view->status->conditions[CONDITION_STALLED].reason != REASON_MIGRATED) {
        vm_patch_event(pass->patch, true, REASON_MIGRATED, "%s", error.message);
    }
    stall(pass, REASON_MIGRATED, &error);
    return true;
}

static bool stall_on_lost_memory(struct pass *pass)
{
    const struct situation *s = &pass->situation;
    if (!s->is_to_disk || s->is_deleting || s->is_alive || s->saved == SAVED_WHOLE ||
        s->has_instance) {
        return false;
    }
    struct error error = {.code = ERR_NONE};
    error_set(&error, ERR_SAVED_MEMORY, "it ended before its memory was saved");
    error_help(&error, "boot it from its disk: vmctl start %s", pass->vm->name);
    stall(pass, REASON_SAVED_MEMORY_FAILED, &error);
    return true;
}

static bool stall_on_image(struct pass *pass)
{
    const struct condition *before = &pass->view->status->conditions[CONDITION_IMAGE_READY];
    bool is_new =
        before->state != CONDITION_FALSE || before->reason != REASON_BACKING_IMAGE_CHANGED;
    if (pass->media.is_image_changed && is_new) { /* also under a guest that runs */
        vm_patch_event(pass->patch, true, REASON_BACKING_IMAGE_CHANGED,
            "the base image '%s' is not the one its disk was made on: restore that one before the "
            "next start",
            pass->view->status->prepared.image_path);
    }
    if (pass->decision.action != ACTION_REFUSE_IMAGE) {
        return false;
    }
    struct error error = {.code = ERR_NONE};
    const struct vm_prepared *prepared = &pass->view->status->prepared;
    cleanup_free char *base = template_base(pass->vm->host->paths, prepared);
    struct stat st;
    const char *path = base && user_path_stat(base, &st) < 0 ? base : prepared->image_path;
    bool is_gone = path && user_path_stat(path, &st) < 0;
    if (is_gone && errno == ETIMEDOUT) {
        error_set(&error, ERR_IMAGE_CHANGED,
            "the file system of its disk's base image '%s' does not answer", path);
        error_help(
            &error, "see what serves it: findmnt -T '%s'; vmctld tries again by itself", path);
    } else if (is_gone) {
        error_set(&error, ERR_IMAGE_CHANGED, "the base image of its disk is gone: '%s'", path);
    } else {
        error_set(&error, ERR_IMAGE_CHANGED,
            "the base image '%s' is not the one its disk was made on",
            path ? path : pass->env.spec->image.location);
    }
    if (!error.help[0]) {
        error_help(&error,
            pass->env.has_vmfile
                ? "restore the old image, or recreate the VM (this erases its disk): vmctl reload "
                  "%s"
                : "restore the old image, or remove the VM with its disk, and then create, clone "
                  "or import it: vmctl destroy %s",
            pass->vm->name);
    }
    stall(pass, REASON_BACKING_IMAGE_CHANGED, &error);
    return true;
}

/* Errors of cloud-init stay until the guest boots again; an overdue cloud-init may still end. */
static bool stall_on_cloud_init(struct pass *pass)
{
    const struct vm_cloud_init *cloud_init = &pass->patch->status->cloud_init;
    const struct situation *s = &pass->situation;
    const char *message = cloud_init->message, *name = pass->vm->name;
    bool has_failed = pass_has_setup_failed(pass, pass->patch->status);
    if (!s->expects_ssh || s->power != POWER_RUNNING || situation_must_be_down(s) ||
        !(has_failed || pass_is_setup_overdue(pass))) {
        return false;
    }
    struct error error = {.code = ERR_NONE};
    if (has_failed) {
        error_set(&error, ERR_CLOUD_INIT, "cloud-init failed in the guest: %s",
            message ? message : "no reason is given");
        error_help(&error,
            "see: vmctl ssh %s -- sudo cat /var/log/cloud-init.log; once fixed in "
            "the guest: vmctl restart %s, in the VMFile: vmctl reload %s; where the image is to "
            "blame: cloud-init { on-error \"warn\" }",
            name, name, name);
        stall(pass, REASON_CLOUD_INIT_FAILED, &error);
        return true;
    }
    error_set(&error, ERR_CLOUD_INIT, "cloud-init has not ended in the guest for %d minutes%s%s",
        SETUP_LIMIT_MINUTES, message ? ": " : "", message ? message : "");
    error_help(&error, "see its output: vmctl log %s --console; vmctld keeps waiting for it", name);
    stall(pass, REASON_PROGRESS_DEADLINE_EXCEEDED, &error);
    return true;
}

/* A failed step stays the blocker, with its original message, until the user requests it again. */
static bool stall_on_step(struct pass *pass)
{
    const struct vm_status *status = pass->patch->status;
    const struct condition *provisioned = &status->conditions[CONDITION_PROVISIONED];
    if (!status->provision.is_failed || pass->view->desired->spec->n_steps == 0 ||
        pass->view->desired->power == POWER_STOPPED || pass->view->desired->is_deleting) {
        return false;
    }
    cleanup_free char *message = mem_strdup(provisioned->message);
    const char *reported = status->blocker.code;
    if (!reported || !text_starts_with(reported, "vmctl::provision::")) {
        static const enum error_code codes[REASON_COUNT_] = {
            [REASON_STEP_TIMEOUT] = ERR_PROVISION_TIMEOUT,
            [REASON_INTERRUPTED] = ERR_PROVISION_LOST,
        };
        enum error_code code = codes[provisioned->reason];
        struct error error = {.code = ERR_NONE};
        error_set(&error, code ? code : ERR_PROVISION, "%s",
            message ? message : "a provision step failed");
        pass_report(pass, &pass->patch->status->blocker, &error);
    }
    pass_set(pass, CONDITION_STALLED, CONDITION_TRUE, provisioned->reason, message);
    return true;
}

/* What is in the way of a socket, only the user can remove; it is tried again all the same. Not
 * before the steps have run, which may remove it, and it was tried after them. */
static bool stall_on_forward(struct pass *pass)
{
    const char *why = forwards_failure(pass);
    bool is_failed =
        pass->patch->status->conditions[CONDITION_FORWARDED].reason == REASON_FORWARD_FAILED;
    if (!why || !is_failed || !vm_status_is_true(pass->view->status, CONDITION_PROVISIONED)) {
        return false;
    }
    struct error error = {.code = ERR_NONE};
    error_set(&error, ERR_FORWARD, "%s", why);
    stall(pass, REASON_FORWARD_FAILED, &error);
    return true;
}

/* As a Deployment's progressDeadlineSeconds: waiters stop waiting, vmctld keeps trying. */
static bool stall_on_probes(struct pass *pass)
{
    const struct vm_status *status = pass->patch->status;
    if (status->conditions[CONDITION_READY].reason != REASON_PROBE_FAILED ||
        !probes_are_overdue(pass)) {
        return false;
    }
    struct error error = {.code = ERR_NONE};
    error_set(&error, ERR_PROBE, "its `ready` probes have not passed for 10 minutes: %s",
        status->probing.failure ? status->probing.failure : "?");
    stall(pass, REASON_PROGRESS_DEADLINE_EXCEEDED, &error);
    return true;
}

/* Waiters learn at once that another VM needs a command, or is late as their own may be; also while
 * the VM's own image is still on its way. */
static bool stall_on_dependency(struct pass *pass)
{
    enum dependency_state worst = pass->missing.worst;
    if (!pass_awaits_dependency(pass) || worst < DEPENDENCY_LATE) {
        return false;
    }
    stall(pass,
        worst == DEPENDENCY_LATE ? REASON_PROGRESS_DEADLINE_EXCEEDED
                                 : REASON_WAITING_FOR_DEPENDENCY,
        &pass->missing.error);
    return true;
}

/* An orphan without any record gets a uid, so that its status is one that can be read again. */
static void describe_orphan(struct pass *pass)
{
    bool is_orphan = pass->decision.action == ACTION_ADOPT_ORPHAN;
    struct vm_status *status = pass->patch->status;
    if (is_orphan && !status->uid[0]) {
        digest_random_id(status->uid);
    }
    pass_set(pass, CONDITION_ORPHANED, is_orphan ? CONDITION_TRUE : CONDITION_ABSENT,
        REASON_NO_DESIRED_RECORD, NULL);
}

void pass_describe_stalled(struct pass *pass)
{
    if (!pass->view->desired) {
        describe_orphan(pass);
        return;
    }
    bool is_stalled = stall_on_failure(pass) || stall_on_unkillable(pass) || stall_on_room(pass) ||
                      stall_on_migration(pass) || stall_on_lost_memory(pass) ||
                      stall_on_image(pass) || stall_on_exit(pass) || stall_on_dependency(pass) ||
                      stall_on_cloud_init(pass) || stall_on_step(pass) || stall_on_forward(pass) ||
                      stall_on_probes(pass);
    if (stall_on_replacement(pass, is_stalled)) {
        return;
    }
    pass_set(pass, CONDITION_STALLED, CONDITION_ABSENT, REASON_NONE, NULL);
    forget_blocker(&pass->patch->status->blocker);
}
