/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Asking for something and following it: the wishes of one command, written in one transaction,
 * then followed until they have come true.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "cli/wait/goal.h"
#include "store/desired/change.h"

struct cli;
struct error;
struct follow_values;
struct targets;

struct ask {
    struct wish *wishes;
    struct wish_outcome *outcomes; /* room for as many; filled */
    size_t count;
    struct goal goal;
    struct goal *goals; /* one for each, instead; owned; NULL: it is the same for all */
    const struct wish_extra *extra; /* goes into the same transaction; NULL: nothing */
    bool shows_provision;
    bool is_for_us; /* see follow.h */
    const char *begun; /* "stopping": printed with --detach; NULL: nothing */
    const char *done;  /* "stopped": printed once it is true; NULL: nothing */
    /* After the writing, in words or, when there is one, in the answer; NULL: nothing. */
    void (*tell)(const struct cli *cli, const struct ask *ask, size_t i);
    void *context;
};

/* `count` wishes that are all like `pattern` but for the name. ask_clear() it. */
void ask_init(struct ask *ask, const struct targets *targets, const struct wish *pattern);
void ask_clear(struct ask *ask);

/* Tells what the wishes did, or would do: the outcomes are there. */
void ask_tell(const struct cli *cli, const struct ask *ask);

/* Returns what run() of a command is to return. */
int ask_carry_out(
    struct cli *cli, struct ask *ask, const struct follow_values *values, struct error *err);
