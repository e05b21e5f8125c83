/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The desired record of a VM: its spec and what the user last requested. The CLI and the VMFile
 * watcher write it; the controller marks it for deletion when its owner has gone, and drops it once
 * a deletion is complete.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "specs/base/clock.h"
#include "specs/base/digest.h"
#include "specs/base/enum_names.h"
#include "specs/base/json.h"
#include "specs/base/proxies.h"
#include "specs/base/text.h"
#include "specs/vm/vm_snapshot.h"

struct error;
struct spec_volume;
struct vm_origin;
struct vm_spec;

enum power { POWER_RUNNING, POWER_STOPPED, POWER_SUSPENDED, POWER_COUNT_ };

/* Of a VM that a fleet has: several hosts that share what they want in etcd. */
struct vm_fleet {
    uint64_t epoch; /* +1 with each change of its node; 0: it is a VM of this host alone */
    char *home;     /* the node that asked for it; NULL: not recorded */
    bool is_ahead;  /* changed here while the fleet was out of reach … */
    uint64_t base;  /* … from this generation of the fleet's */
    /* It was given to another node, or destroyed, while this one was not heard of: with
     * is_deleting, its machine is ended at once and its files are set aside, not removed. */
    bool is_fenced;
    /* The request that gave it its node last, or has it on its way to one; "": none did. */
    char moved[TEXT_ID_SIZE];
    char *move_to;     /* the node that fetches its disk; until that has it, it is off, and is not
                        * changed but destroyed. NULL: it does not move */
    bool starts_after; /* … there, or if the move is cancelled, here */
};

struct vm_desired {
    char uid[TEXT_ID_SIZE]; /* made at creation: a VM destroyed and created again is another VM */
    uint64_t generation;  /* +1 when the spec, the power or a token changes: what waiters compare */
    uint64_t revision;    /* +1 on every write: compare-and-set; set by the store */
    struct vm_spec *spec; /* owned */
    struct spec_volume *volumes; /* attached by hand (`volume attach`), besides the spec's; owned */
    uint32_t n_volumes;
    char spec_digest[DIGEST_SIZE];
    enum power power;
    bool is_saved; /* with POWER_SUSPENDED: to disk, without a process (`suspend --disk`) */
    bool is_deleting;
    bool wants_prepared;              /* `create`: make image and disk ready though it is stopped */
    uint32_t stop_timeout_s;          /* `stop --timeout`, for this stop; 0: the spec's */
    char restart_token[TEXT_ID_SIZE]; /* a new value requests a restart, */
    char recreate_token[TEXT_ID_SIZE];  /* a new disk (reload), */
    bool erases_at_once;                /* … with nothing kept of the present one; */
    char provision_token[TEXT_ID_SIZE]; /* or the provision steps again */
    struct snapshot_order snapshot;     /* or something of a snapshot of the disk */
    uint32_t provision_from; /* with that token: from this step on (from 1); 0: all of them */
    /*
     * `--no-provision`: the digest of the list of steps (vm_steps.h) it was given for; "": none.
     * Of that list, and of no other, appended steps are not run. So the request never has to be
     * marked as done: every reader gets the same result, another list has another digest, and the
     * next `up` without the option clears it.
     */
    char skipped_steps[DIGEST_SIZE];
    /*
     * The `vmctl controller stop --shut-down-vms` (owner_lock.h) for which the VM stays down while
     * it lives, whatever `power` is; 0: none. Not a change of what the user wants: the generation
     * stays, and the number of one that has ended means nothing.
     */
    uint64_t halt_owner;
    /* … and stays down behind it, in this boot of the host: one that goes down must not start VMs
     * because somebody ran a command; "": none. `vmctl controller start` clears it. */
    char halt_boot[CLOCK_BOOT_ID_SIZE];
    uint64_t owner; /* the VM goes when this owner has gone (owner_lock.h); 0: none */
    /* For downloads of the base image: those of the last command that may need one. Like halt_owner
     * they change nothing that the user wants. */
    struct proxies proxies;
    /* `--cold`: its next disk is made on the image, whatever the spec's `warm`; until the next `up`
     * or the like without it. */
    bool is_cold;
    struct vm_origin *origin; /* its first disk is a copy of this; owned; NULL: its image's … */
    uint32_t n_origins;       /* … and 0, else 1 */
    char *template_key;       /* it is to become this template (specs/vm/template.h); NULL: a VM */
    char *template_vm;        /* … for this VM first; of a VM, the one that it is a copy of */
    char *source;             /* absolute path of the VMFile it came from; NULL: made by `create` */
    char *renamed_from; /* what its VMFile still calls it; NULL: its name. Until then that name is
                         * no other VM's (store/desired/rename.h) */
    int64_t created_ms; /* wall */
    struct vm_fleet fleet;
};

/* The spec with the volumes that are attached by hand; NULL: there are none of those. Caller owns.
 */
struct vm_spec *vm_desired_attach(const struct vm_desired *desired, const struct vm_spec *spec);

/* Whether that can be done with a snapshot while it is as the user wants it: of one that runs only
 * `create`, with a backend that can. */
bool vm_desired_allows_snapshot(const struct vm_desired *desired, enum snapshot_verb verb);

/* Whether it stays down until the host has booted again. */
bool vm_desired_is_halted(const struct vm_desired *desired, const struct clock *clock);

/* What was requested of the machine and disk that it has, which a status records as handled: a
 * restart, a new disk, steps, a snapshot. With another status they would be done once more. */
void vm_desired_drop_requests(struct vm_desired *desired);

/* A record with a fresh uid, generation 0, stopped, its digest made; takes the spec.
 * vm_desired_free() it. */
struct vm_desired *vm_desired_new(struct vm_spec *spec_take, int64_t now_ms);
void vm_desired_free(struct vm_desired *desired); /* NULL is fine */
struct vm_desired *vm_desired_copy(const struct vm_desired *desired);
bool vm_desired_equal(const struct vm_desired *a, const struct vm_desired *b);

json_t *vm_desired_to_json(const struct vm_desired *desired); /* caller owns */
/* NULL and ERR_STORE without a valid spec, uid or power, or with a token that cannot be part of a
 * file's name: the desired state of a VM is never guessed. */
struct vm_desired *vm_desired_read(struct bytes json, struct error *err);

extern const struct enum_names power_words;
const char *power_name(enum power power);
