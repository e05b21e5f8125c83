/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/image_header.h"

#include <errno.h>
#include <sys/stat.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/user_path.h"
#include "specs/image/image_foreign.h"
#include "specs/image/image_format.h"
#include "specs/image/image_stranger.h"
#include "specs/image/qcow2.h"

struct image_file {
    const char *path;
    struct user_file file;
    uint8_t head[IMAGE_HEAD_SIZE];
    size_t n; /* bytes in head */
};

static int put_qcow2(struct image_file *file, json_t *image, struct error *err)
{
    struct qcow2_header header;
    char backing[QCOW2_BACKING_MAX + 1] = "";
    int rc = qcow2_parse(file->head, file->n, &header, err);
    if (rc < 0) {
        return error_wrap(err, "'%s'", file->path);
    }
    if (user_file_read_at(&file->file, backing, header.backing_size, header.backing_offset) !=
        (ssize_t)header.backing_size) {
        return error_set(err, ERR_IMAGE_FORMAT, "'%s': the header is truncated", file->path);
    }
    json_put_text(image, "format", image_format_name(IMAGE_QCOW2));
    json_put_int(image, "virtualSize", (int64_t)header.virtual_size);
    json_put_text(image, "backingFile", backing[0] ? backing : NULL);
    return 0;
}

/* By its head, or as a fixed VHD by its end. */
static const struct image_foreign *find_foreign(struct image_file *file)
{
    uint8_t footer[IMAGE_FOREIGN_FOOTER_SIZE];
    const struct image_foreign *foreign = image_foreign_format(file->head, file->n);
    if (foreign || file->file.size < sizeof(footer) ||
        user_file_read_at(&file->file, footer, sizeof(footer), file->file.size - sizeof(footer)) !=
            (ssize_t)sizeof(footer)) {
        return foreign;
    }
    return image_foreign_of_footer(footer, file->file.size);
}

static int put_format(struct image_file *file, json_t *image, struct error *err)
{
    enum compression compression = compression_of_head(file->head, file->n);
    const struct image_foreign *foreign = find_foreign(file);
    if (qcow2_has_magic(file->head, file->n)) {
        return put_qcow2(file, image, err);
    }
    if (compression != COMPRESSION_NONE || foreign) {
        json_put_text(image, "format", foreign ? foreign->name : compression_name(compression));
        return 0;
    }
    cleanup_free char *title = mem_printf("'%s'", file->path);
    if (image_stranger_check(&file->file, title, true, err) < 0) {
        return -(int)err->code;
    }
    if (file->file.size == 0 || file->file.size % IMAGE_SECTOR_SIZE != 0) {
        return error_set(err, ERR_IMAGE_FORMAT,
            "'%s' is not a disk image (no qcow2 header, and its size is not a multiple of 512)",
            file->path);
    }
    json_put_text(image, "format", image_format_name(IMAGE_RAW));
    json_put_int(image, "virtualSize", (int64_t)file->file.size);
    return 0;
}

static int open_error(const char *path, int sys_errno, struct error *err)
{
    struct stat st;
    if (sys_errno == EINVAL) {
        bool is_directory = user_path_stat(path, &st) == 0 && S_ISDIR(st.st_mode);
        (void)error_set(err, ERR_IMAGE_FORMAT, "'%s' is %s, not a disk image", path,
            is_directory ? "a directory" : "not a regular file");
        return error_help(
            err, "give the path of an image, or the name of one that vmctl has: vmctl image list");
    }
    bool is_missing = sys_errno == ENOENT || sys_errno == ENOTDIR;
    return is_missing
               ? error_set_errno(err, ERR_IMAGE_NOT_FOUND, sys_errno, "cannot open '%s'", path)
               : user_path_error(path, sys_errno, err);
}

int image_header_read(const char *path, json_t *image, struct error *err)
{
    struct image_file it = {.path = path, .file = USER_FILE_INIT};
    if (user_file_open(&it.file, path) < 0) {
        return open_error(path, errno, err);
    }
    ssize_t n = user_file_read_at(&it.file, it.head, sizeof(it.head), 0);
    int rc = n < 0 ? user_path_error(path, errno, err) : 0;
    if (rc == 0) {
        it.n = (size_t)n;
        json_put_int(image, "size", (int64_t)it.file.size);
        rc = put_format(&it, image, err);
    }
    user_file_close(&it.file);
    return rc;
}
