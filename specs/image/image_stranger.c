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

#define A_CLOUD_IMAGE "name a cloud image of the system, which is a disk with the system on it"

static const char unpack[] = "if it holds a disk image, unpack it (tar xf, unzip) and use that one";
static const char name_image[] = "use the image itself, a qcow2 or raw file";
static const char name_disk[] = "it holds files, not a bootable disk: " A_CLOUD_IMAGE;
static const char name_cloud[] = "that is an installation medium: " A_CLOUD_IMAGE;
static const char page_of[] = "the URL leads to a page: use the URL of the image itself";
static const char open_luks[] = "vmctl cannot open it: cryptsetup open IMAGE disk, then qemu-img "
                                "convert -f raw -O qcow2 /dev/mapper/disk NEW.qcow2";
static const char convert_parallels[] =
    "convert it: qemu-img convert -f parallels -O qcow2 IMAGE NEW.qcow2";
static const char get_lfs[] = "fetch the file that it stands for: git lfs pull";

/* POSIX.1-2008, pax "ustar Interchange Format" and the older ones, whose magic GNU tar writes, too,
 * and cpio(5); APPNOTE.TXT 4.3.7 and 4.3.16; RPM's lead; ar(5) of Debian packages; LUKS 1 and 2;
 * squashfs' superblock; RFC 2083 (PNG); QEMU's docs/interop/parallels.txt. A document is known by
 * what no boot sector begins with. */
static const struct {
    size_t offset;
    const char *bytes;
    size_t n;
    const char *what;
    const char *help;
} magics[] = {
    {257, "ustar", 5, tar_archive, unpack},
    {0, "PK\3\4", 4, "a zip archive", unpack},
    {0, "PK\5\6", 4, "an empty zip archive", unpack},
    {0, "7z\xbc\xaf\x27\x1c", 6, "a 7z archive", unpack},
    {0, "Rar!\x1a\x07", 6, "a RAR archive", unpack},
    {0, "!<arch>\n", 8, "an ar archive", unpack},
    {0, "\xed\xab\xee\xdb", 4, "an RPM package", unpack},
    {0, "070701", 6, "a cpio archive", name_disk},
    {0, "070702", 6, "a cpio archive", name_disk},
    {0, "070707", 6, "a cpio archive", name_disk},
    {0, "hsqs", 4, "a squashfs file system", name_disk},
    {0, "LUKS\xba\xbe", 6, "an encrypted LUKS container", open_luks},
    {0, "\x89PNG", 4, "a PNG picture", name_image},
    {0, "WithoutFreeSpace", 16, "a Parallels container", convert_parallels},
    {0, "WithouFreSpacExt", 16, "a Parallels container", convert_parallels},
    {0, "%PDF-", 5, "a PDF document", name_image},
    {0, "#!/", 3, "a script", name_image},
    {0, "#! /", 4, "a script", name_image},
    {0, "{\"", 2, "a JSON document", name_image},
    {0, "{\n", 2, "a JSON document", name_image},
    {0, "[{\"", 3, "a JSON document", name_image},
    {0, "version https://git-lfs.github.com/", 35, "a pointer of Git LFS", get_lfs},
    {0,
        "\x7f"
        "ELF",
        4, "an ELF program", name_image},
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

const char *image_stranger_of_name(const char *name)
{
    static const char *const suffixes[] = {".tgz", ".tbz", ".tbz2", ".txz", ".tzst"};
    const char *slash = strrchr(name, '/');
    const char *file = slash ? slash + 1 : name, *dot = strrchr(file, '.');
    if (!dot) {
        return NULL;
    }
    bool is_packed = compression_of_name(file) != COMPRESSION_NONE && dot - file >= 4 &&
                     strncmp(dot - 4, ".tar", 4) == 0;
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        is_packed = is_packed || text_eq(dot, suffixes[i]);
    }
    return is_packed ? tar_archive : NULL;
}

static const char *help_of(const char *what)
{
    for (size_t i = 0; i < ARRAY_LEN(magics); i++) {
        if (magics[i].what == what) {
            return magics[i].help;
        }
    }
    return what == web_page ? page_of : name_cloud;
}

int image_stranger_error(const char *title, const char *what, struct error *err)
{
    error_set(err, ERR_IMAGE_FORMAT, "%s is not a disk image: it is %s", title, what);
    return error_help(err, "%s", help_of(what));
}

static int cut_off(struct user_file *file, const char *title, struct error *err)
{
    error_set(err, ERR_IMAGE_FORMAT,
        "%s is truncated: it has %llu bytes, and its partition table describes a larger disk",
        title, (unsigned long long)file->size);
    return error_help(err, "copy or download the image again: the last time was incomplete");
}

/* The four partitions of the first sector. The beginning of a file system may end in 55 aa as well:
 * there the bytes are code, and hardly all that is a partition's first byte is 0 or 80. One of type
 * EE leaves it to the GPT to say where the disk ends. */
static int check_mbr(
    struct user_file *file, const uint8_t *head, size_t n, const char *title, struct error *err)
{
    enum { FIRST = 446, SIZE = 16, N = 4, TYPE = 4, START = 8, LENGTH = 12, GPT = 0xee };
    uint64_t end = 0;
    if (n < IMAGE_SECTOR_SIZE || head[510] != 0x55 || head[511] != 0xaa) {
        return 0;
    }
    for (const uint8_t *p = head + FIRST; p < head + FIRST + N * SIZE; p += SIZE) {
        uint64_t start = bytes_little(p + START, 4), length = bytes_little(p + LENGTH, 4);
        if ((p[0] != 0 && p[0] != 0x80) || p[TYPE] == GPT) {
            return 0;
        }
        bool is_used = p[TYPE] != 0 && start > 0 && length > 0;
        end = is_used && start + length > end ? start + length : end;
    }
    return end > file->size / IMAGE_SECTOR_SIZE ? cut_off(file, title, err) : 0;
}

/* UEFI 2.10, 5.3.2: the header at LBA 1 names the LBA of its copy, which is the disk's last. */
static int check_gpt(struct user_file *file, const char *title, struct error *err)
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
    return cut_off(file, title, err);
}

int image_stranger_check(struct user_file *file, const char *title, bool is_new, struct error *err)
{
    enum { ISO_DESCRIPTOR = 16 * 2048 + 1 }; /* ECMA-119, 8.1: the first descriptor's identifier */
    uint8_t head[IMAGE_HEAD_SIZE] = {0}, iso[5] = {0};
    ssize_t n = user_file_read_at(file, head, sizeof(head), 0);
    if (n < 0 || user_file_read_at(file, iso, sizeof(iso), ISO_DESCRIPTOR) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot read %s", title);
    }
    const char *what = image_stranger_of_head(head, (size_t)n);
    what = !what && memcmp(iso, "CD001", sizeof(iso)) == 0 ? iso_image : what;
    if (what) {
        return image_stranger_error(title, what, err);
    }
    int rc = is_new ? check_mbr(file, head, (size_t)n, title, err) : 0;
    return rc < 0 ? rc : check_gpt(file, title, err);
}
