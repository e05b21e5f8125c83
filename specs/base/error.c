/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/error.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/url.h"

static const struct {
    const char *name;
    int exit_status;
    const char *help;
} codes[] = {
    [ERR_NONE] = {"vmctl::ok", 0, ""},
    [ERR_IO] = {"vmctl::io", 1, ""},
    [ERR_USAGE] = {"vmctl::usage", 2, "see: vmctl --help"},
    [ERR_INTERRUPTED] = {"vmctl::interrupted", 130, ""},
    [ERR_CANCELLED] = {"vmctl::cancelled", 1, ""},
    [ERR_TIMEOUT] = {"vmctl::timeout", 4, "see what it waits for: vmctl status NAME"},
    [ERR_DIFFERS] = {"vmctl::differs", 1, ""},
    [ERR_VMFILE_NOT_FOUND] = {"vmctl::vmfile::not_found", 2,
        "create VMFile.kdl in the current directory (vmctl init) or specify a path with --file"},
    [ERR_VMFILE_PARSE] = {"vmctl::vmfile::parse_failed", 2,
        "check the VMFile's syntax; see https://kdl.dev"},
    [ERR_VMFILE_INVALID] = {"vmctl::vmfile::validation", 2, "see: man 5 VMFile.kdl"},
    [ERR_VM_NOT_FOUND] = {"vmctl::vm::not_found", 3, "run `vmctl list` to see available VMs"},
    [ERR_VM_INVALID_STATE] = {"vmctl::vm::invalid_state", 1, "see its state: vmctl status NAME"},
    [ERR_VM_CONFLICT] = {"vmctl::vm::conflict", 6, "see which VMs there are: vmctl list"},
    [ERR_VM_DELETING] = {"vmctl::vm::deleting", 6,
        "wait until it is gone: vmctl wait NAME --deleted"},
    [ERR_VM_FAILED] = {"vmctl::vm::failed", 1, "see: vmctl status NAME; vmctl log NAME"},
    [ERR_STORE] = {"vmctl::store::unusable", 5, "check the data directory's disk and permissions"},
    [ERR_STORE_STALE] = {"vmctl::store::stale", 6, "run the command again"},
    [ERR_STORE_VERSION] = {"vmctl::store::version", 5,
        "use the vmctl that made this store, or a newer one"},
    [ERR_CONTROLLER] = {"vmctl::controller::unusable", 5,
        "see why: vmctl controller status; its log is controller.log in the data directory"},
    [ERR_NODE] = {"vmctl::node::unreachable", 5,
        "its VMs keep running; see ssh's error: vmctl node show NAME"},
    [ERR_FLEET_UNREACHABLE] = {"vmctl::fleet::unreachable", 5,
        "VMs keep running; see which members answer: etcdctl endpoint status"},
    [ERR_FLEET_TLS] = {"vmctl::fleet::tls", 5,
        "check the files and the dates of the certificates: openssl x509 -noout -dates -in FILE"},
    [ERR_FLEET_DENIED] = {"vmctl::fleet::denied", 5,
        "give the user its role: etcdctl user grant-role USER ROLE"},
    [ERR_FLEET_VERSION] = {"vmctl::fleet::version", 5,
        "the fleet's store has to be etcd 3.4 or newer; check the port"},
    [ERR_FLEET_COMPACTED] = {"vmctl::fleet::compacted", 5, "vmctld reads it again by itself"},
    [ERR_FLEET_LIMIT] = {"vmctl::fleet::too_large", 1,
        "use fewer VMs in one VMFile, or smaller files"},
    [ERR_FLEET_FULL] = {"vmctl::fleet::full", 5,
        "compact and defragment it, then: etcdctl alarm disarm"},
    [ERR_FLEET_LEASE] = {"vmctl::fleet::lease_lost", 5, "vmctld takes a new one by itself"},
    [ERR_FLEET_CONFIG] = {"vmctl::fleet::config", 2,
        "join one: vmctl fleet join --as NODE --etcd URL --cert FILE --key FILE --ca FILE"},
    [ERR_FLEET_FROZEN] = {"vmctl::fleet::frozen", 5,
        "VMs keep running, but not as a part of the fleet; see: vmctl fleet status"},
    [ERR_FLEET_NO_NODE] = {"vmctl::fleet::no_node", 1, "see: vmctl node list"},
    [ERR_FLEET_NODE_LOST] = {"vmctl::fleet::node_lost", 1, "see: vmctl node list"},
    [ERR_FLEET_NAME_TAKEN] = {"vmctl::fleet::name_taken", 6,
        "choose another name; see which VM has it: vmctl list -A"},
    [ERR_IMAGE_NOT_FOUND] = {"vmctl::image::not_found", 1, "check the image's path or URL"},
    [ERR_IMAGE_DOWNLOAD] = {"vmctl::image::download_failed", 1,
        "check network connectivity and that the URL is correct"},
    [ERR_IMAGE_CHECKSUM] = {"vmctl::image::checksum_mismatch", 1,
        "correct sha256= in the VMFile, or find out who changed the image"},
    [ERR_IMAGE_FORMAT] = {"vmctl::image::format_detection_failed", 1,
        "ensure qemu-img is installed and the file is a valid disk image"},
    [ERR_IMAGE_DECOMPRESS] = {"vmctl::image::decompress_failed", 1,
        "check that the file is complete and of the type its name implies"},
    [ERR_IMAGE_CHANGED] = {"vmctl::image::backing_changed", 1,
        "restore the old image, or recreate the VM (this erases its disk): vmctl reload NAME"},
    [ERR_IMAGE_CONVERSION] = {"vmctl::image::conversion_failed", 1,
        "ensure qemu-img is installed and there is sufficient disk space"},
    [ERR_OVERLAY] = {"vmctl::image::overlay_creation_failed", 1,
        "ensure qemu-img is installed and the base image exists and is readable"},
    [ERR_DISK_SHRINK] = {"vmctl::disk::shrink_forbidden", 1,
        "a disk can only grow: raise `disk`, or recreate the VM: vmctl reload NAME"},
    [ERR_NO_SPACE] = {"vmctl::io::no_space", 1,
        "free some disk space; it resumes by itself (see: df -h)"},
    [ERR_SNAPSHOT_NOT_FOUND] = {"vmctl::snapshot::not_found", 1,
        "see which there are: vmctl snapshot list NAME"},
    [ERR_ARCHIVE] = {"vmctl::archive::invalid", 1,
        "nothing was imported; export it again: vmctl export NAME FILE"},
    [ERR_VOLUME_NOT_FOUND] = {"vmctl::volume::not_found", 1,
        "see which there are: vmctl volume list"},
    [ERR_VOLUME_IN_USE] = {"vmctl::volume::in_use", 1, "see which VM uses it: vmctl volume list"},
    [ERR_SHARE] = {"vmctl::share::failed", 1,
        "see what the guest says about it: vmctl ssh NAME -- sudo dmesg"},
    [ERR_MOUNT] = {"vmctl::volume::mount_failed", 1,
        "see what the guest says about it: vmctl ssh NAME -- sudo dmesg"},
    [ERR_FORWARD] = {"vmctl::forward::failed", 1, "see which forwards work: vmctl port NAME"},
    [ERR_TEMPLATE] = {"vmctl::template::failed", 1, "see: vmctl template list"},
    [ERR_SAVED_MEMORY] = {"vmctl::vm::saved_memory", 1, "see: vmctl events VM"},
    [ERR_TEMPLATE_NOT_FOUND] = {"vmctl::template::not_found", 1,
        "see which there are: vmctl template list"},
    [ERR_IDENTITY] = {"vmctl::clone::failed", 1, "boot the VM instead: vmctl up --cold"},
    [ERR_SEED] = {"vmctl::cloudinit::iso_failed", 1,
        "check the cloud-init block's files and the space in the data directory"},
    [ERR_KEYGEN] = {"vmctl::ssh::keygen_failed", 1,
        "restore the key from a backup; or remove it and give the VM a new disk: vmctl reload "
        "NAME"},
    [ERR_KEY_UNREADABLE] = {"vmctl::ssh::key_unreadable", 1,
        "check the key's path and permissions in the VMFile"},
    [ERR_QEMU_SPAWN] = {"vmctl::qemu::spawn_failed", 1,
        "ensure qemu-system-x86_64 is installed, in PATH, and KVM is available (/dev/kvm)"},
    [ERR_QMP_CONNECT] = {"vmctl::qemu::qmp_connect_failed", 1,
        "QEMU may have crashed before its QMP socket was ready; see qemu.log in the VM's "
        "directory"},
    [ERR_QMP_COMMAND] = {"vmctl::qemu::qmp_command_failed", 1,
        "see qemu.log in the VM's directory"},
    [ERR_KVM_UNAVAILABLE] = {"vmctl::qemu::kvm_unavailable", 1,
        "use accel \"auto\" or \"tcg\", or give yourself access to /dev/kvm (group kvm)"},
    [ERR_PORT_TAKEN] = {"vmctl::network::port_taken", 1,
        "choose another host port in the VMFile, or stop what listens there (see: ss -tlnp)"},
    [ERR_BACKEND_UNAVAILABLE] = {"vmctl::backend::not_available", 1,
        "this backend is not supported on the current platform"},
    [ERR_PROPOLIS_UNREACHABLE] = {"vmctl::propolis::unreachable", 1,
        "ensure propolis-server is running and listening on the expected address"},
    [ERR_IP_TIMEOUT] = {"vmctl::network::ip_discovery_timeout", 1,
        "the guest may not have a DHCP lease; check the network configuration and cloud-init"},
    [ERR_SSH] = {"vmctl::ssh::failed", 1,
        "check the SSH key, that the guest is reachable, and that sshd is running in it"},
    [ERR_SSH_AUTH] = {"vmctl::ssh::auth_failed", 1,
        "check `user` and the key in the VMFile; see the guest's boot: vmctl log NAME --console"},
    [ERR_SSH_HOSTKEY] = {"vmctl::ssh::hostkey_mismatch", 1,
        "if the guest made itself a new key: vmctl ssh-trust NAME; else send it no secrets: "
        "another host answers at its address"},
    [ERR_SSH_TIMEOUT] = {"vmctl::ssh::timeout", 1,
        "see whether the guest booted and runs sshd: vmctl log NAME --console"},
    [ERR_SSH_PORT] = {"vmctl::ssh::port_closed", 1,
        "run sshd on port 22 of the guest; see its boot: vmctl log NAME --console"},
    [ERR_AGENT] = {"vmctl::guest::agent_failed", 1,
        "install qemu-guest-agent in the guest and start it; or use SSH: vmctl ssh NAME"},
    [ERR_CLOUD_INIT] = {"vmctl::cloudinit::failed", 1,
        "see: vmctl ssh NAME -- cloud-init status --long; once repaired: vmctl restart NAME"},
    [ERR_PROVISION] = {"vmctl::provision::failed", 1,
        "see its output: vmctl log NAME --provision; then: vmctl provision --name NAME"},
    [ERR_PROBE] = {"vmctl::probe::failed", 1,
        "inspect the guest: vmctl ssh NAME; its console: vmctl log NAME --console"},
    [ERR_PROVISION_TIMEOUT] = {"vmctl::provision::timeout", 1,
        "raise the step's `timeout`, or see what it does: vmctl log NAME --provision"},
    [ERR_SECRET] = {"vmctl::provision::secret_missing", 1,
        "run this where its secrets are: vmctl up --name NAME"},
    [ERR_PROVISION_LOST] = {"vmctl::provision::interrupted", 1,
        "see how far it got: vmctl log NAME --provision; then: vmctl provision --name NAME"},
};
_Static_assert(sizeof(codes) / sizeof(codes[0]) == ERR_CODE_COUNT_, "every code has a row");

static const char ellipsis[] = "…";

/* snprintf for the fixed fields: a text that does not fit is cut and marked. A message goes into
 * logs, events and records: none has the secrets of a URL. */
__attribute__((format(printf, 3, 0))) static void error_format(
    char *field, size_t size, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(field, size, fmt, ap);
    bool is_cut = n >= 0 && (size_t)n >= size;
    if (is_cut) { /* a secret that is cut is not seen to be one */
        cleanup_free char *whole = mem_vprintf(fmt, again);
        url_mask(whole);
        is_cut = (size_t)snprintf(field, size, "%s", whole) >= size;
    } else {
        url_mask(field);
    }
    va_end(again);
    if (is_cut) {
        memcpy(field + size - sizeof(ellipsis), ellipsis, sizeof(ellipsis));
    }
}

/* Help texts write NAME for the VM: the one that the message names first, as "vm 'web'". */
static void name_the_vm(struct error *err)
{
    const char *help = err->help[0] ? err->help : codes[err->code].help;
    const char *name = strstr(err->message, "vm '"), *at = strstr(help, "NAME");
    int n_name = name ? (int)strcspn(name + 4, "'") : 0;
    char named[sizeof(err->help)] = "";
    size_t n = 0;
    if (n_name == 0 || !at) {
        return;
    }
    for (; at && n < sizeof(named); help = at + 4, at = strstr(help, "NAME")) {
        n += (size_t)snprintf(
            named + n, sizeof(named) - n, "%.*s%.*s", (int)(at - help), help, n_name, name + 4);
    }
    if (n + strlen(help) < sizeof(named)) { /* else it stays as it is */
        memcpy(named + n, help, strlen(help) + 1);
        memcpy(err->help, named, sizeof(named));
    }
}

static void error_append(struct error *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void error_append(struct error *err, const char *fmt, ...)
{
    size_t used = strlen(err->message);
    va_list ap;
    va_start(ap, fmt);
    if (sizeof(err->message) - used > sizeof(ellipsis)) {
        error_format(err->message + used, sizeof(err->message) - used, fmt, ap);
    }
    va_end(ap);
}

int error_set(struct error *err, enum error_code code, const char *fmt, ...)
{
    assert(err->code == ERR_NONE && code != ERR_NONE);
    va_list ap;
    va_start(ap, fmt);
    *err = (struct error){.code = code};
    error_format(err->message, sizeof(err->message), fmt, ap);
    va_end(ap);
    name_the_vm(err);
    return -(int)code;
}

int error_set_errno(struct error *err, enum error_code code, int sys_errno, const char *fmt, ...)
{
    assert(err->code == ERR_NONE && code != ERR_NONE);
    bool is_full = sys_errno == ENOSPC || sys_errno == EDQUOT;
    va_list ap;
    va_start(ap, fmt);
    *err = (struct error){.code = is_full ? ERR_NO_SPACE : code, .sys_errno = sys_errno};
    error_format(err->message, sizeof(err->message), fmt, ap);
    va_end(ap);
    error_append(err, ": %s", strerror(sys_errno));
    /* Limits of the process: their names say little, and a code's own help looks elsewhere. */
    if (sys_errno == EFBIG) {
        error_append(err, " (the file system's limit, or that of `ulimit -f`)");
        return error_help(
            err, "raise it: ulimit -f unlimited; of a running vmctld: vmctl controller stop");
    }
    name_the_vm(err);
    return -(int)err->code;
}

int error_set_start(struct error *err, enum error_code code, int sys_errno, const char *fmt, ...)
{
    char text[sizeof(err->message)];
    va_list ap;
    va_start(ap, fmt);
    error_format(text, sizeof(text), fmt, ap);
    va_end(ap);
    (void)error_set_errno(err, code, sys_errno, "%s", text);
    if (sys_errno == EAGAIN) {
        error_append(
            err, " (the limit of processes: `ulimit -u`, or pids.max of the control group)");
        (void)error_help(
            err, "end some processes of this user, or raise the limit (see: ulimit -u)");
    }
    return -(int)err->code;
}

int error_wrap(struct error *err, const char *fmt, ...)
{
    assert(err->code != ERR_NONE);
    char inner[sizeof(err->message)];
    memcpy(inner, err->message, sizeof(inner));
    va_list ap;
    va_start(ap, fmt);
    error_format(err->message, sizeof(err->message), fmt, ap);
    va_end(ap);
    error_append(err, ": %s", inner);
    name_the_vm(err);
    return -(int)err->code;
}

int error_help(struct error *err, const char *fmt, ...)
{
    assert(err->code != ERR_NONE);
    va_list ap;
    va_start(ap, fmt);
    error_format(err->help, sizeof(err->help), fmt, ap);
    va_end(ap);
    return -(int)err->code;
}

void error_clear(struct error *err)
{
    *err = (struct error){.code = ERR_NONE};
}

const char *error_code_name(enum error_code code)
{
    return codes[code].name;
}

enum error_code error_code_find(const char *name)
{
    for (int code = ERR_NONE + 1; name && code < ERR_CODE_COUNT_; code++) {
        if (strcmp(codes[code].name, name) == 0) {
            return (enum error_code)code;
        }
    }
    return ERR_NONE;
}

int error_exit_status(enum error_code code)
{
    return codes[code].exit_status;
}

const char *error_help_text(const struct error *err)
{
    return err->help[0] ? err->help : codes[err->code].help;
}
