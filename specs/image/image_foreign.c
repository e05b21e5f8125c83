/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/image/image_foreign.h"

#include <stdbool.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/image/bytes.h"

enum {
    VMDK_CAPACITY = 12,   /* u64, little-endian: sectors */
    VMDK_DESCRIPTOR = 28, /* u64, little-endian: sector */
    VMDK_HEADER_SIZE = 79,
    VMDK_TEXT = 512, /* where QEMU searches the descriptor, whatever the header says */
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

static const char derived[] = "it needs the disk it was derived from";

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

const struct image_foreign *image_foreign_of_footer(
    const uint8_t footer[IMAGE_FOREIGN_FOOTER_SIZE], uint64_t file_size)
{
    uint32_t sum = 0;
    for (int i = 0; i < IMAGE_FOREIGN_FOOTER_SIZE; i++) {
        bool is_checksum = i >= VHD_CHECKSUM && i < VHD_CHECKSUM + 4;
        sum += is_checksum ? 0 : footer[i];
    }
    bool is_fixed = memcmp(footer, formats[VHD].magic, formats[VHD].n) == 0 &&
                    bytes_big(footer + VHD_TYPE, 4) == VHD_FIXED &&
                    bytes_big(footer + VHD_CHECKSUM, 4) == (uint32_t)~sum &&
                    bytes_big(footer + VHD_SIZE, 8) == file_size - IMAGE_FOREIGN_FOOTER_SIZE;
    return is_fixed ? &formats[VHD].format : NULL;
}

bool image_foreign_is_vhdx(const struct image_foreign *format)
{
    return format == &formats[VHDX].format;
}

/* QEMU opens the file that this line names, in either sparse format. */
static bool vmdk_has_parent(const uint8_t *head, size_t n)
{
    static const char parent_key[] = "parentFileNameHint";
    return memmem(head, n, parent_key, strlen(parent_key)) != NULL;
}

/* QEMU takes a header without a capacity for a wrapped description, and opens the files it lists.
 */
static const char *vmdk_dependency(const uint8_t *head, size_t n)
{
    if (n < VMDK_HEADER_SIZE) {
        return "its header is truncated";
    }
    if (bytes_little(head + VMDK_CAPACITY, 8) == 0) {
        return "it is a description of other files";
    }
    uint64_t sector = bytes_little(head + VMDK_DESCRIPTOR, 8);
    bool has_text =
        n > VMDK_TEXT && memmem(head + VMDK_TEXT, n - VMDK_TEXT, vmdk_title, strlen(vmdk_title));
    if (sector == 0 || (sector == 1 && !has_text)) {
        return "it is one part of a disk split into several files";
    }
    return vmdk_has_parent(head, n) ? derived : NULL;
}

const char *image_foreign_dependency(const uint8_t *head, size_t n)
{
    bool has_parent = false;
    switch (kind_of(head, n)) {
    case VMDK_SPARSE:
        return vmdk_dependency(head, n);
    case VMDK_OLD:
        has_parent = vmdk_has_parent(head, n);
        break;
    case VMDK_DESCRIPTION:
        return "it is a description of other files";
    case VHD:
        has_parent = n < VHD_TYPE + 4 || head[VHD_TYPE + 3] == VHD_DIFFERENCING;
        break;
    case QED:
        has_parent = n < QED_FEATURES + 8 || (head[QED_FEATURES] & QED_BACKING_FILE);
        break;
    default:
        break;
    }
    return has_parent ? derived : NULL;
}

uint64_t image_foreign_size(const uint8_t *head, size_t n)
{
    if (kind_of(head, n) != VDI || n < VDI_N_ALLOCATED + 4) {
        return 0;
    }
    /* 32 bits each: the product fits */
    return bytes_little(head + VDI_DATA, 4) +
           bytes_little(head + VDI_BLOCK_SIZE, 4) * bytes_little(head + VDI_N_ALLOCATED, 4);
}
