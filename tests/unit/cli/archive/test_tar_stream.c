/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/archive/tar_stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"

static struct tar_member member(const char *name, uint64_t size)
{
    struct tar_member member = {.size = size};
    (void)snprintf(member.name, sizeof(member.name), "%s", name);
    return member;
}

/* ---- headers ---- */

static void a_header_is_read_as_it_was_written(void **state)
{
    static const uint64_t sizes[] = {
        0, 511, (UINT64_C(1) << 33) - 1, UINT64_C(1) << 33, (UINT64_C(64) << 40) + 7};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        uint8_t block[TAR_BLOCK];
        struct tar_member in = member("disk.qcow2", sizes[i]), out;
        tar_header_write(&in, block);
        assert_int_equal(tar_header_read(block, &out), TAR_FILE);
        assert_string_equal(out.name, "disk.qcow2");
        assert_int_equal(out.size, sizes[i]);
    }
}

/* With its checksum made right again. */
static enum tar_header_kind read_with(size_t at, const char *bytes, size_t n)
{
    uint8_t block[TAR_BLOCK];
    struct tar_member in = member("disk.qcow2", 3), out;
    unsigned sum = 0;
    tar_header_write(&in, block);
    memcpy(block + at, bytes, n);
    memset(block + 148, ' ', 8);
    for (size_t i = 0; i < TAR_BLOCK; i++) {
        sum += block[i];
    }
    (void)snprintf((char *)block + 148, 8, "%06o", sum);
    return tar_header_read(block, &out);
}

static void what_is_no_plain_file_of_one_name_is_another_thing(void **state)
{
    (void)state;
    assert_int_equal(read_with(156, "0", 1), TAR_FILE);
    for (const char *type = "1234567xgLKS"; *type; type++) {
        assert_int_equal(read_with(156, type, 1), TAR_OTHER);
    }
    assert_int_equal(read_with(0, "../disk.qcow2", 14), TAR_OTHER);
    assert_int_equal(read_with(0, "/etc/passwd", 12), TAR_OTHER);
    assert_int_equal(read_with(0, "..", 3), TAR_OTHER);
    assert_int_equal(read_with(0, "", 1), TAR_OTHER);
    assert_int_equal(read_with(345, "up", 3), TAR_OTHER);
    assert_int_equal(read_with(257, "USTAR", 5), TAR_DAMAGED);
    assert_int_equal(read_with(124, "9", 1), TAR_DAMAGED);
    assert_int_equal(read_with(124, "\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", 12), TAR_DAMAGED);
}

static void a_wrong_checksum_and_a_block_of_zeros_are_told(void **state)
{
    uint8_t block[TAR_BLOCK] = {0};
    struct tar_member in = member("disk.qcow2", 3), out;
    (void)state;
    assert_int_equal(tar_header_read(block, &out), TAR_END);
    block[TAR_BLOCK - 1] = 1;
    assert_int_equal(tar_header_read(block, &out), TAR_DAMAGED);
    tar_header_write(&in, block);
    block[0] ^= 1;
    assert_int_equal(tar_header_read(block, &out), TAR_DAMAGED);
}

/* ---- streams ---- */

enum { BIG = 300 * 1000 };

/* An archive of two members; the end of *ret_fd is where it ends. */
static int make_archive(const uint8_t *big)
{
    struct error err = {0};
    int fd = memfd_create("archive", MFD_CLOEXEC);
    struct tar_writer *writer = tar_writer_new(fd);
    struct tar_member first = member("small", 5), second = member("big", BIG);
    assert_int_equal(tar_writer_begin(writer, &first, &err), 0);
    assert_int_equal(tar_writer_add(writer, "hello", 5, &err), 0);
    assert_int_equal(tar_writer_begin(writer, &second, &err), 0);
    assert_int_equal(tar_writer_add(writer, big, 1000, &err), 0);
    assert_int_equal(tar_writer_add(writer, big + 1000, BIG - 1000, &err), 0);
    assert_int_equal(tar_writer_finish(writer, &err), 0);
    tar_writer_free(writer);
    return fd;
}

/* Reads all of it; the number of members, or the error. */
static int read_archive(int fd, uint8_t *ret_big, struct error *err)
{
    struct tar_reader *reader = tar_reader_new(fd, "it");
    struct tar_member found;
    bool is_there = true;
    int rc = 0, count = 0;
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    while (rc == 0 && (rc = tar_reader_next(reader, &found, &is_there, err)) == 0 && is_there) {
        uint8_t piece[7777];
        ssize_t n;
        size_t at = 0;
        while ((n = tar_reader_read(reader, piece, sizeof(piece), err)) > 0) {
            if (found.size == BIG) {
                memcpy(ret_big + at, piece, (size_t)n);
            }
            at += (size_t)n;
        }
        rc = n < 0 ? (int)n : 0;
        assert_true(rc < 0 || at == found.size);
        count++;
    }
    tar_reader_free(reader);
    return rc < 0 ? rc : count;
}

static uint8_t *noise(void)
{
    uint8_t *bytes = mem_calloc(1, BIG);
    uint32_t x = 12345;
    for (size_t i = 0; i < BIG; i++) {
        x = x * 1664525 + 1013904223;
        bytes[i] = (uint8_t)(x >> 24);
    }
    return bytes;
}

static void an_archive_is_read_as_it_was_written(void **state)
{
    struct error err = {0};
    cleanup_free uint8_t *big = noise(), *found = mem_calloc(1, BIG);
    cleanup_close int fd = make_archive(big);
    (void)state;
    assert_int_equal(read_archive(fd, found, &err), 2);
    assert_memory_equal(big, found, BIG);
}

static void one_that_is_cut_off_anywhere_or_longer_is_refused(void **state)
{
    cleanup_free uint8_t *big = noise(), *found = mem_calloc(1, BIG);
    cleanup_close int fd = make_archive(big);
    off_t size = lseek(fd, 0, SEEK_END);
    struct error longer = {0};
    (void)state;
    assert_int_equal(write(fd, "x", 1), 1);
    assert_int_equal(read_archive(fd, found, &longer), -ERR_ARCHIVE);
    for (off_t end = size - 1; end >= 0; end -= end > 200 && end < size - 200 ? 4999 : 1) {
        struct error err = {0};
        assert_int_equal(ftruncate(fd, end), 0);
        assert_int_equal(read_archive(fd, found, &err), -ERR_ARCHIVE);
        end = end < 200 ? end : end > 5200 ? end : 200;
    }
}

static void a_flipped_bit_is_found(void **state)
{
    cleanup_free uint8_t *big = noise(), *found = mem_calloc(1, BIG);
    cleanup_close int fd = make_archive(big);
    off_t size = lseek(fd, 0, SEEK_END);
    (void)state;
    for (off_t at = 0; at < size; at += 10007) {
        struct error err = {0};
        uint8_t byte, other;
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        other = byte ^ 0x10;
        assert_int_equal(pwrite(fd, &other, 1, at), 1);
        assert_int_equal(read_archive(fd, found, &err), -ERR_ARCHIVE);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_is_read_as_it_was_written),
        cmocka_unit_test(what_is_no_plain_file_of_one_name_is_another_thing),
        cmocka_unit_test(a_wrong_checksum_and_a_block_of_zeros_are_told),
        cmocka_unit_test(an_archive_is_read_as_it_was_written),
        cmocka_unit_test(one_that_is_cut_off_anywhere_or_longer_is_refused),
        cmocka_unit_test(a_flipped_bit_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
