/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/archive/iso.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdbool.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"

static la_ssize_t on_bytes(struct archive *archive, void *context, const void *bytes, size_t n)
{
    (void)archive;
    return buf_add(context, bytes, n) ? (la_ssize_t)n : -1;
}

static int iso_fail(struct archive *archive, struct error *err)
{
    const char *why = archive_error_string(archive);
    int sys_errno = archive_errno(archive);
    if (sys_errno == ENOSPC || sys_errno == EDQUOT) {
        return error_set_errno(err, ERR_SEED, sys_errno, "cannot make the seed ISO");
    }
    return error_set(
        err, ERR_SEED, "cannot make the seed ISO: %s", why ? why : "libarchive failed");
}

static int add_file(struct archive *archive, const struct iso_file *file, struct error *err)
{
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, file->name);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0444);
    archive_entry_set_size(entry, (la_int64_t)file->n);
    archive_entry_set_mtime(entry, 0, 0);
    bool is_good = archive_write_header(archive, entry) == ARCHIVE_OK &&
                   archive_write_data(archive, file->bytes, file->n) == (la_ssize_t)file->n;
    int rc = is_good ? 0 : iso_fail(archive, err);
    archive_entry_free(entry);
    return rc;
}

static int iso_write_all(struct archive *archive, const char *volume_id,
    const struct iso_file *files, size_t n_files, struct buf *out, struct error *err)
{
    bool is_ready =
        archive_write_set_format_iso9660(archive) == ARCHIVE_OK &&
        archive_write_set_format_option(archive, "iso9660", "volume-id", volume_id) == ARCHIVE_OK &&
        archive_write_open(archive, out, NULL, on_bytes, NULL) == ARCHIVE_OK;
    if (!is_ready) {
        return iso_fail(archive, err);
    }
    for (size_t i = 0; i < n_files; i++) {
        int rc = add_file(archive, &files[i], err);
        if (rc < 0) {
            return rc;
        }
    }
    if (archive_write_close(archive) != ARCHIVE_OK || out->is_full) {
        return iso_fail(archive, err);
    }
    return 0;
}

int iso_write(const char *volume_id, const struct iso_file *files, size_t n_files, struct buf *out,
    struct error *err)
{
    struct archive *archive = archive_write_new();
    if (!archive) {
        return error_set(err, ERR_SEED, "libarchive has no memory");
    }
    int rc = iso_write_all(archive, volume_id, files, n_files, out, err);
    archive_write_free(archive);
    return rc;
}
