/* SPDX-License-Identifier: MPL-2.0 */
#pragma once

#include <stdbool.h>

struct error;

/*
 * Makes a tap device, which the kernel names (vmt0, vmt1, …), brings it up as a port of `bridge`
 * and returns its descriptor (linux: Documentation/networking/tuntap.rst). The device is not
 * persistent: it disappears with the last copy of the descriptor, that is, with QEMU.
 * ERR_QEMU_SPAWN, with a help text: there is no such bridge or no permission.
 */
int tap_open(const char *bridge, int *ret_fd, struct error *err);

/* Whether tap_open() failed for lack of a privilege that qemu-bridge-helper has (tap_helper.h). */
bool tap_is_permission(const struct error *err);
