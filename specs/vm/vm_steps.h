/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What the provision steps of a spec are to those that were run on the VM's disk. Pure.
 *
 * vm_provision holds the digest of the list that is run, or was last. A new list that begins with
 * one that was run to its end only appends to it: the steps behind it are run by themselves, those
 * before never again. Any other change (a step edited, removed, moved, before all others) is the
 * user's to judge, and so is one behind a step that failed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "specs/base/json.h"

struct vm_provision;
struct vm_spec;

enum steps_state {
    STEPS_NEVER_RUN, /* nobody asked for any to be run on this disk */
    STEPS_SAME,      /* the list that is run, or was */
    STEPS_APPENDED,  /* it goes on behind that list: the rest is run once that one is through */
    STEPS_LEFT_OUT,  /* the same, but the user said --no-provision for this very list */
    STEPS_CHANGED,   /* another one: nothing of it is run until the user asks */
};

/* `left_out` is vm_desired.skipped_steps. */
enum steps_state vm_steps_state(
    const struct vm_provision *provision, const struct vm_spec *spec, const char *left_out);

/* A list is being run, or will be as soon as the guest is there. */
bool vm_steps_are_under_way(const struct vm_provision *provision);

/* The spec's steps as vm_spec_to_json() has them; caller owns. */
json_t *vm_steps_to_json(const struct vm_spec *spec);

/* Of the spec's first `n` steps with the bytes of their files; `ret_hex` holds DIGEST_SIZE bytes. */
void vm_steps_digest(const struct vm_spec *spec, size_t n, char *ret_hex);
