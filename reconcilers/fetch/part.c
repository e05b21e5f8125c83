/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/fetch/part.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

enum {
    META_MAX = 64 * 1024,
    MARGIN_BYTES_MAX = 64 << 20, /* left for disks, logs and the store, … */
    MARGIN_PART = 16,            /* … or 1/16 of the file, if that is less */
};

void part_init(
    struct part *part, const char *directory, const char *key, const char *url, const char *boot_id)
{
    *part = (struct part){
        .path = mem_printf("%s/%s.part", directory, key),
        .meta_path = mem_printf("%s/%s.meta", directory, key),
        .url = mem_strdup(url),
        .boot_id = mem_strdup(boot_id),
        .length = -1,
    };
}

void part_clear(struct part *part)
{
    free(part->path);
    free(part->meta_path);
    free(part->url);
    free(part->boot_id);
    free(part->etag);
    *part = (struct part){.length = -1};
}

void part_copy(struct part *to, const struct part *from)
{
    *to = *from;
    to->path = mem_strdup(from->path);
    to->meta_path = mem_strdup(from->meta_path);
    to->url = mem_strdup(from->url);
    to->boot_id = mem_strdup(from->boot_id);
    to->etag = mem_strdup(from->etag);
}

void part_load(struct part *part)
{
    part->have = 0;
    part->length = -1;
    free(TAKE_PTR(part->etag));
    cleanup_buf struct buf text = BUF_INIT(META_MAX);
    struct error ignored = {0}; /* a missing or damaged meta means: start over */
    cleanup_json json_t *meta = fs_read_file(part->meta_path, &text, &ignored) < 0
                                    ? NULL
                                    : json_loadb(buf_str(&text), text.len, 0, NULL);
    int64_t size = fs_size(part->path);
    if (size <= 0 || !text_eq(json_text(meta, "url"), part->url) || part->boot_id[0] == '\0' ||
        !text_eq(json_text(meta, "bootId"), part->boot_id)) {
        return;
    }
    part->etag = json_copy_text(meta, "etag");
    part->length = json_int(meta, "length", -1);
    bool is_too_long = part->length >= 0 && size > part->length;
    bool can_resume = part->etag || size == part->length;
    part->have = can_resume && !is_too_long ? size : 0;
}

bool part_is_complete(const struct part *part)
{
    return part->have > 0 && part->have == part->length;
}

/* Atomic against a kill, not durable: see the header on power loss. */
static int write_meta(const struct part *part, struct error *err)
{
    cleanup_json json_t *meta = json_object();
    json_put_text(meta, "url", part->url);
    json_put_text(meta, "etag", part->etag);
    json_put_int(meta, "length", part->length);
    json_put_text(meta, "bootId", part->boot_id);
    cleanup_free char *text = json_canonical(meta);
    cleanup_free char *temporary = mem_printf("%s.tmp-%d", part->meta_path, (int)getpid());
    cleanup_close int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot create '%s'", temporary);
    }
    if (fs_write_all(fd, text, strlen(text), err) < 0) {
        return error_wrap(err, "'%s'", temporary);
    }
    if (rename(temporary, part->meta_path) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot replace '%s'", part->meta_path);
    }
    return 0;
}

/* Refuses before the disk is full: running VMs need the rest. The message omits the free space,
 * which changes, so that repeated events are merged. A file system that does not report its free
 * space passes; its writes fail later. */
static int check_space(int fd, const struct part *part, int64_t bytes, struct error *err)
{
    struct statvfs fs;
    int64_t margin =
        bytes / MARGIN_PART < MARGIN_BYTES_MAX ? bytes / MARGIN_PART : MARGIN_BYTES_MAX;
    uint64_t needed = (uint64_t)(bytes + margin);
    if (bytes <= 0 || fstatvfs(fd, &fs) < 0 || fs.f_blocks == 0 ||
        (uint64_t)fs.f_bavail * fs.f_frsize >= needed) {
        return 0;
    }
    return error_set(err, ERR_NO_SPACE, "'%s' needs %llu MiB, which its disk does not have",
        part->path, (unsigned long long)((needed >> 20) + 1));
}

int part_begin(struct part *part, const char *etag, int64_t length, int *ret_fd, struct error *err)
{
    cleanup_close int fd = open(part->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot create '%s'", part->path);
    }
    if (check_space(fd, part, length, err) < 0) {
        (void)unlink(part->path); /* the empty file */
        return -(int)err->code;
    }
    char *copy = mem_strdup(etag);
    free(part->etag);
    part->etag = copy;
    part->length = length;
    part->have = 0;
    int rc = write_meta(part, err);
    if (rc < 0) {
        return rc;
    }
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int part_continue(const struct part *part, int *ret_fd, struct error *err)
{
    cleanup_close int fd = open(part->path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)part->have) < 0 ||
        lseek(fd, (off_t)part->have, SEEK_SET) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot resume '%s'", part->path);
    }
    int rc = check_space(fd, part, part->length - part->have, err);
    if (rc < 0) {
        return rc;
    }
    *ret_fd = TAKE_FD(fd);
    return 0;
}

void part_discard(struct part *part)
{
    (void)unlink(part->path);
    (void)unlink(part->meta_path);
    free(TAKE_PTR(part->etag));
    part->have = 0;
    part->length = -1;
}
