/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/image/image_inspect.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "specs/image/image_end.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/user_path.h"
#include "specs/image/image_foreign.h"
#include "specs/image/image_machine.h"
#include "specs/image/image_stranger.h"
#include "specs/image/image_unpack.h"
#include "specs/image/qcow2.h"

int image_silent_error(const char *path, struct error *err)
{
    error_set(err, ERR_IMAGE_NOT_FOUND, "the file system of image '%s' does not answer", path);
    return error_help(err, "see what serves it: findmnt -T '%s'", path);
}

static int open_image(const char *path, struct user_file *ret, struct error *err)
{
    if (user_file_open(ret, path) == 0) {
        return 0;
    }
    if (errno == EINVAL) {
        return error_set(err, ERR_IMAGE_FORMAT, "image '%s' is not a regular file", path);
    }
    bool is_missing = errno == ENOENT || errno == ENOTDIR;
    return errno == ETIMEDOUT ? image_silent_error(path, err)
                              : error_set_errno(err, is_missing ? ERR_IMAGE_NOT_FOUND : ERR_IO,
                                    errno, "cannot open image '%s'", path);
}

static int read_head(struct user_file *file, const char *path, uint8_t *head, size_t n,
    size_t *ret_n, struct error *err)
{
    ssize_t got = user_file_read_at(file, head, n, 0);
    *ret_n = got > 0 ? (size_t)got : 0;
    if (got < 0 && errno == ETIMEDOUT) {
        return image_silent_error(path, err);
    }
    return got < 0 ? error_set_errno(err, ERR_IO, errno, "cannot read image '%s'", path) : 0;
}

int compression_of_file(
    const char *path, const char *name, enum compression *ret, struct error *err)
{
    cleanup_with(user_file_close) struct user_file file = USER_FILE_INIT;
    uint8_t head[IMAGE_HEAD_SIZE];
    size_t n = 0;
    if (open_image(path, &file, err) < 0 ||
        read_head(&file, path, head, sizeof(head), &n, err) < 0) {
        return -(int)err->code;
    }
    enum compression found = compression_of_head(head, n);
    enum compression promised = compression_of_name(name);
    const char *stranger = image_stranger_of_name(name);
    if (stranger) {
        cleanup_free char *title = mem_printf("'%s'", name);
        return image_stranger_error(title, stranger, err);
    }
    if (promised != COMPRESSION_NONE && promised != found) {
        return error_set(err, ERR_IMAGE_DECOMPRESS, "'%s' is not %s data, as its name says", name,
            compression_name(promised));
    }
    *ret = found;
    return 0;
}

/* A fixed VHD is a raw disk with a footer: by its head it is none of the formats. */
static int find_footer(struct user_file *file, const struct image_foreign **ret, struct error *err)
{
    uint8_t footer[IMAGE_FOREIGN_FOOTER_SIZE];
    if (file->size < sizeof(footer)) {
        return 0;
    }
    if (user_file_read_at(file, footer, sizeof(footer), file->size - sizeof(footer)) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot read its end");
    }
    *ret = image_foreign_of_footer(footer, file->size);
    return 0;
}

static int check_end(const char *title, uint64_t size, uint64_t end, struct error *err)
{
    if (size >= end) {
        return 0;
    }
    error_set(err, ERR_IMAGE_FORMAT, "%s is truncated: it has %llu bytes and should have %llu",
        title, (unsigned long long)size, (unsigned long long)end);
    return error_help(err, "copy or download the image again: the last time was incomplete");
}

/* What the file is, and where it must end. */
static int find_foreign(struct user_file *file, const uint8_t *head, size_t n,
    const struct image_foreign **ret, uint64_t *ret_end, struct error *err)
{
    *ret = image_foreign_format(head, n);
    *ret_end = image_foreign_size(head, n);
    if (!*ret) {
        return find_footer(file, ret, err);
    }
    return image_foreign_is_vhdx(*ret) ? vhdx_find_end(file, ret_end, err) : 0;
}

int image_foreign_of_file(
    const char *path, const char *title, const struct image_foreign **ret, struct error *err)
{
    cleanup_with(user_file_close) struct user_file file = USER_FILE_INIT;
    cleanup_free uint8_t *head = mem_calloc(1, IMAGE_FOREIGN_HEAD_SIZE);
    size_t n = 0;
    if (open_image(path, &file, err) < 0 ||
        read_head(&file, path, head, IMAGE_FOREIGN_HEAD_SIZE, &n, err) < 0) {
        return -(int)err->code;
    }
    const struct image_foreign *foreign = NULL;
    uint64_t end = 0;
    if (find_foreign(&file, head, n, &foreign, &end, err) < 0) {
        return error_wrap(err, "image '%s'", path);
    }
    if (check_end(title, file.size, end, err) < 0) {
        return -(int)err->code;
    }
    const char *dependency = foreign ? image_foreign_dependency(head, n) : NULL;
    if (dependency) {
        error_set(err, ERR_IMAGE_FORMAT, "%s is a %s image that is not complete: %s", title,
            foreign->name, dependency);
        return error_help(err, "make one file of it: qemu-img convert -O qcow2 IMAGE NEW.qcow2");
    }
    *ret = foreign;
    return 0;
}

/* The file's last sector may be cut short, as its writer left it. */
static int check_qcow2_end(
    struct user_file *file, const struct qcow2_header *header, struct error *err)
{
    uint64_t end = 0, size = file->size;
    int rc = qcow2_find_end(file, header, &end, err);
    bool is_in_last_sector =
        end > size && (end - 1) / IMAGE_SECTOR_SIZE == size / IMAGE_SECTOR_SIZE;
    return rc < 0 || is_in_last_sector ? rc : check_end("it", size, end, err);
}

/* What comes from elsewhere. */
struct base_check {
    bool is_any;         /* for whichever processor it is … */
    const char *machine; /* … else for this one; NULL: the host's */
};

static int check_machine(struct user_file *file, const struct qcow2_header *qcow2,
    const struct base_check *base, struct error *err)
{
    return base->is_any ? 0 : image_machine_check(file, qcow2, base->machine, "it", err);
}

/* `base` NULL: an overlay of ours. */
static int inspect_qcow2(struct user_file *file, const uint8_t *head, size_t n,
    const struct base_check *base, struct image_info *ret, struct error *err)
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
        error_set(err, ERR_IMAGE_FORMAT, "the image is encrypted");
        return error_help(
            err, "decrypt it: qemu-img convert with --object secret, see qemu-img(1)");
    }
    struct image_info info = {
        .format = IMAGE_QCOW2,
        .virtual_size = header.virtual_size,
        .has_backing = header.backing_size > 0 || header.has_data_file,
        .has_data_file = header.has_data_file,
    };
    if (user_file_read_at(file, info.backing, header.backing_size, header.backing_offset) !=
        (ssize_t)header.backing_size) {
        return error_set(err, ERR_IMAGE_FORMAT, "the qcow2 header is truncated");
    }
    if (base &&
        (check_qcow2_end(file, &header, err) < 0 || check_machine(file, &header, base, err) < 0)) {
        return -(int)err->code;
    }
    *ret = info;
    return 0;
}

static int inspect_raw(struct user_file *file, const uint8_t *head, size_t n,
    const struct base_check *base, struct image_info *ret, struct error *err)
{
    const struct image_foreign *foreign = image_foreign_format(head, n);
    if (foreign) {
        error_set(err, ERR_IMAGE_FORMAT, "it is a %s image", foreign->name);
        return error_help(err, "convert it: qemu-img convert -O qcow2 IMAGE NEW.qcow2");
    }
    if (image_stranger_check(file, "it", base != NULL, err) < 0) {
        return -(int)err->code;
    }
    if (file->size == 0 || file->size % IMAGE_SECTOR_SIZE != 0) {
        return error_set(err, ERR_IMAGE_FORMAT,
            "it has no qcow2 header, and its size of %llu bytes is not a multiple of 512",
            (unsigned long long)file->size);
    }
    if (base && check_machine(file, NULL, base, err) < 0) {
        return -(int)err->code;
    }
    *ret = (struct image_info){.format = IMAGE_RAW, .virtual_size = file->size};
    return 0;
}

static int inspect(const char *path, const char *title, const struct base_check *base,
    struct image_info *ret, struct error *err)
{
    cleanup_with(user_file_close) struct user_file file = USER_FILE_INIT;
    uint8_t head[IMAGE_HEAD_SIZE];
    size_t n = 0;
    if (open_image(path, &file, err) < 0 ||
        read_head(&file, path, head, sizeof(head), &n, err) < 0) {
        return -(int)err->code;
    }
    int rc = qcow2_has_magic(head, n) ? inspect_qcow2(&file, head, n, base, ret, err)
                                      : inspect_raw(&file, head, n, base, ret, err);
    return rc < 0 ? error_wrap(err, "image '%s'", title) : 0;
}

int image_inspect(const char *path, struct image_info *ret, struct error *err)
{
    return inspect(path, path, NULL, ret, err);
}

int image_inspect_base(const char *path, const char *machine, const char *title,
    struct image_info *ret, struct error *err)
{
    return inspect(path, title, &(struct base_check){.machine = machine}, ret, err);
}

int image_inspect_whole(
    const char *path, const char *title, struct image_info *ret, struct error *err)
{
    return inspect(path, title, &(struct base_check){.is_any = true}, ret, err);
}

/* Enough for the table of a raw disk, and for a qcow2 whose head leads to it. */
enum { PACKED_MAX = 1024 * 1024, UNPACKED_MAX = 4 * PACKED_MAX };

static int check_unpacked(const uint8_t *head, size_t n, const char *machine, struct error *err)
{
    struct error ignored = {.code = ERR_NONE};
    struct qcow2_header header;
    bool is_qcow2 = qcow2_has_magic(head, n);
    cleanup_close int fd = memfd_create("vmctl-disk", MFD_CLOEXEC);
    struct user_file file = {.fd = fd, .size = n};
    if (fd < 0 || write(fd, head, n) != (ssize_t)n ||
        (is_qcow2 && qcow2_parse(head, n, &header, &ignored) < 0)) {
        return 0;
    }
    return image_machine_check(&file, is_qcow2 ? &header : NULL, machine, "it", err);
}

int image_inspect_packed(const char *path, const char *machine, struct error *err)
{
    cleanup_with(user_file_close) struct user_file file = USER_FILE_INIT;
    cleanup_free uint8_t *packed = mem_calloc(1, PACKED_MAX), *head = mem_calloc(1, UNPACKED_MAX);
    size_t n = 0;
    if (open_image(path, &file, err) < 0 ||
        read_head(&file, path, packed, PACKED_MAX, &n, err) < 0) {
        return -(int)err->code;
    }
    n = image_unpack(packed, n, head, UNPACKED_MAX);
    return check_unpacked(head, n, machine, err) < 0 ? error_wrap(err, "image '%s'", path) : 0;
}
