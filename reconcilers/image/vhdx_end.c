/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/image/vhdx_end.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"

enum {
    TABLE_SIZE = 64 * 1024, /* of regions, and of metadata */
    ENTRY_SIZE = 32,        /* in both */
    GUID_SIZE = 16,
    BLOCK_ENTRY_SIZE = 8,
    BLOCK_STATE = 7, /* mask */
    BLOCK_PRESENT = 6,
};
/* "The file offset is a multiple of 1 MB": what is below is the state. */
#define BLOCK_OFFSET UINT64_C(0xfffffffffff00000)
/* Sectors whose bits a block of the sector bitmap holds. */
#define BITMAP_SECTORS (UINT64_C(1) << 23)

static const uint64_t region_tables[] = {192 * 1024, 256 * 1024}; /* the second is a copy */

#define GUID(...) ((const uint8_t[GUID_SIZE]){__VA_ARGS__})
#define BLOCK_REGION                                                                               \
    GUID(0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0, 0x42, 0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 8)
#define METADATA_REGION                                                                            \
    GUID(6, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b, 0xb8, 0xfe, 0x57, 0x5f, 5, 0xf, 0x88, 0x6e)
#define FILE_PARAMETERS                                                                            \
    GUID(0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, \
        0x6b)
#define VIRTUAL_DISK_SIZE                                                                          \
    GUID(0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, \
        0xb8)
#define LOGICAL_SECTOR_SIZE                                                                        \
    GUID(0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 9, 0x47, 0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f)

struct vhdx {
    int fd;
    uint64_t block_table, block_table_size; /* where in the file */
    uint64_t metadata;
    uint64_t block_size, disk_size, sector_size;
    uint64_t end; /* found so far */
};

static uint64_t little(const uint8_t *p, int n)
{
    uint64_t value = 0;
    while (n > 0) {
        value = value << 8 | p[--n];
    }
    return value;
}

/* Zeros where the file has ended. */
static int read_at(
    const struct vhdx *vhdx, uint64_t offset, uint8_t *bytes, size_t n, struct error *err)
{
    memset(bytes, 0, n);
    if (offset > INT64_MAX - n || fs_read_at(vhdx->fd, bytes, n, (int64_t)offset) >= 0) {
        return 0;
    }
    return error_set_errno(err, ERR_IO, errno, "cannot read its tables");
}

static void note_end(struct vhdx *vhdx, uint64_t offset, uint64_t n)
{
    uint64_t end = offset > UINT64_MAX - n ? UINT64_MAX : offset + n;
    vhdx->end = end > vhdx->end ? end : vhdx->end;
}

/* The entry of that GUID among `n` from `first` on; NULL: there is none. */
static const uint8_t *find_entry(
    const uint8_t *table, size_t first, uint64_t n, const uint8_t *guid)
{
    for (uint64_t i = 0; i < n && first + (i + 1) * ENTRY_SIZE <= TABLE_SIZE; i++) {
        const uint8_t *entry = table + first + i * ENTRY_SIZE;
        if (memcmp(entry, guid, GUID_SIZE) == 0) {
            return entry;
        }
    }
    return NULL;
}

static bool take_regions(struct vhdx *vhdx, const uint8_t *table)
{
    enum { FIRST = 16, N = 8, OFFSET = 16, LENGTH = 24 };
    uint64_t n = little(table + N, 4);
    const uint8_t *blocks = find_entry(table, FIRST, n, BLOCK_REGION);
    const uint8_t *metadata = find_entry(table, FIRST, n, METADATA_REGION);
    if (memcmp(table, "regi", 4) != 0 || !blocks || !metadata) {
        return false;
    }
    vhdx->block_table = little(blocks + OFFSET, 8);
    vhdx->block_table_size = little(blocks + LENGTH, 4);
    vhdx->metadata = little(metadata + OFFSET, 8);
    note_end(vhdx, vhdx->block_table, vhdx->block_table_size);
    note_end(vhdx, vhdx->metadata, little(metadata + LENGTH, 4));
    return true;
}

static int read_regions(struct vhdx *vhdx, uint8_t *table, bool *ret_is_there, struct error *err)
{
    *ret_is_there = false;
    for (size_t i = 0; i < ARRAY_LEN(region_tables) && !*ret_is_there; i++) {
        int rc = read_at(vhdx, region_tables[i], table, TABLE_SIZE, err);
        if (rc < 0) {
            return rc;
        }
        *ret_is_there = take_regions(vhdx, table);
    }
    return 0;
}

static int read_item(const struct vhdx *vhdx, const uint8_t *table, const uint8_t *guid, int size,
    uint64_t *ret, struct error *err)
{
    enum { FIRST = 32, N = 10, OFFSET = 16 };
    uint8_t bytes[8];
    const uint8_t *entry = find_entry(table, FIRST, little(table + N, 2), guid);
    if (!entry) {
        return 0;
    }
    uint64_t offset = little(entry + OFFSET, 4);
    int rc = read_at(vhdx, vhdx->metadata > UINT64_MAX - offset ? 0 : vhdx->metadata + offset,
        bytes, sizeof(bytes), err);
    *ret = little(bytes, size);
    return rc;
}

static int read_metadata(struct vhdx *vhdx, uint8_t *table, struct error *err)
{
    int rc = read_at(vhdx, vhdx->metadata, table, TABLE_SIZE, err);
    if (rc < 0 || memcmp(table, "metadata", 8) != 0) {
        return rc;
    }
    rc = read_item(vhdx, table, FILE_PARAMETERS, 4, &vhdx->block_size, err);
    if (rc == 0) {
        rc = read_item(vhdx, table, VIRTUAL_DISK_SIZE, 8, &vhdx->disk_size, err);
    }
    return rc < 0 ? rc : read_item(vhdx, table, LOGICAL_SECTOR_SIZE, 4, &vhdx->sector_size, err);
}

/* After every `ratio` blocks of data comes one of a bitmap, which only a disk with a parent has. The
 * last block need not be there to its end. */
static void take_block(struct vhdx *vhdx, uint64_t index, uint64_t entry, uint64_t ratio)
{
    uint64_t chunk = index / (ratio + 1), place = index % (ratio + 1);
    uint64_t block = chunk * ratio + place;
    if (place == ratio || (entry & BLOCK_STATE) != BLOCK_PRESENT ||
        block >= vhdx->disk_size / vhdx->block_size + 1) {
        return;
    }
    uint64_t left = vhdx->disk_size - block * vhdx->block_size;
    note_end(vhdx, entry & BLOCK_OFFSET, left < vhdx->block_size ? left : vhdx->block_size);
}

static int read_blocks(struct vhdx *vhdx, uint8_t *chunk, uint64_t file_size, struct error *err)
{
    uint64_t ratio = BITMAP_SECTORS * vhdx->sector_size / vhdx->block_size, index = 0;
    for (uint64_t at = 0; at < vhdx->block_table_size; at += TABLE_SIZE) {
        if (vhdx->block_table + at >= file_size) {
            return 0; /* the file ends within it, which was noted */
        }
        int rc = read_at(vhdx, vhdx->block_table + at, chunk, TABLE_SIZE, err);
        if (rc < 0) {
            return rc;
        }
        uint64_t left = vhdx->block_table_size - at;
        for (size_t i = 0; i < TABLE_SIZE && i + BLOCK_ENTRY_SIZE <= left; i += BLOCK_ENTRY_SIZE) {
            take_block(vhdx, index++, little(chunk + i, BLOCK_ENTRY_SIZE), ratio);
        }
    }
    return 0;
}

int vhdx_find_end(int fd, uint64_t file_size, uint64_t *ret_end, struct error *err)
{
    struct vhdx vhdx = {.fd = fd};
    cleanup_free uint8_t *table = mem_calloc(1, TABLE_SIZE);
    bool is_there = false;
    int rc = read_regions(&vhdx, table, &is_there, err);
    if (rc == 0 && is_there) {
        rc = read_metadata(&vhdx, table, err);
    }
    if (rc == 0 && is_there && vhdx.block_size > 0) {
        rc = read_blocks(&vhdx, table, file_size, err);
    }
    if (rc == 0) {
        *ret_end = vhdx.end;
    }
    return rc;
}
