/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/image/image_foreign.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "specs/base/cleanup.h"

static uint8_t head[IMAGE_FOREIGN_HEAD_SIZE];

static int clear(void **state)
{
    (void)state;
    memset(head, 0, sizeof(head));
    return 0;
}

/* A VMDK of 6144 sectors with its description in sector 1. */
static void make_vmdk(const char *description)
{
    memcpy(head, "KDMV", 4);
    head[13] = 0x18;
    head[28] = 1;
    memcpy(head + 512, description, strlen(description));
}

static void each_format_has_its_name_and_driver(void **state)
{
    static const struct {
        const char *magic;
        size_t offset, n;
        const char *name, *driver;
    } formats[] = {
        {"KDMV", 0, 4, "VMDK", "vmdk"},
        {"COWD", 0, 4, "VMDK", "vmdk"},
        {"# Disk DescriptorFile", 0, 21, "VMDK", "vmdk"},
        {"vhdxfile", 0, 8, "VHDX", "vhdx"},
        {"conectix", 0, 8, "VHD", "vpc"},
        {"\x7f\x10\xda\xbe", 64, 4, "VDI", "vdi"},
        {"QED\0", 0, 4, "QED", "qed"},
    };
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        clear(state);
        assert_null(image_foreign_format(head, sizeof(head)));
        memcpy(head + formats[i].offset, formats[i].magic, formats[i].n);
        const struct image_foreign *found = image_foreign_format(head, sizeof(head));
        assert_non_null(found);
        assert_string_equal(found->name, formats[i].name);
        assert_string_equal(found->driver, formats[i].driver);
        assert_null(image_foreign_format(head, formats[i].offset + formats[i].n - 1));
    }
}

static void a_vmdk_in_one_file_stands_alone(void **state)
{
    (void)state;
    make_vmdk("# Disk DescriptorFile\nRW 6144 SPARSE \"disk.vmdk\"\n");
    assert_null(image_foreign_dependency(head, sizeof(head)));
}

static void a_vmdk_description_depends_on_its_extents(void **state)
{
    (void)state;
    strcpy((char *)head, "# Disk DescriptorFile\nRW 1 FLAT \"/etc/shadow\" 0\n");
    assert_string_equal(
        image_foreign_dependency(head, sizeof(head)), "it is a description of other files");
}

static void a_wrapped_vmdk_description_is_not_taken_for_a_disk(void **state)
{
    (void)state;
    make_vmdk("# Disk DescriptorFile\nRW 1 FLAT \"/etc/shadow\" 0\n");
    head[13] = 0; /* no capacity: QEMU opens the files that the text lists */
    assert_string_equal(
        image_foreign_dependency(head, sizeof(head)), "it is a description of other files");
}

static void a_vmdk_with_a_parent_is_seen_in_both_sparse_formats(void **state)
{
    static const char parent[] = "# Disk DescriptorFile\nparentFileNameHint=\"/etc/shadow\"\n";
    (void)state;
    make_vmdk(parent);
    assert_non_null(strstr(image_foreign_dependency(head, sizeof(head)), "derived from"));
    memcpy(head, "COWD", 4);
    assert_non_null(strstr(image_foreign_dependency(head, sizeof(head)), "derived from"));
}

static void one_extent_of_a_split_vmdk_is_seen(void **state)
{
    (void)state;
    make_vmdk("");
    assert_non_null(strstr(image_foreign_dependency(head, sizeof(head)), "split"));
    make_vmdk("# Disk DescriptorFile\n");
    head[28] = 0;
    assert_non_null(strstr(image_foreign_dependency(head, sizeof(head)), "split"));
}

static void a_differencing_vhd_depends_on_its_parent(void **state)
{
    (void)state;
    memcpy(head, "conectix", 8);
    head[63] = 3;
    assert_null(image_foreign_dependency(head, sizeof(head)));
    head[63] = 4;
    assert_non_null(image_foreign_dependency(head, sizeof(head)));
    assert_non_null(image_foreign_dependency(head, 63));
}

static void a_qed_with_a_backing_file_is_seen(void **state)
{
    (void)state;
    memcpy(head, "QED\0", 4);
    assert_null(image_foreign_dependency(head, sizeof(head)));
    head[16] = 1;
    assert_non_null(image_foreign_dependency(head, sizeof(head)));
}

static void a_vdi_says_how_long_it_is(void **state)
{
    (void)state;
    memcpy(head + 64, "\x7f\x10\xda\xbe", 4);
    head[0x159] = 0x02; /* data from 512 on */
    head[0x17a] = 0x10; /* blocks of 1 MiB */
    head[0x184] = 3;
    assert_int_equal(image_foreign_size(head, sizeof(head)), 512 + 3 * 1024 * 1024);
    memset(head + 0x158, 0xff, 0x188 - 0x158);
    assert_true(image_foreign_size(head, sizeof(head)) > UINT64_MAX - ((uint64_t)1 << 34));
    assert_int_equal(image_foreign_size(head, 0x187), 0);
    clear(state);
    assert_int_equal(image_foreign_size(head, sizeof(head)), 0);
}

static uint8_t footer[IMAGE_FOREIGN_FOOTER_SIZE];

static void sign_footer(void)
{
    uint32_t sum = 0;
    memset(footer + 64, 0, 4);
    for (size_t i = 0; i < sizeof(footer); i++) {
        sum += footer[i];
    }
    for (int i = 0; i < 4; i++) {
        footer[64 + i] = (uint8_t)(~sum >> (24 - 8 * i));
    }
}

static void a_fixed_vhd_is_known_by_a_footer_that_is_right_in_all(void **state)
{
    (void)state;
    memcpy(footer, "conectix", 8);
    footer[63] = 2;
    footer[53] = 0x20; /* 2 MiB */
    sign_footer();
    const uint64_t size = (2 << 20) + 512;
    assert_string_equal(image_foreign_of_footer(footer, size)->name, "VHD");
    assert_null(image_foreign_of_footer(footer, size + 512));
    footer[100] = 1;
    assert_null(image_foreign_of_footer(footer, size)); /* a sector that merely looks like it */
    sign_footer();
    assert_non_null(image_foreign_of_footer(footer, size));
    footer[63] = 3; /* a dynamic one has it at its head, too */
    sign_footer();
    assert_null(image_foreign_of_footer(footer, size));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, clear)
    const struct CMUnitTest tests[] = {
        TEST(each_format_has_its_name_and_driver),
        TEST(a_vmdk_in_one_file_stands_alone),
        TEST(a_vmdk_description_depends_on_its_extents),
        TEST(a_wrapped_vmdk_description_is_not_taken_for_a_disk),
        TEST(a_vmdk_with_a_parent_is_seen_in_both_sparse_formats),
        TEST(one_extent_of_a_split_vmdk_is_seen),
        TEST(a_differencing_vhd_depends_on_its_parent),
        TEST(a_qed_with_a_backing_file_is_seen),
        TEST(a_vdi_says_how_long_it_is),
        TEST(a_fixed_vhd_is_known_by_a_footer_that_is_right_in_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
