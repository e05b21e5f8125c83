/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Volumes: each a qcow2 file in a folder of its own (specs/image/volume_file.h), made once and
 * removed by `vmctl volume rm` alone. Whose it is at the moment is a lease in the store
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
