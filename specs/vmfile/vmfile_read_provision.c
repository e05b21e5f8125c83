/* SPDX-License-Identifier: MPL-2.0 */
/* `provision "shell" { … }` and `provision "file" { … }`. */
#include "specs/vmfile/vmfile_reader.h"

#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vmfile/guest_text.h"

enum { TIMEOUT_MAX_S = 7 * 24 * 3600 };

/* Of a shell step with both `script` and `inline`, which is an error of its own, both are read. */
static void read_script(
    struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    struct spec_step *step = target;
    step->file.path = vmfile_path(reader, field, guest_text_check_script);
}

static void read_destination(
    struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    struct spec_step *step = target;
    const char *path = vmfile_line(reader, field);
    if (!path) {
        return;
    }
    if (path[0] != '/') {
        vmfile_report(reader, field->value->pos,
            path[0] == '~' ? "write the home directory out: \"/home/USER/…\"" : NULL,
            "`destination` must be an absolute path in the guest, not \"%s\"", path);
    } else if (text_ends_with(path, "/")) {
        vmfile_report(reader, field->value->pos, "add the name of the file",
            "`destination` names a directory: \"%s\"", path);
    } else {
        step->destination = mem_strdup(path);
    }
}

static bool is_taken(const struct spec_step *step, const char *name)
{
    bool is_found = false;
    for (size_t i = 0; i < step->n_env; i++) {
        is_found |= text_eq(step->env[i].name, name);
    }
    for (size_t i = 0; i < step->n_secrets; i++) {
        is_found |= text_eq(step->secrets[i].name, name);
    }
    return is_found;
}

/* `env { DEBUG "1" }`: its nodes have the names of the variables. */
static void read_env(struct vmfile_reader *reader, const struct kdl_node *node, void *target)
{
    static const struct vmfile_shape one_value = {
        .usage = "env { DEBUG \"1\" }", .min_arguments = 1, .max_arguments = 1};
    struct spec_step *step = target;
    for (size_t i = 0; i < node->n_entries; i++) {
        vmfile_report(
            reader, node->entries[i].pos, "write: env { DEBUG \"1\" }", "`env` has a block only");
    }
    for (size_t i = 0; i < node->n_children; i++) {
        const struct kdl_node *child = &node->children[i];
        struct vmfile_field field;
        vmfile_read_node(reader, child, &one_value, NULL, NULL);
        bool has_value = vmfile_argument(child, 0, &field);
        const char *value = has_value ? vmfile_value_line(reader, &field) : NULL;
        if (!step_variable_is_valid(child->name)) {
            vmfile_report(reader, child->pos, "letters, digits and '_', no digit first",
                "\"%s\" cannot be the name of a variable", child->name);
            continue;
        }
        if (is_taken(step, child->name)) {
            vmfile_report(reader, child->pos, NULL, "`%s` occurs a second time", child->name);
            value = NULL;
        }
        if (value) {
            mem_grow(step->env, step->n_env);
            step->env[step->n_env++] =
                (struct spec_variable){mem_strdup(child->name), mem_strdup(value)};
        }
    }
}

/* ---- secrets ---- */

static void read_from(struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    struct spec_secret *secret = target;
    int source = enum_names_find(&secret_source_words, field->name + strlen("from-"));
    char *from = source == SECRET_FROM_FILE      ? vmfile_path(reader, field, NULL)
                 : source == SECRET_FROM_COMMAND ? mem_strdup(vmfile_text(reader, field))
                                                 : mem_strdup(vmfile_line(reader, field));
    if (source == SECRET_FROM_ENV && from && !step_variable_is_valid(from)) {
        vmfile_report(reader, field->value->pos, "letters, digits and '_', no digit first",
            "`from-env`: \"%s\" cannot be the name of a variable", from);
    } else if (source == SECRET_FROM_ENV && reader->place) {
        vmfile_report(reader, field->value->pos,
            "use from-file or from-command, which are that host's",
            "`from-env` is of this host, and the VM is on node \"%s\"", reader->place);
    }
    free(secret->from);
    secret->source = (enum secret_source)source;
    secret->from = from;
}

#define SECRET_USAGE "secret \"TOKEN\" from-env=\"TOKEN\""

static const struct vmfile_rule secret_rules[SECRET_SOURCE_COUNT_] = {
    [SECRET_FROM_ENV] = {"from-env", .usage = SECRET_USAGE, .read_value = read_from},
    [SECRET_FROM_FILE] = {"from-file", .usage = "secret \"TOKEN\" from-file=\"path\"",
        .read_value = read_from},
    [SECRET_FROM_COMMAND] = {"from-command",
        .usage = "secret \"TOKEN\" from-command=\"pass show x\"", .read_value = read_from},
};

/* `secret "TOKEN" from-env="TOKEN"` */
static void read_secret(struct vmfile_reader *reader, const struct kdl_node *node, void *target)
{
    static const struct vmfile_shape secret_shape = {
        SECRET_USAGE, 1, 1, secret_rules, SECRET_SOURCE_COUNT_, false};
    struct spec_step *step = target;
    struct spec_secret secret = {.from = NULL};
    struct kdl_pos seen[SECRET_SOURCE_COUNT_] = {{0}};
    struct vmfile_field field;
    vmfile_read_node(reader, node, &secret_shape, &secret, seen);
    const char *name = vmfile_argument(node, 0, &field) ? vmfile_line(reader, &field) : NULL;
    int n_sources = 0;
    for (size_t i = 0; i < ARRAY_LEN(seen); i++) {
        n_sources += seen[i].line > 0;
    }
    if (n_sources != 1) {
        vmfile_report(reader, node->pos, "write: " SECRET_USAGE,
            "`secret` needs one of from-env, from-file and from-command");
    }
    if (name && !step_variable_is_valid(name)) {
        vmfile_report(reader, field.value->pos, "letters, digits and '_', no digit first",
            "\"%s\" cannot be the name of a variable", name);
    } else if (name && is_taken(step, name)) {
        vmfile_report(reader, field.value->pos, NULL, "`%s` occurs a second time", name);
    } else if (name && step->n_secrets == SECRETS_MAX) {
        vmfile_report(
            reader, node->pos, NULL, "a step can have at most %d secrets", (int)SECRETS_MAX);
    } else if (name && secret.from && n_sources == 1) {
        mem_grow(step->secrets, step->n_secrets);
        step->secrets[step->n_secrets++] =
            (struct spec_secret){mem_strdup(name), secret.source, TAKE_PTR(secret.from)};
    }
    free(secret.from);
}

/* clang-format off */
#define RULE_PER_VM {"per-vm", .usage = "per-vm=#true", .kind = VMFILE_FLAG, \
    .offset = offsetof(struct spec_step, is_per_vm)}
#define RULE_RUN {"run", .usage = "run \"once\"", .kind = VMFILE_WORD, \
    .offset = offsetof(struct spec_step, run), .words = &step_run_words}
#define RULE_TIMEOUT {"timeout", .usage = "timeout \"5m\"", .kind = VMFILE_SECONDS, \
    .offset = offsetof(struct spec_step, timeout_s), .max = TIMEOUT_MAX_S}
/* clang-format on */

enum shell_field {
    SHELL_INLINE,
    SHELL_SCRIPT,
    SHELL_RUN,
    SHELL_TIMEOUT,
    SHELL_PER_VM,
    SHELL_ENV,
    SHELL_SECRET,
    SHELL_FIELD_COUNT_
};

static const struct vmfile_rule shell_rules[SHELL_FIELD_COUNT_] = {
    [SHELL_INLINE] = {"inline", .usage = "inline \"command\"", .kind = VMFILE_TEXT,
        .offset = offsetof(struct spec_step, command)},
    [SHELL_SCRIPT] = {"script", .usage = "script \"path\"", .read_value = read_script},
    [SHELL_RUN] = RULE_RUN,
    [SHELL_TIMEOUT] = RULE_TIMEOUT,
    [SHELL_PER_VM] = RULE_PER_VM,
    [SHELL_ENV] = {"env", .usage = "env { DEBUG \"1\" }", .read_node = read_env},
    [SHELL_SECRET] = {"secret", .usage = SECRET_USAGE, .is_list = true, .read_node = read_secret},
};

static const struct vmfile_shape shell_shape = {
    "provision \"shell\" { inline \"command\" }", 1, 1, shell_rules, SHELL_FIELD_COUNT_, false};

enum file_field {
    FILE_SOURCE,
    FILE_DESTINATION,
    FILE_RUN,
    FILE_TIMEOUT,
    FILE_PER_VM,
    FILE_FIELD_COUNT_
};

static const struct vmfile_rule file_rules[FILE_FIELD_COUNT_] = {
    [FILE_SOURCE] = {"source", .usage = "source \"path\"", .kind = VMFILE_PATH,
        .offset = offsetof(struct spec_step, file.path)},
    [FILE_DESTINATION] = {"destination", .usage = "destination \"/path/in/the/guest\"",
        .read_value = read_destination},
    [FILE_RUN] = RULE_RUN,
    [FILE_TIMEOUT] = RULE_TIMEOUT,
    [FILE_PER_VM] = RULE_PER_VM,
};

static const struct vmfile_shape file_shape = {
    "provision \"file\" { source \"path\"; destination \"/path\" }", 1, 1, file_rules,
    FILE_FIELD_COUNT_, false};

static void read_shell(
    struct vmfile_reader *reader, const struct kdl_node *node, struct spec_step *step)
{
    struct kdl_pos seen[SHELL_FIELD_COUNT_] = {{0}};
    vmfile_read_node(reader, node, &shell_shape, step, seen);
    step->is_per_vm |= step->n_secrets > 0; /* whatever `per-vm` says */
    step->kind = seen[SHELL_SCRIPT].line ? STEP_SCRIPT : STEP_INLINE;
    if (!seen[SHELL_INLINE].line && !seen[SHELL_SCRIPT].line) {
        vmfile_report(reader, node->pos, "write: provision \"shell\" { inline \"command\" }",
            "provision \"shell\" needs `inline` or `script`");
    } else if (seen[SHELL_INLINE].line && seen[SHELL_SCRIPT].line) {
        vmfile_report(reader, seen[SHELL_SCRIPT], "make them two provision blocks",
            "provision \"shell\" takes either `inline` or `script`, not both");
    }
}

static void read_upload(
    struct vmfile_reader *reader, const struct kdl_node *node, struct spec_step *step)
{
    struct kdl_pos seen[FILE_FIELD_COUNT_] = {{0}};
    vmfile_read_node(reader, node, &file_shape, step, seen);
    step->kind = STEP_FILE;
    if (!seen[FILE_SOURCE].line || !seen[FILE_DESTINATION].line) {
        vmfile_report(reader, node->pos,
            "write: provision \"file\" { source \"path\"; destination \"/path\" }",
            "provision \"file\" needs both `source` and `destination`");
    }
}

void vmfile_read_provision(struct vmfile_reader *reader, const struct kdl_node *node, void *target)
{
    enum { SHELL, UPLOAD };
    static const char *const types[] = {[SHELL] = "shell", [UPLOAD] = "file"};
    static const struct enum_names type_words = {types, ARRAY_LEN(types)};
    struct vm_spec *spec = ((struct vmfile_vm *)target)->spec;
    struct vmfile_field field;
    int type;
    if (!vmfile_argument(node, 0, &field)) {
        vmfile_report(reader, node->pos, "write: provision \"shell\" or provision \"file\"",
            "`provision` needs a type");
        return;
    }
    if (!vmfile_word(reader, &field, &type_words, &type)) {
        return; /* which fields it may have is not known */
    }
    mem_grow(spec->steps, spec->n_steps);
    struct spec_step *step = &spec->steps[spec->n_steps++];
    memset(step, 0, sizeof(*step));
    if (type == SHELL) {
        read_shell(reader, node, step);
    } else {
        read_upload(reader, node, step);
    }
}
