/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/request/project.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/fleet/fleet_view.h"
#include "cli/request/part_files.h"
#include "cli/show/result.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/strings.h"
#include "specs/base/text.h"
#include "specs/base/user_path.h"
#include "store/store.h"

#define DEFAULT_FILE "VMFile.kdl"

/* Whether the directory has a VMFile.kdl. One that is gone and whose VMs are still there counts:
 * what means them must not come to mean the VMs of a directory above. */
static bool has_file(struct cli *cli, const char *path)
{
    struct stat st;
    struct error ignored = {.code = ERR_NONE};
    cleanup_with(strings_clear) struct strings names = {.count = 0};
    if (lstat(path, &st) == 0 || errno != ENOENT) {
        return true;
    }
    return cli->paths.data_dir && cli_open_store(cli, &ignored) == 0 &&
           store_list_source(cli->store, path, &names, &ignored) == 0 && names.count > 0;
}

static bool is_ours(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && st.st_uid == geteuid();
}

struct found {
    char *written; /* as the user wrote it, or would have: what messages show */
    char *foreign; /* the VMFile of somebody else at which the search ended; NULL: none */
    bool is_above;
};

static void found_clear(struct found *found)
{
    free(TAKE_PTR(found->written));
    free(TAKE_PTR(found->foreign));
}

/* The nearest one; above `cwd` only while directories and VMFile are the user's own, for it decides
 * what is run. "VMFile.kdl" if there is none. */
static struct found search(struct cli *cli, const char *cwd)
{
    cleanup_buf struct buf above = BUF_INIT(0);
    cleanup_free char *directory = mem_strdup(cwd);
    for (;;) {
        cleanup_free char *path =
            mem_printf("%s/" DEFAULT_FILE, text_eq(directory, "/") ? "" : directory);
        bool is_above = above.len > 0;
        bool is_refused = is_above && !is_ours(directory);
        bool has_it = is_refused ? fs_exists(path) : has_file(cli, path);
        if (has_it && is_above && (is_refused || (fs_exists(path) && !is_ours(path)))) {
            return (struct found){mem_strdup(DEFAULT_FILE), TAKE_PTR(path), false};
        }
        if (has_it) {
            return (struct found){mem_printf("%s" DEFAULT_FILE, buf_str(&above)), NULL, is_above};
        }
        if (is_refused || text_eq(directory, "/")) {
            return (struct found){mem_strdup(DEFAULT_FILE), NULL, false};
        }
        char *parent = vmfile_load_directory(directory);
        free(directory);
        directory = parent;
        buf_add_str(&above, "../");
    }
}

/* "DIR" is "DIR/VMFile.kdl". free() it. */
static char *name_file(const char *given)
{
    struct stat st;
    size_t n = strlen(given);
    if (user_path_stat(given, &st) < 0 || !S_ISDIR(st.st_mode)) {
        return mem_strdup(given);
    }
    while (n > 0 && given[n - 1] == '/') {
        n--;
    }
    return mem_printf("%.*s/" DEFAULT_FILE, (int)n, given);
}

static struct found find_file(struct cli *cli, const struct arg_strings *files)
{
    const char *from_env = getenv("VMCTL_FILE");
    const char *given = files && files->count > 0 ? files->items[0]
                        : from_env && from_env[0] ? from_env
                                                  : NULL;
    cleanup_free char *cwd = given ? NULL : getcwd(NULL, 0);
    return cwd ? search(cli, cwd)
               : (struct found){given ? name_file(given) : mem_strdup(DEFAULT_FILE), NULL, false};
}

/* What a VMFile of standard input is called whose commands another host's vmctl gives. */
static const char *given_project(void)
{
    const char *given = getenv("VMCTL_PART"), *there = getenv("VMCTL_PROJECT");
    return given && given[0] == '/' ? given : there && there[0] == '/' ? there : NULL;
}

bool project_is_part(void)
{
    return given_project() != NULL;
}

static int resolve(const char *written, char **ret, struct error *err)
{
    if (text_eq(written, "-") && given_project()) {
        *ret = mem_strdup(given_project());
        return 0;
    }
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

int project_path(struct cli *cli, const struct arg_strings *files, char **ret, struct error *err)
{
    cleanup_with(found_clear) struct found found = find_file(cli, files);
    return resolve(found.written, ret, err);
}

int project_overrides(const struct arg_strings *files, struct strings *ret,
    struct strings *ret_shown, struct error *err)
{
    int rc = 0;
    for (size_t i = 1; rc == 0 && files && i < files->count; i++) {
        cleanup_free char *path = NULL, *written = name_file(files->items[i]);
        rc = resolve(written, &path, err);
        if (rc == 0) {
            strings_append(ret, path);
            strings_append(ret_shown, written);
        }
    }
    return rc;
}

/* The path of the one that is standard input; NULL: none is, or the VMFile itself. */
static const char *override_of_stdin(const struct strings *overrides, const struct strings *shown)
{
    for (size_t i = 0; i < shown->count; i++) {
        if (text_eq(shown->items[i], "-")) {
            return overrides->items[i];
        }
    }
    return NULL;
}

bool project_is_stdin(const struct arg_strings *files)
{
    const char *from_env = getenv("VMCTL_FILE");
    bool is = (!files || files->count == 0) && text_eq(from_env, "-");
    for (size_t i = 0; files && i < files->count; i++) {
        is |= text_eq(files->items[i], "-");
    }
    return is;
}

/* All of standard input: it can be read once. */
static int read_all(struct buf *text, struct error *err)
{
    char piece[65536];
    for (size_t n; (n = fread(piece, 1, sizeof(piece), stdin)) > 0;) {
        if (!buf_add(text, piece, n)) {
            return error_set(
                err, ERR_VMFILE_INVALID, "the VMFile on standard input is larger than 1 MiB");
        }
    }
    return ferror(stdin) ? error_set_errno(err, ERR_IO, errno, "cannot read standard input") : 0;
}

/* *ret_dir: where its relative paths start; NULL: at its directory. */
static int read_stdin(struct cli *cli, struct buf *text, char **ret_dir, struct error *err)
{
    if (!project_is_part() || !cli->paths.data_dir) {
        return read_all(text, err);
    }
    cleanup_buf struct buf all = BUF_INIT(VMFILE_LOAD_MAX + 2 * PART_FILES_MAX);
    int rc = read_all(&all, err);
    const char *bytes = buf_str(&all), *end = memchr(bytes, '\0', all.len);
    size_t n = end ? (size_t)(end - bytes) : all.len;
    if (rc == 0 && !buf_add(text, bytes, n)) {
        return error_set(
            err, ERR_VMFILE_INVALID, "the VMFile of another host is larger than 1 MiB");
    }
    const struct bytes sent = {end ? end + 1 : "", end ? all.len - n - 1 : 0};
    return rc < 0 ? rc : part_files_take(cli, given_project(), sent, ret_dir, err);
}

static int print_invalid(struct cli *cli, const struct vmfile_load *load, const char *written)
{
    cleanup_buf struct buf out = BUF_INIT(0);
    vmfile_load_render(&out, load, written, cli->use_color, cli_columns_of_errors());
    result_invalid_file(cli, load->file);
    fputs(buf_str(&out), stderr);
    return error_exit_status(ERR_VMFILE_INVALID);
}

static int load_found(struct cli *cli, const struct found *found, const struct arg_strings *files,
    struct project *ret, struct error *err)
{
    cleanup_with(strings_clear) struct strings shown = {.count = 0};
    cleanup_buf struct buf text = BUF_INIT(VMFILE_LOAD_MAX);
    cleanup_free char *base_dir = NULL;
    int rc = resolve(found->written, &ret->path, err);
    rc = rc == 0 ? project_overrides(files, &ret->overrides, &shown, err) : rc;
    const char *override = override_of_stdin(&ret->overrides, &shown);
    ret->is_stdin = override || text_eq(found->written, "-");
    rc = rc == 0 && ret->is_stdin ? read_stdin(cli, &text, &base_dir, err) : rc;
    const struct vmfile_inputs inputs = {
        .given = &cli->given,
        .uses_environment = true,
        .fleet_nodes = &cli->fleet_nodes,
        .text = ret->is_stdin ? &text : NULL,
        .text_path = override,
        .base_dir = base_dir,
        .overrides = &ret->overrides,
        .overrides_shown = &shown,
    };
    rc = rc == 0 ? vmfile_load(ret->path, found->written, &inputs, &ret->load, err) : rc;
    if (rc == -ERR_VMFILE_NOT_FOUND && found->foreign) {
        return error_help(err,
            "'%s' or its directory belongs to another user; if you trust it: --file %s",
            found->foreign, found->foreign);
    }
    if (rc == 0 && found->is_above) {
        cli_note(cli, "note: the VMFile is %s", ret->path);
    }
    return rc < 0                              ? rc
           : ret->load.file->n_diagnostics > 0 ? print_invalid(cli, &ret->load, found->written)
                                               : 0;
}

int project_load_whole(
    struct cli *cli, const struct arg_strings *files, struct project *ret, struct error *err)
{
    cleanup_with(found_clear) struct found found = find_file(cli, files);
    struct project project = {.path = NULL};
    int rc = load_found(cli, &found, files, &project, err);
    if (rc != 0) {
        project_clear(&project);
        return rc;
    }
    project.file = project.load.file;
    fleet_resolve_places(cli, project.file);
    *ret = project;
    return 0;
}

/* Leaves those of this host. */
static int keep_own(const struct cli *cli, struct vmfile *file, struct error *err)
{
    size_t n = 0;
    for (size_t i = 0; i < file->n_vms; i++) {
        const char *name = file->vms[i]->name, *place = file->places[i];
        if (place && !cli->is_for_here) {
            (void)error_set(err, ERR_USAGE, "vm '%s' is on node '%s'", name, place);
            return error_help(err, "for this host's VMs alone: --node " NODE_HERE);
        }
        if (place) {
            vm_spec_free(file->vms[i]);
            free(file->places[i]);
            continue;
        }
        file->vms[n] = file->vms[i];
        file->positions[n] = file->positions[i];
        file->places[n++] = NULL;
    }
    file->n_vms = n;
    return 0;
}

int project_load(
    struct cli *cli, const struct arg_strings *files, struct project *ret, struct error *err)
{
    int rc = project_load_whole(cli, files, ret, err);
    rc = rc == 0 ? keep_own(cli, ret->file, err) : rc;
    if (rc < 0) {
        project_clear(ret);
    }
    return rc;
}

char *project_describe_variable(const struct vmfile_variable *variable)
{
    struct buf out = BUF_INIT(0);
    buf_printf(&out, "%s = ", variable->name);
    if (variable->value) {
        kdl_print_string(&out, variable->value, strlen(variable->value));
    } else {
        buf_add_char(&out, '-');
    }
    buf_printf(&out, "  (%s%s)",
        variable->origin == VMFILE_GIVEN      ? "--set"
        : variable->origin == VMFILE_FROM_ENV ? "$"
        : variable->origin == VMFILE_DEFAULT  ? "default"
                                              : "no value",
        variable->origin == VMFILE_FROM_ENV ? variable->env : "");
    return buf_steal(&out);
}

void project_note_unused(const struct cli *cli, const struct vm_spec *spec)
{
    const struct spec_cloud_init *cloud_init = &spec->cloud_init;
    if (cloud_init->user_data.path && cloud_init->ssh_key.path && !cloud_init->is_joined) {
        cli_note(cli, "note: vm '%s': its `ssh-key` is not used: `user-data` is passed on as it is",
            spec->name);
        cli_note(cli, "      (with `user-data \"…\" raw=#false` it is used, too)");
    }
}

void project_clear(struct project *project)
{
    vmfile_load_clear(&project->load);
    project->file = NULL;
    strings_clear(&project->overrides);
    free(TAKE_PTR(project->path));
}

struct vm_spec *project_find_vm(const struct project *project, const char *name, size_t likely)
{
    size_t n = project->file->n_vms;
    for (size_t i = 0; i < n; i++) {
        struct vm_spec *vm = project->file->vms[(likely + i) % n];
        if (text_eq(vm->name, name)) {
            return vm;
        }
    }
    return NULL;
}

const char *project_place(const struct project *project, const char *name)
{
    for (size_t i = 0; i < project->file->n_vms; i++) {
        if (text_eq(project->file->vms[i]->name, name)) {
            return project->file->places[i];
        }
    }
    return NULL;
}
