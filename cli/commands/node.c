/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl node: other hosts, which `--node` and a VMFile's `node` name. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/nodes/nodes.h"
#include "cli/nodes/parts.h"
#include "cli/options.h"
#include "cli/request/targets.h"
#include "cli/request/verbs.h"
#include "cli/show/output.h"
#include "cli/show/table.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"

enum { ANSWER_MS = 3000 };

struct node_values {
    const char *remote_dir;
    const char *program;
};

static const struct arg_option options[] = {
    {"remote-data-dir", 0, ARG_TEXT, offsetof(struct node_values, remote_dir), "PLACE",
        "add: the data directory there [default: the user's own]"},
    {"remote-vmctl", 0, ARG_TEXT, offsetof(struct node_values, program), "PROGRAM",
        "add: path of vmctl there [default: vmctl in its PATH]"},
    OPTIONS_END,
};

/* ---- what they answer ---- */

/* Asks all for their versions at once. parts_clear() it. */
static struct part *ask(const struct node *nodes, size_t count)
{
    static const char *const words[] = {"version", NULL};
    struct part *parts = mem_calloc(count, sizeof(*parts));
    for (size_t i = 0; i < count; i++) {
        parts[i] = (struct part){.input_fd = -1, .limit_ms = ANSWER_MS};
        part_add_ssh(&parts[i], &nodes[i], false, NULL, words);
    }
    parts_run(parts, count, false);
    return parts;
}

/* "0.1.0"; NULL: it is not known. free() it. */
static char *version_of(const struct part *part)
{
    static const char begin[] = "vmctl ";
    const char *text = buf_str(&part->out);
    return part->status == 0 && text_starts_with(text, begin)
               ? mem_strndup(text + strlen(begin), strcspn(text + strlen(begin), "\r\n"))
               : NULL;
}

/* "ready", or what is the matter; free() it. */
static char *state_of(const struct node *node, const struct part *part)
{
    cleanup_free char *version = version_of(part);
    struct error err = {.code = ERR_NONE};
    if (version) {
        return text_eq(version, VMCTL_VERSION)
                   ? mem_strdup("ready")
                   : mem_printf("ready, with another version than here (%s)", VMCTL_VERSION);
    }
    (void)node_refuse(node, part, &err);
    const char *cause = strstr(err.message, ") ");
    return mem_strdup(cause ? cause + 2 : err.message);
}

static json_t *node_to_json(const struct node *node, const struct part *part)
{
    json_t *json = json_object();
    cleanup_free char *version = version_of(part);
    cleanup_free char *state = state_of(node, part);
    json_put_text(json, "name", node->name);
    json_put_text(json, "address", node->address);
    json_put_text(json, "dataDir", node->data_dir);
    json_put_text(json, "vmctl", node->program);
    json_put_text(json, "version", version);
    json_put_flag(json, "ready", version != NULL);
    json_put_text(json, "state", state);
    return json;
}

static void print_rows(const struct cli *cli, const struct nodes *nodes, const struct part *parts)
{
    static const char *const titles[] = {"NODE", "ADDRESS", "VERSION", "STATE"};
    cleanup_with(table_clear) struct table table;
    cleanup_buf struct buf out = BUF_INIT(0);
    table_begin(&table, titles, ARRAY_LEN(titles));
    table.use_color = cli->use_color_stdout;
    table_fit_terminal(&table);
    for (size_t i = 0; i < nodes->count; i++) {
        cleanup_free char *version = version_of(&parts[i]);
        cleanup_free char *state = state_of(&nodes->items[i], &parts[i]);
        table_add(&table, nodes->items[i].name);
        table_add(&table, nodes->items[i].address);
        table_add(&table, version ? version : "-");
        table_add(&table, state);
    }
    table_print(&table, &out);
    fputs(buf_str(&out), stdout);
}

/* ---- the verbs ---- */

static int node_list(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    (void)values;
    (void)words;
    cleanup_with(nodes_clear) struct nodes nodes = {.count = 0};
    int rc = nodes_load(cli, &nodes, err);
    if (rc != 0) {
        return rc;
    }
    struct part *parts = cli->output == OUTPUT_NAME ? NULL : ask(nodes.items, nodes.count);
    cleanup_json json_t *array = json_array();
    for (size_t i = 0; i < nodes.count; i++) {
        if (cli->output == OUTPUT_NAME) {
            puts(nodes.items[i].name);
        } else if (output_is_data(cli)) {
            (void)json_array_append_new(array, node_to_json(&nodes.items[i], &parts[i]));
        }
    }
    if (output_is_data(cli)) {
        output_print(cli, array);
    } else if (nodes.count == 0) {
        cli_note(cli, "no nodes yet: vmctl node add NAME USER@HOST");
    } else if (cli->output != OUTPUT_NAME) {
        print_rows(cli, &nodes, parts);
    }
    parts_clear(parts, nodes.count);
    return 0;
}

static int node_show(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    (void)values;
    cleanup_with(nodes_clear) struct nodes nodes = {.count = 0};
    const struct node *node;
    int rc = nodes_load_one(cli, words->items[1], &nodes, &node, err);
    if (rc != 0) {
        return rc;
    }
    struct part *part = ask(node, 1);
    cleanup_json json_t *json = node_to_json(node, part);
    if (output_is_data(cli)) {
        output_print(cli, json);
    } else {
        cleanup_free char *path = nodes_path();
        const char *version = json_text(json, "version");
        printf("Name:       %s\nAddress:    %s\nData dir:   %s\nvmctl:      %s\nVersion:    %s\n"
               "State:      %s\nFrom:       %s:%u\n",
            node->name, node->address, node->data_dir ? node->data_dir : "the user's own there",
            node->program ? node->program : "in the PATH there", version ? version : "-",
            json_text(json, "state"), path, node->line);
    }
    bool is_ready = json_flag(json, "ready", false);
    parts_clear(part, 1);
    return is_ready ? 0 : error_exit_status(ERR_NODE);
}

/* NAME/VM would mean the one and the other. */
static void note_project(struct cli *cli, const char *name)
{
    cleanup_with(strings_clear) struct strings names = {.count = 0};
    struct error ignored = {.code = ERR_NONE};
    if (targets_of_store(cli, &names, &ignored) == 0) {
        vm_names_keep(&names, name);
    }
    if (ignored.code == ERR_NONE && names.count > 0) {
        cli_note(cli,
            "note: %s is also the name of a project here, whose VMs are " NODE_HERE "/%s/… from "
            "now on",
            name, name);
    }
}

/* One that does not answer now is added as well: it may be off. */
static int node_add(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct node_values *given = values;
    struct node node = {.name = mem_strdup(words->items[1]),
        .address = mem_strdup(words->items[2]),
        .data_dir = mem_strdup(given->remote_dir),
        .program = mem_strdup(given->program)};
    struct nodes made = {.items = &node, .count = 1};
    int rc = 0;
    if (!node_name_is_valid(node.name)) {
        rc = error_set(err, ERR_USAGE, "'%s' cannot be the name of a node", node.name);
        (void)error_help(err, "letters, digits, '.', '_' and '-', and not \"" NODE_HERE "\"");
    } else if (!node_address_is_valid(node.address)) {
        rc = error_set(err, ERR_USAGE, "'%s' cannot be the address of a node", node.address);
        (void)error_help(err, "write it as for ssh: b.lan, user@b.lan, ssh://user@b.lan:2222");
    } else if (node.data_dir && !node_data_dir_is_valid(node.data_dir)) {
        rc = error_set(err, ERR_USAGE, "--remote-data-dir '%s' is not absolute", node.data_dir);
    }
    if (rc == 0 && (rc = nodes_add(cli, &node, err)) == 0) {
        struct part *part = ask(made.items, 1);
        cleanup_free char *state = state_of(&node, part);
        cli_note(cli, "%s: added, %s", node.name, state);
        note_project(cli, node.name);
        parts_clear(part, 1);
    }
    free(node.name);
    free(node.address);
    free(node.data_dir);
    free(node.program);
    return rc;
}

static int node_rm(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    (void)values;
    int rc = nodes_remove(cli, words->items[1], err);
    if (rc == 0) {
        cli_note(cli, "%s: removed; its VMs stay as they are", words->items[1]);
    }
    return rc;
}

static const struct verb items[] = {
    {"add", "NAME USER@HOST", 2, 2, node_add},
    {"list", "", 0, 0, node_list},
    {"ls", "", 0, 0, node_list},
    {"show", "NAME", 1, 1, node_show},
    {"rm", "NAME", 1, 1, node_rm},
};
static const struct verbs verbs = {
    "node", items, ARRAY_LEN(items), "add, list, show, rm", "nothing", NULL, 0};

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    return verb_run(&verbs, cli, values, words, err);
}

const struct command command_node = {
    .name = "node",
    .summary = "Manage other hosts with vmctl, reached by ssh",
    .usage = "add NAME USER@HOST | list | show NAME | rm NAME",
    .details =
        "A node is a host on which `ssh USER@HOST vmctl version` works; nothing else is installed\n"
        "or opened for it. Your ~/.ssh/config applies, including ControlMaster, which makes later\n"
        "calls fast. The nodes are in ~/.config/vmctl/nodes.kdl, which you can edit. rm forgets a\n"
        "node; its VMs keep running. list and show ask each node, for at most 3 seconds.",
    .examples = "  vmctl node add b me@b.lan\n"
                "  vmctl node add c ssh://me@c.lan:2222 --remote-data-dir /srv/vmctl\n"
                "  vmctl list -A                     the VMs of all nodes\n"
                "  vmctl --node b ssh web",
    .options = options,
    .values_size = sizeof(struct node_values),
    .needs_no_store = true,
    .run = run,
};
