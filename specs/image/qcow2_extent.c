/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/image/qcow2_extent.h"

#include <stdbool.h>
#include <stddef.h>

#include "specs/base/error.h"
#include "specs/image/image_format.h"

enum { MAX_L1_SIZE = 32 << 20, MAX_REFCOUNT_TABLE_SIZE = 8 << 20 };

static const uint64_t offset_mask = 0x00fffffffffffe00;
static const uint64_t flag_compressed = (uint64_t)1 << 62;
static const uint64_t flag_zero = 1;

static uint64_t read_entry(const uint8_t *p)
{
    uint64_t value = 0;
    for (size_t i = 0; i < QCOW2_ENTRY_SIZE; i++) {
        value = value << 8 | p[i];
    }
    return value;
}

static uint64_t cluster_size(const struct qcow2_header *header)
{
    return (uint64_t)1 << header->cluster_bits;
}

static int damaged(const char *what, struct error *err)
{
    error_set(err, ERR_IMAGE_FORMAT, "it is damaged: %s", what);
    return error_help(err, "get the image again (see what is wrong: qemu-img check IMAGE)");
}

/* `n` bytes at `offset`; the file's last sector may be cut short, as its writer left it. */
static int check_within(
    const char *what, uint64_t offset, uint64_t n, uint64_t file_size, struct error *err)
{
    uint64_t sectors = file_size / IMAGE_SECTOR_SIZE + (file_size % IMAGE_SECTOR_SIZE != 0);
    uint64_t end = sectors * IMAGE_SECTOR_SIZE;
    if (offset < file_size && n <= end - offset) {
        return 0;
    }
    error_set(err, ERR_IMAGE_FORMAT,
        "it is cut off: the file has %llu bytes, but %s at byte %llu is to have %llu more",
        (unsigned long long)file_size, what, (unsigned long long)offset, (unsigned long long)n);
    return error_help(err, "get the image again: it was not copied or downloaded to its end");
}

static bool is_aligned(const struct qcow2_header *header, uint64_t offset)
{
    return offset % cluster_size(header) == 0;
}

static uint32_t l2_entry_size(const struct qcow2_header *header)
{
    return header->has_extended_l2 ? 2 * QCOW2_ENTRY_SIZE : QCOW2_ENTRY_SIZE;
}

/* Bytes of the disk that one L2 table is for. At most 2^(21+18). */
static uint64_t bytes_a_l2_table(const struct qcow2_header *header)
{
    return cluster_size(header) / l2_entry_size(header) * cluster_size(header);
}

static bool l1_is_large_enough(const struct qcow2_header *header)
{
    uint64_t a_table = bytes_a_l2_table(header);
    uint64_t needed = header->virtual_size / a_table + (header->virtual_size % a_table != 0);
    return header->n_l1_entries >= needed;
}

int qcow2_check_tables(const struct qcow2_header *header, uint64_t file_size, struct error *err)
{
    uint64_t l1_size = (uint64_t)header->n_l1_entries * QCOW2_ENTRY_SIZE;
    uint64_t refcounts_size = (uint64_t)header->refcount_clusters << header->cluster_bits;
    if (l1_size > MAX_L1_SIZE || !is_aligned(header, header->l1_offset) ||
        !l1_is_large_enough(header)) {
        return damaged("its L1 table cannot be right", err);
    }
    if (refcounts_size > MAX_REFCOUNT_TABLE_SIZE || refcounts_size == 0 ||
        !is_aligned(header, header->refcount_offset)) {
        return damaged("its refcount table cannot be right", err);
    }
    if ((l1_size && check_within("the L1 table", header->l1_offset, l1_size, file_size, err) < 0) ||
        check_within("the refcount table", header->refcount_offset, 1, file_size, err) < 0) {
        return -ERR_IMAGE_FORMAT;
    }
    return header->n_snapshots
               ? check_within("the snapshot table", header->snapshots_offset, 1, file_size, err)
               : 0;
}

int qcow2_check_l1_entry(const struct qcow2_header *header, const uint8_t *entry,
    uint64_t file_size, uint64_t *ret_offset, struct error *err)
{
    uint64_t offset = read_entry(entry) & offset_mask;
    if (!is_aligned(header, offset)) {
        return damaged("an L1 entry is not aligned", err);
    }
    if (offset && check_within("an L2 table", offset, cluster_size(header), file_size, err) < 0) {
        return -ERR_IMAGE_FORMAT;
    }
    *ret_offset = offset;
    return 0;
}

int qcow2_check_refcount_entry(
    const struct qcow2_header *header, const uint8_t *entry, uint64_t file_size, struct error *err)
{
    uint64_t offset = read_entry(entry) & offset_mask;
    if (!is_aligned(header, offset)) {
        return damaged("a refcount table entry is not aligned", err);
    }
    return offset ? check_within("a refcount block", offset, 1, file_size, err) : 0;
}

/* The specification's "Compressed Clusters Descriptor": the offset in bytes, and how many sectors
 * behind the one it starts in. */
static int check_compressed(
    const struct qcow2_header *header, uint64_t entry, uint64_t file_size, struct error *err)
{
    uint32_t count_bits = header->cluster_bits - 8;
    uint32_t offset_bits = 62 - count_bits;
    uint64_t offset = entry & (((uint64_t)1 << offset_bits) - 1);
    uint64_t more = (entry >> offset_bits) & (((uint64_t)1 << count_bits) - 1);
    uint64_t in_first = IMAGE_SECTOR_SIZE - offset % IMAGE_SECTOR_SIZE;
    return check_within(
        "compressed data", offset, in_first + more * IMAGE_SECTOR_SIZE, file_size, err);
}

static int check_plain(const struct qcow2_header *header, uint64_t entry, uint64_t guest_offset,
    uint64_t file_size, struct error *err)
{
    uint64_t offset = entry & offset_mask;
    bool reads_as_zero = header->version >= 3 && (entry & flag_zero);
    if (offset == 0 || reads_as_zero || guest_offset >= header->virtual_size) {
        return 0;
    }
    uint64_t used = header->virtual_size - guest_offset;
    if (used > cluster_size(header)) {
        used = cluster_size(header);
    }
    /* Which of its subclusters were ever written is not looked at. */
    uint64_t needed = header->has_extended_l2 ? 1 : used;
    return check_within("data", offset, needed, file_size, err);
}

int qcow2_check_l2_table(const struct qcow2_header *header, const uint8_t *table, uint64_t l1_index,
    uint64_t file_size, struct error *err)
{
    uint64_t n = cluster_size(header) / l2_entry_size(header);
    uint64_t base = l1_index * bytes_a_l2_table(header); /* at most 2^22 * 2^39 */
    for (uint64_t i = 0; i < n && !header->has_data_file; i++) {
        uint64_t entry = read_entry(table + i * l2_entry_size(header));
        int rc = entry & flag_compressed ? check_compressed(header, entry, file_size, err)
                                         : check_plain(header, entry,
                                               base + (i << header->cluster_bits), file_size, err);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}
