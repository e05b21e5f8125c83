/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vmfile/vmfile_reader.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/template.h"

/* --- one VM --- */

static void check_image(struct vmfile_reader *reader, const struct vmfile_vm *vm)
{
    struct kdl_pos file = vm->seen[VM_IMAGE], url = vm->seen[VM_IMAGE_URL];
    if (!file.line && !url.line && reader->is_image_meant) {
        return; /* that it is misspelt was reported: one cause, one error */
    }
    if (!file.line && !url.line) {
        vmfile_report(reader, vm->pos, "add image-url \"https://…\" or image \"path\"",
            "VM \"%s\" has no image source", vm->spec->name);
    } else if (file.line && url.line) {
        bool url_is_second =
            url.line > file.line || (url.line == file.line && url.column > file.column);
        vmfile_report(reader, url_is_second ? url : file, "remove one of them",
            "VM \"%s\" has both `image` and `image-url`", vm->spec->name);
    }
}

/* A maximum that was not valid itself is 0 here, and reported. */
static void check_headroom(struct vmfile_reader *reader, const struct vmfile_vm *vm)
{
    const struct vm_spec *spec = vm->spec;
    if (spec->max_vcpus && spec->max_vcpus < spec->vcpus) {
        vmfile_report(reader, vm->seen[VM_MAX_VCPUS], "raise it, or remove it",
            "`max-vcpus` %u is less than `vcpus` %u", spec->max_vcpus, spec->vcpus);
    }
    if (spec->max_memory_mib && spec->max_memory_mib < spec->memory_mib) {
        vmfile_report(reader, vm->seen[VM_MAX_MEMORY], "raise it, or remove it",
            "`max-memory` %u MiB is less than `memory` %u MiB", spec->max_memory_mib,
            spec->memory_mib);
    }
}

/* Less would end the machine while it boots. */
static void check_memory_limit(struct vmfile_reader *reader, const struct vmfile_vm *vm)
{
    const struct vm_spec *spec = vm->spec;
    uint32_t least_mib = spec_least_memory_limit_mib(spec->memory_mib);
    if (spec->memory_limit_mib && spec->memory_limit_mib < least_mib) {
        cleanup_free char *hint = mem_printf("write: memory-limit %u", least_mib);
        vmfile_report(reader, vm->seen[VM_MEMORY_LIMIT], hint,
            "`memory-limit` %u MiB is too little for `memory` %u MiB and QEMU itself",
            spec->memory_limit_mib, spec->memory_mib);
    }
}

/* What only one kind of machine has. */
static void check_arch(struct vmfile_reader *reader, const struct vmfile_vm *vm)
{
    const struct vm_spec *spec = vm->spec;
    bool is_virt = vm_spec_is_virt(spec), is_riscv = vm_spec_is_riscv(spec);
    const struct {
        bool holds;
        int field;
        const char *hint, *what;
    } faults[] = {
        {is_virt && spec->firmware == FIRMWARE_BIOS, VM_FIRMWARE, "write: firmware \"uefi\"",
            "firmware \"bios\""},
        {is_riscv && spec->firmware == FIRMWARE_UEFI_SECURE, VM_FIRMWARE,
            "write: firmware \"uefi\"", "firmware \"uefi-secure\""},
        {is_riscv && spec->max_memory_mib, VM_MAX_MEMORY, "remove it", "`max-memory`"},
        {is_virt && spec->max_vcpus, VM_MAX_VCPUS, "remove it", "`max-vcpus`"},
        {is_virt && spec->cloud_init.is_set && spec->cloud_init.bus == SEED_IDE, VM_CLOUD_INIT,
            "write: seed \"virtio\"", "seed \"ide\""},
        {spec->machine && is_virt != text_starts_with(spec->machine, "virt"), VM_MACHINE,
            is_virt ? "write: machine \"virt\"" : "write: machine \"q35\"", "this `machine`"},
        {spec->accel == ACCEL_KVM && arch_is_foreign(spec->image.arch), VM_ACCEL,
            "remove it: TCG runs guests of another processor", "accel \"kvm\""},
    };
    for (size_t i = 0; spec->backend == BACKEND_QEMU && i < ARRAY_LEN(faults); i++) {
        if (faults[i].holds) {
            vmfile_report(reader, vm->seen[faults[i].field], faults[i].hint,
                "%s does not go with arch \"%s\"", faults[i].what, arch_machine(spec->image.arch));
        }
    }
}

static void check_network(struct vmfile_reader *reader, const struct vmfile_vm *vm)
{
    const struct vm_spec *spec = vm->spec;
    enum network_mode mode = spec->network.mode;
    bool has_vnic = vm_spec_network_of_mode(spec, NETWORK_VNIC);
    if (has_vnic && spec->backend != BACKEND_PROPOLIS) {
        vmfile_report(reader, vm->seen[VM_NETWORK],
            "write: network \"user\" or network \"tap\", or backend \"propolis\"",
            "network \"vnic\" needs backend \"propolis\", not \"%s\"",
            backend_kind_name(spec->backend));
    }
    if (vm->seen[VM_PROPOLIS_SERVER].line && spec->backend != BACKEND_PROPOLIS) {
        vmfile_report(reader, vm->seen[VM_PROPOLIS_SERVER],
            "remove it, or write: backend \"propolis\"",
            "`propolis-server` goes with backend \"propolis\", not \"%s\"",
            backend_kind_name(spec->backend));
    }
    static const struct {
        int field;
        const char *name;
    } of_qemu[] = {{VM_VNC, "vnc"}, {VM_MACHINE, "machine"}, {VM_TPM, "tpm"}, {VM_ARCH, "arch"},
        {VM_CPU_LIMIT, "cpu-limit"}, {VM_MEMORY_LIMIT, "memory-limit"}};
    for (size_t i = 0; spec->backend == BACKEND_PROPOLIS && i < ARRAY_LEN(of_qemu); i++) {
        if (vm->seen[of_qemu[i].field].line) {
            vmfile_report(reader, vm->seen[of_qemu[i].field], "remove it",
                "`%s` goes with backend \"qemu\", not \"propolis\"", of_qemu[i].name);
        }
    }
    if (vm->seen[VM_FORWARD].line && !network_has_forwards(mode) && spec->n_further_networks > 0) {
        vmfile_report(reader, vm->seen[VM_FORWARD],
            "remove it, or put network \"user\" or \"project\" first",
            "`forward` goes with the first network, which is \"%s\"", network_mode_name(mode));
    } else if (vm->seen[VM_FORWARD].line && !network_has_forwards(mode)) {
        vmfile_report(reader, vm->seen[VM_FORWARD], "remove it, or write: network \"user\"",
            "`forward` goes with network \"user\", not \"%s\"", network_mode_name(mode));
    } else if (vm->over_ssh.line && !vm_spec_expects_ssh(spec) && spec->backend != BACKEND_NOOP) {
        vmfile_report(reader, vm->over_ssh, "add: cloud-init, or: ssh { user \"…\" }",
            "this `forward` is made over SSH, and VM \"%s\" has neither `ssh` nor `cloud-init`",
            spec->name);
    }
    vmfile_check_networks(reader, vm);
}

/* The mount point of each volume, then of each share; NULL: a volume has none, or none is left. */
static const char *mount_point(const struct vm_spec *spec, size_t i)
{
    bool is_volume = i < spec->n_volumes;
    size_t share = i - spec->n_volumes;
    return is_volume                ? spec->volumes[i].mount
           : share < spec->n_shares ? spec->shares[share].guest
                                    : NULL;
}

/* Mounting is the work of vmctl, over SSH; and one directory is one volume's or one share's. */
static void check_mount(struct vmfile_reader *reader, const struct vmfile_vm *vm, size_t i)
{
    const struct vm_spec *spec = vm->spec;
    bool is_volume = i < spec->n_volumes, is_taken = false;
    const char *mount = mount_point(spec, i), *what = is_volume ? "mount" : "share";
    struct kdl_pos pos = is_volume ? vm->volumes[i] : vm->shares[i - spec->n_volumes];
    for (size_t other = 0; mount && other < i; other++) {
        is_taken |= text_eq(mount_point(spec, other), mount);
    }
    if (is_taken) {
        vmfile_report(reader, pos, "choose another directory",
            "`%s` \"%s\" is also that of another %s", what, mount,
            spec->n_shares == 0 ? "volume" : "volume or share");
    } else if (mount && !vm_spec_expects_ssh(spec) && spec->backend != BACKEND_NOOP) {
        bool has_none = spec->network.mode == NETWORK_NONE;
        cleanup_free char *hint = mem_printf("choose another network, or remove `%s`", what);
        vmfile_report(reader, pos, has_none ? hint : "add: cloud-init, or: ssh { user \"…\" }",
            "`%s` is done over SSH, and VM \"%s\" has %s", what, spec->name,
            has_none ? "network \"none\"" : "neither `ssh` nor `cloud-init`");
    }
}

static void check_storage(struct vmfile_reader *reader, const struct vmfile_vm *vm)
{
    const struct vm_spec *spec = vm->spec;
    const struct {
        const char *name;
        struct kdl_pos pos;
    } of_qemu[] = {{"a further `disk`", vm->disk}, {"`volume`", vm->seen[VM_VOLUME]},
        {"`share`", vm->seen[VM_SHARE]}, {"`io-limit`", vm->seen[VM_IO_LIMIT]}};
    for (size_t i = 0; spec->backend == BACKEND_PROPOLIS && i < ARRAY_LEN(of_qemu); i++) {
        if (of_qemu[i].pos.line) {
            vmfile_report(reader, of_qemu[i].pos, "remove it",
                "%s goes with backend \"qemu\", not \"propolis\"", of_qemu[i].name);
        }
    }
    for (size_t i = 0; spec->backend != BACKEND_PROPOLIS && i < spec->n_volumes + spec->n_shares;
         i++) {
        check_mount(reader, vm, i);
    }
    for (size_t i = 0; i < spec->n_shares; i++) {
        for (size_t other = 0; other < i; other++) {
            if (text_eq(spec->shares[i].tag, spec->shares[other].tag) &&
                !text_eq(spec->shares[i].guest, spec->shares[other].guest)) {
                vmfile_report(reader, vm->shares[i], "give it its own: tag=\"src\"",
                    "the tag \"%s\" is also that of another share", spec->shares[i].tag);
            }
        }
    }
}

/* A clone gets an identity of its own by its seed. */
static void check_warm(struct vmfile_reader *reader, const struct vmfile_vm *vm)
{
    const struct vm_spec *spec = vm->spec;
    bool has_identity = spec->cloud_init.is_set || spec->backend == BACKEND_NOOP;
    if (spec->warm == WARM_NEVER) {
        return;
    }
    if (spec->backend == BACKEND_PROPOLIS) {
        vmfile_report(reader, vm->seen[VM_WARM], "remove it",
            "`warm` goes with backend \"qemu\", not \"propolis\"");
    } else if (!has_identity || spec->network.mode == NETWORK_NONE) {
        vmfile_report(reader, vm->seen[VM_WARM],
            has_identity ? "choose another network, or remove `warm`" : "add: cloud-init",
            has_identity
                ? "`warm` runs steps over SSH, and network \"none\" has no way to the guest"
                : "`warm` needs `cloud-init`: it gives each clone a name and keys of its own");
    } else if (spec->warm == WARM_REQUIRE && template_memory_obstacle(spec)) {
        vmfile_report(reader, vm->seen[VM_WARM],
            "write: warm \"auto\", which boots it from the template's disk",
            "`warm \"require\"` wakes each clone from the template's memory, and %s cannot be "
            "woken",
            template_memory_obstacle(spec));
    }
}

static void report_unreachable(struct vmfile_reader *reader, struct kdl_pos pos, const char *block)
{
    if (pos.line) {
        cleanup_free char *hint =
            mem_printf("choose another network, or remove the `%s` block", block);
        vmfile_report(reader, pos, hint,
            "`%s` probes the guest, and network \"none\" has no way to it", block);
    }
}

static bool is_forwarded(const struct vm_spec *spec, uint16_t guest_port)
{
    for (size_t i = 0; i < spec->network.n_forwards; i++) {
        const struct spec_forward *forward = &spec->network.forwards[i];
        if (forward->protocol == FORWARD_TCP && forward->guest_port == guest_port) {
            return true;
        }
    }
    return false;
}

/* Probes of a guest without SSH need ports that the host reaches and whose answer is the guest's
 * own. Behind network "user" QEMU itself, and behind "project" the switch, accepts the connection,
 * whether or not the guest does. */
static void check_probes(struct vmfile_reader *reader, const struct vm_spec *spec,
    const struct spec_check *check, const struct kdl_pos *positions)
{
    bool is_forwarding = network_has_forwards(spec->network.mode);
    for (size_t i = 0; i < check->n_probes; i++) {
        const struct spec_probe *probe = &check->probes[i];
        if (probe->kind == PROBE_EXEC) {
            vmfile_report(reader, positions[i], "add: ssh { user \"…\" }",
                "`exec` runs over SSH, and VM \"%s\" has neither `ssh` nor `cloud-init`",
                spec->name);
        } else if (is_forwarding && probe->kind == PROBE_TCP) {
            vmfile_report(reader, positions[i], "add: ssh { user \"…\" }, or probe by `http`",
                "`tcp` without SSH proves nothing on network \"%s\": %s accepts the connection "
                "whether or not the guest does",
                network_mode_name(spec->network.mode),
                spec->network.mode == NETWORK_USER ? "QEMU" : "the switch");
        } else if (is_forwarding && !is_forwarded(spec, probe->port)) {
            vmfile_report(reader, positions[i], "add: ssh { user \"…\" }, or forward the port",
                "without SSH, port %u of VM \"%s\" is reached by a `forward` only", probe->port,
                spec->name);
        }
    }
}

static void check_reachability(struct vmfile_reader *reader, const struct vmfile_vm *vm)
{
    const struct vm_spec *spec = vm->spec;
    if (spec->network.mode == NETWORK_NONE) {
        if (vm->seen[VM_PROVISION].line) {
            vmfile_report(reader, vm->seen[VM_PROVISION],
                "choose another network, or remove the provision blocks",
                "provisioning runs over SSH, and network \"none\" has no way to the guest");
        }
        report_unreachable(reader, vm->seen[VM_READY], "ready");
        report_unreachable(reader, vm->seen[VM_LIVE], "live");
        return;
    }
    bool has_login = spec->ssh.is_set || spec->cloud_init.is_set || spec->backend == BACKEND_NOOP;
    if (vm->seen[VM_PROVISION].line && !has_login) {
        vmfile_report(reader, vm->seen[VM_PROVISION],
            "add: cloud-init, or for an image with a user of its own: ssh { user \"…\" }",
            "provisioning runs over SSH, and VM \"%s\" has neither `ssh` nor `cloud-init`",
            spec->name);
    }
    for (int i = 0; i < CHECK_KIND_COUNT_ && !vm_spec_expects_ssh(spec); i++) {
        check_probes(reader, spec, &spec->checks[i], vm->probes[i]);
    }
}

void vmfile_check_vm(struct vmfile_reader *reader, const struct vmfile_vm *vm)
{
    check_image(reader, vm);
    check_headroom(reader, vm);
    check_memory_limit(reader, vm);
    check_arch(reader, vm);
    if (!vm->is_ambiguous) {
        check_network(reader, vm);
        check_storage(reader, vm);
        check_warm(reader, vm);
        check_reachability(reader, vm);
    }
}

/* --- the file --- */

static int compare_vms(const void *a, const void *b)
{
    return strcmp(
        ((const struct vmfile_vm *)a)->spec->name, ((const struct vmfile_vm *)b)->spec->name);
}

static void check_names(struct vmfile_reader *reader)
{
    for (size_t i = 0; i < reader->file->n_vms; i++) {
        struct vmfile_vm *vm = &reader->vms[i];
        struct vmfile_vm **first = tsearch(vm, &reader->by_name, compare_vms);
        if (first && *first != vm && vm->spec->name[0]) {
            vmfile_report(reader, vm->pos, "every VM of a file needs a name of its own",
                "VM \"%s\" is defined twice: the first one is on line %u", vm->spec->name,
                (*first)->pos.line);
        }
    }
}

/* The first VM of this name, or NULL. */
static const struct vmfile_vm *find_vm(const struct vmfile_reader *reader, char *name)
{
    struct vm_spec spec = {.name = name};
    struct vmfile_vm key = {.spec = &spec};
    struct vmfile_vm **found = tfind(&key, &reader->by_name, compare_vms);
    return found ? *found : NULL;
}

/* Which VM has taken a host port. */
struct port_owners {
    const struct vmfile_vm *by_port[FORWARD_PROTOCOL_COUNT_][UINT16_MAX + 1];
};

/* A port of 0 was not valid, and reported. */
static void claim_port(struct vmfile_reader *reader, const struct vmfile_vm *vm, struct kdl_pos pos,
    enum forward_protocol protocol, uint16_t port, struct port_owners *owners)
{
    const struct vmfile_vm **owner = &owners->by_port[protocol][port];
    if (port > 0 && *owner) {
        vmfile_report(reader, pos, "choose another host port",
            "host port %u/%s is already forwarded to VM \"%s\"", port,
            forward_protocol_name(protocol), (*owner)->spec->name);
    } else {
        *owner = vm;
    }
}

static void check_forwards(
    struct vmfile_reader *reader, const struct vmfile_vm *vm, struct port_owners *owners)
{
    for (size_t i = 0; i < vm->spec->network.n_forwards; i++) {
        const struct spec_forward *forward = &vm->spec->network.forwards[i];
        claim_port(reader, vm, vm->forwards[i], forward->protocol, forward->host_port, owners);
    }
    claim_port(reader, vm, vm->seen[VM_VNC], FORWARD_TCP, vm->spec->vnc.port, owners);
}

static void report_missing_dependency(
    struct vmfile_reader *reader, const struct vmfile_vm *vm, size_t index)
{
    const char *name = vm->spec->depends_on[index];
    size_t n = 0;
    cleanup_free const char **names = mem_calloc(reader->file->n_vms, sizeof(*names));
    for (size_t i = 0; i < reader->file->n_vms; i++) {
        if (&reader->vms[i] != vm) { /* itself is never meant */
            names[n++] = reader->vms[i].spec->name;
        }
    }
    vmfile_report_unknown(reader, vm->depends_on[index], name, names, n,
        "`depends-on`: no VM \"%s\" in this file", name);
}

enum visit { UNSEEN, ON_PATH, DONE };

/* Depth-first search that keeps its path, so that a cycle is reported as a path. */
struct cycle_search {
    struct vmfile_reader *reader;
    enum visit *states; /* of each VM */
    size_t path[VMFILE_MAX_VMS];
    size_t depth;
};

static void report_cycle(struct cycle_search *search, size_t start, struct kdl_pos pos)
{
    cleanup_buf struct buf text = BUF_INIT(0);
    const struct vmfile_vm *vms = search->reader->vms;
    size_t i = search->depth;
    while (search->path[i - 1] != start) {
        i--;
    }
    for (i--; i < search->depth; i++) {
        buf_printf(&text, "%s -> ", vms[search->path[i]].spec->name);
    }
    buf_add_str(&text, vms[start].spec->name);
    vmfile_report(search->reader, pos, "remove one of these dependencies",
        "`depends-on` forms a cycle: %s", buf_str(&text));
}

/* Recursion is bounded by VMFILE_MAX_VMS: a VM on the path is not entered again. */
static void search_cycles(struct cycle_search *search, size_t index)
{
    const struct vmfile_vm *vm = &search->reader->vms[index];
    search->states[index] = ON_PATH;
    search->path[search->depth++] = index;
    for (size_t i = 0; i < vm->spec->n_depends_on; i++) {
        const struct vmfile_vm *other = find_vm(search->reader, vm->spec->depends_on[i]);
        size_t next = other ? (size_t)(other - search->reader->vms) : 0;
        if (!other) {
            report_missing_dependency(search->reader, vm, i);
        } else if (!text_eq(
                       search->reader->file->places[index], search->reader->file->places[next])) {
            vmfile_report(search->reader, vm->depends_on[i], "remove it, or move one of them",
                "`depends-on` holds on one node: VM \"%s\" is on another", vm->spec->depends_on[i]);
        } else if (other == vm) {
            vmfile_report(search->reader, vm->depends_on[i], "remove it",
                "VM \"%s\" cannot depend on itself", vm->spec->name);
        } else if (search->states[next] == ON_PATH) {
            report_cycle(search, next, vm->depends_on[i]);
        } else if (search->states[next] == UNSEEN) {
            search_cycles(search, next);
        }
    }
    search->depth--;
    search->states[index] = DONE;
}

static void check_dependencies(struct vmfile_reader *reader)
{
    size_t n = reader->file->n_vms;
    cleanup_free struct cycle_search *search = mem_new(struct cycle_search);
    search->reader = reader;
    search->states = mem_calloc(n, sizeof(*search->states));
    for (size_t i = 0; i < n; i++) {
        if (search->states[i] == UNSEEN) {
            search_cycles(search, i);
        }
    }
    free(search->states);
}

/* A socket of the host leads into one guest, and is no end of another forward. */
static void check_sockets(struct vmfile_reader *reader, size_t index)
{
    const struct vmfile_vm *vm = &reader->vms[index];
    for (size_t i = 0; i < vm->spec->network.n_sockets; i++) {
        const struct spec_socket *mine = &vm->spec->network.sockets[i];
        for (size_t j = 0; j <= index; j++) {
            const struct vmfile_vm *other = &reader->vms[j];
            size_t n = j == index ? i : other->spec->network.n_sockets;
            bool is_here = text_eq(reader->file->places[index], reader->file->places[j]);
            for (size_t k = 0; is_here && k < n; k++) {
                const struct spec_socket *theirs = &other->spec->network.sockets[k];
                bool is_shared =
                    mine->direction == SOCKET_TO_HOST && theirs->direction == SOCKET_TO_HOST;
                bool is_one_guest = j == index && text_eq(mine->guest, theirs->guest) && is_shared;
                if (is_one_guest || (text_eq(mine->host, theirs->host) && !is_shared)) {
                    vmfile_report(reader, vm->sockets[i], "choose another path",
                        "the socket '%s' is forwarded already, by VM \"%s\"",
                        is_one_guest ? mine->guest : mine->host, other->spec->name);
                    n = 0;
                }
            }
        }
    }
}

/* Of a node, when its first VM comes: each host has ports of its own. */
static void check_ports_from(struct vmfile_reader *reader, size_t first)
{
    char *const *places = reader->file->places;
    for (size_t i = 0; i < first; i++) {
        if (text_eq(places[i], places[first])) {
            return;
        }
    }
    cleanup_free struct port_owners *owners = mem_new(struct port_owners);
    for (size_t i = first; i < reader->file->n_vms; i++) {
        if (text_eq(places[i], places[first])) {
            check_forwards(reader, &reader->vms[i], owners);
        }
    }
}

static void free_nothing(void *vm)
{
    (void)vm;
}

void vmfile_check_file(struct vmfile_reader *reader)
{
    check_names(reader);
    for (size_t i = 0; i < reader->file->n_vms; i++) {
        check_ports_from(reader, i);
        check_sockets(reader, i);
    }
    vmfile_check_addresses(reader);
    check_dependencies(reader);
    tdestroy(reader->by_name, free_nothing);
    reader->by_name = NULL;
}
