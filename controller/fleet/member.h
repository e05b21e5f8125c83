/* SPDX-License-Identifier: MPL-2.0 */
/* What the parts of the messenger (messenger.h) share. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "controller/fleet/engine.h"
#include "specs/base/error.h"
#include "specs/base/json.h"
#include "specs/base/text.h"

struct fleet_config;
struct loop;
struct mirror;
struct strings;
struct paths;
struct store;

struct member {
    struct loop *loop;
    struct store *store;
    const struct paths *paths;
    struct engine *engine;
    const struct fleet_config *config;
    struct mirror *mirror;
    char *prefix;               /* of the fleet's keys */
    char session[TEXT_ID_SIZE]; /* of this run of the messenger, as in alive/N */
    struct error trouble; /* why the fleet is unreachable or frozen; ERR_NONE: it is neither */
    int64_t trouble_ms;   /* since when, by the loop's clock */
    json_t *refused;      /* VMs that this node does not take (refused.h) */
    bool is_up;           /* all rows were read, and this node is registered */
    void (*look)(void *context, bool is_wrong); /* schedules a look; `is_wrong`: after all rows
                                                 * were read again */
    void *context;
};

/* "/vmctl/1/home/vm/b/web" of its row; free() it. */
char *member_key(const struct member *member, const char *row);

/* Puts the row's key, or deletes it if `text` is NULL. The result borrows both. */
struct engine_write member_write(const char *key, const char *text);

/* Holds while the row is as this host knows it, or as absent. `key` is the row's; it is borrowed.
 */
struct engine_compare member_if_unchanged(
    const struct member *member, const char *row, const char *key);

/* Records what an own transaction wrote at `revision`: a text for each row, "" if it was deleted.
 */
void member_note_rows(const struct member *member, const struct strings *rows,
    const struct strings *texts, int64_t revision);

/* Checks that the node exists, is online and takes new VMs. -ERR_FLEET_NO_NODE,
 * -ERR_FLEET_NODE_LOST. */
int member_check_node(const struct member *member, const char *node, struct error *err);

/* Whether this node's alive/N was written in another boot than `boot_id`: by a copy of this host
 * with the same machine-id and data directory, or by this host before a restart. */
bool member_is_of_other_boot(const json_t *alive, const char *boot_id);

/* Answers the request of a command, unless the command has withdrawn it. False: the answer could
 * not be stored, for example on a full disk; the next look handles the request again. */
bool member_answer(
    const struct member *member, const char *row, const json_t *ask, const json_t *answers);
