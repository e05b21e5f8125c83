/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/image/qcow2.h"

#include <string.h>

#include "specs/base/error.h"

/* Offsets of the header's fields, all big-endian. */
enum {
    AT_VERSION = 4,
    AT_BACKING_OFFSET = 8,
    AT_BACKING_SIZE = 16,
    AT_CLUSTER_BITS = 20,
    AT_VIRTUAL_SIZE = 24,
    AT_CRYPT_METHOD = 32,
    AT_L1_SIZE = 36,
    AT_L1_OFFSET = 40,
    AT_INCOMPATIBLE = 72, /* version 3 */
    VERSION_2_SIZE = 72,
    MIN_CLUSTER_BITS = 9,
    MAX_CLUSTER_BITS = 21,
};

static const uint64_t incompatible_data_file = (uint64_t)1 << 2;
static const uint64_t incompatible_extended_l2 = (uint64_t)1 << 4;

static uint32_t read_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint64_t read_u64(const uint8_t *p)
{
    return (uint64_t)read_u32(p) << 32 | read_u32(p + 4);
}

bool qcow2_has_magic(const uint8_t *bytes, size_t n)
{
    return n >= 4 && memcmp(bytes, "QFI\xfb", 4) == 0;
}

/* The specification: the name stands in the first cluster and has at most 1023 bytes. */
static bool backing_is_in_bounds(const struct qcow2_header *header)
{
    uint64_t cluster_size = (uint64_t)1 << header->cluster_bits;
    if (header->backing_offset == 0) {
        return true;
    }
    return header->backing_size > 0 && header->backing_size <= QCOW2_BACKING_MAX &&
           header->backing_offset < cluster_size &&
           header->backing_size <= cluster_size - header->backing_offset;
}

int qcow2_parse(const uint8_t *bytes, size_t n, struct qcow2_header *ret, struct error *err)
{
    if (!qcow2_has_magic(bytes, n)) {
        return error_set(err, ERR_IMAGE_FORMAT, "not a qcow2 image");
    }
    uint32_t version = n >= AT_VERSION + 4 ? read_u32(bytes + AT_VERSION) : 0;
    if (n < VERSION_2_SIZE || (version == 3 && n < QCOW2_HEADER_SIZE)) {
        return error_set(err, ERR_IMAGE_FORMAT, "the qcow2 header is cut off");
    }
    if (version != 2 && version != 3) {
        return error_set(err, ERR_IMAGE_FORMAT, "qcow2 version %u is not supported", version);
    }
    struct qcow2_header header = {
        .version = version,
        .virtual_size = read_u64(bytes + AT_VIRTUAL_SIZE),
        .backing_offset = read_u64(bytes + AT_BACKING_OFFSET),
        .is_encrypted = read_u32(bytes + AT_CRYPT_METHOD) != 0,
        .cluster_bits = read_u32(bytes + AT_CLUSTER_BITS),
        .n_l1_entries = read_u32(bytes + AT_L1_SIZE),
        .l1_offset = read_u64(bytes + AT_L1_OFFSET),
    };
    header.backing_size = header.backing_offset ? read_u32(bytes + AT_BACKING_SIZE) : 0;
    uint64_t incompatible = version == 3 ? read_u64(bytes + AT_INCOMPATIBLE) : 0;
    header.has_data_file = (incompatible & incompatible_data_file) != 0;
    header.has_extended_l2 = (incompatible & incompatible_extended_l2) != 0;
    if (header.cluster_bits < MIN_CLUSTER_BITS || header.cluster_bits > MAX_CLUSTER_BITS ||
        header.virtual_size > INT64_MAX || !backing_is_in_bounds(&header)) {
        return error_set(err, ERR_IMAGE_FORMAT, "the qcow2 header is damaged");
    }
    *ret = header;
    return 0;
}
