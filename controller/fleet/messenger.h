/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The messenger of a node: between the rows that the fleet's nodes share and the store of this
 * host. `vmctld --fleet` runs it, a process of its own; it commits to the store as any command
 * does.
 *
 *   connect -> read all rows at one revision -> are they those of our fleet, and not older than
 *   what was seen? -> mirror -> register alive/N on a lease -> watch -> decide, publish, requests
 *
 * Level-triggered: after any end of the watch or of the lease everything begins again, after 0.2 to
 * 5 seconds and up to 3 at random, as 200 nodes may have lost the same member. A look carries out
 * what etcd says about this node's VMs, publishes how they are and answers the requests of this
 * host's commands (parts.h). What it finds of the link is in the row `link`.
 */
#pragma once

#include <stdint.h>

struct engine;
struct fleet_config;
struct loop;
struct messenger;
struct paths;
struct store;

struct messenger_options {
    struct loop *loop;
    struct store *store;
    const struct paths *paths;
    struct engine *engine; /* all borrowed */
    const struct fleet_config *config;
    uint64_t seed;     /* of the delays */
    const char *fetch; /* the program that fetches disks: vmctl. NULL: none is fetched */
};

struct messenger *messenger_new(const struct messenger_options *options);
/* The lease is left to end by itself, unless the caller revokes it. NULL is fine. */
void messenger_free(struct messenger *messenger);

/* Something was committed here: a bell has rung. */
void messenger_ring(struct messenger *messenger);
