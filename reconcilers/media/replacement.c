/* SPDX-License-Identifier: MPL-2.0 */
/* Putting the disk that was made beside the present one in its place. */
#include <errno.h>
#include <stdio.h>

#include "reconcilers/backend/backend.h"
#include "reconcilers/media/disk_files.h"
#include "reconcilers/media/media.h"
#include "reconcilers/media/seed.h"
#include "reconcilers/trash/trash.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/paths.h"
#include "specs/vm/vm_spec.h"

int media_take_next(const struct vm_env *env, struct error *err)
{
    const struct paths *paths = env->host->paths;
    cleanup_free char *seed = paths_vm(paths, env->name, VM_SEED);
    cleanup_free char *next_seed = paths_vm(paths, env->name, VM_NEXT_SEED);
    cleanup_free char *overlay = paths_vm(paths, env->name, VM_OVERLAY);
    cleanup_free char *next_overlay = paths_vm(paths, env->name, VM_NEXT_OVERLAY);
    cleanup_free char *trusted = paths_vm(paths, env->name, VM_HOST_KEY_TRUSTED);
    int rc = fs_remove_file(trusted, err); /* the next guest has the key of ours */
    if (rc == 0 && vm_spec_has_our_seed(env->spec)) {
        rc = seed_write_known_hosts(paths, env->name, err);
    }
    if (rc == 0 && !env->spec->cloud_init.is_set) {
        rc = fs_remove_file(seed, err);
    }
    if (rc == 0 && fs_exists(next_seed) && rename(next_seed, seed) < 0) {
        rc = error_set_errno(err, ERR_IO, errno, "cannot replace '%s'", seed);
    }
    if (rc == 0 && fs_exists(next_overlay)) {
        rc = fs_exists(overlay) ? removal_discard_file(env->host, overlay, err) : 0;
        if (rc == 0 && rename(next_overlay, overlay) < 0) {
            rc = error_set_errno(err, ERR_IO, errno, "cannot replace '%s'", overlay);
        }
    }
    if (rc == 0) { /* of the old disk: killed before this, it is done again, as the rest */
        cleanup_free char *vm_dir = paths_vm(paths, env->name, VM_DIR);
        rc = disk_files_forget(vm_dir, err);
    }
    return rc < 0 ? rc : fs_sync_dir_of(overlay, err);
}
