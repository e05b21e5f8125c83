/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The environment of a provision step on its way into the guest. Its secrets are lines on standard
 * input, which the shell keeps in variables (reconcilers/ssh/secrets.sh): they are in no command
 * line and in no file.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "specs/base/digest.h"

struct secret_mask;
struct spec_step;

/* Of one run of one step. */
struct step_secrets {
    uint32_t index;
    int64_t run_started_at_ms; /* 0: it has not begun */
    char **values;             /* as the step's secrets; NULL: another vmctld began the run */
    size_t count;
    struct secret_mask *mask; /* likewise */
    char digest[DIGEST_SIZE]; /* of a step that runs "on-change"; "": not known */
};

void step_secrets_free(struct step_secrets *secrets); /* NULL is fine */

/* "A=$(printf %b '1') TOKEN=$secret_1 ": words of a shell before the command. free() it. */
char *step_environment(const struct spec_step *step);

/* The lines to send; `secrets` may be NULL: none. free() it, but overwrite it first. */
char *step_secrets_input(const struct step_secrets *secrets, size_t *ret_lines);

/* What sets the variables of step_environment() to them. free() it. */
char *step_secrets_take(const struct step_secrets *secrets);
