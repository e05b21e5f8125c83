/* SPDX-License-Identifier: MPL-2.0 */
/* media_ops.prepare: directory, keys, overlay, seed, one after the other. */
#pragma once

#include "controller/loop/op.h"

struct vm_env;
struct vm_prepared;

struct op *media_prepare(const struct vm_env *env, struct vm_prepared *result, op_done_fn *done,
    void *context);
