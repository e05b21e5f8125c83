/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/fleet/parts.h"

#include <stdlib.h>
#include <string.h>

#include "controller/fleet/engine.h"
#include "controller/fleet/files.h"
#include "controller/fleet/hold.h"
#include "controller/fleet/member.h"
#include "controller/fleet/mirror.h"
#include "controller/fleet/tombstone.h"
#include "controller/loop/loop.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/strings.h"
#include "specs/fleet/fleet_ask.h"
#include "specs/fleet/fleet_config.h"
#include "specs/fleet/fleet_files.h"
#include "specs/fleet/fleet_keys.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"
#include "store/store.h"

enum { ROWS_MAX = 6, COMPARES_MAX = 5, RACE_MS = 100 };

struct republisher {
    struct member *member;
    struct op *op; /* a transaction on its way; NULL: none */
    struct engine_result result;
    struct loop_timer *again;
    char *row;    /* the request that is carried out; NULL: none */
    json_t *ask;  /* … as the command wrote it */
    json_t *done; /* the answers so far */
    struct vm_record record;
    struct strings rows, texts; /* that are written; "": deleted */
    struct file_writes files;
};

static void clear_vm(struct republisher *republisher)
{
    vm_record_clear(&republisher->record);
    republisher->record = (struct vm_record){.name = NULL};
    strings_clear(&republisher->rows);
    strings_clear(&republisher->texts);
    file_writes_clear(&republisher->files);
}

static void clear_request(struct republisher *republisher)
{
    clear_vm(republisher);
    free(TAKE_PTR(republisher->row));
    json_decref(TAKE_PTR(republisher->ask));
    json_decref(TAKE_PTR(republisher->done));
}

static void go_on(struct republisher *republisher);

static void go_on_later(void *context)
{
    go_on(context);
}

struct republisher *republisher_new(struct member *member)
{
    struct republisher *republisher = mem_new(struct republisher);
    republisher->member = member;
    republisher->again = loop_timer_new(member->loop, go_on_later, republisher);
    return republisher;
}

void republisher_free(struct republisher *republisher)
{
    if (republisher) {
        op_cancel(republisher->op);
        engine_result_clear(&republisher->result);
        loop_timer_free(republisher->again);
        clear_request(republisher);
        free(republisher);
    }
}

/* ---- answers ---- */

static const char *name_of(const struct republisher *republisher)
{
    const json_t *names = json_object_get(republisher->ask, "republish");
    const char *name = json_string_value(json_array_get(names, json_array_size(republisher->done)));
    return name ? name : "";
}

static void answer_vm(struct republisher *republisher, const char *result)
{
    const struct vm_desired *desired = republisher->record.desired;
    json_t *answer = json_object();
    json_put_text(answer, "name", name_of(republisher));
    json_put_text(answer, "node", republisher->member->config->node);
    json_put_text(answer, "uid", desired->uid);
    json_put_int(answer, "generation", (int64_t)desired->generation);
    json_put_text(answer, "result", result);
    (void)json_array_append_new(republisher->done, answer);
    clear_vm(republisher);
}

static void refuse_vm(struct republisher *republisher, const struct error *err)
{
    (void)json_array_append_new(republisher->done,
        fleet_answer_of_error(name_of(republisher), republisher->member->config->node, err));
    clear_vm(republisher);
}

/* ---- what is written ---- */

static void put_row_again(struct republisher *republisher, char *row_take, const char *text)
{
    strings_append(&republisher->rows, row_take);
    strings_append(&republisher->texts, text);
    free(row_take);
}

/* The record as the fleet has it: nothing of it is this host's. */
static struct vm_desired *record_of_fleet(
    const struct member *member, const struct vm_desired *here)
{
    struct vm_desired *next = vm_desired_copy(here);
    next->generation += here->fleet.is_ahead;
    next->revision = 0;
    next->halt_owner = 0;
    next->halt_boot[0] = '\0';
    next->fleet.is_ahead = false;
    next->fleet.base = 0;
    fleet_files_unplace(next->spec, member->paths->data_dir);
    return next;
}

/* An older life of it on another node ends: as that finds the mark. */
static int end_older(struct republisher *republisher, const char *node, struct error *err)
{
    const struct member *member = republisher->member;
    const char *name = name_of(republisher);
    cleanup_free char *row = fleet_row(FLEET_KIND_VM, node, name);
    const struct mirror_row *known = mirror_get(member->mirror, row);
    struct vm_desired *old =
        known ? vm_desired_read((struct bytes){known->text, strlen(known->text)}, err) : NULL;
    if (!known) {
        return 0;
    }
    if (!old) {
        return -(int)err->code;
    }
    cleanup_free char *mark = tombstone_text(member, old, member->config->node, old->uid);
    cleanup_free char *status = fleet_row(FLEET_KIND_STATUS, node, name);
    put_row_again(republisher, mem_strdup(row), "");
    put_row_again(republisher, mem_strdup(status), "");
    put_row_again(republisher, tombstone_row(node, old->uid), mark);
    vm_desired_free(old);
    return 0;
}

/* Whether the name is free, or of an older life of this VM. */
static int check_owner(struct republisher *republisher, struct error *err)
{
    const struct member *member = republisher->member;
    const struct vm_desired *here = republisher->record.desired;
    const char *name = name_of(republisher);
    cleanup_free char *row = fleet_row(FLEET_KIND_NAME, name, NULL);
    cleanup_json json_t *owner = mirror_json(member->mirror, row);
    const char *node = json_text(owner, "node");
    bool is_older = text_eq(json_text(owner, "uid"), here->uid) &&
                    json_int(owner, "epoch", 0) < (int64_t)here->fleet.epoch;
    if (!owner || text_eq(node, member->config->node)) {
        return 0;
    }
    return is_older && node
               ? end_older(republisher, node, err)
               : error_set(err, ERR_FLEET_NAME_TAKEN,
                     "vm '%s' is on node '%s' now, according to etcd", name, node ? node : "?");
}

static void commit_vm(struct republisher *republisher);

/* Begins a transaction, or answers at once. */
static int begin_vm(struct republisher *republisher, struct error *err)
{
    const struct member *member = republisher->member;
    const char *name = name_of(republisher);
    int rc = store_get(member->store, name, &republisher->record, err);
    const struct vm_desired *here = republisher->record.desired;
    if (rc < 0) {
        return rc;
    }
    if (!here || !here->fleet.epoch) {
        return error_set(err, ERR_VM_NOT_FOUND, "the fleet has no vm '%s' on this node", name);
    }
    struct tombstone tombstone;
    tombstone_find(member, name, here, &tombstone);
    bool is_given_up = here->fleet.is_fenced || tombstone.row;
    tombstone_clear(&tombstone);
    if (is_given_up) {
        return error_set(err, ERR_VM_INVALID_STATE,
            "vm '%s' was given up on this node, according to etcd", name);
    }
    cleanup_free char *vm_row = fleet_row(FLEET_KIND_VM, member->config->node, name);
    cleanup_json json_t *object = mirror_json(member->mirror, vm_row);
    const json_t *fleet = json_object_get(object, "fleet");
    if (object && !text_eq(json_text(object, "uid"), here->uid)) {
        return error_set(err, ERR_FLEET_NAME_TAKEN,
            "etcd has another vm '%s' for this node, which is not overwritten", name);
    }
    if (text_eq(json_text(object, "uid"), here->uid) &&
        json_int(fleet, "epoch", 0) >= (int64_t)here->fleet.epoch) {
        answer_vm(republisher, "unchanged");
        return 0;
    }
    rc = check_owner(republisher, err);
    struct vm_desired *next = record_of_fleet(member, here);
    cleanup_json json_t *json = vm_desired_to_json(next), *owner = json_object();
    cleanup_free char *text = json_dumps(json, JSON_COMPACT);
    json_put_text(owner, "node", member->config->node);
    json_put_text(owner, "uid", here->uid);
    json_put_int(owner, "epoch", (int64_t)here->fleet.epoch);
    cleanup_free char *owner_text = json_dumps(owner, JSON_COMPACT);
    cleanup_free char *hold = hold_text(member, member->config->node, name, next->spec);
    rc = rc == 0 ? file_writes_again(member, name, next->spec, &republisher->files, err) : rc;
    put_row_again(republisher, mem_strdup(vm_row), text);
    put_row_again(republisher, fleet_row(FLEET_KIND_NAME, name, NULL), owner_text);
    put_row_again(republisher, fleet_row(FLEET_KIND_HOLD, member->config->node, NULL), hold);
    vm_desired_free(next);
    if (rc == 0) {
        commit_vm(republisher);
    }
    return rc;
}

/* ---- the transaction ---- */

static void on_committed(void *context, const struct error *err)
{
    struct republisher *republisher = context;
    struct member *member = republisher->member;
    enum engine_outcome outcome = republisher->result.outcome;
    int64_t revision = republisher->result.revision;
    republisher->op = NULL;
    engine_result_clear(&republisher->result);
    if (outcome == ENGINE_SUCCEEDED) {
        member_note_rows(member, &republisher->rows, &republisher->texts, revision);
        log_info("fleet", "%s: in etcd again", name_of(republisher));
        answer_vm(republisher, "configured");
        go_on(republisher);
    } else if (outcome == ENGINE_FAILED) {
        clear_vm(republisher); /* the watch is about to show what was faster */
        loop_timer_start(republisher->again, RACE_MS);
    } else if (outcome == ENGINE_NOT_DONE && err) {
        refuse_vm(republisher, err);
        go_on(republisher);
    } else { /* whether it was done shows when all is read again */
        clear_request(republisher);
        member->look(member->context, true);
    }
}

/* Nothing of what it rests on has changed: rows that it writes are as they were. */
static void commit_vm(struct republisher *republisher)
{
    struct member *member = republisher->member;
    size_t n = republisher->rows.count;
    struct engine_write *writes = mem_calloc(n + republisher->files.n, sizeof(*writes));
    struct engine_compare *compares = mem_calloc(n, sizeof(*compares));
    char **keys = mem_calloc(n, sizeof(*keys));
    for (size_t i = 0; i < n; i++) {
        const char *row = republisher->rows.items[i], *text = republisher->texts.items[i];
        keys[i] = member_key(member, row);
        writes[i] = member_write(keys[i], text[0] ? text : NULL);
        compares[i] = member_if_unchanged(member, row, keys[i]);
    }
    for (size_t i = 0; i < republisher->files.n; i++) {
        writes[n + i] = republisher->files.items[i];
    }
    const struct engine_txn txn = {.compares = compares,
        .n_compares = n,
        .writes = writes,
        .n_writes = n + republisher->files.n};
    republisher->op = member->engine->ops->txn(
        member->engine, &txn, &republisher->result, on_committed, republisher);
    for (size_t i = 0; i < n; i++) {
        free(keys[i]);
    }
    free(keys);
    free(compares);
    free(writes);
}

/* ---- one request after another ---- */

static void go_on(struct republisher *republisher)
{
    const struct member *member = republisher->member;
    const json_t *names = json_object_get(republisher->ask, "republish");
    while (!republisher->op && republisher->row &&
           json_array_size(republisher->done) < json_array_size(names)) {
        struct error err = {.code = ERR_NONE};
        if (!member->is_up) {
            refuse_vm(republisher, &member->trouble);
        } else if (begin_vm(republisher, &err) < 0) {
            refuse_vm(republisher, &err);
        }
    }
    if (!republisher->op && republisher->row) {
        (void)member_answer(member, republisher->row, republisher->ask, republisher->done);
        clear_request(republisher);
        republisher_look(republisher);
    }
}

void republisher_look(struct republisher *republisher)
{
    const struct member *member = republisher->member;
    struct error err = {.code = ERR_NONE};
    cleanup_json json_t *asks = NULL;
    const char *row;
    json_t *ask;
    bool is_known = member->is_up || member->trouble.code == ERR_FLEET_FROZEN;
    if (republisher->op || republisher->row || !is_known) {
        return;
    }
    if (store_list_json_below(member->store, STORE_FLEET, "ask/", &asks, &err) < 0) {
        log_warn("fleet", "cannot read the requests: %s", err.message);
    }
    json_object_foreach(asks, row, ask)
    {
        if (!republisher->row && fleet_ask_is_republish(ask) && !fleet_ask_answers(ask)) {
            republisher->row = mem_strdup(row);
            republisher->ask = json_incref(ask);
            republisher->done = json_array();
        }
    }
    if (republisher->row) {
        go_on(republisher);
    }
}
