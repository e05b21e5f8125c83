/* SPDX-License-Identifier: MPL-2.0 */
/* Where a command runs: here, or by the vmctl of another node. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct arg_strings;
struct cli;
struct command;
struct error;
struct global_values;
struct node;

/* The command line without the options that have these values: the values are words of it, or parts
 * of words. What is left of "-df FILE" is a word of cli->cut_words. */
void route_words(
    struct cli *cli, const char *const *values, size_t n_values, struct arg_strings *ret);

/* These words, which end with NULL, by the vmctl of that node, on our own streams and terminal: its
 * status. */
int route_run(const struct cli *cli, const struct command *command, const struct node *node,
    const char *const *words, struct error *err);

/* -ERR_USAGE: one of the command's options_of_here is given, and it would run on that node. */
int route_check_options(
    const struct command *command, const void *values, const struct node *node, struct error *err);

/* Runs the command on another node if --node names one: sets *ret_is_done and returns what the
 * command's run() would return. Else returns 0, and the caller runs it here. */
int route(struct cli *cli, const struct command *command, const void *values,
    const struct global_values *global, bool *ret_is_done, struct error *err);
