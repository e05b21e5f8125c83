/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What a command's words and the values of its options are: read from its usage and its table of
 * options. A kind is a word that the scripts of completion.c know how to list: "files", "vms",
 * "new" (the VMs of the VMFile, made or not), "guest" (VM:PATH), "snapshots", …; several are
 * separated by commas, and "" is what cannot be listed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "specs/base/buf.h"

struct arg_option;
struct command;

/* One word behind the command, from 0 on; behind a verb from 1 on. */
struct completion_word {
    const char *verb; /* `n_verb` bytes, as all others not terminated; "": the command has none */
    size_t n_verb;
    unsigned place;
    bool repeats; /* and all behind it */
    const char *kinds;
};

typedef void completion_word_fn(void *context, const struct completion_word *word);

/* Calls `each` for every word with a kind, and appends to `listed` the words of which one is meant:
 * "run stop status", the verbs too. */
void completion_words(
    const struct command *command, struct buf *listed, completion_word_fn *each, void *context);

/* NULL: it takes no value, or one behind `=` only. */
const char *completion_value(const struct command *command, const struct arg_option *option);
