/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The media half of the QEMU backend in files (backend/backend.h, struct media_ops): which files a
 * VM has, whether they are what the spec asks for, and who makes them: image.h, keys.h, disk.h,
 * seed.h, removal.h. media_files() is declared in backend/backend.h.
 */
#pragma once

#include "controller/loop/op.h"

struct error;
struct reconciler_host;
struct vm_env;

/* Makes the VM's directory, the key pairs and the seed of its spec, and no disk: for a backend
 * whose disks are elsewhere. Existing keys stay. Errors: of keys.h and seed.h. */
struct op *media_make_seed(const struct vm_env *env, op_done_fn *done, void *context);

/* Puts overlay and seed that were made beside the present ones in their place, the seed first:
 * killed in between, all of it is done again, and what was renamed already stays. */
int media_take_next(const struct vm_env *env, struct error *err);

/* Releases host->backend_data. All operations of VMs must be over or cancelled, the loop and the
 * pool must still be there. */
void media_free(struct reconciler_host *host);
