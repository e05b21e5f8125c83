/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/image/qcow2_extent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "specs/base/error.h"

enum { CLUSTER = 65536 };

static const uint64_t compressed = (uint64_t)1 << 62;

/* A disk of 1 MiB and a bit; refcounts in cluster 1 and 2, L1 in 3, L2 in 4, data from 5 on. */
static struct qcow2_header make_header(void)
{
    return (struct qcow2_header){
        .version = 3,
        .virtual_size = (1 << 20) + 1024,
        .cluster_bits = 16,
        .n_l1_entries = 1,
        .l1_offset = 3 * CLUSTER,
        .refcount_offset = CLUSTER,
        .refcount_clusters = 1,
    };
}

static void put(uint8_t *at, uint64_t value)
{
    for (int i = 7; i >= 0; i--) {
        at[i] = (uint8_t)value;
        value >>= 8;
    }
}

static enum error_code tables(const struct qcow2_header *header, uint64_t file_size)
{
    struct error err = {0};
    (void)qcow2_check_tables(header, file_size, &err);
    return err.code;
}

/* The check of an L2 table whose entry `index` is this. */
static enum error_code l2(
    const struct qcow2_header *header, uint64_t index, uint64_t entry, uint64_t file_size)
{
    static uint8_t table[CLUSTER];
    struct error err = {0};
    put(table + index * 8, entry);
    (void)qcow2_check_l2_table(header, table, 0, file_size, &err);
    put(table + index * 8, 0);
    return err.code;
}

static void tables_within_the_file_are_fine(void **state)
{
    (void)state;
    struct qcow2_header header = make_header();
    assert_int_equal(tables(&header, 3 * CLUSTER + 8), ERR_NONE);
}

static void tables_behind_the_end_are_refused(void **state)
{
    (void)state;
    struct qcow2_header header = make_header();
    assert_int_equal(tables(&header, 3 * CLUSTER), ERR_IMAGE_FORMAT);
    header = make_header();
    header.refcount_offset = 9 * CLUSTER;
    assert_int_equal(tables(&header, 4 * CLUSTER), ERR_IMAGE_FORMAT);
    header = make_header();
    header.n_snapshots = 1;
    header.snapshots_offset = 9 * CLUSTER;
    assert_int_equal(tables(&header, 4 * CLUSTER), ERR_IMAGE_FORMAT);
}

static void tables_that_cannot_be_are_refused(void **state)
{
    (void)state;
    struct qcow2_header header = make_header();
    header.n_l1_entries = 0; /* too small for the disk */
    assert_int_equal(tables(&header, UINT64_MAX), ERR_IMAGE_FORMAT);
    header = make_header();
    header.n_l1_entries = UINT32_MAX;
    assert_int_equal(tables(&header, UINT64_MAX), ERR_IMAGE_FORMAT);
    header = make_header();
    header.l1_offset++;
    assert_int_equal(tables(&header, UINT64_MAX), ERR_IMAGE_FORMAT);
    header = make_header();
    header.refcount_clusters = UINT32_MAX;
    assert_int_equal(tables(&header, UINT64_MAX), ERR_IMAGE_FORMAT);
    header = make_header();
    header.refcount_clusters = 0;
    assert_int_equal(tables(&header, UINT64_MAX), ERR_IMAGE_FORMAT);
}

static void an_l2_table_must_be_whole(void **state)
{
    (void)state;
    struct qcow2_header header = make_header();
    struct error err = {0};
    uint8_t entry[8];
    uint64_t offset = 1;
    put(entry, 0);
    assert_int_equal(qcow2_check_l1_entry(&header, entry, CLUSTER, &offset, &err), 0);
    assert_int_equal(offset, 0);
    put(entry, (uint64_t)1 << 63 | 4 * CLUSTER);
    assert_int_equal(qcow2_check_l1_entry(&header, entry, 5 * CLUSTER, &offset, &err), 0);
    assert_int_equal(offset, 4 * CLUSTER);
    assert_true(qcow2_check_l1_entry(&header, entry, 5 * CLUSTER - 512, &offset, &err) < 0);
    error_clear(&err);
    put(entry, 4 * CLUSTER + 512);
    assert_true(qcow2_check_l1_entry(&header, entry, 9 * CLUSTER, &offset, &err) < 0);
}

static void a_refcount_block_must_begin_in_the_file(void **state)
{
    (void)state;
    struct qcow2_header header = make_header();
    struct error err = {0};
    uint8_t entry[8];
    put(entry, 2 * CLUSTER);
    assert_int_equal(qcow2_check_refcount_entry(&header, entry, 2 * CLUSTER + 1, &err), 0);
    assert_true(qcow2_check_refcount_entry(&header, entry, 2 * CLUSTER, &err) < 0);
}

static void data_must_be_whole_but_for_what_the_disk_does_not_have(void **state)
{
    (void)state;
    struct qcow2_header header = make_header();
    assert_int_equal(l2(&header, 0, 5 * CLUSTER, 6 * CLUSTER), ERR_NONE);
    assert_int_equal(l2(&header, 0, 5 * CLUSTER, 6 * CLUSTER - 511), ERR_NONE); /* a part sector */
    assert_int_equal(l2(&header, 0, 5 * CLUSTER, 6 * CLUSTER - 512), ERR_IMAGE_FORMAT);
    assert_int_equal(l2(&header, 16, 5 * CLUSTER, 5 * CLUSTER + 1024), ERR_NONE); /* disk's end */
    assert_int_equal(l2(&header, 16, 5 * CLUSTER, 5 * CLUSTER + 512), ERR_IMAGE_FORMAT);
    assert_int_equal(l2(&header, 17, 5 * CLUSTER, CLUSTER), ERR_NONE); /* behind it */
}

static void what_reads_as_zero_needs_no_bytes(void **state)
{
    (void)state;
    struct qcow2_header header = make_header();
    assert_int_equal(l2(&header, 0, 5 * CLUSTER | 1, CLUSTER), ERR_NONE);
    header.version = 2; /* there the bit means nothing */
    assert_int_equal(l2(&header, 0, 5 * CLUSTER | 1, CLUSTER), ERR_IMAGE_FORMAT);
}

static void compressed_data_must_be_there_to_its_last_sector(void **state)
{
    (void)state;
    struct qcow2_header header = make_header();
    uint64_t two_sectors = (uint64_t)1 << 54; /* one behind the first */
    uint64_t entry = compressed | two_sectors | (5 * CLUSTER + 100);
    assert_int_equal(l2(&header, 0, entry, 5 * CLUSTER + 1000), ERR_NONE);
    assert_int_equal(l2(&header, 0, entry, 5 * CLUSTER + 512), ERR_IMAGE_FORMAT);
}

static void data_in_another_file_is_not_looked_for(void **state)
{
    (void)state;
    struct qcow2_header header = make_header();
    header.has_data_file = true;
    assert_int_equal(l2(&header, 0, 5 * CLUSTER, CLUSTER), ERR_NONE);
}

static void extended_entries_are_twice_as_long(void **state)
{
    (void)state;
    struct qcow2_header header = make_header();
    header.has_extended_l2 = true;
    assert_int_equal(l2(&header, 1, 9 * CLUSTER, CLUSTER), ERR_NONE); /* a bitmap */
    assert_int_equal(l2(&header, 2, 9 * CLUSTER, CLUSTER), ERR_IMAGE_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_within_the_file_are_fine),
        cmocka_unit_test(tables_behind_the_end_are_refused),
        cmocka_unit_test(tables_that_cannot_be_are_refused),
        cmocka_unit_test(an_l2_table_must_be_whole),
        cmocka_unit_test(a_refcount_block_must_begin_in_the_file),
        cmocka_unit_test(data_must_be_whole_but_for_what_the_disk_does_not_have),
        cmocka_unit_test(what_reads_as_zero_needs_no_bytes),
        cmocka_unit_test(compressed_data_must_be_there_to_its_last_sector),
        cmocka_unit_test(data_in_another_file_is_not_looked_for),
        cmocka_unit_test(extended_entries_are_twice_as_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
