/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/describe.h"

#include <inttypes.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/show/describe_facts.h"
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
#include "store/store.h"

static const struct {
    const char *label;
    const char *key; /* in JSON */
    enum vm_file file;
} files[] = {
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

static int64_t now_ms(void)
{
    return clock_wall_ms(clock_system());
}

/* ---- text ---- */

static void add_wanted(struct buf *out, const struct vm_desired *desired)
{
    if (desired) {
        vm_text_field(out, "Wanted:", "%s",
            desired->is_deleting ? "deleted" : power_name(desired->power));
    }
}

static void add_change(struct table *table, const struct spec_change *change)
{
    const char *cells[] = {change->field, change->before, change->after,
        describe_needs(change->disposition)};
    for (size_t i = 0; i < ARRAY_LEN(cells); i++) {
        cleanup_buf struct buf cell = BUF_INIT(0);
        buf_add_str(&cell, i ? "" : "  ");
        text_add_printable(&cell, cells[i], strlen(cells[i]));
        table_add(table, buf_str(&cell));
    }
}

static void add_changes(struct buf *out, const struct vm_record *record)
{
    static const char *const titles[] = {"  FIELD", "NOW", "WANTED", "NEEDS"};
    cleanup_with(spec_diff_clear) struct spec_diff diff = describe_changes(record);
    cleanup_with(table_clear) struct table table;
    table_init(&table, ARRAY_LEN(titles));
    for (size_t i = 0; i < ARRAY_LEN(titles); i++) {
        table_add(&table, titles[i]);
    }
    for (size_t i = 0; i < diff.count; i++) {
        add_change(&table, &diff.changes[i]);
    }
    if (diff.count > 0) {
        buf_add_str(out, "Changes that wait:\n");
        table_print(&table, out);
    }
}

static void add_provisioning(struct buf *out, const struct vm_record *record)
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
        describe_add_step_record(out, record, i, now_ms());
        buf_add_char(out, '\n');
    }
}

static void add_restarts(struct buf *out, const struct vm_record *record)
{
    const struct vm_restart *restart = record->status ? &record->status->restart : NULL;
    bool is_ended_well = restart &&
        (restart->last_cause == EXIT_NONE || restart->last_cause == EXIT_BY_USER);
    if (!restart || (restart->count == 0 && is_ended_well)) {
        return;
    }
    buf_add_str(out, "Restarts:\n");
    buf_printf(out, "  Failures in a row: %u\n  Last end: %s", restart->count,
        exit_cause_name(restart->last_cause));
    if (restart->last_message && restart->last_message[0]) {
        buf_add_str(out, ": ");
        text_add_printable(out, restart->last_message, strcspn(restart->last_message, "\n"));
    }
    buf_add_char(out, '\n');
    int64_t next_ms = describe_next_try_ms(record, now_ms());
    if (next_ms > 0) {
        char when[CLOCK_TEXT_SIZE], left[DURATION_SIZE];
        clock_format_utc(next_ms, when);
        duration_format(next_ms - now_ms(), left);
        buf_printf(out, "  Next try: in %s (%s)\n", left, when);
    }
}

static void add_file(struct buf *out, const char *label, const char *path)
{
    cleanup_buf struct buf shown = BUF_INIT(0);
    text_add_printable(&shown, path, strlen(path));
    buf_printf(out, "  %-14s %s\n", label, buf_str(&shown));
}

static void add_files(struct buf *out, const struct cli *cli, const struct vm_record *record)
{
    size_t before = out->len;
    buf_add_str(out, "Files:\n");
    size_t titled = out->len;
    if (record->status && record->status->prepared.image_path) {
        add_file(out, "Base image", record->status->prepared.image_path);
    }
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        cleanup_free char *path = paths_vm(&cli->paths, record->name, files[i].file);
        if (fs_exists(path)) {
            add_file(out, files[i].label, path);
        }
    }
    if (out->len == titled) { /* nothing is there: no title either */
        out->len = before;
        out->data[before] = '\0';
    }
}

int describe_add_text(
    struct cli *cli, const struct vm_record *record, struct buf *out, struct error *err)
{
    vm_text_add_head(out, record);
    add_wanted(out, record->desired);
    vm_text_add_generation(out, record);
    vm_text_add_desired(out, record->desired);
    if (record->status) {
        vm_text_add_instance(out, record->status);
    }
    add_changes(out, record);
    add_provisioning(out, record);
    add_restarts(out, record);
    add_files(out, cli, record);
    if (record->status) {
        vm_text_add_conditions(out, record->status);
        vm_text_add_blocker(out, &record->status->blocker);
    }
    return vm_text_add_events(cli, record->name, out, err);
}

/* ---- JSON ---- */

static json_t *changes_to_json(const struct vm_record *record)
{
    cleanup_with(spec_diff_clear) struct spec_diff diff = describe_changes(record);
    json_t *array = json_array();
    for (size_t i = 0; i < diff.count; i++) {
        (void)json_array_append_new(array, output_of_change(&diff.changes[i]));
    }
    return array;
}

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

static json_t *files_to_json(const struct cli *cli, const struct vm_record *record)
{
    json_t *json = json_object();
    if (record->status) {
        json_put_text(json, "baseImage", record->status->prepared.image_path);
    }
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        cleanup_free char *path = paths_vm(&cli->paths, record->name, files[i].file);
        if (fs_exists(path)) {
            json_put_text(json, files[i].key, path);
        }
    }
    return json;
}

int describe_to_json(
    struct cli *cli, const struct vm_record *record, json_t **ret, struct error *err)
{
    cleanup_json json_t *events = json_array();
    int rc = events_add_json(cli, record->name, events, err);
    if (rc < 0) {
        return rc;
    }
    json_t *json = output_of_vm(record);
    int64_t next_ms = describe_next_try_ms(record, now_ms());
    json_put(json, "changes", changes_to_json(record));
    json_put(json, "provisioning", steps_to_json(record));
    json_put(json, "files", files_to_json(cli, record));
    json_put(json, "events", TAKE_PTR(events));
    if (next_ms > 0) {
        json_put_int(json, "nextTry", next_ms);
    }
    *ret = json;
    return 0;
}
