/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What a node does about one VM of the fleet, by what etcd has of it and what is here. Pure, and a
 * table of rows of which the first that applies counts, as in reconcilers/vm/decide.h. It sees
 * states only: an event that was lost costs a delay.
 *
 * What it rests on: each epoch of a VM belongs to one node, so that two nodes that both run it
 * never believe that of the same epoch; and nothing here is erased for want of a record in etcd,
 * which may be empty, restored or another one: a mark there has to say so.
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
    bool is_moving;  /* another node shall have it … */
    bool is_offered; /* … and may fetch it, as in/N/V says */
    uint64_t object_epoch, object_generation;

    /* gone/N/UID of the VM that is here; or, if there is no record of the name, of one that was */
    bool has_tombstone;
    uint64_t tombstone_epoch;
    bool has_spent_tombstone; /* of another one of the name than the VM that is here */

    /* the records here */
    bool has_record;
    bool is_fleets;  /* it has an epoch; else it is this host's alone */
    bool is_same_vm; /* its uid is the object's */
    bool is_ahead;   /* changed here while etcd was out of reach, from generation `base` */
    bool is_fenced;  /* its vmctld ends it, and sets its files aside */
    uint64_t epoch, generation, base;

    /* the machine */
    bool has_directory;
    bool is_settled; /* its vmctld has seen the record as it is, and has no machine of it */
    bool is_locked;  /* alive.lock: a process of the VM exists, or is about to */
};

enum fleet_action {
    FLEET_WAIT,              /* nothing is known of etcd: the node continues with what it has */
    FLEET_REPORT_FROZEN,     /* no effect and no write, whatever etcd says */
    FLEET_COMMIT_DESTROYED,  /* nothing is left here: its rows go from etcd */
    FLEET_WRITE_NEW,         /* the desired record, as etcd has it */
    FLEET_REPORT_NAME_TAKEN, /* by a VM of this host alone */
    FLEET_REPORT_OLD_EPOCH,  /* etcd was restored: nothing is done about this VM */
    FLEET_PUSH,              /* what was changed here becomes etcd's */
    FLEET_DROP_OVERRIDE,     /* etcd has moved on: what was changed here is given up */
    FLEET_WRITE_CHANGE,      /* as FLEET_WRITE_NEW, over the record that is there */
    FLEET_OFFER,             /* the other node may fetch it */
    FLEET_AWAIT_STOP,        /* it is to move, and is being stopped */
    FLEET_FENCE,         /* it was given to another node: its record says so, and vmctld ends it at
                          * once, sets its files aside, and forgets it */
    FLEET_AWAIT_CLEARED, /* … which is under way */
    FLEET_REMOVE_TOMBSTONE, /* … and done */
    FLEET_REPORT_ORPHANED,  /* etcd does not know it: it runs on */
    FLEET_NOTHING,          /* all is as it should be, or it is none of the fleet's */
    FLEET_ACTION_COUNT_
};

enum fleet_action fleet_decide(const struct fleet_situation *situation);

const char *fleet_action_name(enum fleet_action action); /* "WriteNew" */
