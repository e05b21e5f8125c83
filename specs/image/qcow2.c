/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/image/qcow2.h"

#include <string.h>

#include "specs/base/error.h"
#include "specs/image/bytes.h"

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

bool qcow2_has_magic(const uint8_t *bytes, size_t n)
{
    return n >= 4 && memcmp(bytes, "QFI\xfb", 4) == 0;
}

/* The specification: the name is in the first cluster and has at most 1023 bytes. */
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
    uint32_t version = n >= AT_VERSION + 4 ? (uint32_t)bytes_big(bytes + AT_VERSION, 4) : 0;
    if (n < VERSION_2_SIZE || (version == 3 && n < QCOW2_HEADER_SIZE)) {
        return error_set(err, ERR_IMAGE_FORMAT, "the qcow2 header is cut off");
    }
    if (version != 2 && version != 3) {
        return error_set(err, ERR_IMAGE_FORMAT, "qcow2 version %u is not supported", version);
    }
    struct qcow2_header header = {
        .version = version,
        .virtual_size = bytes_big(bytes + AT_VIRTUAL_SIZE, 8),
        .backing_offset = bytes_big(bytes + AT_BACKING_OFFSET, 8),
        .is_encrypted = bytes_big(bytes + AT_CRYPT_METHOD, 4) != 0,
        .cluster_bits = (uint32_t)bytes_big(bytes + AT_CLUSTER_BITS, 4),
        .n_l1_entries = (uint32_t)bytes_big(bytes + AT_L1_SIZE, 4),
        .l1_offset = bytes_big(bytes + AT_L1_OFFSET, 8),
    };
    header.backing_size =
        header.backing_offset ? (uint32_t)bytes_big(bytes + AT_BACKING_SIZE, 4) : 0;
    uint64_t incompatible = version == 3 ? bytes_big(bytes + AT_INCOMPATIBLE, 8) : 0;
    header.has_data_file = (incompatible & incompatible_data_file) != 0;
    header.has_extended_l2 = (incompatible & incompatible_extended_l2) != 0;
    if (header.cluster_bits < MIN_CLUSTER_BITS || header.cluster_bits > MAX_CLUSTER_BITS ||
        header.virtual_size > INT64_MAX || !backing_is_in_bounds(&header)) {
        return error_set(err, ERR_IMAGE_FORMAT, "the qcow2 header is damaged");
    }
    *ret = header;
    return 0;
}
