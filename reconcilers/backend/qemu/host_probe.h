/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Reports what vmctld finds on this host, for `vmctl doctor`, which does not link the backends: an
 * object
 *   {"kvm": {"usable": true, "reason": ""}, "qemu": {"path": "/usr/bin/qemu-system-x86_64"},
 *    "shares": {"path": "/usr/libexec/virtiofsd"}, "uefi": {…}, "uefi-secure": {…}, "tpm": {…}}
 * with "error" and "help" in place of a path where there is none that works; "shares" has no help.
 * Needs no data directory.
 */
#pragma once

#include "specs/base/json.h"

struct error;

/* Takes up to KVM_PROBE_TIMEOUT_MS, or as long as share_probe_start(). Caller owns *ret. */
int host_probe_run(json_t **ret, struct error *err);
