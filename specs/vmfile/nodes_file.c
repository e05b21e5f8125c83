/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vmfile/nodes_file.h"

#include <stdlib.h>
#include <string.h>

#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/vmfile/vmfile_reader.h"

enum { ADDRESS_MAX = 255, FILE_MAX = 64 * 1024 };

char *nodes_path(void)
{
    const char *xdg = getenv("XDG_CONFIG_HOME");
    return xdg && xdg[0] == '/' ? mem_printf("%s/vmctl/nodes.kdl", xdg)
                                : mem_printf("%s/.config/vmctl/nodes.kdl", paths_home());
}

bool node_name_is_valid(const char *name)
{
    return vm_spec_name_is_valid(name) && !text_eq(name, NODE_HERE) && !text_eq(name, NODE_ANY);
}

bool node_is_any(const char *place)
{
    static const char begin[] = NODE_ANY ":";
    const char *label = place && text_starts_with(place, begin) ? place + strlen(begin) : NULL;
    const char *equals = label ? strchr(label, '=') : NULL;
    return text_eq(place, NODE_ANY) || (equals && equals > label && equals[1]);
}

bool node_address_is_valid(const char *address)
{
    return address[0] && address[0] != '-' && text_is_visible(address) &&
           strlen(address) <= ADDRESS_MAX;
}

bool node_data_dir_is_valid(const char *path)
{
    return path[0] == '/' || text_eq(path, "~") || text_starts_with(path, "~/");
}

/* The argument, if it is as it must be. free() it. */
static char *read_argument(struct vmfile_reader *reader, const struct kdl_node *node, size_t index,
    bool (*is_valid)(const char *text), const char *what, const char *hint)
{
    struct vmfile_field field;
    const char *text = vmfile_argument(node, index, &field) ? vmfile_line(reader, &field) : NULL;
    if (text && !is_valid(text)) {
        vmfile_report(
            reader, field.value->pos, hint, "\"%s\" cannot be the %s of a node", text, what);
    }
    return mem_strdup(text ? text : "");
}

static void read_one(struct vmfile_reader *reader, const struct kdl_node *node, struct nodes *nodes)
{
    enum { NODE_DATA_DIR, NODE_PROGRAM, NODE_FIELD_COUNT_ };
    static const struct vmfile_rule rules[NODE_FIELD_COUNT_] = {
        [NODE_DATA_DIR] = {"data-dir", "data-dir=\"/srv/vmctl\"", .kind = VMFILE_NAME,
            .offset = offsetof(struct node, data_dir), .is_valid = node_data_dir_is_valid,
            .problem = "must be an absolute path on that host, not"},
        [NODE_PROGRAM] = {"vmctl", "vmctl=\"/opt/vmctl/bin/vmctl\"", .kind = VMFILE_TEXT,
            .offset = offsetof(struct node, program)},
    };
    static const struct vmfile_shape shape = {
        "node \"b\" \"user@b.lan\"", 2, 2, rules, NODE_FIELD_COUNT_, false};
    struct kdl_pos seen[NODE_FIELD_COUNT_] = {{0}};
    struct node made = {.line = node->pos.line};
    vmfile_read_node(reader, node, &shape, &made, seen);
    made.name = read_argument(reader, node, 0, node_name_is_valid, "name",
        "as a VM's: letters, digits, '.', '_' and '-'; \"" NODE_HERE "\" is this host");
    made.address = read_argument(reader, node, 1, node_address_is_valid, "address",
        "write it as for ssh: b.lan, user@b.lan, ssh://user@b.lan:2222");
    const struct node *first = made.name[0] ? nodes_find(nodes, made.name) : NULL;
    if (first) {
        vmfile_report(reader, node->pos, "every node needs a name of its own",
            "node \"%s\" is there twice: the first one is on line %u", made.name, first->line);
    }
    mem_grow(nodes->items, nodes->count);
    nodes->items[nodes->count++] = made;
}

void nodes_parse(const char *text, size_t size, struct nodes *ret)
{
    static const char *const known[] = {"node"};
    static const struct kdl_limits limits = {.max_bytes = FILE_MAX, .max_depth = 8};
    static const struct vmfile_env env = {.base_dir = "/", .home = "/"};
    struct vmfile_reader reader = {.env = &env, .file = mem_new(struct vmfile)};
    struct kdl_document *doc = NULL;
    struct kdl_error error;
    *ret = (struct nodes){.problems = reader.file};
    reader.file->sources = mem_new(struct vmfile_source); /* the file itself: it includes none */
    reader.file->n_sources = 1;
    if (kdl_parse(text, size, KDL_AUTO, &limits, &doc, &error) < 0) {
        vmfile_report_syntax(&reader, &error);
        return;
    }
    for (size_t i = 0; i < doc->n_nodes; i++) {
        const struct kdl_node *node = &doc->nodes[i];
        if (text_eq(node->name, known[0])) {
            read_one(&reader, node, ret);
        } else {
            vmfile_report_unknown(&reader, node->pos, node->name, known, ARRAY_LEN(known),
                "unknown node `%s`: this file holds `node` alone", node->name);
        }
    }
    vmfile_sort_diagnostics(reader.file);
    kdl_document_free(doc);
}

void nodes_clear(struct nodes *nodes)
{
    for (size_t i = 0; i < nodes->count; i++) {
        free(nodes->items[i].name);
        free(nodes->items[i].address);
        free(nodes->items[i].data_dir);
        free(nodes->items[i].program);
    }
    free(nodes->items);
    vmfile_free(nodes->problems);
    *nodes = (struct nodes){.count = 0};
}

const struct node *nodes_find(const struct nodes *nodes, const char *name)
{
    for (size_t i = 0; i < nodes->count; i++) {
        if (text_eq(nodes->items[i].name, name)) {
            return &nodes->items[i];
        }
    }
    return NULL;
}

void nodes_render_problems(struct buf *out, const struct nodes *nodes, const char *text,
    size_t size, const char *path, bool use_color, unsigned columns)
{
    const struct vmfile_env env = {.path = path};
    vmfile_render_diagnostics(out, nodes->problems, text, size, &env, use_color, columns);
}
