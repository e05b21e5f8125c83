/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/image/image_inspect.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reconcilers/image/image_end.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/image/image_foreign.h"
#include "specs/image/image_stranger.h"
#include "specs/image/qcow2.h"

static int open_image(const char *path, int *ret_fd, struct error *err)
{
    /* O_NONBLOCK: a named pipe in the image's place must not hang us. */
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        bool is_missing = errno == ENOENT || errno == ENOTDIR;
        return error_set_errno(
            err, is_missing ? ERR_IMAGE_NOT_FOUND : ERR_IO, errno, "cannot open image '%s'", path);
    }
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        return error_set(err, ERR_IMAGE_FORMAT, "image '%s' is not a regular file", path);
    }
    *ret_fd = TAKE_FD(fd);
    return 0;
}

static int read_head(int fd, const char *path, uint8_t *head, size_t *ret_n, struct error *err)
{
    ssize_t n = fs_read_at(fd, head, IMAGE_HEAD_SIZE, 0);
    if (n < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot read image '%s'", path);
    }
    *ret_n = (size_t)n;
    return 0;
}

int compression_of_file(
    const char *path, const char *name, enum compression *ret, struct error *err)
{
    cleanup_close int fd = -1;
    uint8_t head[IMAGE_HEAD_SIZE];
    size_t n = 0;
    if (open_image(path, &fd, err) < 0 || read_head(fd, path, head, &n, err) < 0) {
        return -(int)err->code;
    }
    enum compression found = compression_of_head(head, n);
    enum compression promised = compression_of_name(name);
    if (promised != COMPRESSION_NONE && promised != found) {
        return error_set(err, ERR_IMAGE_DECOMPRESS, "'%s' is not %s data, as its name says", name,
            compression_name(promised));
    }
    *ret = found;
    return 0;
}

/* A fixed VHD is a raw disk with a footer: by its head it is none of the formats. */
static int find_footer(int fd, uint64_t size, const struct image_foreign **ret, struct error *err)
{
    uint8_t footer[IMAGE_FOREIGN_FOOTER_SIZE];
    if (size < sizeof(footer)) {
        return 0;
    }
    if (fs_read_at(fd, footer, sizeof(footer), (int64_t)(size - sizeof(footer))) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot read its end");
    }
    *ret = image_foreign_of_footer(footer, size);
    return 0;
}

static int check_end(const char *title, uint64_t size, uint64_t end, struct error *err)
{
    if (size >= end) {
        return 0;
    }
    error_set(err, ERR_IMAGE_FORMAT, "%s is cut off: it has %llu bytes and should have %llu", title,
        (unsigned long long)size, (unsigned long long)end);
    return error_help(err, "get the image again: it was not copied or downloaded to its end");
}

/* What the file is, and where it must end. */
static int find_foreign(int fd, const uint8_t *head, size_t n, uint64_t file_size,
    const struct image_foreign **ret, uint64_t *ret_end, struct error *err)
{
    *ret = image_foreign_format(head, n);
    *ret_end = image_foreign_size(head, n);
    if (!*ret) {
        return find_footer(fd, file_size, ret, err);
    }
    return image_foreign_is_vhdx(*ret) ? vhdx_find_end(fd, file_size, ret_end, err) : 0;
}

int image_foreign_of_file(
    const char *path, const char *title, const struct image_foreign **ret, struct error *err)
{
    cleanup_close int fd = -1;
    cleanup_free uint8_t *head = mem_calloc(1, IMAGE_FOREIGN_HEAD_SIZE);
    if (open_image(path, &fd, err) < 0) {
        return -(int)err->code;
    }
    ssize_t n = fs_read_at(fd, head, IMAGE_FOREIGN_HEAD_SIZE, 0);
    struct stat st;
    if (n < 0 || fstat(fd, &st) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot read image '%s'", path);
    }
    const struct image_foreign *foreign = NULL;
    uint64_t size = (uint64_t)st.st_size, end = 0;
    if (find_foreign(fd, head, (size_t)n, size, &foreign, &end, err) < 0) {
        return error_wrap(err, "image '%s'", path);
    }
    if (check_end(title, size, end, err) < 0) {
        return -(int)err->code;
    }
    const char *dependency = foreign ? image_foreign_dependency(head, (size_t)n) : NULL;
    if (dependency) {
        error_set(err, ERR_IMAGE_FORMAT, "%s is a %s image that is not complete: %s", title,
            foreign->name, dependency);
        return error_help(err, "make one file of it: qemu-img convert -O qcow2 IMAGE NEW.qcow2");
    }
    *ret = foreign;
    return 0;
}

/* The file's last sector may be cut short, as its writer left it. */
static int check_qcow2_end(int fd, const struct qcow2_header *header, struct error *err)
{
    struct stat st;
    uint64_t end = 0;
    if (fstat(fd, &st) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot stat it");
    }
    uint64_t size = (uint64_t)st.st_size;
    int rc = qcow2_find_end(fd, header, size, &end, err);
    bool is_in_last_sector =
        end > size && (end - 1) / IMAGE_SECTOR_SIZE == size / IMAGE_SECTOR_SIZE;
    return rc < 0 || is_in_last_sector ? rc : check_end("it", size, end, err);
}

static int inspect_qcow2(
    int fd, const uint8_t *head, size_t n, bool is_base, struct image_info *ret, struct error *err)
{
    struct qcow2_header header;
    int rc = qcow2_parse(head, n, &header, err);
    if (rc < 0) {
        return rc;
    }
    if (header.virtual_size > IMAGE_BYTES_MAX) {
        return error_set(err, ERR_IMAGE_FORMAT, "its disk of %llu GiB is larger than 64 TiB",
            (unsigned long long)(header.virtual_size >> 30));
    }
    if (header.is_encrypted) {
        return error_set(err, ERR_IMAGE_FORMAT, "the image is encrypted");
    }
    struct image_info info = {
        .format = IMAGE_QCOW2,
        .virtual_size = header.virtual_size,
        .has_backing = header.backing_size > 0 || header.has_data_file,
        .has_data_file = header.has_data_file,
    };
    if (fs_read_at(fd, info.backing, header.backing_size, (int64_t)header.backing_offset) !=
        (ssize_t)header.backing_size) {
        return error_set(err, ERR_IMAGE_FORMAT, "the qcow2 header is cut off");
    }
    if (is_base && check_qcow2_end(fd, &header, err) < 0) {
        return -(int)err->code;
    }
    *ret = info;
    return 0;
}

static int inspect_raw(
    int fd, const uint8_t *head, size_t n, struct image_info *ret, struct error *err)
{
    const struct image_foreign *foreign = image_foreign_format(head, n);
    if (foreign) {
        error_set(err, ERR_IMAGE_FORMAT, "it is a %s image", foreign->name);
        return error_help(err, "convert it: qemu-img convert -O qcow2 IMAGE NEW.qcow2");
    }
    struct stat st;
    if (image_stranger_check(fd, "it", err) < 0) {
        return -(int)err->code;
    }
    if (fstat(fd, &st) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot stat it");
    }
    if (st.st_size == 0 || st.st_size % IMAGE_SECTOR_SIZE != 0) {
        return error_set(err, ERR_IMAGE_FORMAT,
            "neither a qcow2 header nor the size of a raw disk (%lld bytes are not whole sectors)",
            (long long)st.st_size);
    }
    *ret = (struct image_info){.format = IMAGE_RAW, .virtual_size = (uint64_t)st.st_size};
    return 0;
}

static int inspect(
    const char *path, const char *title, bool is_base, struct image_info *ret, struct error *err)
{
    cleanup_close int fd = -1;
    uint8_t head[IMAGE_HEAD_SIZE];
    size_t n = 0;
    if (open_image(path, &fd, err) < 0 || read_head(fd, path, head, &n, err) < 0) {
        return -(int)err->code;
    }
    int rc = qcow2_has_magic(head, n) ? inspect_qcow2(fd, head, n, is_base, ret, err)
                                      : inspect_raw(fd, head, n, ret, err);
    return rc < 0 ? error_wrap(err, "image '%s'", title) : 0;
}

int image_inspect(const char *path, struct image_info *ret, struct error *err)
{
    return inspect(path, path, false, ret, err);
}

int image_inspect_base(
    const char *path, const char *title, struct image_info *ret, struct error *err)
{
    return inspect(path, title, true, ret, err);
}
