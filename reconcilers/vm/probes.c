/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/vm/probes.h"

#include <stdlib.h>

#include "reconcilers/vm/pass.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

enum {
    RETRY_MS = 1000,             /* of `ready` that fails: the user waits for it */
    OVERDUE_MS = 10 * 60 * 1000, /* a Deployment's default progressDeadlineSeconds */
    JITTER_PERCENT = 10, /* so that VMs that came up together are not probed together forever */
};

static const struct spec_check *spec_of(const struct pass *pass, enum check_kind kind)
{
    return &pass->view->desired->spec->checks[kind];
}

/* A failed step leaves the guest without what is probed; the user decides whether to restart it. */
static bool are_suspended(const struct pass *pass)
{
    const struct vm_status *status = pass->view->status;
    return status->provision.is_failed && pass->view->desired->spec->n_steps > 0;
}

/* A new controller waits for the rest of the period after a failure of `live`: probed at once, a
 * guest would have less time than the spec gives it. */
static int64_t due_ms(const struct pass *pass, enum check_kind kind)
{
    int64_t ours_ms = pass->vm->checks[kind].due_ms;
    int64_t recorded_ms = kind == CHECK_LIVE ? pass->patch->status->probing.live.due_ms : 0;
    return ours_ms > recorded_ms ? ours_ms : recorded_ms;
}

static bool is_due(const struct pass *pass, enum check_kind kind)
{
    return spec_of(pass, kind)->n_probes > 0 && due_ms(pass, kind) <= pass->now_ms;
}

bool probes_are_due(const struct pass *pass)
{
    return !are_suspended(pass) && (is_due(pass, CHECK_READY) || is_due(pass, CHECK_LIVE));
}

/* The kind that has waited longer, so that a long list of one kind does not starve the other. */
enum check_kind probes_next(const struct pass *pass)
{
    if (!is_due(pass, CHECK_LIVE)) {
        return CHECK_READY;
    }
    bool is_ready_first =
        is_due(pass, CHECK_READY) && due_ms(pass, CHECK_READY) <= due_ms(pass, CHECK_LIVE);
    return is_ready_first ? CHECK_READY : CHECK_LIVE;
}

int64_t probes_wait_ms(const struct pass *pass)
{
    int64_t soonest_ms = INT64_MAX;
    if (!pass->view->desired || !situation_is_probeable(&pass->situation) || are_suspended(pass)) {
        return VERDICT_WHEN_WOKEN;
    }
    for (int i = 0; i < CHECK_KIND_COUNT_; i++) {
        enum check_kind kind = (enum check_kind)i;
        if (spec_of(pass, kind)->n_probes > 0 && due_ms(pass, kind) < soonest_ms) {
            soonest_ms = due_ms(pass, kind);
        }
    }
    if (soonest_ms == INT64_MAX) {
        return VERDICT_WHEN_WOKEN;
    }
    return soonest_ms > pass->now_ms ? soonest_ms - pass->now_ms : VERDICT_NOW;
}

bool probes_are_fatal(const struct pass *pass)
{
    const struct spec_check *live = spec_of(pass, CHECK_LIVE);
    return live->n_probes > 0 && !are_suspended(pass) &&
           pass->patch->status->probing.live.failures >= live->failures;
}

bool probes_are_overdue(const struct pass *pass)
{
    int64_t since_ms = pass->patch->status->probing.unready_since_ms;
    return since_ms > 0 && pass->now_ms - since_ms >= OVERDUE_MS;
}

/* ---- results ---- */

static int64_t period_ms(const struct pass *pass, enum check_kind kind)
{
    int64_t ms = (int64_t)spec_of(pass, kind)->period_s * 1000;
    uint32_t rng = pass->vm->host->rng(pass->vm->host);
    return ms + ms * (int64_t)(rng % JITTER_PERCENT) / 100;
}

static bool record_ready_success(struct pass *pass)
{
    struct vm_probing *probing = &pass->patch->status->probing;
    pass->vm->checks[CHECK_READY].failures = 0;
    if (probing->is_passed) {
        return false;
    }
    probing->is_passed = true;
    probing->unready_since_ms = 0;
    free(TAKE_PTR(probing->failure));
    vm_patch_event(pass->patch, false, REASON_READY, "its `ready` probes pass");
    return true;
}

/* One failure does not make a ready VM unready: it may be a moment's load. */
static bool record_ready_failure(struct pass *pass, const char *message)
{
    struct vm_probing *probing = &pass->patch->status->probing;
    uint32_t failures = ++pass->vm->checks[CHECK_READY].failures;
    if (probing->is_passed && failures < spec_of(pass, CHECK_READY)->failures) {
        return false;
    }
    if (probing->is_passed) {
        vm_patch_event(pass->patch, true, REASON_PROBE_FAILED, "ready: %s", message);
    }
    bool is_new = probing->is_passed || !text_eq(probing->failure, message);
    probing->is_passed = false;
    if (probing->unready_since_ms == 0) {
        probing->unready_since_ms = pass->now_ms;
    }
    free(probing->failure);
    probing->failure = mem_strdup(message);
    return is_new;
}

static bool record_live_failure(struct pass *pass, const struct error *error)
{
    const struct vm_status *status = pass->view->status;
    struct vm_liveness *live = &pass->patch->status->probing.live;
    int64_t start_period_ms = (int64_t)spec_of(pass, CHECK_LIVE)->start_period_s * 1000;
    int64_t age_ms = pass->wall_ms - status->instance.started_at_ms;
    bool is_starting = !status->probing.live.has_passed && age_ms < start_period_ms;
    /* A refused login does not mean a dead guest: a changed key must not cost an instance. */
    bool is_dead = error->code == ERR_PROBE || error->code == ERR_TIMEOUT || error->code == ERR_SSH;
    if (!is_dead || is_starting) {
        return false;
    }
    live->failures++;
    live->due_ms = pass->vm->checks[CHECK_LIVE].due_ms;
    free(live->failure);
    live->failure = mem_strdup(error->message);
    return true;
}

static bool record_live(struct pass *pass, const struct vm_outcome *outcome)
{
    struct vm_liveness *live = &pass->patch->status->probing.live;
    pass->vm->checks[CHECK_LIVE].due_ms = pass->now_ms + period_ms(pass, CHECK_LIVE);
    if (outcome->error) {
        return record_live_failure(pass, outcome->error);
    }
    bool is_new = !live->has_passed || live->failures > 0;
    free(live->failure);
    *live = (struct vm_liveness){.has_passed = true};
    return is_new;
}

bool probes_record(struct pass *pass)
{
    const struct vm_outcome *outcome = pass->vm->outcome;
    if (outcome->check == CHECK_LIVE) {
        return record_live(pass, outcome);
    }
    int64_t wait_ms = outcome->error ? RETRY_MS : period_ms(pass, CHECK_READY);
    pass->vm->checks[CHECK_READY].due_ms = pass->now_ms + wait_ms;
    return outcome->error ? record_ready_failure(pass, outcome->error->message)
                          : record_ready_success(pass);
}

void probes_reset(struct pass *pass)
{
    struct vm_probing *probing = &pass->patch->status->probing;
    vm_forget_checks(pass->vm);
    free(probing->failure);
    free(probing->live.failure);
    *probing = (struct vm_probing){.is_passed = false};
}
