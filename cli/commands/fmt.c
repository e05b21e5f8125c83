/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl fmt: lays VMFiles out in the one usual way. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/project.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vmfile/vmfile_format.h"

enum { FILE_MAX = 1 << 20 };

struct fmt_values {
    struct arg_strings files;
    bool only_checks;
};

static const struct arg_option options[] = {
    {"file", 'f', ARG_REPEATED, offsetof(struct fmt_values, files), "PATH",
        "VMFile or its directory; may be repeated [default: $VMCTL_FILE, VMFile.kdl here or "
        "above]"},
    {"check", 0, ARG_FLAG, offsetof(struct fmt_values, only_checks), NULL,
        "change nothing; exit with 1 if a file is not formatted"},
    OPTIONS_END,
};

/* ---- one text ---- */

/* Returns 0, or an exit status once what is wrong with the text was printed. */
static int format_text(const struct cli *cli, const struct buf *text, const char *written,
    struct buf *ret, struct error *err)
{
    int rc = vmfile_format(buf_str(text), text->len, ret, err);
    if (rc != -ERR_VMFILE_PARSE) {
        return rc < 0 ? error_wrap(err, "'%s'", written) : 0;
    }
    error_clear(err);
    const struct vmfile_env env = {.path = written, .base_dir = "/", .home = "/"};
    cleanup_buf struct buf shown = BUF_INIT(0);
    struct vmfile *file = vmfile_parse(buf_str(text), text->len, &env);
    vmfile_render_diagnostics(
        &shown, file, buf_str(text), text->len, &env, cli->use_color, cli_columns_of_errors());
    vmfile_free(file);
    fputs(buf_str(&shown), stderr);
    return error_exit_status(ERR_VMFILE_PARSE);
}

static bool is_equal(const struct buf *a, const struct buf *b)
{
    return a->len == b->len && memcmp(buf_str(a), buf_str(b), a->len) == 0;
}

/* ---- a file ---- */

static int read_file(
    const char *path, const char *written, struct buf *text, mode_t *ret_mode, struct error *err)
{
    struct stat st;
    if (stat(path, &st) < 0) {
        return vmfile_load_refuse(written, errno, err);
    }
    if (!S_ISREG(st.st_mode)) {
        return error_set(err, ERR_VMFILE_NOT_FOUND, "'%s' is not a file", written);
    }
    *ret_mode = st.st_mode & 07777;
    return fs_read_regular(path, text, err);
}

/* Where a symbolic link leads is written, not the link. 1: it is not formatted, with --check. */
static int format_file(const struct cli *cli, const struct fmt_values *values, const char *path,
    const char *written, struct error *err)
{
    cleanup_buf struct buf text = BUF_INIT(FILE_MAX), formatted = BUF_INIT(0);
    cleanup_free char *real = realpath(path, NULL);
    mode_t mode = 0;
    int rc = read_file(real ? real : path, written, &text, &mode, err);
    if (rc < 0) {
        return rc;
    }
    rc = format_text(cli, &text, written, &formatted, err);
    if (rc != 0 || is_equal(&text, &formatted)) {
        return rc;
    }
    if (!values->only_checks) {
        rc = fs_write_file(real ? real : path, buf_str(&formatted), formatted.len, mode, err);
    }
    if (rc == 0) {
        puts(written);
    }
    return rc == 0 && values->only_checks ? error_exit_status(ERR_DIFFERS) : rc;
}

/* ---- standard input ---- */

static int read_input(struct buf *text, struct error *err)
{
    char chunk[16384];
    ssize_t n;
    while ((n = read(STDIN_FILENO, chunk, sizeof(chunk))) != 0) {
        if (n < 0 && errno != EINTR) {
            return error_set_errno(err, ERR_IO, errno, "cannot read the standard input");
        }
        if (n > 0 && !buf_add(text, chunk, (size_t)n)) {
            return error_set(err, ERR_VMFILE_INVALID, "the text is larger than %d bytes", FILE_MAX);
        }
    }
    return 0;
}

static int format_input(const struct cli *cli, const struct fmt_values *values, struct error *err)
{
    cleanup_buf struct buf text = BUF_INIT(FILE_MAX), formatted = BUF_INIT(0);
    int rc = read_input(&text, err);
    if (rc < 0) {
        return rc;
    }
    rc = format_text(cli, &text, "-", &formatted, err);
    if (rc == 0 && values->only_checks) {
        return is_equal(&text, &formatted) ? 0 : error_exit_status(ERR_DIFFERS);
    }
    if (rc == 0) {
        (void)fwrite(buf_str(&formatted), 1, formatted.len, stdout);
    }
    return rc;
}

/* ---- the command ---- */

/* As other commands find it; NULL: the usual one. */
static int format_project(
    struct cli *cli, const struct fmt_values *values, const char *given, struct error *err)
{
    const struct arg_strings file = {.items = &given, .count = given != NULL};
    cleanup_free char *path = NULL;
    int rc = project_path(cli, &file, &path, err);
    return rc < 0 ? rc : format_file(cli, values, path, given ? given : path, err);
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct fmt_values *fmt = values;
    if (words->count > 0 && fmt->files.count > 0) {
        return error_set(err, ERR_USAGE, "give the file once: with --file, or as an argument");
    }
    const struct arg_strings *files = words->count > 0 ? words : &fmt->files;
    int worst = files->count > 0 ? 0 : format_project(cli, fmt, NULL, err);
    for (size_t i = 0; i < files->count; i++) {
        const char *file = files->items[i];
        int rc = text_eq(file, "-") ? format_input(cli, fmt, err)
                 : words->count > 0 ? format_file(cli, fmt, file, file, err)
                                    : format_project(cli, fmt, file, err);
        if (rc < 0) {
            return rc;
        }
        worst = rc > worst ? rc : worst;
    }
    return worst;
}

const struct command command_fmt = {
    .name = "fmt",
    .summary = "Format a VMFile in the standard style",
    .usage = "[OPTIONS] [FILE...]",
    .details =
        "One node per line, four spaces per block, at most one blank line in a row. Comments and\n"
        "the spelling of values stay. A file whose meaning would change is left alone. Prints the\n"
        "names of the files it changed. With `-`: standard input to standard output.",
    .examples = "  vmctl fmt\n"
                "  vmctl fmt --check && echo well formatted\n"
                "  vmctl fmt - < VMFile.kdl",
    .options = options,
    .values_size = sizeof(struct fmt_values),
    .needs_no_store = true,
    .run = run,
};
