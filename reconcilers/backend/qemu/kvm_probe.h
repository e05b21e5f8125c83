/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Probes whether KVM runs guests on this host, within KVM_PROBE_TIMEOUT_MS.
 *
 * On a host without VMX or SVM, /dev/kvm may open, make VMs and even run a real-mode `hlt` in a
 * millisecond, yet interpret ordinary guests so slowly that none boots. So a loop in long mode runs
 * against a deadline, in a forked child: a thread in KVM_RUN has no timeout, a process can be
 * killed.
 */
#pragma once

#include "controller/loop/op.h"

struct loop;

enum { KVM_PROBE_TIMEOUT_MS = 150 };

enum kvm_verdict {
    KVM_USABLE,
    KVM_ABSENT,  /* no /dev/kvm, or no permission: cheap to ask again */
    KVM_BROKEN,  /* cannot run a guest, or only too slowly */
    KVM_UNKNOWN, /* the probe has no guest for this CPU architecture */
};

/* `reason`: why it is not usable, "" if it is; borrowed for the call. */
typedef void kvm_probe_fn(void *context, enum kvm_verdict verdict, const char *reason);

/* Never fails: any error is KVM_BROKEN. */
struct op *kvm_probe_start(struct loop *loop, kvm_probe_fn *done, void *context);
