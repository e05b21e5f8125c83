/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/archive/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/archive/archive_read.h"
#include "cli/archive/flatten.h"
#include "cli/archive/progress.h"
#include "cli/cli.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/user_path.h"
#include "specs/base/vm_name.h"
#include "specs/image/qcow2.h"
#include "specs/vm/vm_import.h"

void backup_clear(struct backup *backup)
{
    free(backup->directory);
    free(backup->path);
    manifest_clear(&backup->manifest);
}

/* ---- one backup ---- */

static int read_settings(const char *path, struct manifest *ret, struct error *err)
{
    cleanup_with(archive_clear) struct archive archive = {.disk_bytes = 0};
    cleanup_close int fd = user_path_answers(path) < 0
                               ? -1
                               : open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot read '%s'", path);
    }
    int rc = archive_open(fd, path, &archive, err);
    if (rc == 0) {
        *ret = archive.manifest;
        archive.manifest = (struct manifest){.n_members = 0};
    }
    return rc;
}

char *backup_disk_name(const char *stem, const char *volume)
{
    return mem_printf("%s%s%s" BACKUP_DISK, stem, volume ? "." : "", volume ? volume : "");
}

/* Of the file of a disk, or of that volume. free() it. */
static char *settings_of(const char *directory, const char *file, const char *volume)
{
    cleanup_free char *ending = backup_disk_name("", volume);
    size_t n = text_ends_with(file, ending) ? strlen(file) - strlen(ending) : 0;
    return mem_printf("%s/%.*s%s", directory, (int)n, file, BACKUP_SETTINGS);
}

/* ---- the last ---- */

struct search {
    const char *directory;
    const char *vm; /* NULL: any, all of the same */
    struct backup *items;
    size_t count;
    struct error *err; /* of the first that cannot be read */
};

static void search_clear(struct search *search)
{
    for (size_t i = 0; i < search->count; i++) {
        backup_clear(&search->items[i]);
    }
    free(search->items);
}

/* Behind "-N", or where there is none: not moved on. */
static const char *skip_number(const char *text, size_t *ret_digits)
{
    *ret_digits = text[0] == '-' ? strspn(text + 1, "0123456789") : 0;
    return *ret_digits > 0 ? text + 1 + *ret_digits : text;
}

static bool is_settings(const char *file)
{
    return text_ends_with(file, "-full" BACKUP_SETTINGS) ||
           text_ends_with(file, "-inc" BACKUP_SETTINGS);
}

/* NAME-DATE-TIME[-N]-full or -inc: those of VMs "web-2" and "web-20261231" are none of "web". */
static bool is_named_after(const char *file, const char *vm)
{
    enum { DATE_DIGITS = 8, TIME_DIGITS = 6 };
    size_t date = 0, time = 0, n = 0;
    const char *rest = text_starts_with(file, vm) ? file + strlen(vm) : "";
    rest = skip_number(skip_number(skip_number(rest, &date), &time), &n);
    return date == DATE_DIGITS && time == TIME_DIGITS &&
           (text_eq(rest, "-full" BACKUP_SETTINGS) || text_eq(rest, "-inc" BACKUP_SETTINGS));
}

static void note_backup(void *context, int dir_fd, const char *name)
{
    struct search *search = context;
    struct manifest manifest = {.n_members = 0};
    cleanup_free char *path = fs_join(search->directory, name);
    (void)dir_fd;
    cleanup_free char *flat = search->vm ? vm_name_flat(search->vm) : NULL;
    bool is_meant = search->vm ? is_named_after(name, flat) : is_settings(name);
    if (!is_meant || search->err->code != ERR_NONE ||
        read_settings(path, &manifest, search->err) < 0) {
        return;
    }
    if (!manifest.disk.file || (search->vm && !text_eq(manifest.vm, search->vm))) {
        manifest_clear(&manifest);
        return;
    }
    mem_grow(search->items, search->count);
    search->items[search->count++] = (struct backup){.path = TAKE_PTR(path), .manifest = manifest};
}

static bool is_parent(const struct search *search, size_t i)
{
    const char *file = search->items[i].manifest.disk.file;
    for (size_t k = 0; k < search->count; k++) {
        if (k != i && text_eq(search->items[k].manifest.disk.parent, file)) {
            return true;
        }
    }
    return false;
}

/* One that another is on is older than that, whatever the clock said when it was made. NULL: there
 * is none. */
static struct backup *last_of(const struct search *search)
{
    struct backup *last = NULL;
    for (size_t i = 0; i < search->count; i++) {
        struct backup *backup = &search->items[i];
        if (!is_parent(search, i) &&
            (!last || backup->manifest.created_ms > last->manifest.created_ms)) {
            last = backup;
        }
    }
    return last;
}

static bool is_mixed(const struct search *search)
{
    for (size_t i = 1; i < search->count; i++) {
        if (!text_eq(search->items[i].manifest.vm, search->items[0].manifest.vm)) {
            return true;
        }
    }
    return false;
}

int backup_find_last(const char *directory, const char *vm, struct backup *ret, struct error *err)
{
    cleanup_with(search_clear) struct search search = {directory, vm, .err = err};
    fs_each_entry(directory, note_backup, &search);
    struct backup *last = last_of(&search);
    bool is_of_several = is_mixed(&search);
    if (last) {
        *ret = *last;
        *last = (struct backup){.path = NULL};
    }
    ret->directory = mem_strdup(directory);
    if (err->code == ERR_NONE && is_of_several) {
        (void)error_set(err, ERR_USAGE, "'%s' has backups of several VMs", directory);
        return error_help(
            err, "choose one: vmctl import %s/NAME-DATE-full%s", directory, BACKUP_SETTINGS);
    }
    return err->code ? error_help(err, "move it away, or choose one: vmctl import FILE") : 0;
}

/* ---- what it consists of ---- */

static int refuse_backup(const char *path, const char *what, struct error *err)
{
    return error_set(err, ERR_ARCHIVE, "backup '%s' cannot be used: %s", path, what);
}

/* QEMU is to open no other file than the next one of the backup. */
static int check_header(int fd, const char *path, const char *parent, struct error *err)
{
    uint8_t head[8192]; /* the name is behind a few short extensions */
    struct qcow2_header header;
    struct error cause = {.code = ERR_NONE};
    ssize_t n = fs_read_at(fd, head, sizeof(head), 0);
    if (n < 0 || qcow2_parse(head, (size_t)n, &header, &cause) < 0) {
        return refuse_backup(path, "it is not a qcow2 file", err);
    }
    size_t length = header.backing_size;
    bool is_on_parent = parent ? length == strlen(parent) &&
                                     header.backing_offset + length <= (uint64_t)n &&
                                     memcmp(head + header.backing_offset, parent, length) == 0
                               : header.backing_offset == 0;
    return is_on_parent && !header.has_data_file && !header.is_encrypted
               ? 0
               : refuse_backup(
                     path, "its backing file is not the one that its manifest gives", err);
}

/* `vm` is for the progress that is shown. */
static int check_file(const struct cli *cli, const char *path, const char *vm,
    const struct manifest_disk *disk, bool reads_all, struct error *err)
{
    char sha256[DIGEST_SIZE];
    struct stat st;
    cleanup_close int fd = user_path_answers(path) < 0
                               ? -1
                               : open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot read '%s'", path);
    }
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != disk->bytes) {
        return refuse_backup(path, "its size has changed", err);
    }
    int rc = check_header(fd, path, disk->parent, err);
    if (rc == 0 && reads_all) {
        cleanup_free char *open_file = mem_printf("/proc/self/fd/%d", fd);
        struct progress progress = progress_begin(cli, vm, "checking its backup");
        progress_show(&progress, 0, 1);
        rc = digest_file(open_file, NULL, sha256, err);
        progress_end(&progress);
    }
    return rc < 0 || !reads_all || text_eq(sha256, disk->sha256)
               ? rc
               : refuse_backup(path, "it does not have the SHA-256 that its manifest gives", err);
}

/* The settings of the file that it is on. */
static int check_parent(const char *directory, const char *parent, const char *volume,
    struct manifest *ret, struct error *err)
{
    cleanup_free char *settings = settings_of(directory, parent, volume);
    int rc = read_settings(settings, ret, err);
    const struct manifest_disk *disk = rc == 0 ? manifest_disk_of(ret, volume) : NULL;
    if (rc == 0 && !(disk && text_eq(disk->file, parent))) {
        rc = refuse_backup(settings, "it belongs to another disk", err);
    }
    return rc;
}

static int check_chain(const struct cli *cli, const char *directory, const struct manifest *newest,
    const char *volume, bool reads_all, size_t *ret_length, struct error *err)
{
    struct manifest below = {.n_members = 0};
    const struct manifest_disk *at = manifest_disk_of(newest, volume);
    size_t length = 0;
    int rc = 0;
    while (rc == 0 && at) {
        cleanup_free char *path = fs_join(directory, at->file);
        struct manifest next = {.n_members = 0};
        rc = ++length > BACKUP_CHAIN_MAX
                 ? refuse_backup(path, "its chain of backing files is too long", err)
                 : check_file(cli, path, newest->vm, at, reads_all, err);
        bool has_parent = rc == 0 && at->parent;
        rc = has_parent ? check_parent(directory, at->parent, volume, &next, err) : rc;
        manifest_clear(&below);
        below = next;
        at = has_parent && rc == 0 ? manifest_disk_of(&below, volume) : NULL;
    }
    manifest_clear(&below);
    if (rc == 0 && ret_length) {
        *ret_length = length;
    }
    return rc;
}

int backup_check(const struct cli *cli, const struct backup *backup, const char *volume,
    size_t *ret_length, struct error *err)
{
    return check_chain(cli, backup->directory, &backup->manifest, volume, false, ret_length, err);
}

/* ---- importing ---- */

static int unpack_file(const struct cli *cli, const char *directory, const char *volume,
    struct archive *archive, struct error *err)
{
    struct manifest *manifest = &archive->manifest;
    size_t i = manifest->n_members;
    cleanup_free char *path = fs_join(directory, manifest_disk_of(manifest, volume)->file);
    cleanup_free char *member =
        volume ? vm_import_volume_member(volume) : mem_strdup(VM_IMPORT_DISK);
    bool is_twice = i == MANIFEST_MEMBERS_MAX;
    for (size_t k = 0; k < i; k++) {
        is_twice |= text_eq(manifest->members[k].tar.name, member);
    }
    if (is_twice) {
        return refuse_backup(path, "it has too many files, or one twice", err);
    }
    int rc = check_chain(cli, directory, manifest, volume, true, NULL, err);
    if (rc < 0) {
        return error_help(err,
            "nothing was imported; another backup of the VM may be intact: ls %s/%s-*%s", directory,
            manifest->vm, BACKUP_SETTINGS);
    }
    rc = unnamed_open(cli->paths.data_dir, 0600, &archive->files[i], err);
    if (rc < 0) {
        return rc;
    }
    struct manifest_member *disk = &manifest->members[manifest->n_members++];
    (void)snprintf(disk->tar.name, sizeof(disk->tar.name), "%s", member);
    rc = archive_check_volumes(cli, archive, err);
    struct progress progress =
        progress_begin(cli, manifest->vm, volume ? "reading a volume" : "reading its disk");
    const struct qemu_img_target target = {
        archive->files[i].fd, cli->paths.data_dir, path, &progress};
    rc = rc < 0 ? rc : flatten(path, &target, err);
    progress_end(&progress);
    return rc < 0 ? rc : archive_note_disk(archive, i, err);
}

int backup_unpack_disk(
    const struct cli *cli, const char *directory, struct archive *archive, struct error *err)
{
    int rc = unpack_file(cli, directory, NULL, archive, err);
    for (size_t i = 0; rc == 0 && i < archive->manifest.n_volumes; i++) {
        rc = unpack_file(cli, directory, archive->manifest.volumes[i].volume, archive, err);
    }
    return rc;
}
