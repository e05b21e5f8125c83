/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/owner_lock.h"

#include <errno.h>
#include <sys/random.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/lockfile.h"
#include "specs/base/log.h"
#include "specs/base/paths.h"

/* JSON's integers are signed, and so are offsets in a file. */
static const uint64_t OWNER_MASK = (UINT64_C(1) << 62) - 1;

int owner_lock_take(const struct paths *paths, uint64_t *ret_owner, int *ret_fd, struct error *err)
{
    uint64_t rng = 0;
    cleanup_free char *path = paths_path(paths, "owners.lock");
    if (getrandom(&rng, sizeof(rng), 0) != (ssize_t)sizeof(rng)) {
        return error_set_errno(err, ERR_IO, errno, "cannot get a random number");
    }
    uint64_t owner = (rng & OWNER_MASK) | 1;
    int rc = lockfile_take_range(path, owner, 1, ret_fd, err);
    if (rc == 0) {
        *ret_owner = owner;
    }
    return rc;
}

bool owner_lock_is_gone(const struct paths *paths, uint64_t owner)
{
    cleanup_free char *path = paths_path(paths, "owners.lock");
    struct error err = {.code = ERR_NONE};
    int held = lockfile_byte_is_held(path, owner, &err);
    if (held < 0) {
        log_warn("vm", "%s", err.message);
    }
    return held == 0;
}
