/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What the network cards of machines have moved, as whole Ethernet frames: on a project network as
 * its switch counts (reconcilers/network/switch), since the machine joined it or the switch was
 * started; on a tap device as the kernel counts. QEMU counts nothing on a user network. Of a
 * machine on several networks it is the sum of those that are counted, or unknown while one is
 * missing.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "specs/base/json.h"

struct paths;
struct strings;
struct vm_status;

struct network_usage {
    bool is_known;
    uint64_t received_bytes, received_packets; /* by the guest */
    uint64_t sent_bytes, sent_packets;
};

/* To a switch's control socket: the line of this word is answered with a line that has an object,
 * of each VM's name to network_usage_to_json(). */
#define NETWORK_USAGE_REQUEST "count"
json_t *network_usage_to_json(const struct network_usage *usage); /* caller owns */

/* Adds those of the machine's networks whose switch has the counters. */
void network_usage_add_networks(struct strings *networks, const struct vm_status *status);

/*
 * Queries the switches of these networks at once and waits for at most a fifth of a second; a
 * switch that is stopped or restarting is missing in the result. Returns an object from network
 * names to the switches' answers; caller owns.
 */
json_t *network_usage_ask(const struct paths *paths, const struct strings *networks);

/* Of the machine that runs. `answers` as above; it may be NULL. */
void network_usage_read(const json_t *answers, const char *vm_name, const struct vm_status *status,
    struct network_usage *ret);
