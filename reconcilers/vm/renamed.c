/* SPDX-License-Identifier: MPL-2.0 */
/* The files of a VM that was renamed follow its records. Each step looks first at what is there, so
 * it may be killed anywhere and begun again. */
#include "reconcilers/vm/pass.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reconcilers/media/seed.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"
#include "specs/vm/lease_key.h"

/* What is not there has moved already, or never was. */
static int move(const struct paths *paths, const char *folder, const char *from, const char *to,
    struct error *err)
{
    cleanup_close int fd = fs_open_beneath(paths->data_dir, folder, err);
    if (fd < 0) {
        return err->sys_errno == ENOENT ? 0 : -(int)err->code;
    }
    if (renameat2(fd, from, fd, to, RENAME_NOREPLACE) < 0) {
        return errno == ENOENT ? 0
                               : error_set_errno(err, ERR_IO, errno,
                                     "cannot rename '%s/%s' to '%s'", folder, from, to);
    }
    return fsync(fd) < 0 ? error_set_errno(err, ERR_IO, errno, "cannot sync '%s'", folder) : 0;
}

/* The guest's host key is known by the VM's name. */
static int rename_known_host(const struct paths *paths, const char *name, struct error *err)
{
    enum { LINE_MAX_BYTES = 64 * 1024 };
    struct error ignored = {.code = ERR_NONE};
    cleanup_buf struct buf text = BUF_INIT(LINE_MAX_BYTES);
    cleanup_free char *path = paths_vm(paths, name, VM_KNOWN_HOSTS);
    cleanup_free char *alias = seed_host_alias(name);
    cleanup_free char *begin = mem_printf("%s ", alias);
    if (!fs_exists(path) ||
        (fs_read_file(path, &text, &ignored) == 0 && text_starts_with(buf_str(&text), begin))) {
        return 0;
    }
    return seed_write_known_hosts(paths, name, err);
}

bool renamed_move_files(
    const struct reconciler_host *host, const struct vm_view *view, struct vm_patch *patch)
{
    const char *from = view->status->renamed_from;
    struct error err = {.code = ERR_NONE}, ignored = {.code = ERR_NONE};
    if (!from) {
        return true;
    }
    cleanup_free char *old_files = vm_name_flat(from), *files = vm_name_flat(view->name);
    if (move(host->paths, "vms", old_files, files, &err) < 0 ||
        rename_known_host(host->paths, view->name, &err) < 0) {
        log_error("vm", "%s: its files are still those of '%s': %s", view->name, from, err.message);
        return false;
    }
    (void)move(host->paths, "applied", old_files, files, &ignored); /* for `vmctl diff` alone */
    if (!view->desired || !view->desired->renamed_from) {
        cleanup_free char *key = name_lease_key(from);
        vm_patch_drop_lease(patch, key);
        free(TAKE_PTR(patch->status->renamed_from));
    }
    return true;
}

const char *renamed_now(struct reconciler_host *host, const char *name)
{
    cleanup_free char *key = name_lease_key(name);
    return host->lease_holder(host, key);
}
