/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl: finds the command, parses its options, runs it, prints its error, ends with its status. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/fleet/fleet_view.h"
#include "cli/nodes/route.h"
#include "cli/nodes/spread.h"
#include "cli/request/power.h"
#include "cli/request/scope.h"
#include "cli/show/help_text.h"
#include "cli/show/result.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/data_trust.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/proxies.h"
#include "specs/base/text.h"
#include "specs/base/user_path.h"
#include "store/source/vmfile_load.h"
#include "store/store.h"

/* The first command of each group of `vmctl --help`, and the group's heading. */
static const struct {
    const char *first, *heading;
} groups[] = {
    {"init", "With a VMFile:"},
    {"create", "Single VMs:"},
    {"list", "Inspect:"},
    {"console", "Connect:"},
    {"image", "Images and imports:"},
    {"controller", "This host:"},
};

static void add_overview(struct buf *out)
{
    buf_add_str(out, "vmctl - virtual machines from a VMFile.kdl, kept as you described them\n\n"
                     "Usage: vmctl [OPTIONS] COMMAND [ARGS]\n\nCommands:\n");
    for (size_t i = 0; cli_commands[i]; i++) {
        for (size_t k = 0; k < ARRAY_LEN(groups); k++) {
            if (text_eq(groups[k].first, cli_commands[i]->name)) {
                buf_printf(out, "%s\n", groups[k].heading);
            }
        }
        buf_printf(out, "  %-12s  %s\n", cli_commands[i]->name, cli_commands[i]->summary);
    }
    cleanup_buf struct buf options = BUF_INIT(0);
    args_describe(&options, global_options);
    buf_printf(out,
        "\n"
        "Global options:\n"
        "%s\n"
        "Environment: VMCTL_FILE (VMFile instead of ./VMFile.kdl), VMCTL_PROJECT, VMCTL_LOG "
        "(error, warn, info, debug, trace, or module=level), VMCTL_ACCEL (kvm or tcg), "
        "XDG_DATA_HOME, XDG_CONFIG_HOME (nodes.kdl), NO_COLOR.\n"
        "More: vmctl help COMMAND, states, errors or vmfile.\n"
        "Exit status: 0 done, 1 failed, 2 usage or invalid VMFile, 3 no such VM, 4 timeout, 5 "
        "store or controller unusable, 6 conflict, 130 interrupted; ssh and exec: the guest's.\n",
        buf_str(&options));
}

/* Of "list | rm NAME" each on a line of its own. */
static void add_usage(struct buf *out, const struct command *command)
{
    static const char between[] = " | ";
    const char *label = "Usage: ", *p = command->usage;
    do {
        const char *end = strstr(p, between);
        int n = (int)(end ? (size_t)(end - p) : strlen(p));
        buf_printf(out, "%svmctl %s%s%.*s\n", label, command->name, n > 0 ? " " : "", n, p);
        label = "       ";
        p = end ? end + strlen(between) : NULL;
    } while (p);
}

/* NULL: of vmctl itself. */
static void print_help(const struct command *command)
{
    cleanup_buf struct buf out = BUF_INIT(0);
    if (!command) {
        add_overview(&out);
        help_text_print(buf_str(&out));
        return;
    }
    buf_printf(&out, "%s\n\n", command->summary);
    add_usage(&out, command);
    if (command->details) {
        buf_add_char(&out, '\n');
        help_text_add_prose(&out, command->details);
        buf_add_char(&out, '\n');
    }
    if (command->options) {
        buf_add_str(&out, "\nOptions:\n");
        args_describe(&out, command->options);
    }
    if (command->examples) {
        buf_printf(&out, "\nExamples:\n%s\n", command->examples);
    }
    if (command->aliases) {
        buf_printf(&out, "\nAlias: %s\n", command->aliases);
    }
    help_text_print(buf_str(&out));
}

static const struct {
    const char *name;
    enum output_format format;
} output_formats[] = {
    {"text", OUTPUT_TEXT},
    {"table", OUTPUT_TEXT},
    {"wide", OUTPUT_WIDE},
    {"name", OUTPUT_NAME},
    {"json", OUTPUT_JSON},
    {"yaml", OUTPUT_YAML},
};

static int set_output(struct cli *cli, const char *name, struct error *err)
{
    for (size_t i = 0; name && i < ARRAY_LEN(output_formats); i++) {
        if (text_eq(output_formats[i].name, name)) {
            cli->output = output_formats[i].format;
            return 0;
        }
    }
    if (!name) {
        return 0;
    }
    (void)error_set(err, ERR_USAGE, "unknown output format '%s'", name);
    return error_help(err, "use text (or table), wide, name, json or yaml");
}

static int check_color(const char *when, struct error *err)
{
    if (!when || text_has_word("auto always never", when)) {
        return 0;
    }
    (void)error_set(err, ERR_USAGE, "--color: unknown '%s'", when);
    return error_help(err, "use auto, always or never");
}

static bool wants_color(const char *when, int fd)
{
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    if (text_eq(when, "always")) {
        return true;
    }
    bool is_dumb = !term || text_eq(term, "dumb");
    return !text_eq(when, "never") && !(no_color && no_color[0]) && isatty(fd) && !is_dumb;
}

/* Words of docker, kubectl, vagrant, limactl, incus and virsh for what has no command of that name,
 * or no single one, here. Words that mean the same as a command are its aliases. */
static const struct {
    const char *words, *help;
} habits[] = {
    {"delete remove undefine",
        "vmctl destroy VM erases a VM and its disk; vmctl stop VM keeps both"},
    {"recreate rebuild",
        "vmctl reload replaces the disks and starts again; vmctl restart keeps the disks"},
    {"kill", "to cut the power of a VM: vmctl stop VM --timeout 0"},
    {"attach", "the serial console: vmctl console VM; a shell: vmctl ssh VM"},
    {"debug", "a shell where a step failed: vmctl provision VM --shell; the reason for a VM's "
              "state: vmctl describe VM"},
    {"edit", "edit VMFile.kdl, then: vmctl up"},
    {"pull", "vmctl image pull URL"},
    {"images", "vmctl image list"},
    {"rmi", "vmctl image rm IMAGE"},
    {"prune", "images that no VM uses: vmctl image prune"},
    {"launch", "from a VMFile: vmctl up; without one: vmctl create --start"},
    {"scp", "vmctl cp SOURCE TARGET"},
    {"restore", "vmctl snapshot restore VM SNAPSHOT"},
    {"daemon", "vmctl controller"},
};

/* Options of theirs that are none here: what they are in our words. */
static const struct {
    const char *command, *options, *help;
} option_habits[] = {
    {"up", "--build",
        "images are ready-made; to run to run the provision steps again: vmctl provision"},
    {"up", "--force-recreate",
        "vmctl restart restarts VMs with their disks; vmctl reload also replaces the disks"},
    {"up apply", "--remove-orphans",
        "for VMs that the VMFile no longer names: vmctl up --prune=stop, or --prune, which erases "
        "them"},
    {"up", "--wait", "vmctl up waits until all are ready, unless -d is given"},
    {"up reload", "--provision", "to run the provision steps again: vmctl provision"},
    {"down", "-v --volumes", "vmctl down keeps the disks; vmctl down --destroy erases them"},
    {"down stop", "--force", "to cut the power at once: vmctl stop --timeout 0"},
    {"ssh", "-c --command", "a command: vmctl ssh VM -- COMMAND"},
    {"get list describe events", "-n --namespace -A --all-namespaces",
        "all VMs are in one place: the data directory (--data-dir DIR)"},
    {"list get", "--format", "for programs: -o json; names alone: -o name"},
    {"list", "-w --watch", "to follow changes: vmctl get -w"},
    {"list", "--filter --running", "for programs: vmctl list -o json"},
    {"log", "--container -c", "vmctl log --console, or --provision"},
    {"console exec", "--stdin", "standard input is always passed on"},
};

static void help_with_option(const struct command *command, struct error *err)
{
    for (size_t i = 0; i < ARRAY_LEN(option_habits); i++) {
        char word[32];
        bool is_option = sscanf(err->message, "unknown option '%31[^'=]", word) == 1;
        if (is_option && text_has_word(option_habits[i].command, command->name) &&
            text_has_word(option_habits[i].options, word)) {
            (void)error_help(err, "%s", option_habits[i].help);
        }
    }
}

/* `get vms`, `describe vm web`: the word is dropped, if no VM is called so. */
static int drop_kind(struct cli *cli, struct arg_strings *words, struct error *err)
{
    bool has_kind = words->count > 0 && text_has_word("vm vms", words->items[0]);
    bool is_name = false;
    int rc = has_kind ? cli_open_store(cli, err) : 0;
    rc = rc == 0 && has_kind ? store_has(cli->store, words->items[0], &is_name, err) : rc;
    if (rc == 0 && has_kind && !is_name) {
        words->count--;
        words->n_before_dashes -= words->n_before_dashes > 0;
        memmove(words->items, words->items + 1, words->count * sizeof(*words->items));
    }
    return rc;
}

static void add_words(struct strings *list, const char *words)
{
    for (const char *p = words; p && *p; p += strspn(p, " ")) {
        size_t n = strcspn(p, " ");
        cleanup_free char *word = mem_strndup(p, n);
        strings_append(list, word);
        p += n;
    }
}

static const struct command *find_command(const char *name, struct error *err)
{
    const struct command *command = cli_find_command(name);
    if (command) {
        return command;
    }
    (void)error_set(err, ERR_USAGE, "unknown command '%s'", name);
    for (size_t i = 0; i < ARRAY_LEN(habits); i++) {
        if (text_has_word(habits[i].words, name)) {
            (void)error_help(err, "%s", habits[i].help);
            return NULL;
        }
    }
    cleanup_with(strings_clear) struct strings names = {.count = 0};
    for (size_t i = 0; cli_commands[i]; i++) {
        if (!cli_commands[i]->erases) {
            strings_append(&names, cli_commands[i]->name);
            add_words(&names, cli_commands[i]->aliases);
        }
    }
    const char *nearest = text_nearest(name, (const char *const *)names.items, names.count);
    if (nearest) {
        (void)error_help(err, "did you mean `vmctl %s`?", nearest);
    }
    return NULL;
}

/* The text without its last line end, which editors add. */
static int add_file(struct strings *given, const char *item, const char *equals, struct error *err)
{
    cleanup_buf struct buf text = BUF_INIT(VMFILE_LOAD_MAX);
    if (user_path_read(equals + 1, &text, err) < 0) {
        err->code = ERR_USAGE;
        return error_wrap(err, "--set-file '%s'", item);
    }
    if (memchr(buf_str(&text), '\0', text.len)) {
        return error_set(err, ERR_USAGE, "--set-file '%s': the file is not text", item);
    }
    size_t n = text.len - (text.len > 0 && buf_str(&text)[text.len - 1] == '\n');
    cleanup_free char *value =
        mem_printf("%.*s%.*s", (int)(equals + 1 - item), item, (int)n, buf_str(&text));
    strings_append(given, value);
    return 0;
}

static int take_given(
    struct cli *cli, const struct arg_strings *set, bool is_file, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < set->count; i++) {
        const char *equals = strchr(set->items[i], '='), *option = is_file ? "set-file" : "set";
        if (!equals || equals == set->items[i]) {
            (void)error_set(err, ERR_USAGE, "--%s '%s' has no value", option, set->items[i]);
            return error_help(err, "write --%s NAME=%s, or --%s vm.NAME.FIELD=%s", option,
                is_file ? "PATH" : "VALUE", option, is_file ? "PATH" : "VALUE");
        }
        if (is_file) {
            rc = add_file(&cli->given, set->items[i], equals, err);
        } else {
            strings_append(&cli->given, set->items[i]);
        }
    }
    return rc;
}

static int run_parsed(struct cli *cli, const struct command *command, void *values,
    struct arg_strings *words, const struct global_values *global, struct error *err)
{
    if (global->wants_help) {
        print_help(command);
        return 0;
    }
    cli->is_quiet = global->is_quiet;
    cli->use_color = wants_color(global->color, STDERR_FILENO);
    cli->use_color_stdout = wants_color(global->color, STDOUT_FILENO);
    bool is_done = false;
    paths_find(&cli->paths, global->data_dir); /* a fleet's nodes are known by it */
    fleet_learn_nodes(cli);
    int rc = set_output(cli, global->output, err);
    rc = rc == 0 ? check_color(global->color, err) : rc;
    rc = rc == 0 ? scope_take_given(cli, global->project, err) : rc;
    rc = rc == 0 ? take_given(cli, &global->set, false, err) : rc;
    rc = rc == 0 ? take_given(cli, &global->set_file, true, err) : rc;
    rc = rc == 0 ? route(cli, command, values, global, &is_done, err) : rc;
    if (is_done) {
        return rc;
    }
    if (command->acts) {
        result_begin(cli);
    }
    if (rc == 0 && !command->needs_no_store) {
        paths_clear(&cli->paths);
        rc = paths_init(&cli->paths, global->data_dir, err);
        if (rc < 0) {
            err->code = ERR_STORE; /* whichever system call failed */
            rc = -ERR_STORE;
        } else if (!command->examines_data_dir) {
            rc = data_trust_check(&cli->paths, err);
        }
    }
    if (rc == 0 && command->takes_kind) {
        rc = drop_kind(cli, words, err);
    }
    const struct spread means = {.cli = cli,
        .command = command,
        .values = values,
        .which = values,
        .words = words,
        .global = global};
    rc = rc == 0 ? spread(&means, &is_done, err) : rc;
    rc = rc == 0 && !is_done ? scope_resolve(cli, command, values, words, err) : rc;
    if (rc != 0 || is_done) {
        return rc;
    }
    return command->power ? power_run(cli, command->power, values, words, err)
                          : command->run(cli, values, words, err);
}

static int run_command(struct cli *cli, const struct command *command, int argc, char **argv,
    struct global_values *global, struct error *err)
{
    cleanup_with(arg_strings_clear) struct arg_strings words = {.count = 0};
    cleanup_free void *values = mem_calloc(1, command->values_size);
    if (command->defaults) {
        memcpy(values, command->defaults, command->values_size);
    }
    const struct arg_set sets[] = {{command->options, values}, {global_options, global}};
    int rc =
        args_parse(argc, argv, sets, ARRAY_LEN(sets), command->stops_at_positional, &words, err);
    if (rc == 0 && text_has_word("ps ls", argv[0]) && global->is_quiet && !global->output) {
        global->output = "name"; /* docker's and limactl's -q */
    }
    if (rc < 0) {
        help_with_option(command, err);
        rc = *err->help ? rc : error_help(err, "see: vmctl %s --help", command->name);
        /* Errors in the options are printed in the output format that the options choose. */
        struct error ignored = {.code = ERR_NONE};
        if (command->acts && set_output(cli, global->output, &ignored) == 0) {
            result_begin(cli);
        }
    } else {
        rc = run_parsed(cli, command, values, &words, global, err);
        if (rc == -ERR_USAGE && !*err->help) {
            rc = error_help(err, "see: vmctl %s --help", command->name);
        }
    }
    args_clear(command->options, values);
    return rc;
}

/* What is no command and one asks about: the word with which `vmctl explain` prints it. */
static const struct {
    const char *topic, *word;
} topics[] = {{"states", "states"}, {"errors", NULL}};

/* `vmctl help`, `vmctl help COMMAND` and `vmctl help TOPIC`. */
static int help(struct cli *cli, const struct arg_strings *words, struct error *err)
{
    const struct command *command = NULL;
    const char *topic = words->count > 1 ? words->items[1] : "";
    for (size_t i = 0; i < ARRAY_LEN(topics); i++) {
        if (text_eq(topics[i].topic, topic)) {
            cleanup_with(arg_strings_clear) struct arg_strings given_words = {.count = 0};
            if (topics[i].word) {
                arg_strings_add(&given_words, topics[i].word);
            }
            return command_explain.run(cli, NULL, &given_words, err);
        }
    }
    if (text_eq(topic, "vmfile") || text_eq(topic, "VMFile")) {
        printf("Reference: man 5 VMFile.kdl\n"
               "Write a first one: vmctl init; list the starters: vmctl init --list\n"
               "Check one: vmctl validate; format one: vmctl fmt\n");
        return 0;
    }
    if (words->count > 1 && !(command = find_command(words->items[1], err))) {
        return -(int)err->code;
    }
    print_help(command);
    return 0;
}

static int run(struct cli *cli, int argc, char **argv, struct error *err)
{
    cleanup_with(arg_strings_clear) struct arg_strings words = {.count = 0};
    struct global_values global = {.output = NULL};
    const struct arg_set set = {global_options, &global};
    int rc = args_parse(argc, argv, &set, 1, true, &words, err); /* up to the command's name */
    if (rc < 0) {
        return rc;
    }
    cli->use_color = wants_color(global.color, STDERR_FILENO);
    if (global.wants_version) {
        printf("vmctl %s\n", VMCTL_VERSION);
        return 0;
    }
    if (words.count == 0) {
        print_help(NULL);
        return global.wants_help ? 0 : error_exit_status(ERR_USAGE);
    }
    if (text_eq(words.items[0], "help")) {
        return help(cli, &words, err);
    }
    const struct command *command = find_command(words.items[0], err);
    if (!command) {
        return -(int)err->code;
    }
    int skipped = argc - (int)words.count;
    cli->command_word = argv[skipped];
    rc = run_command(cli, command, argc - skipped, argv + skipped, &global, err);
    args_clear(global_options, &global);
    return rc;
}

/* What was printed is on its way, or the command has failed: a reader that had enough of it is the
 * only one who does not need to know. */
static int finish_output(const struct cli *cli, int status)
{
    struct error err = {.code = ERR_NONE};
    bool was_lost = ferror(stdout) != 0;
    errno = 0;
    if (fflush(stdout) == 0 && !was_lost) {
        return status;
    }
    if (errno == EPIPE) { /* the caller has SIGPIPE ignored */
        return 128 + SIGPIPE;
    }
    if (errno != 0) {
        (void)error_set_errno(&err, ERR_IO, errno, "cannot write to the standard output");
        (void)error_help(&err, "free some space where the output goes, then run the command again");
    } else {
        (void)error_set(
            &err, ERR_IO, "cannot write to the standard output: part of the output is lost");
    }
    cli_print_error(cli, &err);
    return status != 0 ? status : error_exit_status(err.code);
}

int main(int argc, char **argv)
{
    struct cli cli = {.output = OUTPUT_TEXT};
    struct error err = {.code = ERR_NONE};
    fs_hold_standard_fds();
    cli.caller_umask = umask(077); /* keys, disks and logs are private */
    (void)signal(
        SIGXFSZ, SIG_IGN); /* the limit of `ulimit -f` is an error of write(), with its reason */
    log_init(LOG_WARN);
    store_guard();
    cli.proxies = proxies_of_environment();
    cli.words = argv + (argc > 0);
    int status = run(&cli, argc, argv, &err);
    if (status < 0) {
        cli_print_error(&cli, &err);
        status = error_exit_status(err.code);
    }
    result_end(&cli, &err);
    store_close(cli.store);
    strings_clear(&cli.given);
    strings_clear(&cli.cut_words);
    strings_clear(&cli.fleet_nodes);
    free(cli.scope);
    paths_clear(&cli.paths);
    proxies_free(cli.proxies);
    return finish_output(&cli, status);
}
