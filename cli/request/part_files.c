/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/request/part_files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/user_path.h"
#include "specs/vmfile/vmfile.h"
#include "store/source/kept_files.h"

#define SENT "sent"

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
            "'%s' is too large to send with the VMFile: its files may have %d MiB in all", path,
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

/* ---- what is not named any more ---- */

static void note_project(void *context, int dir_fd, const char *name)
{
    (void)dir_fd;
    strings_append(context, name);
}

static void sweep_old(struct cli *cli)
{
    struct error ignored = {.code = ERR_NONE};
    cleanup_with(strings_clear) struct strings projects = {.count = 0};
    fs_each_beneath(cli->paths.data_dir, SENT, note_project, &projects);
    bool can_see = projects.count > 0 && cli_open_store(cli, &ignored) == 0;
    for (size_t i = 0; can_see && i < projects.count; i++) {
        cleanup_free char *within = mem_printf(SENT "/%s", projects.items[i]);
        kept_files_sweep(&cli->paths, cli->store, within);
    }
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
                err, ERR_USAGE, "the data after the VMFile on standard input is damaged");
        }
        rc = kept_file_write(dir, file.name, file.mode, (struct bytes){sent.data, file.size}, err);
        sent.data += file.size;
        sent.n -= file.size;
        free(file.name);
    }
    sweep_old(cli);
    *ret_dir = TAKE_PTR(dir);
    return rc;
}
