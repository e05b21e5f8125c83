/* SPDX-License-Identifier: MPL-2.0 */
/* What a guest says that it listens on, and that it may say anything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "reconcilers/tunnel/guest_ports.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"

#define ANY6 "00000000000000000000000000000000"
#define LOOPBACK6 "00000000000000000000000001000000"

static void assert_ports(const char *line, const char *expected)
{
    struct tunnel_port ports[TUNNEL_PORTS_MAX] = {{.port = 0}};
    cleanup_buf struct buf text = BUF_INIT(0);
    size_t n = guest_ports_parse(line, ports);
    for (size_t i = 0; i < n; i++) {
        buf_printf(&text, "%s%u@%s", i ? " " : "", ports[i].port, ports[i].address);
    }
    assert_string_equal(text.len ? buf_str(&text) : "", expected);
}

static void each_port_comes_once_with_the_surest_address(void **state)
{
    (void)state;
    assert_ports("", "");
    assert_ports(" 0100007F:1F90", "8080@127.0.0.1");
    assert_ports("00000000:1F90 0F02000A:0050", "80@10.0.2.15 8080@127.0.0.1");
    assert_ports(ANY6 ":0050", "80@localhost");
    assert_ports(LOOPBACK6 ":0050", "80@::1");
    assert_ports("0F02000A:0050 " LOOPBACK6 ":0050 " ANY6 ":0050", "80@localhost");
    assert_ports(ANY6 ":0050 00000000:0050 0F02000A:0050", "80@127.0.0.1");
    assert_ports("0000000000000000FFFF00000100007F:0050", "80@127.0.0.1");
}

static void the_resolver_and_what_one_link_alone_reaches_are_left_out(void **state)
{
    (void)state;
    assert_ports("3500007F:0035 3600007F:0035", "");
    assert_ports("000080FE000000000000000001000000:0050", "");
}

static void what_is_not_understood_is_passed_over(void **state)
{
    (void)state;
    assert_ports("0100007F:0000 0100007F 0100007F: :0050 0100007F:50 0100007F:00050", "");
    assert_ports("0x00007F:0050 -100007F:0050 0100007F0100007F:0050 0100007F:0050x", "");
    assert_ports(ANY6 "00000000:0050 " ANY6 ANY6 ":0050 \t \xff \033[2J", "");
    assert_ports("sl $(reboot) 0100007F:0050 ;", "80@127.0.0.1");
}

static void a_guest_with_too_many_has_the_first_of_them(void **state)
{
    (void)state;
    struct tunnel_port ports[TUNNEL_PORTS_MAX];
    cleanup_buf struct buf line = BUF_INIT(0);
    for (unsigned port = UINT16_MAX; port > UINT16_MAX - 2 * TUNNEL_PORTS_MAX; port--) {
        buf_printf(&line, " 0100007F:%04X", port);
    }
    assert_int_equal(guest_ports_parse(buf_str(&line), ports), TUNNEL_PORTS_MAX);
    assert_int_equal(ports[TUNNEL_PORTS_MAX - 1].port, UINT16_MAX);
    assert_int_equal(ports[0].port, UINT16_MAX - TUNNEL_PORTS_MAX + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_port_comes_once_with_the_surest_address),
        cmocka_unit_test(the_resolver_and_what_one_link_alone_reaches_are_left_out),
        cmocka_unit_test(what_is_not_understood_is_passed_over),
        cmocka_unit_test(a_guest_with_too_many_has_the_first_of_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
