/* SPDX-License-Identifier: MPL-2.0 */
#include "store/import/import_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/image/qcow2.h"

static int read_header(
    const char *path, char name[QCOW2_BACKING_MAX + 1], uint64_t *ret_size, struct error *err)
{
    uint8_t bytes[QCOW2_HEADER_SIZE];
    struct qcow2_header header;
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        return error_set_errno(err, ERR_IMAGE_NOT_FOUND, errno, "cannot open it");
    }
    ssize_t n = pread(fd, bytes, sizeof(bytes), 0);
    int rc = qcow2_parse(bytes, n > 0 ? (size_t)n : 0, &header, err);
    if (rc < 0) {
        return rc;
    }
    if (header.backing_size == 0) {
        return error_set(err, ERR_IMAGE_FORMAT, "it has no base image below it");
    }
    n = pread(fd, name, header.backing_size, (off_t)header.backing_offset);
    if (n != (ssize_t)header.backing_size) {
        return error_set(err, ERR_IMAGE_FORMAT, "the qcow2 header is truncated");
    }
    name[n] = '\0';
    *ret_size = header.virtual_size;
    return 0;
}

/* A relative name starts at the overlay's directory; "json:" and protocols are not ours to take. */
static int resolve_backing(
    const char *overlay_path, const char *name, char **ret, struct error *err)
{
    static const char prefix[] = "file:";
    if (strncmp(name, prefix, strlen(prefix)) == 0) {
        name += strlen(prefix);
    }
    cleanup_free char *directory = fs_join(overlay_path, "..");
    cleanup_free char *base_dir = fs_resolve(directory, "/", "/");
    cleanup_free char *absolute = fs_join(base_dir, name); /* '~' is a name like any other here */
    cleanup_free char *path = fs_resolve(absolute, "/", "/");
    if (!fs_exists(path)) {
        (void)error_set(err, ERR_IMAGE_NOT_FOUND, "its base image '%s' is missing", path);
        return error_help(err, "restore the image: the disk holds only the differences from it");
    }
    *ret = TAKE_PTR(path);
    return 0;
}

int import_disk_read(const char *overlay_path, struct import_disk *ret, struct error *err)
{
    char name[QCOW2_BACKING_MAX + 1];
    struct import_disk disk = {.backing = NULL};
    int rc = read_header(overlay_path, name, &disk.virtual_size, err);
    if (rc == 0) {
        rc = resolve_backing(overlay_path, name, &disk.backing, err);
    }
    if (rc < 0) {
        return error_wrap(err, "disk '%s'", overlay_path);
    }
    *ret = disk;
    return 0;
}

void import_disk_clear(struct import_disk *disk)
{
    free(TAKE_PTR(disk->backing));
}

/* QEMU locks byte 100 + n for a permission it has and byte 200 + n for one it denies others. */
bool import_disk_is_open(const char *overlay_path)
{
    enum { FIRST = 100, COUNT = 200 };
    cleanup_close int fd = open(overlay_path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = FIRST, .l_len = COUNT};
    return fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}
