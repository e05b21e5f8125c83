/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/guest/ssh_include.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/base/user_path.h"

/* ---- the text ---- */

static bool begins_block(const char *line)
{
    line += strspn(line, " \t");
    size_t n = strcspn(line, " \t=\n"); /* "Host=web" is one, too: ssh_config(5) */
    return (n == strlen("host") && strncasecmp(line, "host", n) == 0) ||
           (n == strlen("match") && strncasecmp(line, "match", n) == 0);
}

static bool is_line(const char *at, size_t n, const char *line)
{
    return n == strlen(line) && memcmp(at, line, n) == 0;
}

bool ssh_include_add(const char *text, const char *line, struct buf *out)
{
    bool is_there = false, is_in_block = false;
    for (const char *at = text; *at && !is_there && !is_in_block;) {
        size_t n = strcspn(at, "\n");
        is_there = is_line(at, n, line);
        is_in_block = begins_block(at);
        at += n + (at[n] == '\n');
    }
    if (!is_there) {
        buf_printf(out, "%s\n", line);
    }
    buf_add_str(out, text);
    return !is_there;
}

bool ssh_include_remove(const char *text, const char *line, struct buf *out)
{
    bool is_changed = false;
    for (const char *at = text; *at;) {
        size_t n = strcspn(at, "\n"), with_end = n + (at[n] == '\n');
        if (is_line(at, n, line)) {
            is_changed = true;
        } else {
            buf_add(out, at, with_end);
        }
        at += with_end;
    }
    return is_changed;
}

/* ---- the file ---- */

char *ssh_include_config_path(void)
{
    return mem_printf("%s/.ssh/config", paths_home());
}

/* The line, without its end. free() *ret. */
static int make_line(const struct paths *paths, char **ret, struct error *err)
{
    cleanup_free char *pattern = paths_vm(paths, "*", VM_SSH_CONFIG);
    if (strpbrk(paths->data_dir, "*?[]{}\"'\\%$\r\n")) {
        return error_set(err, ERR_USAGE,
            "the path of the data directory, '%s', has a character that is special in "
            "ssh_config(5)",
            paths->data_dir);
    }
    *ret = mem_printf("Include \"%s\"", pattern);
    return 0;
}

/* An absent file is an empty one. */
static int read_config(const char *path, struct buf *text, mode_t *ret_mode, struct error *err)
{
    struct stat st;
    *ret_mode = 0600;
    if (user_path_stat(path, &st) < 0) {
        return errno == ENOENT ? 0 : user_path_error(path, errno, err);
    }
    int rc = user_path_read(path, text, err);
    if (rc == 0 && memchr(buf_str(text), '\0', text->len)) {
        rc = error_set(err, ERR_IO, "'%s' is not a text file", path);
    }
    *ret_mode = st.st_mode & 0777;
    return rc;
}

/* Where a link leads, the file is replaced there. */
static int write_config(const char *path, const struct buf *text, mode_t mode, struct error *err)
{
    struct stat st;
    cleanup_free char *dir = mem_strndup(path, (size_t)(strrchr(path, '/') - path));
    cleanup_free char *target = realpath(path, NULL);
    if (!target && errno == ENOENT && lstat(path, &st) == 0) {
        (void)error_set(err, ERR_IO, "'%s' is a dangling symbolic link", path);
        return error_help(err, "create the file it points to, or remove the link");
    }
    int rc = fs_make_dirs(dir, 0700, err);
    return rc < 0 ? rc : fs_write_file(target ? target : path, buf_str(text), text->len, mode, err);
}

static int edit(const struct paths *paths,
    bool (*change)(const char *text, const char *line, struct buf *out), bool *ret_is_changed,
    struct error *err)
{
    enum { CONFIG_MAX = 1 << 20 };
    mode_t mode;
    cleanup_buf struct buf text = BUF_INIT(CONFIG_MAX), changed = BUF_INIT(0);
    cleanup_free char *path = ssh_include_config_path(), *line = NULL;
    int rc = make_line(paths, &line, err);
    if (rc < 0 || (rc = read_config(path, &text, &mode, err)) < 0) {
        return rc;
    }
    *ret_is_changed = change(buf_str(&text), line, &changed);
    return *ret_is_changed ? write_config(path, &changed, mode, err) : 0;
}

int ssh_include_install(const struct paths *paths, bool *ret_is_changed, struct error *err)
{
    return edit(paths, ssh_include_add, ret_is_changed, err);
}

int ssh_include_uninstall(const struct paths *paths, bool *ret_is_changed, struct error *err)
{
    return edit(paths, ssh_include_remove, ret_is_changed, err);
}
