/* SPDX-License-Identifier: MPL-2.0 */
/* What is outside of a project network, by slirp: the connections that its guests make, and the
 * ports of this host that lead to them. One in a process. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reconcilers/network/switch/port.h"

/* Starts slirp for a network (its first 24 bits, in host order), unless it runs. It gives frames
 * for guests to `send`. False: it does not start. */
bool world_start(uint32_t network, void (*send)(const uint8_t *frame, size_t n));

/* A frame of a guest; none before the start. */
void world_input(const uint8_t *frame, size_t n);

/* The forwards of one port that are made, and one that could not be. All zero at first. */
struct world_forwards {
    struct spec_forward *list;
    size_t n;
    char *failed_port; /* "tcp/8080"; NULL: all are made */
    char *failure;
};

/* Removes those that `wanted` has not; NULL: all. Of every port before any is added: it may free
 * a port of the host that another is to get. */
void world_remove_forwards(struct world_forwards *forwards, const struct switch_port *wanted);
void world_add_forwards(
    struct world_forwards *forwards, const struct switch_port *wanted, uint32_t guest);
void world_clear_forwards(struct world_forwards *forwards); /* removes all, and frees */

/* Before poll(2): adds what slirp waits for by `add`, which returns an index, with POLL… bits, and
 * lowers the time. After it: handles what `get` returns for an index. */
void world_prepare(uint32_t *timeout_ms, int (*add)(int fd, short events));
void world_handle(bool has_failed, short (*get)(int index));
