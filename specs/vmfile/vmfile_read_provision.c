/* SPDX-License-Identifier: MPL-2.0 */
/* `provision "shell" { … }` and `provision "file" { … }`. */
#include "specs/vmfile/vmfile_reader.h"

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

static void read_per_vm(
    struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    if (field->value->kind != KDL_BOOL) {
        vmfile_report(
            reader, field->value->pos, "write: per-vm=#true", "`per-vm` must be #true or #false");
        return;
    }
    ((struct spec_step *)target)->is_per_vm = field->value->boolean;
}

/* clang-format off */
#define RULE_PER_VM {"per-vm", .usage = "per-vm=#true", .read_value = read_per_vm}
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
    SHELL_FIELD_COUNT_
};

static const struct vmfile_rule shell_rules[SHELL_FIELD_COUNT_] = {
    [SHELL_INLINE] = {"inline", .usage = "inline \"command\"", .kind = VMFILE_TEXT,
        .offset = offsetof(struct spec_step, command)},
    [SHELL_SCRIPT] = {"script", .usage = "script \"path\"", .read_value = read_script},
    [SHELL_RUN] = RULE_RUN,
    [SHELL_TIMEOUT] = RULE_TIMEOUT,
    [SHELL_PER_VM] = RULE_PER_VM,
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
