/* SPDX-License-Identifier: MPL-2.0 */
/* Shared by controller.c (when to look), pass.c (one look), host.c (what reconcilers may ask). */
#pragma once

#include "controller/controller.h"
#include "controller/queue/name_map.h"

struct desired_watch;
struct loop_io;
struct loop_timer;

/* What is remembered of a key between passes; dropped when all is zero. */
struct key_state {
    char *name;
    uint32_t failures; /* in a row: verdicts of failure, failed commits */
    uint32_t stales;   /* commits in a row that lost a race */
    uint32_t spins;    /* passes in a row that wrote nothing and asked for another at once */
};

/* A pass whose patch the writer has not committed yet. */
struct pass {
    struct controller *controller;
    struct pass *next, **link; /* in controller->passes */
    struct key key;
    char *name; /* the key's */
    struct verdict verdict;
    struct patch patch;              /* without its batch, */
    const struct store_batch *batch; /* which the writer has, and frees after the answer */
};

struct controller {
    struct reconciler_host host; /* first: its functions are given its address */
    struct store_writer *writer;
    struct reconciler *reconcilers[KEY_KIND_COUNT_]; /* NULL: nothing handles such keys */

    struct workqueue *queue;
    struct name_map states[KEY_KIND_COUNT_]; /* name → struct key_state, owned */
    struct pass *passes;
    struct name_map pending_leases; /* key → the pass that takes it */
    uint64_t n_passes;
    uint64_t n_read;      /* passes made and VMs listed since the store was last unloaded */
    uint64_t start_ticks; /* of this process; 0: could not be read */

    struct desired_watch *desired_watch;
    struct loop_io *writer_io;
    struct loop_timer *resync_timer, *meta_timer;
    struct name_map unobserved; /* VMs that existed at the start: name → name, owned; none: all had
                                 * a pass, which the session's record says */
    bool is_starting;           /* the scan under way is the first one, */
    bool is_listing_all;        /* or a resync */

    uint64_t rng_state;
    char *lease_answer; /* lease_holder()'s last */
};

/* host.c */
void controller_host_init(struct controller *controller, const struct controller_options *options);

/* pass.c: one pass over a key that was just taken; ends with workqueue_done(), now or later. */
void controller_pass(struct controller *controller, struct key key);
/* controller.c: a pass of the key has shown what is so, and what it changed is written. */
void controller_note_observed(struct controller *controller, struct key key);
/* Forgets the passes the writer will not answer any more, and what is remembered of keys. */
void controller_drop_passes(struct controller *controller);
