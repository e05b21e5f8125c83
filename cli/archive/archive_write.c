/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/archive/archive_write.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/archive/flatten.h"
#include "cli/archive/progress.h"
#include "cli/archive/tar_stream.h"
#include "cli/cli.h"
#include "cli/request/origin.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/fields.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/image/volume_file.h"
#include "specs/vm/record_fields.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_import.h"
#include "specs/vm/vm_spec.h"
#include "store/store.h"

enum { PIECE = 1 << 20 };

void archive_parts_clear(struct archive_parts *parts)
{
    for (size_t i = 0; i < parts->manifest.n_members; i++) {
        unnamed_clear(&parts->files[i]);
    }
    manifest_clear(&parts->manifest);
}

/* ---- collecting ---- */

/* An empty file for one more member. */
static int add_member(
    struct cli *cli, struct archive_parts *parts, const char *name, int *ret_fd, struct error *err)
{
    size_t i = parts->manifest.n_members;
    if (i == MANIFEST_MEMBERS_MAX) {
        return error_set(err, ERR_USAGE, "a VM with this many files cannot be exported");
    }
    int rc = unnamed_open(cli->paths.data_dir, 0600, &parts->files[i], err);
    if (rc == 0) {
        struct manifest_member *member = &parts->manifest.members[parts->manifest.n_members++];
        (void)snprintf(member->tar.name, sizeof(member->tar.name), "%s", name);
        *ret_fd = parts->files[i].fd;
    }
    return rc;
}

/* One that is not there is left out. */
static int add_small_file(struct cli *cli, struct archive_parts *parts, const char *name,
    const char *path, struct error *err)
{
    enum { SMALL_MAX = 80 << 20 }; /* UEFI variables of ARM: 64 MiB */
    int fd = -1;
    cleanup_buf struct buf bytes = BUF_INIT(SMALL_MAX);
    if (!fs_exists(path)) {
        return 0;
    }
    int rc = fs_read_file(path, &bytes, err);
    rc = rc < 0 ? rc : add_member(cli, parts, name, &fd, err);
    return rc < 0 || fs_write_all(fd, buf_str(&bytes), bytes.len, err) == 0
               ? rc
               : error_wrap(err, "a copy of '%s' in '%s'", path, cli->paths.data_dir);
}

static int add_disk(struct cli *cli, struct archive_parts *parts, const char *name,
    const char *path, const char *what, struct error *err)
{
    struct qemu_img_target target = {.directory = cli->paths.data_dir, .what = what};
    cleanup_free char *doing = mem_printf("reading %s", what);
    int rc = add_member(cli, parts, name, &target.fd, err);
    struct progress progress = progress_begin(cli, parts->manifest.vm, doing);
    target.progress = &progress;
    rc = rc < 0 ? rc : flatten(path, &target, err);
    progress_end(&progress);
    return rc < 0 ? error_wrap(err, "%s", parts->manifest.vm) : 0;
}

static int add_vm_files(struct cli *cli, const struct origin *origin, bool with_disk,
    struct archive_parts *parts, struct error *err)
{
    const struct vm_snapshot *snapshot = &origin->of.snapshot;
    cleanup_free char *dir = paths_in_vm(&cli->paths, origin->vm, "snapshots");
    cleanup_free char *stem = fs_join(dir, snapshot->file);
    cleanup_free char *disk = mem_printf("%s.qcow2", stem), *seed = mem_printf("%s.iso", stem);
    cleanup_free char *vars = mem_printf("%s.fd", stem), *tpm = mem_printf("%s.tpm", stem);
    cleanup_free char *overlay = paths_vm(&cli->paths, origin->vm, VM_OVERLAY);
    bool is_present = !snapshot->file[0];
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < VM_IMPORT_FILES; i++) {
        const struct vm_import_file *file = &vm_import_files[i];
        cleanup_free char *path = paths_vm(&cli->paths, origin->vm, file->file);
        if (file->file != VM_OVERLAY) {
            const char *from = is_present                       ? path
                               : file->file == VM_SEED          ? seed
                               : file->file == VM_FIRMWARE_VARS ? vars
                               : file->file == VM_TPM_STATE     ? tpm
                                                                : path;
            rc = add_small_file(cli, parts, file->name, from, err);
        }
    }
    const char *from = is_present ? overlay : disk;
    return rc < 0 || !with_disk ? rc : add_disk(cli, parts, VM_IMPORT_DISK, from, "its disk", err);
}

/* A volume has no snapshots: it is read where it is. */
static int check_is_unused(
    const struct origin *origin, const struct archive_parts *parts, struct error *err)
{
    if (!parts->manifest.spec->n_volumes || !origin->of.is_taken || !origin->of.snapshot.was_used) {
        return 0;
    }
    (void)error_set(err, ERR_VM_INVALID_STATE,
        "vm '%s' is running, and its volumes can be exported only while it is stopped",
        parts->manifest.vm);
    return error_help(err, "stop it first: vmctl stop %s", parts->manifest.vm);
}

/* One that no VM has used yet need not be there. */
static int refuse_lost_volume(
    struct cli *cli, const char *vm_name, const char *volume, struct error *err)
{
    cleanup_free char *key = volume_record_key(volume);
    cleanup_free char *path = volume_path(&cli->paths, volume);
    cleanup_json json_t *record = NULL;
    int rc = store_get_json(cli->store, STORE_META, key, &record, err);
    if (rc < 0 || !record) {
        return rc;
    }
    (void)error_set(
        err, ERR_OVERLAY, "vm '%s': volume '%s' is gone: there is no '%s'", vm_name, volume, path);
    return error_help(
        err, "restore it from a backup; or, to give up its data: vmctl volume rm %s", volume);
}

static int add_volumes(
    struct cli *cli, const struct origin *origin, struct archive_parts *parts, struct error *err)
{
    const struct vm_spec *spec = parts->manifest.spec;
    int rc = check_is_unused(origin, parts, err);
    for (size_t i = 0; rc == 0 && i < spec->n_volumes; i++) {
        const char *volume = spec->volumes[i].name;
        cleanup_free char *path = volume_path(&cli->paths, volume);
        cleanup_free char *member = vm_import_volume_member(volume);
        cleanup_free char *what = mem_printf("volume '%s'", volume);
        if (!fs_exists(path)) {
            rc = refuse_lost_volume(cli, parts->manifest.vm, volume, err);
            continue;
        }
        rc = add_disk(cli, parts, member, path, what, err);
        if (rc < 0) {
            (void)error_help(err, "its VM has to stay stopped during the export: vmctl stop %s",
                parts->manifest.vm);
        }
    }
    return rc;
}

static int measure_members(struct archive_parts *parts, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < parts->manifest.n_members; i++) {
        struct manifest_member *member = &parts->manifest.members[i];
        struct stat st;
        cleanup_free char *open_file = mem_printf("/proc/self/fd/%d", parts->files[i].fd);
        if (fstat(parts->files[i].fd, &st) < 0) {
            return error_set_errno(err, ERR_IO, errno, "cannot read a file of its own");
        }
        member->tar.size = (uint64_t)st.st_size;
        rc = digest_file(open_file, NULL, member->sha256, err);
    }
    return rc;
}

int archive_collect(struct cli *cli, const struct origin *origin, struct archive_content content,
    struct archive_parts *ret, struct error *err)
{
    const struct vm_desired *desired = origin->record.desired;
    const struct vm_status *status = origin->record.status;
    struct vm_spec *whole = vm_desired_attach(desired, desired->spec);
    ret->manifest = (struct manifest){.vm = mem_strdup(origin->vm),
        .created_ms = clock_wall_ms(clock_system()),
        .mac = mem_strdup(status->mac),
        .spec = whole ? whole : vm_spec_copy(desired->spec),
        .snapshot = fields_copy(&vm_snapshot_fields, &origin->of.snapshot)};
    free(TAKE_PTR(ret->manifest.snapshot->prepared.image_path)); /* a path of this host */
    (void)snprintf(ret->manifest.snapshot->name, SNAPSHOT_NAME_SIZE, "%s", "exported");
    int rc = add_vm_files(cli, origin, content.disk, ret, err);
    rc = rc == 0 && content.volumes ? add_volumes(cli, origin, ret, err) : rc;
    return rc < 0 ? rc : measure_members(ret, err);
}

void archive_note_left_out(const struct cli *cli, const struct manifest *manifest)
{
    const struct vm_spec *spec = manifest->spec;
    for (size_t i = 0; i < spec->n_volumes; i++) {
        const char *name = spec->volumes[i].name;
        cleanup_free char *path = volume_path(&cli->paths, name);
        if (!manifest_has_volume(manifest, name)) {
            cli_note(cli, "%s: without volume '%s'%s", manifest->vm, name,
                !fs_exists(path)      ? ", which has no file"
                : manifest->disk.file ? ": use --with-volumes"
                                      : ": stop the VM, then use --with-volumes");
        }
    }
    for (size_t i = 0; i < spec->n_disks; i++) {
        if (spec->disks[i].file) {
            cli_note(
                cli, "%s: without disk '%s', a file of yours", manifest->vm, spec->disks[i].file);
        }
    }
}

/* ---- writing ---- */

static int write_bytes(
    struct tar_writer *writer, const char *name, const struct buf *bytes, struct error *err)
{
    struct tar_member member = {.size = bytes->len};
    (void)snprintf(member.name, sizeof(member.name), "%s", name);
    int rc = tar_writer_begin(writer, &member, err);
    return rc < 0 ? rc : tar_writer_add(writer, buf_str(bytes), bytes->len, err);
}

static int write_file(struct tar_writer *writer, const struct tar_member *member, int fd,
    struct progress *progress, struct error *err)
{
    cleanup_free uint8_t *piece = mem_calloc(1, PIECE);
    int rc = tar_writer_begin(writer, member, err);
    for (uint64_t at = 0; rc == 0 && at < member->size;) {
        ssize_t n = fs_read_at(fd, piece, PIECE, (int64_t)at);
        if (n <= 0) {
            return error_set_errno(err, ERR_IO, n < 0 ? errno : EIO, "cannot read a copy");
        }
        rc = tar_writer_add(writer, piece, (size_t)n, err);
        at += (uint64_t)n;
        progress_add(progress, (double)n);
    }
    return rc;
}

int archive_write(
    const struct cli *cli, const struct archive_parts *parts, int fd, struct error *err)
{
    cleanup_buf struct buf text = BUF_INIT(MANIFEST_BYTES_MAX);
    struct tar_writer *writer = tar_writer_new(fd);
    const struct manifest *manifest = &parts->manifest;
    manifest_write(manifest, &text);
    struct progress progress = progress_begin(cli, manifest->vm, "writing the archive");
    progress.total = (double)manifest_bytes(manifest);
    int rc = write_bytes(writer, MANIFEST_NAME, &text, err);
    for (size_t i = 0; rc == 0 && i < manifest->n_members; i++) {
        rc = write_file(writer, &manifest->members[i].tar, parts->files[i].fd, &progress, err);
    }
    progress_end(&progress);
    rc = rc < 0 ? rc : tar_writer_finish(writer, err);
    tar_writer_free(writer);
    return rc;
}
