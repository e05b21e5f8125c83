/* SPDX-License-Identifier: MPL-2.0 */
/* `label` and `protect`. */
#include "specs/vmfile/vmfile_reader.h"

#include "specs/base/mem.h"
#include "specs/base/text.h"

/* NULL after a report. Borrowed. */
static const char *read_key(
    struct vmfile_reader *reader, const struct vmfile_field *field, const struct vm_spec *spec)
{
    const char *key = vmfile_line(reader, field);
    if (key && !label_key_is_valid(key)) {
        vmfile_report(reader, field->value->pos,
            "letters, digits, '.', '_', '-' and '/', a letter or digit first, at most 63 "
            "characters",
            "\"%s\" cannot be the key of a label", key);
        return NULL;
    }
    if (key && vm_spec_label(spec, key)) {
        vmfile_report(reader, field->value->pos, "a key has one value: remove one of them",
            "VM \"%s\" has two labels \"%s\"", spec->name, key);
        return NULL;
    }
    return key;
}

void vmfile_read_label(struct vmfile_reader *reader, const struct kdl_node *node, void *target)
{
    static const struct vmfile_shape shape = {"label \"tier\" \"web\"", 2, 2, NULL, 0, false};
    struct vm_spec *spec = ((struct vmfile_vm *)target)->spec;
    struct vmfile_field first, second;
    vmfile_read_node(reader, node, &shape, NULL, NULL);
    if (!vmfile_argument(node, 0, &first) || !vmfile_argument(node, 1, &second)) {
        return;
    }
    const char *key = read_key(reader, &first, spec);
    const char *value = vmfile_value_line(reader, &second);
    if (value && !label_value_is_valid(value)) {
        vmfile_report(reader, second.value->pos,
            "letters, digits, '.', '_' and '-', a letter or digit first, at most 63 characters",
            "\"%s\" cannot be the value of a label", value);
        value = NULL;
    }
    if (spec->n_labels == LABELS_MAX) {
        vmfile_report(reader, node->pos, "remove one", "VM \"%s\" has more than %d labels",
            spec->name, LABELS_MAX);
        return;
    }
    if (key && value) {
        mem_grow(spec->labels, spec->n_labels);
        spec->labels[spec->n_labels++] =
            (struct spec_label){.key = mem_strdup(key), .value = mem_strdup(value)};
    }
}

/* Alone it is #true. */
static void read_switch(struct vmfile_reader *reader, const struct kdl_node *node, bool *ret)
{
    const struct vmfile_shape shape = {node->name, 0, 1, NULL, 0, false};
    struct vmfile_field field;
    vmfile_read_node(reader, node, &shape, NULL, NULL);
    bool has_value = vmfile_argument(node, 0, &field);
    if (has_value && field.value->kind != KDL_BOOL) {
        cleanup_free char *hint = mem_printf("write: %s", node->name);
        vmfile_report(reader, field.value->pos, hint, "`%s` must be #true or #false", node->name);
        return;
    }
    *ret = !has_value || field.value->boolean;
}

void vmfile_read_protect(struct vmfile_reader *reader, const struct kdl_node *node, void *target)
{
    read_switch(reader, node, &((struct vmfile_vm *)target)->spec->is_protected);
}

void vmfile_read_tpm(struct vmfile_reader *reader, const struct kdl_node *node, void *target)
{
    read_switch(reader, node, &((struct vmfile_vm *)target)->spec->has_tpm);
}
