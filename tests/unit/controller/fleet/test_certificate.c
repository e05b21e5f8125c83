/* SPDX-License-Identifier: MPL-2.0 */
/* The dates of certificates, of one from openssl(1). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controller/fleet/certificate.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "tests/support/sshd.h" /* test_dir_make() */

/* openssl req -x509, valid from 2020-01-01 00:00:00 until 2050-01-01 00:00:01, which takes both
 * ways to write a time. */
#include "certificate_bytes.h"

static void the_dates_are_read(void **state)
{
    (void)state;
    struct certificate_dates dates;
    struct error err = {0};
    struct bytes der = {(const char *)certificate_bytes, sizeof(certificate_bytes)};
    assert_int_equal(certificate_parse(&der, &dates, &err), 0);
    assert_int_equal(dates.from_ms, INT64_C(1577836800000));
    assert_int_equal(dates.until_ms, INT64_C(2524608001000));
}

static void a_certificate_that_is_cut_off_is_refused(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof(certificate_bytes); n++) {
        struct certificate_dates dates;
        struct error err = {0};
        struct bytes der = {(const char *)certificate_bytes, n};
        assert_int_equal(certificate_parse(&der, &dates, &err), -ERR_FLEET_TLS);
    }
}

static void a_file_that_is_not_one_is_named(void **state)
{
    (void)state;
    char *dir = test_dir_make();
    char *path = mem_printf("%s/a.pem", dir);
    struct certificate_dates dates;
    struct error err = {0};
    assert_int_equal(certificate_read(path, &dates, &err), -ERR_FLEET_TLS);
    assert_non_null(strstr(err.message, path));
    static const char *const contents[] = {"", "-----BEGIN CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"};
    for (size_t i = 0; i < 4; i++) {
        error_clear(&err);
        assert_int_equal(fs_write_file(path, contents[i], strlen(contents[i]), 0600, &err), 0);
        assert_int_equal(certificate_read(path, &dates, &err), -ERR_FLEET_TLS);
        assert_non_null(strstr(err.message, path));
    }
    free(path);
    test_dir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_dates_are_read),
        cmocka_unit_test(a_certificate_that_is_cut_off_is_refused),
        cmocka_unit_test(a_file_that_is_not_one_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
