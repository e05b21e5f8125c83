/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Volumes: each is a qcow2 file in its own folder (specs/image/volume_file.h), created once and
 * removed only by `vmctl volume rm`. A lease in the store records the VM that has it
 * (reconcilers/vm/volumes.h).
 */
#pragma once

#include <stdbool.h>

#include "controller/loop/op.h"

struct vm_env;

/* media_facts.is_volume_due: by stat() and the files' headers. */
bool volumes_are_due(const struct vm_env *env);

/* media_ops.make_volumes() */
struct op *volumes_make(const struct vm_env *env, op_done_fn *done, void *context);
