/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Decides what a node does about one VM of the fleet, from etcd's rows and the state of this host.
 * Pure: a table of which the first row that applies counts, as in reconcilers/vm/decide.h. It uses
 * states only, so that a lost event costs a delay and nothing else.
 *
 * Two rules make it safe. Each epoch of a VM belongs to one node: if two nodes run it, they run
 * different epochs. And a missing record in etcd, which may be empty, restored or another one,
 * never erases anything here: that takes a mark in etcd.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct fleet_situation {
    /* etcd as a whole */
    bool is_foreign; /* another fleet, an older state of it, or a newer format of its records */
    bool is_read;    /* all its rows were read, at one revision, since the messenger started */

    /* vm/N/V */
    bool has_object;
    bool is_object_deleting;
    bool is_moving;  /* it moves to another node … */
    bool is_offered; /* … and may fetch it, as in/N/V says */
    uint64_t object_epoch, object_generation;

    /* gone/N/UID of the VM of this host; without a record of the name, of a former one */
    bool has_tombstone;
    uint64_t tombstone_epoch;
    bool has_spent_tombstone; /* of another one of the name than the VM that is here */

    /* the records here */
    bool has_record;
    bool is_fleets;  /* it has an epoch; otherwise it belongs to this host alone */
    bool is_same_vm; /* its uid is the object's */
    bool is_ahead;   /* changed here while etcd was out of reach, from generation `base` */
    bool is_fenced;  /* vmctld ends it, and moves its files to quarantine/ */
    uint64_t epoch, generation, base;

    /* the machine */
    bool has_directory;
    bool is_settled; /* its vmctld has seen the record as it is, and has no machine of it */
    bool is_locked;  /* alive.lock: a process of the VM exists, or is about to */
};

enum fleet_action {
    FLEET_WAIT,              /* etcd was not read yet: the node continues with what it has */
    FLEET_REPORT_FROZEN,     /* no effect and no write, whatever etcd says */
    FLEET_COMMIT_DESTROYED,  /* nothing is left here: remove its rows from etcd */
    FLEET_WRITE_NEW,         /* store the desired record that etcd has */
    FLEET_REPORT_NAME_TAKEN, /* this host has its own VM of that name */
    FLEET_REPORT_OLD_EPOCH,  /* etcd was restored: leave this VM as it is */
    FLEET_PUSH,              /* write the change that was made here into etcd */
    FLEET_DROP_OVERRIDE,     /* etcd has a later change: drop the one that was made here */
    FLEET_WRITE_CHANGE,      /* as FLEET_WRITE_NEW, in place of the present record */
    FLEET_OFFER,             /* let the other node fetch it */
    FLEET_AWAIT_STOP,        /* it is to move, and is being stopped */
    FLEET_FENCE, /* another node has it: mark the record, so that vmctld ends the VM at once,
                  * moves its files to quarantine/ and forgets it */
    FLEET_AWAIT_CLEARED,    /* … which it is doing */
    FLEET_REMOVE_TOMBSTONE, /* … and has done */
    FLEET_REPORT_ORPHANED,  /* etcd has no record of it: it keeps running */
    FLEET_NOTHING,          /* all is as it should be, or it is not the fleet's */
    FLEET_ACTION_COUNT_
};

enum fleet_action fleet_decide(const struct fleet_situation *situation);

const char *fleet_action_name(enum fleet_action action); /* "WriteNew" */
