/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What every command is given, and what a command is. One command a file (cli/commands/NAME.c),
 * each ending in one const descriptor; cli/commands.c lists them.
 *
 * Data goes to stdout, everything else to stderr. Commands only write desired state and read; what
 * happens then is vmctld's work, which the commands follow (cli/wait/follow.h).
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "cli/args.h"
#include "specs/base/paths.h"
#include "specs/base/strings.h"

struct buf;
struct error;
struct json_t;
struct power_command;
struct proxies;
struct store;

enum output_format { OUTPUT_TEXT, OUTPUT_WIDE, OUTPUT_NAME, OUTPUT_JSON, OUTPUT_YAML };

struct cli {
    struct paths paths;
    struct store *store; /* NULL until cli_open_store() */
    enum output_format output;
    bool is_quiet;
    bool use_color; /* on stderr */
    bool use_color_stdout;
    struct json_t *answer; /* cli/show/result.h: of a command that acts, with -o json; NULL: none */
    struct strings given;  /* --set: see vmfile_inputs */
    mode_t caller_umask;   /* for the programs that vmctl becomes: theirs are the caller's files */
    struct proxies *proxies;  /* of our environment: recorded with what we request */
    bool knows_controller;    /* its version was checked: see controller_process.h */
    char **words;             /* of the command line, behind the program: as they were given */
    struct strings cut_words; /* parts of them: cli/nodes/route.h */
    const char *command_word; /* the one of them that is the command */
    char *scope;              /* cli/request/scope.h: the project; NULL: none, … */
    bool has_given_scope;     /* … as --project or $VMCTL_PROJECT says */
    bool knows_scope;
    struct strings fleet_nodes; /* all of the fleet that this host is in */
    bool is_for_here;           /* of the VMFile's VMs those of other nodes are not meant */
};

/* Of which hosts the VMs may be that it means: see cli/nodes/spread.h. The values of all but
 * REACH_HERE begin with a struct which_values. */
enum command_reach {
    REACH_HERE,    /* of this one */
    REACH_ONE,     /* one VM, wherever it is */
    REACH_NAMED,   /* those named, wherever they are, else this host's */
    REACH_SEVERAL, /* those named, else the VMFile's, wherever they are */
    REACH_FILE,    /* the same, and it reads the VMFile there */
};

struct command {
    const char *name;
    const char *aliases; /* what other tools call it: "ps ls"; NULL: none */
    const char *summary; /* one line of `vmctl --help` */
    const char *usage;   /* after "vmctl NAME ": "[OPTIONS] [VM...]" */
    const char *details; /* paragraphs of `vmctl NAME --help`; NULL: none */
    const char *examples;
    const struct arg_option *options; /* NULL: none */
    size_t values_size;               /* of the struct the options write into */
    const void *defaults;             /* what that struct starts as; NULL: zero */
    bool stops_at_positional;         /* words after the VM belong to another program */
    bool needs_no_store;
    bool takes_kind;        /* accepts kubectl's "vm" or "vms" before the names */
    bool names_file_vms;    /* its VMs are those of the VMFile, made or not */
    bool erases;            /* disks: never suggested for a word that only looks like its name */
    bool examines_data_dir; /* it reports errors of the data directory itself */
    bool acts; /* with -o json it prints one document with the result for each VM: cli/show/result.h
                */
    enum command_reach reach;
    const char *options_of_here; /* names of those that mean ports, keys or a display of this host:
                                    refused where the VM is on another node; NULL: none */
    const struct power_command *power; /* run instead of run(): cli/request/power.h */
    /* Returns the exit status, or a negative error with *err set: main prints it. */
    int (*run)(
        struct cli *cli, const void *values, const struct arg_strings *words, struct error *err);
};

/* cli/commands.c: all of them, in the order of `vmctl --help`; ends with NULL. */
extern const struct command *const cli_commands[];
const struct command *cli_find_command(const char *name); /* by name or alias; NULL: unknown */

/* Opens cli->store, once. */
int cli_open_store(struct cli *cli, struct error *err);

/* Starts a vmctld of this data directory, and replaces one older than us, if none serves it. One
 * that another has started, or that is ending, is not waited for: wait_loop.h does that. */
int cli_start_controller(struct cli *cli, struct error *err);

/* The same, for a caller that does not wait for the outcome: the controller that serves on return
 * executes everything committed before the call. Both return 0 early when a signal that the caller
 * blocks is pending. */
int cli_ensure_controller(struct cli *cli, struct error *err);

/* Path of a program of ours that belongs to this one: beside it, in a build tree as in an
 * installation. free() it. */
char *cli_program_beside(const char *name);

/* cli/report.c: one shape for every error, on stderr:
 *   error[vmctl::vm::not_found]: there is no vm 'web'
 *     help: run `vmctl list` to see available VMs */
void cli_print_error(const struct cli *cli, const struct error *err);
void cli_print_blocker(
    const struct cli *cli, const char *code, const char *message, const char *help);
/* Appends `text`, whose line begins at `column`; where stderr is a terminal lines end at a blank,
 * where it would break them amid a word, and continue behind `indent`. Colours take no columns. */
void cli_add_folded(struct buf *out, const char *text, size_t column, size_t indent);
/* Of the terminal on stderr; 0: it is none. */
unsigned cli_columns_of_errors(void);
/* A line on stderr unless --quiet. */
void cli_note(const struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
