/* SPDX-License-Identifier: MPL-2.0 */
/* The files of a VM that was renamed follow its records. Each step looks first at what is there, so
 * it may be killed anywhere and begun again. */
#include "reconcilers/vm/pass.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reconcilers/media/seed.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/compat.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"
#include "specs/vm/lease_key.h"

/* 0: there is none. */
static uint64_t inode_of(int dir_fd, const char *name)
{
    struct stat st;
    return fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? (uint64_t)st.st_ino & INT64_MAX
                                                                : 0;
}

static int sync_dir(int fd, const char *folder, struct error *err)
{
    return fsync(fd) < 0 ? error_set_errno(err, ERR_IO, errno, "cannot sync '%s'", folder) : 0;
}

/* What is at the new place already is ours if it is the directory that was there when the VM was
 * renamed. Neither is a failure only if there was something. */
static int move(const struct pass *pass, const char *folder, uint64_t inode, struct error *err)
{
    const struct vm_status *status = pass->view->status;
    cleanup_free char *from = vm_name_flat(status->renamed_from);
    cleanup_free char *to = vm_name_flat(pass->view->name);
    bool was_there = status->prepared.digest[0];
    cleanup_close int fd = fs_open_beneath(pass->vm->host->paths->data_dir, folder, err);
    if (fd < 0) {
        return err->sys_errno == ENOENT && !was_there ? 0 : -(int)err->code;
    }
    uint64_t present = inode_of(fd, to);
    if ((inode && present == inode) || renameat2(fd, from, fd, to, RENAME_NOREPLACE) == 0) {
        return sync_dir(fd, folder, err);
    }
    if (errno == ENOENT && (present || !was_there)) {
        return 0;
    }
    if (errno == ENOENT) {
        (void)error_set(err, ERR_IO,
            "its files are neither in '%s/%s' nor, under its old name, in '%s/%s'", folder, to,
            folder, from);
        err->sys_errno = ENOENT;
        return error_help(err,
            "look for them in quarantine/ and move them to '%s/%s'; or give them up: vmctl destroy "
            "NAME",
            folder, to);
    }
    if (errno == EEXIST) {
        (void)error_set(err, ERR_IO,
            "its files cannot be moved from '%s/%s' to '%s/%s', which has other files", folder,
            from, folder, to);
        err->sys_errno = EEXIST;
        return error_help(err, "move those elsewhere; or undo the rename: vmctl rename NAME %s",
            vm_name_plain(status->renamed_from));
    }
    return error_set_errno(err, ERR_IO, errno, "cannot rename '%s/%s' to '%s'", folder, from, to);
}

/* A deletion continues: of two directories that are there the VM's is deleted, and the other, which
 * no record names, is kept; of none there is nothing to delete. */
static int move_dir(const struct pass *pass, struct error *err)
{
    uint64_t inode = pass->view->status->dir_inode;
    int rc = move(pass, "vms", inode, err);
    if (rc == 0 || !pass->view->desired->is_deleting) {
        return rc;
    }
    if (err->sys_errno == ENOENT) {
        error_clear(err);
        return 0;
    }
    if (err->sys_errno != EEXIST) {
        return rc;
    }
    error_clear(err);
    rc = pass_move_to_quarantine(pass, "no record of this VM", err);
    return rc < 0 ? rc : move(pass, "vms", inode, err);
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

/* Under the old name another VM's files may be from now on: it is not looked at again. */
static int move_files(struct pass *pass, struct error *err)
{
    const struct paths *paths = pass->vm->host->paths;
    const char *name = pass->view->name;
    struct error ignored = {.code = ERR_NONE};
    cleanup_free char *ssh_file = paths_vm(paths, name, VM_SSH_CONFIG);
    int rc = move_dir(pass, err);
    if (rc == 0 && !pass->view->desired->is_deleting) {
        rc = rename_known_host(paths, name, err);
    }
    if (rc == 0) {
        (void)move(pass, "applied", 0, &ignored); /* for `vmctl diff` alone */
        (void)fs_remove_file(ssh_file, &ignored); /* it has the old name; made again by a start */
        pass->patch->status->has_moved = true;
        pass->patch->status->observed_generation = 0; /* what it asks for is yet to be done */
    }
    return rc;
}

bool renamed_move_files(struct pass *pass)
{
    const struct vm_desired *desired = pass->view->desired;
    const struct vm_status *before = pass->view->status;
    struct vm_status *status = pass->patch->status;
    struct error err = {.code = ERR_NONE};
    if (!desired || !before->renamed_from) {
        return true;
    }
    if (!before->has_moved && move_files(pass, &err) < 0) {
        log_error("vm", "%s: %s", pass->view->name, err.message);
        pass_set(pass, CONDITION_STALLED, CONDITION_TRUE, REASON_IO_ERROR, err.message);
        pass_report(pass, &status->blocker, &err);
        /* Who waits learns of it; the other conditions stay those of the generation before. */
        status->observed_generation = desired->generation;
        status->conditions[CONDITION_STALLED].observed_generation = desired->generation;
        return false;
    }
    if (!desired->renamed_from) {
        cleanup_free char *key = name_lease_key(before->renamed_from);
        vm_patch_drop_lease(pass->patch, key);
        free(TAKE_PTR(status->renamed_from));
        status->has_moved = false;
        status->dir_inode = 0;
    }
    return true;
}

const char *renamed_now(struct reconciler_host *host, const char *name)
{
    cleanup_free char *key = name_lease_key(name);
    return host->lease_holder(host, key);
}
