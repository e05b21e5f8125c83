/* SPDX-License-Identifier: MPL-2.0 */
/* Any bytes in place of an image: its qcow2 header is refused, or within the bounds that qcow2.h
 * promises; its tables, as a qcow2's and as a VHDX's, lead nowhere but to an end. */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "specs/image/image_end.h"
#include "specs/base/error.h"
#include "specs/base/user_path.h"
#include "specs/image/qcow2.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* VHDX's tables begin at 192 KiB: there the input stands a second time. */
static int make_file(const uint8_t *bytes, size_t n)
{
    int fd = memfd_create("image", MFD_CLOEXEC);
    if (fd < 0 || pwrite(fd, bytes, n, 0) != (ssize_t)n ||
        pwrite(fd, bytes, n, 192 * 1024) != (ssize_t)n) {
        abort();
    }
    return fd;
}

static void find_ends(const uint8_t *bytes, size_t n)
{
    struct qcow2_header header;
    struct error err = {0};
    uint64_t end = 0;
    int fd = make_file(bytes, n);
    struct user_file file = {.fd = fd, .size = 192 * 1024 + n};
    if (qcow2_parse(bytes, n, &header, &err) == 0 &&
        (qcow2_find_end(&file, &header, &end, &err) < 0 || (header.has_data_file && end != 0))) {
        abort();
    }
    if (vhdx_find_end(&file, &end, &err) < 0) {
        abort();
    }
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct qcow2_header header;
    struct error err = {0};
    find_ends(bytes, n);
    if (qcow2_parse(bytes, n, &header, &err) < 0) {
        return 0;
    }
    uint64_t end = header.backing_offset + header.backing_size;
    if (header.backing_size > QCOW2_BACKING_MAX || end > ((uint64_t)1 << 21) ||
        header.virtual_size > INT64_MAX) {
        abort();
    }
    return 0;
}
