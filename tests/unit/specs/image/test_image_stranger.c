/* SPDX-License-Identifier: MPL-2.0 */
/* Files that are no disks, by their first bytes and in full. */
#include "specs/image/image_stranger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/user_path.h"
#include "specs/image/image_format.h"

struct beginning {
    const char *bytes;
    size_t offset;
    const char *what; /* NULL: may be a disk */
};

static const struct beginning beginnings[] = {
    {"ustar", 257, "a tar archive"},
    {"PK\3\4", 0, "a zip archive"},
    {"PK\5\6", 0, "an empty zip archive"},
    {"7z\xbc\xaf\x27\x1c", 0, "a 7z archive"},
    {"Rar!\x1a\x07", 0, "a RAR archive"},
    {"!<arch>\n", 0, "an ar archive"},
    {"\xed\xab\xee\xdb", 0, "an RPM package"},
    {"%PDF-", 0, "a PDF document"},
    {"<html", 0, "a web page"},
    {"<head", 0, "a web page"},
    {"<body", 0, "a web page"},
    {"<!DOCTYPE html>", 0, "a web page"},
    {"\xef\xbb\xbf \r\n<HTML lang=x>", 0, "a web page"},
    {"<?xml version", 0, "a web page"},
    {"\x7f"
     "ELF",
        0, "an ELF program"},
    {"070701", 0, "a cpio archive"},
    {"hsqs", 0, "a squashfs file system"},
    {"LUKS\xba\xbe", 0, "an encrypted LUKS container"},
    {"\x89PNG", 0, "a PNG picture"},
    {"WithoutFreeSpace", 0, "a Parallels container"},
    {"WithouFreSpacExt", 0, "a Parallels container"},
    {"#!/", 0, "a script"},
    {"version https://git-lfs.github.com/", 0, "a pointer of Git LFS"},
    {"\xeb\x63\x90", 0, NULL},
    {"{x", 0, NULL},
    {"#!x", 0, NULL},
    {"<htm", 0, NULL},
    {"ustar", 256, NULL},
};

static void a_beginning_says_what_it_is(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(beginnings); i++) {
        uint8_t head[IMAGE_HEAD_SIZE];
        size_t n = strlen(beginnings[i].bytes);
        memset(head, 'x', sizeof(head));
        memcpy(head + beginnings[i].offset, beginnings[i].bytes, n);
        const char *what = image_stranger_of_head(head, sizeof(head));
        assert_true(what ? beginnings[i].what && strcmp(what, beginnings[i].what) == 0
                         : !beginnings[i].what);
        assert_null(image_stranger_of_head(head, 2)); /* a short file is not read behind its end */
        if (what && strcmp(what, "a web page") != 0) {
            assert_non_null(image_stranger_of_head(head, beginnings[i].offset + n));
            assert_null(image_stranger_of_head(head, beginnings[i].offset + n - 1));
            head[beginnings[i].offset + n - 1] ^= 1;
            assert_null(image_stranger_of_head(head, sizeof(head)));
        }
    }
}

static enum error_code check(const char *bytes, off_t offset, off_t size, struct error *err)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    int fd = fileno(file);
    assert_int_equal(ftruncate(fd, size), 0);
    size_t n = strlen(bytes);
    assert_int_equal(pwrite(fd, bytes, n, offset), n);
    *err = (struct error){.code = ERR_NONE};
    struct user_file disk = {.fd = fd, .size = (uint64_t)size};
    (void)image_stranger_check(&disk, "disk.img", true, err);
    fclose(file);
    return err->code;
}

static void a_medium_and_a_disk_that_is_cut_off_are_told(void **state)
{
    (void)state;
    struct error err;
    assert_int_equal(check("CD001", 32769, 1 << 20, &err), ERR_IMAGE_FORMAT);
    assert_string_equal(err.message, "disk.img is not a disk image: it is an ISO 9660 image");
    assert_non_null(strstr(error_help_text(&err), "cloud image"));
    assert_int_equal(check("CD001", 32768, 1 << 20, &err), ERR_NONE);
    assert_int_equal(check("x", 0, 512, &err), ERR_NONE);
    char header[41] = "EFI PART";
    memset(header + 8, 1, 24);
    memset(header + 32, 2, 8); /* the last sector of a very large disk */
    assert_int_equal(check(header, 512, 1 << 20, &err), ERR_IMAGE_FORMAT);
    assert_non_null(strstr(err.message, "truncated"));
}

/* A partition of a first sector whose other bytes are zero. */
struct partition {
    uint8_t status, type;
    uint32_t start, length;
};

static void put_partition(uint8_t *entry, const struct partition *partition)
{
    entry[0] = partition->status;
    entry[4] = partition->type;
    for (int i = 0; i < 4; i++) {
        entry[8 + i] = (uint8_t)(partition->start >> 8 * i);
        entry[12 + i] = (uint8_t)(partition->length >> 8 * i);
    }
}

static enum error_code check_table(
    const struct partition *partitions, size_t n, off_t size, struct error *err)
{
    uint8_t sector[512] = {[510] = 0x55, [511] = 0xaa};
    FILE *file = tmpfile();
    assert_non_null(file);
    for (size_t i = 0; i < n; i++) {
        put_partition(sector + 446 + 16 * i, &partitions[i]);
    }
    assert_int_equal(ftruncate(fileno(file), size), 0);
    assert_int_equal(pwrite(fileno(file), sector, sizeof(sector), 0), sizeof(sector));
    *err = (struct error){.code = ERR_NONE};
    struct user_file disk = {.fd = fileno(file), .size = (uint64_t)size};
    (void)image_stranger_check(&disk, "disk.img", true, err);
    fclose(file);
    return err->code;
}

static void a_partition_behind_the_end_shows_that_a_disk_is_cut_off(void **state)
{
    (void)state;
    struct error err;
    const struct partition whole[] = {{0x80, 0x83, 2048, 1024}, {0, 0x82, 3072, 1024}};
    assert_int_equal(check_table(whole, 2, 4096 * 512, &err), ERR_NONE);
    assert_int_equal(check_table(whole, 2, 4095 * 512, &err), ERR_IMAGE_FORMAT);
    assert_non_null(strstr(err.message, "truncated"));
    assert_non_null(strstr(error_help_text(&err), "copy or download the image again"));
    const struct partition protective[] = {{0, 0xee, 1, UINT32_MAX}};
    assert_int_equal(check_table(protective, 1, 4096 * 512, &err), ERR_NONE);
    const struct partition hybrid[] = {{0, 0xee, 1, 33}, {0x80, 0x83, 2048, 4096}};
    assert_int_equal(check_table(hybrid, 2, 4096 * 512, &err), ERR_NONE);
    const struct partition code[] = {{0xcd, 0x83, 2048, 40960}};
    assert_int_equal(check_table(code, 1, 4096 * 512, &err), ERR_NONE);
    const struct partition unused[] = {{0, 0, 2048, 40960}};
    assert_int_equal(check_table(unused, 1, 4096 * 512, &err), ERR_NONE);
}

static void a_name_says_that_a_packed_file_is_an_archive(void **state)
{
    (void)state;
    static const char *const archives[] = {"/a/b.tgz", "x.tar.gz", "x.tar.zst", "d.tbz", "d.txz"};
    static const char *const disks[] = {"/a.tgz/b.gz", "x.gz", "tar.gz", "x.img.xz", "x", "x.tar"};
    for (size_t i = 0; i < ARRAY_LEN(archives); i++) {
        assert_string_equal(image_stranger_of_name(archives[i]), "a tar archive");
    }
    for (size_t i = 0; i < ARRAY_LEN(disks); i++) {
        assert_null(image_stranger_of_name(disks[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_beginning_says_what_it_is),
        cmocka_unit_test(a_medium_and_a_disk_that_is_cut_off_are_told),
        cmocka_unit_test(a_partition_behind_the_end_shows_that_a_disk_is_cut_off),
        cmocka_unit_test(a_name_says_that_a_packed_file_is_an_archive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
