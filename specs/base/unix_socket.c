/* SPDX-License-Identifier: MPL-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"

enum { BACKLOG = 16 };

/* A socket, and the address of `path` as /proc/self/fd/DIR/NAME, valid while *ret_dir_fd is open.
 */
static int new_socket(const char *path, struct sockaddr_un *ret_address, int *ret_dir_fd,
    int *ret_fd, struct error *err)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    cleanup_free char *dir = slash ? mem_strndup(path, (size_t)(slash - path)) : mem_strdup(".");
    cleanup_close int dir_fd = open(dir[0] ? dir : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot open directory '%s'", dir);
    }
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    int n = snprintf(
        ret_address->sun_path, sizeof(ret_address->sun_path), "/proc/self/fd/%d/%s", dir_fd, name);
    if (n < 0 || (size_t)n >= sizeof(ret_address->sun_path)) {
        return error_set(err, ERR_IO, "socket name '%s' is too long", name);
    }
    *ret_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*ret_fd < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot make a unix socket");
    }
    *ret_dir_fd = TAKE_FD(dir_fd);
    return 0;
}

int fs_listen_unix(const char *path, int *ret_fd, struct error *err)
{
    struct sockaddr_un address;
    cleanup_close int dir_fd = -1, fd = -1;
    int rc = new_socket(path, &address, &dir_fd, &fd, err);
    if (rc < 0) {
        return rc;
    }
    (void)unlink(address.sun_path);
    (void)fchmod(fd, 0600); /* a unix socket's file takes its mode from the descriptor at bind() */
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, BACKLOG) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot listen on '%s'", path);
    }
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int fs_connect_unix(const char *path, int *ret_fd, struct error *err)
{
    struct sockaddr_un address;
    cleanup_close int dir_fd = -1, fd = -1;
    int rc = new_socket(path, &address, &dir_fd, &fd, err);
    if (rc < 0) {
        return rc;
    }
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot connect to '%s'", path);
    }
    *ret_fd = TAKE_FD(fd);
    return 0;
}
