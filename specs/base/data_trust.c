/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/data_trust.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"

/* "alice", or "user 1000" of whom the password database knows nothing. Caller owns. */
static char *owner_name(uid_t uid)
{
    const struct passwd *user = getpwuid(uid);
    return user ? mem_strdup(user->pw_name) : mem_printf("user %u", (unsigned)uid);
}

static int refuse_owner(const struct paths *paths, const char *path, uid_t owner, struct error *err)
{
    cleanup_free char *name = owner_name(owner);
    cleanup_free char *own_name = owner_name(geteuid());
    (void)error_set(
        err, ERR_STORE, "'%s' belongs to %s, and vmctl runs as %s", path, name, own_name);
    if (geteuid() == 0) {
        return error_help(err,
            "run vmctl as its owner: sudo -u %s vmctl …; or choose another data directory: "
            "--data-dir DIR",
            name);
    }
    return error_help(err,
        "take it over: sudo chown -R %s '%s'; or choose another data directory: --data-dir DIR",
        own_name, paths->data_dir);
}

static int check_entry(
    const struct paths *paths, const char *path, const struct stat *entry, struct error *err)
{
    if (S_ISLNK(entry->st_mode)) {
        cleanup_free char *name = owner_name(entry->st_uid);
        (void)error_set(err, ERR_STORE,
            "'%s' is a symbolic link (made by %s): vmctl would write outside its data directory",
            path, name);
        return error_help(err,
            "remove it: rm '%s'; to keep the data elsewhere: --data-dir DIR, or "
            "XDG_DATA_HOME",
            path);
    }
    if (entry->st_uid != geteuid()) {
        return refuse_owner(paths, path, entry->st_uid, err);
    }
    if (entry->st_mode & (S_IWGRP | S_IWOTH)) {
        (void)error_set(err, ERR_STORE, "'%s' can be written by other users (mode %04o)", path,
            (unsigned)entry->st_mode & 07777);
        return error_help(err,
            "check its contents, then remove that permission: chmod -R go-w '%s'", paths->data_dir);
    }
    return 0;
}

int data_trust_above(const struct paths *paths, bool *ret_is_open, struct error *err)
{
    cleanup_free char *path = realpath(paths->data_dir, NULL);
    *ret_is_open = false;
    for (char *slash; path && (slash = strrchr(path, '/')) && path[1];) {
        struct stat st;
        slash[slash == path ? 1 : 0] = '\0';
        if (stat(path, &st) < 0) {
            return error_set_errno(err, ERR_STORE, errno, "cannot examine '%s'", path);
        }
        bool is_others = st.st_uid != 0 && st.st_uid != geteuid();
        bool is_of_group = (st.st_mode & S_IWGRP) && st.st_gid != 0 && st.st_gid != getegid();
        *ret_is_open = (st.st_mode & (S_IWOTH | S_ISVTX)) == S_IWOTH;
        if (is_others) {
            cleanup_free char *name = owner_name(st.st_uid);
            (void)error_set(err, ERR_STORE, "'%s' belongs to %s, who can replace '%s'", path, name,
                paths->data_dir);
            return error_help(err, "choose a data directory below one of your own: --data-dir DIR");
        }
        if (*ret_is_open || (is_of_group && !(st.st_mode & S_ISVTX))) {
            (void)error_set(err, ERR_STORE,
                "'%s' can be written by %s (mode %04o), who can replace '%s'", path,
                *ret_is_open ? "every user" : "its group", (unsigned)st.st_mode & 07777,
                paths->data_dir);
            return error_help(err,
                "remove that permission: chmod go-w '%s'; or choose another data directory: "
                "--data-dir DIR",
                path);
        }
    }
    return 0;
}

/* Opening one waits for its other end, also where no signal ends the wait. */
static int refuse_pipe(const char *path, struct error *err)
{
    (void)error_set(err, ERR_STORE, "'%s' is a named pipe, where vmctl needs a file", path);
    return error_help(err, "remove it: rm '%s'", path);
}

/* Those that are there. */
static int check_entries(const struct paths *paths, const char *const *entries, struct error *err)
{
    struct stat st;
    int rc = 0;
    for (size_t i = 0; rc == 0 && entries[i]; i++) {
        cleanup_free char *path = paths_path(paths, entries[i]);
        bool is_there = lstat(path, &st) == 0;
        bool is_pipe = is_there && S_ISFIFO(st.st_mode) && !text_eq(entries[i], "status.bell");
        rc = is_pipe ? refuse_pipe(path, err) : is_there ? check_entry(paths, path, &st, err) : 0;
    }
    return rc;
}

int data_trust_check(const struct paths *paths, struct error *err)
{
    static const char *const files[] = {"store/data.mdb", "store/lock.mdb", "controller.lock",
        "controller.log", "owners.lock", "desired.kick", "status.bell", "reserve", "serve.lock",
        "serve.sock", "serve.token", PATHS_SECRETS_SOCKET, "secrets.key", NULL};
    struct stat st;
    int rc = stat(paths->data_dir, &st) < 0
                 ? error_set_errno(err, ERR_STORE, errno, "cannot examine '%s'", paths->data_dir)
                 : check_entry(paths, paths->data_dir, &st, err);
    struct error above = {.code = ERR_NONE};
    bool is_open = false;
    if (rc == 0 && data_trust_above(paths, &is_open, &above) < 0 && is_open) {
        *err = above;
        return -(int)err->code;
    }
    rc = rc < 0 ? rc : check_entries(paths, paths_folders, err);
    return rc < 0 ? rc : check_entries(paths, files, err);
}
