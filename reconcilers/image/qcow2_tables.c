/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/image/qcow2_tables.h"

#include <errno.h>
#include <stdlib.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/image/qcow2_extent.h"

struct reader {
    int fd;
    const struct qcow2_header *header;
    uint64_t file_size;
};

/* `n` bytes, of which those behind the end of the file are zero, as QEMU reads them. */
static int read_table(
    const struct reader *reader, uint64_t offset, size_t n, uint8_t **ret, struct error *err)
{
    cleanup_free uint8_t *bytes = mem_calloc(n ? n : 1, 1);
    if (fs_read_at(reader->fd, bytes, n, (int64_t)offset) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot read its tables");
    }
    *ret = TAKE_PTR(bytes);
    return 0;
}

static int check_l2(const struct reader *reader, uint64_t l1_index, uint64_t offset,
    struct error *err)
{
    cleanup_free uint8_t *table = NULL;
    size_t size = (size_t)1 << reader->header->cluster_bits;
    int rc = read_table(reader, offset, size, &table, err);
    return rc < 0 ? rc
                  : qcow2_check_l2_table(
                        reader->header, table, l1_index, reader->file_size, err);
}

/* L2 tables are all different, so they fit into the file together: entries that lead to the same one
 * again and again must not keep us reading for hours. */
static int check_l1(const struct reader *reader, struct error *err)
{
    const struct qcow2_header *header = reader->header;
    uint64_t n_possible = (reader->file_size >> header->cluster_bits) + 1, n_tables = 0;
    cleanup_free uint8_t *entries = NULL;
    int rc = read_table(reader, header->l1_offset,
        (size_t)header->n_l1_entries * QCOW2_ENTRY_SIZE, &entries, err);
    for (uint64_t i = 0; rc == 0 && i < header->n_l1_entries; i++) {
        uint64_t offset;
        rc = qcow2_check_l1_entry(
            header, entries + i * QCOW2_ENTRY_SIZE, reader->file_size, &offset, err);
        if (rc < 0 || offset == 0) {
            continue;
        }
        if (++n_tables > n_possible) {
            return error_set(err, ERR_IMAGE_FORMAT, "it is damaged: it has L2 tables twice");
        }
        rc = check_l2(reader, i, offset, err);
    }
    return rc;
}

static int check_refcounts(const struct reader *reader, struct error *err)
{
    const struct qcow2_header *header = reader->header;
    size_t size = (size_t)header->refcount_clusters << header->cluster_bits;
    cleanup_free uint8_t *entries = NULL;
    int rc = read_table(reader, header->refcount_offset, size, &entries, err);
    for (size_t at = 0; rc == 0 && at < size; at += QCOW2_ENTRY_SIZE) {
        rc = qcow2_check_refcount_entry(header, entries + at, reader->file_size, err);
    }
    return rc;
}

int qcow2_tables_check(
    int fd, const struct qcow2_header *header, uint64_t file_size, struct error *err)
{
    const struct reader reader = {.fd = fd, .header = header, .file_size = file_size};
    int rc = qcow2_check_tables(header, file_size, err);
    if (rc == 0) {
        rc = check_refcounts(&reader, err);
    }
    return rc < 0 ? rc : check_l1(&reader, err);
}
