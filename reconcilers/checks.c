/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/checks.h"

#include <stdlib.h>

#include "reconcilers/pass.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

enum {
    RETRY_MS = 1000,               /* of `ready` that does not pass: the user waits for it */
    OVERDUE_MS = 10 * 60 * 1000,   /* a Deployment's default progressDeadlineSeconds */
    JITTER_PERCENT = 10,           /* VMs that came up together are not probed together for ever */
};

static const struct spec_check *spec_of(const struct pass *pass, enum check_kind kind)
{
    return &pass->view->desired->spec->checks[kind];
}

/* A failed step leaves the guest without what is probed; whether to restart it is the user's say. */
static bool are_suspended(const struct pass *pass)
{
    const struct vm_status *status = pass->view->status;
    return status->provision.is_failed && pass->view->desired->spec->n_steps > 0;
}

static bool is_due(const struct pass *pass, enum check_kind kind)
{
    return spec_of(pass, kind)->n_probes > 0 && pass->vm->checks[kind].due_ms <= pass->now_ms;
}

bool checks_are_due(const struct pass *pass)
{
    return !are_suspended(pass) && (is_due(pass, CHECK_READY) || is_due(pass, CHECK_LIVE));
}

/* The one that has waited longer, so that a long list of one does not starve the other. */
enum check_kind checks_next(const struct pass *pass)
{
    const struct vm_check *checks = pass->vm->checks;
    if (!is_due(pass, CHECK_LIVE)) {
        return CHECK_READY;
    }
    bool is_ready_first =
        is_due(pass, CHECK_READY) && checks[CHECK_READY].due_ms <= checks[CHECK_LIVE].due_ms;
    return is_ready_first ? CHECK_READY : CHECK_LIVE;
}

int64_t checks_wait_ms(const struct pass *pass)
{
    int64_t soonest_ms = INT64_MAX;
    if (!pass->view->desired || !situation_is_checkable(&pass->situation) || are_suspended(pass)) {
        return VERDICT_WHEN_WOKEN;
    }
    for (int i = 0; i < CHECK_KIND_COUNT_; i++) {
        int64_t due_ms = pass->vm->checks[i].due_ms;
        if (spec_of(pass, (enum check_kind)i)->n_probes > 0 && due_ms < soonest_ms) {
            soonest_ms = due_ms;
        }
    }
    if (soonest_ms == INT64_MAX) {
        return VERDICT_WHEN_WOKEN;
    }
    return soonest_ms > pass->now_ms ? soonest_ms - pass->now_ms : VERDICT_NOW;
}

bool checks_are_fatal(const struct pass *pass)
{
    const struct spec_check *live = spec_of(pass, CHECK_LIVE);
    return live->n_probes > 0 && !are_suspended(pass) &&
           pass->vm->checks[CHECK_LIVE].failures >= live->failures;
}

bool checks_are_overdue(const struct pass *pass)
{
    int64_t since_ms = pass->vm->unready_since_ms;
    return since_ms > 0 && pass->now_ms - since_ms >= OVERDUE_MS;
}

/* ---- results ---- */

static int64_t period_ms(const struct pass *pass, enum check_kind kind)
{
    int64_t ms = (int64_t)spec_of(pass, kind)->period_s * 1000;
    uint32_t dice = pass->vm->host->dice(pass->vm->host);
    return ms + ms * (int64_t)(dice % JITTER_PERCENT) / 100;
}

static bool pass_ready(struct pass *pass)
{
    struct vm_probing *probing = &pass->patch->status->probing;
    pass->vm->unready_since_ms = 0;
    if (probing->is_passed) {
        return false;
    }
    probing->is_passed = true;
    free(TAKE_PTR(probing->failure));
    vm_patch_event(pass->patch, false, REASON_READY, "its `ready` probes pass");
    return true;
}

/* What has passed once is not lost by one failure: a moment's load is no news. */
static bool fail_ready(struct pass *pass, const struct vm_check *check)
{
    struct vm_probing *probing = &pass->patch->status->probing;
    if (pass->vm->unready_since_ms == 0) {
        pass->vm->unready_since_ms = pass->now_ms;
    }
    if (probing->is_passed && check->failures < spec_of(pass, CHECK_READY)->failures) {
        return false;
    }
    if (probing->is_passed) {
        vm_patch_event(pass->patch, true, REASON_PROBE_FAILED, "ready: %s", check->message);
    }
    bool is_news = probing->is_passed || !text_eq(probing->failure, check->message);
    probing->is_passed = false;
    free(probing->failure);
    probing->failure = mem_strdup(check->message);
    return is_news;
}

/* Not let in is not the same as dead: a key that was changed must not cost an instance. */
static bool is_sign_of_death(enum error_code code)
{
    return code == ERR_PROBE || code == ERR_TIMEOUT || code == ERR_SSH;
}

static bool is_starting_up(const struct pass *pass)
{
    int64_t limit_ms = (int64_t)spec_of(pass, CHECK_LIVE)->start_period_s * 1000;
    int64_t age_ms = pass->wall_ms - pass->view->status->instance.started_at_ms;
    return !pass->vm->checks[CHECK_LIVE].has_passed && age_ms < limit_ms;
}

static bool counts(const struct pass *pass, enum check_kind kind)
{
    return kind == CHECK_READY ||
           (is_sign_of_death(pass->vm->outcome.error.code) && !is_starting_up(pass));
}

bool checks_absorb(struct pass *pass)
{
    const struct vm_outcome *outcome = &pass->vm->outcome;
    enum check_kind kind = outcome->check;
    struct vm_check *check = &pass->vm->checks[kind];
    free(TAKE_PTR(check->message));
    check->due_ms = pass->now_ms + period_ms(pass, kind);
    if (outcome->is_ok) {
        check->failures = 0;
        check->has_passed = true;
        return kind == CHECK_READY && pass_ready(pass);
    }
    check->message = mem_strdup(outcome->error.message);
    check->failures += counts(pass, kind);
    if (kind == CHECK_LIVE) {
        return false;
    }
    check->due_ms = pass->now_ms + RETRY_MS;
    return fail_ready(pass, check);
}

void checks_reset(struct pass *pass)
{
    struct vm_probing *probing = &pass->patch->status->probing;
    vm_forget_checks(pass->vm);
    probing->is_passed = false;
    free(TAKE_PTR(probing->failure));
}
