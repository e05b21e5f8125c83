/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The guest of the KVM probe: a few instructions in a VM of one vCPU, run through the kernel's own
 * interface (linux: Documentation/virt/kvm/api.rst). kvm_probe.c forks, and the child comes here.
 */
#pragma once

#include <stdint.h>

enum kvm_stage {
    KVM_STAGE_REAL_MODE, /* `out; hlt`: the interface works at all */
    KVM_STAGE_LONG_MODE, /* paging on, a loop of KVM_LOOP_TURNS turns: guests run at speed */
    KVM_STAGE_COUNT_
};

enum { KVM_LOOP_TURNS = 1000000, KVM_LOOP_INSTRUCTIONS = 2 * KVM_LOOP_TURNS };

enum kvm_step {
    KVM_STEP_OPEN,
    KVM_STEP_VERSION,
    KVM_STEP_MAKE_VM,
    KVM_STEP_MAKE_MEMORY,
    KVM_STEP_MAKE_VCPU,
    KVM_STEP_SET_REGISTERS,
    KVM_STEP_RUN,
    KVM_STEP_HALT, /* it ran, but ended otherwise than by `hlt` */
    KVM_STEP_DONE,
    KVM_STEP_COUNT_
};

/* One stage's outcome, written to the pipe as it is: both ends are the same program. */
struct kvm_report {
    int32_t stage;
    int32_t step; /* KVM_STEP_DONE, or the one that failed */
    int32_t error_number;
    int32_t exit_reason; /* of KVM_STEP_HALT */
    int64_t elapsed_ns;  /* in KVM_RUN */
};

/* Writes a report per stage to `report_fd` until one fails, then ends the process. Called in a fork
 * of a program with threads: async-signal-safe calls only (signal-safety(7)). */
_Noreturn void kvm_guest_run(int report_fd);
