/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/instance.h"

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/lockfile.h"
#include "specs/base/paths.h"

int instance_take(const struct paths *paths, int *ret_fd, struct error *err)
{
    cleanup_free char *path = paths_path(paths, "controller.lock");
    int rc = lockfile_take(path, ret_fd, err);
    if (rc == -ERR_VM_CONFLICT) {
        error_clear(err);
        return error_set(err, ERR_VM_CONFLICT, "another vmctld runs for '%s'", paths->data_dir);
    }
    return rc;
}
