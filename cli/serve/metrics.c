/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/serve/metrics.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "cli/nodes/nodes.h"
#include "cli/serve/exposition.h"
#include "cli/show/vm_rows.h"
#include "cli/wait/controller_process.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/proc_usage.h"
#include "specs/base/strings.h"
#include "specs/base/vm_name.h"
#include "specs/image/image_request.h"
#include "specs/vm/network_usage.h"
#include "store/store.h"

/* One instance of a VM, and what of it was counted. */
struct boot {
    char vm_name[VM_FULL_NAME_MAX + 1];
    char instance_id[TEXT_ID_SIZE];
    bool is_started, is_ready;
};

struct metrics {
    struct boot *boots; /* by the VM's name */
    size_t n_boots;
    struct histogram start, ready;
};

struct metrics *metrics_new(void)
{
    return mem_calloc(1, sizeof(struct metrics));
}

void metrics_free(struct metrics *metrics)
{
    if (metrics) {
        free(metrics->boots);
        free(metrics);
    }
}

/* ---- durations ---- */

static void observe_since(struct histogram *histogram, const struct vm_status *status,
    enum condition_type type, bool *is_counted)
{
    const struct condition *condition = &status->conditions[type];
    int64_t ms = condition->last_transition_ms - status->instance.started_at_ms;
    if (!*is_counted && condition->state == CONDITION_TRUE && ms >= 0) {
        histogram_observe(histogram, (double)ms / 1000);
        *is_counted = true;
    }
}

/* Both lists are sorted by name: one pass over both. */
static void observe_boots(struct metrics *metrics, const struct vm_list *list)
{
    struct boot *now = mem_calloc(list->count + 1, sizeof(*now)), *before = metrics->boots;
    size_t count = 0, at = 0;
    for (size_t i = 0; i < list->count; i++) {
        const struct vm_record *record = &list->records[i];
        const struct vm_status *status = record->status;
        if (!status || !status->instance.instance_id[0] || status->instance.started_at_ms <= 0) {
            continue;
        }
        struct boot *boot = &now[count++];
        memcpy(boot->vm_name, record->name, strlen(record->name) + 1);
        memcpy(boot->instance_id, status->instance.instance_id, TEXT_ID_SIZE);
        while (at < metrics->n_boots && strcmp(before[at].vm_name, boot->vm_name) < 0) {
            at++;
        }
        if (at < metrics->n_boots && strcmp(before[at].vm_name, boot->vm_name) == 0 &&
            strcmp(before[at].instance_id, boot->instance_id) == 0) {
            *boot = before[at];
        }
        observe_since(&metrics->start, status, CONDITION_RUNNING, &boot->is_started);
        observe_since(&metrics->ready, status, CONDITION_READY, &boot->is_ready);
    }
    free(before);
    metrics->boots = now;
    metrics->n_boots = count;
}

static void add_durations(struct metrics *metrics, struct exposition *to)
{
    exposition_family(to, "vmctl_start_duration_seconds", METRIC_HISTOGRAM,
        "Time from the start of a VM until it ran, for boots that vmctl-serve saw.");
    exposition_histogram(to, &metrics->start);
    exposition_family(to, "vmctl_ready_duration_seconds", METRIC_HISTOGRAM,
        "Time from the start of a VM until it was ready, for boots that vmctl-serve saw.");
    exposition_histogram(to, &metrics->ready);
}

/* ---- of each VM ---- */

struct vm_figures {
    const struct vm_record *record;
    const struct vm_spec *limits; /* that the kernel enforces; NULL: none */
    bool is_ready;
    struct proc_usage usage;
    struct network_usage network;
    int64_t disk_bytes; /* -1: it has none */
};

static int64_t allocated_bytes(const struct cli *cli, const char *name)
{
    struct stat st;
    cleanup_free char *path = paths_vm(&cli->paths, name, VM_OVERLAY);
    return stat(path, &st) == 0 ? (int64_t)st.st_blocks * 512 : -1;
}

static struct vm_figures figures_of(
    const struct cli *cli, const json_t *networks, const struct vm_record *record)
{
    struct vm_figures vm = {.record = record, .disk_bytes = -1};
    const struct vm_instance *instance = record->status ? &record->status->instance : NULL;
    vm.limits = record->status ? vm_status_limited_spec(record->status) : NULL;
    vm.is_ready = record->status && vm_status_is_true(record->status, CONDITION_READY);
    network_usage_read(networks, record->name, record->status, &vm.network);
    if (record->desired && record->desired->spec->backend == BACKEND_QEMU) {
        vm.disk_bytes = allocated_bytes(cli, record->name);
        if (instance && strcmp(instance->boot_id, clock_boot_id(clock_system())) == 0) {
            (void)proc_usage_read(instance->pid, instance->start_ticks, &vm.usage);
        }
    }
    return vm;
}

/* Each false: this VM has none. */
static bool value_ready(const struct vm_figures *vm, double *ret)
{
    *ret = vm->is_ready;
    return true;
}

static bool value_failures(const struct vm_figures *vm, double *ret)
{
    *ret = vm->record->status ? vm->record->status->restart.count : 0;
    return true;
}

static bool value_restarts(const struct vm_figures *vm, double *ret)
{
    *ret = vm->record->status ? vm->record->status->restart.total : 0;
    return true;
}

static bool value_vcpus(const struct vm_figures *vm, double *ret)
{
    *ret = vm->record->desired ? vm->record->desired->spec->vcpus : 0;
    return vm->record->desired != NULL;
}

static bool value_memory(const struct vm_figures *vm, double *ret)
{
    const struct vm_desired *desired = vm->record->desired;
    *ret = desired ? (double)desired->spec->memory_mib * (1 << 20) : 0;
    return desired != NULL;
}

static bool value_cpu_limit(const struct vm_figures *vm, double *ret)
{
    *ret = vm->limits ? (double)vm->limits->cpu_limit_milli / 1000 : 0;
    return *ret > 0;
}

static bool value_memory_limit(const struct vm_figures *vm, double *ret)
{
    *ret = vm->limits ? (double)vm->limits->memory_limit_mib * (1 << 20) : 0;
    return *ret > 0;
}

static bool value_disk(const struct vm_figures *vm, double *ret)
{
    *ret = (double)vm->disk_bytes;
    return vm->disk_bytes >= 0;
}

static bool value_cpu(const struct vm_figures *vm, double *ret)
{
    *ret = (double)vm->usage.cpu_ms / 1000;
    return vm->usage.at_ms > 0;
}

static bool value_resident(const struct vm_figures *vm, double *ret)
{
    *ret = (double)vm->usage.resident_bytes;
    return vm->usage.at_ms > 0;
}

static bool value_read(const struct vm_figures *vm, double *ret)
{
    *ret = (double)vm->usage.read_bytes;
    return vm->usage.has_io;
}

static bool value_written(const struct vm_figures *vm, double *ret)
{
    *ret = (double)vm->usage.written_bytes;
    return vm->usage.has_io;
}

static bool value_received(const struct vm_figures *vm, double *ret)
{
    *ret = (double)vm->network.received_bytes;
    return vm->network.is_known;
}

static bool value_received_packets(const struct vm_figures *vm, double *ret)
{
    *ret = (double)vm->network.received_packets;
    return vm->network.is_known;
}

static bool value_sent(const struct vm_figures *vm, double *ret)
{
    *ret = (double)vm->network.sent_bytes;
    return vm->network.is_known;
}

static bool value_sent_packets(const struct vm_figures *vm, double *ret)
{
    *ret = (double)vm->network.sent_packets;
    return vm->network.is_known;
}

static const struct {
    const char *name;
    enum metric_type type;
    const char *help;
    bool (*value)(const struct vm_figures *vm, double *ret);
} vm_families[] = {
    {"vmctl_vm_ready", METRIC_GAUGE, "Whether the VM is ready.", value_ready},
    {"vmctl_vm_failures_in_a_row", METRIC_GAUGE,
        "Failures of the VM in a row; 0 once it has run well.", value_failures},
    {"vmctl_vm_restarts", METRIC_COUNTER, "Starts of the VM after an end that was not requested.",
        value_restarts},
    {"vmctl_vm_vcpus", METRIC_GAUGE, "Processors that the VM is to have.", value_vcpus},
    {"vmctl_vm_memory_bytes", METRIC_GAUGE, "Memory that the VM is to have.", value_memory},
    {"vmctl_vm_cpu_limit", METRIC_GAUGE,
        "Processors of the host that the VM may use; absent without an enforced limit.",
        value_cpu_limit},
    {"vmctl_vm_memory_limit_bytes", METRIC_GAUGE,
        "Memory of the host that the VM may use; absent without an enforced limit.",
        value_memory_limit},
    {"vmctl_vm_disk_allocated_bytes", METRIC_GAUGE,
        "Space of the host that the file of the VM's disk uses.", value_disk},
    {"vmctl_vm_cpu_seconds", METRIC_COUNTER,
        "Processor time that the VM's QEMU has used since its start.", value_cpu},
    {"vmctl_vm_resident_memory_bytes", METRIC_GAUGE, "Memory of the host that the VM's QEMU holds.",
        value_resident},
    {"vmctl_vm_disk_read_bytes", METRIC_COUNTER,
        "Bytes that the VM's QEMU has read from the host's disks.", value_read},
    {"vmctl_vm_disk_written_bytes", METRIC_COUNTER,
        "Bytes that the VM's QEMU has written to the host's disks.", value_written},
    {"vmctl_vm_network_receive_bytes", METRIC_COUNTER,
        "Bytes of the Ethernet frames that the VM has received.", value_received},
    {"vmctl_vm_network_transmit_bytes", METRIC_COUNTER,
        "Bytes of the Ethernet frames that the VM has sent.", value_sent},
    {"vmctl_vm_network_receive_packets", METRIC_COUNTER,
        "Ethernet frames that the VM has received.", value_received_packets},
    {"vmctl_vm_network_transmit_packets", METRIC_COUNTER, "Ethernet frames that the VM has sent.",
        value_sent_packets},
};

static void add_vms(struct exposition *to, const struct cli *cli, const struct vm_list *list)
{
    cleanup_free struct vm_figures *vms = mem_calloc(list->count + 1, sizeof(*vms));
    cleanup_with(strings_clear) struct strings names = {.count = 0};
    for (size_t i = 0; i < list->count; i++) {
        network_usage_add_networks(&names, list->records[i].status);
    }
    cleanup_json json_t *networks = network_usage_ask(&cli->paths, &names);
    for (size_t i = 0; i < list->count; i++) {
        vms[i] = figures_of(cli, networks, &list->records[i]);
    }
    for (size_t f = 0; f < ARRAY_LEN(vm_families); f++) {
        exposition_family(to, vm_families[f].name, vm_families[f].type, vm_families[f].help);
        for (size_t i = 0; i < list->count; i++) {
            double value;
            if (vm_families[f].value(&vms[i], &value)) {
                exposition_vm_sample(to, vms[i].record->name, value);
            }
        }
    }
}

/* ---- of all VMs ---- */

enum { STATES_MAX = 128 };

struct state_count {
    const char *word; /* static */
    size_t count;
};

/* The words are vm_row_state()'s, of which there are a few dozen. */
static void add_states(struct exposition *to, const struct vm_list *list)
{
    struct state_count states[STATES_MAX];
    size_t n_states = 0, n_pending = 0;
    for (size_t i = 0; i < list->count; i++) {
        struct vm_row row = vm_row_of_record(&list->records[i]);
        const char *word = vm_row_state(&row);
        size_t k = 0;
        while (k < n_states && strcmp(states[k].word, word) != 0) {
            k++;
        }
        if (k == n_states && n_states < STATES_MAX) {
            states[n_states++] = (struct state_count){word, 0};
        }
        if (k < n_states) {
            states[k].count++;
        }
        n_pending += row.desired.generation > row.status.observed_generation;
    }
    exposition_family(to, "vmctl_vms", METRIC_GAUGE, "VMs by state, as vmctl list shows it.");
    for (size_t k = 0; k < n_states; k++) {
        exposition_sample(to, "state", states[k].word, (double)states[k].count);
    }
    exposition_family(to, "vmctl_vms_changed", METRIC_GAUGE,
        "VMs with a change that the controller has not processed yet.");
    exposition_sample(to, NULL, NULL, (double)n_pending);
}

static int add_controller(struct exposition *to, struct cli *cli, struct error *err)
{
    struct controller_process controller;
    int rc = controller_find(cli, &controller, err);
    if (rc < 0) {
        return rc;
    }
    bool serves = controller.state == CONTROLLER_SERVES && !controller.is_stopped;
    exposition_family(
        to, "vmctl_controller_up", METRIC_GAUGE, "Whether a controller serves the data directory.");
    exposition_sample(to, NULL, NULL, serves);
    exposition_family(to, "vmctl_controller_start_time_seconds", METRIC_GAUGE,
        "When that controller started, since 1970.");
    if (controller.state == CONTROLLER_SERVES) {
        exposition_sample(to, NULL, NULL, (double)controller.started_ms / 1000);
    }
    exposition_family(
        to, "vmctl_store_commits", METRIC_COUNTER, "Transactions committed to the store.");
    exposition_sample(to, NULL, NULL, (double)store_commits(cli->store));
    return 0;
}

struct cached_images {
    size_t count;
    int64_t bytes;
};

static void count_image(void *context, int dir_fd, const char *name)
{
    struct cached_images *images = context;
    struct stat st;
    if (image_file_name_is_valid(name)) {
        images->count++;
        images->bytes += fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_size : 0;
    }
}

static void add_images(struct exposition *to, const struct cli *cli)
{
    cleanup_free char *directory = paths_path(&cli->paths, "images");
    struct cached_images images = {.count = 0};
    fs_each_entry(directory, count_image, &images);
    exposition_family(to, "vmctl_images", METRIC_GAUGE, "Base images in the cache.");
    exposition_sample(to, NULL, NULL, (double)images.count);
    exposition_family(to, "vmctl_images_bytes", METRIC_GAUGE, "Size of these images.");
    exposition_sample(to, NULL, NULL, (double)images.bytes);
}

/* A file of nodes that cannot be read is for `vmctl node list` to explain. */
static void add_nodes(struct exposition *to, const struct cli *cli)
{
    cleanup_with(nodes_clear) struct nodes nodes = {.count = 0};
    cleanup_with(error_clear) struct error ignored = {.code = ERR_NONE};
    exposition_family(
        to, "vmctl_nodes", METRIC_GAUGE, "Other hosts that were added by vmctl node.");
    if (nodes_load_named(cli, &nodes, &ignored) == 0) {
        exposition_sample(to, NULL, NULL, (double)nodes.count);
    }
}

/* Only those that can be named: builders of templates are left out here as everywhere, and what is
 * left needs no escape as a label. */
static void keep_named(struct vm_list *list)
{
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        if (vm_name_is_valid(list->records[i].name)) {
            list->records[kept++] = list->records[i];
        } else {
            vm_record_clear(&list->records[i]);
        }
    }
    list->count = kept;
}

int metrics_add(struct metrics *metrics, struct cli *cli, bool is_openmetrics, struct buf *out,
    struct error *err)
{
    struct exposition to = {.out = out, .is_openmetrics = is_openmetrics};
    struct vm_list list = {.count = 0};
    exposition_family(&to, "vmctl_build_info", METRIC_GAUGE, "The version of vmctl-serve.");
    exposition_sample(&to, "version", VMCTL_VERSION, 1);
    int rc = add_controller(&to, cli, err);
    rc = rc < 0 ? rc : store_list(cli->store, &list, err);
    if (rc == 0) {
        keep_named(&list);
        add_images(&to, cli);
        add_nodes(&to, cli);
        observe_boots(metrics, &list);
        add_durations(metrics, &to);
        add_states(&to, &list);
        add_vms(&to, cli, &list);
        buf_add_str(out, is_openmetrics ? "# EOF\n" : "");
    }
    vm_list_clear(&list);
    return rc;
}
