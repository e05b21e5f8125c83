/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/image/qcow2.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "specs/base/error.h"

static void put(uint8_t *at, uint64_t value, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--) {
        at[i] = (uint8_t)value;
        value >>= 8;
    }
}

/* A version 3 header of a 1 MiB disk with 64 KiB clusters. */
static void make_header(uint8_t *h)
{
    memset(h, 0, QCOW2_HEADER_SIZE);
    memcpy(h, "QFI\xfb", 4);
    put(h + 4, 3, 4);
    put(h + 20, 16, 4);
    put(h + 24, 1 << 20, 8);
    put(h + 100, 104, 4);
}

static enum error_code parse(const uint8_t *h, size_t n, struct qcow2_header *ret)
{
    struct error err = {0};
    (void)qcow2_parse(h, n, ret, &err);
    return err.code;
}

static void the_size_and_the_lack_of_other_files_are_read(void **state)
{
    (void)state;
    uint8_t h[QCOW2_HEADER_SIZE];
    struct qcow2_header header;
    make_header(h);
    assert_int_equal(parse(h, sizeof(h), &header), ERR_NONE);
    assert_int_equal(header.version, 3);
    assert_int_equal(header.virtual_size, 1 << 20);
    assert_int_equal(header.backing_size, 0);
    assert_false(header.has_data_file);
    assert_false(header.is_encrypted);
}

static void a_backing_file_is_found(void **state)
{
    (void)state;
    uint8_t h[QCOW2_HEADER_SIZE];
    struct qcow2_header header;
    make_header(h);
    put(h + 8, 500, 8);
    put(h + 16, 11, 4);
    assert_int_equal(parse(h, sizeof(h), &header), ERR_NONE);
    assert_int_equal(header.backing_offset, 500);
    assert_int_equal(header.backing_size, 11);
}

static void an_external_data_file_is_found(void **state)
{
    (void)state;
    uint8_t h[QCOW2_HEADER_SIZE];
    struct qcow2_header header;
    make_header(h);
    put(h + 72, 1 << 2, 8);
    assert_int_equal(parse(h, sizeof(h), &header), ERR_NONE);
    assert_true(header.has_data_file);
}

static void the_incompatible_bits_of_version_2_mean_nothing(void **state)
{
    (void)state;
    uint8_t h[QCOW2_HEADER_SIZE];
    struct qcow2_header header;
    make_header(h);
    put(h + 4, 2, 4);
    put(h + 72, 1 << 2, 8);
    assert_int_equal(parse(h, sizeof(h), &header), ERR_NONE);
    assert_false(header.has_data_file);
    assert_int_equal(parse(h, 72, &header), ERR_NONE);
}

static void features_that_nobody_knows_are_refused(void **state)
{
    (void)state;
    uint8_t h[QCOW2_HEADER_SIZE];
    struct qcow2_header header;
    for (unsigned bit = 0; bit < 64; bit++) {
        make_header(h);
        put(h + 72, (uint64_t)1 << bit, 8);
        assert_int_equal(parse(h, sizeof(h), &header), bit < 5 ? ERR_NONE : ERR_IMAGE_FORMAT);
    }
}

static void a_new_overlay_has_the_header_that_was_asked_for(void **state)
{
    (void)state;
    static const char base[] = "/images/base.raw";
    struct qcow2_overlay overlay;
    struct qcow2_header header;
    struct error err = {0};
    assert_int_equal(qcow2_make_overlay(base, "raw", ((uint64_t)4 << 40) + 1, &overlay, &err), 0);
    assert_int_equal(parse(overlay.head, sizeof(overlay.head), &header), ERR_NONE);
    assert_int_equal(header.version, 3);
    assert_int_equal(header.virtual_size, ((uint64_t)4 << 40) + 512);
    assert_int_equal(header.backing_size, strlen(base));
    assert_memory_equal(overlay.head + header.backing_offset, base, strlen(base));
    assert_int_equal(header.n_l1_entries, 8193);
    assert_int_equal(overlay.file_size, header.l1_offset + (uint64_t)2 * QCOW2_CLUSTER);
    uint64_t most = (uint64_t)64 << 40;
    assert_int_equal(qcow2_make_overlay(base, "raw", most, &overlay, &err), 0);
    assert_int_equal(qcow2_make_overlay(base, "raw", most + 1, &overlay, &err), -ERR_OVERLAY);
}

static void a_header_cut_off_anywhere_is_refused(void **state)
{
    (void)state;
    uint8_t h[QCOW2_HEADER_SIZE];
    struct qcow2_header header;
    make_header(h);
    for (size_t n = 0; n < sizeof(h); n++) {
        assert_int_equal(parse(h, n, &header), ERR_IMAGE_FORMAT);
    }
}

static void a_backing_name_outside_the_first_cluster_is_refused(void **state)
{
    (void)state;
    static const struct {
        uint64_t offset;
        uint32_t size;
    } bad[] = {{65536, 5}, {65530, 7}, {200, 0}, {200, 1024}, {UINT64_MAX, 8}, {200, UINT32_MAX}};
    uint8_t h[QCOW2_HEADER_SIZE];
    struct qcow2_header header;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        make_header(h);
        put(h + 8, bad[i].offset, 8);
        put(h + 16, bad[i].size, 4);
        assert_int_equal(parse(h, sizeof(h), &header), ERR_IMAGE_FORMAT);
    }
}

static void absurd_sizes_and_versions_are_refused(void **state)
{
    (void)state;
    uint8_t h[QCOW2_HEADER_SIZE];
    struct qcow2_header header;
    make_header(h);
    put(h + 24, UINT64_MAX, 8);
    assert_int_equal(parse(h, sizeof(h), &header), ERR_IMAGE_FORMAT);
    make_header(h);
    put(h + 4, 4, 4);
    assert_int_equal(parse(h, sizeof(h), &header), ERR_IMAGE_FORMAT);
    make_header(h);
    put(h + 20, 63, 4);
    assert_int_equal(parse(h, sizeof(h), &header), ERR_IMAGE_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_size_and_the_lack_of_other_files_are_read),
        cmocka_unit_test(a_backing_file_is_found),
        cmocka_unit_test(an_external_data_file_is_found),
        cmocka_unit_test(the_incompatible_bits_of_version_2_mean_nothing),
        cmocka_unit_test(features_that_nobody_knows_are_refused),
        cmocka_unit_test(a_new_overlay_has_the_header_that_was_asked_for),
        cmocka_unit_test(a_header_cut_off_anywhere_is_refused),
        cmocka_unit_test(a_backing_name_outside_the_first_cluster_is_refused),
        cmocka_unit_test(absurd_sizes_and_versions_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
