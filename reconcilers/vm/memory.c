/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/vm/memory.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "reconcilers/template/template_files.h"
#include "reconcilers/vm/pass.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/vm/template.h"

/* ---- whether it fits ---- */

/* Why the memory of a template, as template_find() found it, is of no use on this host; NULL: it
 * is. free() it. */
static char *host_mismatch(
    const struct pass *pass, const struct template_record *record, const struct error *err)
{
    const struct machine_ops *machine = pass->vm->backend->machine;
    cleanup_free char *host = machine->memory_host ? machine->memory_host(pass->vm->host) : NULL;
    const char *made_on = record ? record->memory.host : NULL;
    return err->code                ? mem_strdup(err->message)
           : !made_on               ? mem_strdup("the template has no memory")
           : !host                  ? mem_strdup("this host cannot load saved memory")
           : text_eq(made_on, host) ? NULL
                                    : mem_printf("the template was frozen by another host or "
                                                 "QEMU: %s; this is %s",
                                          made_on, host);
}

/* What the VMFile asks for otherwise than the template was made. Of the template's own image: the
 * disk lies on that, even if it was touched since. */
static char *spec_mismatch(const struct vm_spec *spec, const struct template_record *record)
{
    cleanup_free char *key = template_key(spec, record->image_id);
    cleanup_free char *difference =
        text_eq(key, record->key) ? NULL : template_key_difference(record->key, key);
    return difference ? mem_printf("the VMFile describes another machine than its template: %s",
                            difference)
                      : NULL;
}

/* The same of a disk that was made, and not started yet: the spec may have changed, too. */
static char *wake_mismatch(const struct pass *pass)
{
    struct error err = {.code = ERR_NONE};
    const struct vm_spec *spec = pass->env.spec;
    if (!template_has_memory(spec)) {
        const char *obstacle = template_memory_obstacle(spec);
        return mem_printf("%s cannot be woken", obstacle ? obstacle : "a VM without `warm`");
    }
    struct template_record *record =
        template_find(pass->vm->host->paths, pass->view->status->prepared.template_digest, &err);
    char *why = record ? spec_mismatch(spec, record) : NULL;
    why = why ? why : host_mismatch(pass, record, &err);
    template_record_free(record);
    return why;
}

void memory_assess(struct pass *pass)
{
    struct situation *s = &pass->situation;
    const struct vm *vm = pass->vm;
    const struct vm_status *status = pass->view->status;
    s->wake = status->prepared.wake;
    s->is_freezing = vm->op && vm->op_action == ACTION_FREEZE;
    s->is_wake_ours = text_eq(vm->woken_instance_id, status->instance.instance_id);
    free(TAKE_PTR(pass->wake_mismatch));
    if (s->wake != WAKE_NONE && pass->view->desired) {
        pass->wake_mismatch = s->wake == WAKE_DUE ? wake_mismatch(pass) : NULL;
        bool is_unwanted = s->wake == WAKE_DUE && pass->view->desired->is_cold;
        s->is_wake_refused = pass->wake_mismatch || status->warm.cold || is_unwanted;
    }
}

enum wake memory_plan(const struct pass *pass)
{
    const struct vm_warm *warm = &pass->view->status->warm;
    bool is_due = warm->template_digest[0] && template_has_memory(pass->env.spec) && !warm->cold;
    return is_due ? WAKE_DUE : WAKE_NONE;
}

/* ---- what cannot be had ---- */

int64_t memory_insist(struct pass *pass, const char *why)
{
    struct error err = {.code = ERR_NONE};
    (void)error_set(
        &err, ERR_TEMPLATE, "vm '%s' cannot be woken from a template: %s", pass->vm->name, why);
    (void)error_help(&err,
        "see: vmctl template list; or write warm \"auto\", which boots the VM instead; or once: "
        "vmctl up --cold --name %s",
        pass->vm->name);
    return pass_fail(pass, &err);
}

static void note_cold(struct pass *pass, const char *why)
{
    struct vm_warm *warm = &pass->patch->status->warm;
    char *copy = mem_strdup(why);
    free(warm->cold);
    warm->cold = copy;
}

bool memory_choose(struct pass *pass, int64_t *ret_requeue_ms)
{
    const struct vm_spec *spec = pass->env.spec;
    const struct vm_warm *warm = &pass->patch->status->warm;
    if (spec->warm < WARM_AUTO) {
        return true;
    }
    struct error err = {.code = ERR_NONE};
    const char *obstacle = template_memory_obstacle(spec);
    struct template_record *record =
        warm->cold || obstacle ? NULL
                               : template_find(pass->vm->host->paths, pass->template.digest, &err);
    cleanup_free char *why = warm->cold ? mem_strdup(warm->cold)
                             : obstacle ? mem_printf("%s cannot be woken", obstacle)
                                        : host_mismatch(pass, record, &err);
    template_record_free(record);
    if (why && spec->warm == WARM_REQUIRE) {
        *ret_requeue_ms = memory_insist(pass, why);
        return false;
    }
    if (why) {
        note_cold(pass, why);
    }
    return true;
}

int64_t memory_boot_cold(struct pass *pass)
{
    struct vm_status *status = pass->patch->status;
    bool is_unwanted = pass->view->desired->is_cold;
    const char *mismatch = status->warm.cold ? NULL
                           : is_unwanted     ? "not used (--cold)"
                                             : pass->wake_mismatch;
    const char *why = mismatch ? mismatch : status->warm.cold;
    if (pass->env.spec->warm == WARM_REQUIRE && !is_unwanted) {
        return memory_insist(pass, why ? why : "?");
    }
    if (mismatch) {
        note_cold(pass, mismatch);
    }
    status->prepared.wake = WAKE_NONE;
    vm_patch_event(pass->patch, true, REASON_CLONED, "it boots from the disk of its template: %s",
        status->warm.cold ? status->warm.cold : "?");
    return VERDICT_NOW;
}

/* ---- freezing ---- */

/* First the guest is settled, by itself, then its machine stopped. Killed at any time: what is not
 * recorded as frozen is made again. The session would be in the memory, and its other end is not.
 */
int64_t memory_freeze(struct pass *pass)
{
    struct vm *vm = pass->vm;
    const struct backend *backend = vm->backend;
    vm_begin(vm, ACTION_FREEZE, pass->view->desired->generation);
    if (vm->is_guest_settled) {
        vm->op = backend->machine->freeze(vm->machine, &pass->env, vm_op_done, vm);
        return VERDICT_WHEN_WOKEN;
    }
    backend->guest->close(vm->guest);
    vm->guest = backend->guest->open(vm->host, vm->name);
    vm->op = backend->media->settle_guest(&pass->env, vm_op_done, vm);
    return VERDICT_WHEN_WOKEN;
}

bool memory_record_frozen(struct pass *pass)
{
    struct vm_warm *warm = &pass->patch->status->warm;
    if (!pass->vm->is_guest_settled) {
        pass->vm->is_guest_settled = true;
        return false;
    }
    free(warm->host);
    free(warm->accel);
    warm->host = mem_strdup(pass->view->status->instance.memory_host);
    warm->accel = mem_strdup(pass->view->status->instance.accel);
    warm->has_agent = pass->view->status->instance.has_agent;
    return true;
}

/* ---- waking ---- */

/* Killed before or during: no guest has run, and the next machine loads it again. */
int64_t memory_load(struct pass *pass)
{
    struct vm *vm = pass->vm;
    vm_begin(vm, ACTION_LOAD, pass->view->desired->generation);
    vm->op = vm->backend->machine->load(vm->machine, &pass->env, vm_op_done, vm);
    return VERDICT_WHEN_WOKEN;
}

/* Committed before the guest may run: whatever ends it from then on, its disk is made again. */
int64_t memory_mark_woken(struct pass *pass)
{
    struct vm_status *status = pass->patch->status;
    if (status->saved.phase == SAVED_WHOLE) {
        status->saved.phase = SAVED_LOADED;
        return VERDICT_NOW;
    }
    status->prepared.wake = WAKE_BEGUN;
    memcpy(pass->vm->woken_instance_id, status->instance.instance_id, TEXT_ID_SIZE);
    return VERDICT_NOW;
}

/* Killed before, during or after it, but before it is recorded: the next controller ends the guest.
 * If the commit of its result fails, only the record is made again: the helper has ended. */
int64_t memory_identify(struct pass *pass)
{
    struct vm *vm = pass->vm;
    if (text_eq(vm->identified_instance_id, pass->view->status->instance.instance_id)) {
        (void)memory_record_identified(pass);
        return VERDICT_NOW;
    }
    vm_begin(vm, ACTION_IDENTIFY, pass->view->desired->generation);
    vm->op = vm->backend->media->identify_guest(&pass->env, vm_op_done, vm);
    return VERDICT_WHEN_WOKEN;
}

bool memory_record_identified(struct pass *pass)
{
    struct vm_status *status = pass->patch->status;
    int64_t took_ms = pass->wall_ms - status->instance.started_at_ms;
    memcpy(pass->vm->identified_instance_id, status->instance.instance_id, TEXT_ID_SIZE);
    status->prepared.wake = WAKE_NONE;
    vm_patch_event(pass->patch, false, REASON_CLONED,
        "woken from the memory of template %.*s, with its own identity, in %.2f s", TEMPLATE_DIGITS,
        status->prepared.template_digest, (double)(took_ms > 0 ? took_ms : 0) / 1000);
    return true;
}

void memory_record_failure(struct pass *pass)
{
    if (pass->view->status->saved.phase != SAVED_NONE) {
        return;
    }
    note_cold(pass, pass->vm->outcome->error->message);
}

/* What has no room, or cannot be written for another reason, ends a process that has it mapped. */
char *memory_exit_message(const struct pass *pass)
{
    int status = pass->machine.exit_status;
    bool is_by_file = status >= 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS;
    if (!is_by_file || !pass->view->status->instance.memory_host) {
        return NULL;
    }
    cleanup_free char *file = paths_vm(pass->vm->host->paths, pass->vm->name, VM_MEMORY_FILE);
    cleanup_free char *dir = paths_vm(pass->vm->host->paths, pass->vm->name, VM_DIR);
    return pass->media.free_bytes < (int64_t)ROOM_MIN_MIB << 20
               ? mem_printf("no space left for its memory, %u MiB in '%s': free some (df -h %s)",
                     pass->view->desired->spec->memory_mib, file, dir)
               : mem_printf("its memory in '%s' could not be read or written: see dmesg", file);
}

/* It would end the same way each time: no crash of the VM, nor a shutdown that the user wanted. */
bool memory_record_guest_end(struct pass *pass, enum exit_cause cause)
{
    static const struct {
        enum reason reason;
        const char *what;
    } ends[EXIT_CAUSE_COUNT_] = {
        [EXIT_GUEST_SHUTDOWN] = {REASON_GUEST_SHUTDOWN, "the guest powered itself off"},
        [EXIT_GUEST_PANIC] = {REASON_GUEST_PANICKED, "the guest's kernel panicked"},
        [EXIT_INTERNAL_ERROR] = {REASON_INTERNAL_ERROR, "the machine could not continue"},
    };
    if (pass->situation.wake != WAKE_BEGUN) {
        return false;
    }
    cleanup_free char *why = mem_printf("%s before it had its own identity", ends[cause].what);
    note_cold(pass, why);
    vm_patch_event(pass->patch, true, ends[cause].reason, "%s: vmctl does not try that again", why);
    return true;
}

/* A QEMU that ends with such a guest may have been killed: what insists is woken again. */
static bool is_lost_waking(const struct pass *pass)
{
    return pass->view->status->prepared.wake == WAKE_BEGUN && pass->situation.is_wake_ours &&
           pass->view->desired->spec->warm != WARM_REQUIRE;
}

static void note_output(struct pass *pass, const char *what)
{
    const char *output = pass->machine.last_output;
    cleanup_free char *why = mem_printf("%s%s%s", what, output ? ": " : "", output ? output : "");
    note_cold(pass, why);
}

/* A QEMU that does not take the memory ends, and one whose guest is not itself was ended: neither
 * is a crash of the VM, and neither is tried twice. */
enum exit_cause memory_judge_exit(struct pass *pass, enum exit_cause cause)
{
    const struct vm_status *status = pass->view->status;
    /* A power cut may have taken back the commit that its guest may run. */
    if (status->prepared.wake == WAKE_DUE && status->instance.pid != 0 &&
        cause == EXIT_HOST_REBOOT) {
        pass->patch->status->prepared.wake = WAKE_BEGUN;
    }
    bool is_failure =
        cause == EXIT_START_FAILED || cause == EXIT_PROCESS_DIED || exit_cause_is_oom_kill(cause);
    if (status->prepared.wake == WAKE_NONE || !is_failure) {
        return cause;
    }
    const char *known = pass->patch->status->warm.cold;
    if (status->prepared.wake == WAKE_DUE && status->instance.pid != 0) {
        note_output(pass, known ? known : "QEMU ended while it loaded the memory");
    } else if (!known && is_lost_waking(pass)) {
        note_output(pass, "QEMU ended before its guest had its own identity");
    }
    return pass->patch->status->warm.cold ? EXIT_BY_USER : cause;
}
