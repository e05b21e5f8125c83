/* SPDX-License-Identifier: MPL-2.0 */
/* `var`, and ${{ }} in a value. */
#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/strings.h"
#include "specs/base/text.h"
#include "specs/vmfile/vmfile_reader.h"

#define CLOSING "}}"

/* ---- variables ---- */

struct variable_node {
    const struct kdl_value *fallback, *env;
};

static void read_fallback(
    struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    if (field->value->kind == KDL_NULL) {
        vmfile_report(reader, field->value->pos, "write \"\" for an empty one",
            "`default` must be a string, a number or a boolean");
    }
    ((struct variable_node *)target)->fallback = field->value;
}

static void read_env(struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    if (vmfile_line(reader, field)) {
        ((struct variable_node *)target)->env = field->value;
    }
}

/* A KDL value as the text that takes a variable's place. */
static const char *text_of(const struct kdl_value *value)
{
    return value->kind == KDL_BOOL     ? (value->boolean ? "true" : "false")
           : value->kind == KDL_NUMBER ? value->number
                                       : value->string;
}

/* What --set gave, the last of several; NULL: nothing. */
static const char *find_given(struct vmfile_reader *reader, const char *name)
{
    const struct strings *given = reader->env->given;
    const char *found = NULL;
    size_t n = strlen(name);
    for (size_t i = 0; given && i < given->count; i++) {
        if (strncmp(given->items[i], name, n) == 0 && given->items[i][n] == '=') {
            found = given->items[i] + n + 1;
            reader->given_used[i] = true;
        }
    }
    return found;
}

static struct vmfile_variable resolve(
    struct vmfile_reader *reader, const char *name, const struct variable_node *node)
{
    const struct vmfile_env *env = reader->env;
    const char *given = find_given(reader, name);
    const char *from_env =
        node->env && env->environment ? env->environment(env->context, node->env->string) : NULL;
    struct vmfile_variable variable = {
        .name = mem_strdup(name), .env = mem_strdup(node->env ? node->env->string : NULL)};
    if (given) {
        variable.origin = VMFILE_GIVEN;
        variable.value = mem_strdup(given);
    } else if (from_env && from_env[0]) {
        variable.origin = VMFILE_FROM_ENV;
        variable.value = mem_strdup(from_env);
    } else if (node->fallback && node->fallback->kind != KDL_NULL) {
        variable.origin = VMFILE_DEFAULT;
        variable.value = mem_strdup(text_of(node->fallback));
    }
    return variable;
}

static const struct vmfile_variable *find_variable(
    const struct vmfile *file, const char *name, size_t n)
{
    for (size_t i = 0; i < file->n_variables; i++) {
        if (strlen(file->variables[i].name) == n &&
            strncmp(file->variables[i].name, name, n) == 0) {
            return &file->variables[i];
        }
    }
    return NULL;
}

void vmfile_read_variable(struct vmfile_reader *reader, const struct kdl_node *node)
{
    static const struct vmfile_rule rules[] = {
        {"default", "default=\"12\"", .read_value = read_fallback},
        {"env", "env=\"TAG\"", .read_value = read_env},
    };
    static const struct vmfile_shape shape = {
        "var \"tag\" default=\"12\"", 1, 1, rules, ARRAY_LEN(rules), false};
    struct variable_node read = {.fallback = NULL};
    struct kdl_pos seen[ARRAY_LEN(rules)] = {{0}};
    struct vmfile_field field;
    vmfile_read_node(reader, node, &shape, &read, seen);
    const char *name = vmfile_argument(node, 0, &field) ? vmfile_line(reader, &field) : NULL;
    if (!name) {
        return;
    }
    if (!vm_spec_name_is_valid(name) || strchr(name, '.') || text_eq(name, "index")) {
        vmfile_report(reader, field.value->pos,
            "letters, digits, '_' and '-'; `index` is that of `count`",
            "\"%s\" cannot be the name of a variable", name);
    } else if (find_variable(reader->file, name, strlen(name))) {
        vmfile_report(reader, field.value->pos, NULL, "variable `%s` is declared twice", name);
    } else {
        struct vmfile_variable variable = resolve(reader, name, &read);
        mem_grow(reader->file->variables, reader->file->n_variables);
        reader->file->variables[reader->file->n_variables++] = variable;
    }
}

/* ---- the place of a variable ---- */

/* Reported where it is used; later findings about the value follow from it and are not. */
static void report_use(struct vmfile_reader *reader, const struct kdl_value *value,
    const char *hint, const char *name, const char *problem)
{
    vmfile_report(reader, value->pos, hint, "variable `%s` %s", name, problem);
    mem_grow(reader->unresolved, reader->n_unresolved);
    reader->unresolved[reader->n_unresolved++] = value->pos;
}

static void report_undeclared(
    struct vmfile_reader *reader, const struct kdl_value *value, const char *name)
{
    const struct vmfile *file = reader->file;
    cleanup_free const char **names = mem_calloc(file->n_variables + 1, sizeof(*names));
    for (size_t i = 0; i < file->n_variables; i++) {
        names[i] = file->variables[i].name;
    }
    const char *nearest = text_nearest(name, names, file->n_variables);
    cleanup_free char *hint =
        text_eq(name, "index") ? mem_strdup("it is known in a `vm` with `count`")
        : nearest              ? mem_printf("did you mean `%s`?", nearest)
                  : mem_strdup("declare it at the top: var \"name\" default=\"value\"; "
                               "for the text itself write $${{");
    report_use(reader, value, hint, name, "is not declared");
}

/* Appends the value of the variable that the `n` bytes name. */
static bool add_variable(struct vmfile_reader *reader, const struct kdl_value *value,
    uint32_t index, const char *name, size_t n, struct buf *out)
{
    const struct vmfile_variable *variable = find_variable(reader->file, name, n);
    cleanup_free char *copy = mem_strndup(name, n);
    if (variable && variable->value) {
        buf_add_str(out, variable->value);
        return true;
    }
    if (index > 0 && text_eq(copy, "index")) {
        buf_printf(out, "%u", index);
        return true;
    }
    if (!variable) {
        report_undeclared(reader, value, copy);
        return false;
    }
    cleanup_free char *hint = variable->env
                                  ? mem_printf("--set %s=VALUE, or set $%s", copy, variable->env)
                                  : mem_printf("--set %s=VALUE, or give it a default", copy);
    report_use(reader, value, hint, copy, "has no value");
    return false;
}

bool vmfile_add_expanded(
    struct vmfile_reader *reader, const struct kdl_value *value, uint32_t index, struct buf *out)
{
    const char *p = value->string, *end = p + value->length;
    for (const char *at;
         (at = memmem(p, (size_t)(end - p), VMFILE_VARIABLE, strlen(VMFILE_VARIABLE))) != NULL;) {
        if (at > p && at[-1] == '$') { /* $${{ stands for ${{ */
            buf_add(out, p, (size_t)(at - p - 1));
            buf_add_str(out, VMFILE_VARIABLE);
            p = at + strlen(VMFILE_VARIABLE);
            continue;
        }
        const char *name = at + strlen(VMFILE_VARIABLE);
        const char *close = memmem(name, (size_t)(end - name), CLOSING, strlen(CLOSING));
        if (!close) {
            report_use(reader, value, "for the text itself write $${{", VMFILE_VARIABLE,
                "is not closed by `}}`");
            return false;
        }
        buf_add(out, p, (size_t)(at - p));
        p = close + strlen(CLOSING);
        while (name < close && *name == ' ') {
            name++;
        }
        while (close > name && close[-1] == ' ') {
            close--;
        }
        if (!add_variable(reader, value, index, name, (size_t)(close - name), out)) {
            return false;
        }
    }
    buf_add(out, p, (size_t)(end - p));
    return true;
}
