/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The messenger of a node keeps the rows that the fleet's nodes share and the store of this host in
 * step. `vmctld --fleet` runs it as a process of its own; it commits to the store as any command
 * does.
 *
 *   connect -> read all rows at one revision -> check that they are this fleet's, and not older
 * than those seen before -> mirror -> register alive/N on a lease -> watch -> decide, publish,
 * answer
 *
 * It is level-triggered: whenever the watch or the lease ends, it starts over after 0.2 to 5
 * seconds and a random delay of up to 3, because 200 nodes may have lost the same member. A look
 * carries out what etcd says about this node's VMs, publishes their state and answers the requests
 * of this host's commands (parts.h). The row `link` has the state of the connection.
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
/* The lease expires unless the caller revokes it. NULL is fine. */
void messenger_free(struct messenger *messenger);

/* A process of this host has committed something: a bell has rung. */
void messenger_ring(struct messenger *messenger);
