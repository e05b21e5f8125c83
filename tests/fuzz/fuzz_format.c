/* SPDX-License-Identifier: MPL-2.0 */
/*
 * libFuzzer target: what parses can be formatted, what was formatted stays as it is and still means
 * the same, which vmfile_format() checks itself.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/error.h"
#include "specs/vmfile/vmfile_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf once = BUF_INIT(0), twice = BUF_INIT(0);
    struct error err = {.code = ERR_NONE};
    /* A copy of its own size: reading past the end is seen. */
    char *text = malloc(size ? size : 1);
    memcpy(text, data ? (const char *)data : "", size);
    if (vmfile_format(text, size, &once, &err) == 0) {
        if (vmfile_format(once.data, once.len, &twice, &err) != 0 || once.len != twice.len ||
            memcmp(buf_str(&once), buf_str(&twice), once.len) != 0) {
            abort();
        }
    } else if (err.code != ERR_VMFILE_PARSE) {
        abort();
    }
    free(text);
    buf_clear(&once);
    buf_clear(&twice);
    return 0;
}
