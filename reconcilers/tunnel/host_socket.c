/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/tunnel/host_socket.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/vm/vm_status.h"

static const char prefix[] = "forward-", suffix[] = ".sock";

char *host_socket_id(const struct vm_forward *forward)
{
    enum { ID_SIZE = 12 };
    char digest[DIGEST_SIZE];
    cleanup_free char *text = mem_printf("%s\n%s\n%s", forward->socket, forward->guest_socket,
        socket_direction_name(forward->direction));
    digest_text(text, digest);
    return mem_strndup(digest, ID_SIZE);
}

char *host_socket_file(const struct vm_forward *forward)
{
    cleanup_free char *id = host_socket_id(forward);
    return mem_printf("%s%s%s", prefix, id, suffix);
}

bool host_socket_is_file(const char *name)
{
    return text_starts_with(name, prefix) && text_ends_with(name, suffix);
}

/* Also one that leads into a data directory that was moved. */
static bool is_ours(
    const struct paths *paths, const char *vm_name, const struct vm_forward *forward)
{
    char target[PATH_MAX];
    cleanup_free char *file = host_socket_file(forward);
    cleanup_free char *dir = paths_vm(paths, vm_name, VM_DIR);
    cleanup_free char *end = mem_printf("/vms%s/%s", strrchr(dir, '/'), file);
    ssize_t n = readlink(forward->socket, target, sizeof(target) - 1);
    target[n > 0 ? n : 0] = '\0';
    return n > 0 && text_ends_with(target, end);
}

/* Who can write to it could put another socket there, and be taken for the guest. */
static int check_socket_place(const char *socket, struct error *err)
{
    struct stat st;
    cleanup_free char *dir = mem_strndup(socket, (size_t)(strrchr(socket, '/') - socket));
    const char *path = dir[0] ? dir : "/";
    if (stat(path, &st) < 0) {
        return error_set_errno(
            err, ERR_FORWARD, errno, "cannot create the socket '%s' in '%s'", socket, path);
    }
    bool is_private = (st.st_uid == geteuid() || st.st_uid == 0) && (st.st_mode & 022) == 0;
    if (!S_ISDIR(st.st_mode) || !is_private) {
        (void)error_set(err, ERR_FORWARD,
            "the socket '%s' is not created: other users can write to its directory", socket);
        return error_help(err, "deny that: chmod go-w '%s'; or choose another", path);
    }
    return 0;
}

int host_socket_link(const struct paths *paths, const char *vm_name,
    const struct vm_forward *forward, struct error *err)
{
    char present[PATH_MAX];
    cleanup_free char *dir = paths_vm(paths, vm_name, VM_DIR);
    cleanup_free char *file = host_socket_file(forward);
    cleanup_free char *target = mem_printf("%s/%s", dir, file);
    int rc = check_socket_place(forward->socket, err);
    if (rc < 0) {
        return rc;
    }
    ssize_t n = readlink(forward->socket, present, sizeof(present) - 1);
    present[n > 0 ? n : 0] = '\0';
    if (text_eq(present, target)) {
        return 0;
    }
    if (is_ours(paths, vm_name, forward)) {
        (void)unlink(forward->socket);
    }
    if (symlink(target, forward->socket) == 0) {
        return 0;
    }
    if (errno == EEXIST) {
        (void)error_set(err, ERR_FORWARD,
            "the socket '%s' is not created: the path has a file that is not vmctl's",
            forward->socket);
        return error_help(err, "remove that file, or choose another path");
    }
    return error_set_errno(
        err, ERR_FORWARD, errno, "cannot create the socket '%s'", forward->socket);
}

void host_socket_unlink(
    const struct paths *paths, const char *vm_name, const struct vm_forward *forward)
{
    if (forward->socket && forward->direction == SOCKET_TO_GUEST &&
        is_ours(paths, vm_name, forward)) {
        (void)unlink(forward->socket);
    }
}
