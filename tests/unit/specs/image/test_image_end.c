/* SPDX-License-Identifier: MPL-2.0 */
/* Ends of qcow2 files by tables that are written here; real images are in test_image.c. */
#include "specs/image/image_end.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <endian.h>
#include <sys/mman.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/user_path.h"
#include "specs/image/qcow2.h"

enum { CLUSTER = 65536, L1 = 3 * CLUSTER, L2 = 4 * CLUSTER };

static const uint64_t compressed = (uint64_t)1 << 62;

/* A disk of 1 MiB and a bit; L1 in cluster 3, L2 in 4, data from 5 on. */
static struct qcow2_header make_header(void)
{
    return (struct qcow2_header){
        .version = 3,
        .virtual_size = (1 << 20) + 1024,
        .cluster_bits = 16,
        .n_l1_entries = 1,
        .l1_offset = L1,
    };
}

static void put(int fd, uint64_t offset, uint64_t value)
{
    uint64_t bytes = htobe64(value);
    assert_int_equal(pwrite(fd, &bytes, sizeof(bytes), (off_t)offset), sizeof(bytes));
}

/* Where a file of that size must end whose L1 entry is this, and entry `index` of its L2 table
 * that. */
static uint64_t find_end(const struct qcow2_header *header, uint64_t l1_entry, uint64_t index,
    uint64_t l2_entry, uint64_t size)
{
    struct error err = {0};
    uint64_t end = 0;
    cleanup_close int fd = memfd_create("image", MFD_CLOEXEC);
    put(fd, L1, l1_entry);
    put(fd, L2 + index * 8, l2_entry);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    struct user_file file = {.fd = fd, .size = size};
    assert_int_equal(qcow2_find_end(&file, header, &end, &err), 0);
    return end;
}

/* Of data at cluster 9 on, in a file that is long enough. */
static uint64_t end_of_data(const struct qcow2_header *header, uint64_t index, uint64_t entry)
{
    return find_end(header, L2, index, entry, 20 * CLUSTER);
}

static void tables_must_be_whole(void **state)
{
    (void)state;
    struct qcow2_header header = make_header();
    assert_int_equal(find_end(&header, 0, 0, 0, 20 * CLUSTER), L1 + 8);
    assert_int_equal(find_end(&header, L2, 0, 0, 20 * CLUSTER), L2 + CLUSTER);
    assert_int_equal(find_end(&header, (uint64_t)1 << 63 | L2, 0, 0, 20 * CLUSTER), L2 + CLUSTER);
    assert_int_equal(find_end(&header, L2, 0, 0, L2), L2 + CLUSTER);
    assert_int_equal(find_end(&header, L2, 0, 0, L1), L1 + 8); /* what it says is cut off */
}

static void tables_that_cannot_be_are_left_to_others(void **state)
{
    (void)state;
    struct qcow2_header header = make_header();
    header.n_l1_entries = UINT32_MAX;
    assert_int_equal(find_end(&header, L2, 0, 9 * CLUSTER, CLUSTER), 0);
    header.n_l1_entries = 0;
    assert_int_equal(find_end(&header, L2, 0, 9 * CLUSTER, CLUSTER), 0);
    header = make_header();
    header.l1_offset = UINT64_MAX;
    assert_true(find_end(&header, L2, 0, 9 * CLUSTER, CLUSTER) > INT64_MAX);
}

static void data_must_be_whole_but_for_what_the_disk_does_not_have(void **state)
{
    (void)state;
    struct qcow2_header header = make_header();
    assert_int_equal(end_of_data(&header, 0, 9 * CLUSTER), 10 * CLUSTER);
    assert_int_equal(end_of_data(&header, 16, 9 * CLUSTER), 9 * CLUSTER + 1024); /* disk's end */
    assert_int_equal(end_of_data(&header, 17, 9 * CLUSTER), L2 + CLUSTER);       /* behind it */
}

static void what_reads_as_zero_needs_no_bytes(void **state)
{
    (void)state;
    struct qcow2_header header = make_header();
    assert_int_equal(end_of_data(&header, 0, 9 * CLUSTER | 1), L2 + CLUSTER);
    header.version = 2; /* there the bit means nothing */
    assert_int_equal(end_of_data(&header, 0, 9 * CLUSTER | 1), 10 * CLUSTER);
}

static void compressed_data_must_be_there_to_its_last_sector(void **state)
{
    (void)state;
    struct qcow2_header header = make_header();
    uint64_t two_sectors = (uint64_t)1 << 54; /* one behind the first */
    uint64_t entry = compressed | two_sectors | (9 * CLUSTER + 100);
    assert_int_equal(end_of_data(&header, 0, entry), 9 * CLUSTER + 1024);
}

static void data_in_another_file_is_not_looked_for(void **state)
{
    (void)state;
    struct qcow2_header header = make_header();
    header.has_data_file = true;
    assert_int_equal(end_of_data(&header, 0, 9 * CLUSTER), 0);
}

static void extended_entries_are_twice_as_long(void **state)
{
    (void)state;
    struct qcow2_header header = make_header();
    header.has_extended_l2 = true;
    assert_int_equal(end_of_data(&header, 1, 9 * CLUSTER), L2 + CLUSTER); /* a bitmap */
    assert_int_equal(end_of_data(&header, 2, 9 * CLUSTER), 9 * CLUSTER + 1);
}

/* A million entries that lead to the same table are read as often as the file has room for tables.
 */
static void the_same_table_again_and_again_is_not_read_for_hours(void **state)
{
    (void)state;
    struct qcow2_header header = make_header();
    struct error err = {0};
    uint64_t end = 0;
    cleanup_close int fd = memfd_create("image", MFD_CLOEXEC);
    header.n_l1_entries = 4 << 20;
    header.cluster_bits = 21;
    uint64_t size = L1 + (uint64_t)header.n_l1_entries * 8;
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    for (uint64_t i = 0; i < 4096; i++) {
        put(fd, L1 + i * 8, L2);
    }
    struct user_file file = {.fd = fd, .size = size};
    assert_int_equal(qcow2_find_end(&file, &header, &end, &err), 0);
    assert_int_equal(end, size);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_must_be_whole),
        cmocka_unit_test(tables_that_cannot_be_are_left_to_others),
        cmocka_unit_test(data_must_be_whole_but_for_what_the_disk_does_not_have),
        cmocka_unit_test(what_reads_as_zero_needs_no_bytes),
        cmocka_unit_test(compressed_data_must_be_there_to_its_last_sector),
        cmocka_unit_test(data_in_another_file_is_not_looked_for),
        cmocka_unit_test(extended_entries_are_twice_as_long),
        cmocka_unit_test(the_same_table_again_and_again_is_not_read_for_hours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
