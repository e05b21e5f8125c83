/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/describe.h"

#include <inttypes.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/show/events.h"
#include "cli/show/output.h"
#include "cli/show/table.h"
#include "cli/show/vm_text.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/text.h"
#include "specs/base/url.h"
#include "specs/vm/spec_text.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_status.h"
#include "specs/vm/vm_steps.h"
#include "store/desired/pending.h"
#include "store/store.h"

/* ---- changes ---- */

/* The spec of the last start does not have what was applied since without a start: Synced shows
 * whether that is still pending. */
static bool is_outstanding(const struct vm_record *record, enum disposition disposition)
{
    const struct vm_status *status = record->status;
    enum reason synced = status->conditions[CONDITION_SYNCED].reason;
    bool is_unseen = status->observed_generation < record->desired->generation;
    switch (disposition) {
    case DISPOSITION_LIVE:
        return record_has_instance(record) && (is_unseen || synced == REASON_APPLYING);
    case DISPOSITION_PROVISION:
        return synced == REASON_PROVISION_OUTDATED;
    case DISPOSITION_RECREATE: /* the same image at another place needs none */
        return is_unseen || (synced != REASON_SYNCED && synced != REASON_RESTART_REQUIRED &&
                                synced != REASON_PROVISION_OUTDATED);
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
        return "recreate (replaces the disk)";
    case DISPOSITION_PROVISION:
        return "provision";
    default:
        return "nothing more";
    }
}

/* ---- provisioning ---- */

/* The steps are not those that were run: single ones have no state. */
static bool are_steps_changed(const struct vm_record *record)
{
    struct vm_provision run = record->status->provision;
    run.is_failed = false; /* the steps behind a failed one wait, and are not changed */
    return vm_steps_state(&run, record->desired->spec, "") == STEPS_CHANGED;
}

uint32_t describe_steps_total(const struct vm_record *record)
{
    return are_steps_changed(record) ? record->status->provision.total
                                     : (uint32_t)record->desired->spec->n_steps;
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
    if (index != provision->next_step) {
        return index < provision->next_step ? "done" : "pending";
    }
    bool is_running = status->conditions[CONDITION_PROVISIONED].reason == REASON_RUNNING_STEP &&
                      vm_status_is_true(status, CONDITION_RUNNING);
    return provision->is_failed ? "failed" : is_running ? "running" : "pending";
}

void describe_add_step(struct buf *out, const struct spec_step *step)
{
    enum { SHOWN_MAX = 60 };
    switch (step->kind) {
    case STEP_INLINE:
        buf_add_str(out, "shell inline \"");
        text_add_beginning(out, step->command, strcspn(step->command, "\n"), SHOWN_MAX);
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

/* Most steps take less than a second, the unit of other durations. */
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

void describe_add_step_record(
    struct buf *out, const struct vm_record *record, size_t index, int64_t now_ms)
{
    const struct vm_step_record *last = record_of(record, index);
    char age[DURATION_SIZE];
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
    int64_t age_ms = now_ms - last->ended_at_ms;
    duration_format(age_ms, age);
    buf_printf(out, age_ms < 1000 ? ", just now)" : ", %s ago)", age);
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
    json_put_time(json, "endedAt", last->ended_at_ms);
    json_put_int(json, "durationMs", last->duration_ms);
    return json;
}

/* ---- restarts ---- */

int64_t describe_next_try_ms(const struct vm_record *record, int64_t now_ms)
{
    const struct vm_status *status = record->status;
    bool is_meant_to_run =
        record->desired && record->desired->power == POWER_RUNNING && !record->desired->is_deleting;
    return is_meant_to_run && status && !record_has_instance(record) && status->restart.count > 0 &&
                   status->restart.not_before_ms > now_ms
               ? status->restart.not_before_ms
               : 0;
}

/* ---- files ---- */

static const struct {
    const char *label;
    const char *key; /* in JSON */
    enum vm_file file;
} files[] = {
    {"Base image", "baseImage", VM_FILE_COUNT_}, /* from the status */
    {"Directory", "directory", VM_DIR},
    {"Disk", "disk", VM_OVERLAY},
    {"Seed ISO", "seed", VM_SEED},
    {"Console log", "consoleLog", VM_CONSOLE_LOG},
    {"Provision log", "provisionLog", VM_PROVISION_LOG},
    {"QEMU log", "qemuLog", VM_QEMU_LOG},
    {"Console", "console", VM_CONSOLE_SOCKET},
    {"QMP", "qmp", VM_QMP_SOCKET},
    {"Private key", "privateKey", VM_KEY},
    {"Known hosts", "knownHosts", VM_KNOWN_HOSTS},
};

/* Those that exist, by their keys. */
static json_t *files_to_json(const struct cli *cli, const struct vm_record *record)
{
    json_t *json = json_object();
    if (record->status) {
        json_put_text(json, "baseImage", record->status->prepared.image_path);
    }
    for (size_t i = 1; i < ARRAY_LEN(files); i++) {
        cleanup_free char *path = paths_vm(&cli->paths, record->name, files[i].file);
        if (fs_exists(path)) {
            json_put_text(json, files[i].key, path);
        }
    }
    return json;
}

static void add_files(struct buf *out, const struct cli *cli, const struct vm_record *record)
{
    cleanup_json json_t *json = files_to_json(cli, record);
    buf_add_str(out, json_object_size(json) > 0 ? "Files:\n" : "");
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        const char *path = json_text(json, files[i].key);
        if (path) {
            buf_printf(out, "  %-14s ", files[i].label);
            cleanup_free char *shown = url_for_people(path);
            text_add_printable(out, shown, strlen(shown));
            buf_add_char(out, '\n');
        }
    }
}

/* ---- text ---- */

static void add_changes(struct buf *out, const struct vm_record *record)
{
    static const char *const titles[] = {"  FIELD", "NOW", "WANTED", "NEEDS"};
    cleanup_with(spec_diff_clear) struct spec_diff diff = describe_changes(record);
    cleanup_with(table_clear) struct table table;
    table_begin(&table, titles, ARRAY_LEN(titles));
    for (size_t i = 0; i < diff.count; i++) {
        const struct spec_change *change = &diff.changes[i];
        const char *cells[] = {
            change->field, change->before, change->after, describe_needs(change->disposition)};
        for (size_t k = 0; k < ARRAY_LEN(cells); k++) {
            cleanup_buf struct buf cell = BUF_INIT(0);
            buf_add_str(&cell, k ? "" : "  ");
            text_add_printable(&cell, cells[k], strlen(cells[k]));
            table_add(&table, buf_str(&cell));
        }
    }
    if (diff.count > 0) {
        buf_add_str(out, "Pending changes:\n");
        table_print(&table, out);
    }
}

static void add_provisioning(struct buf *out, const struct vm_record *record, int64_t now_ms)
{
    const struct vm_spec *spec = record->desired ? record->desired->spec : NULL;
    const struct vm_status *status = record->status;
    if (!spec || spec->n_steps == 0) {
        return;
    }
    buf_printf(out, "Provisioning:\n");
    if (status && status->provision.total > 0) {
        buf_printf(out, "  %u of %u steps done\n", status->provision.next_step,
            describe_steps_total(record));
    }
    for (size_t i = 0; i < spec->n_steps; i++) {
        const char *state = describe_step_state(record, i);
        buf_printf(out, "  %zu/%zu %-8s ", i + 1, spec->n_steps, state ? state : "changed");
        describe_add_step(out, &spec->steps[i]);
        describe_add_step_record(out, record, i, now_ms);
        buf_add_char(out, '\n');
    }
}

/* The probes of the spec, and how they went in this instance. */
static void add_probes(struct buf *out, const struct vm_record *record)
{
    const struct vm_spec *spec = record->desired ? record->desired->spec : NULL;
    const struct vm_probing none = {.is_passed = false};
    bool is_running = record_has_instance(record);
    const struct vm_probing *probing = is_running ? &record->status->probing : &none;
    cleanup_json json_t *json = spec ? vm_spec_to_json(spec) : NULL;
    for (int kind = 0; spec && kind < CHECK_KIND_COUNT_; kind++) {
        const char *name = check_kind_name((enum check_kind)kind);
        const struct spec_check *check = &spec->checks[kind];
        bool is_live = kind == CHECK_LIVE;
        uint32_t failures = is_live ? probing->live.failures : 0;
        const char *failure = is_live ? probing->live.failure : probing->failure;
        bool has_passed = is_live ? probing->live.has_passed : probing->is_passed;
        if (check->n_probes == 0) {
            continue;
        }
        buf_add_str(out, strstr(buf_str(out), "\nProbes:\n") ? "  " : "Probes:\n  ");
        spec_text_add_node(out, name, json_object_get(json, name));
        buf_printf(out,
            "\n    every %us, at most %us each, failed after %u in a row: ", check->period_s,
            check->timeout_s, check->failures);
        if (!is_running) {
            buf_add_str(out, "it is not running");
        } else if (failures > 0) {
            buf_printf(out, "%u failed", failures);
        } else {
            buf_add_str(out, has_passed ? "passed" : failure ? "not passed" : "not passed yet");
        }
        if (failure && (failures > 0 || !has_passed)) {
            buf_add_str(out, ": ");
            text_add_printable(out, failure, strcspn(failure, "\n"));
        }
        buf_add_char(out, '\n');
    }
}

static void add_restarts(struct buf *out, const struct vm_record *record, int64_t now_ms)
{
    const struct vm_restart *restart = record->status ? &record->status->restart : NULL;
    bool is_ended_well =
        restart && (restart->last_cause == EXIT_NONE || restart->last_cause == EXIT_BY_USER);
    if (!restart || (restart->count == 0 && is_ended_well)) {
        return;
    }
    buf_add_str(out, "Failures:\n");
    buf_printf(out, "  Failures in a row: %u\n  Last end: %s", restart->count,
        exit_cause_name(restart->last_cause));
    if (restart->last_message && restart->last_message[0]) {
        buf_add_str(out, ": ");
        text_add_printable(out, restart->last_message, strcspn(restart->last_message, "\n"));
    }
    buf_add_char(out, '\n');
    int64_t next_ms = describe_next_try_ms(record, now_ms);
    if (next_ms > 0) {
        char when[CLOCK_TEXT_SIZE], left[DURATION_SIZE];
        clock_format_utc(next_ms, when);
        duration_format(next_ms - now_ms, left);
        buf_printf(out, "  Next try: in %s (%s)\n", left, when);
    }
}

int describe_add_text(
    struct cli *cli, const struct vm_record *record, struct buf *out, struct error *err)
{
    const struct vm_desired *desired = record->desired;
    int64_t now_ms = clock_wall_ms(clock_system());
    vm_text_add_head(out, record, cli->use_color_stdout);
    if (desired) {
        vm_text_field(
            out, "Wanted:", "%s", desired->is_deleting ? "deleted" : power_name(desired->power));
    }
    vm_text_add_generation(out, record);
    vm_text_add_desired(out, record);
    if (record->status) {
        vm_text_add_instance(out, record->status);
    }
    add_changes(out, record);
    add_provisioning(out, record, now_ms);
    add_probes(out, record);
    add_restarts(out, record, now_ms);
    add_files(out, cli, record);
    if (record->status) {
        vm_text_add_conditions(out, record->status);
        vm_text_add_blocker(out, &record->status->blocker);
    }
    int rc = vm_text_add_events(cli, record->name, out, err);
    vm_text_add_next(out, record);
    return rc;
}

/* ---- JSON ---- */

static json_t *steps_to_json(const struct vm_record *record)
{
    json_t *array = json_array();
    for (size_t i = 0; record->desired && i < record->desired->spec->n_steps; i++) {
        cleanup_buf struct buf text = BUF_INIT(0);
        const char *state = describe_step_state(record, i);
        json_t *json = json_object();
        describe_add_step(&text, &record->desired->spec->steps[i]);
        json_put_text(json, "step", buf_str(&text));
        json_put_text(json, "state", state ? state : "changed");
        json_t *last = describe_step_record_to_json(record, i);
        if (last) {
            json_put(json, "lastRun", last);
        }
        (void)json_array_append_new(array, json);
    }
    return array;
}

int describe_to_json(
    struct cli *cli, const struct vm_record *record, json_t **ret, struct error *err)
{
    cleanup_json json_t *events = json_array();
    int rc = events_add_json(cli, record->name, events, err);
    if (rc < 0) {
        return rc;
    }
    cleanup_with(spec_diff_clear) struct spec_diff diff = describe_changes(record);
    json_t *json = output_of_vm(record), *changes = json_array();
    for (size_t i = 0; i < diff.count; i++) {
        (void)json_array_append_new(changes, output_of_change(&diff.changes[i]));
    }
    int64_t next_ms = describe_next_try_ms(record, clock_wall_ms(clock_system()));
    json_put(json, "changes", changes);
    json_put(json, "provisioning", steps_to_json(record));
    json_put(json, "files", files_to_json(cli, record));
    json_put(json, "events", TAKE_PTR(events));
    if (next_ms > 0) {
        json_put_time(json, "nextTry", next_ms);
    }
    *ret = json;
    return 0;
}
