/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/result.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/show/outcome.h"
#include "cli/show/output.h"
#include "cli/show/vm_rows.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/enum_names.h"
#include "specs/base/error.h"
#include "specs/base/text.h"
#include "specs/vm/spec_diff.h"
#include "specs/vmfile/vmfile.h"
#include "store/desired/change.h"

/* Messages may hold what a guest or a server sent. */
static void put_printable(json_t *json, const char *key, const char *text)
{
    cleanup_buf struct buf shown = BUF_INIT(0);
    text_add_printable(&shown, text, strlen(text));
    json_put_text(json, key, buf_str(&shown));
}

json_t *result_of_error(const struct error *err)
{
    json_t *json = json_object();
    json_put_text(json, "code", error_code_name(err->code));
    put_printable(json, "message", err->message);
    if (error_help_text(err)[0]) {
        put_printable(json, "help", error_help_text(err));
    }
    return json;
}

/* ---- the document ---- */

void result_begin(struct cli *cli)
{
    if (output_is_data(cli) && !cli->answer) {
        cli->answer = json_object();
        json_put(cli->answer, "vms", json_array());
    }
}

void result_end(struct cli *cli, const struct error *err)
{
    if (!cli->answer) {
        return;
    }
    if (err->code != ERR_NONE) {
        result_error(cli, err);
    }
    output_print(cli, cli->answer);
    json_decref(cli->answer);
    cli->answer = NULL;
}

void result_error(const struct cli *cli, const struct error *err)
{
    if (cli->answer) {
        json_put(cli->answer, "error", result_of_error(err));
    }
}

void result_forget_error(const struct cli *cli)
{
    if (cli->answer) {
        (void)json_object_del(cli->answer, "error");
    }
}

void result_add(const struct cli *cli, const json_t *document)
{
    json_t *vms = json_object_get(document, "vms"), *error = json_object_get(document, "error");
    if (cli->answer && vms) {
        (void)json_array_extend(json_object_get(cli->answer, "vms"), vms);
    }
    if (cli->answer && error) {
        (void)json_object_set(cli->answer, "error", error);
    }
}

static enum error_code code_of(const struct vmfile_diagnostic *diagnostic)
{
    return diagnostic->is_syntax ? ERR_VMFILE_PARSE : ERR_VMFILE_INVALID;
}

void result_invalid_file(const struct cli *cli, const struct vmfile *file)
{
    if (!cli->answer || file->n_diagnostics == 0) {
        return;
    }
    struct error first = {.code = ERR_NONE};
    (void)error_set(&first, code_of(&file->diagnostics[0]), "%s", file->diagnostics[0].message);
    json_t *json = result_of_error(&first);
    json_t *all = json_array();
    for (size_t i = 0; i < file->n_diagnostics; i++) {
        const struct vmfile_diagnostic *diagnostic = &file->diagnostics[i];
        json_t *entry = json_object();
        json_put_text(entry, "code", error_code_name(code_of(diagnostic)));
        put_printable(entry, "message", diagnostic->message);
        if (diagnostic->hint) {
            put_printable(entry, "help", diagnostic->hint);
        }
        if (diagnostic->pos.source > 0) {
            put_printable(entry, "file", file->sources[diagnostic->pos.source].shown);
        }
        json_put_int(entry, "line", diagnostic->pos.line);
        json_put_int(entry, "column", diagnostic->pos.column);
        (void)json_array_append_new(all, entry);
    }
    json_put(json, "diagnostics", all);
    json_put(cli->answer, "error", json);
}

/* ---- a VM of it ---- */

/* Made when it is missing; borrowed. */
static json_t *vm_of(const struct cli *cli, const char *name)
{
    json_t *vms = json_object_get(cli->answer, "vms"), *vm;
    size_t i;
    json_array_foreach(vms, i, vm)
    {
        if (text_eq(json_text(vm, "name"), name)) {
            return vm;
        }
    }
    vm = json_object();
    output_put_name(vm, name);
    json_put_text(vm, "result", "pending");
    (void)json_array_append_new(vms, vm);
    return vm;
}

void result_outcome(
    const struct cli *cli, const char *vm_name, const struct change_outcome *outcome)
{
    if (!cli->answer) {
        return;
    }
    json_t *vm = vm_of(cli, vm_name), *changes = json_array();
    for (size_t i = 0; i < outcome->diff.count; i++) {
        (void)json_array_append_new(changes, output_of_change(&outcome->diff.changes[i]));
    }
    json_put_text(vm, "outcome", enum_names_at(&change_result_words, outcome->result));
    json_put(vm, "changes", changes);
}

/* The changes that wait for a restart or a new disk which was not requested. */
static void put_waiting(const struct cli *cli, const struct outcome_view *view)
{
    json_t *waiting = json_array();
    for (size_t i = 0; i < view->pending->count; i++) {
        const struct spec_change *change = &view->pending->changes[i];
        if (outcome_waits(view, change->disposition)) {
            (void)json_array_append_new(waiting, output_of_change(change));
        }
    }
    for (int i = 0; i < DISPOSITION_COUNT_; i++) {
        const char *drift = outcome_drift(view, (enum disposition)i);
        if (drift) { /* a change of no single field */
            json_t *json = json_object();
            json_put(json, "field", json_null());
            json_put_text(json, "disposition", disposition_name((enum disposition)i));
            put_printable(json, "message", drift);
            (void)json_array_append_new(waiting, json);
        }
    }
    json_put(vm_of(cli, view->name), "waiting", waiting);
}

void result_report(const struct cli *cli, const struct outcome_view *view, bool is_dry_run)
{
    if (cli->answer) {
        put_waiting(cli, view);
        result_set(cli, view->name, is_dry_run ? "planned" : "pending");
        return;
    }
    cleanup_buf struct buf out = BUF_INIT(0);
    outcome_describe(&out, view);
    cleanup_free char *text = buf_steal(&out);
    char *rest = text;
    for (const char *line; (line = strsep(&rest, "\n")) && *line;) {
        /* A line that ends with a command waits for the user to type it. */
        enum vm_tone tone = text_ends_with(line, ": unchanged")                   ? TONE_OFF
                            : text_ends_with(line, ")") && strstr(line, "vmctl ") ? TONE_WARN
                                                                                  : TONE_GOOD;
        printf("%s%s%s%s\n", cli->use_color_stdout ? vm_tone_colors[tone] : "", line,
            is_dry_run ? " (dry run)" : "", cli->use_color_stdout ? "\033[0m" : "");
    }
}

void result_print(const struct cli *cli, const char *vm_name, const char *text)
{
    if (!cli->answer) {
        printf("%s: %s\n", vm_name, text);
    }
}

void result_set(const struct cli *cli, const char *vm_name, const char *result)
{
    if (cli->answer) {
        json_put_text(vm_of(cli, vm_name), "result", result);
    }
}

void result_followed(const struct cli *cli, const char *vm_name, const char *goal,
    const char *result, const struct error *err)
{
    if (!cli->answer) {
        return;
    }
    json_t *vm = vm_of(cli, vm_name);
    json_put_text(vm, "goal", goal);
    json_put_text(vm, "result", result);
    (void)json_object_del(vm, "error");
    if (err->code != ERR_NONE) {
        json_put(vm, "error", result_of_error(err));
    }
}
