/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Compares the provision steps of a spec with those that ran on the VM's disk. Pure.
 *
 * vm_provision holds the digest of the list that is run, or was last. A new list that begins with
 * one that was run to its end only appends to it: the appended steps run by themselves, those
 * before never again. Any other change (a step edited, removed, moved or put first), and a change
 * behind a step that failed, waits for the user's decision.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vm_provision;
struct vm_spec;

enum steps_state {
    STEPS_NEVER_RUN, /* no run was requested on this disk */
    STEPS_SAME,      /* the list that is run, or was */
    STEPS_APPENDED,  /* it extends that list: the rest runs once that one is complete */
    STEPS_LEFT_OUT,  /* the same, but the user gave --no-provision for this very list */
    STEPS_CHANGED,   /* another list: none of it runs until the user requests it */
};

/* `left_out` is vm_desired.skipped_steps. */
enum steps_state vm_steps_state(
    const struct vm_provision *provision, const struct vm_spec *spec, const char *left_out);

/*
 * Where `up` continues after a failed step, from 1: with that step, when those before it count as
 * done and are still the spec's. Steps + 1: the failed step is no longer in the list, and all the
 * others are done. 0: with the first, for a list that was never complete, or of which a step before
 * was changed; or nothing has failed.
 */
uint32_t vm_steps_continue_at(const struct vm_provision *provision, const struct vm_spec *spec);

/* A list is being run, or will be as soon as the guest is there. */
bool vm_steps_are_under_way(const struct vm_provision *provision);

/* Digest of the spec's first `n` steps and the bytes of their files, in `ret_hex` (DIGEST_SIZE). */
void vm_steps_digest(const struct vm_spec *spec, size_t n, char *ret_hex);
