/* SPDX-License-Identifier: MPL-2.0 */
/* A guest's address among what its agent reports. */
#include "reconcilers/backend/qemu/agent_address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"

#define MAC "52:54:00:12:34:56"

/* The address that is found in `addresses` of the interface with our MAC; "": none. */
static const char *find(const char *addresses)
{
    static char found[INET6_ADDRSTRLEN];
    cleanup_json json_t *list = json_loads(addresses, 0, NULL);
    assert_non_null(list);
    cleanup_json json_t *interfaces = json_pack("[{s:s}, {s:s, s:[{s:s}]}, {s:s, s:O}]", "name",
        "lo", "hardware-address", "52:54:00:00:00:01", "ip-addresses", "ip-address", "192.0.2.99",
        "hardware-address", "52:54:00:12:34:56", "ip-addresses", list);
    assert_non_null(interfaces);
    found[0] = '\0';
    bool is_found = agent_find_address(interfaces, "52:54:00:12:34:56", found);
    assert_int_equal(is_found, found[0] != '\0');
    return found;
}

static void the_address_is_that_of_the_interface_with_its_mac(void **state)
{
    (void)state;
    assert_string_equal(find("[{\"ip-address\": \"192.0.2.7\", \"prefix\": 24}]"), "192.0.2.7");
    assert_string_equal(find("[{\"ip-address\": \"2001:DB8::7\"}]"), "2001:db8::7");
    assert_string_equal(
        find("[{\"ip-address\": \"2001:db8::7\"}, {\"ip-address\": \"192.0.2.7\"}]"), "192.0.2.7");
}

static void an_address_that_leads_elsewhere_is_not_taken(void **state)
{
    static const char *const lists[] = {"[]", "{}", "[{\"ip-address\": \"127.0.0.1\"}]",
        "[{\"ip-address\": \"0.0.0.0\"}]", "[{\"ip-address\": \"169.254.169.254\"}]",
        "[{\"ip-address\": \"224.0.0.1\"}]", "[{\"ip-address\": \"255.255.255.255\"}]",
        "[{\"ip-address\": \"::1\"}]", "[{\"ip-address\": \"fe80::1\"}]",
        "[{\"ip-address\": \"::ffff:127.0.0.1\"}]", "[{\"ip-address\": \"ff02::1\"}]",
        "[{\"ip-address\": 7}]", "[{\"ip-address\": \"-oProxyCommand=x\"}]", "[7, null, []]"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        assert_string_equal(find(lists[i]), "");
    }
}

static void what_is_no_list_of_interfaces_has_none(void **state)
{
    static const char *const texts[] = {"[]", "{}", "[[], 7, {\"hardware-address\": 3}]"};
    char found[INET6_ADDRSTRLEN];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        cleanup_json json_t *json = json_loads(texts[i], 0, NULL);
        assert_false(agent_find_address(json, MAC, found));
    }
    assert_false(agent_find_address(NULL, MAC, found));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_address_is_that_of_the_interface_with_its_mac),
        cmocka_unit_test(an_address_that_leads_elsewhere_is_not_taken),
        cmocka_unit_test(what_is_no_list_of_interfaces_has_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
