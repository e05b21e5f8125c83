/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/request/project.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/show/result.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/user_path.h"

#define DEFAULT_FILE "VMFile.kdl"

/* As the user wrote it: what messages show. */
static const char *written_path(const char *file_option)
{
    const char *from_env = getenv("VMCTL_FILE");
    return file_option ? file_option : from_env && from_env[0] ? from_env : DEFAULT_FILE;
}

int project_path(const char *file_option, char **ret, struct error *err)
{
    const char *written = written_path(file_option);
    cleanup_free char *cwd = getcwd(NULL, 0);
    cleanup_free char *absolute = fs_resolve(written, cwd ? cwd : "/", paths_home());
    cleanup_free char *directory = vmfile_load_directory(absolute);
    struct stat st;
    cleanup_free char *real = user_path_stat(directory, &st) < 0 ? NULL : realpath(directory, NULL);
    if (!real) {
        return vmfile_load_refuse(written, errno, err);
    }
    *ret = fs_join(text_eq(real, "/") ? "" : real, strrchr(absolute, '/') + 1);
    if ((*ret)[0] != '/') {
        char *rooted = mem_printf("/%s", *ret);
        free(*ret);
        *ret = rooted;
    }
    return 0;
}

int project_load(
    const struct cli *cli, const char *file_option, struct project *ret, struct error *err)
{
    cleanup_free char *path = NULL;
    struct vmfile_load load = {.path = NULL};
    const char *written = written_path(file_option);
    int rc = project_path(file_option, &path, err);
    if (rc < 0 || (rc = vmfile_load(path, written, &load, err)) < 0) {
        return rc;
    }
    if (load.file->n_diagnostics > 0) {
        cleanup_buf struct buf out = BUF_INIT(0);
        vmfile_load_render(&out, &load, written, cli->use_color);
        result_invalid_file(cli, load.file);
        fputs(buf_str(&out), stderr);
        vmfile_load_clear(&load);
        return error_exit_status(ERR_VMFILE_INVALID);
    }
    *ret = (struct project){.path = TAKE_PTR(path), .file = load.file, .load = load};
    return 0;
}

void project_clear(struct project *project)
{
    vmfile_load_clear(&project->load);
    project->file = NULL;
    free(TAKE_PTR(project->path));
}

struct vm_spec *project_find_vm(const struct project *project, const char *name)
{
    for (size_t i = 0; i < project->file->n_vms; i++) {
        if (text_eq(project->file->vms[i]->name, name)) {
            return project->file->vms[i];
        }
    }
    return NULL;
}
