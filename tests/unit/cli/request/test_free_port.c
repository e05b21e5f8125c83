/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/request/free_port.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"

/* A socket that has a free port of the range, so that only others are left. */
static int take_a_port(int type, uint32_t *cursor, uint16_t *ret_port)
{
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    do {
        *ret_port = (uint16_t)(FREE_PORT_FIRST + (*cursor)++ % FREE_PORT_COUNT);
        address.sin_port = htons(*ret_port);
    } while (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0);
    return fd;
}

static void a_port_that_is_in_use_is_passed_over(void **state)
{
    (void)state;
    const struct {
        enum forward_protocol protocol;
        int type;
    } kinds[] = {{FORWARD_TCP, SOCK_STREAM}, {FORWARD_UDP, SOCK_DGRAM}};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        uint32_t cursor = 100;
        uint16_t taken = 0;
        cleanup_close int fd = take_a_port(kinds[i].type, &cursor, &taken);
        cursor--; /* just before it */
        assert_int_not_equal(free_port_next(kinds[i].protocol, &cursor), taken);
    }
}

static void no_port_is_told_twice_and_all_are_of_the_range(void **state)
{
    (void)state;
    uint32_t cursor = FREE_PORT_COUNT - 3; /* the range begins anew */
    uint16_t ports[8];
    for (size_t i = 0; i < ARRAY_LEN(ports); i++) {
        ports[i] = free_port_next(FORWARD_TCP, &cursor);
        assert_in_range(ports[i], FREE_PORT_FIRST, FREE_PORT_FIRST + FREE_PORT_COUNT - 1);
        for (size_t j = 0; j < i; j++) {
            assert_int_not_equal(ports[i], ports[j]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_port_that_is_in_use_is_passed_over),
        cmocka_unit_test(no_port_is_told_twice_and_all_are_of_the_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
