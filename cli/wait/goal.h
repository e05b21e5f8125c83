/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The goals that a follower waits for; decides from a VM's records whether a goal is reached,
 * cannot be reached, or may still be reached. Pure.
 *
 * A status counts only once the controller has observed the follower's generation, and a condition
 * only when it was computed from that generation: a status from before the change never counts
 * (metav1.Condition, observedGeneration). Nor does a status that an earlier controller wrote: the
 * one that runs now must have observed the VM itself. A goal that can no longer be reached fails
 * at once instead of at the deadline: the VM is stalled, being deleted, replaced, or not meant to
 * run.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "specs/base/text.h"
#include "specs/vm/condition.h"

struct error;
struct snapshot_order;
struct spec_volume;
struct vm_record;

enum goal_kind {
    GOAL_READY,
    GOAL_RUNNING,
    GOAL_STOPPED,
    GOAL_SUSPENDED,
    GOAL_PREPARED,
    GOAL_PROVISIONED,
    GOAL_DELETED,
    GOAL_CONDITION,
    GOAL_SNAPSHOT, /* the request of a snapshot is done */
    GOAL_VOLUME,  /* it is attached, and mounted where it is to be, or detached; of a VM that is off
                     as GOAL_SETTLED */
    GOAL_SETTLED, /* ready, stopped or suspended: what the VM is meant to be at that moment */
    GOAL_KIND_COUNT_
};

struct goal {
    enum goal_kind kind;
    bool allows_drift;  /* GOAL_READY: an instance older than its spec is fine, too */
    bool ignores_steps; /* GOAL_READY: provision steps that failed are not this command's */
    bool is_patient; /* the user set the timeout: a guest that is only late is waited for until then
                      */
    bool is_desired; /* the follower's own change: unreachable once another one took it back */
    enum condition_type type; /* GOAL_CONDITION */
    enum condition_state state;
    /* GOAL_SNAPSHOT: the request that is meant, by its token; NULL: the last one. Once another one
     * followed it, the snapshots that are there decide. Borrowed. */
    const struct snapshot_order *order;
    /* GOAL_VOLUME: the one that is attached, or the name of the one that is detached. Borrowed. */
    const struct spec_volume *attaches;
    const char *detaches;
    /* GOAL_PROVISIONED: the step that the follower's own run begins with, from 1; 0: the first.
     * `token` is the run; "": the last one of any command. */
    uint32_t from;
    char token[TEXT_ID_SIZE];
};

enum goal_result { GOAL_PENDING, GOAL_REACHED, GOAL_FAILED };

/* The VM that is meant: a later one of the same name is another. */
struct goal_subject {
    const char *name;
    const char *uid;
    uint64_t generation;
    const char *session; /* of the controller that runs now; "": none does, and nothing is known */
    bool has_observed_all;     /* it has: also what an earlier one wrote is so */
    bool is_dependency_coming; /* what it was stalled on, another VM, is no longer in its way: the
                                  controller has not looked again yet */
};

/* GOAL_SETTLED, and GOAL_VOLUME of a VM that is not meant to run, become the goal of the power
 * state that the record asks for; others stay. */
struct goal goal_resolve(const struct goal *goal, const struct vm_record *record);

/* GOAL_FAILED: *err is the reason; its code decides the exit status. */
enum goal_result goal_check(const struct goal *goal, const struct goal_subject *subject,
    const struct vm_record *record, struct error *err);

/* Returns whether the goal was reached although provisioning failed earlier, which deserves a
 * warning. The record is the one for which goal_check() returned GOAL_REACHED. */
bool goal_ignored_steps(const struct goal *goal, const struct vm_record *record);

/* "ready", "stopped" …; of GOAL_CONDITION the condition's name. Static text. */
const char *goal_word(const struct goal *goal);

/* For messages: "ready", "GuestReachable=True". free() it. */
char *goal_describe(const struct goal *goal);
