/* SPDX-License-Identifier: MPL-2.0 */
/* --share HOST:GUEST[:ro] of `create` and `run`. */
#pragma once

struct arg_strings;
struct error;
struct vm_spec;

/* Adds them to the spec; relative host paths start in the working directory. -ERR_USAGE. */
int shares_add(struct vm_spec *spec, const struct arg_strings *shares, struct error *err);
