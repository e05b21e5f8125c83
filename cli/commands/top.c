/* SPDX-License-Identifier: MPL-2.0 */
/*
 * vmctl top: the resources of this host that VMs use, from proc(5) of their processes, and the
 * traffic of their networks. Rates are averages between two measurements.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/targets.h"
#include "cli/show/output.h"
#include "cli/show/table.h"
#include "cli/wait/live_block.h"
#include "cli/wait/wait_loop.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/proc_usage.h"
#include "specs/base/text.h"
#include "specs/vm/network_usage.h"
#include "store/store.h"

struct top_values {
    struct which_values which;
    bool is_once;
    int64_t interval_ms;
};

enum { DEFAULT_INTERVAL_MS = 2000, MIN_INTERVAL_MS = 100 };

static const struct top_values defaults = {.interval_ms = DEFAULT_INTERVAL_MS};

static const struct arg_option options[] = {
    {"once", 'n', ARG_FLAG, offsetof(struct top_values, is_once), NULL,
        "print one table and exit, as without a terminal"},
    {"interval", 'i', ARG_DURATION, offsetof(struct top_values, interval_ms), "DURATION",
        "time between updates [default: 2s]"},
    OPTION_FILE(struct top_values, 'f'),
    OPTION_NAME(struct top_values),
    OPTIONS_END,
};

struct machine {
    char *name;
    int32_t pid;
    uint32_t memory_mib;
    uint32_t cpu_limit_milli, memory_limit_mib; /* 0: none is enforced */
    uint64_t start_ticks;
    struct proc_usage before, now;
    struct network_usage network_before, network;
};

struct top {
    const struct top_values *values;
    struct cli *cli;
    struct strings names;
    struct machine *machines; /* as many as names, in their order */
    struct live_block block;
    struct wait_loop loop;
    bool is_once;
    int64_t looked_ms; /* monotonic; 0: not yet */
};

/* VMs of other backends than QEMU have no process here. */
static void look_at_machine(
    struct machine *machine, const struct vm_record *record, const json_t *networks)
{
    const struct vm_instance *instance = record->status ? &record->status->instance : NULL;
    bool has_process = record->desired && record->desired->spec->backend == BACKEND_QEMU &&
                       instance && text_eq(instance->boot_id, clock_boot_id(clock_system()));
    bool is_same = has_process && machine->pid == instance->pid &&
                   machine->start_ticks == instance->start_ticks;
    machine->before = is_same ? machine->now : (struct proc_usage){.at_ms = 0};
    machine->network_before =
        is_same ? machine->network : (struct network_usage){.is_known = false};
    machine->pid = has_process ? instance->pid : 0;
    machine->start_ticks = has_process ? instance->start_ticks : 0;
    machine->memory_mib = record->desired ? record->desired->spec->memory_mib : 0;
    const struct vm_spec *limits = record->status ? vm_status_limited_spec(record->status) : NULL;
    machine->cpu_limit_milli = limits ? limits->cpu_limit_milli : 0;
    machine->memory_limit_mib = limits ? limits->memory_limit_mib : 0;
    network_usage_read(networks, machine->name, record->status, &machine->network);
    (void)proc_usage_read(machine->pid, machine->start_ticks, &machine->now);
}

static int look_at_machines(struct top *top, struct error *err)
{
    size_t n = top->names.count;
    int rc = 0;
    struct vm_record *records = mem_calloc(n + 1, sizeof(*records));
    cleanup_with(strings_clear) struct strings names = {.count = 0};
    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = store_get(top->cli->store, top->names.items[i], &records[i], err);
        if (rc == -ERR_VM_NOT_FOUND) {
            error_clear(err);
            rc = 0;
        }
        network_usage_add_networks(&names, records[i].status);
    }
    cleanup_json json_t *networks =
        rc == 0 ? network_usage_ask(&top->cli->paths, &names) : json_object();
    for (size_t i = 0; i < n; i++) {
        top->machines[i].name = top->names.items[i];
        if (rc == 0) {
            look_at_machine(&top->machines[i], &records[i], networks);
        }
        vm_record_clear(&records[i]);
    }
    free(records);
    top->looked_ms = clock_monotonic_ms(clock_system());
    return rc;
}

/* The growth from `before` to `now`, per second. */
static double rate(const struct machine *machine, uint64_t before, uint64_t now)
{
    int64_t ms = machine->now.at_ms - machine->before.at_ms;
    return machine->before.at_ms && ms > 0 && now >= before
               ? (double)(now - before) * 1000 / (double)ms
               : 0;
}

static double cpu_percent(const struct machine *machine)
{
    return rate(machine, machine->before.cpu_ms, machine->now.cpu_ms) / 10;
}

/* Of a network; 0 if the earlier value is unknown, as after a restart of the switch. */
static double network_rate(const struct machine *machine, uint64_t before, uint64_t now)
{
    return machine->network_before.is_known ? rate(machine, before, now) : 0;
}

static int compare_cpu(const void *a, const void *b)
{
    const struct machine *const *x = a, *const *y = b;
    double left = cpu_percent(*x), right = cpu_percent(*y);
    return left == right ? text_compare(&(*x)->name, &(*y)->name) : left < right ? 1 : -1;
}

/* "37.5%", "37.5% / 150%" */
static void print_cpu(const struct machine *machine, char *out, size_t size)
{
    char limit[32] = "";
    if (machine->cpu_limit_milli > 0) {
        (void)snprintf(limit, sizeof(limit), " / %g%%", (double)machine->cpu_limit_milli / 10);
    }
    (void)snprintf(out, size, "%.1f%%%s", cpu_percent(machine), limit);
}

static void add_cells(struct table *table, const struct machine *machine)
{
    const struct proc_usage *now = &machine->now, *before = &machine->before;
    const struct network_usage *network = &machine->network, *since = &machine->network_before;
    char cells[7][32] = {"-", "-", "-", "-", "-", "-", "-"};
    enum { CPU, MEMORY, READ, WRITTEN, RECEIVED, SENT, TIME };
    if (now->at_ms) {
        uint64_t seconds = now->cpu_ms / 1000;
        print_cpu(machine, cells[CPU], sizeof(cells[0]));
        (void)snprintf(cells[MEMORY], sizeof(cells[0]), "%" PRIu64 " / %u MB",
            now->resident_bytes >> 20,
            machine->memory_limit_mib ? machine->memory_limit_mib : machine->memory_mib);
        (void)snprintf(
            cells[TIME], sizeof(cells[0]), "%" PRIu64 ":%02" PRIu64, seconds / 60, seconds % 60);
    }
    if (now->has_io) {
        (void)snprintf(cells[READ], sizeof(cells[0]), "%.1f MB/s",
            rate(machine, before->read_bytes, now->read_bytes) / 1e6);
        (void)snprintf(cells[WRITTEN], sizeof(cells[0]), "%.1f MB/s",
            rate(machine, before->written_bytes, now->written_bytes) / 1e6);
    }
    if (network->is_known) {
        (void)snprintf(cells[RECEIVED], sizeof(cells[0]), "%.1f MB/s",
            network_rate(machine, since->received_bytes, network->received_bytes) / 1e6);
        (void)snprintf(cells[SENT], sizeof(cells[0]), "%.1f MB/s",
            network_rate(machine, since->sent_bytes, network->sent_bytes) / 1e6);
    }
    table_add(table, machine->name);
    for (size_t i = 0; i < ARRAY_LEN(cells); i++) {
        table_add(table, cells[i]);
    }
}

/* The VMs that use most processor time come first. */
static void top_print(struct top *top)
{
    static const char *const titles[] = {"NAME", "CPU", "MEM", "READ", "WRITE", "RX", "TX", "TIME"};
    cleanup_with(table_clear) struct table table;
    cleanup_buf struct buf out = BUF_INIT(0);
    cleanup_free const struct machine **order = mem_calloc(top->names.count + 1, sizeof(*order));
    for (size_t i = 0; i < top->names.count; i++) {
        order[i] = &top->machines[i];
    }
    qsort(order, top->names.count, sizeof(*order), compare_cpu);
    table_begin(&table, titles, ARRAY_LEN(titles));
    for (size_t i = 0; i < top->names.count; i++) {
        add_cells(&table, order[i]);
    }
    table_print(&table, &out);
    if (top->is_once) {
        (void)fputs(buf_str(&out), stdout);
    } else {
        live_block_draw(&top->block, buf_str(&out));
    }
}

static void put_network(json_t *json, const struct machine *machine)
{
    const struct network_usage *now = &machine->network, *before = &machine->network_before;
    if (now->is_known) {
        json_put_int(json, "receivedBytes", (int64_t)now->received_bytes);
        json_put_int(json, "receivedPackets", (int64_t)now->received_packets);
        json_put_int(json, "sentBytes", (int64_t)now->sent_bytes);
        json_put_int(json, "sentPackets", (int64_t)now->sent_packets);
        json_put_int(json, "receivedBytesPerSecond",
            (int64_t)network_rate(machine, before->received_bytes, now->received_bytes));
        json_put_int(json, "sentBytesPerSecond",
            (int64_t)network_rate(machine, before->sent_bytes, now->sent_bytes));
    }
}

static void print_data(const struct top *top)
{
    cleanup_json json_t *list = json_array();
    for (size_t i = 0; i < top->names.count; i++) {
        const struct machine *machine = &top->machines[i];
        const struct proc_usage *now = &machine->now, *before = &machine->before;
        json_t *json = json_object();
        output_put_name(json, machine->name);
        if (now->at_ms) {
            json_put_int(json, "pid", machine->pid);
            json_put(json, "cpuPercent", json_real(cpu_percent(machine)));
            json_put_int(json, "cpuMs", (int64_t)now->cpu_ms);
            json_put_int(json, "residentBytes", (int64_t)now->resident_bytes);
        }
        if (now->at_ms && machine->cpu_limit_milli > 0) {
            json_put(json, "cpuLimitPercent", json_real((double)machine->cpu_limit_milli / 10));
        }
        if (now->at_ms && machine->memory_limit_mib > 0) {
            json_put_int(json, "memoryLimitBytes", (int64_t)machine->memory_limit_mib << 20);
        }
        if (now->at_ms && now->has_io) {
            json_put_int(json, "readBytes", (int64_t)now->read_bytes);
            json_put_int(json, "writtenBytes", (int64_t)now->written_bytes);
            json_put_int(json, "readBytesPerSecond",
                (int64_t)rate(machine, before->read_bytes, now->read_bytes));
            json_put_int(json, "writtenBytesPerSecond",
                (int64_t)rate(machine, before->written_bytes, now->written_bytes));
        }
        put_network(json, machine);
        (void)json_array_append_new(list, json);
    }
    output_print(top->cli, list);
}

/* A change in the store may wake the loop before the next measurement is due. */
static int top_check(void *context, bool *ret_is_done, struct error *err)
{
    struct top *top = context;
    int64_t passed_ms = clock_monotonic_ms(clock_system()) - top->looked_ms;
    bool is_first = top->looked_ms == 0;
    bool is_due = is_first || passed_ms >= top->values->interval_ms;
    int rc = is_due ? look_at_machines(top, err) : 0;
    top->loop.sleep_max_ms = top->values->interval_ms - (is_due ? 0 : passed_ms);
    if (rc < 0 || !is_due || (is_first && top->is_once)) {
        return rc;
    }
    if (output_is_data(top->cli)) {
        print_data(top);
    } else {
        top_print(top);
    }
    *ret_is_done = top->is_once;
    return 0;
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct top_values *chosen = values;
    struct top top = {.values = chosen, .cli = cli};
    if (chosen->interval_ms < MIN_INTERVAL_MS) {
        return error_set(err, ERR_USAGE, "top: --interval is at least 100 ms");
    }
    int rc = targets_find_or_all(cli, &chosen->which, words, &top.names, err);
    if (rc == 0) {
        live_block_open(&top.block, cli);
        top.is_once = chosen->is_once || output_is_data(cli) || !isatty(STDOUT_FILENO) ||
                      !top.block.is_live || cli->is_quiet;
        top.machines = mem_calloc(top.names.count + 1, sizeof(*top.machines));
        top.loop = (struct wait_loop){.cli = cli, .check = top_check, .context = &top};
        wait_loop_open(&top.loop, INT64_MAX);
        rc = wait_loop_run(&top.loop, err);
        live_block_leave(&top.block);
        wait_loop_close(&top.loop);
    }
    if (top.machines) { /* it was opened */
        live_block_close(&top.block);
    }
    free(top.machines);
    strings_clear(&top.names);
    return rc;
}

const struct command command_top = {
    .name = "top",
    .aliases = "stats",
    .summary = "Show the resource usage of VMs",
    .usage = "[OPTIONS] [VM...]",
    .details =
        "CPU is in percent of one processor, so a VM with two can have 200%. MEM is the host\n"
        "memory that the VM's QEMU holds, out of the VM's memory. An enforced `cpu-limit` or\n"
        "`memory-limit` is shown as the second number: '37.5% / 150%'. READ and WRITE are the VM's "
        "traffic to the host's\n"
        "disks, '-' if another user's process has it. RX and TX are the guest's traffic on a\n"
        "project network or a tap device, '-' on a user network, which does not count it. TIME is\n"
        "the processor time since the start. On a terminal the table is updated until Ctrl-C;\n"
        "else, and with -q or -o json, it is printed once, after one interval.\n"
        "\n"
        "Noop and Propolis VMs have no process here.",
    .examples = "  vmctl top\n"
                "  vmctl top --once --interval 500ms web\n"
                "  vmctl top -o json",
    .options = options,
    .values_size = sizeof(struct top_values),
    .defaults = &defaults,
    .run = run,
};
