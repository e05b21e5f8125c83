/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A request to the fleet, as the row ask/ID of STORE_FLEET:
 *
 *   {"at": wall, "changes": [{"node": "b", "others": ["c"], "change": {…}}],
 *    "files": {SHA256: base64}}
 *
 * which the messenger replaces by its answer, one item for each change, in their order:
 *
 *   {"at": wall, "answers": [{"name", "node", "uid", "generation", "result",
 *                             "error": {"code", "message", "help"}}]}
 *
 * A request may instead move a VM, {"at": wall, "move": {"name", "verb", "to", "stops",
 * "leavesSnapshots", "isOff"}}, with an answer of one item, or restore records that etcd has lost,
 * {"at": wall, "republish": ["web"]}, answered as changes are.
 *
 * "node" is the node for a new VM; if it cannot take the VM, because another command has taken its
 * last memory meanwhile, the first of "others" that can is used. The change is that of
 * store/desired/change_json.h. The command removes the row once it has read the answer.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "specs/base/json.h"

struct error;

/* One whose command was killed is removed by the messenger. */
enum { FLEET_ASK_KEPT_MS = 10 * 60 * 1000 };

json_t *fleet_ask_new(int64_t now_ms); /* caller owns */
void fleet_ask_add(json_t *ask, const char *node, json_t *change_take);
/* Of the change that was added last. */
void fleet_ask_add_other(json_t *ask, const char *node);

enum fleet_move_verb {
    FLEET_MOVE_BEGIN,    /* with its disk, which the other node fetches */
    FLEET_MOVE_CANCEL,   /* … and stays where it is */
    FLEET_MOVE_RECREATE, /* made again on another node, with a new disk; its own is offline */
    FLEET_MOVE_DESTROY,  /* given up; its node is offline */
    FLEET_MOVE_VERB_COUNT_
};

struct fleet_move {
    const char *name;
    enum fleet_move_verb verb;
    const char *to;        /* NULL: of FLEET_MOVE_DESTROY and FLEET_MOVE_CANCEL */
    bool stops;            /* of FLEET_MOVE_BEGIN: it may run … */
    bool leaves_snapshots; /* … and have snapshots, which stay behind */
    bool is_off;           /* the user says that the VM's node is off: nothing is waited for */
};

json_t *fleet_ask_new_move(int64_t now_ms, const struct fleet_move *move); /* caller owns */
bool fleet_ask_is_move(const json_t *ask);
/* Borrows from the request. False: it cannot be understood. */
bool fleet_ask_read_move(const json_t *ask, struct fleet_move *ret);

json_t *fleet_ask_new_republish(int64_t now_ms); /* fleet_ask_add_republish() it; caller owns */
void fleet_ask_add_republish(json_t *ask, const char *name);
bool fleet_ask_is_republish(const json_t *ask);

/* The answers; NULL: there are none yet. Borrowed. */
const json_t *fleet_ask_answers(const json_t *ask);

json_t *fleet_answer_of_error(const char *name, const char *node, const struct error *err);
/* 0, or -code with the error of an answer. */
int fleet_answer_error(const json_t *answer, struct error *err);
