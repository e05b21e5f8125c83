/* SPDX-License-Identifier: MPL-2.0 */
/* Any bytes in place of a qcow2 header: refused, or within the bounds that qcow2.h promises; and
 * the same bytes in place of its tables. */
#include <stdint.h>
#include <stdlib.h>

#include <string.h>

#include "specs/base/error.h"
#include "specs/image/qcow2_extent.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check_tables(const struct qcow2_header *header, const uint8_t *bytes, size_t n)
{
    static uint8_t table[1 << 21]; /* the largest cluster */
    struct error ignored[4] = {0};
    uint64_t offset = 0;
    size_t kept = n < sizeof(table) ? n : sizeof(table);
    if (qcow2_check_tables(header, n, &ignored[0]) == 0 &&
        (header->n_l1_entries > 4 << 20 || (header->n_l1_entries && header->l1_offset > n))) {
        abort();
    }
    memset(table, 0, (size_t)1 << header->cluster_bits);
    memcpy(table, bytes, kept);
    (void)qcow2_check_refcount_entry(header, table, n, &ignored[1]);
    if (qcow2_check_l1_entry(header, table + n % 64, n, &offset, &ignored[2]) == 0 && offset >= n &&
        offset != 0) {
        abort();
    }
    (void)qcow2_check_l2_table(header, table, n % (4 << 20), n, &ignored[3]);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct qcow2_header header;
    struct error err = {0};
    if (qcow2_parse(bytes, n, &header, &err) < 0) {
        return 0;
    }
    uint64_t end = header.backing_offset + header.backing_size;
    if (header.backing_size > QCOW2_BACKING_MAX || end > ((uint64_t)1 << 21) ||
        header.virtual_size > INT64_MAX) {
        abort();
    }
    check_tables(&header, bytes, n);
    return 0;
}
