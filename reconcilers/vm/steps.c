/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Which provision steps are to be run: how a new desired record, a new disk, a first start and the
 * end of a step change vm_provision. Only the record changes here; act_run_step() runs the next
 * step of the recorded list.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reconcilers/vm/pass.h"
#include "reconcilers/vm/probes.h"
#include "reconcilers/vm/secrets.h"
#include "specs/base/digest.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/step_notes.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"
#include "specs/vm/vm_steps.h"

static struct vm_provision *provision_of(const struct pass *pass)
{
    return &pass->patch->status->provision;
}

static bool is_requested(const struct pass *pass)
{
    const char *token = pass->view->desired->provision_token;
    return token[0] && !text_eq(token, pass->patch->status->handled_provision_token);
}

/* All steps of the request have ended well, or there are none. */
static void mark_handled(struct pass *pass)
{
    struct vm_status *status = pass->patch->status;
    const char *token = pass->view->desired->provision_token;
    memcpy(status->handled_provision_token, token, TEXT_ID_SIZE);
    memcpy(status->ended_provision_token, token, TEXT_ID_SIZE);
}

/* ---- lists begin ---- */

/* With the step `asked`, from 1; 0: the first. */
static void steps_begin(struct pass *pass, uint32_t asked)
{
    struct vm_provision *provision = provision_of(pass);
    const struct vm_spec *spec = pass->view->desired->spec;
    uint32_t total = (uint32_t)spec->n_steps;
    asked = asked > total ? 0 : asked; /* the step was removed since */
    *provision = (struct vm_provision){
        .next_step = asked ? asked - 1 : 0,
        .total = total,
        .asked_step = asked,
        .is_continued = asked > 1,
        .last_exit_status = -1,
        .done = provision->done,
        .steps = provision->steps,
        .n_steps = provision->n_steps < total ? provision->n_steps : total,
    };
    memcpy(provision->token, pass->view->desired->provision_token, TEXT_ID_SIZE);
    vm_steps_digest(spec, total, provision->digest);
    vm_steps_digest(spec, provision->next_step, provision->ran_digest);
    probes_reset(pass);
    pass->vm->n_interrupted = 0;
}

/* Only changes the record: the old list is done, and the new one continues where it ended. */
int64_t pass_append_steps(struct pass *pass)
{
    struct vm_provision *provision = provision_of(pass);
    const struct vm_spec *spec = pass->view->desired->spec;
    provision->total = (uint32_t)spec->n_steps;
    vm_steps_digest(spec, spec->n_steps, provision->digest);
    provision->asked_step = 0;
    provision->is_continued = true;
    provision->run = (struct vm_step_run){.tries = 0};
    probes_reset(pass); /* the probed service may not be there before the steps are done */
    pass->vm->n_interrupted = 0;
    return VERDICT_NOW;
}

/* A VM that started without any step has an empty list that is done: steps that are added later are
 * appended. */
void pass_note_no_steps(struct pass *pass)
{
    struct vm_provision *provision = provision_of(pass);
    if (pass->view->desired->spec->n_steps == 0 && !provision->digest[0]) {
        vm_steps_digest(pass->view->desired->spec, 0, provision->digest);
        memcpy(provision->ran_digest, provision->digest, DIGEST_SIZE);
    }
}

void pass_reset_provision(struct pass *pass)
{
    struct vm_provision *provision = provision_of(pass);
    provision->n_steps = 0; /* they ran on another disk */
    if (is_requested(pass)) {
        steps_begin(pass, 0); /* also of `--from`: this disk has nothing of those before it */
        return;
    }
    free(provision->done);
    free(provision->steps);
    *provision = (struct vm_provision){.last_exit_status = -1};
    memcpy(provision->token, pass->view->desired->provision_token, TEXT_ID_SIZE);
}

/* ---- a step ends ---- */

void pass_finish_step(struct pass *pass)
{
    struct vm_provision *provision = provision_of(pass);
    const struct vm_spec *spec = pass->view->desired->spec;
    provision->next_step++;
    provision->run = (struct vm_step_run){.tries = 0};
    vm_steps_digest(spec, provision->next_step, provision->ran_digest);
    if (vm_steps_are_under_way(provision)) {
        return;
    }
    if (is_requested(pass)) {
        vm_patch_event(pass->patch, false, REASON_PROVISIONED, "%u provision step%s done",
            provision->total, provision->total == 1 ? "" : "s");
    } else {
        vm_patch_event(pass->patch, false, REASON_PROVISIONED,
            "appended provision steps done, %u in all", provision->total);
    }
    mark_handled(pass);
    if (provision->total >= spec->n_steps) { /* else appended ones follow */
        step_secrets_forget(pass);
    }
}

/* ---- the desired record is new ---- */

/* The user requested the steps again, or changed them before they were run. Steps that are only
 * appended do not disturb those that are being run: they come behind them. */
static bool begins_again(const struct pass *pass, enum steps_state state)
{
    const struct vm_provision *provision = provision_of(pass);
    uint32_t first = provision->asked_step ? provision->asked_step - 1 : 0;
    bool has_begun = provision->run.started_at_ms || provision->next_step > first;
    if (!text_eq(provision->token, pass->view->desired->provision_token)) {
        return true;
    }
    bool continues = state == STEPS_SAME || (state == STEPS_APPENDED && has_begun);
    return is_requested(pass) && !continues;
}

static bool are_steps_of(const struct vm_steps *known, const struct vm_desired *desired,
    const struct vm_provision *provision)
{
    return known->revision == desired->revision && text_eq(known->uid, desired->uid) &&
           known->total == provision->total && known->is_failed == provision->is_failed &&
           text_eq(known->digest, provision->digest);
}

enum steps_state pass_steps_state(const struct pass *pass)
{
    const struct vm_desired *desired = pass->view->desired;
    const struct vm_provision *provision = provision_of(pass);
    struct vm_steps *known = pass->vm->steps;
    if (known && are_steps_of(known, desired, provision)) {
        return known->state;
    }
    free(known);
    known = pass->vm->steps = mem_new(struct vm_steps);
    known->revision = desired->revision;
    known->total = provision->total;
    known->is_failed = provision->is_failed;
    memcpy(known->digest, provision->digest, DIGEST_SIZE);
    memcpy(known->uid, desired->uid, TEXT_ID_SIZE);
    return known->state = vm_steps_state(provision, desired->spec, desired->skipped_steps);
}

/* Behind a list that was cut, those that changed may follow as appended ones. */
static bool are_any_due(const struct pass *pass)
{
    return vm_steps_are_under_way(provision_of(pass)) || pass_steps_state(pass) == STEPS_APPENDED;
}

void pass_observe_steps(struct pass *pass)
{
    struct vm_provision *provision = provision_of(pass);
    const struct vm_spec *spec = pass->view->desired->spec;
    enum steps_state state = vm_steps_state(provision, spec, "");
    bool was_under_way = vm_steps_are_under_way(provision);
    bool begins = begins_again(pass, state);
    bool is_cut = !begins && was_under_way && state == STEPS_CHANGED;
    bool is_dropped = !begins && vm_steps_continue_at(provision, spec) == spec->n_steps + 1;
    if (begins) {
        steps_begin(pass, pass->view->desired->provision_from);
    } else if (is_cut || is_dropped) {
        /* Appended steps changed while they were run, or the one that failed was removed: those
         * that are done stay done, and the list ends with them. */
        provision->total = provision->next_step;
        memcpy(provision->digest, provision->ran_digest, DIGEST_SIZE);
        provision->run = (struct vm_step_run){.tries = 0};
        provision->is_failed = false;
        provision->last_exit_status = -1;
    }
    if ((begins || is_cut) && pass->vm->op_action == ACTION_RUN_STEP) {
        vm_cancel(pass->vm);
    }
    if (was_under_way && !are_any_due(pass)) {
        step_secrets_forget(pass);
    }
    if (spec->n_steps == 0) {
        mark_handled(pass);
    }
}

/* ---- what need not run again ---- */

bool pass_skips_step(const struct pass *pass, const char *secrets)
{
    const struct vm_provision *provision = &pass->view->status->provision;
    bool is_asked = provision->asked_step == provision->next_step + 1;
    return !is_asked && step_is_done(provision, pass->env.spec, provision->next_step, secrets);
}
