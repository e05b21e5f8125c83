/* SPDX-License-Identifier: MPL-2.0 */
/* The files of an import (specs/vm/vm_import.h): they become those of the VM whose origin names
 * them, each by one rename, the disk last. */
#pragma once

#include "controller/loop/op.h"

struct reconciler_host;
struct vm_env;

/* media_ops.clone() of an origin with `import`; may be done twice. -ERR_VM_CONFLICT: there is a
 * volume of that name by now. -ERR_SNAPSHOT_NOT_FOUND: the files are gone. */
struct op *imported_take(const struct vm_env *env, op_done_fn *done, void *context);

/* Removes the leftovers of killed imports that no VM will use. Called at start. */
void imported_sweep(struct reconciler_host *host);
