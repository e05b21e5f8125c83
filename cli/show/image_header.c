/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/image_header.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

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
    int fd;
    int64_t size;
    uint8_t head[IMAGE_HEAD_SIZE];
    size_t n; /* bytes in head */
};

static int put_qcow2(const struct image_file *file, json_t *image, struct error *err)
{
    struct qcow2_header header;
    char backing[QCOW2_BACKING_MAX + 1] = "";
    int rc = qcow2_parse(file->head, file->n, &header, err);
    if (rc < 0) {
        return error_wrap(err, "'%s'", file->path);
    }
    if (pread(file->fd, backing, header.backing_size, (off_t)header.backing_offset) !=
        (ssize_t)header.backing_size) {
        return error_set(err, ERR_IMAGE_FORMAT, "'%s': the header is cut off", file->path);
    }
    json_put_text(image, "format", image_format_name(IMAGE_QCOW2));
    json_put_int(image, "virtualSize", (int64_t)header.virtual_size);
    json_put_text(image, "backingFile", backing[0] ? backing : NULL);
    if (header.has_data_file) {
        json_put_flag(image, "hasDataFile", true);
    }
    if (header.is_encrypted) {
        json_put_flag(image, "encrypted", true);
    }
    return 0;
}

/* By its head, or as a fixed VHD by its end. */
static const struct image_foreign *find_foreign(const struct image_file *file)
{
    uint8_t footer[IMAGE_FOREIGN_FOOTER_SIZE];
    const struct image_foreign *foreign = image_foreign_format(file->head, file->n);
    if (foreign || file->size < (int64_t)sizeof(footer) ||
        pread(file->fd, footer, sizeof(footer), file->size - (int64_t)sizeof(footer)) !=
            (ssize_t)sizeof(footer)) {
        return foreign;
    }
    return image_foreign_of_footer(footer, (uint64_t)file->size);
}

static int put_format(const struct image_file *file, json_t *image, struct error *err)
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
    if (image_stranger_check(file->fd, title, err) < 0) {
        return -(int)err->code;
    }
    if (file->size == 0 || file->size % IMAGE_SECTOR_SIZE != 0) {
        return error_set(err, ERR_IMAGE_FORMAT,
            "'%s' is not a disk image (no qcow2 header, and its size is not a multiple of 512)",
            file->path);
    }
    json_put_text(image, "format", image_format_name(IMAGE_RAW));
    json_put_int(image, "virtualSize", file->size);
    return 0;
}

int image_header_read(const char *path, json_t *image, struct error *err)
{
    if (user_path_answers(path) < 0 && errno == ETIMEDOUT) {
        return error_set_errno(err, ERR_IO, errno, "cannot read '%s'", path);
    }
    /* O_NONBLOCK: a named pipe in the image's place must not hang us */
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        bool is_missing = errno == ENOENT || errno == ENOTDIR;
        return error_set_errno(
            err, is_missing ? ERR_IMAGE_NOT_FOUND : ERR_IO, errno, "cannot open '%s'", path);
    }
    struct image_file file = {.path = path, .fd = fd};
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        bool is_directory = S_ISDIR(st.st_mode);
        (void)error_set(err, ERR_IMAGE_FORMAT, "'%s' is %s, and no disk image", path,
            is_directory ? "a directory" : "not a regular file");
        return error_help(err, "name the image's file, or one that vmctl has: vmctl image list");
    }
    ssize_t n = pread(fd, file.head, sizeof(file.head), 0);
    if (n < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot read '%s'", path);
    }
    json_put_int(image, "size", st.st_size);
    file.size = st.st_size;
    file.n = (size_t)n;
    return put_format(&file, image, err);
}
