/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/vm_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/show/output.h"
#include "cli/show/table.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"
#include "specs/vm/vm_status.h"
#include "store/store.h"

struct vm_row vm_row_of_record(const struct vm_record *record)
{
    struct vm_row row = {
        .name = record->name,
        .has_desired = record->desired != NULL,
        .is_damaged = record->is_damaged,
    };
    if (record->desired) {
        row.spec = record->desired->spec;
        desired_summary_of(record->desired, &row.desired);
    }
    if (record->status) {
        status_summary_of(record->status, &row.status);
        row.vnc = record->status->vnc;
    }
    return row;
}

struct vm_row vm_row_of_summary(const struct vm_summary *summary)
{
    return (struct vm_row){
        .name = summary->name,
        .has_desired = summary->has_desired,
        .is_damaged = summary->is_damaged,
        .desired = summary->desired,
        .status = summary->status,
    };
}

const char *vm_row_state(const struct vm_row *row)
{
    if (row->is_deleted) {
        return "Deleted";
    }
    if (row->is_damaged || row->lost) {
        return row->lost ? "Unknown" : "Damaged";
    }
    return row->has_desired ? vm_display_word(&row->desired, &row->status) : "Orphaned";
}

enum vm_tone vm_row_tone(const struct vm_row *row)
{
    bool is_known = row->has_desired && !row->is_damaged;
    return row->is_deleted ? TONE_OFF
           : row->lost     ? TONE_WARN
           : is_known      ? vm_display_tone(&row->desired, &row->status)
                           : TONE_BAD;
}

const char *const vm_tone_colors[] = {
    [TONE_BUSY] = "\033[36m",
    [TONE_GOOD] = "\033[32m",
    [TONE_OFF] = "\033[2m",
    [TONE_WARN] = "\033[33m",
    [TONE_BAD] = "\033[31m",
};

bool vm_row_has_failed(const struct vm_row *row)
{
    return vm_row_tone(row) == TONE_BAD;
}

/* Not of a state that the controller has not looked at since the last request. */
bool vm_row_has_cause(const struct vm_row *row)
{
    enum vm_tone tone = vm_row_tone(row);
    bool is_looping = row->status.display == REASON_CRASH_LOOP_BACK_OFF;
    return (row->status.cause[0] || (is_looping && row->status.not_before_ms > 0)) &&
           row->has_desired && row->desired.generation <= row->status.observed_generation &&
           (tone == TONE_WARN || tone == TONE_BAD);
}

enum {
    COLUMN_BACKEND = 1,
    COLUMN_NETWORK = 4,
    COLUMN_PID = 5,
    COLUMN_SSH,
    COLUMN_STATE,
    COLUMN_AGE,
    NARROW,
    WIDE = NARROW + 2,
    NODE_COLUMNS = 2
};

static void begin(const struct cli *cli, struct table *table, bool is_wide,
    const struct vm_row_source *source, bool has_causes)
{
    static const char *const columns[WIDE] = {"NAME", "BACKEND", "VCPUS", "MEM", "NETWORK", "PID",
        "SSH", "STATE", "AGE", "RESTARTS", "VNC"};
    static const size_t spare[] = {COLUMN_NETWORK, COLUMN_BACKEND};
    size_t count = is_wide ? WIDE : NARROW;
    table_init(table, count + (source->has_nodes ? NODE_COLUMNS : 0) + source->has_projects +
                          source->has_labels + has_causes);
    table->use_color = cli->use_color_stdout;
    if (source->has_nodes) {
        table_add(table, "NODE");
    } else {
        table->spare = spare;
        table->n_spare = ARRAY_LEN(spare);
    }
    for (size_t i = 0; i < count; i++) {
        table_add(table, columns[i]);
    }
    if (source->has_nodes) {
        table_add(table, "SEEN");
    }
    if (source->has_projects) {
        table_add(table, "PROJECT");
    }
    if (source->has_labels) {
        table_add(table, "LABELS");
    }
    if (has_causes) {
        table_add(table, "CAUSE");
    }
}

void vm_rows_begin(const struct cli *cli, struct table *table, bool is_wide, bool has_causes)
{
    begin(cli, table, is_wide, &(struct vm_row_source){.count = 0}, has_causes);
}

void vm_rows_make_room(struct table *table)
{
    table_widen(table, COLUMN_PID, strlen("4194304")); /* proc(5): the largest pid */
    table_widen(table, COLUMN_SSH, strlen("65535"));
    table_widen(table, COLUMN_STATE, strlen("ImagePullBackOff"));
}

static void add_number_or_dash(struct table *table, unsigned long long number)
{
    if (number > 0) {
        table_add_number(table, number);
    } else {
        table_add(table, "-");
    }
}

/* What the machine has, and behind an arrow what it has not got yet. */
static void add_size(struct table *table, uint32_t running, uint32_t wanted)
{
    if (running > 0 && running != wanted) {
        cleanup_free char *change = mem_printf("%u->%u", running, wanted);
        table_add(table, change);
    } else {
        table_add_number(table, wanted);
    }
}

static void add_ssh(struct table *table, const struct status_summary *status)
{
    uint32_t ip = status->ssh_ipv4;
    if (status->pid <= 0 || ip == 0) {
        add_number_or_dash(table, status->pid > 0 ? status->ssh_port : 0);
        return;
    }
    cleanup_free char *address = mem_printf(
        "%u.%u.%u.%u:%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255, status->ssh_port);
    table_add(table, address);
}

static void add_spec(struct table *table, const struct vm_row *row)
{
    if (!row->has_desired || row->is_damaged) {
        for (int i = 0; i < 4; i++) {
            table_add(table, "?");
        }
        return;
    }
    table_add(table, backend_kind_name(row->desired.backend));
    add_size(table, row->status.vcpus, row->desired.vcpus);
    add_size(table, row->status.memory_mib, row->desired.memory_mib);
    table_add(table, network_mode_name(row->desired.network));
}

/* With the source's reason, as kubectl has it for nodes: "Ready,SchedulingDisabled". */
static void add_state(struct table *table, const struct vm_row *row)
{
    bool has_source = row->has_desired && !row->is_deleted && row->status.source != REASON_NONE;
    const char *word = vm_row_state(row);
    cleanup_free char *both = row->moving ? mem_strdup(row->moving)
                              : row->lost ? mem_printf("%s (was %s)", word, row->lost)
                              : has_source
                                  ? mem_printf("%s,%s", word, reason_name(row->status.source))
                                  : NULL;
    table_add_colored(table, vm_tone_colors[vm_row_tone(row)], both ? both : word);
}

/* The row names the VM already. */
static const char *without_name(const char *cause, const char *name)
{
    cleanup_free char *start = mem_printf("vm '%s': ", name);
    return text_starts_with(cause, start) ? cause + strlen(start) : cause;
}

static void add_cause(struct table *table, const struct vm_row *row, int64_t now_ms)
{
    cleanup_buf struct buf cell = BUF_INIT(0);
    const char *cause = vm_row_has_cause(row) ? without_name(row->status.cause, row->name) : "";
    int64_t left_ms = row->status.not_before_ms - now_ms;
    if (vm_row_has_cause(row) && row->status.display == REASON_CRASH_LOOP_BACK_OFF && left_ms > 0) {
        char left[DURATION_SIZE];
        duration_format(left_ms, left);
        buf_printf(&cell, "next try in %s%s", left, cause[0] ? ": " : "");
    }
    text_add_printable(&cell, cause, strlen(cause));
    table_add(table, buf_str(&cell));
}

void vm_rows_add_labels(struct buf *out, const struct vm_spec *spec)
{
    for (size_t i = 0; spec && i < spec->n_labels; i++) {
        const struct spec_label *label = &spec->labels[i];
        buf_printf(out, "%s%s=%s", i > 0 ? "," : "", label->key, label->value);
    }
    if (!spec || spec->n_labels == 0) {
        buf_add_str(out, spec ? "-" : "?");
    }
}

void vm_rows_add(struct table *table, const struct vm_row *row, bool is_wide, int64_t now_ms)
{
    bool has_process = row->status.pid > 0;
    char age[DURATION_SIZE];
    if (row->node) {
        table_add(table, row->node);
    }
    table_add(table, row->name);
    add_spec(table, row);
    add_number_or_dash(table, has_process ? (unsigned long long)row->status.pid : 0);
    add_ssh(table, &row->status);
    add_state(table, row);
    duration_format(now_ms - row->desired.created_ms, age);
    table_add(table, row->has_desired && !row->is_damaged ? age : "?");
    if (is_wide) {
        table_add_number(table, row->status.restart_total);
        table_add(table, row->vnc ? row->vnc : "-");
    }
    if (row->node) {
        duration_format(now_ms - row->asked_ms, age);
        cleanup_free char *seen = row->asked_ms ? mem_printf("%s ago", age) : mem_strdup("now");
        table_add(table, seen);
    }
    if (row->project) {
        table_add(table, row->project);
    }
    if (row->shows_labels) {
        cleanup_buf struct buf labels = BUF_INIT(0);
        vm_rows_add_labels(&labels, row->spec);
        table_add(table, buf_str(&labels));
    }
    size_t fixed = (is_wide ? WIDE : NARROW) + (row->node ? NODE_COLUMNS : 0) +
                   (row->project != NULL) + row->shows_labels;
    if (table->n_columns > fixed) {
        add_cause(table, row, now_ms);
    }
}

const char *vm_rows_name(const struct vm_row_source *source, const char *name)
{
    return source->project && vm_name_is_of(name, source->project) ? vm_name_plain(name) : name;
}

void vm_rows_print(const struct cli *cli, const struct vm_row_source *printed)
{
    cleanup_with(table_clear) struct table table;
    cleanup_buf struct buf out = BUF_INIT(0);
    bool is_wide = cli->output == OUTPUT_WIDE, has_causes = false, has_projects = false;
    struct vm_row_source whole = *printed;
    const struct vm_row_source *source = &whole;
    for (size_t i = 0; i < source->count; i++) {
        struct vm_row row = source->at(source->list, i);
        bool is_chosen = !source->chosen || source->chosen[i];
        has_causes |= is_chosen && vm_row_has_cause(&row);
        has_projects |= is_chosen && !vm_name_is_of(row.name, NULL);
    }
    whole.has_projects = has_projects && (is_wide || printed->has_projects);
    begin(cli, &table, is_wide, source, has_causes);
    table_fit_terminal(&table);
    int64_t now_ms = clock_wall_ms(clock_system());
    for (size_t i = 0; i < source->count; i++) {
        if (!source->chosen || source->chosen[i]) {
            struct vm_row row = source->at(source->list, i);
            cleanup_free char *project = vm_name_project(row.name);
            row.project = !source->has_projects ? NULL : project ? project : "-";
            row.shows_labels = source->has_labels;
            row.name = vm_rows_name(source, row.name);
            vm_rows_add(&table, &row, is_wide, now_ms);
        }
    }
    table_print(&table, &out);
    fputs(buf_str(&out), stdout);
}

struct vm_row vm_rows_at_record(const void *vm_list, size_t i)
{
    return vm_row_of_record(&((const struct vm_list *)vm_list)->records[i]);
}

int vm_rows_compare_names(const char *a, const char *b)
{
    return strverscmp(a, b);
}

static int compare_records(const void *a, const void *b)
{
    const struct vm_record *x = a, *y = b;
    return vm_rows_compare_names(x->name, y->name);
}

void vm_rows_sort_records(struct vm_list *list)
{
    if (list->count > 1) {
        qsort(list->records, list->count, sizeof(*list->records), compare_records);
    }
}

void vm_rows_print_records(const struct cli *cli, const struct vm_list *list)
{
    const struct vm_row_source source = {
        .list = list, .count = list->count, .at = vm_rows_at_record};
    vm_rows_print(cli, &source);
}

/* Each VM is handed on before the next one is read: all of them at once may be long. */
static void write_json(const struct vm_list *list, const bool *chosen, bool is_one, struct buf *out,
    void (*each)(struct buf *out))
{
    struct json_writer writer = output_writer(out, true);
    if (!is_one) {
        json_write_open(&writer, '[');
    }
    for (size_t i = 0; i < list->count; i++) {
        if (chosen && !chosen[i]) {
            continue;
        }
        if (!is_one) {
            json_write_item(&writer);
        }
        output_write_vm(&writer, &list->records[i]);
        each(out);
    }
    if (!is_one) {
        json_write_close(&writer, ']');
    }
    buf_add_char(out, '\n');
    each(out);
}

static void keep_text(struct buf *out)
{
    (void)out;
}

static void print_written(struct buf *out)
{
    (void)fwrite(buf_str(out), 1, out->len, stdout);
    buf_reset(out);
}

void vm_rows_add_json(struct buf *out, const struct vm_list *list, const bool *chosen, bool is_one)
{
    write_json(list, chosen, is_one, out, keep_text);
}

/* YAML needs a tree; JSON, which is for many VMs, does not. */
void vm_rows_print_data(
    const struct cli *cli, const struct vm_list *list, const bool *chosen, bool is_one)
{
    cleanup_buf struct buf out = BUF_INIT(0);
    if (cli->output == OUTPUT_JSON && !(is_one && list->count == 0)) {
        write_json(list, chosen, is_one, &out, print_written);
        return;
    }
    cleanup_json json_t *array = json_array();
    for (size_t i = 0; i < list->count; i++) {
        if (!chosen || chosen[i]) {
            (void)json_array_append_new(array, output_of_vm(&list->records[i]));
        }
    }
    output_print(cli, is_one ? json_array_get(array, 0) : array);
}
