/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/project.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/answer.h"
#include "cli/cli.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

enum { FILE_MAX = 1 << 20 };
#define DEFAULT_FILE "VMFile.kdl"

/* As the user wrote it: what messages show. */
static const char *written_path(const char *file_option)
{
    const char *from_env = getenv("VMCTL_FILE");
    return file_option ? file_option : from_env && from_env[0] ? from_env : DEFAULT_FILE;
}

static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == path ? mem_strdup("/") : mem_strndup(path, (size_t)(slash - path));
}

int project_path(const char *file_option, char **ret, struct error *err)
{
    const char *written = written_path(file_option);
    cleanup_free char *cwd = getcwd(NULL, 0);
    cleanup_free char *absolute = fs_resolve(written, cwd ? cwd : "/", places_home());
    cleanup_free char *directory = directory_of(absolute);
    cleanup_free char *real = realpath(directory, NULL);
    if (!real) {
        return error_set_errno(
            err, ERR_VMFILE_NOT_FOUND, errno, "cannot find the VMFile '%s'", written);
    }
    *ret = fs_join(text_eq(real, "/") ? "" : real, strrchr(absolute, '/') + 1);
    if ((*ret)[0] != '/') {
        char *rooted = mem_printf("/%s", *ret);
        free(*ret);
        *ret = rooted;
    }
    return 0;
}

static bool is_readable_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && !S_ISDIR(st.st_mode) && access(path, R_OK) == 0;
}

static int read_text(const char *path, const char *written, struct buf *text, struct error *err)
{
    struct stat st;
    if (stat(path, &st) < 0) {
        int code = errno;
        if (code == ENOENT) {
            return error_set(err, ERR_VMFILE_NOT_FOUND, "there is no VMFile '%s'", written);
        }
        return error_set_errno(err, ERR_VMFILE_NOT_FOUND, code, "cannot read '%s'", written);
    }
    if (S_ISDIR(st.st_mode)) {
        return error_set(err, ERR_VMFILE_NOT_FOUND, "'%s' is a directory, not a VMFile", written);
    }
    if (fs_read_file(path, text, err) < 0) {
        err->code = text->is_full ? ERR_VMFILE_INVALID : ERR_VMFILE_NOT_FOUND;
        return -(int)err->code;
    }
    return 0;
}

static int print_diagnostics(const struct cli *cli, const struct vmfile *file,
    const struct buf *text, const struct vmfile_env *env)
{
    cleanup_buf struct buf out = BUF_INIT(0);
    vmfile_render_diagnostics(&out, file, buf_str(text), text->len, env, cli->use_color);
    answer_invalid_file(cli, file);
    fputs(buf_str(&out), stderr);
    return error_exit_status(ERR_VMFILE_INVALID);
}

int project_load(
    const struct cli *cli, const char *file_option, struct project *ret, struct error *err)
{
    cleanup_free char *path = NULL;
    cleanup_buf struct buf text = BUF_INIT(FILE_MAX);
    const char *written = written_path(file_option);
    int rc = project_path(file_option, &path, err);
    if (rc < 0 || (rc = read_text(path, written, &text, err)) < 0) {
        return rc;
    }
    cleanup_free char *base_dir = directory_of(path);
    const struct vmfile_env env = {
        .path = written,
        .base_dir = base_dir,
        .home = places_home(),
        .file_is_readable = is_readable_file,
    };
    struct vmfile *file = vmfile_parse(buf_str(&text), text.len, &env);
    if (file->n_diagnostics > 0) {
        int status = print_diagnostics(cli, file, &text, &env);
        vmfile_free(file);
        return status;
    }
    *ret = (struct project){.path = TAKE_PTR(path), .file = file};
    return 0;
}

void project_clear(struct project *project)
{
    vmfile_free(TAKE_PTR(project->file));
    free(TAKE_PTR(project->path));
}

const struct vm_spec *project_find_vm(const struct project *project, const char *name)
{
    for (size_t i = 0; i < project->file->n_vms; i++) {
        if (text_eq(project->file->vms[i]->name, name)) {
            return project->file->vms[i];
        }
    }
    return NULL;
}
