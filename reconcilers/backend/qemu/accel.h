/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Which accelerator an instance gets. `auto` asks the probe (kvm_probe.h): KVM if it is usable,
 * else TCG. VMCTL_ACCEL=kvm|tcg in the environment takes the place of `auto`.
 */
#pragma once

#include "controller/loop/op.h"
#include "specs/vm/vm_spec.h"

struct error;
struct loop;

/* `accel` is "kvm" or "tcg" (static text); with `err` it is NULL. */
typedef void accel_chosen_fn(void *context, const char *accel, const struct error *err);

/* ERR_KVM_UNAVAILABLE when KVM is asked for by name and the probe says no; where the probe cannot
 * determine, `auto` is TCG and QEMU tries the KVM that is asked for by name. A verdict is kept in
 * memory for the host's boot, so only the first start waits for the probe. */
struct op *accel_choose(
    struct loop *loop, enum accel_mode wanted, accel_chosen_fn *done, void *context);
