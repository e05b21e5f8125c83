/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Can KVM really run a guest here? Answered within KVM_PROBE_TIMEOUT_MS.
 *
 * /dev/kvm may open, make VMs and even run a real-mode `hlt` in a millisecond on a host where no
 * guest ever boots: a software KVM on a machine without VMX or SVM interprets ordinary guests at
 * about half a microsecond an instruction. So a loop in long mode is timed. It happens in a forked
 * child, because a thread in KVM_RUN cannot be given a timeout and a process can be killed.
 */
#pragma once

#include "controller/loop/op.h"

struct loop;

enum { KVM_PROBE_TIMEOUT_MS = 150 };

enum kvm_verdict {
    KVM_USABLE,
    KVM_ABSENT, /* no /dev/kvm, or no permission: cheap to ask again */
    KVM_BROKEN,
    KVM_TOO_SLOW,
};

/* `reason`: why it is not usable, "" if it is; borrowed for the call. */
typedef void kvm_probe_fn(void *context, enum kvm_verdict verdict, const char *reason);

/* Never fails: what goes wrong is KVM_BROKEN. */
struct op *kvm_probe_start(struct loop *loop, kvm_probe_fn *done, void *context);
