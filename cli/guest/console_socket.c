/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/guest/console_socket.h"

#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/lockfile.h"
#include "specs/base/paths.h"

static int take_lock(const struct paths *paths, const char *vm_name, int *ret, struct error *err)
{
    cleanup_free char *log_path = paths_vm(paths, vm_name, VM_CONSOLE_LOG);
    int rc = lockfile_take(log_path, ret, err);
    if (rc == -ERR_VM_CONFLICT) {
        error_clear(err);
        (void)error_set(err, ERR_VM_INVALID_STATE,
            "the console of vm '%s' is in use by another `vmctl console`", vm_name);
        return error_help(err, "detach there first, with Ctrl+]");
    }
    return rc;
}

int console_socket_open(
    const struct paths *paths, const char *vm_name, struct console_socket *ret, struct error *err)
{
    cleanup_free char *path = paths_vm(paths, vm_name, VM_CONSOLE_SOCKET);
    *ret = (struct console_socket){.fd = -1, .lock = -1};
    if (fs_connect_unix(path, &ret->fd, err) < 0) {
        error_clear(err);
        (void)error_set(
            err, ERR_VM_INVALID_STATE, "vm '%s' is not running: it has no console", vm_name);
        return error_help(err, "start it: vmctl up, or vmctl start %s", vm_name);
    }
    int rc = take_lock(paths, vm_name, &ret->lock, err);
    if (rc < 0) {
        console_socket_close(ret);
    }
    return rc;
}

void console_socket_close(struct console_socket *console)
{
    if (console->fd >= 0) {
        (void)close(TAKE_FD(console->fd));
    }
    if (console->lock >= 0) {
        (void)close(TAKE_FD(console->lock));
    }
}
