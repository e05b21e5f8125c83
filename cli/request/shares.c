/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/request/shares.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/args.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/base/user_path.h"
#include "specs/vm/vm_spec.h"

/* A colon may be part of the host's path; the guest's begins with the last ":/". */
static int split(const char *text, struct spec_share *ret, struct error *err)
{
    size_t n = strlen(text);
    ret->is_readonly = text_ends_with(text, ":ro");
    n -= ret->is_readonly ? strlen(":ro") : 0;
    cleanup_free char *both = mem_strndup(text, n);
    char *colon = strrchr(both, ':');
    if (!colon || colon == both || !mount_point_is_valid(colon + 1)) {
        (void)error_set(err, ERR_USAGE, "--share: '%s' is not HOST:GUEST or HOST:GUEST:ro", text);
        return error_help(err, "GUEST is the absolute path of a directory in the guest: "
                               "--share .:/work");
    }
    cleanup_free char *cwd = getcwd(NULL, 0);
    *colon = '\0';
    ret->host = fs_resolve(both, cwd ? cwd : "/", paths_home());
    ret->guest = mem_strdup(colon + 1);
    ret->tag = share_default_tag(ret->guest);
    return 0;
}

static int check_share(
    const struct vm_spec *spec, const struct spec_share *share, struct error *err)
{
    struct stat st;
    if (user_path_stat(share->host, &st) < 0) {
        return error_set_errno(err, ERR_USAGE, errno, "--share: cannot read '%s'", share->host);
    }
    if (!S_ISDIR(st.st_mode) || access(share->host, R_OK | X_OK) < 0) {
        return error_set(
            err, ERR_USAGE, "--share: '%s' is not a directory that you can read", share->host);
    }
    for (size_t i = 0; i < spec->n_shares; i++) {
        if (text_eq(spec->shares[i].guest, share->guest) ||
            text_eq(spec->shares[i].tag, share->tag)) {
            return error_set(err, ERR_USAGE, "--share: another shared folder is mounted at '%s'",
                spec->shares[i].guest);
        }
    }
    return spec->n_shares < SHARES_MAX
               ? 0
               : error_set(err, ERR_USAGE, "--share: a VM has at most %d", SHARES_MAX);
}

int shares_add(struct vm_spec *spec, const struct arg_strings *shares, struct error *err)
{
    for (size_t i = 0; i < shares->count; i++) {
        struct spec_share share = {.host = NULL};
        int rc = split(shares->items[i], &share, err);
        rc = rc < 0 ? rc : check_share(spec, &share, err);
        if (rc < 0) {
            free(share.host);
            free(share.guest);
            free(share.tag);
            return rc;
        }
        mem_grow(spec->shares, spec->n_shares);
        spec->shares[spec->n_shares++] = share;
    }
    return 0;
}
