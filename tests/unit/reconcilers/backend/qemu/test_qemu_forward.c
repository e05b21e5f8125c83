/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/qemu/forward.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "reconcilers/backend/qemu/argv.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"

/* As QEMU 7.2 prints it. */
static const char info_usernet[] =
    "Hub -1 (net0):\r\n"
    "  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n"
    "  TCP[HOST_FORWARD]  13       127.0.0.1 10022       10.0.2.15    22     0     0\r\n"
    "  TCP[ESTABLISHED]   15       127.0.0.1 10022       10.0.2.15    22     0     0\r\n"
    "  UDP[HOST_FORWARD]  14       127.0.0.1 10053       10.0.2.15    53     0     0\r\n"
    "  TCP[HOST_FORWARD]  17               *  8080       10.0.2.15    80     0     0\r\n"
    "  TCP[HOST_FORWARD]  18     192.168.1.5  8081       10.0.2.15    81     0     0\r\n"
    "  UDP[236 sec]       16       10.0.2.15 51000         1.1.1.1    53     0     0\r\n";

static void forwards_are_found_and_connections_are_not(void **state)
{
    (void)state;
    cleanup_free struct spec_forward *list = NULL;
    assert_int_equal(forward_parse(info_usernet, &list), 4);
    assert_int_equal(list[0].protocol, FORWARD_TCP);
    assert_int_equal(list[0].host_port, 10022);
    assert_int_equal(list[0].guest_port, 22);
    assert_int_equal(list[1].protocol, FORWARD_UDP);
    assert_int_equal(list[1].host_port, 10053);
    assert_int_equal(list[1].guest_port, 53);
    assert_string_equal(list[1].address, "");
    assert_string_equal(list[2].address, "0.0.0.0");
    cleanup_free char *line = forward_add_line(&list[3]);
    assert_string_equal(line, "hostfwd_add " QEMU_NETDEV " tcp:192.168.1.5:8081-:81");
    cleanup_free char *undone = forward_remove_line(&list[2]);
    assert_string_equal(undone, "hostfwd_remove " QEMU_NETDEV " tcp:0.0.0.0:8080");
}

static void other_text_has_no_forwards(void **state)
{
    (void)state;
    static const char *const strings[] = {"", "\n\n", "unknown command: 'info usernet'\r\n",
        "TCP[HOST_FORWARD]", "TCP[HOST_FORWARD] 1 127.0.0.1 99999 10.0.2.15 22",
        "  TCP[HOST_FORWARD]  13  a  b  c  d"};
    for (size_t i = 0; i < ARRAY_LEN(strings); i++) {
        cleanup_free struct spec_forward *list = NULL;
        assert_int_equal(forward_parse(strings[i], &list), 0);
    }
}

static struct vm_spec *a_spec_with_a_forward(void)
{
    struct vm_spec *spec = vm_spec_new("web");
    spec->network.forwards = mem_new(struct spec_forward);
    spec->network.n_forwards = 1;
    spec->network.forwards[0] =
        (struct spec_forward){.protocol = FORWARD_UDP, .host_port = 5353, .guest_port = 53};
    return spec;
}

static void the_ssh_port_comes_first_then_the_specs(void **state)
{
    (void)state;
    struct vm_spec *spec = a_spec_with_a_forward();
    cleanup_free struct spec_forward *list = NULL;
    assert_int_equal(forward_list(spec, 10022, &list), 2);
    assert_int_equal(list[0].host_port, 10022);
    assert_int_equal(list[0].guest_port, 22);
    assert_int_equal(list[1].host_port, 5353);
    assert_true(forward_is_in(&spec->network.forwards[0], list, 2));
    assert_false(forward_is_in(&spec->network.forwards[0], list, 1));
    vm_spec_free(spec);
}

static void without_an_ssh_port_only_the_specs_remain(void **state)
{
    (void)state;
    struct vm_spec *spec = a_spec_with_a_forward();
    cleanup_free struct spec_forward *list = NULL;
    assert_int_equal(forward_list(spec, 0, &list), 1);
    assert_int_equal(list[0].host_port, 5353);
    vm_spec_free(spec);
}

static void only_the_user_network_has_forwards(void **state)
{
    (void)state;
    struct vm_spec *spec = a_spec_with_a_forward();
    spec->network.mode = NETWORK_TAP;
    cleanup_free struct spec_forward *list = NULL;
    assert_int_equal(forward_list(spec, 10022, &list), 0);
    vm_spec_free(spec);
}

static void lines_and_lease_keys_name_protocol_and_port(void **state)
{
    (void)state;
    struct spec_forward ssh = {.protocol = FORWARD_TCP, .host_port = 10022, .guest_port = 22};
    struct spec_forward dns = {.protocol = FORWARD_UDP, .host_port = 5353, .guest_port = 53};
    cleanup_free char *add = forward_add_line(&ssh);
    cleanup_free char *remove = forward_remove_line(&dns);
    cleanup_free char *ssh_key = forward_lease_key(&ssh);
    cleanup_free char *dns_key = forward_lease_key(&dns);
    assert_string_equal(add, "hostfwd_add net0 tcp:127.0.0.1:10022-:22");
    assert_string_equal(remove, "hostfwd_remove net0 udp:127.0.0.1:5353");
    assert_string_equal(ssh_key, "tcp/10022");
    assert_string_equal(dns_key, "udp/5353");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forwards_are_found_and_connections_are_not),
        cmocka_unit_test(other_text_has_no_forwards),
        cmocka_unit_test(the_ssh_port_comes_first_then_the_specs),
        cmocka_unit_test(without_an_ssh_port_only_the_specs_remain),
        cmocka_unit_test(only_the_user_network_has_forwards),
        cmocka_unit_test(lines_and_lease_keys_name_protocol_and_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
