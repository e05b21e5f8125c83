/* SPDX-License-Identifier: MPL-2.0 */
/* The largest values of a VM's numbers, wherever they are read: a VMFile, an archive, a list of the
 * original vmctl. */
#pragma once

enum {
    SPEC_VCPUS_MAX = 1024,
    SPEC_MEMORY_MAX_MIB = 16 << 20, /* 16 TiB */
    SPEC_MEMORY_LIMIT_MAX_MIB = 32 << 20,
    SPEC_CPU_LIMIT_MIN_MILLI = 10, /* the kernel's least */
    SPEC_CPU_LIMIT_MAX_MILLI = 1024 * 1000,
    SPEC_DISK_MAX_GIB = 64 << 10, /* 64 TiB */
    SPEC_RATE_MAX_KIB = 1 << 30,  /* 1 TiB a second */
    SPEC_IOPS_MAX = 1000 * 1000 * 1000,
    SPEC_STOP_TIMEOUT_MAX_S = 24 * 3600,
    SPEC_PERIOD_MAX_S = 24 * 3600, /* of a probe, and its other times */
    SPEC_FAILURES_MAX = 1000,
};
