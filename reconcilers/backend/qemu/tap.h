/* SPDX-License-Identifier: MPL-2.0 */
#pragma once

#include <stdbool.h>

struct error;

/*
 * Makes a tap device of the kernel's naming (vmt0, vmt1, …), brings it up as a port of `bridge` and
 * returns its descriptor (linux: Documentation/networking/tuntap.rst). The device is not
 * persistent: it goes with the last copy of the descriptor, that is, with QEMU. ERR_QEMU_SPAWN when
 * there is no such bridge or no permission: the help says what to do.
 */
int tap_open(const char *bridge, int *ret_fd, struct error *err);

/* Whether tap_open() failed for lack of a privilege that qemu-bridge-helper has (tap_helper.h). */
bool tap_is_permission(const struct error *err);
