/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/qemu/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"

bool tap_is_permission(const struct error *err)
{
    return err->sys_errno == EPERM || err->sys_errno == EACCES;
}

static int tap_refused(struct error *err, const char *what)
{
    (void)error_set_errno(err, ERR_QEMU_SPAWN, errno, "%s", what);
    if (tap_is_permission(err)) {
        return error_help(err, "network \"tap\" needs CAP_NET_ADMIN: run as root, "
                               "or use network \"user\"");
    }
    return -(int)err->code;
}

static int make_device(int *ret_fd, char *ret_name, struct error *err)
{
    cleanup_close int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return tap_refused(err, "cannot open /dev/net/tun");
    }
    /* QEMU reads the flags back (TUNGETIFF) and offers the guest what IFF_VNET_HDR allows. */
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    (void)snprintf(request.ifr_name, sizeof(request.ifr_name), "vmt%%d");
    if (ioctl(fd, TUNSETIFF, &request) < 0) {
        return tap_refused(err, "cannot create a tap device");
    }
    memcpy(ret_name, request.ifr_name, IFNAMSIZ);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

static int add_to_bridge(int control, const char *bridge, const char *tap, struct error *err)
{
    struct ifreq request = {.ifr_ifindex = (int)if_nametoindex(tap)};
    (void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", bridge);
    if (ioctl(control, SIOCBRADDIF, &request) < 0) {
        (void)tap_refused(err, "cannot add the tap device to the bridge");
        return error_wrap(err, "bridge '%s'", bridge);
    }
    return 0;
}

static int bring_up(int control, const char *tap, struct error *err)
{
    struct ifreq request = {0};
    (void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", tap);
    if (ioctl(control, SIOCGIFFLAGS, &request) < 0) {
        return tap_refused(err, "cannot read the tap device's state");
    }
    request.ifr_flags = (short)(request.ifr_flags | IFF_UP);
    return ioctl(control, SIOCSIFFLAGS, &request) < 0
               ? tap_refused(err, "cannot bring the tap device up")
               : 0;
}

int tap_open(const char *bridge, int *ret_fd, struct error *err)
{
    if (strlen(bridge) >= IFNAMSIZ || if_nametoindex(bridge) == 0) {
        (void)error_set(err, ERR_QEMU_SPAWN, "network bridge '%s' does not exist", bridge);
        return error_help(err, "create it: ip link add %.32s type bridge && ip link set %.32s up",
            bridge, bridge);
    }
    cleanup_close int fd = -1;
    char name[IFNAMSIZ];
    int rc = make_device(&fd, name, err);
    if (rc < 0) {
        return rc;
    }
    cleanup_close int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (control < 0) {
        return tap_refused(err, "cannot create a socket");
    }
    rc = add_to_bridge(control, bridge, name, err);
    if (rc == 0) {
        rc = bring_up(control, name, err);
    }
    if (rc == 0) {
        *ret_fd = TAKE_FD(fd);
    }
    return rc;
}
