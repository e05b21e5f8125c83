/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/doctor/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/doctor/command_output.h"
#include "cli/request/run_vms.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/compat.h"
#include "specs/base/error.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

enum { LIMIT_MS = 10 * 1000, OUTPUT_MAX = 1 << 20 };

/* ---- what vmctld finds ---- */

/* NULL, and a finding, when it cannot be run. Caller owns. */
static json_t *ask_vmctld(struct doctor *doctor)
{
    cleanup_free char *program = cli_program_beside("vmctld");
    cleanup_buf struct buf out = BUF_INIT(OUTPUT_MAX);
    char option[] = "--probe";
    char *const argv[] = {program, option, NULL};
    int status = command_output(argv, LIMIT_MS, &out);
    json_t *probe = status == 0 ? json_loadb(buf_str(&out), out.len, 0, NULL) : NULL;
    if (!probe) {
        doctor_add(doctor, "vmctld", DOCTOR_FAIL,
            "install vmctld beside vmctl, of the same version", "'%s' cannot be run", program);
    }
    return probe;
}

static void check_kvm(struct doctor *doctor, const json_t *kvm)
{
    if (json_flag(kvm, "usable", false)) {
        doctor_add(doctor, "kvm", DOCTOR_OK, NULL, "runs guests");
        return;
    }
    const char *reason = json_text(kvm, "reason");
    const char *help =
        access("/dev/kvm", F_OK) != 0
            ? "turn on virtualization in the firmware, or nested virtualization for this VM; "
              "then: modprobe kvm_intel (or kvm_amd)"
        : access("/dev/kvm", R_OK | W_OK) != 0
            ? "become a member of its group: sudo usermod -aG kvm $USER; then log in again"
            : NULL;
    doctor_add(doctor, "kvm", DOCTOR_WARN, help, "guests run under TCG, much slower: %s",
        reason ? reason : "not probed");
}

/* ---- QEMU ---- */

/* What every VM is given: reconcilers/backend/qemu/argv.c. */
static const char *const devices[] = {
    "virtio-blk-pci", "virtio-net-pci", "virtio-rng-pci", "virtio-scsi-pci", "pvpanic-pci"};

static void check_devices(struct doctor *doctor, char *path)
{
    cleanup_buf struct buf out = BUF_INIT(OUTPUT_MAX), missing = BUF_INIT(0);
    char option[] = "-device", help[] = "help", machine[] = "-machine", none[] = "none";
    char *const argv[] = {path, machine, none, option, help, NULL};
    int status = command_output(argv, LIMIT_MS, &out);
    for (size_t i = 0; i < ARRAY_LEN(devices); i++) {
        cleanup_free char *quoted = mem_printf("name \"%s\"", devices[i]);
        if (!strstr(buf_str(&out), quoted)) {
            buf_printf(&missing, "%s%s", missing.len ? ", " : "", devices[i]);
        }
    }
    if (status != 0 || missing.len > 0) {
        doctor_add(doctor, "qemu", DOCTOR_FAIL, "install a QEMU with all of its x86 devices",
            "'%s' has no %s", path, missing.len ? buf_str(&missing) : "list of devices");
    }
}

static void check_qemu(struct doctor *doctor, const json_t *qemu)
{
    cleanup_free char *path = json_copy_text(qemu, "path");
    cleanup_buf struct buf out = BUF_INIT(OUTPUT_MAX), line = BUF_INIT(0);
    char option[] = "--version";
    if (!path) {
        const char *message = json_text(qemu, "error");
        doctor_add(doctor, "qemu", DOCTOR_FAIL, json_text(qemu, "help"), "%s",
            message ? message : "not found");
        return;
    }
    char *const argv[] = {path, option, NULL};
    if (command_output(argv, LIMIT_MS, &out) != 0) {
        doctor_add(doctor, "qemu", DOCTOR_FAIL, "install it: apt-get install qemu-system-x86",
            "'%s --version' fails", path);
        return;
    }
    text_add_printable(&line, buf_str(&out), strcspn(buf_str(&out), "\n"));
    doctor_add(doctor, "qemu", DOCTOR_OK, NULL, "%s: %s", path, buf_str(&line));
    check_devices(doctor, path);
}

/* Only `share` needs it, and has 9p where there is none. */
static void check_shares(struct doctor *doctor, const json_t *shares)
{
    const char *path = json_text(shares, "path"), *fault = json_text(shares, "error");
    doctor_add(doctor, "shares", path ? DOCTOR_OK : DOCTOR_WARN,
        path ? NULL
             : "install virtiofsd (Debian 12: apt-get install qemu-system-common), and let users "
               "create user namespaces: sysctl user.max_user_namespaces",
        path ? "shared folders by virtiofs: %s" : "shared folders by 9p, which is slower: %s",
        path    ? path
        : fault ? fault
                : "not probed");
}

/* Only `firmware` and `tpm` of a VMFile need them. */
static void check_firmware(struct doctor *doctor, const json_t *probe)
{
    static const struct {
        const char *name;
        enum doctor_need need;
        const char *what, *missing;
    } parts[] = {{"uefi", DOCTOR_NEED_UEFI, "UEFI", "firmware \"uefi\" does not work"},
        {"uefi-secure", DOCTOR_NEED_SECURE_BOOT, "UEFI with secure boot",
            "firmware \"uefi-secure\" does not work"},
        {"tpm", DOCTOR_NEED_TPM, "TPMs by", "`tpm` does not work"}};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        const json_t *part = json_object_get(probe, parts[i].name);
        const char *path = json_text(part, "path"), *fault = json_text(part, "error");
        doctor_add_optional(doctor, parts[i].name, parts[i].need, path, json_text(part, "help"),
            "%s: %s", path ? parts[i].what : parts[i].missing,
            path    ? path
            : fault ? fault
                    : "not probed");
    }
}

/* ---- other programs ---- */

static bool is_in_path(const char *program)
{
    const char *path = getenv("PATH");
    while (path && *path) {
        size_t n = strcspn(path, ":");
        cleanup_free char *file = mem_printf("%.*s/%s", (int)n, path, program);
        if (access(file, X_OK) == 0) {
            return true;
        }
        path += n + (path[n] == ':');
    }
    return false;
}

static void check_programs(struct doctor *doctor)
{
    static const struct {
        const char *name, *help;
    } programs[] = {
        {"qemu-img", "install it: apt-get install qemu-utils"},
        {"ssh", "install it: apt-get install openssh-client"},
    };
    for (size_t i = 0; i < ARRAY_LEN(programs); i++) {
        bool is_there = is_in_path(programs[i].name);
        doctor_add(doctor, programs[i].name, is_there ? DOCTOR_OK : DOCTOR_FAIL,
            is_there ? NULL : programs[i].help, "%s", is_there ? "found" : "not in PATH");
    }
}

/* ---- kernel ---- */

static void check_kernel(struct doctor *doctor)
{
    struct utsname name = {.release = "?"};
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    (void)uname(&name);
    cleanup_close int pidfd = pidfd_open(getpid(), 0);
    cleanup_close int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    bool has_locks = fcntl(file, F_OFD_GETLK, &lock) == 0 || errno != EINVAL;
    if (pidfd < 0 || !has_locks) {
        doctor_add(doctor, "kernel", DOCTOR_FAIL, "vmctl needs Linux 5.4 or newer",
            "Linux %s has no %s", name.release, pidfd < 0 ? "pidfd_open(2)" : "F_OFD_SETLK");
        return;
    }
    doctor_add(doctor, "kernel", DOCTOR_OK, NULL, "Linux %s", name.release);
}

/* ---- network ---- */

static const char *find_helper(void)
{
    static const char *const paths[] = {"/usr/lib/qemu/qemu-bridge-helper",
        "/usr/libexec/qemu-bridge-helper", "/usr/lib/qemu-bridge-helper"};
    const char *named = getenv("VMCTL_BRIDGE_HELPER");
    if (named && named[0]) {
        return named;
    }
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        if (access(paths[i], X_OK) == 0) {
            return paths[i];
        }
    }
    return NULL;
}

/* Only `network "tap"` needs it, so nothing here is a failure. */
static void check_bridge(struct doctor *doctor)
{
    static const char conf[] = "/etc/qemu/bridge.conf";
    struct stat st;
    const char *helper = find_helper();
    if (geteuid() == 0) {
        bool has_tun = access("/dev/net/tun", R_OK | W_OK) == 0;
        doctor_add(doctor, "bridge", has_tun ? DOCTOR_OK : DOCTOR_WARN,
            has_tun ? NULL : "modprobe tun", "%s",
            has_tun ? "tap devices can be created"
                    : "no /dev/net/tun: network \"tap\" does not work");
    } else if (!helper || stat(helper, &st) < 0 || !(st.st_mode & S_ISUID)) {
        doctor_add(doctor, "bridge", DOCTOR_WARN,
            "apt-get install qemu-system-common; chmod u+s /usr/lib/qemu/qemu-bridge-helper",
            "network \"tap\" does not work: %s",
            helper ? "qemu-bridge-helper is not set-user-ID root" : "no qemu-bridge-helper");
    } else if (access(conf, R_OK) != 0) {
        doctor_add(doctor, "bridge", DOCTOR_WARN, "add a line to it, such as: allow br0",
            "network \"tap\" does not work: cannot read %s", conf);
    } else {
        doctor_add(doctor, "bridge", DOCTOR_OK, NULL, "%s", helper);
    }
}

/* The range of reconcilers/vm/ports.h; VMs that run hold theirs. */
static void check_ports(struct doctor *doctor)
{
    enum { FIRST = 10022, LAST = 10122 };
    unsigned n_free = 0;
    for (unsigned port = FIRST; port <= LAST; port++) {
        n_free += port_is_free(FORWARD_TCP, (uint16_t)port);
    }
    doctor_add(doctor, "ports", n_free > 0 ? DOCTOR_OK : DOCTOR_WARN,
        n_free > 0 ? NULL : "vmctl uses higher ports; see what listens on these: ss -tlnp",
        "%u of %u ports for SSH are free (127.0.0.1:%u-%u)", n_free, LAST - FIRST + 1U, FIRST,
        LAST);
}

void doctor_check_host(struct doctor *doctor)
{
    cleanup_json json_t *probe = ask_vmctld(doctor);
    if (probe) {
        check_kvm(doctor, json_object_get(probe, "kvm"));
        check_qemu(doctor, json_object_get(probe, "qemu"));
        check_shares(doctor, json_object_get(probe, "shares"));
        check_firmware(doctor, probe);
    }
    check_programs(doctor);
    check_kernel(doctor);
    check_bridge(doctor);
    check_ports(doctor);
}
