/* SPDX-License-Identifier: MPL-2.0 */
/* The texts that a VMFile consists of. `include "common.kdl"`: its nodes take its place. A file
 * counts once, wherever it is named. */
#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vmfile/image_names.h"
#include "specs/vmfile/vmfile_reader.h"

struct includer {
    struct vmfile_reader *reader;
    struct vmfile_documents *out;
    size_t n_bytes; /* of all texts */
};

static void take_text(struct includer *includer, const char *text, size_t size, uint32_t source);

/* Of every node and value: in which text it stands. */
static void set_source(struct kdl_node *node, uint32_t source)
{
    node->pos.source = source;
    for (size_t i = 0; i < node->n_entries; i++) {
        node->entries[i].pos.source = node->entries[i].value.pos.source = source;
    }
    for (size_t i = 0; i < node->n_children; i++) {
        set_source(&node->children[i], source);
    }
}

static uint32_t add_source(struct vmfile *file, const char *path, const char *shown,
    const char *base_dir, struct kdl_pos at)
{
    mem_grow(file->sources, file->n_sources);
    file->sources[file->n_sources] = (struct vmfile_source){.path = mem_strdup(path),
        .shown = mem_strdup(shown),
        .base_dir = mem_strdup(base_dir),
        .included_at = at};
    return (uint32_t)file->n_sources++;
}

/* Whether the text at `source` is being read because of the file: then *ret_chain is how, "a -> b".
 */
static bool is_within(const struct vmfile *file, uint32_t source, const char *path,
    char **ret_chain, size_t *ret_depth)
{
    cleanup_free char *chain = mem_strdup(path);
    *ret_depth = 1;
    for (const struct vmfile_source *at = &file->sources[source];; (*ret_depth)++) {
        char *longer = mem_printf("%s -> %s", at->path, chain);
        free(chain);
        chain = longer;
        if (text_eq(at->path, path)) {
            *ret_chain = TAKE_PTR(chain);
            return true;
        }
        if (at->included_at.line == 0) {
            return false;
        }
        at = &file->sources[at->included_at.source];
    }
}

static bool is_known(const struct vmfile *file, const char *path)
{
    for (size_t i = 0; i < file->n_sources; i++) {
        if (text_eq(file->sources[i].path, path)) {
            return true;
        }
    }
    return false;
}

static void include_file(
    struct includer *includer, const char *path, struct kdl_pos pos, uint32_t source)
{
    struct vmfile_reader *reader = includer->reader;
    struct vmfile *file = reader->file;
    cleanup_free char *chain = NULL;
    size_t depth;
    if (is_within(file, source, path, &chain, &depth)) {
        vmfile_report(reader, pos, "remove one of them", "`include` forms a cycle: %s", chain);
        return;
    }
    if (is_known(file, path)) {
        return;
    }
    if (depth > VMFILE_MAX_INCLUDES) {
        vmfile_report(
            reader, pos, NULL, "more than %d files include each other", VMFILE_MAX_INCLUDES);
        return;
    }
    struct buf text = BUF_INIT(VMFILE_MAX_BYTES - includer->n_bytes);
    const char *problem = reader->env->read_include(reader->env->context, path, &text);
    if (problem || text.is_full) {
        vmfile_report(reader, pos, NULL, "`include`: %s '%s'",
            problem ? problem : "all files together are larger than 1 MiB with", path);
        buf_clear(&text);
        return;
    }
    const char *slash = strrchr(path, '/');
    cleanup_free char *directory = mem_strndup(path, slash == path ? 1 : (size_t)(slash - path));
    uint32_t index = add_source(file, path, path, directory, pos);
    size_t size = text.len;
    file->sources[index].text = buf_steal(&text);
    file->sources[index].size = size;
    take_text(includer, file->sources[index].text, size, index);
}

static void take_include(struct includer *includer, const struct kdl_node *node, uint32_t source)
{
    static const struct vmfile_shape shape = {
        .usage = "include \"common.kdl\"", .min_arguments = 1, .max_arguments = 1};
    struct vmfile_reader *reader = includer->reader;
    struct vmfile_field field;
    vmfile_read_node(reader, node, &shape, NULL, NULL);
    const char *name = vmfile_argument(node, 0, &field) ? vmfile_line(reader, &field) : NULL;
    if (name && strstr(name, VMFILE_VARIABLE)) {
        vmfile_report(reader, field.value->pos, "write the path itself",
            "variables are not known in `include`");
    } else if (name && reader->env->read_include) {
        cleanup_free char *path =
            fs_resolve(name, vmfile_base_dir(reader, node->pos), reader->env->home);
        include_file(includer, path, field.value->pos, source);
    }
}

static void take_text(struct includer *includer, const char *text, size_t size, uint32_t source)
{
    static const struct kdl_limits limits = {
        .max_bytes = VMFILE_MAX_BYTES,
        .max_depth = VMFILE_MAX_DEPTH,
        .max_nodes = VMFILE_MAX_NODES,
    };
    struct vmfile_documents *out = includer->out;
    struct kdl_document *doc = NULL;
    struct kdl_error error;
    includer->n_bytes += size;
    if (kdl_parse(text, size, KDL_AUTO, &limits, &doc, &error) < 0) {
        error.pos.source = source;
        vmfile_report_syntax(includer->reader, &error);
        return;
    }
    mem_grow(out->items, out->count);
    out->items[out->count++] = doc;
    for (size_t i = 0; i < doc->n_nodes; i++) {
        set_source(&doc->nodes[i], source);
        if (text_eq(doc->nodes[i].name, "include")) {
            take_include(includer, &doc->nodes[i], source);
        } else {
            mem_grow(out->whole.nodes, out->whole.n_nodes);
            out->whole.nodes[out->whole.n_nodes++] = doc->nodes[i];
        }
    }
}

static void take_override(struct includer *includer, const struct vmfile_override *override)
{
    static const struct kdl_pos start = {.line = 1, .column = 1, .length = 1};
    struct vmfile *file = includer->reader->file;
    size_t n_before = includer->out->whole.n_nodes;
    bool is_twice = is_known(file, override->path);
    uint32_t index =
        add_source(file, override->path, override->shown, override->base_dir, (struct kdl_pos){0});
    struct kdl_pos pos = start;
    pos.source = index;
    struct buf text = BUF_INIT(VMFILE_MAX_BYTES - includer->n_bytes);
    bool fits = buf_add(&text, override->text, override->size);
    file->sources[index].size = text.len;
    file->sources[index].text = buf_steal(&text);
    if (is_twice || !fits) {
        vmfile_report(includer->reader, pos, NULL,
            is_twice ? "'%s' is read already: a file counts once"
                     : "all files together are larger than 1 MiB with '%s'",
            override->shown);
        return;
    }
    take_text(includer, file->sources[index].text, override->size, index);
    vmfile_take_override(includer->out, n_before);
}

void vmfile_documents_read(
    struct vmfile_reader *reader, const char *text, size_t size, struct vmfile_documents *ret)
{
    struct includer includer = {.reader = reader, .out = ret};
    const struct vmfile_env *env = reader->env;
    const char *slash = strrchr(env->path, '/'); /* what is before it starts at another directory */
    cleanup_free char *path =
        env->base_dir ? fs_resolve(slash ? slash + 1 : env->path, env->base_dir, env->home) : NULL;
    *ret = (struct vmfile_documents){.count = 0};
    (void)add_source(
        reader->file, path ? path : env->path, env->path, env->base_dir, (struct kdl_pos){0});
    take_text(&includer, text, size, 0);
    for (size_t i = 0; i < env->n_overrides; i++) {
        take_override(&includer, &env->overrides[i]);
    }
}

void vmfile_documents_clear(struct vmfile_documents *documents)
{
    for (size_t i = 0; i < documents->count; i++) {
        kdl_document_free(documents->items[i]);
    }
    free(documents->items);
    free(documents->whole.nodes);
    kdl_arena_clear(&documents->memory);
    *documents = (struct vmfile_documents){.count = 0};
}

const char *vmfile_base_dir(const struct vmfile_reader *reader, struct kdl_pos pos)
{
    const struct vmfile *file = reader->file;
    return pos.source < file->n_sources ? file->sources[pos.source].base_dir
                                        : reader->env->base_dir;
}

static void put_path(struct kdl_arena *memory, struct kdl_value *value, const char *path)
{
    value->length = strlen(path);
    value->string = kdl_arena_dup(memory, path, value->length + 1);
}

static void take_along(
    const struct vmfile_reader *reader, struct kdl_arena *memory, struct kdl_value *value)
{
    cleanup_free char *path =
        fs_resolve(value->string, vmfile_base_dir(reader, value->pos), reader->env->home);
    cleanup_free char *name = vmfile_part_name(path);
    strings_add(reader->env->part_files, path);
    put_path(memory, value, name);
}

static void fix_path(const struct vmfile_reader *reader, struct kdl_arena *memory,
    const char *field, struct kdl_value *value)
{
    static const char *const paths[] = {"image", "ssh-key", "user-data", "vendor-data",
        "network-config", "private-key", "script", "source", "password-file", "file", "from-file",
        "share", "socket"};
    const struct vmfile_env *env = reader->env;
    struct error ignored = {.code = ERR_NONE};
    bool is_path = false;
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        is_path |= text_eq(field, paths[i]);
    }
    if (is_path && value->string && env->part_files && vmfile_goes_along(field, value->string)) {
        take_along(reader, memory, value);
        return;
    }
    if (!is_path || !value->string || value->pos.source == 0 || strchr("/~", value->string[0])) {
        return;
    }
    const struct image_names *names = text_eq(field, "image") && env->image_names
                                          ? env->image_names(env->context, &ignored)
                                          : NULL;
    if (!names || !image_names_find(names, value->string)) {
        cleanup_free char *path =
            fs_resolve(value->string, vmfile_base_dir(reader, value->pos), env->home);
        put_path(memory, value, path);
    }
}

void vmfile_fix_paths(
    const struct vmfile_reader *reader, struct kdl_arena *memory, struct kdl_node *node)
{
    for (size_t i = 0; i < node->n_entries; i++) {
        struct kdl_entry *entry = &node->entries[i];
        fix_path(reader, memory, entry->name ? entry->name : node->name, &entry->value);
    }
    for (size_t i = 0; i < node->n_children; i++) {
        vmfile_fix_paths(reader, memory, &node->children[i]);
    }
}
