/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Scripts a noop machine that is slow, fails or ignores commands. In the product it does none of
 * that: noop_script.c returns the defaults. Test builds link tests/support/noop_script.c instead,
 * which reads the values from files that a test writes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct reconciler_host;

/* The number of `key` for this VM; `otherwise` when none is set. */
int64_t noop_script_int(
    const struct reconciler_host *host, const char *vm_name, const char *key, int64_t otherwise);
bool noop_script_flag(const struct reconciler_host *host, const char *vm_name, const char *key);
