/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/status_text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/duration.h"
#include "cli/events.h"
#include "cli/table.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/fs.h"
#include "specs/base/text.h"
#include "store/store.h"

__attribute__((format(printf, 3, 4))) static void field(
    struct buf *out, const char *label, const char *fmt, ...)
{
    char text[2048];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    buf_printf(out, "%-12s ", label);
    text_add_printable(out, text, strlen(text));
    buf_add_char(out, '\n');
}

static void add_state(struct buf *out, const struct vm_record *record)
{
    struct desired_summary desired = {.generation = 0};
    struct status_summary status = {.pid = 0};
    if (record->desired) {
        desired_summary_of(record->desired, &desired);
    }
    if (record->status) {
        status_summary_of(record->status, &status);
    }
    field(out, "State:", "%s", vm_display_book_state(&desired, &status));
    field(out, "Status:", "%s",
        record->desired ? vm_display_word(&desired, &status) : "Orphaned");
}

static void add_network(struct buf *out, const struct vm_spec *spec)
{
    const char *of = spec->network.mode == NETWORK_TAP ? spec->network.bridge
        : spec->network.mode == NETWORK_VNIC           ? spec->network.vnic
                                                       : NULL;
    field(out, "Network:", "%s%s%s%s", network_mode_name(spec->network.mode), of ? " (" : "",
        of ? of : "", of ? ")" : "");
    for (size_t i = 0; i < spec->network.n_forwards; i++) {
        const struct spec_forward *forward = &spec->network.forwards[i];
        field(out, "Forward:", "127.0.0.1:%u -> %u/%s", forward->host_port, forward->guest_port,
            forward_protocol_name(forward->protocol));
    }
}

static void add_spec(struct buf *out, const struct vm_spec *spec)
{
    field(out, "Backend:", "%s", backend_kind_name(spec->backend));
    if (spec->max_vcpus > spec->vcpus) {
        field(out, "vCPUs:", "%u (up to %u)", spec->vcpus, spec->max_vcpus);
    } else {
        field(out, "vCPUs:", "%u", spec->vcpus);
    }
    if (spec->max_memory_mib > spec->memory_mib) {
        field(out, "Memory:", "%u MB (up to %u)", spec->memory_mib, spec->max_memory_mib);
    } else {
        field(out, "Memory:", "%u MB", spec->memory_mib);
    }
    if (spec->disk_gib) {
        field(out, "Disk:", "%u GB", spec->disk_gib);
    } else {
        field(out, "Disk:", "as the image");
    }
    field(out, "Image:", "%s", spec->image.location ? spec->image.location : "-");
    add_network(out, spec);
}

static void add_path(struct buf *out, const char *label, const struct cli *cli, const char *name,
    enum vm_file file)
{
    cleanup_free char *path = places_vm(&cli->places, name, file);
    field(out, label, "%s", fs_exists(path) ? path : "-");
}

static void add_instance(struct buf *out, const struct vm_status *status)
{
    const struct vm_instance *instance = &status->instance;
    if (instance->pid) {
        field(out, "PID:", "%d", instance->pid);
    } else {
        field(out, "PID:", "-");
    }
    if (instance->accel) {
        field(out, "Accelerator:", "%s", instance->accel);
    }
    field(out, "VNC:", "%s", status->vnc ? status->vnc : "-");
    if (status->ssh_port && instance->iid[0]) {
        field(out, "SSH:", "%s:%u", status->ssh_host ? status->ssh_host : "127.0.0.1",
            status->ssh_port);
    } else {
        field(out, "SSH:", "-");
    }
    field(out, "MAC:", "%s", status->mac ? status->mac : "-");
    if (status->restart.count) {
        field(out, "Restarts:", "%u", status->restart.count);
    }
}

static void add_conditions(struct buf *out, const struct vm_status *status)
{
    cleanup_with(table_clear) struct table table;
    table_init(&table, 5);
    static const char *const header[] = {"  CONDITION", "STATUS", "REASON", "AGE", "MESSAGE"};
    for (size_t i = 0; i < ARRAY_LEN(header); i++) {
        table_add(&table, header[i]);
    }
    int64_t now_ms = clock_wall_ms(clock_system());
    for (int i = 0; i < CONDITION_TYPE_COUNT_; i++) {
        const struct condition *condition = &status->conditions[i];
        if (condition->state == CONDITION_ABSENT) {
            continue;
        }
        char age[DURATION_SIZE];
        cleanup_buf struct buf cell = BUF_INIT(0);
        buf_printf(&cell, "  %s", condition_type_name((enum condition_type)i));
        duration_format(now_ms - condition->last_transition_ms, age);
        table_add(&table, buf_str(&cell));
        table_add(&table, condition_state_name(condition->state));
        table_add(&table, reason_name(condition->reason));
        table_add(&table, age);
        buf_reset(&cell);
        const char *message = condition->message ? condition->message : "";
        text_add_printable(&cell, message, strcspn(message, "\n"));
        table_add(&table, buf_str(&cell));
    }
    buf_add_str(out, "Conditions:\n");
    table_print(&table, out);
}

static void add_trouble(struct buf *out, const struct vm_trouble *trouble)
{
    if (!trouble->code) {
        return;
    }
    buf_printf(out, "Trouble:\n  %s: ", trouble->code);
    const char *message = trouble->message ? trouble->message : "";
    text_add_printable(out, message, strlen(message));
    buf_add_char(out, '\n');
    if (trouble->help && trouble->help[0]) {
        buf_add_str(out, "  help: ");
        text_add_printable(out, trouble->help, strlen(trouble->help));
        buf_add_char(out, '\n');
    }
}

static int add_events(struct cli *cli, const char *name, struct buf *out, struct error *err)
{
    enum { SHOWN = 10 };
    cleanup_buf struct buf events = BUF_INIT(0);
    int rc = events_list(cli, name, SHOWN, &events, err);
    if (rc == 0 && events.len > 0) {
        buf_printf(out, "Events:\n%s", buf_str(&events));
    }
    return rc;
}

static void add_desired(struct buf *out, const struct vm_desired *desired)
{
    char age[DURATION_SIZE];
    if (!desired) {
        return;
    }
    add_spec(out, desired->spec);
    field(out, "VMFile:", "%s", desired->source ? desired->source : "- (vmctl create)");
    duration_format(clock_wall_ms(clock_system()) - desired->created_ms, age);
    field(out, "Age:", "%s", age);
}

int status_text_add(
    struct cli *cli, const struct vm_record *record, struct buf *out, struct error *err)
{
    const struct vm_desired *desired = record->desired;
    const struct vm_status *status = record->status;
    field(out, "Name:", "%s", record->name);
    field(out, "ID:", "%s", desired ? desired->uid : status ? status->uid : "-");
    add_state(out, record);
    add_desired(out, desired);
    add_path(out, "Work dir:", cli, record->name, VM_DIR);
    add_path(out, "Overlay:", cli, record->name, VM_OVERLAY);
    add_path(out, "Seed ISO:", cli, record->name, VM_SEED);
    if (status) {
        add_instance(out, status);
    }
    if (desired) {
        field(out, "Generation:", "%" PRIu64 " (observed %" PRIu64 ")", desired->generation,
            status ? status->observed_generation : 0);
    }
    if (status) {
        add_conditions(out, status);
        add_trouble(out, &status->trouble);
    }
    return add_events(cli, record->name, out, err);
}
