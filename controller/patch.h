/* SPDX-License-Identifier: MPL-2.0 */
/* Turns a patch into the batch of what it changes: writing what is there already would wake
 * everybody who waits, and cost a commit. */
#pragma once

#include <stdint.h>

struct error;
struct store;
struct store_batch;
struct vm_patch;
struct vm_view;

/* *ret is NULL when the store already is as the patch wants it; else the caller owns it. */
int patch_to_batch(struct store *store, const struct vm_view *view, const struct vm_patch *patch,
    int64_t wall_ms, struct store_batch **ret, struct error *err);
