/* SPDX-License-Identifier: MPL-2.0 */
/* `node "b"`: the host that a VM runs on. */
#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vmfile/nodes_file.h"
#include "specs/vmfile/vmfile_reader.h"

static bool is_place(const char *name)
{
    return text_eq(name, VMFILE_PLACE);
}

/* The value of the first one; NULL: there is none. */
static const struct kdl_value *value_of(const struct kdl_node *vm)
{
    for (size_t i = 0; i < vm->n_entries; i++) {
        if (vm->entries[i].name && is_place(vm->entries[i].name)) {
            return &vm->entries[i].value;
        }
    }
    for (size_t i = 0; i < vm->n_children; i++) {
        if (is_place(vm->children[i].name)) {
            return kdl_argument(&vm->children[i], 0);
        }
    }
    return NULL;
}

const char *vmfile_place_of(const struct kdl_node *vm)
{
    const struct kdl_value *value = value_of(vm);
    const char *name = value && value->kind == KDL_STRING ? value->string : NULL;
    return name && name[0] && !text_eq(name, NODE_HERE) ? name : NULL;
}

void vmfile_drop_place(struct kdl_arena *memory, struct kdl_node *vm)
{
    cleanup_free struct kdl_entry *entries = mem_calloc(vm->n_entries + 1, sizeof(*entries));
    cleanup_free struct kdl_node *children = mem_calloc(vm->n_children + 1, sizeof(*children));
    size_t n_entries = 0, n_children = 0;
    for (size_t i = 0; i < vm->n_entries; i++) {
        if (!vm->entries[i].name || !is_place(vm->entries[i].name)) {
            entries[n_entries++] = vm->entries[i];
        }
    }
    for (size_t i = 0; i < vm->n_children; i++) {
        if (!is_place(vm->children[i].name)) {
            children[n_children++] = vm->children[i];
        }
    }
    vm->entries = kdl_arena_dup(memory, entries, (n_entries + 1) * sizeof(*entries));
    vm->children = kdl_arena_dup(memory, children, (n_children + 1) * sizeof(*children));
    vm->n_entries = n_entries;
    vm->n_children = n_children;
}

bool vmfile_goes_along(const char *field, const char *value)
{
    return text_has_word("script source user-data vendor-data network-config ssh-key", field) &&
           !text_eq(value, "~") && !text_starts_with(value, "~/") && value[0] != '/';
}

char *vmfile_part_name(const char *path)
{
    enum { SHOWN = 16 };
    char digest[DIGEST_SIZE];
    digest_text(path, digest);
    return mem_printf("%.*s/%s", SHOWN, digest, strrchr(path, '/') + 1);
}

static void report_unknown(struct vmfile_reader *reader, const struct vmfile_field *field,
    const struct nodes *nodes, const char *name)
{
    cleanup_buf struct buf known = BUF_INIT(0);
    cleanup_free const char **names = mem_calloc(nodes->count + 1, sizeof(*names));
    for (size_t i = 0; i < nodes->count; i++) {
        names[i] = nodes->items[i].name;
        buf_printf(&known, "%s%s", i ? ", " : "there is: ", names[i]);
    }
    const char *nearest = text_nearest(name, names, nodes->count);
    cleanup_free char *hint =
        text_eq(name, NODE_ANY)
            ? mem_strdup("the fleet chooses, on a host that is in one: vmctl fleet join")
        : nearest   ? mem_printf("did you mean `%s`?", nearest)
        : known.len ? mem_printf("%s; another: vmctl node add %s USER@HOST", buf_str(&known), name)
                    : mem_printf("add it first: vmctl node add %s USER@HOST", name);
    vmfile_report(reader, field->value->pos, hint, "there is no node \"%s\"", name);
}

void vmfile_read_place(struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    struct error err = {.code = ERR_NONE};
    const struct vmfile_env *env = reader->env;
    const char *name = vmfile_line(reader, field);
    (void)target; /* vmfile_place_of() had it before all other fields */
    if (!name || text_eq(name, NODE_HERE)) {
        return;
    }
    if (node_is_any(name)) {
        name = NODE_ANY; /* which a host that is in a fleet has among its nodes */
    } else if (!node_name_is_valid(name)) {
        vmfile_report(reader, field->value->pos,
            "letters, digits, '.', '_' and '-'; \"" NODE_HERE "\" is this host",
            "\"%s\" cannot be the name of a node", name);
        return;
    }
    const struct nodes *nodes = env->nodes ? env->nodes(env->context, &err) : NULL;
    if (env->nodes && !nodes) {
        vmfile_report(reader, field->value->pos, err.help[0] ? err.help : NULL, "%s", err.message);
    } else if (nodes && !nodes_find(nodes, name)) {
        report_unknown(reader, field, nodes, name);
    }
}
