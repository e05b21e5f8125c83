/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/image/image_stranger.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/text.h"
#include "specs/base/user_path.h"
#include "specs/image/bytes.h"
#include "specs/image/image_format.h"

static const char tar_archive[] = "a tar archive", web_page[] = "a web page",
                  iso_image[] = "an ISO 9660 image";

/* POSIX.1-2008, pax "ustar Interchange Format" and the older ones, whose magic GNU tar writes, too;
 * APPNOTE.TXT 4.3.7 and 4.3.16; RPM's lead; ar(5) of Debian packages; PDF and ELF. */
static const struct {
    size_t offset;
    const char *bytes;
    size_t n;
    const char *what;
} magics[] = {
    {257, "ustar", 5, tar_archive},
    {0, "PK\3\4", 4, "a zip archive"},
    {0, "PK\5\6", 4, "an empty zip archive"},
    {0, "7z\xbc\xaf\x27\x1c", 6, "a 7z archive"},
    {0, "Rar!\x1a\x07", 6, "a RAR archive"},
    {0, "!<arch>\n", 8, "an ar archive"},
    {0, "\xed\xab\xee\xdb", 4, "an RPM package"},
    {0, "%PDF-", 5, "a PDF document"},
    {0,
        "\x7f"
        "ELF",
        4, "an ELF program"},
};

/* HTML and XML, whatever the case and whatever blanks and byte order mark come first. */
static bool is_page(const uint8_t *head, size_t n)
{
    static const char *const beginnings[] = {"<!doctype html", "<html", "<head", "<?xml", "<body"};
    const char *text = (const char *)head;
    size_t skipped = n >= 3 && memcmp(head, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    while (skipped < n && strchr(" \t\r\n", text[skipped]) && text[skipped]) {
        skipped++;
    }
    for (size_t i = 0; i < ARRAY_LEN(beginnings); i++) {
        size_t length = strlen(beginnings[i]);
        if (n - skipped >= length && strncasecmp(text + skipped, beginnings[i], length) == 0) {
            return true;
        }
    }
    return false;
}

const char *image_stranger_of_head(const uint8_t *head, size_t n)
{
    for (size_t i = 0; i < ARRAY_LEN(magics); i++) {
        if (n >= magics[i].offset + magics[i].n &&
            memcmp(head + magics[i].offset, magics[i].bytes, magics[i].n) == 0) {
            return magics[i].what;
        }
    }
    return is_page(head, n) ? web_page : NULL;
}

int image_stranger_error(const char *title, const char *what, struct error *err)
{
    error_set(err, ERR_IMAGE_FORMAT, "%s is not a disk image: it is %s", title, what);
    if (what == web_page) {
        return error_help(err, "the address leads to a page: name that of the image itself");
    }
    if (what == iso_image) {
        return error_help(err, "that is an installation medium: name a cloud image of the system, "
                               "which is a disk with the system on it");
    }
    return error_help(err, "if it holds a disk image, unpack it (tar xf, unzip) and name that one");
}

/* UEFI 2.10, 5.3.2: the header at LBA 1 names the LBA of its copy, which is the disk's last. */
static int check_partition_table(struct user_file *file, const char *title, struct error *err)
{
    uint8_t header[40];
    if (user_file_read_at(file, header, sizeof(header), IMAGE_SECTOR_SIZE) !=
            (ssize_t)sizeof(header) ||
        memcmp(header, "EFI PART", 8) != 0) {
        return 0;
    }
    uint64_t last = bytes_little(header + 32, 8);
    if (last < file->size / IMAGE_SECTOR_SIZE) {
        return 0;
    }
    error_set(err, ERR_IMAGE_FORMAT,
        "%s is cut off: it has %llu bytes, and its partition table is that of a larger disk", title,
        (unsigned long long)file->size);
    return error_help(err, "get the image again: it was not copied or downloaded to its end");
}

int image_stranger_check(struct user_file *file, const char *title, struct error *err)
{
    enum { ISO_DESCRIPTOR = 16 * 2048 + 1 }; /* ECMA-119, 8.1: the first descriptor's identifier */
    uint8_t head[IMAGE_HEAD_SIZE] = {0}, iso[5] = {0};
    ssize_t n = user_file_read_at(file, head, sizeof(head), 0);
    if (n < 0 || user_file_read_at(file, iso, sizeof(iso), ISO_DESCRIPTOR) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot read %s", title);
    }
    const char *what = image_stranger_of_head(head, (size_t)n);
    what = !what && memcmp(iso, "CD001", sizeof(iso)) == 0 ? iso_image : what;
    return what ? image_stranger_error(title, what, err) : check_partition_table(file, title, err);
}
