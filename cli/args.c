/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/args.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

enum { FIRST_LONG_ONLY = 256 };

/* The sets flattened for getopt: index i of `all` is option value FIRST_LONG_ONLY + i. */
struct parser {
    const struct arg_option **all;
    void **values;
    size_t count;
    struct option *long_options;
    struct buf letters;
};

static void parser_clear(struct parser *parser)
{
    free(parser->all);
    free(parser->values);
    free(parser->long_options);
    buf_clear(&parser->letters);
}

static void add_option(struct parser *parser, const struct arg_option *option, void *values)
{
    size_t i = parser->count++;
    parser->all = mem_resize(parser->all, parser->count, sizeof(*parser->all));
    parser->values = mem_resize(parser->values, parser->count, sizeof(*parser->values));
    parser->long_options =
        mem_resize(parser->long_options, parser->count + 1, sizeof(*parser->long_options));
    int argument = option->kind == ARG_FLAG       ? no_argument
                   : option->kind == ARG_OPTIONAL ? optional_argument
                                                  : required_argument;
    parser->all[i] = option;
    parser->values[i] = values;
    parser->long_options[i] =
        (struct option){option->name, argument, NULL, FIRST_LONG_ONLY + (int)i};
    parser->long_options[i + 1] = (struct option){0};
    if (option->letter) {
        static const char *const marks[] = {
            [no_argument] = "", [required_argument] = ":", [optional_argument] = "::"};
        buf_printf(&parser->letters, "%c%s", option->letter, marks[argument]);
    }
}

static int refuse_value(const struct arg_option *option, const char *text, struct error *err)
{
    static const char *const kinds[] = {
        [ARG_NUMBER] = "number",
        [ARG_MIB] = "size such as 2048 (MB), 512M or 2G",
        [ARG_GIB] = "size such as 20 (GB), 20G or 1T",
        [ARG_DURATION] = "duration such as 30, 90s or 5m",
    };
    return error_set(
        err, ERR_USAGE, "--%s: '%s' is not a %s", option->name, text, kinds[option->kind]);
}

/* A plain number counts units; with a suffix it must make whole units. */
static bool parse_size(enum arg_kind kind, const char *text, uint64_t *ret)
{
    uint64_t mib = 0;
    unsigned shift = kind == ARG_GIB ? 10 : 0;
    if (text_to_u64(text, 0, UINT32_MAX, ret)) {
        return true;
    }
    if (!text_to_size_mib(text, &mib) || mib >> shift << shift != mib ||
        mib >> shift > UINT32_MAX) {
        return false;
    }
    *ret = mib >> shift;
    return true;
}

static int store_value(
    const struct arg_option *option, void *values, const char *text, struct error *err)
{
    void *field = (char *)values + option->offset;
    uint64_t number = 0;
    switch (option->kind) {
    case ARG_FLAG:
        *(bool *)field = true;
        return 0;
    case ARG_TEXT:
        *(const char **)field = text;
        return 0;
    case ARG_OPTIONAL:
        *(const char **)field = text ? text : "";
        return 0;
    case ARG_REPEATED:
        arg_strings_add(field, text);
        return 0;
    case ARG_NUMBER:
        if (!text_to_u64(text, 0, UINT32_MAX, &number)) {
            return refuse_value(option, text, err);
        }
        *(uint32_t *)field = (uint32_t)number;
        return 0;
    case ARG_MIB:
    case ARG_GIB:
        if (!parse_size(option->kind, text, &number)) {
            return refuse_value(option, text, err);
        }
        *(uint32_t *)field = (uint32_t)number;
        return 0;
    case ARG_DURATION:
        return text_to_duration_ms(text, field) ? 0 : refuse_value(option, text, err);
    }
    return 0;
}

static int refuse_option(const struct parser *parser, const char *word, struct error *err)
{
    cleanup_free const char **names = mem_calloc(parser->count, sizeof(*names));
    for (size_t i = 0; i < parser->count; i++) {
        names[i] = parser->all[i]->name;
    }
    const char *bare = word + strspn(word, "-");
    cleanup_free char *name = mem_strndup(bare, strcspn(bare, "="));
    const char *nearest =
        text_starts_with(word, "--") ? text_nearest(name, names, parser->count) : NULL;
    (void)error_set(err, ERR_USAGE, "unknown option '%s'", word);
    return nearest ? error_help(err, "did you mean --%s?", nearest) : -ERR_USAGE;
}

/* Its index; the count of options when there is none. */
static size_t find_option(const struct parser *parser, int value)
{
    size_t i = 0;
    while (
        i < parser->count && value != FIRST_LONG_ONLY + (int)i && value != parser->all[i]->letter) {
        i++;
    }
    return i;
}

static int run_getopt(struct parser *parser, int argc, char **argv, bool stops_at_positional,
    struct arg_strings *positional, struct error *err)
{
    cleanup_free char *letters =
        mem_printf("%s:%s", stops_at_positional ? "+" : "-", buf_str(&parser->letters));
    optind = 0; /* getopt_long(3): starts over, also with another argv */
    for (;;) {
        int at = optind ? optind : 1;
        int value = getopt_long(argc, argv, letters, parser->long_options, NULL);
        if (value == -1) {
            break;
        }
        size_t i = find_option(parser, value);
        /* docker's and kubectl's `-it`: where -i takes a key, only the terminal is meant */
        bool is_terminal = value == 'i' && (text_eq(argv[at], "-it") || text_eq(argv[at], "-ti"));
        size_t terminal = is_terminal ? find_option(parser, 't') : parser->count;
        if (terminal < parser->count && parser->all[terminal]->kind == ARG_FLAG) {
            (void)store_value(parser->all[terminal], parser->values[terminal], NULL, err);
            optind -= argv[at][1] == 't'; /* the word after -ti is not the key of its -i */
        } else if (value == 1) {
            arg_strings_add(positional, optarg);
        } else if (value == ':') {
            return error_set(err, ERR_USAGE, "option '%s' needs a value", argv[at]);
        } else if (i == parser->count) {
            return refuse_option(parser, argv[at], err);
        } else if (store_value(parser->all[i], parser->values[i], optarg, err) < 0) {
            return -(int)err->code;
        }
    }
    positional->n_before_dashes = positional->count;
    bool has_dashes = optind > 1 && text_eq(argv[optind - 1], "--");
    while (optind < argc) {
        arg_strings_add(positional, argv[optind++]);
    }
    if (!has_dashes) {
        positional->n_before_dashes = positional->count;
    }
    return 0;
}

int args_parse(int argc, char **argv, const struct arg_set *sets, size_t n_sets,
    bool stops_at_positional, struct arg_strings *positional, struct error *err)
{
    cleanup_with(parser_clear) struct parser parser = {.count = 0};
    opterr = 0;
    for (size_t i = 0; i < n_sets; i++) {
        for (const struct arg_option *o = sets[i].options; o && o->name; o++) {
            add_option(&parser, o, sets[i].values);
        }
    }
    return run_getopt(&parser, argc, argv, stops_at_positional, positional, err);
}

bool arg_is_given(const struct arg_option *option, const void *values)
{
    const void *field = (const char *)values + option->offset;
    switch (option->kind) {
    case ARG_FLAG:
        return *(const bool *)field;
    case ARG_TEXT:
    case ARG_OPTIONAL:
        return *(const char *const *)field != NULL;
    case ARG_REPEATED:
        return ((const struct arg_strings *)field)->count > 0;
    case ARG_NUMBER:
    case ARG_MIB:
    case ARG_GIB:
        return *(const uint32_t *)field != 0;
    case ARG_DURATION:
        return *(const int64_t *)field != 0;
    }
    return false;
}

void args_clear(const struct arg_option *options, void *values)
{
    for (const struct arg_option *o = options; o && o->name; o++) {
        if (o->kind == ARG_REPEATED) {
            arg_strings_clear((struct arg_strings *)((char *)values + o->offset));
        }
    }
}

void args_describe(struct buf *out, const struct arg_option *options)
{
    for (const struct arg_option *o = options; o && o->name; o++) {
        if (!o->help) {
            continue;
        }
        char letter[5] = "    ";
        if (o->letter) {
            (void)snprintf(letter, sizeof(letter), "-%c, ", o->letter);
        }
        const char *before = !o->value_name ? "" : o->kind == ARG_OPTIONAL ? "[=" : " ";
        const char *after = o->kind == ARG_OPTIONAL ? "]" : "";
        cleanup_free char *long_form =
            mem_printf("--%s%s%s%s", o->name, before, o->value_name ? o->value_name : "", after);
        buf_printf(out, "  %s%-22s  %s\n", letter, long_form, o->help);
    }
}

void arg_strings_add(struct arg_strings *strings, const char *text)
{
    strings->items = mem_resize(strings->items, strings->count + 1, sizeof(*strings->items));
    strings->items[strings->count++] = text;
}

void arg_strings_clear(struct arg_strings *strings)
{
    free(strings->items);
    *strings = (struct arg_strings){.count = 0};
}

const struct arg_option global_options[] = {
    {"output", 'o', ARG_TEXT, offsetof(struct global_values, output), "FORMAT",
        "text (or table), wide, name, json or yaml"},
    {"quiet", 'q', ARG_FLAG, offsetof(struct global_values, is_quiet), NULL, "no progress"},
    {"color", 0, ARG_TEXT, offsetof(struct global_values, color), "WHEN",
        "auto, always or never (NO_COLOR is obeyed)"},
    {"data-dir", 0, ARG_TEXT, offsetof(struct global_values, data_dir), "DIR",
        "instead of $XDG_DATA_HOME/vmctl"},
    {"node", 0, ARG_TEXT, offsetof(struct global_values, node), "NODE",
        "run the command on this node (see: vmctl node); local: on this host"},
    {"project", 0, ARG_TEXT, offsetof(struct global_values, project), "PROJECT",
        "project of the VMFile and of names without one [default: $VMCTL_PROJECT, the VMFile's]"},
    {"set", 0, ARG_REPEATED, offsetof(struct global_values, set), "NAME=VALUE",
        "set a variable of the VMFile, or a field: vm.web.memory=4G"},
    {"set-file", 0, ARG_REPEATED, offsetof(struct global_values, set_file), "NAME=PATH",
        "like --set, with the text of a file as the value"},
    {"help", 'h', ARG_FLAG, offsetof(struct global_values, wants_help), NULL,
        "show help for vmctl or for a command"},
    {"version", 0, ARG_FLAG, offsetof(struct global_values, wants_version), NULL,
        "show the version"},
    {NULL, 0, ARG_FLAG, 0, NULL, NULL},
};
