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
    char session[TEXT_ID_SIZE]; /* of this run of the messenger: what alive/N says */
    struct error trouble; /* why the fleet is out of reach, or frozen; ERR_NONE: it is neither */
    int64_t trouble_ms;   /* since when, by the loop's clock */
    json_t *refused;      /* VMs that this node does not take (refused.h) */
    bool is_up;           /* all rows were read, and this node is registered */
    void (*look)(void *context, bool is_wrong); /* something is to be done, after a moment; of
                                                 * `is_wrong` the rows are to be read again */
    void *context;
};

/* "/vmctl/1/home/vm/b/web" of its row; free() it. */
char *member_key(const struct member *member, const char *row);

/* A put, or a deletion with `text` NULL, of the row's key, which has to live as long. */
struct engine_write member_write(const char *key, const char *text);

/* That the row is as this host knows it, or not there. `key` is the row's, and has to live as long.
 */
struct engine_compare member_if_unchanged(
    const struct member *member, const char *row, const char *key);

/* What a transaction of our own has written at `revision`: a text for each row, "" of one that it
 * deleted. */
void member_note_rows(const struct member *member, const struct strings *rows,
    const struct strings *texts, int64_t revision);

/* Whether a VM may come to the node: it is there, is heard of, and takes new VMs. */
int member_check_node(const struct member *member, const char *node, struct error *err);

/* Whether the value of this node's alive/N is of another boot than `boot_id`: of a copy of this
 * host, with its machine-id and data directory, or of this host before it was restarted. */
bool member_is_of_other_boot(const json_t *alive, const char *boot_id);

/* Answers the request of a command, unless that took it back meanwhile. False: the answer could not
 * be kept, as on a full disk; the request is the next one again, which is for the next look. */
bool member_answer(
    const struct member *member, const char *row, const json_t *ask, const json_t *answers);
