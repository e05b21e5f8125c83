/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The changes of one command, written in one transaction and then followed until their goals are
 * reached.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "cli/wait/goal.h"
#include "store/desired/change.h"

struct cli;
struct error;
struct follow_values;
struct strings;

struct request {
    struct change *changes;
    struct change_outcome *outcomes; /* room for as many; filled */
    size_t count;
    struct goal goal;
    struct goal *goals; /* one for each, instead; owned; NULL: it is the same for all */
    const struct change_extra *extra; /* goes into the same transaction; NULL: nothing */
    bool shows_provision;
    bool is_for_us;    /* see follow.h */
    const char *begun; /* "stopping": printed with --detach; NULL: nothing */
    const char *done;  /* "stopped": printed once it is true; NULL: nothing */
    /* Reports one outcome (cli/show/result.h); NULL: nothing. */
    void (*report)(const struct cli *cli, const struct request *request, size_t i);
    void *context;
};

/* One change for each target, like `pattern` but for the name. vm_request_clear() it. */
void vm_request_init(
    struct request *request, const struct strings *targets, const struct change *pattern);
void vm_request_clear(struct request *request);

/* Reports what the changes did, or would do: the outcomes are filled in. */
void vm_request_report(const struct cli *cli, const struct request *request);

/* Whether it can be the name of a new VM; -ERR_USAGE. */
int vm_request_check_name(const char *name, struct error *err);
/* The same, and that there is no VM of the name: -ERR_VM_CONFLICT. Before work is done for nothing:
 * the change checks it once more. Opens the store. */
int vm_request_check_is_new(struct cli *cli, const char *name, struct error *err);

/* Returns what run() of a command is to return. */
int vm_request_run(struct cli *cli, struct request *request, const struct follow_values *values,
    struct error *err);
