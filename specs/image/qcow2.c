/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/image/qcow2.h"

#include <string.h>

#include "specs/base/error.h"
#include "specs/image/bytes.h"
#include "specs/image/image_format.h"

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
    AT_REFCOUNT_OFFSET = 48,
    AT_REFCOUNT_CLUSTERS = 56,
    AT_INCOMPATIBLE = 72, /* version 3 */
    AT_REFCOUNT_ORDER = 96,
    AT_HEADER_LENGTH = 100,
    VERSION_2_SIZE = 72,
    MIN_CLUSTER_BITS = 9,
    MAX_CLUSTER_BITS = 21,
};

static const uint64_t incompatible_data_file = (uint64_t)1 << 2;
static const uint64_t incompatible_compression = (uint64_t)1 << 3; /* zstd is the only other one */
static const uint64_t incompatible_extended_l2 = (uint64_t)1 << 4;
static const uint64_t incompatible_known = ((uint64_t)1 << 5) - 1;

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
        return error_set(err, ERR_IMAGE_FORMAT, "the qcow2 header is truncated");
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
    if (incompatible & ~incompatible_known) {
        return error_set(err, ERR_IMAGE_FORMAT, "the image uses features that are not known");
    }
    header.has_data_file = (incompatible & incompatible_data_file) != 0;
    header.uses_zstd = (incompatible & incompatible_compression) != 0;
    header.has_extended_l2 = (incompatible & incompatible_extended_l2) != 0;
    if (header.cluster_bits < MIN_CLUSTER_BITS || header.cluster_bits > MAX_CLUSTER_BITS ||
        header.virtual_size > INT64_MAX || !backing_is_in_bounds(&header)) {
        return error_set(err, ERR_IMAGE_FORMAT, "the qcow2 header is damaged");
    }
    *ret = header;
    return 0;
}

int qcow2_make_overlay(const char *backing, const char *format, uint64_t virtual_size,
    struct qcow2_overlay *ret, struct error *err)
{
    enum { AT_FORMAT = QCOW2_HEADER_SIZE, N_BEFORE_L1 = 3 };
    const uint32_t backing_format = 0xe2792aca;
    const uint64_t bytes_an_l1_entry = (uint64_t)QCOW2_CLUSTER / 8 * QCOW2_CLUSTER;
    size_t length = backing ? strlen(backing) : 0, format_length = backing ? strlen(format) : 0;
    if (length > QCOW2_BACKING_MAX) {
        return error_set(err, ERR_OVERLAY, "the path of its base image has %zu bytes, more than %d",
            length, QCOW2_BACKING_MAX);
    }
    if (virtual_size > IMAGE_BYTES_MAX) {
        return error_set(err, ERR_OVERLAY, "%llu GiB are more than 64 TiB",
            (unsigned long long)(virtual_size >> 30));
    }
    uint64_t size = (virtual_size + IMAGE_SECTOR_SIZE - 1) & ~(uint64_t)(IMAGE_SECTOR_SIZE - 1);
    uint64_t n_l1 = (size + bytes_an_l1_entry - 1) / bytes_an_l1_entry;
    uint64_t n_clusters = N_BEFORE_L1 + (n_l1 * 8 + QCOW2_CLUSTER - 1) / QCOW2_CLUSTER;
    /* The name comes after the extensions: the format, padded to 8 bytes, and their end. */
    size_t at_name = AT_FORMAT + 8 + ((format_length + 7) & ~(size_t)7) + 8;
    *ret = (struct qcow2_overlay){.file_size = n_clusters * QCOW2_CLUSTER};
    uint8_t *head = ret->head;
    memcpy(head, "QFI\xfb", 4);
    bytes_put_big(head + AT_VERSION, 3, 4);
    bytes_put_big(head + AT_CLUSTER_BITS, 16, 4);
    bytes_put_big(head + AT_VIRTUAL_SIZE, size, 8);
    bytes_put_big(head + AT_L1_SIZE, n_l1, 4);
    bytes_put_big(head + AT_L1_OFFSET, (uint64_t)N_BEFORE_L1 * QCOW2_CLUSTER, 8);
    bytes_put_big(head + AT_REFCOUNT_OFFSET, QCOW2_CLUSTER, 8);
    bytes_put_big(head + AT_REFCOUNT_CLUSTERS, 1, 4);
    bytes_put_big(head + AT_REFCOUNT_ORDER, 4, 4);
    bytes_put_big(head + AT_HEADER_LENGTH, QCOW2_HEADER_SIZE, 4);
    if (backing) { /* else zeros: no extension, no name */
        bytes_put_big(head + AT_BACKING_OFFSET, at_name, 8);
        bytes_put_big(head + AT_BACKING_SIZE, length, 4);
        bytes_put_big(head + AT_FORMAT, backing_format, 4);
        bytes_put_big(head + AT_FORMAT + 4, format_length, 4);
        memcpy(head + AT_FORMAT + 8, format, format_length);
        memcpy(head + at_name, backing, length);
    }
    bytes_put_big(ret->refcount_table, 2 * QCOW2_CLUSTER, 8);
    for (uint64_t i = 0; i < n_clusters; i++) { /* at most 19, of 64 TiB */
        bytes_put_big(ret->refcounts + 2 * i, 1, 2);
    }
    return 0;
}
