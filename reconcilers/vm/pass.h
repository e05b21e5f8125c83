/* SPDX-License-Identifier: MPL-2.0 */
/*
 * One pass over one VM, step by step: assess (situation.c) -> decide (decide.c) -> act (act.c) ->
 * describe (conditions.c). reconcile.c strings them together.
 */
#pragma once

#include <stdint.h>

#include "controller/reconciler.h"
#include "reconcilers/backend/backend.h"
#include "reconcilers/vm/decide.h"
#include "reconcilers/vm/vm.h"
#include "reconcilers/vm/vm_patch.h"
#include "specs/vm/vm_steps.h"

/* A guest that filled the host's file system resumes only once so much of it is free again: with
 * less it would soon be paused again. */
enum { ROOM_MIN_MIB = 32 };

/* From release to QMP's greeting. QEMU needs 15 … 30 ms; fifty at once on two cores need 5 s. */
enum { START_DEADLINE_MS = 20000 };

struct pass {
    struct vm *vm;
    const struct vm_view *view; /* as committed; from the first change on, as recorded in `patch` */
    struct vm_view recorded;    /* the latter */
    struct vm_patch *patch;
    struct vm_env env;     /* its spec: `whole`, or else the desired record's */
    struct vm_spec *whole; /* the desired spec with the volumes attached by hand; owned; NULL: none
                            * are */
    struct machine_facts machine;
    struct media_facts media;
    struct situation situation;
    /* Of pass_assess(): pass_due_snapshot(). Of `view`, so not beyond the next assessment. */
    const struct vm_snapshot *due_snapshot;
    /* The VMs that have to be ready before this one starts, and are not: of pass_assess(). */
    struct {
        char *names; /* "for db, cache"; owned */
        enum dependency_state worst;
        struct error error; /* why `worst` is no better than LATE */
    } missing;
    struct {
        char digest[DIGEST_SIZE]; /* of what the new disk that is due is to be a clone of */
        char *text;               /* how far it is, or why it cannot be used; owned */
        bool is_unseen;           /* no pass has looked at its builder yet */
        uint32_t n_steps; /* that the template of the present disk has run; 0: it has none */
    } template;           /* of template_assess() */
    char *wake_mismatch;  /* of memory_assess(): why the memory that its disk is to be woken with
                           * does not fit; owned; NULL: it does, or none is due */
    struct decision decision;
    int64_t now_ms; /* monotonic */
    int64_t wall_ms;
};

/* situation.c: fills pass->machine, media and situation from what is committed and observed. */
void pass_assess(struct pass *pass);
/* Returns whether the guest is expected to accept SSH. The VM has a desired record. */
bool pass_expects_ssh(const struct pass *pass);
/* Returns whether cloud-init ended with errors that the VMFile does not accept. */
bool pass_has_setup_failed(const struct pass *pass, const struct vm_status *status);
/* Returns the guest's grace period for a stop that starts now, in milliseconds. */
int64_t pass_grace_ms(const struct pass *pass);
/* Returns whether QEMU paused the guest for a failed write (werror=enospc) and there still is no
 * space. */
bool pass_lacks_room(const struct pass *pass);
/* Returns whether it is to be started but another VM has to be ready first. */
bool pass_awaits_dependency(const struct pass *pass);
/* Returns the time until the next stop stage in milliseconds; INT64_MAX: none. */
int64_t pass_stage_left_ms(const struct pass *pass);

/*
 * outcome.c: records the outcome of the finished operation in the patch: successes become recorded
 * facts, failures start a backoff. True when the status changed: decide on what is recorded now.
 */
bool pass_record_outcomes(struct pass *pass);
/* Records that the guest was reset: it has to be reached again. True when the status changed. */
bool pass_note_reset(struct pass *pass);
/* Observes a new generation of the desired record: cancels the work and backoffs of the old one.
 * True when the status changed. */
bool pass_observe_generation(struct pass *pass);

/* steps.c: observes the provision steps of a new desired record. */
void pass_observe_steps(struct pass *pass);
/* vm_steps_state() of the desired record and the patch's status. */
enum steps_state pass_steps_state(const struct pass *pass);
/* ACTION_APPEND_STEPS: records that the steps appended after those that ran have to run:
 * vm_steps.h, STEPS_APPENDED. */
int64_t pass_append_steps(struct pass *pass);
/* The VM has started. */
void pass_note_no_steps(struct pass *pass);
/* Call when the disk is new: requested steps start again, and no step counts as run. */
void pass_reset_provision(struct pass *pass);
/* Whether the next provision step need not run; `secrets` is step_secrets_digest(), or NULL: false
 * then when that depends on them. */
bool pass_skips_step(const struct pass *pass, const char *secrets);
/* The next provision step is done, or need not run: the one after it is next. */
void pass_finish_step(struct pass *pass);

/* disk_acts.c: those actions, as pass_act(). */
int64_t pass_fetch_image(struct pass *pass);
int64_t pass_quarantine(struct pass *pass);
/* Moves what is in the VM's directory to quarantine/, and logs why. */
int pass_move_to_quarantine(const struct pass *pass, const char *cause, struct error *err);
int64_t pass_prepare(struct pass *pass);
int64_t pass_replace(struct pass *pass);
int64_t pass_identify_image(struct pass *pass);
int64_t pass_check_disk(struct pass *pass);
/* Returns whether the disk is about to be replaced, or between the first tries to make it: the VM
 * is not Ready. */
bool pass_is_being_replaced(const struct pass *pass);
/* Records that the disk was discarded and its replacement, if any, is the VM's disk. */
void pass_record_new_disk(struct pass *pass);
/* Drops the record of the disk's replacement. */
void pass_forget_replacement(struct pass *pass);

/* snapshot_acts.c: that action, as pass_act(); and its outcome, `error` NULL: it is done. True: the
 * status changed. */
int64_t pass_snapshot(struct pass *pass);
bool pass_record_snapshot(struct pass *pass, const struct error *error);
/* Returns whether the disk has to be cloned from another VM's and does not exist yet;
 * ACTION_SNAPSHOT makes it, too. */
bool pass_is_clone_due(const struct pass *pass);
/* pass_keep_disk() keeps the disk that is about to be discarded for a while, unless it must not be
 * kept; pass_record_kept() records that, and under which name. */
int pass_keep_disk(struct pass *pass, struct error *err);
void pass_record_kept(struct pass *pass);
/* Returns the oldest kept disk that has expired; NULL: none. Borrowed. */
const struct vm_snapshot *pass_due_snapshot(const struct pass *pass);
/* Returns the time until one expires; VERDICT_WHEN_WOKEN: none is kept. */
int64_t pass_kept_ms(const struct pass *pass);

/* guest_agent.c: records which agent answers in the guest. */
void pass_note_agent(struct pass *pass);
/* The guest's file systems are to be frozen for the copy that is about to be made, by its agent. */
bool pass_is_freeze_due(const struct pass *pass);
/* Records that they are about to be. */
void pass_begin_freeze(struct pass *pass);
/* They may be frozen, no copy needs that, and its agent answers. */
bool pass_is_thaw_due(const struct pass *pass);
/* ACTION_SNAPSHOT of that: as pass_act(), and its outcome: true, the status changed. */
int64_t pass_thaw(struct pass *pass);
bool pass_record_thaw(struct pass *pass, const struct error *error);

/*
 * renamed.c: the files of a VM that was renamed are where they belong, or could not be moved yet:
 * false, the patch's status says why, and nothing else may be done with it. Once they are they are
 * not moved again; and once its VMFile names it so, the patch gives its old name back
 * (store/desired/rename.h). Without a desired record nothing is done: the status may be what is
 * left of a VM that has another name by now.
 */
bool renamed_move_files(struct pass *pass);
/* Returns the VM that last had this name and whose files may still be under it; NULL: none. */
const char *renamed_now(struct reconciler_host *host, const char *name);

/* exit.c: returns why the VM has no process. */
enum reason pass_reason_while_down(const struct pass *pass);

/* act.c: carries out pass->decision. Returns verdict.requeue_ms. */
int64_t pass_act(struct pass *pass);
/* Call when the action failed at once; it is retried with backoff. Returns as pass_act(). */
int64_t pass_fail(struct pass *pass, const struct error *err);
/*
 * Returns whether the decision may be carried out before the record it is based on is committed: it
 * only adds to that commit, or has no effect that matters if the commit fails.
 */
bool pass_may_precede_commit(const struct pass *pass);

/* conditions.c: writes all conditions of the patch's status but Stalled. */
void pass_describe(struct pass *pass);
void pass_describe_limits(struct pass *pass); /* limited.c */
void pass_set(struct pass *pass, enum condition_type type, enum condition_state state,
    enum reason reason, const char *message);
/* Returns whether the guest did not come up within its ssh timeout. */
bool pass_is_reach_overdue(const struct pass *pass);
/* Returns why a guest that boots or is overdue is not reached: the firmware's message, if it
 * refuses the disk. free() it. */
char *pass_explain_silence(const struct pass *pass);
/* Returns whether the guest has refused the login for longer than a boot may take to set up its
 * user. */
bool pass_is_refused(const struct pass *pass);
/* Returns whether cloud-init did not end within SETUP_LIMIT_MINUTES. */
bool pass_is_setup_overdue(const struct pass *pass);
enum { SETUP_LIMIT_MINUTES = 10 };

/* stalled.c: writes down the error, with the VM's name in its help, or ERR_NONE: there is none. */
void pass_report(struct pass *pass, struct vm_blocker *blocker, const struct error *error);
/* The conditions Stalled, and Orphaned of what has no desired record, and vm_status.blocker. After
 * pass_describe(), whose conditions it reads. */
void pass_describe_stalled(struct pass *pass);

/*
 * ssh_file.c: writes the VM's Host block into its directory, with which it goes, if it is not what
 * the patch's status and the desired record make it: by temporary file and rename, so that ssh sees
 * a whole one. Killed before the rename, or with a commit that fails, the next pass does it again;
 * nothing else depends on it, and a failure is only logged. A file that was removed is written
 * again when the VM `is_under_way` no more: until then there are many passes.
 */
void pass_keep_ssh_file(struct pass *pass, bool is_under_way);
