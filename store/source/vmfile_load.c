/* SPDX-License-Identifier: MPL-2.0 */
#include "store/source/vmfile_load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/base/user_path.h"
#include "store/desired/change.h"

char *vmfile_load_directory(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == path ? mem_strdup("/") : mem_strndup(path, (size_t)(slash - path));
}

/* Of a directory only its absence is of interest later: what is in it may change all the time. */
static const char *directory_problem(struct vmfile_load *load, const char *path)
{
    struct stat st;
    const char *problem = user_path_stat(path, &st) < 0
                              ? (errno == ETIMEDOUT ? "no answer from the file system of"
                                                    : "no readable directory at")
                          : !S_ISDIR(st.st_mode) ? "not a directory, but something else, at"
                          : access(path, R_OK | X_OK) < 0 ? "no readable directory at"
                                                          : NULL;
    if (problem) {
        strings_add(&load->named, path);
    }
    return problem;
}

static const char *file_problem(void *context, const char *path, bool is_directory)
{
    struct vmfile_load *load = context;
    struct stat st;
    if (is_directory) {
        return directory_problem(load, path);
    }
    if (text_eq(path, load->readable)) {
        return NULL;
    }
    strings_add(&load->named, path);
    if (user_path_readable(path, &st) < 0) {
        return errno == ETIMEDOUT ? "no answer from the file system of" : "no readable file at";
    }
    if (S_ISREG(st.st_mode)) {
        load->readable = strings_find(&load->named, path);
        return NULL;
    }
    return S_ISDIR(st.st_mode)    ? "a directory, not a file, at"
           : S_ISFIFO(st.st_mode) ? "a named pipe, not a file, at"
           : S_ISSOCK(st.st_mode) ? "a socket, not a file, at"
                                  : "a device, not a file, at";
}

static bool read_content(void *context, const char *path, struct buf *ret)
{
    (void)context;
    return user_path_read_head(path, ret) == 0;
}

int vmfile_load_refuse(const char *shown, int sys_errno, struct error *err)
{
    if (sys_errno == ENOENT || sys_errno == ENOTDIR) {
        (void)error_set(err, ERR_VMFILE_NOT_FOUND, "there is no VMFile '%s'", shown);
        err->sys_errno = sys_errno;
        return -ERR_VMFILE_NOT_FOUND;
    }
    (void)error_set_errno(err, ERR_IO, sys_errno, "cannot read the VMFile '%s'", shown);
    return sys_errno == EACCES
               ? error_help(
                     err, "see the permissions of the file and its directories: namei -l %s", shown)
               : -(int)err->code;
}

static int check_kind(const char *path, const char *shown, struct error *err)
{
    struct stat st;
    if (user_path_stat(path, &st) < 0) {
        return vmfile_load_refuse(shown, errno, err);
    }
    if (S_ISDIR(st.st_mode)) {
        (void)error_set(err, ERR_VMFILE_NOT_FOUND, "'%s' is a directory, not a VMFile", shown);
        return error_help(err, "name the file in it: %s/VMFile.kdl", shown);
    }
    if (!S_ISREG(st.st_mode)) { /* reading it could block, and every command reads it again */
        (void)error_set(err, ERR_VMFILE_INVALID, "'%s' is a %s, not a VMFile", shown,
            S_ISFIFO(st.st_mode)   ? "pipe"
            : S_ISSOCK(st.st_mode) ? "socket"
                                   : "device");
        return error_help(err, "write it to a file, and give its name: --file PATH");
    }
    return 0;
}

static int read_text(const char *path, const char *shown, struct buf *text, struct error *err)
{
    struct error cause = {.code = ERR_NONE};
    int rc = check_kind(path, shown, err);
    if (rc < 0 || user_path_read(path, text, &cause) == 0) {
        return rc;
    }
    if (!text->is_full) {
        return vmfile_load_refuse(shown, cause.sys_errno, err);
    }
    *err = cause;
    err->code = ERR_VMFILE_INVALID;
    return -ERR_VMFILE_INVALID;
}

/* The user's own is watched, as are the files that are named. */
static const struct image_names *image_names(void *context, struct error *err)
{
    struct vmfile_load *load = context;
    if (!load->images.own_path) {
        (void)image_names_load(&load->images, &load->images_failure);
        strings_add(&load->named, load->images.own_path);
    }
    if (load->images_failure.code != ERR_NONE) {
        *err = load->images_failure;
        return NULL;
    }
    return &load->images;
}

static int read_nodes(struct nodes *ret, struct error *err)
{
    enum { NODES_MAX_BYTES = 64 * 1024 };
    struct error cause = {.code = ERR_NONE};
    cleanup_buf struct buf text = BUF_INIT(NODES_MAX_BYTES);
    cleanup_free char *path = nodes_path();
    if (user_path_read(path, &text, &cause) < 0 && cause.sys_errno != ENOENT) {
        *err = cause;
        return -(int)err->code;
    }
    nodes_clear(ret);
    nodes_parse(buf_str(&text), text.len, ret);
    if (ret->problems->n_diagnostics > 0) {
        (void)error_set(err, ERR_VMFILE_INVALID, "'%s' is not valid", path);
        return error_help(err, "see the error: vmctl node list");
    }
    return 0;
}

/* Only their names count here. */
static void add_fleet_nodes(struct vmfile_load *load)
{
    struct nodes *nodes = &load->nodes;
    for (size_t i = 0; load->fleet_nodes && i < load->fleet_nodes->count; i++) {
        if (!nodes_find(nodes, load->fleet_nodes->items[i])) {
            mem_grow(nodes->items, nodes->count);
            nodes->items[nodes->count++] = (struct node){
                .name = mem_strdup(load->fleet_nodes->items[i]), .address = mem_strdup("")};
        }
    }
}

static const struct nodes *other_nodes(void *context, struct error *err)
{
    struct vmfile_load *load = context;
    if (!load->names_nodes) {
        (void)error_set(err, ERR_VMFILE_INVALID, "a watched VMFile can only have VMs of this host");
        (void)error_help(
            err, "stop watching it and bring its VMs up yourself: vmctl unwatch, vmctl up");
        return NULL;
    }
    bool is_read = load->nodes.problems && load->nodes.problems->n_diagnostics == 0;
    if (!is_read && read_nodes(&load->nodes, err) < 0) {
        return NULL;
    }
    add_fleet_nodes(load);
    return &load->nodes;
}

static const char *read_include(void *context, const char *path, struct buf *ret)
{
    struct error ignored = {.code = ERR_NONE};
    const char *problem = file_problem(context, path, false);
    if (problem || user_path_read(path, ret, &ignored) == 0 || ret->is_full) {
        return problem;
    }
    return "no readable file at";
}

static const char *environment(void *context, const char *name)
{
    (void)context;
    return getenv(name);
}

static struct vmfile_env env_of(const struct vmfile_load *load, const char *shown)
{
    return (struct vmfile_env){
        .path = shown,
        .base_dir = load->base_dir,
        .home = paths_home(),
        .file_problem = file_problem,
        .read_file = read_content,
        .image_names = image_names,
        .read_include = read_include,
        .nodes = other_nodes,
        .overrides = load->overrides,
        .n_overrides = load->n_overrides,
    };
}

/* The digest of a VMFile that includes others is that of all texts. */
static void note_included(struct vmfile_load *load)
{
    struct digest *digest = digest_new();
    for (size_t i = 0; i < load->file->n_sources; i++) {
        const struct vmfile_source *source = &load->file->sources[i];
        const char *text = source->text ? source->text : buf_str(&load->text);
        digest_add(digest, text, source->text ? source->size : load->text.len);
    }
    digest_of(digest, load->sha256);
    digest_free(digest);
}

static int read_override(
    struct vmfile_load *load, const struct vmfile_inputs *inputs, size_t i, struct error *err)
{
    const char *path = inputs->overrides->items[i];
    const char *shown = inputs->overrides_shown ? inputs->overrides_shown->items[i] : path;
    cleanup_buf struct buf text = BUF_INIT(VMFILE_LOAD_MAX);
    bool is_given = inputs->text && text_eq(path, inputs->text_path);
    int rc = is_given ? 0 : read_text(path, shown, &text, err);
    if (rc == 0) {
        const struct buf *from = is_given ? inputs->text : &text;
        mem_grow(load->overrides, load->n_overrides);
        load->overrides[load->n_overrides++] = (struct vmfile_override){
            .path = mem_strdup(path),
            .shown = mem_strdup(shown),
            .base_dir = vmfile_load_directory(path),
            .text = mem_dup(buf_str(from), from->len + 1),
            .size = from->len,
        };
        strings_add(&load->named, path);
    }
    return rc;
}

static int read_texts(struct vmfile_load *load, const char *path, const char *shown,
    const struct vmfile_inputs *inputs, struct error *err)
{
    bool is_given = inputs->text && !inputs->text_path;
    size_t n_overrides = inputs->overrides ? inputs->overrides->count : 0;
    int rc = is_given ? 0 : read_text(path, shown, &load->text, err);
    if (is_given) {
        buf_add(&load->text, buf_str(inputs->text), inputs->text->len);
    }
    for (size_t i = 0; rc == 0 && i < n_overrides; i++) {
        rc = read_override(load, inputs, i, err);
    }
    return rc;
}

int vmfile_load(const char *path, const char *shown, const struct vmfile_inputs *inputs,
    struct vmfile_load *ret, struct error *err)
{
    struct vmfile_load load = {.text = BUF_INIT(VMFILE_LOAD_MAX),
        .names_nodes = inputs->uses_environment,
        .fleet_nodes = inputs->fleet_nodes};
    int rc = read_texts(&load, path, shown, inputs, err);
    if (rc < 0) {
        vmfile_load_clear(&load);
        return rc;
    }
    load.path = mem_strdup(path);
    load.base_dir = inputs->base_dir ? mem_strdup(inputs->base_dir) : vmfile_load_directory(path);
    struct vmfile_env env = env_of(&load, shown);
    env.context = &load;
    env.given = inputs->given;
    env.environment = inputs->uses_environment ? environment : NULL;
    load.file = vmfile_parse(buf_str(&load.text), load.text.len, &env);
    note_included(&load);
    *ret = load;
    return 0;
}

void vmfile_load_note_inputs(
    const struct vmfile_load *load, const struct strings *given, struct strings *ret)
{
    for (size_t i = 0; i < given->count; i++) {
        strings_append(ret, given->items[i]);
    }
    for (size_t i = 0; load && i < load->file->n_variables; i++) {
        const struct vmfile_variable *variable = &load->file->variables[i];
        if (variable->origin == VMFILE_FROM_ENV) {
            cleanup_free char *text = mem_printf("%s=%s", variable->name, variable->value);
            strings_append(ret, text);
        }
    }
}

const char *vmfile_load_given_project(const struct strings *given)
{
    const char *found = NULL;
    for (size_t i = 0; i < given->count; i++) {
        if (text_starts_with(given->items[i], VMFILE_GIVEN_PROJECT)) {
            found = given->items[i] + strlen(VMFILE_GIVEN_PROJECT);
        }
    }
    return found;
}

char *vmfile_load_project_with(const struct vmfile_load *load, const struct strings *given)
{
    struct vmfile_load scratch = {.path = NULL};
    struct vmfile_env env = env_of(load, load->path);
    env.context = &scratch;
    env.given = given;
    env.file_problem = NULL;
    env.read_file = NULL;
    env.image_names = NULL;
    env.nodes = NULL;
    struct vmfile *file = vmfile_parse(buf_str(&load->text), load->text.len, &env);
    char *project = mem_strdup(file->project);
    vmfile_free(file);
    vmfile_load_clear(&scratch);
    return project;
}

bool vmfile_load_is_same_project(
    const struct vmfile_load *load, const struct strings *given, const struct strings *other_inputs)
{
    if (strings_equal(given, other_inputs)) {
        return true;
    }
    cleanup_free char *project = vmfile_load_project_with(load, other_inputs);
    bool is_unknown = !project && load->file->project && !vmfile_load_given_project(given) &&
                      !vmfile_load_given_project(other_inputs);
    return is_unknown || text_eq(project, load->file->project);
}

void vmfile_load_clear(struct vmfile_load *load)
{
    vmfile_free(load->file);
    strings_clear(&load->named);
    image_names_clear(&load->images);
    nodes_clear(&load->nodes);
    buf_clear(&load->text);
    for (size_t i = 0; i < load->n_overrides; i++) {
        free((char *)(uintptr_t)load->overrides[i].path);
        free((char *)(uintptr_t)load->overrides[i].shown);
        free((char *)(uintptr_t)load->overrides[i].base_dir);
        free((char *)(uintptr_t)load->overrides[i].text);
    }
    free(load->overrides);
    free(load->base_dir);
    free(load->path);
    *load = (struct vmfile_load){.path = NULL};
}

void vmfile_load_render(struct buf *out, const struct vmfile_load *load, const char *shown,
    bool use_color, unsigned columns)
{
    const struct vmfile_env env = env_of(load, shown);
    vmfile_render_diagnostics(
        out, load->file, buf_str(&load->text), load->text.len, &env, use_color, columns);
}

const struct kdl_pos *vmfile_load_sum_up(const struct vmfile_load *load, struct buf *out)
{
    const struct vmfile *file = load->file;
    const struct vmfile_diagnostic *first = &file->diagnostics[0];
    const struct kdl_pos *pos = &first->pos;
    if (pos->source > 0) {
        buf_printf(out, "in '%s', line %u, column %u: ", file->sources[pos->source].path, pos->line,
            pos->column);
    }
    while (pos->source > 0) { /* that of an override is nowhere in the VMFile: line 0 */
        pos = &file->sources[pos->source].included_at;
    }
    buf_add_str(out, first->message);
    if (first->hint) {
        buf_printf(out, " (%s)", first->hint);
    }
    if (file->n_diagnostics > 1) {
        buf_printf(out, "; and %zu more: vmctl validate", file->n_diagnostics - 1);
    }
    return pos;
}

void vmfile_load_print(struct buf *out, struct vmfile_load *load, const char *place,
    const struct strings *given, struct strings *ret_files)
{
    struct vmfile_env env = env_of(load, load->path);
    env.context = load;
    env.given = given;
    env.environment = environment;
    env.file_problem = NULL; /* which notes the files that are named, and has done so */
    env.part_files = ret_files;
    vmfile_print(out, buf_str(&load->text), load->text.len, place, &env);
}

int vmfile_load_files(struct vmfile_load *load, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < load->file->n_vms; i++) {
        rc = change_read_files(load->file->vms[i], err);
    }
    return rc;
}

void vmfile_load_digest(const struct vmfile_load *load, char *ret_digest)
{
    cleanup_buf struct buf all = BUF_INIT(0);
    buf_add_str(&all, load->sha256);
    for (size_t i = 0; i < load->file->n_vms; i++) {
        char digest[DIGEST_SIZE];
        vm_spec_digest(load->file->vms[i], digest);
        buf_add_str(&all, digest);
    }
    digest_text(buf_str(&all), ret_digest);
}

int vmfile_load_referenced(struct vmfile_load *load, char *ret_digest, struct error *err)
{
    int rc = vmfile_load_files(load, err);
    if (rc == 0) {
        vmfile_load_digest(load, ret_digest);
    }
    return rc;
}

bool vmfile_load_is_vmfile(const char *path)
{
    cleanup_with(vmfile_load_clear) struct vmfile_load load = {.path = NULL};
    struct error ignored = {.code = ERR_NONE};
    if (vmfile_load(path, path, &(struct vmfile_inputs){.given = NULL}, &load, &ignored) < 0) {
        return false;
    }
    return load.file->n_vms > 0 ||
           (load.file->n_diagnostics > 0 && load.file->diagnostics[0].is_syntax);
}
