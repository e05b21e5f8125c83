/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Chooses the accelerator of an instance. `auto` uses the probe (kvm_probe.h): KVM if it is usable,
 * else TCG. VMCTL_ACCEL=kvm|tcg in the environment replaces `auto`.
 */
#pragma once

#include "controller/loop/op.h"
#include "specs/vm/vm_spec.h"

struct error;
struct loop;

/* `accel` is "kvm" or "tcg" (static text); with `err` it is NULL. */
typedef void accel_chosen_fn(void *context, const char *accel, const struct error *err);

/* ERR_KVM_UNAVAILABLE if KVM is required and the probe fails. If the probe has no verdict, `auto`
 * is TCG and a required KVM is left to QEMU. A verdict is kept in memory until the host reboots, so
 * only the first start waits for the probe. */
struct op *accel_choose(
    struct loop *loop, enum accel_mode wanted, accel_chosen_fn *done, void *context);
