/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/vm_text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/show/events.h"
#include "cli/show/table.h"
#include "cli/show/vm_rows.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/mem.h"
#include "specs/base/proc_usage.h"
#include "specs/base/text.h"
#include "specs/base/url.h"
#include "specs/vm/backend_traits.h"
#include "specs/vm/spec_text.h"
#include "store/store.h"

void vm_text_field(struct buf *out, const char *label, const char *fmt, ...)
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

void vm_text_add_head(struct buf *out, const struct vm_record *record, bool use_color)
{
    const struct vm_desired *known = record->desired;
    const struct vm_row row = vm_row_of_record(record);
    vm_text_field(out, "Name:", "%s", record->name);
    vm_text_field(out, "ID:", "%s",
        known            ? known->uid
        : record->status ? record->status->uid
                         : "-");
    vm_text_field(out, "State:", "%s", vm_display_book_state(&row.desired, &row.status));
    buf_printf(out, "%-12s %s%s%s\n", "Status:", use_color ? vm_tone_colors[vm_row_tone(&row)] : "",
        vm_row_state(&row), use_color ? "\033[0m" : "");
}

static void add_network(struct buf *out, const struct vm_spec *spec)
{
    const struct spec_network *network;
    for (size_t i = 0; (network = vm_spec_network(spec, i)); i++) {
        const char *of = network->mode == NETWORK_TAP       ? network->bridge
                         : network->mode == NETWORK_VNIC    ? network->vnic
                         : network->mode == NETWORK_PROJECT ? network->network
                                                            : NULL;
        vm_text_field(out, "Network:", "%s%s%s%s", network_mode_name(network->mode), of ? " (" : "",
            of ? of : "", of ? ")" : "");
    }
    for (size_t i = 0; i < spec->network.n_forwards; i++) {
        const struct spec_forward *forward = &spec->network.forwards[i];
        vm_text_field(out, "Forward:", "%s:%u -> %u/%s", forward_address(forward),
            forward->host_port, forward->guest_port, forward_protocol_name(forward->protocol));
    }
    for (size_t i = 0; i < spec->network.n_sockets; i++) {
        const struct spec_socket *socket = &spec->network.sockets[i];
        bool is_reverse = socket->direction == SOCKET_TO_HOST;
        vm_text_field(out, "Forward:", "%s -> %s%s", is_reverse ? socket->guest : socket->host,
            is_reverse ? socket->host : socket->guest, is_reverse ? " (of this host)" : "");
    }
    if (spec->network.is_auto) {
        vm_text_field(out, "Forward:", "auto");
    }
}

/* What the machine that runs has, and what it has not got yet. `unit` begins with a blank. */
static void add_size(struct buf *out, const char *label, const char *unit, uint32_t running,
    uint32_t wanted, uint32_t most)
{
    if (running > 0 && running != wanted) {
        vm_text_field(out, label, "%u%s (wanted: %u)", running, unit, wanted);
    } else if (most > wanted) {
        vm_text_field(out, label, "%u%s (up to %u)", wanted, unit, most);
    } else {
        vm_text_field(out, label, "%u%s", wanted, unit);
    }
}

/* What the machine's process takes of a limit that is enforced, or that it is not; "" where nothing
 * is known. free() it. */
static char *describe_use(const struct vm_status *status)
{
    struct proc_usage usage = {.at_ms = 0};
    const struct vm_spec *limits = status ? vm_status_limited_spec(status) : NULL;
    bool is_refused = status && status->conditions[CONDITION_LIMITED].state == CONDITION_FALSE;
    if (limits && limits->memory_limit_mib > 0) {
        (void)proc_usage_read(status->instance.pid, status->instance.start_ticks, &usage);
    }
    return usage.at_ms  ? mem_printf(" (uses %" PRIu64 " MB)", usage.resident_bytes >> 20)
           : is_refused ? mem_strdup(" (not enforced)")
                        : mem_strdup("");
}

static void add_limits(struct buf *out, const struct vm_spec *spec, const struct vm_status *status)
{
    cleanup_buf struct buf limits = BUF_INIT(0);
    if (spec->cpu_limit_milli > 0) {
        spec_text_add_cpus(&limits, spec->cpu_limit_milli);
        buf_add_str(&limits, spec->cpu_limit_milli == 1000 ? " CPU" : " CPUs");
    }
    if (spec->memory_limit_mib > 0) {
        buf_printf(&limits, "%s%u MB", limits.len > 0 ? ", " : "", spec->memory_limit_mib);
    }
    if (limits.len > 0) {
        cleanup_free char *use = describe_use(status);
        buf_add_str(&limits, use);
    }
    size_t before = limits.len;
    spec_text_add_io_limit(&limits, &spec->io_limit);
    bool has_io = limits.len > before;
    if (limits.len > 0) {
        vm_text_field(out, "Limits:", "%.*s%s%s", (int)before, buf_str(&limits),
            has_io && before > 0 ? ", disks"
            : has_io             ? "disks"
                                 : "",
            buf_str(&limits) + before);
    }
}

static void add_spec(
    struct buf *out, const struct vm_spec *spec, const struct vm_status *status, uint32_t disk_gib)
{
    const struct vm_spec *running = status ? vm_status_running_spec(status) : NULL;
    vm_text_field(out, "Backend:", "%s", backend_kind_name(spec->backend));
    add_size(out, "vCPUs:", "", running ? running->vcpus : 0, spec->vcpus, spec->max_vcpus);
    add_size(out, "Memory:", " MB", running ? running->memory_mib : 0, spec->memory_mib,
        spec->max_memory_mib);
    if (disk_gib) {
        vm_text_field(out, "Disk:", "%u GB", disk_gib);
    } else {
        vm_text_field(out, "Disk:", "as the image");
    }
    add_limits(out, spec, status);
    for (size_t i = 0; i < spec->n_volumes; i++) {
        const struct spec_volume *volume = &spec->volumes[i];
        vm_text_field(out, "Volume:", "%s%s%s", volume->name, volume->mount ? " at " : "",
            volume->mount ? volume->mount : "");
    }
    for (size_t i = 0; i < spec->n_shares; i++) {
        const struct spec_share *share = &spec->shares[i];
        vm_text_field(out, "Share:", "%s at %s%s", share->host, share->guest,
            share->is_readonly ? " (read-only)" : "");
    }
    for (size_t i = 0; i < spec->n_disks; i++) {
        const struct spec_disk *disk = &spec->disks[i];
        vm_text_field(
            out, "Disk:", "%s (%s)", disk->name, disk->file ? disk->file : "empty at every start");
    }
    cleanup_free char *image = spec->image.location ? url_for_people(spec->image.location) : NULL;
    vm_text_field(out, "Image:", "%s", image ? image : "-");
    add_network(out, spec);
}

static void add_handle(struct buf *out, const struct vm_status *status)
{
    const struct vm_spec *applied = status->applied_spec;
    const struct backend_traits *traits = backend_traits(applied ? applied->backend : BACKEND_QEMU);
    const char *label = traits->handle_label;
    if (status->instance.pid) {
        vm_text_field(out, label, "%d", status->instance.pid);
    } else {
        vm_text_field(out, label, "-");
    }
    if (traits->console_url && status->instance.instance_id[0]) {
        cleanup_free char *url = traits->console_url(&status->instance);
        vm_text_field(out, "Console:", "%s", url);
    }
}

/* An address is one of the machine that runs: the next one may be on other networks. */
static void add_cards(struct buf *out, const struct vm_status *status)
{
    const struct vm_spec *running = vm_status_running_spec(status);
    vm_text_field(out, "MAC:", "%s", status->mac ? status->mac : "-");
    if (status->address && running && running->network.mode == NETWORK_PROJECT) {
        vm_text_field(out, "Address:", "%s", status->address);
    }
    for (size_t i = 1; i <= status->n_cards; i++) {
        const struct spec_network *network = running ? vm_spec_network(running, i) : NULL;
        const char *mac = vm_status_mac(status, i), *address = vm_status_address(status, i);
        bool has_address = network && address;
        cleanup_free char *label = mem_printf("NIC %zu:", i + 1);
        vm_text_field(out, label, "%s%s%s%s%s", mac ? mac : "-", has_address ? ", " : "",
            has_address ? address : "", network ? ", " : "",
            !network           ? ""
            : network->network ? network->network
                               : network_mode_name(network->mode));
    }
}

void vm_text_add_instance(struct buf *out, const struct vm_status *status)
{
    const struct vm_instance *instance = &status->instance;
    add_handle(out, status);
    if (instance->started_at_ms && instance->instance_id[0]) {
        char when[CLOCK_TEXT_SIZE], age[DURATION_SIZE];
        clock_format_utc(instance->started_at_ms, when);
        duration_format(clock_wall_ms(clock_system()) - instance->started_at_ms, age);
        vm_text_field(out, "Started:", "%s (%s ago)", when, age);
    }
    if (instance->accel) {
        vm_text_field(out, "Accelerator:", "%s", instance->accel);
    }
    vm_text_field(out, "VNC:", "%s", status->vnc ? status->vnc : "-");
    if (status->ssh_port && instance->pid > 0) { /* an instance that is to be has none */
        vm_text_field(out, "SSH:", "%s:%u", status->ssh_host ? status->ssh_host : "127.0.0.1",
            status->ssh_port);
    } else {
        vm_text_field(out, "SSH:", "-");
    }
    if (status->agent) {
        vm_text_field(out, "Agent:", "qemu-guest-agent %s", status->agent);
    }
    add_cards(out, status);
    if (status->restart.total) {
        vm_text_field(out, "Restarts:", "%u", status->restart.total);
    }
}

void vm_text_add_generation(struct buf *out, const struct vm_record *record)
{
    if (record->desired) {
        vm_text_field(out, "Generation:", "%" PRIu64 " (observed %" PRIu64 ")",
            record->desired->generation, record->status ? record->status->observed_generation : 0);
    }
}

void vm_text_add_conditions(struct buf *out, const struct vm_status *status)
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

void vm_text_add_blocker(struct buf *out, const struct vm_blocker *blocker)
{
    if (!blocker->code) {
        return;
    }
    buf_printf(out, "Trouble:\n  %s: ", blocker->code);
    const char *message = blocker->message ? blocker->message : "";
    text_add_printable(out, message, strlen(message));
    buf_add_char(out, '\n');
    if (blocker->help && blocker->help[0]) {
        buf_add_str(out, "  help: ");
        text_add_printable(out, blocker->help, strlen(blocker->help));
        buf_add_char(out, '\n');
    }
}

/* What is usually done next in this state. */
static const char *usual_command(const struct vm_row *row, enum reason synced)
{
    bool has_login = !row->spec || vm_spec_expects_ssh(row->spec);
    if (!row->has_desired || row->is_damaged) {
        return "vmctl doctor";
    }
    if (row->desired.is_deleting) {
        return "vmctl wait %s --deleted";
    }
    if (row->status.pid > 0 && synced == REASON_PROVISION_OUTDATED) {
        return "vmctl provision --name %s";
    }
    if (row->status.pid > 0 && synced == REASON_RESTART_REQUIRED) {
        return "vmctl up --restart";
    }
    switch (vm_row_tone(row)) {
    case TONE_GOOD:
        return has_login ? "vmctl ssh %s" : "vmctl console %s";
    case TONE_OFF:
        return row->desired.power == POWER_SUSPENDED ? "vmctl resume %s" : "vmctl start %s";
    case TONE_BUSY:
        return row->desired.power == POWER_STOPPED ? "vmctl wait %s --stopped"
                                                   : "vmctl wait %s --ready";
    default:
        return "vmctl describe %s";
    }
}

void vm_text_add_next(struct buf *out, const struct vm_record *record)
{
    const struct vm_row row = vm_row_of_record(record);
    const char *help = record->status ? record->status->blocker.help : NULL;
    bool has_trouble = record->status && record->status->blocker.code;
    enum reason synced =
        record->status ? record->status->conditions[CONDITION_SYNCED].reason : REASON_NONE;
    const char *command = usual_command(&row, synced), *place = strstr(command, "%s");
    cleanup_buf struct buf next = BUF_INIT(0);
    if (place) {
        buf_add(&next, command, (size_t)(place - command));
        buf_printf(&next, "%s%s", record->name, place + strlen("%s"));
    } else {
        buf_add_str(&next, command);
    }
    static const char see[] = "see: "; /* the label says that */
    help = help && text_starts_with(help, see) ? help + strlen(see) : help;
    vm_text_field(out, "Next:", "%s", has_trouble && help && help[0] ? help : buf_str(&next));
}

void vm_text_add_places(struct buf *out, const struct vm_status *status)
{
    static const uint16_t web_ports[] = {80, 443, 3000, 5000, 8000, 8080, 8443};
    const struct vm_spec *spec = vm_status_running_spec(status);
    size_t n = spec && network_has_forwards(spec->network.mode) ? spec->network.n_forwards : 0;
    const char *separator = " (";
    if (status->ssh_port && spec && vm_spec_expects_ssh(spec)) {
        buf_printf(out, " (ssh %s:%u", status->ssh_host ? status->ssh_host : "127.0.0.1",
            status->ssh_port);
        separator = ", ";
    }
    for (size_t i = 0; i < n * ARRAY_LEN(web_ports); i++) {
        const struct spec_forward *forward = &spec->network.forwards[i / ARRAY_LEN(web_ports)];
        uint16_t port = web_ports[i % ARRAY_LEN(web_ports)];
        if (forward->protocol == FORWARD_TCP && forward->guest_port == port) {
            buf_printf(out, "%s%s://%s:%u", separator,
                port == 443 || port == 8443 ? "https" : "http", forward_local_address(forward),
                forward->host_port);
            separator = ", ";
            break;
        }
    }
    buf_add_str(out, separator[0] == ',' ? ")" : "");
}

int vm_text_add_events(struct cli *cli, const char *name, struct buf *out, struct error *err)
{
    enum { SHOWN = 10 };
    cleanup_buf struct buf events = BUF_INIT(0);
    int rc = events_list(cli, name, SHOWN, NULL, cli->use_color_stdout, &events, err);
    if (rc == 0 && events.len > 0) {
        buf_printf(out, "Events:\n%s", buf_str(&events));
    }
    return rc;
}

void vm_text_add_desired(struct buf *out, const struct vm_record *record)
{
    const struct vm_desired *desired = record->desired;
    char age[DURATION_SIZE];
    if (!desired) {
        return;
    }
    /* A disk that grew keeps its size when `disk` is taken out of the VMFile. */
    uint32_t grown_gib = record->status ? record->status->prepared.disk_gib : 0;
    struct vm_spec *whole = vm_desired_attach(desired, desired->spec);
    add_spec(out, whole ? whole : desired->spec, record->status,
        desired->spec->disk_gib > grown_gib ? desired->spec->disk_gib : grown_gib);
    vm_spec_free(whole);
    vm_text_field(out, "VMFile:", "%s", desired->source ? desired->source : "- (vmctl create)");
    if (desired->spec->n_labels > 0) {
        cleanup_buf struct buf labels = BUF_INIT(0);
        vm_rows_add_labels(&labels, desired->spec);
        vm_text_field(out, "Labels:", "%s", buf_str(&labels));
    }
    if (record->status && record->status->saved.phase == SAVED_WHOLE) {
        vm_text_field(out, "Saved memory:", "%llu MB on disk",
            (unsigned long long)(record->status->saved.bytes / 1000000));
    }
    if (record->status && !record->status->instance.instance_id[0] &&
        record->status->saved.phase == SAVED_NONE && record->status->prepared.is_crash_consistent) {
        vm_text_field(
            out, "Disk state:", "crash-consistent: its guest was ended without a shutdown");
    }
    if (desired->spec->is_protected) {
        vm_text_field(out, "Protected:", "yes: its disk and snapshots stay");
    }
    duration_format(clock_wall_ms(clock_system()) - desired->created_ms, age);
    vm_text_field(out, "Age:", "%s", age);
}
