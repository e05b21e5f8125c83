/* SPDX-License-Identifier: MPL-2.0 */
/* Any bytes in place of a qcow2 header: refused, or within the bounds that qcow2.h promises. */
#include <stdint.h>
#include <stdlib.h>

#include "specs/qcow2.h"
#include "specs/base/error.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct qcow2_header header;
    struct error err = {0};
    if (qcow2_parse(bytes, n, &header, &err) < 0) {
        return 0;
    }
    uint64_t end = header.backing_offset + header.backing_size;
    if (header.backing_size > QCOW2_BACKING_MAX || end > ((uint64_t)1 << 21)
        || header.virtual_size > INT64_MAX) {
        abort();
    }
    return 0;
}
