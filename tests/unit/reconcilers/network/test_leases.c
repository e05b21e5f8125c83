/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/network/leases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define MAC "52:54:00:12:34:56"

enum { NOW_S = 1700000000 };

static bool find(const char *text, struct lease *ret)
{
    return leases_find(text, strlen(text), MAC, NOW_S, ret);
}

static void expect(const char *text, const char *ip, int64_t expires_s)
{
    struct lease lease = {.ip = ""};
    assert_true(find(text, &lease));
    assert_string_equal(lease.ip, ip);
    assert_int_equal(lease.expires_s, expires_s);
}

static void expect_none(const char *text)
{
    struct lease lease = {.ip = "before", .expires_s = -7};
    assert_false(find(text, &lease));
    assert_string_equal(lease.ip, "before");
    assert_int_equal(lease.expires_s, -7);
}

static void a_lease_is_found_among_others(void **state)
{
    (void)state;
    expect("1700003600 52:54:00:00:00:01 10.77.0.11 other 01:52:54:00:00:00:01\n"
           "1700003601 " MAC " 10.77.0.12 web 01:52:54:00:12:34:56\n"
           "1700003602 52:54:00:00:00:02 10.77.0.13 * *\n",
        "10.77.0.12", 1700003601);
}

static void the_case_of_the_mac_address_does_not_matter(void **state)
{
    (void)state;
    struct lease lease;
    const char *text = "1700003600 52:54:00:AB:cd:Ef 10.77.0.12 web *\n";
    assert_true(leases_find(text, strlen(text), "52:54:00:aB:CD:ef", NOW_S, &lease));
    assert_string_equal(lease.ip, "10.77.0.12");
}

static void the_last_one_counts(void **state)
{
    (void)state;
    expect("1700009999 " MAC " 10.77.0.12 web *\n1700003600 " MAC " 10.77.0.99 web *\n",
        "10.77.0.99", 1700003600);
}

static void an_expired_one_does_not_count(void **state)
{
    (void)state;
    expect_none("1699999999 " MAC " 10.77.0.12 web *\n");
    expect_none("1700000000 " MAC " 10.77.0.12 web *\n"); /* ends this very second */
    expect("1700000001 " MAC " 10.77.0.12 web *\n1699999999 " MAC " 10.77.0.13 web *\n",
        "10.77.0.12", 1700000001);
}

static void an_expiry_of_zero_is_never(void **state)
{
    (void)state;
    expect("0 " MAC " 10.77.0.12 web *\n", "10.77.0.12", INT64_MAX);
}

static void the_last_line_need_not_end(void **state)
{
    (void)state;
    expect("1700003600 " MAC " 10.77.0.12", "10.77.0.12", 1700003600);
}

static void a_line_cut_in_its_address_is_no_lease_of_another_address(void **state)
{
    (void)state;
    expect_none("1700003600 " MAC " 10.77.0");
    expect_none("1700003600 " MAC " ");
    expect_none("1700003600 " MAC);
    expect_none("1700003600");
    expect_none("");
}

static void leases_of_ipv6_are_left_out(void **state)
{
    (void)state;
    expect_none("duid 00:01:00:01:2c:11:22:33:52:54:00:aa:bb:cc\n"
                "1700003600 1193046 fd00::12 web 00:01:00:01:2c:11:22:33:52:54:00:12:34:56\n"
                "1700003600 " MAC " fd00::12 web *\n");
}

static void hardware_that_is_not_ethernet_is_another_one(void **state)
{
    (void)state;
    expect_none("1700003600 06-" MAC " 10.77.0.12 web *\n");
    expect_none("1700003600 " MAC ":00 10.77.0.12 web *\n");
}

static void addresses_that_lead_to_the_host_itself_are_refused(void **state)
{
    (void)state;
    expect_none("1700003600 " MAC " 127.0.0.1 web *\n");
    expect_none("1700003600 " MAC " 0.0.0.0 web *\n");
    expect_none("1700003600 " MAC " 224.0.0.1 web *\n");
    expect_none("1700003600 " MAC " 255.255.255.255 web *\n");
}

static void damage_costs_only_its_line(void **state)
{
    (void)state;
    const char text[] = "x\n\n \n-5 " MAC " 10.77.0.1 a *\n"
                        "99999999999999999999 " MAC " 10.77.0.2 a *\n"
                        "17000x " MAC " 10.77.0.3 a *\n"
                        "1700003600  " MAC " 10.77.0.4 a *\n"
                        "1700003600 " MAC " 10.77.0.5.6 a *\n"
                        "1700003600 " MAC " 010.77.0.256 a *\n"
                        "\0\0\0\n"
                        "1700003600 " MAC " 10.77.0.12 web *\n"
                        "1700003600 " MAC " 10.77\0.0.7 a *\n";
    struct lease lease = {.ip = ""};
    assert_true(leases_find(text, sizeof(text) - 1, MAC, NOW_S, &lease));
    assert_string_equal(lease.ip, "10.77.0.12");
}

static void nothing_is_read_beyond_the_end(void **state)
{
    (void)state;
    const char *text = "1700003600 " MAC " 10.77.0.12";
    struct lease lease;
    assert_true(leases_find(text, strlen(text) - 1, MAC, NOW_S, &lease));
    assert_string_equal(lease.ip, "10.77.0.1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lease_is_found_among_others),
        cmocka_unit_test(the_case_of_the_mac_address_does_not_matter),
        cmocka_unit_test(the_last_one_counts),
        cmocka_unit_test(an_expired_one_does_not_count),
        cmocka_unit_test(an_expiry_of_zero_is_never),
        cmocka_unit_test(the_last_line_need_not_end),
        cmocka_unit_test(a_line_cut_in_its_address_is_no_lease_of_another_address),
        cmocka_unit_test(leases_of_ipv6_are_left_out),
        cmocka_unit_test(hardware_that_is_not_ethernet_is_another_one),
        cmocka_unit_test(addresses_that_lead_to_the_host_itself_are_refused),
        cmocka_unit_test(damage_costs_only_its_line),
        cmocka_unit_test(nothing_is_read_beyond_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
