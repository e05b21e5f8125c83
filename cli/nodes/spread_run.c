/* SPDX-License-Identifier: MPL-2.0 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/nodes/parts.h"
#include "cli/nodes/route.h"
#include "cli/nodes/spread.h"
#include "cli/options.h"
#include "cli/request/confirm.h"
#include "cli/request/part_files.h"
#include "cli/show/output.h"
#include "cli/show/result.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

/* ---- the words ---- */

static bool has_word(const struct arg_strings *words, size_t n, const char *word)
{
    for (size_t i = 0; i < n; i++) {
        if (words->items[i] == word) {
            return true;
        }
    }
    return false;
}

static void add_items(struct arg_strings *strings, const struct arg_strings *items)
{
    for (size_t i = 0; i < items->count; i++) {
        arg_strings_add(strings, items->items[i]);
    }
}

/* The VMFile's part goes along; or the VMs are named, and it needs none. */
static bool takes_file(const struct spread *spread)
{
    return spread->command->reach == REACH_FILE || !spread->is_of_names;
}

static void add_names(const struct share_of_node *item, struct arg_strings *ret)
{
    for (size_t i = 0; i < item->names.count; i++) {
        arg_strings_add(ret, item->names.items[i]);
    }
}

/* Whether the names were found for "--all" or labels, in whose place they go. */
static bool is_named_for(const struct spread *spread)
{
    return spread->is_of_names && spread_name_words(spread) + spread->which->names.count == 0;
}

/* The command line without what another node does not need, or has in its part of the VMFile. */
static void common_words(
    const struct spread *spread, const struct share_of_node *item, struct arg_strings *ret)
{
    cleanup_with(arg_strings_clear) struct arg_strings dropped = {.count = 0};
    add_items(&dropped, &spread->which->names);
    if (is_named_for(spread) && spread->which->selector) {
        arg_strings_add(&dropped, spread->which->selector);
    }
    if (item->node) {
        add_items(&dropped, &spread->which->files);
        arg_strings_add(&dropped, spread->global->data_dir);
        arg_strings_add(&dropped, spread->global->project);
        add_items(&dropped, &spread->global->set);
        add_items(&dropped, &spread->global->set_file);
    }
    if (output_is_data(spread->cli)) {
        arg_strings_add(&dropped, spread->global->output);
    }
    route_words(spread->cli, dropped.items, dropped.count, ret);
}

/* "--all", also shortened, whose VMs are named in its place. */
static bool is_all_option(const struct spread *spread, const char *word)
{
    return is_named_for(spread) && spread->which->is_all && strlen(word) > 2 &&
           text_starts_with("--all", word);
}

/* With the names of this node's VMs in place of those given, or behind the command where they were
 * options, or where the VMFile's only VM is meant. Ends with NULL. */
static void words_for(
    const struct spread *spread, const struct share_of_node *item, struct arg_strings *ret)
{
    cleanup_with(arg_strings_clear) struct arg_strings words = {.count = 0};
    const char *command = spread->cli->command_word;
    size_t n_names = spread_name_words(spread);
    const char *place = n_names > 0 ? spread->words->items[0] : command;
    bool names_them = spread->is_of_names || spread->command->reach == REACH_ONE;
    common_words(spread, item, &words);
    for (size_t i = 0; i < words.count; i++) {
        bool is_given_otherwise = has_word(spread->words, n_names, words.items[i]) ||
                                  (names_them && is_all_option(spread, words.items[i]));
        if (!is_given_otherwise) {
            arg_strings_add(ret, words.items[i]);
        }
        if (names_them && words.items[i] == place) {
            add_names(item, ret);
        }
        if (words.items[i] == command && output_is_data(spread->cli)) {
            arg_strings_add(ret, "--output=json");
        }
    }
    arg_strings_add(ret, NULL);
}

/* ---- a VMFile of ours, on another node ---- */

/* What distinguishes this host from others of its name. */
char *spread_project_of(const char *path)
{
    char host[65] = "", digest[DIGEST_SIZE];
    struct error ignored = {.code = ERR_NONE};
    cleanup_buf struct buf id = BUF_INIT(4096);
    buf_add_str(&id, "vmctl ");
    (void)fs_read_file("/etc/machine-id", &id, &ignored);
    digest_text(buf_str(&id), digest);
    (void)gethostname(host, sizeof(host) - 1);
    return mem_printf("//%s-%.8s%s", host, digest, path);
}

static int open_text(const struct spread *spread, const char *place, int *ret, struct error *err)
{
    cleanup_buf struct buf text = BUF_INIT(0);
    cleanup_with(strings_clear) struct strings files = {.count = 0};
    struct vmfile_load load = spread->load; /* which keeps what it reads */
    vmfile_load_print(&text, &load, place, &spread->cli->given, &files);
    int rc = part_files_append(&text, &files, err);
    if (rc < 0) {
        return rc;
    }
    *ret = memfd_create("VMFile", MFD_CLOEXEC);
    if (*ret < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot keep the VMFile of node '%s'", place);
    }
    rc = fs_write_all(*ret, buf_str(&text), text.len, err);
    (void)lseek(*ret, 0, SEEK_SET);
    return rc;
}

/* ---- what is printed ---- */

static void take_data(const struct spread *spread, const struct part *part, json_t *all)
{
    cleanup_json json_t *json = json_loadb(buf_str(&part->out), part->out.len, 0, NULL);
    if (spread->command->acts && json) {
        result_add(spread->cli, json);
    } else if (json_is_array(json)) {
        (void)json_array_extend(all, json);
    } else if (json) {
        (void)json_array_append(all, json);
    }
}

/* Of a node that was not reached: its VMs, and what to type for them. */
static int report_lost(
    const struct spread *spread, const struct share_of_node *item, const struct part *part)
{
    struct error err = {.code = ERR_NONE};
    cleanup_buf struct buf names = BUF_INIT(0);
    for (size_t i = 0; i < item->names.count; i++) {
        buf_printf(&names, " %s%s%s", spread->is_of_names && !spread->load.file ? item->place : "",
            spread->is_of_names && !spread->load.file ? "/" : "", item->names.items[i]);
    }
    (void)node_refuse(item->node, part, &err);
    if (!*err.help) {
        (void)error_help(
            &err, "when it answers again: vmctl %s%s", spread->command->name, buf_str(&names));
    }
    cli_print_error(spread->cli, &err);
    for (size_t i = 0; i < item->names.count; i++) {
        result_followed(spread->cli, item->names.items[i], "", "failed", &err);
    }
    return error_exit_status(err.code);
}

static int finish(const struct spread *spread, const struct part *parts)
{
    enum { NO_COMMAND = 127 };
    cleanup_json json_t *all = json_array();
    int worst = 0;
    for (size_t i = 0; i < spread->count; i++) {
        const struct part *part = &parts[i];
        bool is_lost = spread->items[i].node &&
                       (part->status == SSH_TRANSPORT_FAILED || part->status == NO_COMMAND);
        int status = is_lost ? report_lost(spread, &spread->items[i], part) : part->status;
        worst = status > worst ? status : worst;
        if (output_is_data(spread->cli)) {
            take_data(spread, part, all);
        } else if (part->keeps_out) {
            (void)fwrite(buf_str(&part->out), 1, part->out.len, stdout);
        }
    }
    if (output_is_data(spread->cli) && !spread->command->acts) {
        output_print(spread->cli, all);
    }
    return worst;
}

/* ---- all at once ---- */

/* Our own. free() it. */
static char *program(void)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    return n > 0 ? mem_strndup(path, (size_t)n) : mem_strdup("vmctl");
}

static int add_part(const struct spread *spread, const struct share_of_node *item,
    const char *project, struct part *part, struct error *err)
{
    cleanup_with(arg_strings_clear) struct arg_strings words = {.count = 0};
    bool is_data = output_is_data(spread->cli);
    bool is_shown = text_has_word("status describe diff get", spread->command->name);
    *part = (struct part){.input_fd = -1, .connect_s = 3, .keeps_out = is_data || is_shown};
    words_for(spread, item, &words);
    if (item->node) {
        part_add_ssh(part, item->node, false, takes_file(spread) ? project : NULL, words.items);
        return takes_file(spread) ? open_text(spread, item->place, &part->input_fd, err) : 0;
    }
    ssh_argv_add(&part->argv, program());
    ssh_argv_add(&part->argv, mem_strdup("--node=" NODE_HERE));
    for (const char *const *word = words.items; *word; word++) {
        ssh_argv_add(&part->argv, mem_strdup(*word));
    }
    return 0;
}

static int run_parts(const struct spread *spread, struct error *err)
{
    struct part *parts = mem_calloc(spread->count, sizeof(*parts));
    cleanup_free char *project = spread_project_of(spread->load.path ? spread->load.path : "/");
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < spread->count; i++) {
        rc = add_part(spread, &spread->items[i], project, &parts[i], err);
    }
    if (rc == 0) {
        (void)setenv("VMCTL_PART", project, 1);
        mode_t ours = umask(spread->cli->caller_umask);
        parts_run(parts, spread->count, true);
        (void)umask(ours);
        rc = finish(spread, parts);
    }
    for (size_t i = 0; i < spread->count; i++) {
        if (parts[i].argv.count > 0) {
            cleanup_close_(&parts[i].input_fd);
        }
    }
    parts_clear(parts, spread->count);
    return rc;
}

/* ---- before disks are erased ---- */

static const void *value_of(const struct spread *spread, const char *name)
{
    for (const struct arg_option *o = spread->command->options; o && o->name; o++) {
        if (text_eq(o->name, name)) {
            return (const char *)spread->values + o->offset;
        }
    }
    return NULL;
}

static bool is_set(const struct spread *spread, const char *name)
{
    const bool *flag = value_of(spread, name);
    return flag && *flag;
}

/* A part has no terminal to ask on. */
static int confirm_all(const struct spread *spread, struct error *err)
{
    const char *const *prune = value_of(spread, "prune");
    bool erases = spread->command->erases || is_set(spread, "destroy") ||
                  is_set(spread, "recreate") || (prune && *prune && !text_eq(*prune, "stop"));
    bool has_terminal = isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
    cleanup_buf struct buf text = BUF_INIT(0);
    if (!erases || !has_terminal || is_set(spread, "yes") || is_set(spread, "dry-run")) {
        return 0;
    }
    buf_add_str(&text, "This may replace or erase disks of:\n");
    for (size_t i = 0; i < spread->count; i++) {
        const struct share_of_node *item = &spread->items[i];
        for (size_t k = 0; k < item->names.count; k++) {
            buf_printf(&text, "  %s%s%s\n", item->place ? item->place : "", item->place ? "/" : "",
                item->names.items[k]);
        }
    }
    buf_add_str(&text, "Continue? [y/N] ");
    return confirm(buf_str(&text), err);
}

/* ---- one node, on our own terminal ---- */

static int run_there(const struct spread *spread, struct error *err)
{
    cleanup_with(arg_strings_clear) struct arg_strings words = {.count = 0};
    int rc = route_check_options(spread->command, spread->values, spread->items[0].node, err);
    if (rc != 0) {
        return rc;
    }
    words_for(spread, &spread->items[0], &words);
    return route_run(spread->cli, spread->command, spread->items[0].node, words.items, err);
}

/* Those of the fleet; then the others, without them. The status is the worst. */
static int run_with_fleet(const struct spread *spread, size_t at, struct error *err)
{
    struct spread others = *spread;
    cleanup_free struct share_of_node *items = mem_calloc(spread->count, sizeof(*items));
    others.items = items;
    others.count = 0;
    int rc = confirm_all(spread, err);
    rc = rc == 0 ? spread_run_fleet(spread, &spread->items[at], err) : rc;
    for (size_t i = 0; i < spread->count; i++) {
        if (i != at) {
            items[others.count++] = spread->items[i];
        }
    }
    int more = rc >= 0 && others.count > 0 ? run_parts(&others, err) : 0;
    return more < 0 || (rc >= 0 && more > rc) ? more : rc;
}

int spread_run(const struct spread *spread, struct error *err)
{
    for (size_t i = 0; i < spread->count; i++) {
        if (spread->items[i].is_fleets) {
            return run_with_fleet(spread, i, err);
        }
    }
    if (spread->count == 1 && (spread->command->reach == REACH_ONE || !takes_file(spread))) {
        return run_there(spread, err);
    }
    int rc = confirm_all(spread, err);
    return rc < 0 ? rc : run_parts(spread, err);
}
