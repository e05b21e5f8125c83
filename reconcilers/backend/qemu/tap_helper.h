/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Makes a tap device without CAP_NET_ADMIN: QEMU's qemu-bridge-helper, a setuid program, adds one
 * to a bridge that /etc/qemu/bridge.conf allows ("allow br0"), and sends the descriptor over a Unix
 * socket (SCM_RIGHTS, unix(7)). vmctld runs the helper because QEMU's sandbox forbids QEMU every
 * child.
 */
#pragma once

#include "controller/loop/op.h"

struct loop;

/* `fd_take` is the tap device's (O_CLOEXEC), or -1 with `err`, which is borrowed for the call. */
typedef void tap_helper_done_fn(void *context, int fd_take, const struct error *err);

/*
 * Runs the helper ($VMCTL_BRIDGE_HELPER, else where distributions install it) for 5 s at most.
 * `refusal` is why the device could not be made directly: copied, and part of the ERR_QEMU_SPAWN
 * when the helper fails, too, whose help names both remedies. Never fails: `done` gets every error.
 */
struct op *tap_helper_start(struct loop *loop, const char *bridge, const struct error *refusal,
    tap_helper_done_fn *done, void *context);
