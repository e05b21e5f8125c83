/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Computes a VM's next record from a change and the record that the caller has, without reading a
 * store. Tokens and a new VM's uid are random; stat(2) may be called on files that the spec names
 * (store/desired/impact.h).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "specs/base/text.h"
#include "specs/vm/spec_diff.h"
#include "specs/vm/vm_desired.h"

struct error;
struct proxies;
struct spec_volume;
struct vm_record;
struct vm_spec;

enum change_provision {
    PROVISION_KEEP,     /* nothing new is requested: appended steps run (vm_steps.h) */
    PROVISION_SKIP,     /* the steps are not run, not even when they are appended */
    PROVISION_APPENDED, /* appended steps run, also when an earlier change skipped them */
    PROVISION_ON_START, /* likewise; and all, if this change creates or starts the VM, or if
                           they failed */
    PROVISION_AGAIN,    /* the steps run again */
};

/* A change of one VM. With only the name set it changes nothing. */
struct change {
    const char *name;
    const struct vm_record *known; /* the record, if the caller has read it; else NULL */
    const struct vm_spec *spec;    /* create, or bring in line with this; NULL: the VM must exist */
    const char *source;     /* VMFile the spec comes from, absolute; NULL: none. Without a spec:
                             * the VM must have come from there; NULL: from anywhere */
    bool must_be_new;       /* a VM of that name is a conflict */
    uint64_t owner;         /* of a new VM: it is destroyed when this owner is gone; 0: no owner */
    const char *stands_for; /* of a new VM: the VM it is a copy of, for which its template is made;
                               NULL: not a copy */
    const char *halt_boot;  /* vm_desired's halt_boot and … */
    uint64_t halt_owner;    /* … halt_owner become these; NULL: they stay as they are */
    bool disowns;           /* it has no owner from now on */
    bool holds_ports;       /* a new VM holds the host ports of its forwards before it starts: one
                             * that another VM holds is a conflict */
    bool takes_over;        /* the name may belong to another VMFile: take it */
    bool sets_power;
    enum power power;
    bool saves;          /* with POWER_SUSPENDED: its memory goes to disk, and its process ends */
    bool starts_new;     /* a VM that this change creates is started, and its steps run */
    bool wants_prepared; /* a new VM that stays stopped: make its image and disk ready */
    uint32_t stop_timeout_s;
    enum change_provision provision;
    uint32_t provision_from; /* with PROVISION_AGAIN: the step to begin with, from 1; 0: the first,
                                as its `run` says */
    bool restarts;           /* a running VM is stopped and started with its new spec */
    bool is_cold;            /* what its next disk is made on is the image, whatever `warm` says */
    bool recreates;      /* its disk is recreated; the old one is kept for a day (KEPT_MS), … */
    bool erases_at_once; /* … or not at all */
    bool deletes;
    /* A request for a snapshot of a stopped VM's disk; its token is generated. NULL: none. */
    const struct snapshot_order *snapshot;
    const struct vm_origin *origin; /* of a new VM; NULL: none */
    const char *origin_uid;         /* of the VM that it is taken from; NULL: an import */
    /* A volume to attach besides those of the spec; the name of one to detach. NULL: none. */
    const struct spec_volume *attaches;
    const char *detaches;
    const struct proxies *proxies; /* for downloads from now on; NULL: those recorded */
    bool retries;                  /* if it is stalled or held down: tries again now */
};

enum change_result {
    CHANGE_UNCHANGED,
    CHANGE_CREATED,
    CHANGE_STARTED,
    CHANGE_STOPPED,
    CHANGE_CONFIGURED, /* the spec changed */
    CHANGE_RESTARTED,
    CHANGE_RECREATED,
    CHANGE_DELETED,
    CHANGE_REQUESTED, /* anything else: suspended, provisioned again, retried */
};

extern const struct enum_names change_result_words; /* "created" …: also what nodes send */

struct change_outcome {
    enum change_result result;
    char uid[TEXT_ID_SIZE];
    uint64_t generation;                /* waiters wait until this one is observed */
    char snapshot_token[TEXT_ID_SIZE];  /* of the request of a snapshot, also of one that was under
                                         * way; "": the change has none */
    char provision_token[TEXT_ID_SIZE]; /* of the run of the steps that it asked for; "": none */
    bool drops_memory;   /* what is saved of its guest (`suspend --disk`) is given up */
    uint32_t steps_from; /* of change_plan() alone, and of a spec that has secrets: the first
                          * provision step that is under way then, or due, from 0; as many as
                          * the spec has, or more: none. As far as is known: the record of them
                          * may be older than the change */
    bool *skips_step;    /* likewise, of each of the spec's steps: it is `run "once"` and done, and
                          * need not run; NULL: none is. Owned */
    struct spec_diff diff; /* old spec -> new spec; empty unless the spec changed */
};

/* Checks that need the store of the VM's host. Each returns 0 or sets `err`; NULL: no check. */
struct change_host {
    int (*check_name)(void *context, const char *name, struct error *err); /* of a new VM */
    int (*check_dependencies)(void *context, const struct vm_spec *before,
        const struct vm_spec *spec, struct error *err); /* `before` may be NULL */
    int (*check_attach)(void *context, const struct vm_desired *desired,
        const struct spec_volume *volume, struct error *err);
    int (*check_ports)(void *context, const struct vm_desired *next, struct error *err);
    void *context;
};

struct change_input {
    const struct change *change;
    const struct vm_record *record; /* without a desired record: there is no such VM */
    const struct change_host *host;
    int64_t now_ms;   /* wall */
    bool is_plan;     /* the outcome has steps_from and skips_step, too */
    bool is_of_fleet; /* the record is the fleet's copy. Else a VM of the fleet may only be started,
                         stopped and the like, and its record is then ahead of the fleet's
                         (vm_fleet) */
};

/* Returns 0, the next record, which the caller owns and which may equal the present one, and the
 * outcome; or the errors of change_apply(). */
int change_decide(const struct change_input *input, struct vm_desired **ret_next,
    struct change_outcome *ret, struct error *err);

/* Ports are taken in the transaction that creates the VM: of two that chose one port, the second
 * finds it taken. */
bool change_takes_ports(const struct change *change, const struct vm_record *record);

/* -ERR_VM_INVALID_STATE: the change would take away a disk, or a snapshot of it, that `protect`
 * keeps. change_apply() and change_plan() find that, too. */
int change_check_protected(
    const struct vm_desired *desired, const struct change *change, struct error *err);
void change_outcome_clear(struct change_outcome *outcome);
