/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Builds the records for the second serial port (guest/identity.h) of a guest that becomes a
 * template, and of one that was woken from its memory; part of the data comes from the seed's
 * source files.
 */
#pragma once

#include "controller/loop/op.h"

struct vm_env;

struct template_record;

/* As in struct media_ops. */
struct op *media_seal(
    const struct vm_env *env, struct template_record *record_take, op_done_fn *done, void *context);
struct op *media_settle_guest(const struct vm_env *env, op_done_fn *done, void *context);
struct op *media_identify_guest(const struct vm_env *env, op_done_fn *done, void *context);
