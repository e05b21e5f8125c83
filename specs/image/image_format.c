/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/image/image_format.h"

#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/text.h"

struct magic {
    const char *bytes;
    size_t offset;
    size_t n;
};

static const struct {
    const char *name;
    const char *suffixes[2];
    struct magic magic;
} compressions[] = {
    [COMPRESSION_NONE] = {"none", {NULL, NULL}, {NULL, 0, 0}},
    [COMPRESSION_ZSTD] = {"zstd", {".zst", ".zstd"}, {"\x28\xb5\x2f\xfd", 0, 4}}, /* RFC 8878 */
    [COMPRESSION_GZIP] = {"gzip", {".gz", NULL}, {"\x1f\x8b", 0, 2}},             /* RFC 1952 */
    [COMPRESSION_XZ] = {"xz", {".xz", NULL},
        {"\xfd"
         "7zXZ\0",
            0, 6}},
    [COMPRESSION_BZIP2] = {"bzip2", {".bz2", NULL}, {"BZh", 0, 3}},
};
_Static_assert(ARRAY_LEN(compressions) == COMPRESSION_COUNT_, "every compression has a row");

const char *image_format_name(enum image_format format)
{
    return format == IMAGE_QCOW2 ? "qcow2" : "raw";
}

const char *compression_name(enum compression compression)
{
    return compressions[compression].name;
}

enum compression compression_of_name(const char *path)
{
    for (int c = COMPRESSION_NONE + 1; c < COMPRESSION_COUNT_; c++) {
        for (size_t i = 0; i < ARRAY_LEN(compressions[c].suffixes); i++) {
            const char *suffix = compressions[c].suffixes[i];
            if (suffix && text_ends_with(path, suffix)) {
                return (enum compression)c;
            }
        }
    }
    return COMPRESSION_NONE;
}

enum compression compression_of_head(const uint8_t *head, size_t n)
{
    enum compression found = COMPRESSION_NONE;
    for (int c = COMPRESSION_NONE + 1; c < COMPRESSION_COUNT_; c++) {
        const struct magic *magic = &compressions[c].magic;
        if (n >= magic->offset + magic->n &&
            memcmp(head + magic->offset, magic->bytes, magic->n) == 0) {
            found = (enum compression)c;
        }
    }
    return found;
}
