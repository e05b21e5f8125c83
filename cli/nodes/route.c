/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/nodes/route.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/fleet/fleet_view.h"
#include "cli/guest/relay.h"
#include "cli/nodes/nodes.h"
#include "cli/nodes/parts.h"
#include "cli/request/scope.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/strings.h"
#include "specs/base/text.h"

extern char **environ;

/* Where the value begins that this word, or the next one, has for an option; NULL: nowhere. */
static const char *dropped_value(char *const *word, const char *const *values, size_t n_values)
{
    for (size_t i = 0; i < n_values; i++) {
        bool is_within = values[i] && values[i] > *word && values[i] <= *word + strlen(*word);
        if (is_within || (values[i] && values[i] == word[1])) {
            return values[i];
        }
    }
    return NULL;
}

void route_words(
    struct cli *cli, const char *const *values, size_t n_values, struct arg_strings *ret)
{
    for (char **word = cli->words; *word; word++) {
        const char *value = dropped_value(word, values, n_values);
        if (!value) {
            arg_strings_add(ret, *word);
            continue;
        }
        bool is_next = value == word[1], has_letters = (*word)[0] == '-' && (*word)[1] != '-';
        size_t n = (is_next ? strlen(*word) : (size_t)(value - *word)) - 1; /* its own letter */
        if (has_letters && n > 1) {
            cleanup_free char *others = mem_strndup(*word, n);
            strings_append(&cli->cut_words, others);
            arg_strings_add(ret, cli->cut_words.items[cli->cut_words.count - 1]);
        }
        word += is_next;
    }
}

/* On our own terminal, until it ends: its status. A key that interrupts is for it alone. */
static int run_attached(const struct cli *cli, struct part *part, struct error *err)
{
    posix_spawnattr_t attributes;
    sigset_t interrupts;
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before[2];
    pid_t pid;
    int status = 0;
    struct relay relay;
    posix_spawn_file_actions_t actions;
    (void)sigemptyset(&interrupts);
    (void)sigaddset(&interrupts, SIGINT);
    (void)sigaddset(&interrupts, SIGQUIT);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigdefault(&attributes, &interrupts);
    (void)sigaction(SIGINT, &ignore, &before[0]);
    (void)sigaction(SIGQUIT, &ignore, &before[1]);
    (void)fflush(stdout);
    relay_open(&relay);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, relay.output, STDOUT_FILENO);
    mode_t ours = umask(cli->caller_umask);
    int rc =
        posix_spawnp(&pid, part->argv.words[0], &actions, &attributes, part->argv.words, environ);
    (void)umask(ours);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    relay_close_output(&relay);
    if (rc == 0) {
        relay_await(&relay, pid);
    }
    while (rc == 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    (void)sigaction(SIGINT, &before[0], NULL);
    (void)sigaction(SIGQUIT, &before[1], NULL);
    int written = relay_close(&relay, err);
    if (rc != 0) {
        (void)error_set_start(err, ERR_NODE, rc, "cannot run ssh");
        return error_help(err, "install the SSH client (package openssh-client)");
    }
    part->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    return written;
}

/* What reads or writes files of this host, or is about this host alone. */
static int check_delegable(const struct command *command, struct error *err)
{
    bool is_for_here =
        command->needs_no_store || text_has_word("node fleet watch unwatch", command->name);
    if (!is_for_here || text_eq(command->name, "version")) {
        return 0;
    }
    return error_set(
        err, ERR_USAGE, "`%s` works on files of this host: it takes no --node", command->name);
}

int route_run(const struct cli *cli, const struct command *command, const struct node *node,
    const char *const *words, struct error *err)
{
    struct part part = {.title = node->name, .input_fd = -1};
    bool has_terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    part_add_ssh(&part, node, has_terminal, NULL, words);
    int rc = run_attached(cli, &part, err);
    ssh_argv_clear(&part.argv);
    /* Of these two it may be the guest's; what ssh had to say stands on stderr. */
    bool is_guests = text_has_word("ssh exec", command->name);
    if (rc == 0 && part.status == SSH_TRANSPORT_FAILED && !is_guests) {
        return node_refuse(node, &part, err);
    }
    return rc < 0 ? rc : part.status;
}

int route_check_options(
    const struct command *command, const void *values, const struct node *node, struct error *err)
{
    const char *local = command->options_of_here ? command->options_of_here : "";
    for (const struct arg_option *o = command->options; o && o->name; o++) {
        if (text_has_word(local, o->name) && arg_is_given(o, values)) {
            (void)error_set(err, ERR_USAGE,
                "--%s works on this host only, and the VM is on node '%s'", o->name, node->name);
            return error_help(err, "run the command there: ssh -t %s", node->address);
        }
    }
    return 0;
}

/* Names mean there what they mean here; a VMFile over there has its own project. free() *ret_word.
 */
static int add_project(struct cli *cli, const struct command *command, const void *values,
    const struct global_values *global, char **ret_word, struct arg_strings *ret, struct error *err)
{
    const char *project = NULL;
    bool has_names = command->reach != REACH_HERE && command->reach != REACH_FILE;
    int rc = cli->has_given_scope || has_names
                 ? scope_find(cli, scope_files(command, values), &project, err)
                 : 0;
    if (rc == 0 && project && !global->project) {
        *ret_word = mem_printf("--project=%s", project);
        arg_strings_add(ret, *ret_word);
    }
    return rc;
}

int route(struct cli *cli, const struct command *command, const void *values,
    const struct global_values *global, bool *ret_is_done, struct error *err)
{
    cleanup_with(nodes_clear) struct nodes nodes = {.count = 0};
    cleanup_with(arg_strings_clear) struct arg_strings words = {.count = 0};
    const char *const here[] = {global->node, global->data_dir};
    const struct node *node;
    *ret_is_done = false;
    cleanup_free char *own = fleet_own_node(cli);
    cli->is_for_here =
        global->node && (text_eq(global->node, NODE_HERE) || text_eq(global->node, own));
    if (!global->node || cli->is_for_here) {
        return 0;
    }
    int rc = check_delegable(command, err);
    rc = rc == 0 ? nodes_load_one(cli, global->node, &nodes, &node, err) : rc;
    rc = rc == 0 ? route_check_options(command, values, node, err) : rc;
    if (rc != 0) {
        return rc;
    }
    cleanup_free char *project = NULL;
    rc = add_project(cli, command, values, global, &project, &words, err);
    if (rc != 0) {
        return rc;
    }
    route_words(cli, here, ARRAY_LEN(here), &words);
    arg_strings_add(&words, NULL);
    *ret_is_done = true;
    return route_run(cli, command, node, words.items, err);
}
