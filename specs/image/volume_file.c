/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/image/volume_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/vm_name.h"
#include "specs/image/qcow2.h"

char *volume_path(const struct paths *paths, const char *name)
{
    cleanup_free char *flat = vm_name_flat(name);
    return mem_printf("%s/volumes/%s/volume.qcow2", paths->data_dir, flat);
}

char *volume_record_key(const char *name)
{
    return mem_printf("volume/%s", name);
}

char *scratch_path(const struct paths *paths, const char *vm_name, const char *name)
{
    cleanup_free char *file = mem_printf("scratch-%s.qcow2", name);
    return paths_in_vm(paths, vm_name, file);
}

int64_t volume_bytes(const struct paths *paths, const char *name)
{
    uint8_t head[QCOW2_HEADER_SIZE];
    struct qcow2_header header;
    struct error ignored = {.code = ERR_NONE};
    cleanup_free char *path = volume_path(paths, name);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT) {
        return VOLUME_IS_MISSING;
    }
    ssize_t n = fd < 0 ? -1 : fs_read_at(fd, head, sizeof(head), 0);
    bool is_ours = n > 0 && qcow2_parse(head, (size_t)n, &header, &ignored) == 0 &&
                   !header.backing_offset && !header.has_data_file && !header.is_encrypted;
    return is_ours ? (int64_t)header.virtual_size : VOLUME_IS_FOREIGN;
}
