/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vmfile/vmfile_expand.h"

#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/strings.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"
#include "specs/vmfile/vmfile_reader.h"

#define GIVEN_OF_VM "vm." /* --set vm.web.memory=4G */

enum { EXPANDED_MAX_BYTES = 16 << 20, EXPANDED_MAX_NODES = 200000 };

struct expander {
    struct vmfile_reader *reader;
    struct vmfile_expansion *out;
    const struct kdl_node *defaults; /* NULL: none */
    const struct kdl_node *project;  /* NULL: none */
    const struct kdl_node **templates;
    size_t n_templates;
    size_t n_bytes, n_nodes;
};

static bool takes(struct expander *expander, const struct kdl_pos *pos, size_t n_bytes)
{
    expander->n_bytes += n_bytes;
    bool is_too_much =
        expander->n_bytes > EXPANDED_MAX_BYTES || ++expander->n_nodes > EXPANDED_MAX_NODES;
    if (is_too_much && !expander->out->is_too_much) {
        vmfile_report(expander->reader, *pos, "split the file",
            "with its variables, templates and counts the file is too large");
        expander->out->is_too_much = true;
    }
    return !expander->out->is_too_much;
}

/* A whole value that reads as a number or boolean serves as such, and as the text it is. */
static void take_type(struct kdl_value *value)
{
    uint64_t number;
    if (text_to_u64(value->string, 0, INT64_MAX, &number)) {
        value->kind = KDL_NUMBER;
        value->number = value->string;
        value->is_integer = true;
        value->integer = (int64_t)number;
    } else if (text_eq(value->string, "true") || text_eq(value->string, "false")) {
        value->kind = KDL_BOOL;
        value->boolean = value->string[0] == 't';
    }
}

static struct kdl_value expand_value(
    struct expander *expander, const struct kdl_value *value, uint32_t index)
{
    struct kdl_value expanded = *value;
    if (value->kind != KDL_STRING ||
        !memmem(value->string, value->length, VMFILE_VARIABLE, strlen(VMFILE_VARIABLE))) {
        return expanded;
    }
    cleanup_buf struct buf out = BUF_INIT(EXPANDED_MAX_BYTES);
    if (!vmfile_add_expanded(expander->reader, value, index, &out) ||
        !takes(expander, &value->pos, out.is_full ? EXPANDED_MAX_BYTES + 1 : out.len)) {
        return expanded;
    }
    expanded.string = kdl_arena_text(&expander->out->memory, out.len + 1);
    expanded.length = out.len;
    memcpy(expanded.string, buf_str(&out), out.len + 1);
    take_type(&expanded);
    return expanded;
}

/* The same node with arrays of its own. */
static struct kdl_node copy_of(struct expander *expander, const struct kdl_node *node)
{
    struct kdl_arena *memory = &expander->out->memory;
    struct kdl_node copy = *node;
    if (node->n_entries > 0) {
        copy.entries =
            kdl_arena_dup(memory, node->entries, node->n_entries * sizeof(*node->entries));
    }
    if (node->n_children > 0) {
        copy.children =
            kdl_arena_dup(memory, node->children, node->n_children * sizeof(*node->children));
    }
    return copy;
}

static void expand_node(struct expander *expander, struct kdl_node *node, uint32_t index)
{
    if (!takes(expander, &node->pos, 0)) {
        return;
    }
    *node = copy_of(expander, node);
    for (size_t i = 0; i < node->n_entries; i++) {
        node->entries[i].value = expand_value(expander, &node->entries[i].value, index);
    }
    for (size_t i = 0; i < node->n_children; i++) {
        expand_node(expander, &node->children[i], index);
    }
}

/* ---- the layers of a vm: each a node, empty where there is none ---- */

enum layer { LAYER_DEFAULTS, LAYER_TEMPLATE, LAYER_OWN, LAYER_GIVEN, LAYER_COUNT_ };

/* Whether a layer above gives the field another value. */
static bool is_replaced(const struct kdl_node *layers, size_t layer, const char *name)
{
    bool is_given_above = false;
    for (size_t above = layer + 1; above < LAYER_COUNT_; above++) {
        is_given_above |= vmfile_has_field(&layers[above], name);
    }
    return is_given_above && !vmfile_vm_field_adds_up(name);
}

/* --set vm.NAME.FIELD=VALUE, the last of each field. */
static struct kdl_node fields_given(
    struct expander *expander, const struct kdl_node *vm, const char *name)
{
    const struct strings *given = expander->reader->env->given;
    struct kdl_arena *memory = &expander->out->memory;
    cleanup_free char *prefix = mem_printf(GIVEN_OF_VM "%s.", name);
    cleanup_free struct kdl_node *fields =
        mem_calloc(given ? given->count + 1 : 1, sizeof(*fields));
    struct kdl_node layer = {.children = fields};
    for (size_t i = given ? given->count : 0; i-- > 0;) {
        bool is_of_vm = text_starts_with(given->items[i], prefix);
        const char *field = given->items[i] + (is_of_vm ? strlen(prefix) : 0);
        size_t n = is_of_vm ? strcspn(field, "=.") : 0;
        if (n == 0 || field[n] != '=') {
            continue;
        }
        char *copy = kdl_arena_dup(memory, field, strlen(field) + 1);
        struct kdl_entry entry = {.value = {.kind = KDL_STRING, .pos = vm->pos}};
        copy[n] = '\0';
        entry.value.string = copy + n + 1;
        entry.value.length = strlen(entry.value.string);
        take_type(&entry.value);
        expander->reader->given_used[i] = true;
        if (!vmfile_has_field(&layer, copy)) {
            fields[layer.n_children++] = (struct kdl_node){
                .name = copy,
                .entries = kdl_arena_dup(memory, &entry, sizeof(entry)),
                .n_entries = 1,
                .pos = vm->pos,
            };
        }
    }
    layer.children = kdl_arena_dup(memory, fields, (layer.n_children + 1) * sizeof(*fields));
    return layer;
}

/* `count` and `like` are no fields of a machine: they are taken out. NULL: it is not there. */
static const struct kdl_value *take_field(
    struct expander *expander, struct kdl_node *layer, const char *name)
{
    const struct kdl_value *found = NULL;
    size_t kept = 0;
    for (size_t i = 0; i < layer->n_entries; i++) {
        if (!text_eq(layer->entries[i].name, name)) {
            layer->entries[kept++] = layer->entries[i];
        } else { /* moved over by the next one that is kept */
            found = kdl_arena_dup(&expander->out->memory, &layer->entries[i].value, sizeof(*found));
        }
    }
    layer->n_entries = kept;
    kept = 0;
    for (size_t i = 0; i < layer->n_children; i++) {
        const struct kdl_node *child = &layer->children[i];
        if (!text_eq(child->name, name)) {
            layer->children[kept++] = *child;
            continue;
        }
        if (found || !kdl_argument(child, 0)) {
            vmfile_report(expander->reader, child->pos, NULL,
                found ? "`%s` occurs a second time" : "`%s` needs a value", name);
        }
        found = found ? found : kdl_argument(child, 0);
    }
    layer->n_children = kept;
    return found;
}

static struct kdl_node find_template(struct expander *expander, const struct kdl_value *like)
{
    struct vmfile_reader *reader = expander->reader;
    const char *name = like ? vmfile_line(reader, &(struct vmfile_field){"like", like}) : NULL;
    cleanup_free const char **names = mem_calloc(expander->n_templates + 1, sizeof(*names));
    for (size_t i = 0; name && i < expander->n_templates; i++) {
        names[i] = kdl_argument(expander->templates[i], 0)->string;
        if (text_eq(names[i], name)) {
            return *expander->templates[i];
        }
    }
    if (name) {
        const char *nearest = text_nearest(name, names, expander->n_templates);
        cleanup_free char *hint =
            nearest ? mem_printf("did you mean `%s`?", nearest)
                    : mem_printf("write it at the top: template \"%s\" { vcpus 2 }", name);
        vmfile_report(reader, like->pos, hint, "there is no template \"%s\"", name);
    }
    return (struct kdl_node){.name = NULL};
}

/* ---- a vm ---- */

/* web-2, unless the name says where the number belongs. */
static void number_name(struct expander *expander, struct kdl_value *name,
    const struct kdl_value *written, uint32_t index)
{
    bool is_plain = name->string == written->string && written->kind == KDL_STRING;
    if (index > 0 && is_plain) {
        cleanup_free char *numbered = mem_printf("%s-%u", written->string, index);
        name->length = strlen(numbered);
        name->string = kdl_arena_dup(&expander->out->memory, numbered, name->length + 1);
    }
}

/* What of the layers counts, with its variables in their places. */
static void add_vm(struct expander *expander, struct kdl_node *layers, uint32_t index)
{
    const struct kdl_node *own = &layers[LAYER_OWN];
    struct kdl_arena *memory = &expander->out->memory;
    struct kdl_node vm = *own;
    size_t most = 0;
    vm.children = NULL;
    vm.n_children = 0;
    expand_node(expander, &vm, index);
    if (vm.n_entries > 0 && !vm.entries[0].name) {
        number_name(expander, &vm.entries[0].value, &own->entries[0].value, index);
        if (vm.entries[0].value.string) {
            layers[LAYER_GIVEN] = fields_given(expander, own, vm.entries[0].value.string);
        }
    }
    for (size_t i = 0; i < LAYER_COUNT_; i++) {
        most += layers[i].n_children;
    }
    cleanup_free struct kdl_node *fields = mem_calloc(most + 1, sizeof(*fields));
    size_t n_fields = 0, n_entries = 0;
    for (size_t i = 0; i < LAYER_COUNT_; i++) {
        for (size_t k = 0; k < layers[i].n_children; k++) {
            if (!is_replaced(layers, i, layers[i].children[k].name)) {
                fields[n_fields] = layers[i].children[k];
                expand_node(expander, &fields[n_fields++], index);
            }
        }
    }
    for (size_t i = 0; i < vm.n_entries; i++) {
        if (!vm.entries[i].name || !is_replaced(layers, LAYER_OWN, vm.entries[i].name)) {
            vm.entries[n_entries++] = vm.entries[i];
        }
    }
    vm.n_entries = n_entries;
    vm.children = kdl_arena_dup(memory, fields, (n_fields + 1) * sizeof(*fields));
    vm.n_children = n_fields;
    vm.has_children_block = own->has_children_block || n_fields > 0;
    mem_grow(expander->out->vms, expander->out->n_vms);
    expander->out->vms[expander->out->n_vms++] = vm;
}

static void expand_vm(struct expander *expander, const struct kdl_node *vm)
{
    struct kdl_node layers[LAYER_COUNT_] = {[LAYER_OWN] = copy_of(expander, vm)};
    const struct kdl_value *like = take_field(expander, &layers[LAYER_OWN], "like");
    const struct kdl_value *count = take_field(expander, &layers[LAYER_OWN], "count");
    uint32_t n = 1;
    layers[LAYER_TEMPLATE] = find_template(expander, like);
    layers[LAYER_TEMPLATE].n_entries = 0; /* its name */
    if (expander->defaults) {
        layers[LAYER_DEFAULTS] = *expander->defaults;
    }
    if (count) {
        struct kdl_value number = expand_value(expander, count, 0);
        (void)vmfile_integer(
            expander->reader, &(struct vmfile_field){"count", &number}, 1, VMFILE_MAX_VMS, &n);
    }
    struct vmfile_expansion *out = expander->out;
    for (uint32_t i = 1; i <= n && out->n_vms <= VMFILE_MAX_VMS && !out->is_too_much; i++) {
        layers[LAYER_GIVEN] = (struct kdl_node){.name = NULL};
        add_vm(expander, layers, count ? i : 0);
    }
}

/* ---- the file ---- */

/* Fields for several VMs stand in a block: a property of the node might be one of its own. */
static void check_block(
    struct vmfile_reader *reader, const struct kdl_node *node, size_t n_arguments)
{
    for (size_t i = n_arguments; i < node->n_entries; i++) {
        vmfile_report(reader, node->entries[i].value.pos,
            "write its fields in a block: { memory 1024 }", "`%s` has %s", node->name,
            n_arguments ? "a name and a block only" : "a block only");
    }
}

static void add_template(struct expander *expander, const struct kdl_node *node)
{
    struct vmfile_reader *reader = expander->reader;
    struct vmfile_field field = {.value = NULL};
    const char *name = vmfile_argument(node, 0, &field) ? vmfile_line(reader, &field) : NULL;
    if (!field.value) {
        vmfile_report(reader, node->pos, "write: template \"small\" { memory 1024 }",
            "`template` needs a value");
    }
    for (size_t i = 0; name && i < expander->n_templates; i++) {
        if (text_eq(kdl_argument(expander->templates[i], 0)->string, name)) {
            vmfile_report(
                reader, field.value->pos, NULL, "template \"%s\" occurs a second time", name);
        }
    }
    check_block(reader, node, 1);
    if (name) {
        mem_grow(expander->templates, expander->n_templates);
        expander->templates[expander->n_templates++] = node;
    }
}

static void note_project(struct expander *expander, const struct kdl_node *node)
{
    static const struct vmfile_shape shape = {"project \"shop\"", 1, 1, NULL, 0, false};
    struct vmfile_reader *reader = expander->reader;
    vmfile_read_node(reader, node, &shape, NULL, NULL);
    if (node->pos.source > 0) {
        vmfile_report(
            reader, node->pos, "write it in the VMFile", "`project` belongs to the VMFile itself");
    } else if (expander->project) {
        vmfile_report(reader, node->pos, NULL, "`project` occurs a second time");
    } else {
        expander->project = node;
    }
}

/* What is given counts; the file's own is checked all the same. */
static void read_project(struct expander *expander)
{
    struct vmfile_reader *reader = expander->reader;
    const struct strings *given = reader->env->given;
    struct vmfile_field field = {.name = "project"};
    const char *name = NULL;
    if (expander->project && vmfile_argument(expander->project, 0, &field)) {
        struct kdl_value value = expand_value(expander, field.value, 0);
        name = vmfile_line(reader, &(struct vmfile_field){"project", &value});
        if (name && !project_name_is_valid(name)) {
            vmfile_report(reader, value.pos,
                "lower-case letters, digits and '-', a letter or digit first and last, at most 63 "
                "characters",
                "\"%s\" cannot be the name of a project", name);
            name = NULL;
        }
    }
    for (size_t i = 0; given && i < given->count; i++) {
        if (text_starts_with(given->items[i], VMFILE_GIVEN_PROJECT)) {
            const char *project = given->items[i] + strlen(VMFILE_GIVEN_PROJECT);
            name = project_name_is_valid(project) ? project : NULL;
            reader->given_used[i] = true;
        }
    }
    free(reader->file->project);
    reader->file->project = mem_strdup(name);
}

static void read_shared(struct expander *expander, const struct kdl_node *node)
{
    static const char *const names[] = {"vm", "var", "defaults", "template", "include", "project"};
    struct vmfile_reader *reader = expander->reader;
    if (text_eq(node->name, "var")) {
        vmfile_read_variable(reader, node);
    } else if (text_eq(node->name, "template")) {
        add_template(expander, node);
    } else if (text_eq(node->name, "defaults") && expander->defaults) {
        vmfile_report(
            reader, node->pos, "there is one block for all VMs", "`defaults` occurs a second time");
    } else if (text_eq(node->name, "defaults")) {
        check_block(reader, node, 0);
        expander->defaults = node;
    } else if (text_eq(node->name, "project")) {
        note_project(expander, node);
    } else if (!text_eq(node->name, "vm")) {
        const char *nearest = text_nearest(node->name, names, ARRAY_LEN(names));
        cleanup_free char *hint = nearest
                                      ? mem_printf("did you mean `%s`?", nearest)
                                      : mem_strdup("write: vm \"name\" { image \"debian:12\" }");
        vmfile_report(reader, node->pos, hint,
            "unknown node `%s` at the top of the file, which holds `vm` blocks", node->name);
    }
}

/* `given`: "tag=13", of which no variable is called `tag`. free() it. */
static char *hint_variable(const struct vmfile *file, const char *given)
{
    cleanup_free const char **names = mem_calloc(file->n_variables + 1, sizeof(*names));
    cleanup_free char *name = mem_strndup(given, strcspn(given, "="));
    for (size_t i = 0; i < file->n_variables; i++) {
        names[i] = file->variables[i].name;
    }
    const char *nearest = text_nearest(name, names, file->n_variables);
    return nearest ? mem_printf("did you mean `%s`?", nearest)
                   : mem_printf("declare it at the top: var \"%s\"", name);
}

/* A slip of the keyboard would change nothing, without a word. */
static void report_unused(struct expander *expander)
{
    struct vmfile_reader *reader = expander->reader;
    const struct strings *given = reader->env->given;
    const struct kdl_pos start = {.line = 1, .column = 1, .length = 1};
    for (size_t i = 0; given && reader->env->environment && i < given->count; i++) {
        bool is_of_vm = text_starts_with(given->items[i], GIVEN_OF_VM);
        if (!expander->reader->given_used[i]) {
            const char *text = given->items[i]; /* its value may be a secret */
            int n_name = (int)strcspn(text, "=");
            cleanup_free char *hint = hint_variable(reader->file, text);
            vmfile_report(reader, start,
                is_of_vm ? "write: --set vm.NAME.FIELD=VALUE, with a VM of the file" : hint,
                is_of_vm ? "--set %.*s: the file has no such VM, or a VM no such field"
                         : "--set %.*s: the file has no such variable",
                n_name, text);
        }
    }
}

void vmfile_expand(
    struct vmfile_reader *reader, const struct kdl_document *doc, struct vmfile_expansion *ret)
{
    const struct strings *given = reader->env->given;
    *ret = (struct vmfile_expansion){.n_vms = 0};
    struct expander expander = {
        .reader = reader,
        .out = ret,
    };
    reader->given_used = mem_calloc((given ? given->count : 0) + 1, sizeof(bool));
    for (size_t i = 0; i < doc->n_nodes; i++) {
        read_shared(&expander, &doc->nodes[i]);
    }
    read_project(&expander);
    for (size_t i = 0; i < doc->n_nodes && !ret->is_too_much; i++) {
        if (text_eq(doc->nodes[i].name, "vm")) {
            expand_vm(&expander, &doc->nodes[i]);
        }
    }
    report_unused(&expander);
    free(expander.templates);
    free(TAKE_PTR(reader->given_used));
}

static void escape_node(struct kdl_arena *memory, struct kdl_node *node)
{
    for (size_t i = 0; i < node->n_entries; i++) {
        struct kdl_value *value = &node->entries[i].value;
        cleanup_buf struct buf out = BUF_INIT(0);
        const char *p = value->string, *end = p ? p + value->length : NULL;
        for (const char *at;
             p && (at = memmem(p, (size_t)(end - p), VMFILE_VARIABLE, strlen(VMFILE_VARIABLE)));) {
            buf_add(&out, p, (size_t)(at - p));
            buf_add_str(&out, "$" VMFILE_VARIABLE);
            p = at + strlen(VMFILE_VARIABLE);
        }
        if (out.len > 0) {
            buf_add(&out, p, (size_t)(end - p));
            value->string = kdl_arena_dup(memory, buf_str(&out), out.len + 1);
            value->length = out.len;
        }
    }
    for (size_t i = 0; i < node->n_children; i++) {
        escape_node(memory, &node->children[i]);
    }
}

void vmfile_expansion_escape(struct vmfile_expansion *expansion)
{
    for (size_t i = 0; i < expansion->n_vms; i++) {
        escape_node(&expansion->memory, &expansion->vms[i]);
    }
}

void vmfile_expansion_clear(struct vmfile_expansion *expansion)
{
    free(expansion->vms);
    kdl_arena_clear(&expansion->memory);
    *expansion = (struct vmfile_expansion){.n_vms = 0};
}
