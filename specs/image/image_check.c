/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/image/image_check.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/user_path.h"

/* An image of the user's may stand on others of the same user's; nobody else's file is read by a
 * guest because a header names it. */
static int check_backing(const char *path, const struct image_info *first, struct error *err)
{
    enum { DEPTH_MAX = 8 };
    struct image_info info = *first;
    struct stat image, backing;
    cleanup_free char *at = mem_strdup(path);
    for (int depth = 0; info.backing[0] && depth < DEPTH_MAX; depth++) {
        const char *slash = strrchr(at, '/');
        cleanup_free char *directory =
            slash ? mem_strndup(at, (size_t)(slash - at)) : mem_strdup(".");
        cleanup_free char *next = fs_join(directory, info.backing);
        if (user_path_stat(path, &image) < 0 || user_path_stat(next, &backing) < 0 ||
            !S_ISREG(backing.st_mode)) {
            error_set(err, ERR_IMAGE_FORMAT, "image '%s' is based on '%s', which is not a file",
                path, info.backing);
            return error_help(err, "flatten it: qemu-img convert -O qcow2 %s NEW.qcow2", path);
        }
        if (backing.st_uid != image.st_uid || backing.st_uid != geteuid()) {
            error_set(err, ERR_IMAGE_FORMAT,
                "image '%s' is based on '%s', which belongs to another user", path, next);
            return error_help(err, "flatten it: qemu-img convert -O qcow2 %s NEW.qcow2", path);
        }
        if (image_inspect(next, &info, err) < 0) {
            return error_wrap(err, "image '%s' is based on '%s'", path, next);
        }
        free(at);
        at = TAKE_PTR(next);
    }
    return 0;
}

static int check_complete(const char *path, const struct image_info *info, struct error *err)
{
    if (!info->has_data_file) {
        return check_backing(path, info, err);
    }
    error_set(
        err, ERR_IMAGE_FORMAT, "image '%s' is not complete: its data is in another file", path);
    return error_help(err, "flatten it: qemu-img convert -O qcow2 %s NEW.qcow2", path);
}

int image_check_file(
    const char *path, const char *machine, struct image_found *ret, struct error *err)
{
    *ret = (struct image_found){.compression = COMPRESSION_NONE};
    if (compression_of_file(path, path, &ret->compression, err) < 0 ||
        image_foreign_of_file(path, path, &ret->foreign, err) < 0) {
        return -(int)err->code;
    }
    if (ret->compression != COMPRESSION_NONE) {
        return image_inspect_packed(path, machine, err);
    }
    if (ret->foreign) {
        return 0;
    }
    int rc = image_inspect_base(path, machine, path, &ret->info, err);
    return rc < 0 ? rc : check_complete(path, &ret->info, err);
}
