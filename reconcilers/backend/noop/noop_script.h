/* SPDX-License-Identifier: MPL-2.0 */
/*
 * How a noop machine behaves at the points where a real one may be slow, fail or be stubborn. In
 * the product it does none of that: noop_script.c gives each question its plain answer. Test builds
 * link tests/support/noop_script.c instead, which reads the answers from files that a test writes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct reconciler_host;

/* A number of this VM, `otherwise` when there is nothing special. */
int64_t noop_script_int(
    const struct reconciler_host *host, const char *vm_name, const char *key, int64_t otherwise);
bool noop_script_flag(const struct reconciler_host *host, const char *vm_name, const char *key);
