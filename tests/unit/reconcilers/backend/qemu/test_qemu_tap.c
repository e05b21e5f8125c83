/* SPDX-License-Identifier: MPL-2.0 */
/* Tap devices, in a network namespace of their own; skipped where none can be made. */
#include "reconcilers/backend/qemu/tap.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"

static bool make_bridge(const char *name)
{
    cleanup_close int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return control >= 0 && (ioctl(control, SIOCBRADDBR, name) == 0 || errno == EEXIST);
}

static bool have_bridge(void)
{
    return unshare(CLONE_NEWNET) == 0 && access("/dev/net/tun", R_OK | W_OK) == 0 &&
           make_bridge("br7");
}

static bool is_up(int control, const char *device)
{
    struct ifreq request = {0};
    memcpy(request.ifr_name, device, strlen(device));
    return ioctl(control, SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_UP);
}

/* A port cannot become one again; sysfs would show another namespace's devices. */
static bool is_port(int control, const char *device, const char *bridge)
{
    struct ifreq request = {.ifr_ifindex = (int)if_nametoindex(device)};
    memcpy(request.ifr_name, bridge, strlen(bridge));
    return ioctl(control, SIOCBRADDIF, &request) < 0 && errno == EBUSY;
}

static void a_tap_device_is_an_active_port_and_vanishes_with_its_descriptor(void **state)
{
    (void)state;
    if (!have_bridge()) {
        skip();
    }
    int fd = -1;
    struct error err = {0};
    if (tap_open("br7", &fd, &err) < 0) {
        fail_msg("%s", err.message);
    }
    struct ifreq request = {0};
    assert_int_equal(ioctl(fd, TUNGETIFF, &request), 0);
    assert_memory_equal(request.ifr_name, "vmt", 3);
    assert_true(request.ifr_flags & IFF_VNET_HDR);
    cleanup_close int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(is_up(control, request.ifr_name));
    assert_true(is_port(control, request.ifr_name, "br7"));
    assert_int_not_equal(if_nametoindex(request.ifr_name), 0);
    close(fd);
    assert_int_equal(if_nametoindex(request.ifr_name), 0);
}

static void a_missing_bridge_is_told_with_the_command_that_makes_it(void **state)
{
    (void)state;
    int fd = -1;
    struct error err = {0};
    assert_int_equal(tap_open("nobridge7", &fd, &err), -ERR_QEMU_SPAWN);
    assert_string_equal(err.message, "network bridge 'nobridge7' does not exist");
    assert_string_equal(error_help_text(&err),
        "create it: ip link add nobridge7 type bridge && ip link set nobridge7 up");
    assert_int_equal(fd, -1);
}

static void a_name_too_long_for_a_device_is_no_bridge(void **state)
{
    (void)state;
    int fd = -1;
    struct error err = {0};
    assert_int_equal(tap_open("a-name-of-20-letters", &fd, &err), -ERR_QEMU_SPAWN);
}

static void what_is_no_bridge_is_refused(void **state)
{
    (void)state;
    if (!have_bridge()) {
        skip();
    }
    int fd = -1;
    struct error err = {0};
    assert_int_equal(tap_open("lo", &fd, &err), -ERR_QEMU_SPAWN);
    const char *start = "bridge 'lo': cannot add the tap device to the bridge: ";
    assert_memory_equal(err.message, start, strlen(start));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tap_device_is_an_active_port_and_vanishes_with_its_descriptor),
        cmocka_unit_test(a_missing_bridge_is_told_with_the_command_that_makes_it),
        cmocka_unit_test(a_name_too_long_for_a_device_is_no_bridge),
        cmocka_unit_test(what_is_no_bridge_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
