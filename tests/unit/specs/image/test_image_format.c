/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/image/image_format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

static void compressions_are_known_by_magic_and_by_name(void **state)
{
    static const uint8_t zstd[] = {0x28, 0xb5, 0x2f, 0xfd, 0};
    static const uint8_t gzip[] = {0x1f, 0x8b};
    (void)state;
    assert_int_equal(compression_of_head(zstd, sizeof(zstd)), COMPRESSION_ZSTD);
    assert_int_equal(compression_of_head(zstd, 3), COMPRESSION_NONE);
    assert_int_equal(compression_of_head(gzip, sizeof(gzip)), COMPRESSION_GZIP);
    assert_int_equal(compression_of_head(gzip, 0), COMPRESSION_NONE);
    assert_int_equal(compression_of_name("http://x/a.img.zst"), COMPRESSION_ZSTD);
    assert_int_equal(compression_of_name("a.zst.img"), COMPRESSION_NONE);
    assert_string_equal(compression_name(COMPRESSION_XZ), "xz");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compressions_are_known_by_magic_and_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
