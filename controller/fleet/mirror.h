/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The rows that the nodes of a fleet share, as last read: in memory with the revisions that
 * transactions compare, and in the table STORE_FLEET for the commands of this host, where rows of
 * VMs also have a summary (specs/fleet/fleet_summary.h). Each commit rings the status bell, for
 * commands that wait for VMs of other nodes.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "specs/base/json.h"
#include "specs/fleet/fleet_keys.h"

struct engine_event;
struct engine_rows;
struct error;
struct mirror;
struct store;

struct mirror_row {
    char *row; /* the key without the fleet's prefix */
    char *text;
    int64_t mod_revision;
};

struct mirror *mirror_new(struct store *store, const char *prefix);
void mirror_free(struct mirror *mirror); /* NULL is fine */

/* Takes all rows of one revision, and forgets others. After an error of the store the memory has
 * them all the same. */
int mirror_replace(
    struct mirror *mirror, const struct engine_rows *rows, int64_t now_ms, struct error *err);
int mirror_update(struct mirror *mirror, const struct engine_event *events, size_t n,
    int64_t now_ms, struct error *err);

/* Takes what an own transaction has written before the watch reports it. `text` NULL: deleted. */
void mirror_note(struct mirror *mirror, const char *row, const char *text, int64_t revision);

const struct mirror_row *mirror_get(const struct mirror *mirror, const char *row); /* NULL: none */
json_t *mirror_json(const struct mirror *mirror, const char *row); /* caller owns; NULL: none, or
                                                                    * not an object */

/* Calls back with each row of a kind. The key is borrowed; the callback must not change the mirror.
 */
typedef void mirror_each_fn(
    void *context, const struct fleet_key *key, const struct mirror_row *row);
void mirror_each(
    const struct mirror *mirror, enum fleet_kind kind, mirror_each_fn *each, void *context);
/* Only those of one node, for a kind whose rows begin with the node. */
void mirror_each_of(const struct mirror *mirror, enum fleet_kind kind, const char *node,
    mirror_each_fn *each, void *context);
