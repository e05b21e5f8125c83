/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/image/image_end.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/user_path.h"
#include "specs/image/image_format.h"
#include "specs/image/qcow2.h"

struct tables {
    struct user_file *file;
    uint64_t end; /* found so far */
};

enum { ENTRY_SIZE = 8 }; /* of all tables but VHDX's regions and metadata */

/* Zeros where the file has ended, as QEMU reads them. */
static int read_at(
    const struct tables *tables, uint64_t offset, void *bytes, size_t n, struct error *err)
{
    memset(bytes, 0, n);
    if (offset >= tables->file->size || user_file_read_at(tables->file, bytes, n, offset) >= 0) {
        return 0;
    }
    return error_set_errno(err, ERR_IO, errno, "cannot read its tables");
}

static void note_end(struct tables *tables, uint64_t offset, uint64_t n)
{
    uint64_t end = offset > UINT64_MAX - n ? UINT64_MAX : offset + n;
    tables->end = end > tables->end ? end : tables->end;
}

/* ---- qcow2 (QEMU's docs/interop/qcow2.txt) ---- */

#define QCOW2_OFFSET UINT64_C(0x00fffffffffffe00)
#define QCOW2_COMPRESSED (UINT64_C(1) << 62)
enum { QCOW2_ZERO = 1, L1_ENTRIES_MAX = 4 << 20 /* as in QEMU */ };

/* "Compressed Clusters Descriptor": the offset in bytes, and how many sectors follow the one it
 * starts in. */
static void note_compressed(
    struct tables *tables, const struct qcow2_header *header, uint64_t entry)
{
    uint32_t count_bits = header->cluster_bits - 8, offset_bits = 62 - count_bits;
    uint64_t offset = entry & ((UINT64_C(1) << offset_bits) - 1);
    uint64_t more = entry >> offset_bits & ((UINT64_C(1) << count_bits) - 1);
    note_end(tables, offset - offset % IMAGE_SECTOR_SIZE, (more + 1) * IMAGE_SECTOR_SIZE);
}

static void note_cluster(
    struct tables *tables, const struct qcow2_header *header, uint64_t entry, uint64_t guest_offset)
{
    uint64_t offset = entry & QCOW2_OFFSET, size = UINT64_C(1) << header->cluster_bits;
    bool reads_as_zero = header->version >= 3 && (entry & QCOW2_ZERO);
    if (entry & QCOW2_COMPRESSED) {
        note_compressed(tables, header, entry);
    } else if (offset && !reads_as_zero && guest_offset < header->virtual_size) {
        uint64_t left = header->virtual_size - guest_offset;
        /* Which of its subclusters were ever written is not looked at. */
        note_end(tables, offset, header->has_extended_l2 ? 1 : left < size ? left : size);
    }
}

static int note_l2(struct tables *tables, const struct qcow2_header *header, uint64_t l1_index,
    uint64_t offset, uint64_t *table, struct error *err)
{
    size_t stride = header->has_extended_l2 ? 2 : 1, size = (size_t)1 << header->cluster_bits;
    size_t n = size / (stride * ENTRY_SIZE);
    note_end(tables, offset, size);
    int rc = read_at(tables, offset, table, size, err);
    for (uint64_t i = 0; rc == 0 && i < n; i++) {
        note_cluster(tables, header, be64toh(table[i * stride]),
            (l1_index * n + i) << header->cluster_bits); /* at most 2^(22 + 39) */
    }
    return rc;
}

int qcow2_find_end(
    struct user_file *file, const struct qcow2_header *header, uint64_t *ret_end, struct error *err)
{
    struct tables tables = {.file = file};
    uint64_t n = header->n_l1_entries, l1_size = n * ENTRY_SIZE;
    /* L2 tables are all different, so they fit into the file together: entries that lead to the
     * same one again and again must not keep us reading for hours. */
    uint64_t n_left = (file->size >> header->cluster_bits) + 1;
    if (n == 0 || n > L1_ENTRIES_MAX || header->has_data_file) {
        return 0;
    }
    cleanup_free uint64_t *l1 = mem_calloc(n, ENTRY_SIZE);
    cleanup_free uint64_t *l2 = mem_calloc(1, (size_t)1 << header->cluster_bits);
    note_end(&tables, header->l1_offset, l1_size);
    int rc = read_at(&tables, header->l1_offset, l1, l1_size, err);
    for (uint64_t i = 0; rc == 0 && i < n && n_left > 0; i++) {
        uint64_t offset = be64toh(l1[i]) & QCOW2_OFFSET;
        if (offset) {
            rc = note_l2(&tables, header, i, offset, l2, err);
            n_left--;
        }
    }
    *ret_end = tables.end;
    return rc;
}

/* ---- VHDX ([MS-VHDX] 2.2.3, 2.5, 2.6) ---- */

enum {
    TABLE_SIZE = 64 * 1024, /* of regions, and of metadata */
    GUID_SIZE = 16,
    BLOCK_STATE = 7, /* mask */
    BLOCK_PRESENT = 6,
};
#define BLOCK_OFFSET UINT64_C(0xfffffffffff00000)
#define BITMAP_SECTORS (UINT64_C(1) << 23) /* whose bits a block of the sector bitmap holds */

static const uint64_t region_tables[] = {192 * 1024, 256 * 1024}; /* the second is a copy */

static const char block_region[] =
    "\x66\x77\xc2\x2d\x23\xf6\x00\x42\x9d\x64\x11\x5e\x9b\xfd\x4a\x08";
static const char metadata_region[] =
    "\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e";
static const char file_parameters[] =
    "\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b";
static const char virtual_disk_size[] =
    "\x24\x42\xa5\x2f\x1b\xcd\x76\x48\xb2\x11\x5d\xbe\xd8\x3b\xf4\xb8";
static const char logical_sector_size[] =
    "\x1d\xbf\x41\x81\x6f\xa9\x09\x47\xba\x47\xf2\x33\xa8\xfa\xab\x5f";

struct vhdx {
    struct tables tables;
    uint64_t blocks, blocks_size; /* the block table, in the file */
    uint64_t metadata;
    uint64_t block_size, disk_size, sector_size;
};

static uint64_t little(const uint8_t *bytes, size_t n)
{
    uint64_t value = 0;
    memcpy(&value, bytes, n);
    return le64toh(value);
}

/* What follows the GUID in its entry, 16 bytes; NULL: it is not there. */
static const uint8_t *find_entry(const uint8_t *table, const char *guid)
{
    const uint8_t *found = memmem(table, TABLE_SIZE - GUID_SIZE, guid, GUID_SIZE);
    return found ? found + GUID_SIZE : NULL;
}

static bool take_regions(struct vhdx *vhdx, const uint8_t *table)
{
    const uint8_t *blocks = find_entry(table, block_region);
    const uint8_t *metadata = find_entry(table, metadata_region);
    if (memcmp(table, "regi", 4) != 0 || !blocks || !metadata) {
        return false;
    }
    vhdx->blocks = little(blocks, 8);
    vhdx->blocks_size = little(blocks + 8, 4);
    vhdx->metadata = little(metadata, 8);
    note_end(&vhdx->tables, vhdx->blocks, vhdx->blocks_size);
    note_end(&vhdx->tables, vhdx->metadata, little(metadata + 8, 4));
    return true;
}

/* 0: it is not there. */
static uint64_t read_item(
    const struct vhdx *vhdx, const uint8_t *table, const char *guid, size_t size)
{
    uint8_t bytes[8];
    struct error ignored = {.code = ERR_NONE};
    const uint8_t *entry = find_entry(table, guid);
    bool is_read =
        entry && vhdx->metadata < vhdx->tables.file->size &&
        read_at(&vhdx->tables, vhdx->metadata + little(entry, 4), bytes, size, &ignored) == 0;
    return is_read ? little(bytes, size) : 0;
}

/* After every `ratio` blocks of data comes one of a bitmap, which only a disk with a parent has.
 * The last block need not be there to its end. */
static void note_block(struct vhdx *vhdx, uint64_t index, uint64_t entry)
{
    uint64_t ratio = BITMAP_SECTORS * vhdx->sector_size / vhdx->block_size;
    uint64_t chunk = index / (ratio + 1), place = index % (ratio + 1);
    uint64_t at = (chunk * ratio + place) * vhdx->block_size;
    if (place != ratio && (entry & BLOCK_STATE) == BLOCK_PRESENT && at < vhdx->disk_size) {
        uint64_t left = vhdx->disk_size - at;
        note_end(
            &vhdx->tables, entry & BLOCK_OFFSET, left < vhdx->block_size ? left : vhdx->block_size);
    }
}

static int note_blocks(struct vhdx *vhdx, uint8_t *chunk, struct error *err)
{
    int rc = 0;
    for (uint64_t at = 0; rc == 0 && at < vhdx->blocks_size; at += TABLE_SIZE) {
        if (vhdx->blocks + at >= vhdx->tables.file->size) {
            return 0; /* the file ends within the table, which was noted */
        }
        uint64_t left = vhdx->blocks_size - at;
        rc = read_at(&vhdx->tables, vhdx->blocks + at, chunk, TABLE_SIZE, err);
        for (size_t i = 0; rc == 0 && i < TABLE_SIZE && i + ENTRY_SIZE <= left; i += ENTRY_SIZE) {
            note_block(vhdx, (at + i) / ENTRY_SIZE, little(chunk + i, ENTRY_SIZE));
        }
    }
    return rc;
}

int vhdx_find_end(struct user_file *file, uint64_t *ret_end, struct error *err)
{
    struct vhdx vhdx = {.tables = {.file = file}};
    cleanup_free uint8_t *table = mem_calloc(1, TABLE_SIZE);
    bool is_there = false;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(region_tables) && !is_there; i++) {
        rc = read_at(&vhdx.tables, region_tables[i], table, TABLE_SIZE, err);
        is_there = rc == 0 && take_regions(&vhdx, table);
    }
    if (is_there) {
        rc = read_at(&vhdx.tables, vhdx.metadata, table, TABLE_SIZE, err);
        vhdx.block_size = read_item(&vhdx, table, file_parameters, 4);
        vhdx.disk_size = read_item(&vhdx, table, virtual_disk_size, 8);
        vhdx.sector_size = read_item(&vhdx, table, logical_sector_size, 4);
    }
    if (rc == 0 && vhdx.block_size > 0) {
        rc = note_blocks(&vhdx, table, err);
    }
    *ret_end = vhdx.tables.end;
    return rc;
}
