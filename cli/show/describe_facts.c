/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/describe_facts.h"

#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/text.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_status.h"
#include "store/desired/pending.h"
#include "store/store.h"

/* ---- changes ---- */

static bool has_instance(const struct vm_record *record)
{
    return record->status && record->status->instance.instance_id[0];
}

/* The spec of the last start knows nothing of what was applied since without one: whether that is
 * still to come is told by Synced. */
static bool is_outstanding(const struct vm_record *record, enum disposition disposition)
{
    const struct vm_status *status = record->status;
    enum reason synced = status->conditions[CONDITION_SYNCED].reason;
    bool is_unseen = status->observed_generation < record->desired->generation;
    switch (disposition) {
    case DISPOSITION_LIVE:
        return has_instance(record) && (is_unseen || synced == REASON_APPLYING);
    case DISPOSITION_PROVISION:
        return synced == REASON_PROVISION_OUTDATED;
    default:
        return true;
    }
}

struct spec_diff describe_changes(const struct vm_record *record)
{
    struct spec_diff diff = {.strongest = DISPOSITION_LIVE};
    if (!record->desired || !record->status) {
        return diff;
    }
    diff = pending_changes(record, record->desired->spec);
    for (size_t i = diff.count; i-- > 0;) {
        if (!is_outstanding(record, diff.changes[i].disposition)) {
            spec_diff_drop(&diff, i);
        }
    }
    return diff;
}

const char *describe_needs(enum disposition disposition)
{
    switch (disposition) {
    case DISPOSITION_START:
        return "the next start";
    case DISPOSITION_RESTART:
        return "restart";
    case DISPOSITION_RECREATE:
        return "recreate (erases the disk)";
    case DISPOSITION_PROVISION:
        return "provision";
    default:
        return "nothing more";
    }
}

/* ---- provisioning ---- */

/* Other steps than those that were run: nothing can be said of single ones. */
static bool are_steps_changed(const struct vm_record *record)
{
    const struct vm_status *status = record->status;
    return status->provision.total > record->desired->spec->n_steps ||
        status->conditions[CONDITION_SYNCED].reason == REASON_PROVISION_OUTDATED;
}

uint32_t describe_steps_total(const struct vm_record *record)
{
    return are_steps_changed(record) ? record->status->provision.total
                                     : (uint32_t)record->desired->spec->n_steps;
}

static const char *state_at(const struct vm_record *record)
{
    const struct vm_status *status = record->status;
    bool is_running = status->conditions[CONDITION_PROVISIONED].reason == REASON_RUNNING_STEP &&
        vm_status_is_true(status, CONDITION_RUNNING);
    return status->provision.is_failed ? "failed" : is_running ? "running" : "pending";
}

const char *describe_step_state(const struct vm_record *record, size_t index)
{
    const struct vm_status *status = record->status;
    if (!status) {
        return "pending";
    }
    const struct vm_provision *provision = &status->provision;
    if (provision->total > 0 && are_steps_changed(record)) {
        return NULL;
    }
    if (index >= provision->total) { /* appended, or none were ever run */
        return vm_status_is_true(status, CONDITION_PROVISIONED) ? "skipped" : "pending";
    }
    return index < provision->next_step ? "done"
        : index == provision->next_step ? state_at(record)
                                        : "pending";
}

static void add_first_line(struct buf *out, const char *text)
{
    enum { SHOWN_MAX = 60 };
    size_t n = strcspn(text, "\n"), shown = n < SHOWN_MAX ? n : SHOWN_MAX;
    while (shown < n && shown > 0 && ((unsigned char)text[shown] & 0xc0) == 0x80) {
        shown--;
    }
    text_add_printable(out, text, shown);
    buf_add_str(out, text[shown] ? "…" : "");
}

void describe_add_step(struct buf *out, const struct spec_step *step)
{
    switch (step->kind) {
    case STEP_INLINE:
        buf_add_str(out, "shell inline \"");
        add_first_line(out, step->command);
        buf_add_char(out, '"');
        return;
    case STEP_FILE:
        buf_add_str(out, "file ");
        text_add_printable(out, step->file.path, strlen(step->file.path));
        buf_add_str(out, " -> ");
        text_add_printable(out, step->destination, strlen(step->destination));
        return;
    default:
        buf_add_str(out, "shell script ");
        text_add_printable(out, step->file.path, strlen(step->file.path));
    }
}

static const struct vm_step_record *record_of(const struct vm_record *record, size_t index)
{
    return record->status ? vm_provision_step(&record->status->provision, (uint32_t)index) : NULL;
}

/* Most steps take less than the seconds in which all else is told. */
static void add_length(struct buf *out, int64_t length_ms)
{
    enum { SHORT_MS = 10000 };
    char text[DURATION_SIZE];
    if (length_ms < SHORT_MS) {
        buf_printf(out, "%.1fs", (double)(length_ms > 0 ? length_ms : 0) / 1000.);
        return;
    }
    duration_format(length_ms, text);
    buf_add_str(out, text);
}

static void add_age(struct buf *out, int64_t age_ms)
{
    char text[DURATION_SIZE];
    duration_format(age_ms, text);
    if (age_ms < 1000) {
        buf_add_str(out, ", just now");
    } else {
        buf_printf(out, ", %s ago", text);
    }
}

void describe_add_step_record(
    struct buf *out, const struct vm_record *record, size_t index, int64_t now_ms)
{
    const struct vm_step_record *last = record_of(record, index);
    if (!last) {
        return;
    }
    if (last->outcome == STEP_DONE && text_eq(describe_step_state(record, index), "done")) {
        buf_add_str(out, " (in ");
    } else {
        buf_printf(out, " (%s", step_outcome_name(last->outcome));
        if (last->exit_status > 0) {
            buf_printf(out, " with %d", last->exit_status);
        }
        buf_add_str(out, " after ");
    }
    add_length(out, last->duration_ms);
    add_age(out, now_ms - last->ended_at_ms);
    buf_add_char(out, ')');
}

json_t *describe_step_record_to_json(const struct vm_record *record, size_t index)
{
    const struct vm_step_record *last = record_of(record, index);
    if (!last) {
        return NULL;
    }
    json_t *json = json_object();
    json_put_text(json, "outcome", step_outcome_name(last->outcome));
    json_put_text(json, "content", last->content);
    json_put_int(json, "exitStatus", last->exit_status);
    json_put_int(json, "endedAt", last->ended_at_ms);
    json_put_int(json, "durationMs", last->duration_ms);
    return json;
}

/* ---- restarts ---- */

int64_t describe_next_try_ms(const struct vm_record *record, int64_t now_ms)
{
    const struct vm_status *status = record->status;
    bool is_meant_to_run = record->desired && record->desired->power == POWER_RUNNING &&
        !record->desired->is_deleting;
    return is_meant_to_run && status && !has_instance(record) && status->restart.count > 0 &&
            status->restart.not_before_ms > now_ms
        ? status->restart.not_before_ms
        : 0;
}
