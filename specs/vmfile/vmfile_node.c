/* SPDX-License-Identifier: MPL-2.0 */
/* The engine behind every node: arguments, properties and block against a table of fields. */
#include "specs/vmfile/vmfile_reader.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

static const struct vmfile_rule *find_rule(const struct vmfile_shape *shape, const char *name)
{
    for (size_t i = 0; i < shape->n_rules; i++) {
        if (text_eq(shape->rules[i].name, name)) {
            return &shape->rules[i];
        }
    }
    return NULL;
}

#define ENV_USAGE "provision \"shell\" { inline \"command\"; env { DEBUG \"1\" } }"

/* What other tools call a field, or what no field does. */
static const struct {
    const char *word;
    const char *rule;
    const char *usage; /* NULL: the rule's */
} synonyms[] = {
    {"ram", "memory", NULL},
    {"cpu", "vcpus", NULL},
    {"cpus", "vcpus", NULL},
    {"cores", "vcpus", NULL},
    {"mem_limit", "memory-limit", NULL},
    {"cpu-quota", "cpu-limit", NULL},
    {"blkio_config", "io-limit", NULL},
    {"port", "forward", NULL},
    {"ports", "forward", NULL},
    {"publish", "forward", NULL},
    {"expose", "forward", NULL},
    {"url", "image-url", NULL},
    {"box", "image-url", NULL},
    {"hostname", "cloud-init", NULL},
    {"user", "ssh", NULL},
    {"run", "provision", NULL},
    {"script", "provision", NULL},
    {"env", "provision", ENV_USAGE},
    {"environment", "provision", ENV_USAGE},
    {"environment", "env", NULL},
    {"key", "private-key", NULL},
    {"key", "ssh-key", NULL},
    {"depends_on", "depends-on", NULL},
    {"healthcheck", "ready", NULL},
    {"volumes", "volume", NULL},
    {"mount", "share", NULL},
    {"folder", "share", NULL},
    {"shares", "share", NULL},
};

static char *hint_synonym(const struct vmfile_shape *shape, const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(synonyms); i++) {
        const struct vmfile_rule *rule = find_rule(shape, synonyms[i].rule);
        if (rule && text_eq(synonyms[i].word, name)) {
            const char *usage = synonyms[i].usage ? synonyms[i].usage : rule->usage;
            return mem_printf("did you mean `%s`? write: %s", rule->name, usage);
        }
    }
    return NULL;
}

/* The nearest name of the table, or all of them; with `is_property`, of fields of one value. */
static char *hint_names(struct vmfile_reader *reader, const struct vmfile_shape *shape,
    const char *name, bool is_property)
{
    const char *names[VMFILE_MAX_FIELDS] = {NULL};
    cleanup_buf struct buf all = BUF_INIT(0);
    size_t n = 0;
    char *synonym = is_property ? NULL : hint_synonym(shape, name);
    if (synonym) {
        reader->is_image_meant |= strstr(synonym, "`image") != NULL;
        return synonym;
    }
    assert(shape->n_rules <= VMFILE_MAX_FIELDS);
    for (size_t i = 0; i < shape->n_rules; i++) {
        if (!is_property || !shape->rules[i].read_node) {
            buf_printf(&all, "%s`%s`", n ? ", " : "", shape->rules[i].name);
            names[n++] = shape->rules[i].name;
        }
    }
    const char *nearest = text_nearest(name, names, n);
    if (nearest) {
        reader->is_image_meant |= text_starts_with(nearest, "image");
        return mem_printf("did you mean `%s`?", nearest);
    }
    return n ? mem_printf("known here: %s", buf_str(&all)) : mem_printf("write: %s", shape->usage);
}

static void report_usage(struct vmfile_reader *reader, struct kdl_pos pos, const char *usage,
    const char *name, const char *problem)
{
    cleanup_free char *hint = mem_printf("write: %s", usage);
    vmfile_report(reader, pos, hint, "`%s` %s", name, problem);
}

/* A VMFile gives type annotations no meaning, so `(GiB)2` would not do what it suggests. */
static void check_annotation(struct vmfile_reader *reader, const char *type, struct kdl_pos pos)
{
    if (type) {
        vmfile_report(
            reader, pos, "remove the annotation", "type annotation `(%s)` has no meaning", type);
    }
}

static void check_arguments(
    struct vmfile_reader *reader, const struct kdl_node *node, const struct vmfile_shape *shape)
{
    size_t n = 0;
    for (size_t i = 0; i < node->n_entries; i++) {
        const struct kdl_entry *entry = &node->entries[i];
        check_annotation(reader, entry->value.type, entry->value.pos);
        if (!entry->name && n++ == shape->max_arguments) { /* reported once */
            report_usage(reader, entry->value.pos, shape->usage, node->name,
                n == 1 ? "takes no value" : "has too many values");
        }
    }
    if (n < shape->min_arguments) {
        report_usage(reader, node->pos, shape->usage, node->name, "needs a value");
    }
}

/* Reports a field that occurs again and must not; then returns false. */
static bool mark_seen(struct vmfile_reader *reader, const struct vmfile_rule *rule,
    struct kdl_pos pos, struct kdl_pos *first)
{
    if (first->line == 0) {
        *first = pos;
        return true;
    }
    bool may_repeat = rule->is_list || rule->is_whole;
    if (!may_repeat) {
        cleanup_free char *hint = mem_printf("the first one is on line %u", first->line);
        vmfile_report(reader, pos, hint, "`%s` occurs a second time", rule->name);
    }
    return may_repeat;
}

static void read_name(struct vmfile_reader *reader, const struct vmfile_rule *rule,
    const struct vmfile_field *field, char **member)
{
    const char *name = vmfile_line(reader, field);
    if (name && !rule->is_valid(name)) {
        vmfile_report(reader, field->value->pos, rule->hint, "`%s` %s \"%s\"", field->name,
            rule->problem, name);
    } else if (name) {
        free(*member);
        *member = mem_strdup(name);
    }
}

static void read_flag(struct vmfile_reader *reader, const struct vmfile_rule *rule,
    const struct vmfile_field *field, bool *member)
{
    if (field->value->kind == KDL_BOOL) {
        *member = field->value->boolean;
        return;
    }
    cleanup_free char *hint = mem_printf("write: %s", rule->usage);
    vmfile_report(reader, field->value->pos, hint, "`%s` must be #true or #false", field->name);
}

static void read_value(struct vmfile_reader *reader, const struct vmfile_shape *shape,
    const struct vmfile_rule *rule, const struct vmfile_field *field, void *target)
{
    void *object = target;
    uint32_t seconds;
    if (shape->is_indirect) {
        memcpy(&object, target, sizeof(object));
    }
    void *member = (char *)object + rule->offset;
    switch (rule->kind) {
    case VMFILE_BY_FUNCTION:
        rule->read_value(reader, field, target);
        break;
    case VMFILE_INTEGER:
        (void)vmfile_integer(reader, field, rule->min, rule->max, member);
        break;
    case VMFILE_MIB:
    case VMFILE_GIB:
        (void)vmfile_size(reader, field, rule->kind == VMFILE_MIB ? 'M' : 'G', rule->max, member);
        break;
    case VMFILE_SECONDS:
        if (!vmfile_seconds(reader, field, rule->max, &seconds)) {
            break;
        }
        if (seconds >= rule->min) {
            *(uint32_t *)member = seconds;
        } else {
            vmfile_report(
                reader, field->value->pos, NULL, "`%s` must be at least one second", field->name);
        }
        break;
    case VMFILE_PORT:
        (void)vmfile_port(reader, field, member);
        break;
    case VMFILE_FLAG:
        read_flag(reader, rule, field, member);
        break;
    case VMFILE_WORD:
        (void)vmfile_word(reader, field, rule->words, member);
        break;
    case VMFILE_PATH:
        *(char **)member = vmfile_path(reader, field, rule->check);
        break;
    case VMFILE_TEXT:
        *(char **)member = mem_strdup(vmfile_text(reader, field));
        break;
    case VMFILE_NAME:
        read_name(reader, rule, field, member);
        break;
    }
}

static void read_property(struct vmfile_reader *reader, const struct kdl_node *node,
    const struct kdl_entry *entry, const struct vmfile_shape *shape, void *target,
    struct kdl_pos *seen)
{
    const struct vmfile_rule *rule = find_rule(shape, entry->name);
    if (!rule) {
        cleanup_free char *hint = hint_names(reader, shape, entry->name, true);
        vmfile_report(
            reader, entry->pos, hint, "unknown property `%s` of `%s`", entry->name, node->name);
    } else if (rule->read_node) {
        reader->is_image_meant |= text_starts_with(rule->name, "image");
        report_usage(reader, entry->pos, rule->usage, rule->name, "cannot be a property");
    } else if (mark_seen(reader, rule, entry->pos, &seen[rule - shape->rules])) {
        read_value(reader, shape, rule, &(struct vmfile_field){rule->name, &entry->value}, target);
    }
}

static void read_child(struct vmfile_reader *reader, const struct kdl_node *parent,
    const struct kdl_node *child, const struct vmfile_shape *shape, void *target,
    struct kdl_pos *seen)
{
    const struct vmfile_rule *rule = find_rule(shape, child->name);
    if (!rule) {
        cleanup_free char *hint = hint_names(reader, shape, child->name, false);
        vmfile_report(
            reader, child->pos, hint, "unknown node `%s` in `%s`", child->name, parent->name);
    } else if (rule->read_form && (child->n_entries > 1 || child->n_children > 0)) {
        rule->read_form(reader, child, target);
    } else if (mark_seen(reader, rule, child->pos, &seen[rule - shape->rules])) {
        if (rule->read_node) {
            rule->read_node(reader, child, target);
            return;
        }
        const struct vmfile_shape one_value = {
            .usage = rule->usage, .min_arguments = 1, .max_arguments = 1};
        struct vmfile_field field;
        vmfile_read_node(reader, child, &one_value, NULL, NULL);
        if (vmfile_argument(child, 0, &field)) {
            read_value(reader, shape, rule, &field, target);
        }
    }
}

void vmfile_read_node(struct vmfile_reader *reader, const struct kdl_node *node,
    const struct vmfile_shape *shape, void *target, struct kdl_pos *seen)
{
    check_annotation(reader, node->type, node->pos);
    check_arguments(reader, node, shape);
    for (size_t i = 0; i < node->n_entries; i++) {
        if (node->entries[i].name) {
            read_property(reader, node, &node->entries[i], shape, target, seen);
        }
    }
    if (node->has_children_block && !shape->rules) {
        report_usage(reader, node->pos, shape->usage, node->name, "has no block");
        return;
    }
    for (size_t i = 0; i < node->n_children; i++) {
        read_child(reader, node, &node->children[i], shape, target, seen);
    }
}

bool vmfile_argument(const struct kdl_node *node, size_t index, struct vmfile_field *ret)
{
    const struct kdl_value *value = kdl_argument(node, index);
    if (!value) {
        return false;
    }
    *ret = (struct vmfile_field){node->name, value};
    return true;
}
