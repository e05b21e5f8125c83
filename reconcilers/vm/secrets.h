/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The secrets of the provision step that is next, from their sources to the step's program: those
 * of files are read when the step begins, the others are what a command handed over
 * (controller/secrets.h). Nothing of them is written down but, for a step that runs "on-change", a
 * digest keyed by DATA/secrets.key.
 */
#pragma once

#include "reconcilers/guest/step_secrets.h"

struct error;
struct pass;

/* Makes pass->vm->secrets those of the next step; NULL: it has none. -ERR_SECRET: one cannot be
 * had. */
int step_secrets_get(struct pass *pass, struct error *err);

/* Of the next step: what distinguishes its secrets from others; "": it has none; NULL: not known.
 * Borrowed from the VM. */
const char *step_secrets_digest(const struct pass *pass);

/* No step needs them any more. */
void step_secrets_forget(struct pass *pass);
