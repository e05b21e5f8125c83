/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/archive/archive_read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/archive/progress.h"
#include "cli/archive/tar_stream.h"
#include "cli/cli.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/user_path.h"
#include "specs/base/vm_name.h"
#include "specs/image/image_format.h"
#include "specs/image/qcow2.h"
#include "specs/image/volume_file.h"
#include "specs/vm/vm_import.h"

enum { PIECE = 1 << 20 };

bool archive_is_one(const char *path)
{
    uint8_t head[4] = {0};
    struct stat st;
    cleanup_buf struct buf bytes = BUF_INIT(IMAGE_HEAD_SIZE);
    if (user_path_stat(path, &st) == 0 && S_ISFIFO(st.st_mode)) {
        return true;
    }
    (void)user_path_read_head(path, &bytes);
    memcpy(head, buf_str(&bytes), bytes.len < sizeof(head) ? bytes.len : sizeof(head));
    return compression_of_head(head, sizeof(head)) == COMPRESSION_ZSTD;
}

void archive_clear(struct archive *archive)
{
    for (size_t i = 0; i < MANIFEST_MEMBERS_MAX; i++) {
        if (i < archive->manifest.n_members && archive->files[i].fd > 0) {
            unnamed_clear(&archive->files[i]);
        }
    }
    if (archive->lock_fd > 0) {
        (void)close(archive->lock_fd);
    }
    tar_reader_free(archive->reader);
    free(archive->project);
    manifest_clear(&archive->manifest);
}

static int refuse_member(const char *title, const char *name, const char *what, struct error *err)
{
    return error_set(err, ERR_ARCHIVE, "'%s' cannot be imported: %s %s", title, name, what);
}

/* ---- the manifest ---- */

static int read_manifest(
    struct tar_reader *reader, const char *title, struct manifest *ret, struct error *err)
{
    cleanup_buf struct buf text = BUF_INIT(MANIFEST_BYTES_MAX);
    struct tar_member member;
    bool is_there = false;
    int rc = tar_reader_next(reader, &member, &is_there, err);
    if (rc < 0) {
        return rc;
    }
    if (!is_there || strcmp(member.name, MANIFEST_NAME) != 0 || member.size > MANIFEST_BYTES_MAX) {
        return error_set(err, ERR_ARCHIVE,
            "'%s' is not an export of vmctl: it does not begin with a manifest", title);
    }
    char bytes[4096];
    ssize_t n;
    while ((n = tar_reader_read(reader, bytes, sizeof(bytes), err)) > 0) {
        (void)buf_add(&text, bytes, (size_t)n);
    }
    return n < 0 ? (int)n : manifest_read(&text, title, ret, err);
}

int archive_check_room(const struct cli *cli, const char *vm, uint64_t bytes, struct error *err)
{
    cleanup_close int fd = open(cli->paths.data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fs_has_room(fd, bytes)) {
        return 0;
    }
    (void)error_set(err, ERR_NO_SPACE, "the %llu MiB of vm '%s' do not fit in '%s'",
        (unsigned long long)(bytes >> 20), vm, cli->paths.data_dir);
    return error_help(err, "make room there (see: df -h), then import it again");
}

/* A VM has volumes of its own project, whatever that was where it came from. free() it. */
static char *name_member(const struct archive *archive, size_t i)
{
    const char *member = archive->manifest.members[i].tar.name;
    cleanup_free char *volume = vm_import_volume_name(member);
    cleanup_free char *own = volume ? vm_name_in(archive->project, vm_name_plain(volume)) : NULL;
    return own ? vm_import_volume_member(own) : mem_strdup(member);
}

int archive_check_volumes(const struct cli *cli, const struct archive *archive, struct error *err)
{
    for (size_t i = 0; i < archive->manifest.n_members; i++) {
        cleanup_free char *member = name_member(archive, i);
        cleanup_free char *name = vm_import_volume_name(member);
        if (name && volume_bytes(&cli->paths, name) != VOLUME_IS_MISSING) {
            (void)error_set(err, ERR_VM_CONFLICT, "volume '%s' exists already", name);
            return error_help(
                err, "if you do not need it, remove it first: vmctl volume rm %s", name);
        }
    }
    return 0;
}

/* ---- the files ---- */

static int unpack(struct tar_reader *reader, const struct manifest_member *member, int fd,
    const char *title, struct progress *progress, struct error *err)
{
    char sha256[DIGEST_SIZE];
    cleanup_free uint8_t *piece = mem_calloc(1, PIECE);
    struct digest *digest = digest_new();
    int rc = 0;
    ssize_t n = 0;
    while (rc == 0 && (n = tar_reader_read(reader, piece, PIECE, err)) > 0) {
        digest_add(digest, piece, (size_t)n);
        rc = fs_write_all(fd, piece, (size_t)n, err);
        progress_add(progress, (double)n);
    }
    digest_of(digest, sha256);
    digest_free(digest);
    if (rc < 0 || n < 0) {
        return rc < 0 ? rc : (int)n;
    }
    return strcmp(sha256, member->sha256) == 0
               ? 0
               : refuse_member(title, member->tar.name,
                     "does not have the SHA-256 that its manifest gives", err);
}

/* A disk must not lead to files of this host. */
static int check_qcow2(
    int fd, const char *name, const char *title, uint64_t *ret, struct error *err)
{
    uint8_t head[QCOW2_HEADER_SIZE];
    struct qcow2_header header;
    struct error cause = {.code = ERR_NONE};
    ssize_t n = fs_read_at(fd, head, sizeof(head), 0);
    if (n < 0 || qcow2_parse(head, (size_t)n, &header, &cause) < 0) {
        return refuse_member(title, name, "is not a qcow2 file", err);
    }
    if (header.backing_offset || header.has_data_file || header.is_encrypted) {
        return refuse_member(title, name, "refers to another file, or is encrypted", err);
    }
    *ret = header.virtual_size;
    return header.virtual_size <= IMAGE_BYTES_MAX ? 0
                                                  : refuse_member(title, name, "is too large", err);
}

int archive_note_disk(struct archive *archive, size_t i, struct error *err)
{
    const char *name = archive->manifest.members[i].tar.name;
    uint64_t bytes = 0;
    int rc = check_qcow2(archive->files[i].fd, name, archive->title, &bytes, err);
    if (rc == 0 && strcmp(name, VM_IMPORT_DISK) == 0) {
        archive->disk_bytes = bytes;
    }
    return rc;
}

static int read_member(const struct cli *cli, struct archive *ret, size_t i,
    struct progress *progress, struct error *err)
{
    struct tar_reader *reader = ret->reader;
    const char *title = ret->title;
    const struct manifest_member *member = &ret->manifest.members[i];
    struct tar_member found;
    bool is_there = false;
    int rc = tar_reader_next(reader, &found, &is_there, err);
    bool is_it =
        is_there && strcmp(found.name, member->tar.name) == 0 && found.size == member->tar.size;
    if (rc == 0 && !is_it) {
        rc = refuse_member(
            title, member->tar.name, "is not at the position that its manifest gives", err);
    }
    rc = rc < 0 ? rc : unnamed_open(cli->paths.data_dir, 0600, &ret->files[i], err);
    rc = rc < 0 ? rc : unpack(reader, member, ret->files[i].fd, title, progress, err);
    cleanup_free char *volume = vm_import_volume_name(member->tar.name);
    bool is_disk = strcmp(member->tar.name, VM_IMPORT_DISK) == 0;
    return rc == 0 && (is_disk || volume) ? archive_note_disk(ret, i, err) : rc;
}

static int check_nothing_follows(const struct archive *archive, struct error *err)
{
    struct tar_member more;
    bool is_there = false;
    int rc = tar_reader_next(archive->reader, &more, &is_there, err);
    return rc == 0 && is_there
               ? refuse_member(archive->title, more.name, "is not in its manifest", err)
               : rc;
}

int archive_open(int fd, const char *title, struct archive *ret, struct error *err)
{
    ret->title = title;
    ret->reader = tar_reader_new(fd, title);
    return read_manifest(ret->reader, title, &ret->manifest, err);
}

int archive_unpack_all(const struct cli *cli, struct archive *archive, struct error *err)
{
    const struct manifest *manifest = &archive->manifest;
    int rc = archive_check_room(cli, manifest->vm, manifest_bytes(manifest), err);
    rc = rc < 0 ? rc : archive_check_volumes(cli, archive, err);
    struct progress progress = progress_begin(cli, archive->manifest.vm, "unpacking");
    progress.total = (double)manifest_bytes(&archive->manifest);
    progress.report = archive->report;
    progress.context = archive->context;
    for (size_t i = 0; rc == 0 && i < archive->manifest.n_members; i++) {
        rc = read_member(cli, archive, i, &progress, err);
    }
    progress_end(&progress);
    return rc < 0 ? rc : check_nothing_follows(archive, err);
}

/* ---- published ---- */

static int open_directory(const struct cli *cli, struct archive *archive, struct error *err)
{
    digest_random_id(archive->id);
    cleanup_free char *directory = vm_import_path(&cli->paths, archive->id, "");
    int rc = fs_make_dirs(directory, 0700, err);
    archive->lock_fd = rc < 0 ? -1 : open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (rc == 0 && (archive->lock_fd < 0 || flock(archive->lock_fd, LOCK_EX | LOCK_NB) < 0)) {
        rc = error_set_errno(err, ERR_IO, errno, "cannot lock '%s'", directory);
    }
    return rc;
}

int archive_publish(const struct cli *cli, struct archive *archive, struct error *err)
{
    int rc = open_directory(cli, archive, err);
    for (size_t i = 0; rc == 0 && i < archive->manifest.n_members; i++) {
        cleanup_free char *member = name_member(archive, i);
        cleanup_free char *path = vm_import_path(&cli->paths, archive->id, member);
        rc = unnamed_publish(&archive->files[i], path, err);
    }
    if (rc == 0 && fsync(archive->lock_fd) < 0) {
        rc = error_set_errno(err, ERR_IO, errno, "cannot sync '%s'", cli->paths.data_dir);
    }
    cleanup_free char *imports = paths_path(&cli->paths, "imports");
    cleanup_free char *directory = fs_join(imports, archive->id);
    rc = rc < 0 ? rc : fs_sync_dir_of(directory, err);
    return rc < 0 ? rc : fs_sync_dir_of(imports, err);
}

void archive_withdraw(const struct cli *cli, const struct archive *archive)
{
    struct error ignored = {.code = ERR_NONE};
    if (archive->id[0]) {
        (void)fs_remove_beneath(cli->paths.data_dir, "imports", archive->id, &ignored);
    }
}
