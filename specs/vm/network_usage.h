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

/* Adds the networks that the machine is on whose switch has to be asked for them. */
void network_usage_add_networks(struct strings *networks, const struct vm_status *status);

/*
 * Asks the switches of these networks, all at once, and waits for at most a fifth of a second: one
 * that is halted, or is started again just now, is missing in the answer. Caller owns; an object of
 * each network's name to a switch's answer.
 */
json_t *network_usage_ask(const struct paths *paths, const struct strings *networks);

/* Of the machine that runs. `answers` as above; it may be NULL. */
void network_usage_read(const json_t *answers, const char *vm_name, const struct vm_status *status,
    struct network_usage *ret);
