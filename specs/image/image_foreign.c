/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/image/image_foreign.h"

#include <stdbool.h>
#include <string.h>

#include "specs/base/cleanup.h"

enum {
    VMDK_CAPACITY = 12,   /* u64, little-endian: sectors */
    VMDK_DESCRIPTOR = 28, /* u64, little-endian: sector */
    VMDK_HEADER_SIZE = 79,
    VMDK_TEXT = 512, /* where QEMU looks for the descriptor, whatever the header says */
    VHD_TYPE = 60,   /* u32, big-endian */
    VHD_DIFFERENCING = 4,
    VHD_FIXED = 2,
    VHD_SIZE = 48,     /* u64, big-endian: of the disk */
    VHD_CHECKSUM = 64, /* u32, big-endian: one's complement of the sum of the other bytes */
    VDI_DATA = 0x158,  /* u32, little-endian: offset of the first block */
    VDI_BLOCK_SIZE = 0x178,
    VDI_N_ALLOCATED = 0x184,
    QED_FEATURES = 16, /* u64, little-endian */
    QED_BACKING_FILE = 1,
};

/* The descriptor's first line. */
static const char vmdk_title[] = "# Disk DescriptorFile";

enum kind { VMDK_SPARSE, VMDK_OLD, VMDK_DESCRIPTION, VHDX, VHD, VDI, QED };

static const struct {
    struct image_foreign format;
    const char *magic;
    size_t offset, n;
} formats[] = {
    [VMDK_SPARSE] = {{"VMDK", "vmdk", true}, "KDMV", 0, 4},
    [VMDK_OLD] = {{"VMDK", "vmdk", true}, "COWD", 0, 4},
    [VMDK_DESCRIPTION] = {{"VMDK", "vmdk", true}, vmdk_title, 0, sizeof(vmdk_title) - 1},
    [VHDX] = {{"VHDX", "vhdx", false}, "vhdxfile", 0, 8},
    [VHD] = {{"VHD", "vpc", false}, "conectix", 0, 8},
    [VDI] = {{"VDI", "vdi", false}, "\x7f\x10\xda\xbe", 64, 4},
    [QED] = {{"QED", "qed", true}, "QED\0", 0, 4},
};

/* -1: none. */
static int kind_of(const uint8_t *head, size_t n)
{
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        if (n >= formats[i].offset + formats[i].n &&
            memcmp(head + formats[i].offset, formats[i].magic, formats[i].n) == 0) {
            return (int)i;
        }
    }
    return -1;
}

const struct image_foreign *image_foreign_format(const uint8_t *head, size_t n)
{
    int kind = kind_of(head, n);
    return kind < 0 ? NULL : &formats[kind].format;
}

static uint64_t little(const uint8_t *p, int n)
{
    uint64_t value = 0;
    while (n > 0) {
        value = value << 8 | p[--n];
    }
    return value;
}

static uint64_t little_u64(const uint8_t *p)
{
    return little(p, 8);
}

static uint64_t big(const uint8_t *p, int n)
{
    uint64_t value = 0;
    for (int i = 0; i < n; i++) {
        value = value << 8 | p[i];
    }
    return value;
}

const struct image_foreign *image_foreign_of_footer(
    const uint8_t footer[IMAGE_FOREIGN_FOOTER_SIZE], uint64_t file_size)
{
    uint32_t sum = 0;
    for (int i = 0; i < IMAGE_FOREIGN_FOOTER_SIZE; i++) {
        bool is_checksum = i >= VHD_CHECKSUM && i < VHD_CHECKSUM + 4;
        sum += is_checksum ? 0 : footer[i];
    }
    bool is_fixed = memcmp(footer, formats[VHD].magic, formats[VHD].n) == 0 &&
                    big(footer + VHD_TYPE, 4) == VHD_FIXED &&
                    big(footer + VHD_CHECKSUM, 4) == (uint32_t)~sum &&
                    big(footer + VHD_SIZE, 8) == file_size - IMAGE_FOREIGN_FOOTER_SIZE;
    return is_fixed ? &formats[VHD].format : NULL;
}

bool image_foreign_is_vhdx(const struct image_foreign *format)
{
    return format == &formats[VHDX].format;
}

static bool contains(const uint8_t *bytes, size_t n, const char *text)
{
    return memmem(bytes, n, text, strlen(text)) != NULL;
}

/* QEMU opens the file that this line names, in either sparse format. */
static bool vmdk_has_parent(const uint8_t *head, size_t n)
{
    return contains(head, n, "parentFileNameHint");
}

/* QEMU takes a header without a capacity for a wrapped description, and opens the files it lists.
 */
static const char *vmdk_dependency(const uint8_t *head, size_t n)
{
    if (n < VMDK_HEADER_SIZE) {
        return "its header is cut off";
    }
    if (little_u64(head + VMDK_CAPACITY) == 0) {
        return "it is a description of other files";
    }
    uint64_t sector = little_u64(head + VMDK_DESCRIPTOR);
    bool has_text = n > VMDK_TEXT && contains(head + VMDK_TEXT, n - VMDK_TEXT, vmdk_title);
    if (sector == 0 || (sector == 1 && !has_text)) {
        return "it is one part of a disk split into several files";
    }
    return vmdk_has_parent(head, n) ? "it needs the disk it was derived from" : NULL;
}

static const char *differencing(bool has_parent)
{
    return has_parent ? "it needs the disk it was derived from" : NULL;
}

const char *image_foreign_dependency(const uint8_t *head, size_t n)
{
    switch (kind_of(head, n)) {
    case VMDK_SPARSE:
        return vmdk_dependency(head, n);
    case VMDK_OLD:
        return differencing(vmdk_has_parent(head, n));
    case VMDK_DESCRIPTION:
        return "it is a description of other files";
    case VHD:
        return differencing(n < VHD_TYPE + 4 || head[VHD_TYPE + 3] == VHD_DIFFERENCING);
    case QED:
        return differencing(n < QED_FEATURES + 8 || (head[QED_FEATURES] & QED_BACKING_FILE));
    default:
        return NULL;
    }
}

uint64_t image_foreign_size(const uint8_t *head, size_t n)
{
    if (kind_of(head, n) != VDI || n < VDI_N_ALLOCATED + 4) {
        return 0;
    }
    /* 32 bits each: the product fits */
    return little(head + VDI_DATA, 4) +
           little(head + VDI_BLOCK_SIZE, 4) * little(head + VDI_N_ALLOCATED, 4);
}
