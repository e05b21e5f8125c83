/* SPDX-License-Identifier: MPL-2.0 */
/* The largest values of a VM's numbers, wherever they are read: a VMFile, an archive, a list of the
 * original vmctl. */
#pragma once

enum {
    SPEC_VCPUS_MAX = 1024,
    SPEC_MEMORY_MAX_MIB = 16 << 20, /* 16 TiB */
    SPEC_DISK_MAX_GIB = 64 << 10,   /* 64 TiB */
    SPEC_STOP_TIMEOUT_MAX_S = 24 * 3600,
    SPEC_PERIOD_MAX_S = 24 * 3600, /* of a probe, and its other times */
    SPEC_FAILURES_MAX = 1000,
};
