/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

#include "specs/base/error.h"

/* FIPS 180-2, appendix B.1 */
static const char abc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

static void make_file(char *path)
{
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "abc", 3), 3);
    assert_int_equal(close(fd), 0);
}

static void a_file_has_the_digest_of_its_bytes(void **state)
{
    char path[] = "/tmp/vmctl-digest-XXXXXX", bytes[DIGEST_SIZE], file[DIGEST_SIZE];
    struct error err = {0};
    (void)state;
    make_file(path);
    digest_text("abc", bytes);
    assert_int_equal(digest_file(path, NULL, file, &err), 0);
    assert_int_equal(unlink(path), 0);
    assert_string_equal(bytes, abc);
    assert_string_equal(file, abc);
}

static void bytes_may_come_in_pieces(void **state)
{
    char some[DIGEST_SIZE], all[DIGEST_SIZE], expected[DIGEST_SIZE];
    struct digest *digest = digest_new();
    (void)state;
    digest_add(digest, "a", 1);
    digest_of(digest, some);
    digest_add(digest, "bc", 2);
    digest_of(digest, all);
    digest_free(digest);
    digest_text("a", expected);
    assert_string_equal(some, expected);
    assert_string_equal(all, abc);
}

/* An end of vmctld does not wait for an image of many gigabytes. */
static void reading_a_file_can_be_cancelled(void **state)
{
    char path[] = "/tmp/vmctl-digest-XXXXXX", file[DIGEST_SIZE] = "untouched";
    atomic_bool is_cancelled = true;
    struct error err = {0};
    (void)state;
    make_file(path);
    assert_int_equal(digest_file(path, &is_cancelled, file, &err), -ERR_CANCELLED);
    assert_int_equal(unlink(path), 0);
    assert_string_equal(file, "untouched");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_has_the_digest_of_its_bytes),
        cmocka_unit_test(bytes_may_come_in_pieces),
        cmocka_unit_test(reading_a_file_can_be_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
