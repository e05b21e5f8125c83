/* SPDX-License-Identifier: MPL-2.0 */
/* What is shown of output that holds secrets, however it is cut into pieces. */
#include "reconcilers/guest/secret_mask.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"

static void add_shown(void *context, const char *bytes, size_t n)
{
    (void)buf_add(context, bytes, n);
}

/* In pieces of `size` bytes. */
static void show(
    const char *const *values, size_t count, const char *text, size_t size, struct buf *ret)
{
    struct secret_mask *mask = secret_mask_new(values, count);
    size_t n = strlen(text);
    for (size_t at = 0; at < n; at += size) {
        secret_mask_add(mask, text + at, n - at < size ? n - at : size, add_shown, ret);
        assert_int_equal(ret->len + secret_mask_kept(mask), at + size < n ? at + size : n);
    }
    secret_mask_flush(mask, add_shown, ret);
    assert_int_equal(secret_mask_kept(mask), 0);
    secret_mask_free(mask);
}

static void assert_shown(
    const char *const *values, size_t count, const char *text, const char *expected)
{
    for (size_t size = 1; size <= strlen(text) + 1; size++) {
        cleanup_buf struct buf shown = BUF_INIT(0);
        show(values, count, text, size, &shown);
        assert_string_equal(buf_str(&shown), expected);
    }
}

static void a_secret_is_masked_wherever_the_output_is_cut(void **state)
{
    const char *const values[] = {"s3cret"};
    (void)state;
    assert_shown(
        values, 1, "a s3cret, s3cre, s3cs3cret\ns3cret", "a ******, s3cre, s3c******\n******");
    assert_shown(values, 1, "s3cre", "s3cre");
    assert_shown(values, 1, "nothing of it\n", "nothing of it\n");
}

static void secrets_may_overlap_and_begin_with_each_other(void **state)
{
    const char *const values[] = {"abab", "ababcd", "cdxy", "q"};
    (void)state;
    assert_shown(values, 4, "ababab ababcd ababcdxy abq", "****** ****** ******** ab*");
    assert_shown(values, 4, "ababcdx", "******x");
    assert_shown(values, 4, "aababc", "a****c");
}

static void the_lines_of_a_secret_are_masked_alone_but_for_short_ones(void **state)
{
    const char *const values[] = {"-----BEGIN\r\n{\nline two\n"};
    (void)state;
    assert_shown(values, 1, "+ -----BEGIN\n{ line two }", "+ **********\n{ ******** }");
    assert_shown(values, 1, "-----BEGIN\r\n{\nline two\nx", "**********\r\n*\n********\nx");
}

static void without_a_value_nothing_is_masked(void **state)
{
    const char *const values[] = {""};
    (void)state;
    assert_shown(values, 1, "abc", "abc");
    assert_shown(values, 0, "abc", "abc");
}

static void what_is_kept_back_can_be_dropped(void **state)
{
    const char *const values[] = {"secret"};
    struct secret_mask *mask = secret_mask_new(values, 1);
    cleanup_buf struct buf shown = BUF_INIT(0);
    (void)state;
    secret_mask_add(mask, "x secr", 6, add_shown, &shown);
    secret_mask_reset(mask);
    secret_mask_add(mask, "ets", 3, add_shown, &shown);
    secret_mask_flush(mask, add_shown, &shown);
    assert_string_equal(buf_str(&shown), "x ets");
    secret_mask_free(mask);
    secret_mask_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_secret_is_masked_wherever_the_output_is_cut),
        cmocka_unit_test(secrets_may_overlap_and_begin_with_each_other),
        cmocka_unit_test(the_lines_of_a_secret_are_masked_alone_but_for_short_ones),
        cmocka_unit_test(without_a_value_nothing_is_masked),
        cmocka_unit_test(what_is_kept_back_can_be_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
