/* SPDX-License-Identifier: MPL-2.0 */
/* Commands with subcommands: `vmctl snapshot create …`. */
#pragma once

#include <stddef.h>

struct arg_strings;
struct cli;
struct error;

struct verb {
    const char *word, *usage;
    size_t min_words, max_words; /* after the verb */
    /* As command.run(), with the verb as the first of the words. */
    int (*run)(
        struct cli *cli, const void *values, const struct arg_strings *words, struct error *err);
};

struct verbs {
    const char *command;
    const struct verb *items;
    size_t count;
    const char *choice;           /* "list, rm": all, for who gave none of them */
    const char *nothing;          /* what a verb takes that takes no words: "nothing" */
    const char *const *suggested; /* for a slip of the keyboard; NULL: none */
    size_t n_suggested;
};

/* The verb that the words begin with. NULL and ERR_USAGE in *err: there is none, or the number of
 * words behind it is not its own. */
const struct verb *verb_find(
    const struct verbs *verbs, const struct arg_strings *words, struct error *err);

/* As command.run(): that verb's. */
int verb_run(const struct verbs *verbs, struct cli *cli, const void *values,
    const struct arg_strings *words, struct error *err);
