/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/archive/tar_header.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "specs/base/fs.h"

/* pax(1), "ustar Interchange Format". */
struct ustar {
    char name[100];
    char mode[8], uid[8], gid[8];
    char size[12], mtime[12];
    char checksum[8];
    char type;
    char link_name[100];
    char magic[6], version[2];
    char user[32], group[32];
    char device_major[8], device_minor[8];
    char prefix[155];
    char padding[12];
};
_Static_assert(sizeof(struct ustar) == TAR_BLOCK, "a header is one block");

/* Octal digits hold less than this; larger sizes are written in binary behind a mark. */
#define OCTAL_SIZE_END (UINT64_C(1) << 33)
enum { BINARY_MARK = 0x80 };

static unsigned checksum_of(const struct ustar *header)
{
    struct ustar copy = *header;
    const uint8_t *bytes = (const uint8_t *)&copy;
    unsigned sum = 0;
    memset(copy.checksum, ' ', sizeof(copy.checksum));
    for (size_t i = 0; i < sizeof(copy); i++) {
        sum += bytes[i];
    }
    return sum;
}

static void write_size(uint64_t size, char ret[12])
{
    if (size < OCTAL_SIZE_END) {
        (void)snprintf(ret, 12, "%011llo", (unsigned long long)size);
        return;
    }
    memset(ret, 0, 12);
    ret[0] = (char)BINARY_MARK;
    for (int i = 11; size > 0; i--, size >>= 8) {
        ret[i] = (char)(size & 0xff);
    }
}

void tar_header_write(const struct tar_member *member, uint8_t ret[TAR_BLOCK])
{
    struct ustar header = {.type = '0', .magic = "ustar", .version = {'0', '0'}};
    (void)snprintf(header.name, sizeof(header.name), "%s", member->name);
    (void)snprintf(header.mode, sizeof(header.mode), "%07o", 0600);
    (void)snprintf(header.uid, sizeof(header.uid), "%07o", 0);
    (void)snprintf(header.gid, sizeof(header.gid), "%07o", 0);
    (void)snprintf(header.mtime, sizeof(header.mtime), "%011o", 0);
    write_size(member->size, header.size);
    (void)snprintf(header.checksum, sizeof(header.checksum), "%06o", checksum_of(&header));
    header.checksum[7] = ' ';
    memcpy(ret, &header, sizeof(header));
}

/* Digits, then a NUL, a space or the end. */
static bool read_octal(const char *text, size_t n, uint64_t *ret)
{
    size_t i = 0;
    uint64_t value = 0;
    for (; i < n && text[i] >= '0' && text[i] <= '7'; i++) {
        value = value << 3 | (uint64_t)(text[i] - '0');
    }
    *ret = value;
    return i > 0 && (i == n || text[i] == '\0' || text[i] == ' ');
}

static bool read_size(const char text[12], uint64_t *ret)
{
    const uint8_t *bytes = (const uint8_t *)text;
    if (bytes[0] != BINARY_MARK) {
        return read_octal(text, 12, ret);
    }
    *ret = 0;
    for (int i = 4; i < 12; i++) {
        *ret = *ret << 8 | bytes[i];
    }
    return bytes[1] == 0 && bytes[2] == 0 && bytes[3] == 0 && *ret <= INT64_MAX;
}

static bool is_zero(const uint8_t bytes[TAR_BLOCK])
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, TAR_BLOCK - 1) == 0;
}

enum tar_header_kind tar_header_read(const uint8_t bytes[TAR_BLOCK], struct tar_member *ret)
{
    struct ustar header;
    uint64_t sum = 0;
    if (is_zero(bytes)) {
        return TAR_END;
    }
    memcpy(&header, bytes, sizeof(header));
    if (memcmp(header.magic, "ustar", 5) != 0 ||
        !read_octal(header.checksum, sizeof(header.checksum), &sum) ||
        sum != checksum_of(&header) || !read_size(header.size, &ret->size)) {
        return TAR_DAMAGED;
    }
    memcpy(ret->name, header.name, sizeof(ret->name));
    ret->name[sizeof(ret->name) - 1] = '\0';
    bool is_file = header.type == '0' || header.type == '\0';
    return is_file && !header.prefix[0] && fs_is_entry_name(ret->name) ? TAR_FILE : TAR_OTHER;
}
