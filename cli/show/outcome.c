/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/outcome.h"

#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/enum_names.h"
#include "specs/base/text.h"
#include "specs/vm/vm_steps.h"
#include "store/desired/impact.h"
#include "store/desired/pending.h"

enum { VALUE_MAX = 60 }; /* bytes shown of a value: provision steps are long */

/* ---- the view ---- */

static bool stays_off(const struct vm_record *record, const struct change *change)
{
    const struct vm_desired *desired = record->desired;
    enum power power = change->sets_power ? change->power
                       : desired          ? desired->power
                                          : POWER_STOPPED;
    return !record_has_instance(record) && power == POWER_STOPPED;
}

static bool was_suspended(const struct vm_record *record, const struct change *change)
{
    return record->desired && record->desired->power == POWER_SUSPENDED && change->sets_power &&
           change->power == POWER_RUNNING;
}

static bool is_provisioning(
    const struct vm_record *record, const struct change *change, enum change_result result)
{
    bool is_begun =
        result == CHANGE_CREATED || result == CHANGE_STARTED || result == CHANGE_RECREATED;
    bool has_failed =
        record->status && record->status->provision.is_failed && change->spec &&
        vm_steps_continue_at(&record->status->provision, change->spec) != change->spec->n_steps + 1;
    return change->provision == PROVISION_AGAIN ||
           (change->provision == PROVISION_ON_START && (is_begun || has_failed));
}

/* The first of the provision steps that were appended, from 1; 0: none were, or `left_out` is their
 * list. */
static uint32_t first_appended(
    const struct vm_record *record, const struct vm_spec *spec, const char *left_out)
{
    const struct vm_status *status = record_status(record);
    bool is_appended =
        status && vm_steps_state(&status->provision, spec, left_out) == STEPS_APPENDED;
    return is_appended ? status->provision.total + 1 : 0;
}

struct outcome_view outcome_view_of(const struct vm_record *record, const struct spec_diff *pending,
    const struct change *change, const struct change_outcome *outcome)
{
    struct outcome_view view = {
        .name = change->name,
        .spec = change->spec,
        .outcome = outcome,
        .pending = pending,
        .has_instance = record_has_instance(record),
        .stays_off = stays_off(record, change),
        .was_suspended = was_suspended(record, change),
        .is_restarting = change->restarts,
        .is_recreating = change->recreates,
        .is_provisioning = is_provisioning(record, change, outcome->result),
        .drift = record_drift(record, change->spec),
    };
    /* On a new disk nothing was run yet. */
    uint32_t first = change->recreates ? 0 : first_appended(record, change->spec, "");
    if (change->provision == PROVISION_SKIP) {
        view.left_out_from = first;
    } else if (first > 0 && record->desired &&
               !first_appended(record, change->spec, record->desired->skipped_steps)) {
        view.resumed_from = first;
    }
    if (view.drift != REASON_NONE) {
        view.drift_message = record->status->conditions[CONDITION_SYNCED].message;
    }
    return view;
}

/* ---- text ---- */

/* A set of dispositions. */
enum {
    LIVE = 1 << DISPOSITION_LIVE,
    START = 1 << DISPOSITION_START,
    RESTART = 1 << DISPOSITION_RESTART,
};

static bool is_in(const struct spec_change *change, unsigned set)
{
    return set >> change->disposition & 1;
}

/* Where to begin so that the two differ in what is shown of them. */
static size_t find_difference(const char *a, const char *b)
{
    enum { BEFORE = 10 };
    size_t at = 0;
    while (a[at] && a[at] == b[at]) {
        at++;
    }
    return at + BEFORE < VALUE_MAX ? 0 : text_cut(a, strlen(a), at - BEFORE);
}

static void add_value(struct buf *out, const char *value, size_t from)
{
    buf_add_str(out, from > 0 ? "…" : "");
    text_add_beginning(out, value + from, strlen(value + from), VALUE_MAX);
}

static void add_changes(struct buf *out, const struct spec_diff *diff, unsigned set)
{
    bool is_first = true;
    for (size_t i = 0; i < diff->count; i++) {
        const struct spec_change *change = &diff->changes[i];
        if (!is_in(change, set)) {
            continue;
        }
        buf_printf(out, "%s%s ", is_first ? "" : ", ", change->field);
        size_t from = find_difference(change->before, change->after);
        add_value(out, change->before, from);
        buf_add_str(out, " -> ");
        add_value(out, change->after, from);
        is_first = false;
    }
}

static void outcome_add_line(
    struct buf *out, const struct outcome_view *view, const char *when, unsigned set)
{
    const struct spec_diff *diff = &view->outcome->diff;
    bool is_any = false;
    for (size_t i = 0; i < diff->count; i++) {
        is_any = is_any || is_in(&diff->changes[i], set);
    }
    if (is_any) {
        buf_printf(out, "%s: configured%s: ", view->name, when);
        add_changes(out, diff, set);
        buf_add_char(out, '\n');
    }
}

/* Changes that need nothing more than what happens anyway. */
static void add_configured(struct buf *out, const struct outcome_view *view)
{
    if (view->has_instance && !view->is_restarting && !view->is_recreating) {
        outcome_add_line(out, view, " (live)", LIVE);
    } else if (view->stays_off) {
        outcome_add_line(out, view, "", LIVE);
        outcome_add_line(out, view, " (at next start)", START);
    } else {
        outcome_add_line(out, view, "", LIVE | START | RESTART);
    }
}

bool outcome_waits(const struct outcome_view *view, enum disposition disposition)
{
    return disposition == DISPOSITION_RECREATE
               ? !view->is_recreating
               : disposition == DISPOSITION_RESTART && view->has_instance && !view->is_restarting &&
                     !view->is_recreating;
}

const char *outcome_drift(const struct outcome_view *view, enum disposition disposition)
{
    static const enum reason reasons[DISPOSITION_COUNT_] = {
        [DISPOSITION_RESTART] = REASON_RESTART_REQUIRED,
        [DISPOSITION_RECREATE] = REASON_RECREATE_REQUIRED,
    };
    bool has_drifted = reasons[disposition] != REASON_NONE && view->drift == reasons[disposition];
    if (!has_drifted || !outcome_waits(view, disposition) ||
        pending_needs(view->pending, disposition)) {
        return NULL;
    }
    return view->drift_message ? view->drift_message : reason_name(view->drift);
}

static void add_waiting(
    struct buf *out, const struct outcome_view *view, enum disposition disposition, const char *how)
{
    const char *drift = outcome_drift(view, disposition);
    bool waits = outcome_waits(view, disposition) && pending_needs(view->pending, disposition);
    if (!waits && !drift) {
        return;
    }
    buf_printf(out, "%s: %s required: ", view->name, disposition_name(disposition));
    if (drift) {
        text_add_printable(out, drift, strlen(drift));
    } else {
        add_changes(out, view->pending, 1U << disposition);
    }
    buf_printf(out, " (%s)\n", how);
}

static void add_steps(struct buf *out, const struct outcome_view *view)
{
    bool is_changed = pending_needs(&view->outcome->diff, DISPOSITION_PROVISION);
    if (view->is_provisioning) {
        return;
    }
    if (view->left_out_from && !view->stays_off) {
        buf_printf(out,
            "%s: provision steps from step %u on were left out (run them: vmctl up --name %s)\n",
            view->name, view->left_out_from, view->name);
    } else if (is_changed && view->stays_off) {
        buf_printf(out, "%s: provision steps changed (run them: vmctl up --name %s)\n", view->name,
            view->name);
    } else if (is_changed) {
        buf_printf(out, "%s: provision steps changed (run them: vmctl provision --name %s)\n",
            view->name, view->name);
    }
}

/* For people, who read it before it is done: the disk is kept where the new one cannot be made. */
static const char *told_word(enum change_result result)
{
    return result == CHANGE_RECREATED ? "recreating" : enum_names_at(&change_result_words, result);
}

/* Said when it begins, not at every `up`. */
static void add_open_forwards(struct buf *out, const struct outcome_view *view)
{
    const struct spec_network *network = &view->spec->network;
    const struct spec_forward *first = NULL;
    size_t n = 0;
    for (size_t i = 0; i < network->n_forwards; i++) {
        if (forward_is_open(&network->forwards[i])) {
            first = first ? first : &network->forwards[i];
            n++;
        }
    }
    if (first) {
        buf_printf(out, "%s: other hosts can connect to port %u", view->name, first->host_port);
        if (n > 1) {
            buf_printf(out, " and %zu more", n - 1);
        }
        buf_printf(out, " (%s)\n", forward_address(first));
    }
}

void outcome_describe(struct buf *out, const struct outcome_view *view)
{
    size_t before = out->len;
    enum change_result result = view->outcome->result;
    if (result == CHANGE_REQUESTED) {
        buf_printf(out, "%s: %s\n", view->name,
            view->is_provisioning ? "provisioning again"
            : view->resumed_from  ? "running the steps that were left out"
            : view->was_suspended ? "resumed"
                                  : "trying again");
    } else if (result != CHANGE_UNCHANGED && result != CHANGE_CONFIGURED) {
        buf_printf(out, "%s: %s\n", view->name, told_word(result));
    }
    add_configured(out, view);
    add_waiting(out, view, DISPOSITION_RESTART, "vmctl up --restart");
    add_waiting(out, view, DISPOSITION_RECREATE, "vmctl up --recreate; replaces the disk");
    add_steps(out, view);
    if (view->spec && result != CHANGE_UNCHANGED && result != CHANGE_REQUESTED) {
        add_open_forwards(out, view);
    }
    if (out->len == before) {
        buf_printf(out, "%s: %s\n", view->name, told_word(result));
    }
}
