/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/qemu/argv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reconcilers/backend/qemu/firmware.h"
#include "reconcilers/network/switch/port.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"
#include "specs/image/volume_file.h"
#include "specs/vm/agent_protocol.h"
#include "specs/vm/spec_diff.h"
#include "specs/vm/vm_spec.h"

struct words {
    char **items;
    size_t n;
};

static void push(struct words *words, char *word_take)
{
    mem_grow(words->items, words->n);
    words->items[words->n++] = word_take;
}

static void argv_add(struct words *words, const char *word)
{
    push(words, mem_strdup(word));
}

static void option(struct words *words, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void option(struct words *words, const char *name, const char *fmt, ...)
{
    char *value = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&value, fmt, ap);
    va_end(ap);
    argv_add(words, name);
    push(words, n >= 0 ? value : mem_strdup(""));
}

/* Inside an option's value a comma is doubled (qemu(1), -drive; docs of QemuOpts and keyval). */
static char *escape(const char *path)
{
    cleanup_buf struct buf out = BUF_INIT(0);
    for (; *path; path++) {
        buf_add_char(&out, *path);
        if (*path == ',') {
            buf_add_char(&out, ',');
        }
    }
    return buf_steal(&out);
}

const char *qemu_newest_machine(const struct vm_spec *spec)
{
    return vm_spec_is_virt(spec) ? "virt" : "q35";
}

static void add_process(struct words *words, const struct qemu_config *config)
{
    argv_add(words, config->binary);
    option(words, "-name", "guest=%s,debug-threads=on", config->spec->name);
    option(words, "-uuid", "%s", config->uuid);
    argv_add(words, "-nodefaults");
    argv_add(words, "-no-user-config");
    argv_add(words, "-S");
    /* Keep the run state of a guest that powers off or panics while no controller runs. */
    argv_add(words, "-no-shutdown");
    option(words, "-action", "panic=pause");
    option(words, "-pidfile", "%s", config->pidfile);
    /* -runas takes effect after the sandbox. Its own setuid(2) is the last that can succeed: no
     * program can be started (spawn), and a user without capabilities has no other id to take. */
    option(words, "-sandbox",
        "on,obsolete=deny,elevateprivileges=%s,spawn=deny,resourcecontrol=deny",
        config->run_as ? "allow" : "deny");
    if (config->run_as) {
        option(words, "-runas", "%s", config->run_as);
    }
}

/* A slot is one addition of memory. Each takes 1 GiB of the address space for its alignment
 * (hw/i386/pc.c, pc_get_device_memory_range), of which a host may have only 512; hence fewer than
 * QEMU's 256 slots. */
static void add_memory(struct words *words, const struct vm_spec *spec)
{
    enum { SLOTS_MAX = 32 };
    if (spec->max_memory_mib <= spec->memory_mib) {
        option(words, "-m", "%uM", spec->memory_mib);
        return;
    }
    uint32_t blocks = (spec->max_memory_mib - spec->memory_mib) / SPEC_MEMORY_BLOCK_MIB;
    uint32_t slots = blocks < 1 ? 1 : blocks < SLOTS_MAX ? blocks : SLOTS_MAX;
    option(
        words, "-m", "size=%uM,slots=%u,maxmem=%uM", spec->memory_mib, slots, spec->max_memory_mib);
}

static bool has_flash(const struct qemu_config *config)
{
    return config->firmware && config->firmware->vars_format;
}

/* What TCG has translated takes up to 1 GiB by itself, more than a `memory-limit` may leave it. */
static void add_accel(struct words *words, const struct qemu_config *config)
{
    enum { BUFFER_MIB = 128 };
    if (config->spec->memory_limit_mib > 0 && text_eq(config->accel, "tcg")) {
        option(words, "-accel", "tcg,tb-size=%d", BUFFER_MIB);
    } else {
        option(words, "-accel", "%s", config->accel);
    }
}

static void add_machine(struct words *words, const struct qemu_config *config)
{
    bool is_shared = config->has_virtiofs && config->spec->n_shares > 0;
    bool is_named = is_shared || config->memory;
    option(words, "-machine", "%s%s%s%s%s", config->machine,
        vm_spec_is_arm(config->spec) ? ",gic-version=max" : "",
        has_flash(config) ? ",pflash0=firmware-code,pflash1=firmware-vars" : "",
        config->firmware && config->firmware->needs_smm ? ",smm=on" : "",
        is_named ? ",memory-backend=ram" : "");
    if (is_shared) { /* the servers read and write it */
        option(words, "-object", "memory-backend-memfd,id=ram,size=%uM,share=on",
            config->spec->memory_mib);
    }
    if (config->memory) {
        cleanup_free char *memory = escape(config->memory);
        option(words, "-object", "memory-backend-file,id=ram,size=%uM,mem-path=%s,share=%s",
            config->spec->memory_mib, memory, config->is_woken ? "off" : "on");
    }
    add_accel(words, config);
    if (text_eq(config->accel, "kvm")) {
        option(words, "-cpu", "host"); /* TCG: the default; `max` measured slower */
    } else if (vm_spec_is_arm(config->spec)) {
        option(words, "-cpu", "cortex-a57"); /* the default has 32 bits */
    }
    const struct vm_spec *spec = config->spec;
    if (spec->max_vcpus > spec->vcpus) {
        option(words, "-smp", "cpus=%u,maxcpus=%u", spec->vcpus, spec->max_vcpus);
    } else {
        option(words, "-smp", "%u", spec->vcpus);
    }
    add_memory(words, spec);
}

/* Only code in SMM may change the variables of a build that needs it. It does not come back from
 * ACPI S3 (edk2, OvmfPkg/README). */
static void add_firmware(struct words *words, const struct qemu_config *config)
{
    const struct firmware_build *build = config->firmware;
    if (build && !has_flash(config)) {
        option(words, "-kernel", "%s", build->code);
    }
    if (!has_flash(config)) {
        return;
    }
    cleanup_free char *code = escape(build->code);
    cleanup_free char *vars = escape(config->firmware_vars);
    option(words, "-blockdev",
        "driver=%s,node-name=firmware-code,read-only=on,file.driver=file,file.filename=%s",
        build->code_format, code);
    option(words, "-blockdev",
        "driver=%s,node-name=firmware-vars,file.driver=file,file.filename=%s", build->vars_format,
        vars);
    if (build->needs_smm) {
        option(words, "-global", "driver=cfi.pflash01,property=secure,value=on");
        option(words, "-global", "ICH9-LPC.disable_s3=1");
    }
}

static void add_tpm(struct words *words, const struct qemu_config *config)
{
    if (!config->spec->has_tpm) {
        return;
    }
    option(words, "-chardev", "socket,id=tpm,fd=%d", QEMU_FD_TPM);
    option(words, "-tpmdev", "emulator,id=tpm0,chardev=tpm");
    option(words, "-device", "%s,tpmdev=tpm0",
        vm_spec_is_virt(config->spec) ? "tpm-tis-device" : "tpm-crb");
}

static void add_monitors_and_console(struct words *words, const struct qemu_config *config)
{
    cleanup_free char *log = escape(config->console_log);
    option(words, "-chardev", "socket,id=ctl,fd=%d,server=on,wait=off", QEMU_FD_CONTROL);
    option(words, "-mon", "chardev=ctl,mode=control");
    option(words, "-chardev", "socket,id=usr,fd=%d,server=on,wait=off", QEMU_FD_QMP);
    option(words, "-mon", "chardev=usr,mode=control");
    option(words, "-chardev", "socket,id=console,fd=%d,server=on,wait=off,logfile=%s,logappend=on",
        QEMU_FD_CONSOLE, log);
    option(words, "-serial", "chardev:console");
    if (config->memory) { /* at the end of the ports: the guest's ttyS1 */
        option(words, "-chardev", "socket,id=identity,fd=%d,server=on,wait=off", QEMU_FD_IDENTITY);
        option(words, "-serial", "chardev:identity");
    }
    if (config->is_woken) {
        option(words, "-incoming", "defer");
    }
    if (vm_spec_is_arm(config->spec)) {
        option(words, "-device", "ramfb"); /* what its firmware has drawn on is a guest's screen */
    } else if (vm_spec_is_riscv(config->spec)) {
        /* U-Boot draws on none; and without ACPI the button to power off is a key. */
        option(words, "-device", "virtio-gpu-pci");
        option(words, "-device", "virtio-keyboard-pci");
    } else {
        option(words, "-vga", "std");
    }
    const struct spec_vnc *vnc = &config->spec->vnc;
    if (vnc->port) { /* the first: query-vnc answers with it */
        option(
            words, "-object", "secret,id=vnc-password,file=/proc/self/fd/%d", QEMU_FD_VNC_PASSWORD);
        option(words, "-vnc", "127.0.0.1:%d,id=port,password-secret=vnc-password",
            vnc->port - SPEC_VNC_PORT_FIRST);
    }
    option(words, "-vnc", "unix:/proc/self/fd/%d/vnc.sock,id=socket", QEMU_FD_DIR);
}

static void add_disks(struct words *words, const struct qemu_config *config)
{
    cleanup_free char *overlay = escape(config->overlay);
    option(words, "-blockdev",
        "driver=qcow2,node-name=" QEMU_DISK_NODE
        ",discard=unmap,file.driver=file,file.discard=unmap,file.filename=%s",
        overlay);
    option(words, "-device", "virtio-blk-pci,id=disk,drive=" QEMU_DISK_NODE ",bootindex=1");
    if (!config->seed) {
        return;
    }
    cleanup_free char *seed = escape(config->seed);
    option(words, "-blockdev",
        "driver=raw,node-name=seed0,read-only=on,file.driver=file,file.filename=%s", seed);
    switch (config->spec->cloud_init.bus) {
    case SEED_VIRTIO:
        option(words, "-device", "virtio-blk-pci,id=seed,drive=seed0");
        break;
    case SEED_IDE:
        option(words, "-device", "ide-cd,id=seed,drive=seed0");
        break;
    case SEED_SCSI:
    case SEED_BUS_COUNT_:
        option(words, "-device", "virtio-scsi-pci,id=scsi0");
        option(words, "-device", "scsi-cd,id=seed,bus=scsi0.0,drive=seed0");
        break;
    }
}

int qemu_network_fd(enum network_mode mode, size_t i)
{
    return i > 0                 ? QEMU_FD_FURTHER + (int)i - 1
           : mode == NETWORK_TAP ? QEMU_FD_TAP
                                 : QEMU_FD_NETWORK;
}

/* Forwards are the first network's, whose device is `QEMU_NETDEV`. */
static void add_netdev(struct words *words, const struct qemu_config *config, size_t i)
{
    const struct spec_network *network = vm_spec_network(config->spec, i);
    int fd = qemu_network_fd(network->mode, i);
    if (network->mode == NETWORK_USER) { /* the other forwards: boot.c */
        cleanup_buf struct buf early = BUF_INIT(0);
        for (size_t at = 0; at < network->n_forwards; at++) {
            const struct spec_forward *forward = &network->forwards[at];
            if (forward->host_port < config->early_ports_end) {
                buf_printf(&early, ",hostfwd=%s:%s:%u-:%u",
                    forward_protocol_name(forward->protocol), forward_address(forward),
                    forward->host_port, forward->guest_port);
            }
        }
        option(words, "-netdev", "user,id=" QEMU_NETDEVS "%zu%s", i, buf_str(&early));
    } else if (network->mode == NETWORK_PROJECT) {
        cleanup_free char *name = vm_name_of_socket(config->spec->name);
        /* Datagrams: what listens there may end and come back. */
        option(words, "-netdev",
            "dgram,id=" QEMU_NETDEVS
            "%zu,local.type=unix,local.path=/proc/self/fd/%d/%s" SWITCH_GUEST_SUFFIX
            ",remote.type=unix,remote.path=/proc/self/fd/%d/" SWITCH_HUB "/%s" SWITCH_HUB_SUFFIX,
            i, fd, name, fd, name);
    } else {
        option(words, "-netdev", "tap,id=" QEMU_NETDEVS "%zu,fd=%d", i, fd);
    }
}

static void add_network(struct words *words, const struct qemu_config *config)
{
    enum network_mode mode = config->spec->network.mode;
    if (mode == NETWORK_NONE || mode == NETWORK_VNIC) {
        return;
    }
    add_netdev(words, config, 0);
    option(words, "-device",
        "virtio-net-pci,id=nic,netdev=" QEMU_NETDEV "%s%s,romfile=", config->macs[0] ? ",mac=" : "",
        config->macs[0] ? config->macs[0] : "");
}

/* In a slot of their own behind the first one's, so that no other device moves, and in their order:
 * a guest counts its cards by place. */
static void add_further_networks(struct words *words, const struct qemu_config *config)
{
    enum { SLOT = 0x1a };
    for (size_t i = 1; i <= config->spec->n_further_networks; i++) {
        const char *mac = config->macs[i];
        add_netdev(words, config, i);
        option(words, "-device",
            "virtio-net-pci,id=nic%zu,netdev=" QEMU_NETDEVS "%zu%s%s,romfile=,addr=0x%x.%zu%s", i,
            i, mac ? ",mac=" : "", mac ? mac : "", SLOT, i - 1, i == 1 ? ",multifunction=on" : "");
    }
}

/* Empty slots for devices to be added to a running machine: q35's own bus takes none. At addresses
 * of their own, so that no other device moves. A volume has one of its own, so that it can be
 * removed. */
static void add_root_ports(struct words *words, const struct qemu_config *config)
{
    enum { SLOT = 0x1e, FUNCTIONS = 8 };
    size_t n_volumes = config->spec->n_volumes;
    for (int i = 0; i < QEMU_FREE_PORTS + (int)n_volumes; i++) {
        option(words, "-device", "pcie-root-port,id=port%d,bus=pcie.0,addr=0x%x.%d,chassis=%d%s", i,
            SLOT - i / FUNCTIONS, i % FUNCTIONS, i + 1,
            i % FUNCTIONS == 0 ? ",multifunction=on" : "");
    }
    for (size_t i = 0; i < n_volumes; i++) {
        const char *name = config->spec->volumes[i].name, *serial = vm_name_plain(name);
        cleanup_free char *path = volume_path(config->paths, name);
        cleanup_free char *escaped = escape(path);
        option(words, "-blockdev",
            "driver=qcow2,node-name=" QEMU_VOLUME
            "%s,discard=unmap,file.driver=file,file.discard=unmap,file.filename=%s",
            serial, escaped);
        option(words, "-device",
            "virtio-blk-pci,id=" QEMU_VOLUME "%s,drive=" QEMU_VOLUME "%s,serial=%s,bus=port%zu",
            serial, serial, serial, QEMU_FREE_PORTS + i);
    }
}

/* At addresses of their own, so that no other device moves: all virtiofs devices in one slot, all
 * of 9p in another one. A guest's kernel may have neither, one or both; the guest uses the first.
 */
static void add_shares(struct words *words, const struct qemu_config *config)
{
    enum { SLOT_VIRTIOFS = 0x1c, SLOT_9P = 0x1b };
    for (size_t i = 0; i < config->spec->n_shares; i++) {
        const struct spec_share *share = &config->spec->shares[i];
        const char *multi = i == 0 ? ",multifunction=on" : "";
        cleanup_free char *path = escape(share->host);
        if (config->has_virtiofs) {
            option(
                words, "-chardev", "socket,id=share-%s,fd=%d", share->tag, QEMU_FD_SHARE + (int)i);
            option(words, "-device",
                "vhost-user-fs-pci,id=share-%s,chardev=share-%s,tag=%s,addr=0x%x.%zu%s", share->tag,
                share->tag, share->tag, SLOT_VIRTIOFS, i, multi);
        }
        option(words, "-fsdev", "local,id=plan9-%s,path=%s,security_model=none,multidevs=remap%s",
            share->tag, path, share->is_readonly ? ",readonly=on" : "");
        option(words, "-device",
            "virtio-9p-pci,id=plan9-%s,fsdev=plan9-%s,mount_tag=%s,addr=0x%x.%zu%s", share->tag,
            share->tag, share->tag, SLOT_9P, i, multi);
    }
}

/* At the end, so that no other device moves. */
static void add_further_disks(struct words *words, const struct qemu_config *config)
{
    for (size_t i = 0; i < config->spec->n_disks; i++) {
        const struct spec_disk *disk = &config->spec->disks[i];
        cleanup_free char *scratch = scratch_path(config->paths, config->spec->name, disk->name);
        cleanup_free char *path = escape(disk->file ? disk->file : scratch);
        option(words, "-blockdev",
            "driver=%s,node-name=disk-%s%s,file.driver=file,%sfile.filename=%s",
            disk->file ? "raw" : "qcow2", disk->name,
            disk->file ? ",read-only=on" : ",discard=unmap",
            disk->file ? "" : "file.discard=unmap,", path);
        option(words, "-device", "virtio-blk-pci,id=disk-%s,drive=disk-%s,serial=%s", disk->name,
            disk->name, disk->name);
    }
}

/* At an address of its own, so that no other device moves: saved memory has none of it if it was
 * saved by an earlier version. */
static void add_agent(struct words *words, const struct qemu_config *config)
{
    enum { SLOT = 0x19 };
    if (!config->has_agent) {
        return;
    }
    option(words, "-chardev", "socket,id=" QEMU_AGENT ",fd=%d,server=on,wait=off", QEMU_FD_AGENT);
    option(words, "-device", "virtio-serial-pci,id=serial,addr=0x%x,max_ports=2", SLOT);
    option(words, "-device",
        "virtserialport,id=" QEMU_AGENT ",bus=serial.0,nr=1,chardev=" QEMU_AGENT
        ",name=" AGENT_PORT);
}

char **qemu_argv(const struct qemu_config *config)
{
    struct words words = {0};
    add_process(&words, config);
    add_machine(&words, config);
    add_firmware(&words, config);
    add_monitors_and_console(&words, config);
    add_disks(&words, config);
    add_network(&words, config);
    option(&words, "-device", "virtio-rng-pci");
    option(&words, "-device", "pvpanic-pci");
    add_root_ports(&words, config);
    add_further_disks(&words, config);
    add_shares(&words, config);
    add_further_networks(&words, config);
    add_agent(&words, config);
    add_tpm(&words, config);
    push(&words, NULL);
    return words.items;
}

void qemu_argv_free(char **argv)
{
    for (char **word = argv; word && *word; word++) {
        free(*word);
    }
    free(argv);
}
