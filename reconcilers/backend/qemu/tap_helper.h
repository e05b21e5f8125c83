/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A tap device without CAP_NET_ADMIN: QEMU's own qemu-bridge-helper, a setuid program that makes
 * one as a port of a bridge which /etc/qemu/bridge.conf allows ("allow br0"), and sends the
 * descriptor over a Unix socket (SCM_RIGHTS, unix(7)). We run it and not QEMU, whose sandbox denies
 * it every child.
 */
#pragma once

#include "controller/loop/op.h"

struct loop;

/* `fd_take` is the tap device's (O_CLOEXEC), or -1 with `err`, which is borrowed for the call. */
typedef void tap_helper_done_fn(void *context, int fd_take, const struct error *err);

/*
 * Runs the helper ($VMCTL_BRIDGE_HELPER, else where distributions put it) for 5 s at most.
 * `refusal` is why the device could not be made directly: copied, told when this fails too, then as
 * ERR_QEMU_SPAWN with both ways out as help. Never fails: what goes wrong is told by `done`.
 */
struct op *tap_helper_start(struct loop *loop, const char *bridge, const struct error *refusal,
    tap_helper_done_fn *done, void *context);
