/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Gets the secrets of the next provision step: secrets from files are read when the step starts,
 * the others were handed over by a command (controller/secrets.h). None is stored, except for a
 * step that runs "on-change" a digest keyed by DATA/secrets.key.
 */
#pragma once

#include "reconcilers/guest/step_secrets.h"

struct error;
struct pass;

/* Sets pass->vm->secrets to the secrets of the next step, NULL if it has none. -ERR_SECRET: one
 * cannot be read. */
int step_secrets_get(struct pass *pass, struct error *err);

/* Returns a digest of the next step's secrets; "": it has none; NULL: not known. Borrowed from the
 * VM. */
const char *step_secrets_digest(const struct pass *pass);

/* Erases them: no step needs them any more. */
void step_secrets_forget(struct pass *pass);
