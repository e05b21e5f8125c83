/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/paths.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"

const char *const paths_folders[] = {"store", "vms", "images", "images/.part", "images/.by-source",
    "volumes", "imports", "nodes", "sent", "applied", "templates", "networks", "trash",
    "quarantine", "killed", "noop", NULL};

static const char *const vm_files[] = {
    [VM_DIR] = "",
    [VM_ALIVE_LOCK] = "/alive.lock",
    [VM_OVERLAY] = "/overlay.qcow2",
    [VM_SEED] = "/seed.iso",
    [VM_NEXT_OVERLAY] = "/next-overlay.qcow2",
    [VM_NEXT_SEED] = "/next-seed.iso",
    [VM_KEY] = "/id_ed25519_generated",
    [VM_KEY_PUBLIC] = "/id_ed25519_generated.pub",
    [VM_HOST_KEY] = "/ssh_host_ed25519_key",
    [VM_HOST_KEY_PUBLIC] = "/ssh_host_ed25519_key.pub",
    [VM_HOST_KEY_TRUSTED] = "/ssh_host_key_trusted.pub",
    [VM_KNOWN_HOSTS] = "/known_hosts",
    [VM_SSH_CONFIG] = "/ssh_config",
    [VM_FORWARD_LOCK] = "/forward.lock",
    [VM_FORWARD_CONTROL] = "/forward.ctl",
    [VM_FORWARD_LOG] = "/forward.log",
    [VM_CONSOLE_LOG] = "/console.log",
    [VM_PROVISION_LOG] = "/provision.log",
    [VM_QEMU_LOG] = "/qemu.log",
    [VM_CONTROL_SOCKET] = "/ctl.sock",
    [VM_QMP_SOCKET] = "/qmp.sock",
    [VM_CONSOLE_SOCKET] = "/console.sock",
    [VM_AGENT_SOCKET] = "/agent.sock",
    [VM_IDENTITY_SOCKET] = "/identity.sock",
    [VM_MEMORY_FILE] = "/memory",
    [VM_MACHINE_STATE] = "/machine-state",
    [VM_SAVED_MEMORY] = "/saved-memory",
    [VM_VNC_SOCKET] = "/vnc.sock",
    [VM_FIRMWARE_VARS] = "/uefi_vars.fd",
    [VM_TPM_DIR] = "/tpm",
    [VM_TPM_STATE] = "/tpm/tpm2-00.permall",
    [VM_GUARD] = "/guard",
    [VM_PIDFILE] = "/pidfile",
};
_Static_assert(ARRAY_LEN(vm_files) == VM_FILE_COUNT_, "every file has a name");

const char *paths_home(void)
{
    const char *home = getenv("HOME");
    if (home && home[0] == '/') {
        return home;
    }
    const struct passwd *user = getpwuid(getuid());
    return user && user->pw_dir && user->pw_dir[0] == '/' ? user->pw_dir : "/";
}

void paths_find(struct paths *paths, const char *data_dir)
{
    const char *xdg = getenv("XDG_DATA_HOME");
    free(paths->data_dir);
    if (data_dir) {
        cleanup_free char *cwd = getcwd(NULL, 0);
        paths->data_dir = fs_resolve(data_dir, cwd ? cwd : "/", paths_home());
    } else if (xdg && xdg[0] == '/') { /* the XDG specification: ignore relative values */
        paths->data_dir = mem_printf("%s/vmctl", xdg);
    } else {
        paths->data_dir = mem_printf("%s/.local/share/vmctl", paths_home());
    }
}

int paths_init(struct paths *paths, const char *data_dir, struct error *err)
{
    struct paths found = {.data_dir = NULL};
    paths_find(&found, data_dir);
    if (fs_make_dirs(found.data_dir, 0700, err) < 0) {
        paths_clear(&found);
        return error_help(err, "choose another one: --data-dir DIR, or set XDG_DATA_HOME");
    }
    *paths = found;
    return 0;
}

void paths_clear(struct paths *paths)
{
    free(TAKE_PTR(paths->data_dir));
}

char *paths_path(const struct paths *paths, const char *relative)
{
    return mem_printf("%s/%s", paths->data_dir, relative);
}

/* As vm_name_flat() has the name, without a copy of it: there are many paths. */
static char *in_vm(
    const struct paths *paths, const char *vm_name, const char *separator, const char *behind)
{
    static const char vms[] = "/vms/";
    const char *const parts[] = {paths->data_dir, vms, vm_name, separator, behind};
    size_t lengths[ARRAY_LEN(parts)], n = 0;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        lengths[i] = strlen(parts[i]);
        n += lengths[i];
    }
    char *path = mem_resize(NULL, n + 1, 1), *end = path;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        end = mempcpy(end, parts[i], lengths[i]);
    }
    *end = '\0';
    char *slash = memchr(path + lengths[0] + strlen(vms), '/', lengths[2]);
    if (slash) {
        *slash = '+';
    }
    return path;
}

char *paths_vm(const struct paths *paths, const char *vm_name, enum vm_file file)
{
    return in_vm(paths, vm_name, "", vm_files[file]);
}

char *paths_in_vm(const struct paths *paths, const char *vm_name, const char *relative)
{
    return in_vm(paths, vm_name, "/", relative);
}

char *paths_image(const struct paths *paths, const char *sha256)
{
    return mem_printf("%s/images/%s.qcow2", paths->data_dir, sha256);
}
