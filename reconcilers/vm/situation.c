/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/vm/pass.h"

#include <stdlib.h>

#include "reconcilers/vm/exit.h"
#include "reconcilers/vm/hot_change.h"
#include "reconcilers/vm/memory.h"
#include "reconcilers/vm/probes.h"
#include "reconcilers/vm/saved.h"
#include "reconcilers/vm/volumes.h"
#include "reconcilers/vm/templates.h"
#include "specs/base/buf.h"
#include "specs/base/owner_lock.h"
#include "specs/base/text.h"
#include "specs/vm/media_digest.h"
#include "specs/vm/vm_steps.h"

enum {
    DELETION_GRACE_MS = 5000,
    /* Stop stages after the grace period: quit, SIGTERM, SIGKILL, give up. */
    QUIT_MS = 3000,
    TERMINATE_MS = 5000,
    KILL_MS = 10000,
};

static bool is_token_pending(const char *token, const char *handled)
{
    return token[0] && !text_eq(token, handled);
}

int64_t pass_grace_ms(const struct pass *pass)
{
    const struct vm_desired *desired = pass->view->desired;
    const struct vm_status *status = pass->view->status;
    bool is_booted = status->instance.intent != INTENT_START &&
                     (status->was_reached || !vm_spec_expects_ssh(desired->spec));
    uint32_t seconds =
        desired->stop_timeout_s ? desired->stop_timeout_s : desired->spec->stop_timeout_s;
    int64_t grace_ms = (int64_t)seconds * 1000;
    if (desired->fleet.is_fenced) { /* it may run elsewhere by now */
        return 0;
    }
    if (desired->is_deleting || pass->situation.recreation == RECREATION_READY) {
        /* its disk is deleted anyway; a guest that never booted needs no graceful shutdown */
        int64_t longest_ms = is_booted ? DELETION_GRACE_MS : 0;
        return grace_ms < longest_ms ? grace_ms : longest_ms;
    }
    return grace_ms;
}

bool pass_has_setup_failed(const struct pass *pass, const struct vm_status *status)
{
    return status->cloud_init.state == CLOUD_INIT_FAILED &&
           pass->view->desired->spec->cloud_init.on_error == SETUP_FAIL;
}

bool pass_lacks_room(const struct pass *pass)
{
    return pass->situation.run_state == RUN_STATE_IO_ERROR &&
           pass->media.free_bytes < (int64_t)ROOM_MIN_MIB << 20;
}

/* When each stage ends, counted from the end of the grace period. */
static const int64_t stage_ends_ms[] = {
    [STOP_STAGE_POWERDOWN] = 0,
    [STOP_STAGE_QUIT] = QUIT_MS,
    [STOP_STAGE_TERMINATE] = QUIT_MS + TERMINATE_MS,
    [STOP_STAGE_KILL] = QUIT_MS + TERMINATE_MS + KILL_MS,
};

int64_t pass_stage_left_ms(const struct pass *pass)
{
    const struct vm_instance *instance = &pass->view->status->instance;
    enum stop_stage stage = pass->situation.stage;
    if (instance->intent != INTENT_STOP || stage == STOP_STAGE_UNKILLABLE) {
        return INT64_MAX;
    }
    return instance->stop_deadline_ms + stage_ends_ms[stage] - pass->now_ms;
}

static void list_missing(struct pass *pass)
{
    const struct vm_spec *spec = pass->view->desired->spec;
    struct reconciler_host *host = pass->vm->host;
    struct buf out = BUF_INIT(0);
    bool is_before_start = !pass->view->status->instance.instance_id[0];
    pass->missing.worst = DEPENDENCY_READY;
    for (size_t i = 0; is_before_start && i < spec->n_depends_on; i++) {
        struct error error = {.code = ERR_NONE};
        enum dependency_state state = host->dependency(host, spec->depends_on[i], &error);
        if (state != DEPENDENCY_READY) {
            buf_printf(&out, "%s%s", out.len ? ", " : "for ", spec->depends_on[i]);
        }
        if (state > pass->missing.worst) {
            pass->missing.worst = state;
            pass->missing.error = error;
        }
    }
    free(pass->missing.names);
    pass->missing.names = buf_steal(&out);
}

bool pass_awaits_dependency(const struct pass *pass)
{
    const struct situation *s = &pass->situation;
    return s->is_dependency_missing && s->power != POWER_STOPPED && !s->is_alive &&
           !s->has_instance && !s->is_held && !situation_must_be_down(s);
}

/* Without a seed on its disk no key of ours is in the guest: `cloud-init` waits for a new disk, and
 * what ran well is not to be called unreachable until then. */
bool pass_expects_ssh(const struct pass *pass)
{
    const struct vm_spec *spec = pass->view->desired->spec;
    bool waits_for_key = spec->cloud_init.is_set && !spec->ssh.private_key && spec->n_steps == 0 &&
                         !spec_has_seed(spec, pass->view->status->prepared.seed_digest);
    return vm_spec_expects_ssh(spec) && !waits_for_key;
}

static void assess_desired(struct pass *pass)
{
    const struct vm_desired *desired = pass->view->desired;
    const struct vm_status *status = pass->view->status;
    struct situation *s = &pass->situation;
    s->is_desired = desired != NULL;
    if (!desired) {
        return;
    }
    s->is_deleting = desired->is_deleting;
    s->power = desired->power;
    s->is_halted =
        vm_desired_is_halted(desired, pass->vm->host->clock) ||
        (desired->halt_owner && !owner_lock_is_gone(pass->vm->host->paths, desired->halt_owner));
    s->wants_prepared = desired->wants_prepared;
    s->is_restart_pending = is_token_pending(desired->restart_token, status->handled_restart_token);
    list_missing(pass);
    s->is_dependency_missing = pass->missing.worst != DEPENDENCY_READY;
    s->expects_ssh = pass_expects_ssh(pass);
    s->has_setup_failed = pass_has_setup_failed(pass, status);
    const struct vm_provision *provision = &status->provision;
    bool are_under_way = vm_steps_are_under_way(provision);
    s->has_step = are_under_way && provision->next_step < desired->spec->n_steps;
    s->has_appended = /* not while others are run: they come behind those */
        !are_under_way && desired->spec->n_steps > provision->total &&
        vm_steps_state(provision, desired->spec, desired->skipped_steps) == STEPS_APPENDED;
    s->is_probe_due = probes_are_due(pass);
    s->is_unhealthy = probes_are_fatal(pass);
}

static void assess_recorded(struct pass *pass)
{
    const struct vm_desired *desired = pass->view->desired;
    const struct vm_status *status = pass->view->status;
    const struct vm_instance *instance = &status->instance;
    struct situation *s = &pass->situation;
    s->has_instance = instance->instance_id[0] || instance->intent != INTENT_NONE;
    s->intent = instance->intent;
    s->has_pid = instance->pid != 0;
    s->is_reached = status->was_reached;
    s->is_clock_due =
        status->clock.is_due ||
        clock_slept_ms(pass->vm->host->clock) - status->clock.slept_ms >= CLOCK_RIGHT_MS;
    s->is_setting_up = status->cloud_init.state == CLOUD_INIT_UNKNOWN ||
                       status->cloud_init.state == CLOUD_INIT_RUNNING;
    s->is_backing_off = exit_backoff_left_ms(pass) > 0;
    if (desired) {
        s->is_held = status->restart.held_generation == desired->generation;
        s->is_start_outdated = instance->intent == INTENT_START && !s->has_pid &&
                               status->saved.phase == SAVED_NONE &&
                               status->applied_generation != desired->generation;
    }
    int64_t since_deadline_ms = pass->now_ms - instance->stop_deadline_ms;
    while (s->intent == INTENT_STOP && s->stage < STOP_STAGE_UNKILLABLE &&
           since_deadline_ms >= stage_ends_ms[s->stage]) {
        s->stage++;
    }
}

/* A process whose pid was never recorded is a child of a controller that died: it sees the end of
 * its pipe and exits. Its deadline was never set, so it is given up once it has been silent for as
 * long. */
static bool is_start_overdue(const struct pass *pass)
{
    const struct vm_instance *instance = &pass->view->status->instance;
    if (instance->intent != INTENT_START) {
        return false;
    }
    return instance->pid != 0 ? pass->now_ms > instance->start_deadline_ms
                              : pass->machine.silent_ms > START_DEADLINE_MS;
}

/* Whether the replacement of the disk exists. A disk that another backend made is discarded by that
 * one, and one that does not exist needs no protection. */
static bool is_replacement_there(const struct pass *pass)
{
    const struct vm_status *status = pass->view->status;
    const struct vm_desired *desired = pass->view->desired;
    bool is_of_backend =
        vm_backend_kind(desired->spec, status) == (enum backend_kind)desired->spec->backend;
    if (!is_of_backend || !status->prepared.digest[0]) {
        return true;
    }
    return pass->vm->backend->media->prepare_next
               ? pass->media.has_replacement && template_fits(pass, &status->replacement) &&
                     text_eq(status->replacement_token, desired->recreate_token)
               : pass->vm->image.path != NULL;
}

static enum recreation assess_recreation(const struct pass *pass)
{
    const struct vm_desired *desired = pass->view->desired;
    if (!desired ||
        !is_token_pending(desired->recreate_token, pass->view->status->handled_recreate_token)) {
        return RECREATION_NONE;
    }
    bool is_put_off = pass->vm->put_off.retry_at_ms > pass->now_ms;
    return is_replacement_there(pass) ? RECREATION_READY
           : is_put_off               ? RECREATION_NONE
                                      : RECREATION_ASKED;
}

/* What runs in a guest, a provision step above all, is not interrupted for one. */
static void assess_snapshots(struct pass *pass)
{
    const struct vm *vm = pass->vm;
    const struct vm_desired *desired = pass->view->desired;
    bool is_busy = pass->situation.is_alive && vm->op && vm->op_action != ACTION_SNAPSHOT;
    pass->due_snapshot = pass_due_snapshot(pass);
    pass->situation.is_snapshot_asked =
        desired && !is_busy &&
        (is_token_pending(desired->snapshot.token, pass->view->status->handled_snapshot_token) ||
            pass_is_clone_due(pass) || pass->due_snapshot || pass_is_thaw_due(pass));
}

static void assess_observed(struct pass *pass)
{
    struct situation *s = &pass->situation;
    pass->vm->backend->machine->observe(pass->vm->machine, &pass->env, &pass->machine);
    pass->vm->backend->media->observe(&pass->env, &pass->media);
    s->is_alive = pass->machine.is_alive;
    s->is_waiting = pass->machine.is_waiting;
    s->run_state = pass->machine.run_state;
    s->is_launching = pass->vm->op_action == ACTION_LAUNCH;
    s->is_boot_unknown =
        !text_eq(pass->vm->booted_instance_id, pass->view->status->instance.instance_id);
    s->is_start_overdue = pass->vm->op_action != ACTION_LOAD && is_start_overdue(pass);
    pass->vm->has_guest_left |= s->intent == INTENT_STOP && s->run_state == RUN_STATE_SHUTDOWN;
    s->has_dir = pass->media.has_dir;
    s->has_image = pass->media.has_image;
    s->is_image_changed = pass->media.is_image_changed;
    s->is_image_unsure = pass->media.is_image_unsure;
    s->is_identity_due = pass->media.is_identity_due;
    bool is_unknown = pass->view->status->prepared.file_bytes &&
                      !text_eq(pass->media.disk_stamp, pass->vm->checked_disk_stamp);
    s->is_share_lost = (pass->machine.lost_share || pass->machine.is_tpm_lost) &&
                       pass->view->desired && pass->view->desired->spec->restart != RESTART_NEVER;
    s->disk = is_unknown && pass->vm->backend->media->check_disk && !s->is_alive &&
                      pass->media.disk != DISK_NONE
                  ? DISK_UNCHECKED
                  : pass->media.disk;
    s->recreation = assess_recreation(pass);
    volumes_assess(pass);
    assess_snapshots(pass);
}

void pass_assess(struct pass *pass)
{
    pass->situation = (struct situation){.is_desired = false};
    assess_desired(pass);
    assess_recorded(pass);
    assess_observed(pass);
    struct situation *s = &pass->situation;
    if (s->is_desired) { /* a running provision step is not interrupted for it */
        bool is_wanted = hot_change_is_pending(pass) || pass->machine.is_cut_off ||
                         hot_change_is_check_due(pass);
        bool is_step_running = pass->vm->op_action == ACTION_RUN_STEP;
        s->is_hot_change_pending = is_wanted && !is_step_running;
        s->is_growth_due = s->expects_ssh && !is_step_running && hot_change_is_growth_due(pass);
    }
    if (s->is_desired && s->intent == INTENT_STOP) {
        int64_t deadline_now = pass->now_ms + pass_grace_ms(pass);
        s->is_grace_shorter = deadline_now < pass->view->status->instance.stop_deadline_ms;
    }
    memory_assess(pass);
    saved_assess(pass);
    template_assess(pass);
}
