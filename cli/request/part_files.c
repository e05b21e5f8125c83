/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/request/part_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/user_path.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"
#include "specs/vmfile/vmfile.h"
#include "store/store.h"

#define SENT "sent"
#define KEPT_S (24 * 3600)

/* ---- sending ---- */

static int append_file(struct buf *out, const char *path, size_t room, struct error *err)
{
    struct stat st;
    cleanup_buf struct buf bytes = BUF_INIT(room + 1); /* 0: the default */
    cleanup_free char *name = vmfile_part_name(path);
    if (strchr(name, '\n')) {
        return error_set(
            err, ERR_VMFILE_INVALID, "'%s' has a line break in its name: rename it", path);
    }
    if (user_path_stat(path, &st) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot read '%s'", path);
    }
    if ((uint64_t)st.st_size > room) {
        (void)error_set(err, ERR_VMFILE_INVALID,
            "'%s' is too large to go along with the VMFile: its files are %d MiB at most", path,
            PART_FILES_MAX >> 20);
        return error_help(err, "copy it to that host, and write its absolute path there");
    }
    int rc = user_path_read(path, &bytes, err);
    if (rc == 0) {
        buf_printf(out, "%o %zu %s\n", (unsigned)st.st_mode & 0777, bytes.len, name);
        buf_add(out, buf_str(&bytes), bytes.len);
    }
    return rc;
}

int part_files_append(struct buf *out, const struct strings *paths, struct error *err)
{
    size_t room = PART_FILES_MAX;
    int rc = 0;
    if (paths->count > 0) {
        buf_add_char(out, '\0');
    }
    for (size_t i = 0; rc == 0 && i < paths->count; i++) {
        size_t before = out->len;
        rc = append_file(out, paths->items[i], room, err);
        size_t added = out->len - before;
        room -= added < room ? added : room;
    }
    return rc;
}

/* ---- receiving ---- */

struct received {
    unsigned mode;
    size_t size;
    char *name; /* DIGEST/BASENAME */
};

/* Takes the line off `sent`; false: it is none, or less follows than it says. */
static bool take_head(struct bytes *sent, struct received *ret)
{
    const char *newline = memchr(sent->data, '\n', sent->n);
    int n_head = 0;
    if (!newline) {
        return false;
    }
    cleanup_free char *line = mem_strndup(sent->data, (size_t)(newline - sent->data));
    if (sscanf(line, "%o %zu %n", &ret->mode, &ret->size, &n_head) != 2 || n_head == 0) {
        return false;
    }
    sent->n -= (size_t)(newline + 1 - sent->data);
    sent->data = newline + 1;
    const char *name = line + n_head, *slash = strchr(name, '/');
    bool is_name = slash && name + strspn(name, "0123456789abcdef") == slash && slash > name &&
                   fs_is_entry_name(slash + 1) && !strchr(slash + 1, '/');
    if (!is_name || ret->mode > 0777 || ret->size > sent->n) {
        return false;
    }
    ret->name = mem_strdup(name);
    return true;
}

static bool is_there(const char *path, const struct received *file, struct bytes bytes)
{
    struct stat st;
    struct error ignored = {.code = ERR_NONE};
    cleanup_buf struct buf present = BUF_INIT(PART_FILES_MAX);
    return lstat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 0777) == file->mode &&
           (size_t)st.st_size == file->size && fs_read_regular(path, &present, &ignored) == 0 &&
           present.len == file->size && memcmp(buf_str(&present), bytes.data, file->size) == 0;
}

static int write_one(
    const char *dir, const struct received *file, struct bytes bytes, struct error *err)
{
    cleanup_free char *path = fs_join(dir, file->name);
    cleanup_free char *parent = mem_strndup(path, (size_t)(strrchr(path, '/') - path));
    int rc = fs_make_dirs(parent, 0700, err);
    if (rc == 0 && is_there(path, file, bytes)) {
        (void)utimensat(AT_FDCWD, parent, NULL, 0); /* it was sent now */
        return 0;
    }
    return rc < 0 ? rc : fs_write_file(path, bytes.data, file->size, file->mode, err);
}

/* ---- what is not named any more ---- */

struct sweep {
    const struct paths *paths;
    struct strings old; /* PROJECT/DIGEST */
    const char *project;
};

static void note_old(void *context, int dir_fd, const char *name)
{
    struct sweep *sweep = context;
    struct stat st;
    int64_t now_s = clock_wall_ms(clock_system()) / 1000;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        st.st_mtim.tv_sec + KEPT_S < now_s) {
        cleanup_free char *relative = mem_printf("%s/%s", sweep->project, name);
        strings_append(&sweep->old, relative);
    }
}

static void look_into(void *context, int dir_fd, const char *name)
{
    struct sweep *sweep = context;
    cleanup_free char *relative = mem_printf(SENT "/%s", name);
    (void)dir_fd;
    sweep->project = name;
    fs_each_beneath(sweep->paths->data_dir, relative, note_old, sweep);
}

/* Its name is of hexadecimal digits, which JSON has as they are. */
static bool is_named(const struct vm_list *vms, const char *old)
{
    for (size_t i = 0; i < vms->count; i++) {
        const struct vm_desired *desired = vms->records[i].desired;
        cleanup_json json_t *spec = desired ? vm_spec_to_json(desired->spec) : NULL;
        cleanup_free char *text = spec ? json_dumps(spec, JSON_COMPACT) : NULL;
        if (!text || strstr(text, old)) { /* what a damaged record names is not known */
            return true;
        }
    }
    return false;
}

static void sweep_old(struct cli *cli)
{
    struct error ignored = {.code = ERR_NONE};
    struct vm_list vms = {.count = 0};
    struct sweep sweep = {.paths = &cli->paths};
    fs_each_beneath(cli->paths.data_dir, SENT, look_into, &sweep);
    bool can_see = sweep.old.count > 0 && cli_open_store(cli, &ignored) == 0 &&
                   store_list(cli->store, &vms, &ignored) == 0;
    for (size_t i = 0; can_see && i < sweep.old.count; i++) {
        const char *old = sweep.old.items[i], *slash = strchr(old, '/');
        cleanup_free char *within = mem_printf(SENT "/%.*s", (int)(slash - old), old);
        if (!is_named(&vms, old)) {
            (void)fs_remove_beneath(cli->paths.data_dir, within, slash + 1, &ignored);
        }
    }
    vm_list_clear(&vms);
    strings_clear(&sweep.old);
}

int part_files_take(
    struct cli *cli, const char *project, struct bytes sent, char **ret_dir, struct error *err)
{
    enum { SHOWN = 16 };
    char digest[DIGEST_SIZE];
    digest_text(project, digest);
    cleanup_free char *relative = mem_printf(SENT "/%.*s", SHOWN, digest);
    cleanup_free char *dir = paths_path(&cli->paths, relative);
    int rc = 0;
    while (rc == 0 && sent.n > 0) {
        struct received file = {.name = NULL};
        if (!take_head(&sent, &file)) {
            return error_set(
                err, ERR_USAGE, "what follows the VMFile on standard input is damaged");
        }
        rc = write_one(dir, &file, (struct bytes){sent.data, file.size}, err);
        sent.data += file.size;
        sent.n -= file.size;
        free(file.name);
    }
    sweep_old(cli);
    *ret_dir = TAKE_PTR(dir);
    return rc;
}
