/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/image/image_machine.h"

#include <stdbool.h>
#include <string.h>
#include <sys/utsname.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/user_path.h"
#include "specs/image/bytes.h"
#include "specs/image/image_format.h"
#include "specs/image/image_unpack.h"

/* UEFI 2.10, 5.3.2 and 5.3.3. */
enum {
    GPT_ENTRIES = 72, /* u64: the LBA of the entries */
    GPT_N_ENTRIES = 80,
    GPT_ENTRY_SIZE = 84,
    ENTRY_SIZE = 128, /* what all tools write; others are not read */
    N_ENTRIES_MAX = 128,
};

/* A type as the GPT has it: the first three groups little-endian, the rest as it is written. */
#define TYPE(a, b, c, d, e)                                                                        \
    {                                                                                              \
        (a) & 0xff, (a) >> 8 & 0xff, (a) >> 16 & 0xff, (a) >> 24, (b)&0xff, (b) >> 8, (c)&0xff,    \
            (c) >> 8, (d) >> 8, (d)&0xff, (uint64_t)(e) >> 40, (e) >> 32 & 0xff, (e) >> 24 & 0xff, \
            (e) >> 16 & 0xff, (e) >> 8 & 0xff, (e)&0xff                                            \
    }

static const struct {
    uint8_t type[16];
    const char *machine; /* as uname(2) has it */
    const char *also;    /* a larger one that runs it; NULL: none */
} roots[] = {
    {TYPE(0x4f68bce3, 0xe8cd, 0x4db1, 0x96e7, 0xfbcaf984b709), "x86_64", NULL},
    {TYPE(0x44479540, 0xf297, 0x41b2, 0x9af7, 0xd131d5f0458a), "i686", "x86_64"},
    {TYPE(0xb921b045, 0x1df0, 0x41c3, 0xaf44, 0x4c6f280d3fae), "aarch64", NULL},
    {TYPE(0x69dad710, 0x2ce4, 0x4e3c, 0xb16c, 0x21a1d49abed3), "arm", "aarch64"},
    {TYPE(0x72ec70a6, 0xcf74, 0x40e6, 0xbd49, 0x4bda08e8f224), "riscv64", NULL},
    {TYPE(0x60d5a7fe, 0x8e7d, 0x435c, 0xb714, 0x3dd8162144e1), "riscv32", "riscv64"},
    {TYPE(0xc31c45e6, 0x3f39, 0x412e, 0x80fb, 0x4809c4980599), "ppc64le", "ppc64"},
    {TYPE(0x912ade1d, 0xa839, 0x4913, 0x8964, 0xa10eee08fbd2), "ppc64", "ppc64le"},
    {TYPE(0x1de3f1ef, 0xfa98, 0x47b5, 0x8dcd, 0x4a860a654d78), "ppc", "ppc64"},
    {TYPE(0x5eead9a9, 0xfe09, 0x4a1e, 0xa1d7, 0x520d00531306), "s390x", NULL},
    {TYPE(0x08a7acea, 0x624c, 0x4a20, 0x91e8, 0x6e0fa67d23f9), "s390", "s390x"},
    {TYPE(0x77055800, 0x792c, 0x4f94, 0xb39a, 0x98c91b762bb6), "loongarch64", NULL},
    {TYPE(0x993d8d3d, 0xf80e, 0x4225, 0x855a, 0x9daf8ed7ea97), "ia64", NULL},
    {TYPE(0x37c58c8a, 0xd913, 0x4156, 0xa25f, 0x48b1b64e07f0), "mips", "mips64"},
    {TYPE(0x700bda43, 0x7a34, 0x4507, 0xb179, 0xeeb93d7a7ca3), "mips64", NULL},
};

/* ---- what the guest would read ---- */

enum { TABLE_ENTRY = 8, READS_AS_ZERO = 1 };
#define CLUSTER_OFFSET UINT64_C(0x00fffffffffffe00)
#define COMPRESSED (UINT64_C(1) << 62)
#define IN_USE_ONCE (UINT64_C(1) << 63)

/* An entry of a table of the file; false: it cannot be read. */
static bool read_entry(struct user_file *file, uint64_t table, uint64_t index, uint64_t *ret)
{
    uint8_t bytes[TABLE_ENTRY];
    bool is_read = table <= INT64_MAX / 2 &&
                   user_file_read_at(file, bytes, sizeof(bytes), table + index * TABLE_ENTRY) ==
                       (ssize_t)sizeof(bytes);
    *ret = is_read ? bytes_big(bytes, sizeof(bytes)) : 0;
    return is_read;
}

/* Where in the file a guest's cluster is, as its L2 table says; 0: nowhere, it reads as zeros. -1:
 * in another file. */
static int find_cluster(
    struct user_file *file, const struct qcow2_header *header, uint64_t cluster, uint64_t *ret)
{
    uint64_t n_l2 = ((uint64_t)1 << header->cluster_bits) / TABLE_ENTRY, l1, l2 = 0;
    if (header->has_data_file || header->has_extended_l2 || header->backing_size > 0 ||
        cluster / n_l2 >= header->n_l1_entries ||
        !read_entry(file, header->l1_offset, cluster / n_l2, &l1) ||
        ((l1 & CLUSTER_OFFSET) && !read_entry(file, l1 & CLUSTER_OFFSET, cluster % n_l2, &l2))) {
        return -1;
    }
    *ret = l2 & COMPRESSED                                ? l2 & ~IN_USE_ONCE
           : header->version >= 3 && (l2 & READS_AS_ZERO) ? 0
                                                          : l2 & CLUSTER_OFFSET;
    return 0;
}

/* "Compressed Clusters Descriptor" of the specification: an offset to the byte, and the number of
 * sectors that it reaches into beyond its first. */
static int read_compressed(struct user_file *file, const struct qcow2_header *header,
    uint64_t entry, void *bytes, size_t n, uint64_t skipped)
{
    unsigned offset_bits = 62 - (header->cluster_bits - 8);
    uint64_t offset = entry & ((UINT64_C(1) << offset_bits) - 1);
    uint64_t n_sectors = ((entry & ~COMPRESSED) >> offset_bits) + 1;
    size_t n_packed = (size_t)(n_sectors * IMAGE_SECTOR_SIZE - offset % IMAGE_SECTOR_SIZE);
    size_t size = (size_t)1 << header->cluster_bits;
    cleanup_free uint8_t *packed = mem_calloc(1, n_packed), *cluster = mem_calloc(1, size);
    ssize_t n_read = user_file_read_at(file, packed, n_packed, offset);
    size_t n_unpacked = n_read <= 0         ? 0
                        : header->uses_zstd ? image_unpack(packed, (size_t)n_read, cluster, size)
                                            : image_inflate(packed, (size_t)n_read, cluster, size);
    if (n_unpacked < size) {
        return -1;
    }
    memcpy(bytes, cluster + skipped, n);
    return 0;
}

static int read_cluster(struct user_file *file, const struct qcow2_header *header, uint64_t at,
    void *bytes, size_t n, uint64_t skipped)
{
    if (at & COMPRESSED) {
        return read_compressed(file, header, at, bytes, n, skipped);
    }
    if (!at) {
        memset(bytes, 0, n);
        return 0;
    }
    return user_file_read_at(file, bytes, n, at + skipped) == (ssize_t)n ? 0 : -1;
}

static int read_qcow2(struct user_file *file, const struct qcow2_header *header, void *bytes,
    size_t n, uint64_t offset)
{
    uint8_t *to = bytes;
    uint64_t size = (uint64_t)1 << header->cluster_bits;
    while (n > 0) {
        uint64_t at = 0, skipped = offset % size;
        size_t part = n < size - skipped ? n : (size_t)(size - skipped);
        if (find_cluster(file, header, offset >> header->cluster_bits, &at) < 0 ||
            read_cluster(file, header, at, to, part, skipped) < 0) {
            return -1;
        }
        to += part;
        offset += part;
        n -= part;
    }
    return 0;
}

/* False: it is not there, or cannot be read. */
static bool read_disk(struct user_file *file, const struct qcow2_header *qcow2, void *bytes,
    size_t n, uint64_t offset)
{
    return qcow2 ? read_qcow2(file, qcow2, bytes, n, offset) == 0
                 : user_file_read_at(file, bytes, n, offset) == (ssize_t)n;
}

/* The entries of the disk's GPT, `*ret_n` of them; NULL: it has none that can be read. free(). */
static uint8_t *read_entries(
    struct user_file *file, const struct qcow2_header *qcow2, size_t *ret_n)
{
    uint8_t header[GPT_ENTRY_SIZE + 4];
    if (!read_disk(file, qcow2, header, sizeof(header), IMAGE_SECTOR_SIZE) ||
        memcmp(header, "EFI PART", 8) != 0 ||
        bytes_little(header + GPT_ENTRY_SIZE, 4) != ENTRY_SIZE) {
        return NULL;
    }
    uint64_t at = bytes_little(header + GPT_ENTRIES, 8),
             n = bytes_little(header + GPT_N_ENTRIES, 4);
    n = n < N_ENTRIES_MAX ? n : N_ENTRIES_MAX;
    cleanup_free uint8_t *entries = mem_calloc(N_ENTRIES_MAX, ENTRY_SIZE);
    if (at > IMAGE_BYTES_MAX / IMAGE_SECTOR_SIZE ||
        !read_disk(file, qcow2, entries, n * ENTRY_SIZE, at * IMAGE_SECTOR_SIZE)) {
        return NULL;
    }
    *ret_n = n;
    return TAKE_PTR(entries);
}

/* -1: not a root partition. */
static int root_of(const uint8_t *entry)
{
    for (size_t i = 0; i < ARRAY_LEN(roots); i++) {
        if (memcmp(entry, roots[i].type, sizeof(roots[i].type)) == 0) {
            return (int)i;
        }
    }
    return -1;
}

/* ---- whose it is ---- */

/* i386 to i686 are one type of partition; and so are the names of 32-bit ARM. */
static bool runs_on(int root, const char *host)
{
    bool is_small_x86 = host[0] == 'i' && text_ends_with(host, "86");
    bool is_small_arm = strncmp(host, "arm", 3) == 0;
    const char *name = is_small_x86 ? "i686" : is_small_arm ? "arm" : host;
    return text_eq(roots[root].machine, name) || text_eq(roots[root].also, name);
}

int image_machine_check(struct user_file *file, const struct qcow2_header *qcow2,
    const char *machine, const char *title, struct error *err)
{
    struct utsname host;
    size_t n = 0;
    int other = -1;
    cleanup_free uint8_t *entries = read_entries(file, qcow2, &n);
    if (uname(&host) < 0) {
        return 0;
    }
    const char *wanted = machine ? machine : host.machine;
    bool is_host = text_eq(wanted, host.machine);
    for (size_t i = 0; i < n; i++) {
        int root = root_of(entries + i * ENTRY_SIZE);
        if (root >= 0 && runs_on(root, wanted)) {
            return 0;
        }
        other = root >= 0 ? root : other;
    }
    if (other < 0) {
        return 0;
    }
    const bool is_emulated = is_host && (text_eq(roots[other].machine, "aarch64") ||
                                            text_eq(roots[other].machine, "riscv64"));
    error_set(err, ERR_IMAGE_FORMAT,
        "%s is a disk for another type of computer: %s, and this %s is %s", title,
        roots[other].machine, is_host ? "host" : "VM", wanted);
    return error_help(err, "use the image for %s%s%s%s", wanted,
        text_eq(wanted, "x86_64")    ? " (many call it amd64)"
        : text_eq(wanted, "aarch64") ? " (many call it arm64)"
                                     : "",
        is_emulated ? "; or write: arch " : "", is_emulated ? roots[other].machine : "");
}
