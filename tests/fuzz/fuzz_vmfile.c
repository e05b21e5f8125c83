/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Any bytes as a VMFile, and as a nodes.kdl. What must hold: diagnostics are printable and within
 * the file's bounds, and every spec of a valid file comes back from its JSON with the same digest,
 * as does its copy.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/strings.h"
#include "specs/base/vm_name.h"
#include "specs/vmfile/nodes_file.h"
#include "specs/vmfile/vmfile.h"
#include "specs/vm/record_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Not assert(): it must hold in builds with NDEBUG too. */
static void must(bool claim)
{
    if (!claim) {
        abort();
    }
}

/* A world in which about half of the files exist. */
static const char *file_problem(void *context, const char *path, bool is_directory)
{
    (void)context;
    (void)is_directory;
    return strlen(path) % 2 == 0 ? NULL : "no readable file at";
}

/* A world in which half of the variables are set, to the text of a variable. */
static const char *environment(void *context, const char *name)
{
    (void)context;
    return strlen(name) % 2 == 0 ? "${{ tag }}" : NULL;
}

/* Its files hold their own names. */
static bool read_file(void *context, const char *path, struct buf *ret)
{
    (void)context;
    return buf_add_str(ret, path);
}

/* Files that include each other, with errors in some, and in all a part of the input. */
static const char *read_include(void *context, const char *path, struct buf *ret)
{
    size_t n = strlen(path);
    const struct strings *input = context;
    buf_printf(ret, "include \"x%s\"\ninclude \"%zu.kdl\"\n", path + 1, n % 5);
    buf_add_str(ret, n % 3 ? "var \"included\" default=1\n" : "{\n");
    buf_add_str(ret, input->items[0]);
    return n % 4 ? NULL : "no readable file at";
}

static void check_spec(const struct vm_spec *spec, const char *project)
{
    char digest[DIGEST_SIZE], other[DIGEST_SIZE];
    struct error err = {.code = ERR_NONE};
    cleanup_json json_t *json = vm_spec_to_json(spec);
    struct vm_spec *copy = vm_spec_copy(spec);
    struct vm_spec *read = vm_spec_from_json(json, &err);
    must(read != NULL);
    vm_spec_digest(spec, digest);
    vm_spec_digest(copy, other);
    must(strcmp(digest, other) == 0);
    vm_spec_digest(read, other);
    must(strcmp(digest, other) == 0);
    must(
        vm_name_is_valid(spec->name) && vm_name_is_of(spec->name, project) && spec->image.location);
    vm_spec_free(copy);
    vm_spec_free(read);
}

static void check_diagnostics(
    const struct vmfile *file, const char *text, size_t size, const struct vmfile_env *env)
{
    cleanup_buf struct buf out = BUF_INIT(0);
    vmfile_render_diagnostics(&out, file, text, size, env, false, 0);
    for (size_t i = 0; i < out.len; i++) {
        unsigned char c = (unsigned char)out.data[i];
        must((c >= 0x20 || c == '\n') && c != 0x7f);
    }
    for (size_t i = 0; i < file->n_diagnostics; i++) {
        const struct vmfile_diagnostic *diagnostic = &file->diagnostics[i];
        must(diagnostic->pos.line > 0 && diagnostic->pos.column > 0);
        must(diagnostic->message[0] && !strchr(diagnostic->message, '\n'));
    }
}

static void check_nodes(const char *text, size_t size, const struct vmfile_env *env)
{
    struct nodes nodes;
    nodes_parse(text, size, &nodes);
    check_diagnostics(nodes.problems, text, size, env);
    for (size_t i = 0; nodes.problems->n_diagnostics == 0 && i < nodes.count; i++) {
        must(node_name_is_valid(nodes.items[i].name) &&
             node_address_is_valid(nodes.items[i].address));
        must(nodes_find(&nodes, nodes.items[i].name) == &nodes.items[i]);
    }
    nodes_clear(&nodes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    static char *values[] = {
        "tag=1", "vm.a.memory=${{ x }}", "vm.web1.vcpus=2", "--project=fuzz-1"};
    const struct strings given = {values, sizeof(values) / sizeof(*values)};
    char part[256] = "";
    memcpy(part, data + size / 2, size / 2 < 255 ? size / 2 : 255);
    char *parts[] = {part};
    struct strings input = {parts, 1};
    const struct vmfile_override overrides[] = {
        {"/project/a.kdl", "a.kdl", "/project", text, size / 2},
        {"/other/b.kdl", "b.kdl", "/other", part, strlen(part)},
    };
    const struct vmfile_env env = {
        .overrides = overrides,
        .n_overrides = size % 13 ? 0 : 1 + size % 2,
        .path = "VMFile.kdl",
        .base_dir = "/project",
        .home = "/home/user",
        .file_problem = size % 2 ? file_problem : NULL,
        .read_file = size % 3 ? read_file : NULL,
        .given = size % 5 ? NULL : &given,
        .environment = size % 7 ? environment : NULL,
        .read_include = size % 11 ? read_include : NULL,
        .context = &input,
    };
    check_nodes(text, size, &env);
    struct vmfile *file = vmfile_parse(text, size, &env);
    check_diagnostics(file, text, size, &env);
    for (size_t i = 0; file->n_diagnostics == 0 && i < file->n_vms; i++) {
        check_spec(file->vms[i], file->project);
    }
    must(file->n_diagnostics > 0 || file->n_vms > 0);
    if (file->n_diagnostics == 0) { /* what it stands for is valid and means the same */
        cleanup_buf struct buf printed = BUF_INIT(0);
        const struct vmfile_env plain = {.path = "x", .base_dir = "/project", .home = "/home/user"};
        vmfile_print(&printed, text, size, NULL, &env);
        struct vmfile *again = vmfile_parse(buf_str(&printed), printed.len, &plain);
        for (size_t i = 0; again->n_diagnostics == 0 && i < file->n_vms; i++) {
            char digest[DIGEST_SIZE], other[DIGEST_SIZE];
            vm_spec_digest(file->vms[i], digest);
            vm_spec_digest(again->vms[i], other);
            must(strcmp(digest, other) == 0);
        }
        must(again->n_diagnostics == 0 || printed.len > 1 << 16); /* bounds of a file */
        vmfile_free(again);
    }
    vmfile_free(file);
    return 0;
}
