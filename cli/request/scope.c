/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/request/scope.h"

#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/fleet/fleet_view.h"
#include "cli/completion_takes.h"
#include "cli/options.h"
#include "cli/request/project.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/user_path.h"
#include "specs/base/vm_name.h"
#include "specs/vmfile/nodes_file.h"
#include "store/store.h"

int scope_take_given(struct cli *cli, const char *project, struct error *err)
{
    const char *from_env = getenv("VMCTL_PROJECT");
    bool is_part = from_env && from_env[0] == '/' && text_eq(getenv("VMCTL_FILE"), "-");
    bool is_env = !project && from_env && from_env[0] && !is_part; /* see project.c */
    const char *given = is_env ? from_env : project;
    if (!given) {
        return 0;
    }
    if (given[0] && !project_name_is_valid(given)) {
        (void)error_set(err, ERR_USAGE, "%s: '%s' cannot be the name of a project",
            is_env ? "VMCTL_PROJECT" : "--project", given);
        return error_help(err,
            "use lower-case letters, digits and '-', a letter or digit first and last, %d at most",
            PROJECT_NAME_MAX);
    }
    cleanup_free char *item = mem_printf(VMFILE_GIVEN_PROJECT "%s", given);
    strings_append(&cli->given, item);
    cli->scope = given[0] ? mem_strdup(given) : NULL;
    cli->has_given_scope = cli->knows_scope = true;
    return 0;
}

static const char help_to_name[] = "choose one: --project NAME, or --project '' for none";

/* Of the VMs that came from the file before. */
static int recall(struct cli *cli, const char *path, bool *ret_has_vms, struct error *err)
{
    struct error ignored = {.code = ERR_NONE};
    cleanup_with(strings_clear) struct strings names = {.count = 0};
    bool is_read = cli->paths.data_dir && cli_open_store(cli, &ignored) == 0 &&
                   store_list_source(cli->store, path, &names, &ignored) == 0;
    cleanup_free char *project =
        is_read && names.count > 0 ? vm_name_project(names.items[0]) : NULL;
    for (size_t i = 1; i < names.count; i++) {
        if (!vm_name_is_of(names.items[i], project)) {
            (void)error_set(err, ERR_USAGE,
                "'%s' cannot be read, and its VMs are of several projects: %s, %s", path,
                names.items[0], names.items[i]);
            return error_help(err, help_to_name);
        }
    }
    *ret_has_vms = names.count > 0;
    cli->scope = TAKE_PTR(project);
    return 0;
}

/* Of a text that need not be a VMFile: whether a line begins so. */
static bool has_project_line(const char *text)
{
    static const char word[] = "project";
    bool has = false;
    for (const char *at = text; at && !has; at = strchr(at, '\n')) {
        at += strspn(at, " \t\n\"");
        has = text_starts_with(at, word) && strchr(" \t\"", at[strlen(word)]);
    }
    return has;
}

struct first_look {
    bool is_read, may_have_project, has_project;
};

/* Most VMFiles have none, and are not parsed for that. */
static struct first_look look_at(const char *path)
{
    struct error ignored = {.code = ERR_NONE};
    cleanup_buf struct buf text = BUF_INIT(VMFILE_LOAD_MAX);
    bool is_read = user_path_read(path, &text, &ignored) == 0;
    return (struct first_look){.is_read = is_read,
        .may_have_project =
            is_read && memmem(buf_str(&text), text.len, "project", strlen("project")),
        .has_project = is_read && has_project_line(buf_str(&text))};
}

/* Without one "web" would be that of no project. */
static int refuse_unknown(
    const char *path, const struct vmfile_load *load, const struct error *cause, struct error *err)
{
    cleanup_buf struct buf why = BUF_INIT(0);
    const struct kdl_pos *pos =
        load->file && load->file->n_diagnostics > 0 ? vmfile_load_sum_up(load, &why) : NULL;
    cleanup_free char *place = pos ? mem_printf("line %u: ", pos->line) : mem_strdup("");
    (void)error_set(err, ERR_VMFILE_INVALID, "cannot determine the project of '%s': %s%s", path,
        place, pos ? buf_str(&why) : cause->message);
    return error_help(err, help_to_name);
}

static int read_scope(struct cli *cli, const struct arg_strings *files, struct error *err)
{
    struct error ignored = {.code = ERR_NONE};
    cleanup_free char *path = NULL;
    cleanup_with(vmfile_load_clear) struct vmfile_load load = {.path = NULL};
    cleanup_with(strings_clear) struct strings overrides = {.count = 0}, shown = {.count = 0};
    const struct vmfile_inputs inputs = {.given = &cli->given,
        .uses_environment = true,
        .fleet_nodes = &cli->fleet_nodes,
        .overrides = &overrides};
    if (project_is_stdin(files) || project_path(cli, files, &path, &ignored) < 0) {
        return 0; /* the one is read once, by the command; of the other not even a directory is
                     there */
    }
    const struct first_look look = look_at(path);
    bool has_vms = false;
    if (!look.may_have_project) {
        return look.is_read ? 0 : recall(cli, path, &has_vms, err);
    }
    bool is_whole = project_overrides(files, &overrides, &shown, &ignored) == 0 &&
                    vmfile_load(path, path, &inputs, &load, &ignored) == 0 &&
                    (load.file->n_diagnostics == 0 || load.file->project);
    if (!is_whole) {
        int rc = recall(cli, path, &has_vms, err);
        return rc < 0 || has_vms || !look.has_project ? rc
                                                      : refuse_unknown(path, &load, &ignored, err);
    }
    cli->scope = mem_strdup(load.file->project);
    return 0;
}

bool scope_has(const struct cli *cli, const char *name)
{
    return !cli->has_given_scope || !cli->scope || vm_name_is_of(name, cli->scope);
}

int scope_find(
    struct cli *cli, const struct arg_strings *files, const char **ret, struct error *err)
{
    int rc = cli->knows_scope ? 0 : read_scope(cli, files, err);
    cli->knows_scope = cli->knows_scope || rc == 0;
    *ret = cli->scope;
    return rc;
}

int scope_name(struct cli *cli, const struct arg_strings *files, const char *word, char **ret,
    struct error *err)
{
    static const char here[] = NODE_HERE "/";
    const char *project = NULL;
    const char *slash = strchr(word, '/');
    cleanup_free char *own = slash ? fleet_own_node(cli) : NULL;
    bool is_own = own && strlen(own) == (size_t)(slash - word) && text_starts_with(word, own);
    word += text_starts_with(word, here) ? strlen(here) : is_own ? strlen(own) + 1 : 0;
    int rc = strchr(word, '/') ? 0 : scope_find(cli, files, &project, err);
    if (rc == 0) {
        *ret = vm_name_in(project, word);
    }
    return rc;
}

const struct arg_strings *scope_files(const struct command *command, const void *values)
{
    for (const struct arg_option *o = command->options; o && o->name; o++) {
        if (text_eq(o->name, "file") && o->kind == ARG_REPEATED) {
            return (const struct arg_strings *)(const void *)((const char *)values + o->offset);
        }
    }
    return NULL;
}

struct resolving {
    struct cli *cli;
    const struct command *command;
    const struct arg_strings *files;
    struct arg_strings *words;
    size_t n_words; /* that may be names */
    bool has_verbs;
    int rc;
    struct error *err;
};

static void resolve_word(struct resolving *self, const char **word)
{
    cleanup_free char *name = NULL;
    if (strchr(*word, ':')) {
        return; /* the ports of a command that may leave the name out */
    }
    if (self->rc == 0) {
        self->rc = scope_name(self->cli, self->files, *word, &name, self->err);
    }
    if (self->rc == 0) {
        strings_append(&self->cli->cut_words, name);
        *word = self->cli->cut_words.items[self->cli->cut_words.count - 1];
    }
}

static void resolve_place(void *context, const struct completion_word *word)
{
    struct resolving *self = context;
    const struct arg_strings *words = self->words;
    bool is_verb =
        word->n_verb == 0 || (words->count > 0 && strlen(words->items[0]) == word->n_verb &&
                                 strncmp(words->items[0], word->verb, word->n_verb) == 0);
    bool is_name = text_eq(word->kinds, "vms") || text_eq(word->kinds, "new");
    for (size_t i = word->place; is_verb && is_name && i < self->n_words; i++) {
        resolve_word(self, &words->items[i]);
        if (!word->repeats) {
            break;
        }
    }
}

int scope_resolve(struct cli *cli, const struct command *command, void *values,
    struct arg_strings *words, struct error *err)
{
    cleanup_buf struct buf listed = BUF_INIT(0);
    bool is_run = text_eq(command->name, "run"); /* whose VMFile may be a word */
    const struct arg_strings word = {.items = words->items, .count = 1};
    struct resolving self = {.cli = cli,
        .command = command,
        .files = is_run && words->n_before_dashes > 0 ? &word : scope_files(command, values),
        .words = words,
        .n_words = words->n_before_dashes,
        .err = err};
    for (const struct arg_option *o = command->options; o && o->name; o++) {
        void *value = (char *)values + o->offset;
        if (!text_eq(o->value_name, "VM")) {
            continue;
        }
        struct arg_strings *several = o->kind == ARG_REPEATED ? value : NULL;
        const char **one = o->kind == ARG_TEXT ? value : NULL;
        for (size_t i = 0; several && i < several->count; i++) {
            resolve_word(&self, &several->items[i]);
        }
        if (one && *one) {
            resolve_word(&self, one);
        }
        bool is_given = command->reach == REACH_ONE && several && several->count > 0;
        self.n_words = is_given ? 0 : self.n_words;
    }
    completion_words(command, &listed, resolve_place, &self);
    if (self.rc != 0 && command->names_file_vms) {
        error_clear(err); /* it cannot do without the file, and says better what is wrong there */
        self.rc = 0;
    }
    return self.rc;
}
