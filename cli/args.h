/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Command-line options as a table: parsing writes into a struct by offset, and `--help` is printed
 * from the same table. getopt_long(3) underneath, so `--name=web`, `--name web`, `-n5` and `--`
 * work as everywhere.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct error;

enum arg_kind {
    ARG_FLAG,     /* bool */
    ARG_TEXT,     /* const char *: borrowed from argv */
    ARG_OPTIONAL, /* const char *: as ARG_TEXT, but given as --name=VALUE only; --name alone is ""
                   */
    ARG_NUMBER,   /* uint32_t */
    ARG_MIB,      /* uint32_t: "2048", "512M", "2G" */
    ARG_GIB,      /* uint32_t: "20", "20G", "1T"; whole GiB */
    ARG_DURATION, /* int64_t milliseconds: "90", "90s", "5m" */
    ARG_REPEATED, /* struct arg_strings */
};

struct arg_option {
    const char *name; /* long name, without dashes; NULL ends the table */
    char letter;      /* 0: none */
    enum arg_kind kind;
    size_t offset;          /* of the field in the values struct */
    const char *value_name; /* "PATH"; NULL for flags */
    const char *help;       /* NULL: not shown */
};

struct arg_strings {
    const char **items; /* owned; the texts are argv's */
    size_t count;
    size_t n_before_dashes; /* of positional words: how many stood before "--" */
};
void arg_strings_add(struct arg_strings *strings, const char *text);
void arg_strings_clear(struct arg_strings *strings);

/* A table and the struct its offsets point into. */
struct arg_set {
    const struct arg_option *options;
    void *values;
};

/*
 * Parses argv[1 …] against several sets (the command's and the global ones). Words that are
 * not options go to `positional`, in order; after "--" all do, and with `stops_at_positional` all
 * after the first one, too. Unknown or malformed: -ERR_USAGE, with the nearest option.
 */
int args_parse(int argc, char **argv, const struct arg_set *sets, size_t n_sets,
    bool stops_at_positional, struct arg_strings *positional, struct error *err);

/* Whether the option has changed its field: a flag is set, a text or list not empty. */
bool arg_is_given(const struct arg_option *option, const void *values);

/* Frees the lists in `values` that ARG_REPEATED options filled. */
void args_clear(const struct arg_option *options, void *values);

/* Appends the table as the lines of a help text. */
void args_describe(struct buf *out, const struct arg_option *options);

/* The options that every command takes, before or after its name: parsed by main, printed by the
 * help, offered by the completion. */
struct global_values {
    const char *output;
    const char *color;
    const char *data_dir;
    const char *node;
    const char *project;
    struct arg_strings set, set_file;
    bool is_quiet;
    bool wants_help;
    bool wants_version;
};

/* Offsets are into struct global_values; ends with a NULL name. */
extern const struct arg_option global_options[];
