/* SPDX-License-Identifier: MPL-2.0 */
/* Lists of check sums, in the forms that publishers of images use. */
#include "specs/image/image_sums.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define A32 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B32 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define A64 A32 A32
#define B64 B32 B32
#define A128 A64 A64

static const char *find(const char *list, const char *file)
{
    static char sum[IMAGE_SUM_SIZE];
    return image_sums_find(list, strlen(list), file, sum) ? sum : NULL;
}

static void sums_of_gnu_coreutils_are_found_by_the_files_name(void **state)
{
    (void)state;
    const char *list = B64 "  other.img\n" A64 " *disk.img\n" B64 "  not-disk.img\n";
    assert_string_equal(find(list, "disk.img"), A64);
    assert_string_equal(find(A128 "  disk.img\n", "disk.img"), A128);
    assert_string_equal(find(A64 "  ./cloud/disk.img\r\n", "disk.img"), A64);
    assert_null(find(list, "img"));
    assert_null(find(list, "third.img"));
    assert_null(find("", "disk.img"));
}

static void sums_in_the_form_of_bsd_are_found_also_when_signed(void **state)
{
    (void)state;
    const char *list = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n# disk.img: 5 bytes\n"
                       "SHA256 (other.img) = " B64 "\nSHA256 (disk.img) = " A64 "\n"
                       "-----BEGIN PGP SIGNATURE-----\n\niQIzBAEB\n-----END PGP SIGNATURE-----\n";
    assert_string_equal(find(list, "disk.img"), A64);
    assert_string_equal(find("SHA512 (a (b).img) = " A128, "a (b).img"), A128);
    assert_null(find("SHA256 (disk.img) = abc", "disk.img"));
    assert_null(find("SHA256 (disk.img)", "disk.img"));
}

static void the_longer_of_two_sums_counts_in_lower_case(void **state)
{
    (void)state;
    assert_string_equal(
        find("SHA512 (d) = " A128 "\nSHA256 (d) = " B64 "\nMD5 (d) = " B32 "\n", "d"), A128);
    assert_string_equal(
        find("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA  d", "d"), A64);
}

static void a_sum_alone_is_that_of_the_file(void **state)
{
    (void)state;
    assert_string_equal(find(A64 "\n", "disk.img"), A64);
    assert_string_equal(find(A128, "disk.img"), A128);
    assert_null(find(A64 "\n" B64 "\n", "disk.img"));
    assert_null(find(A32 "\n", "disk.img"));
    assert_null(find(A64 "a\n", "disk.img"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_of_gnu_coreutils_are_found_by_the_files_name),
        cmocka_unit_test(sums_in_the_form_of_bsd_are_found_also_when_signed),
        cmocka_unit_test(the_longer_of_two_sums_counts_in_lower_case),
        cmocka_unit_test(a_sum_alone_is_that_of_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
