/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/trash/trash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/loop/pool.h"
#include "controller/reconciler.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/lockfile.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/reserve.h"
#include "specs/base/strings.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"
#include "specs/vm/vm_snapshot.h"
#include "specs/vm/vm_status.h"
#include "store/store.h"

enum { ORPHANS_TEXT_MAX = 300, USERS_TEXT_MAX = 200 };

/* ---- deleting in the background ---- */

struct deletion {
    char *data_dir;
    char *name; /* in DATA/trash */
};

static void deletion_free(void *context)
{
    struct deletion *deletion = context;
    free(deletion->data_dir);
    free(deletion->name);
    free(deletion);
}

static int delete_tree(void *context, const atomic_bool *is_cancelled, struct error *err)
{
    const struct deletion *deletion = context;
    (void)is_cancelled;
    return fs_remove_beneath(deletion->data_dir, "trash", deletion->name, err);
}

/* Nothing waits for it: what could not be deleted is swept at the next start. */
static void on_deleted(void *context, const struct error *err)
{
    (void)context;
    if (err) {
        log_warn("removal", "%s", err->message);
    }
}

static void start_deleting(struct reconciler_host *host, const char *name)
{
    struct deletion *deletion = mem_new(struct deletion);
    *deletion = (struct deletion){mem_strdup(host->paths->data_dir), mem_strdup(name)};
    (void)pool_start_in(
        host->pool, POOL_BULK, delete_tree, deletion_free, deletion, on_deleted, NULL);
}

/* ---- into the trash ---- */

static int open_trash(const struct paths *paths, struct error *err)
{
    cleanup_free char *trash = paths_path(paths, "trash");
    int rc = fs_make_dirs(trash, 0700, err);
    if (rc < 0 && reserve_give_up(paths, err)) {
        rc = fs_make_dirs(trash, 0700, err);
    }
    return rc < 0 ? rc : fs_open_beneath(paths->data_dir, "trash", err);
}

/* A directory that belongs to another user cannot be moved, even out of one of ours. */
static int cannot_move(int dir_fd, const char *directory, const char *name, struct error *err)
{
    struct stat st;
    int cause = errno;
    bool is_foreign = (cause == EACCES || cause == EPERM) &&
                      fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                      st.st_uid != geteuid();
    (void)error_set_errno(err, ERR_IO, cause, "cannot move '%s/%s' to the trash", directory, name);
    if (!is_foreign) {
        return -ERR_IO;
    }
    (void)error_wrap(
        err, "files belong to %s%.0u", st.st_uid == 0 ? "root" : "user ", (unsigned)st.st_uid);
    return error_help(
        err, "take them over: sudo chown -R %u '%s/%s'", (unsigned)geteuid(), directory, name);
}

/*
 * Renames an entry of a directory to DATA/trash/<label>-<n>, which takes no room on a full disk,
 * and starts to delete it there. A missing one is fine. Only this thread adds to the trash, so a
 * free name stays free.
 */
static int discard_entry(struct reconciler_host *host, const char *relative, const char *name,
    const char *label, struct error *err)
{
    const char *root = host->paths->data_dir;
    cleanup_close int trash_fd = open_trash(host->paths, err);
    cleanup_close int dir_fd = trash_fd < 0 ? -1 : fs_open_beneath(root, relative, err);
    if (dir_fd < 0) {
        return -(int)err->code;
    }
    for (unsigned n = 1;; n++) {
        struct stat st;
        cleanup_free char *target = mem_printf("%s-%u", label, n);
        if (fstatat(trash_fd, target, &st, AT_SYMLINK_NOFOLLOW) == 0) {
            continue;
        }
        int rc = renameat(dir_fd, name, trash_fd, target);
        if (rc < 0 && errno == ENOSPC) {
            struct error full = {.code = ERR_NO_SPACE};
            rc =
                reserve_give_up(host->paths, &full) ? renameat(dir_fd, name, trash_fd, target) : rc;
        }
        if (rc == 0) {
            start_deleting(host, target);
            return fsync(dir_fd) == 0
                       ? 0
                       : error_set_errno(err, ERR_IO, errno, "cannot sync '%s/%s'", root, relative);
        }
        if (errno == ENOENT) {
            return 0;
        }
        cleanup_free char *directory = fs_join(root, relative);
        return cannot_move(dir_fd, directory, name, err);
    }
}

int removal_discard(struct reconciler_host *host, const char *vm_name, const char *uid,
    bool whole_dir, struct error *err)
{
    static const char *const files[] = {"seed.iso", "overlay.qcow2", "uefi_vars.fd", "tpm"};
    cleanup_free char *dir = paths_vm(host->paths, vm_name, VM_DIR);
    cleanup_free char *flat = vm_name_flat(vm_name);
    cleanup_free char *relative = mem_printf("vms/%s", flat);
    const char *label = uid && uid[0] && fs_is_entry_name(uid) ? uid : flat;
    bool is_valid = strchr(vm_name, '/') ? vm_name_is_valid(vm_name) : fs_is_entry_name(flat);
    if (!is_valid) {
        return error_set(err, ERR_STORE, "'%s' is not the name of a VM", vm_name);
    }
    if (!fs_exists(dir)) {
        return 0;
    }
    int rc = whole_dir ? discard_entry(host, "vms", flat, label, err) : 0;
    for (size_t i = 0; rc == 0 && !whole_dir && i < ARRAY_LEN(files); i++) {
        rc = discard_entry(host, relative, files[i], label, err);
    }
    return rc;
}

int removal_discard_file(struct reconciler_host *host, const char *path, struct error *err)
{
    char unique[TEXT_ID_SIZE];
    size_t n = strlen(host->paths->data_dir);
    const char *name = strrchr(path, '/') + 1;
    if (strncmp(path, host->paths->data_dir, n) != 0 || name <= path + n + 1) {
        return error_set(err, ERR_IO, "'%s' is not in the data directory", path);
    }
    cleanup_free char *relative = mem_strndup(path + n + 1, (size_t)(name - path) - n - 2);
    digest_random_id(unique);
    return discard_entry(host, relative, name, unique, err);
}

/* Without a record it is not known what its disk lies on: prepared.image_path and templateDigest
 * are gone. The disk's header has the name of one file only; those of its snapshots and of a disk
 * that was set aside would have to be read, too, and one that cannot be read would have to stop it
 * all the same. */
int removal_check_orphans(struct reconciler_host *host, struct error *err)
{
    cleanup_with(strings_clear) struct strings names = {0};
    cleanup_buf struct buf text = BUF_INIT(ORPHANS_TEXT_MAX);
    int rc = store_list_orphans(host->store, &names, err);
    if (rc < 0 || names.count == 0) {
        return rc;
    }
    for (size_t i = 0; i < names.count; i++) {
        buf_printf(&text, "%s%s", i ? " " : "", names.items[i]);
    }
    (void)error_set(err, ERR_VM_CONFLICT,
        "disks without a record, which may depend on any image or template: %s", buf_str(&text));
    static const char aside[] = "quarantine/";
    bool is_aside = text_starts_with(names.items[0], aside);
    cleanup_free char *directory = paths_path(host->paths, names.items[0]);
    return error_help(err,
        "take them back: `vmctl up` with their VMFile (vmctld(8), DATA DIRECTORY); or remove one: "
        "%s '%s'",
        is_aside ? "vmctl quarantine rm" : "rm -r",
        is_aside ? names.items[0] + strlen(aside) : directory);
}

char *removal_snapshot_user(const char *vm_name, const struct vm_snapshot *snapshot)
{
    return text_starts_with(snapshot->name, SNAPSHOT_PASSING)
               ? mem_strdup(vm_name)
               : mem_printf("%s@%s", vm_name, snapshot->name);
}

/* Behind the commands before, with a blank or as a command of its own. */
static void add_command(struct buf *out, const char *command, const char *words, int n)
{
    buf_printf(out, "%s%s %.*s", out->len > 0 ? "; " : "", command, n, words);
}

int removal_help_users(const char *users, struct error *err)
{
    cleanup_buf struct buf vms = BUF_INIT(USERS_TEXT_MAX), out = BUF_INIT(2 * USERS_TEXT_MAX);
    for (const char *at = users; *at; at += strspn(at, " ")) {
        int n = (int)strcspn(at, " "), n_vm = (int)strcspn(at, " @");
        if (*at == '~') { /* its machine is named after it */
            add_command(&out, "vmctl template rm", at + 1, n - 1);
        } else if (n_vm < n) {
            cleanup_free char *snapshot =
                mem_printf("%.*s %.*s", n_vm, at, n - n_vm - 1, at + n_vm + 1);
            add_command(&out, "vmctl snapshot rm", snapshot, (int)strlen(snapshot));
        } else {
            buf_printf(&vms, " %.*s", n, at);
        }
        at += n;
    }
    if (vms.len > 0) {
        add_command(&out, "vmctl destroy", buf_str(&vms) + 1, (int)vms.len - 1);
    }
    return error_help(err, "first remove what uses it: %s", buf_str(&out));
}

/* ---- sweeping ---- */

static void remove_if_temporary(void *context, int dir_fd, const char *name)
{
    (void)context;
    if (strstr(name, ".tmp-")) {
        (void)unlinkat(dir_fd, name, 0);
    }
}

void removal_sweep_temporary(const char *directory)
{
    fs_each_entry(directory, remove_if_temporary, NULL);
}

static void delete_entry(void *context, int dir_fd, const char *name)
{
    (void)dir_fd;
    start_deleting(context, name);
}

static void find_port(void *context, int dir_fd, const char *name)
{
    (void)dir_fd;
    *(bool *)context |= text_ends_with(name, ".port");
}

/* What a project network's switch leaves when it ends (network/switch/port.h). */
static void remove_unused_network(void *context, int dir_fd, const char *name)
{
    const struct paths *paths = context;
    struct error ignored = {0};
    bool has_port = false;
    (void)dir_fd;
    cleanup_free char *relative = mem_printf("networks/%s", name);
    cleanup_free char *directory = paths_path(paths, relative);
    cleanup_free char *lock = fs_join(directory, "switch.lock");
    fs_each_entry(directory, find_port, &has_port);
    if (!has_port && !lockfile_is_held(lock)) {
        (void)fs_remove_beneath(paths->data_dir, "networks", name, &ignored);
    }
}

void removal_sweep(struct reconciler_host *host)
{
    static const char *const directories[] = {"images/.part", "images/.by-source"};
    for (size_t i = 0; i < ARRAY_LEN(directories); i++) {
        cleanup_free char *path = paths_path(host->paths, directories[i]);
        removal_sweep_temporary(path);
    }
    cleanup_free char *networks = paths_path(host->paths, "networks");
    fs_each_entry(networks, remove_unused_network, (void *)(uintptr_t)host->paths);
    cleanup_free char *trash = paths_path(host->paths, "trash");
    fs_each_entry(trash, delete_entry, host);
}
