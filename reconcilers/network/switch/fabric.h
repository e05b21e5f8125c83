/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What a project network's switch does with a frame: to which port it goes, or to slirp, which
 * makes the guest's connections to the world; what is answered here (DHCP, names); and what is
 * dropped: addresses that are another's, and ways out that are closed. No descriptors, no clock: it
 * is given frames and calls back with frames.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reconcilers/network/switch/packet.h"
#include "reconcilers/network/switch/port.h"

struct fabric;

struct fabric_port {
    struct switch_port *config; /* owned */
    uint32_t address;
    uint8_t mac[MAC_SIZE];
    struct fabric_egress *egress; /* owned: what `egress` stands for */
    /* Of the one that has the descriptors. */
    int fd;
    void *owner;
};

struct fabric_output {
    void (*to_port)(void *context, struct fabric_port *port, const uint8_t *frame, size_t n);
    void (*to_world)(void *context, const uint8_t *frame, size_t n);
    /* Finds a VM by its name, in any case, on another network than this one; NULL: there is none.
     */
    bool (*find_elsewhere)(
        void *context, const char *network, const char *name, uint32_t *ret_address);
    void *context;
};

struct fabric *fabric_new(const struct fabric_output *output);
void fabric_free(struct fabric *fabric); /* with its ports; NULL is fine */

/* Adds a port or changes the one of that VM. NULL: there are SWITCH_PORTS_MAX. */
struct fabric_port *fabric_put(struct fabric *fabric, struct switch_port *config_take);
void fabric_remove(struct fabric *fabric, struct fabric_port *port);
size_t fabric_count(const struct fabric *fabric);
struct fabric_port *fabric_at(const struct fabric *fabric, size_t i);
struct fabric_port *fabric_find(const struct fabric *fabric, const char *name); /* NULL: none */

/* A frame that a guest sent, and one that slirp sends. */
void fabric_from_port(
    struct fabric *fabric, struct fabric_port *port, const uint8_t *frame, size_t n);
void fabric_from_world(struct fabric *fabric, const uint8_t *frame, size_t n);
