/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/fleet/parts.h"

#include <stdlib.h>
#include <string.h>

#include "controller/fleet/engine.h"
#include "controller/fleet/member.h"
#include "controller/fleet/mirror.h"
#include "controller/fleet/refused.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fields.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/strings.h"
#include "specs/fleet/fleet_config.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"
#include "store/session.h"
#include "store/store.h"

enum { WRITES_MAX = 60, BYTES_MAX = 512 << 10 };

struct publisher {
    struct member *member;
    struct op *op; /* a transaction on its way; NULL: none */
    struct engine_result result;
    struct strings rows, texts; /* that it writes; "": deleted */
    bool is_due;                /* to look again when it is over */
};

struct publisher *publisher_new(struct member *member)
{
    struct publisher *publisher = mem_new(struct publisher);
    publisher->member = member;
    return publisher;
}

void publisher_free(struct publisher *publisher)
{
    if (publisher) {
        op_cancel(publisher->op);
        engine_result_clear(&publisher->result);
        strings_clear(&publisher->rows);
        strings_clear(&publisher->texts);
        free(publisher);
    }
}

/* ---- what is to be seen ---- */

/* Of a VM that is this host's alone: what a row of `vmctl list` has, and no more. */
static json_t *desired_public(const struct vm_desired *desired)
{
    static const char *const paths[] = {
        "backend", "vcpus", "memoryMib", "diskGib", "network.mode", "network.project", "labels"};
    struct vm_desired *seen = vm_desired_new(vm_spec_new(desired->spec->name), desired->created_ms);
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        (void)fields_take(&vm_spec_fields, seen->spec, desired->spec, paths[i]);
    }
    memcpy(seen->uid, desired->uid, TEXT_ID_SIZE);
    seen->generation = desired->generation;
    seen->power = desired->power;
    seen->is_saved = desired->is_saved;
    seen->is_deleting = desired->is_deleting;
    json_t *json = vm_desired_to_json(seen);
    vm_desired_free(seen);
    return json;
}

static void put_refusal(json_t *json, const json_t *refusal, const struct vm_status *status)
{
    struct vm_status *refused = refused_status(refusal, status);
    json_put(json, "status", vm_status_public(refused));
    vm_status_free(refused);
}

/* etcd has lost it. Since when is not known: since the VM was last as it is. */
static void put_orphaned(json_t *json, const struct vm_status *status)
{
    struct vm_status *orphaned = vm_status_copy(status);
    vm_status_set(orphaned, CONDITION_ORPHANED, CONDITION_TRUE, REASON_FLEET_RECORD_MISSING,
        "etcd lost its record; to restore it: vmctl fleet republish",
        status->conditions[CONDITION_READY].last_transition_ms);
    json_put(json, "status", vm_status_public(orphaned));
    vm_status_free(orphaned);
}

/* NULL: the VM is not refused, or is another one of the name. */
static const json_t *refusal_of(const struct member *member, const struct vm_record *record)
{
    const json_t *refusal = json_object_get(member->refused, record->name);
    return text_eq(json_text(refusal, "uid"), record->desired->uid) ? refusal : NULL;
}

/* Their names, for those who may lose them; no member without any. */
static void put_snapshots(json_t *json, const struct vm_status *status)
{
    json_t *names = json_array();
    for (uint32_t i = 0; status && i < status->n_snapshots; i++) {
        (void)json_array_append_new(names, json_string(status->snapshots[i].name));
    }
    if (json_array_size(names) > 0) {
        json_put(json, "snapshots", names);
    } else {
        json_decref(names);
    }
}

/* free() it. */
static char *text_of(
    const struct publisher *publisher, const struct vm_record *record, const struct session *now)
{
    const struct vm_status *status = record->status;
    const json_t *refusal = refusal_of(publisher->member, record);
    cleanup_json json_t *json = json_object();
    bool is_known = status && record->desired && text_eq(status->uid, record->desired->uid) &&
                    now->state == SESSION_SERVES &&
                    (now->has_observed_all || text_eq(status->observer, now->id));
    json_put_text(json, "session", is_known ? publisher->member->session : "");
    if (!record->desired->fleet.epoch) {
        json_put(json, "desired", desired_public(record->desired));
    }
    cleanup_free char *vm_row =
        fleet_row(FLEET_KIND_VM, publisher->member->config->node, record->name);
    bool is_orphaned =
        record->desired->fleet.epoch && !mirror_get(publisher->member->mirror, vm_row);
    if (is_orphaned && status) {
        put_orphaned(json, status);
    } else if (refusal) {
        put_refusal(json, refusal, status);
    } else if (status) {
        json_put(json, "status", vm_status_public(status));
    }
    put_snapshots(json, status);
    return json_dumps(json, JSON_COMPACT);
}

/* Of a VM that is not here, as it was not taken. free() it. */
static char *text_of_refused(const struct publisher *publisher, const json_t *refusal)
{
    cleanup_json json_t *json = json_object();
    json_put_text(json, "session", publisher->member->session);
    put_refusal(json, refusal, NULL);
    return json_dumps(json, JSON_COMPACT);
}

/* ---- the differences ---- */

static bool has_room(const struct publisher *publisher, size_t n_bytes)
{
    return publisher->rows.count < WRITES_MAX && n_bytes < BYTES_MAX;
}

struct leftovers {
    struct publisher *publisher;
    const struct vm_list *list;
};

static void add_leftover(void *context, const struct fleet_key *key, const struct mirror_row *row)
{
    const struct leftovers *leftovers = context;
    struct publisher *publisher = leftovers->publisher;
    bool is_there = json_object_get(publisher->member->refused, key->second) != NULL;
    for (size_t i = 0; i < leftovers->list->count && !is_there; i++) {
        const struct vm_record *record = &leftovers->list->records[i];
        is_there = text_eq(record->name, key->second) &&
                   !(record->desired && record->desired->fleet.is_fenced);
    }
    if (!is_there && has_room(publisher, 0)) {
        strings_append(&publisher->rows, row->row);
        strings_append(&publisher->texts, "");
    }
}

static bool has_desired(const struct vm_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++) {
        if (text_eq(list->records[i].name, name)) {
            return list->records[i].desired != NULL;
        }
    }
    return false;
}

/* Adds the row unless it is as it was; returns the bytes that it adds. */
static size_t publish_row(struct publisher *publisher, const char *name, const char *text)
{
    const struct member *member = publisher->member;
    cleanup_free char *row = fleet_row(FLEET_KIND_STATUS, member->config->node, name);
    const struct mirror_row *known = mirror_get(member->mirror, row);
    if (known && text_eq(known->text, text)) {
        return 0;
    }
    strings_append(&publisher->rows, row);
    strings_append(&publisher->texts, text);
    return strlen(text);
}

/* One that another node has by now is that node's to show. */
static bool is_shown(const struct vm_record *record)
{
    return record->desired && !record->desired->fleet.is_fenced;
}

static int find_differences(struct publisher *publisher, struct error *err)
{
    const struct member *member = publisher->member;
    struct vm_list list = {.count = 0};
    struct session now = {.state = SESSION_NONE};
    size_t n_bytes = 0;
    const char *name;
    json_t *refusal;
    int rc = session_read(member->store, &now, err);
    rc = rc == 0 ? store_list(member->store, &list, err) : rc;
    if (rc < 0) {
        return rc;
    }
    for (size_t i = 0; i < list.count && has_room(publisher, n_bytes); i++) {
        if (!is_shown(&list.records[i])) {
            continue;
        }
        cleanup_free char *text = text_of(publisher, &list.records[i], &now);
        n_bytes += publish_row(publisher, list.records[i].name, text);
    }
    json_object_foreach(member->refused, name, refusal)
    {
        if (!has_desired(&list, name) && has_room(publisher, n_bytes)) {
            cleanup_free char *text = text_of_refused(publisher, refusal);
            n_bytes += publish_row(publisher, name, text);
        }
    }
    struct leftovers leftovers = {publisher, &list};
    mirror_each_of(
        member->mirror, FLEET_KIND_STATUS, member->config->node, add_leftover, &leftovers);
    publisher->is_due = !has_room(publisher, n_bytes);
    vm_list_clear(&list);
    return 0;
}

/* ---- sending ---- */

static void on_published(void *context, const struct error *err)
{
    struct publisher *publisher = context;
    struct member *member = publisher->member;
    bool is_done = publisher->result.outcome == ENGINE_SUCCEEDED;
    publisher->op = NULL;
    if (is_done) {
        member_note_rows(member, &publisher->rows, &publisher->texts, publisher->result.revision);
    }
    if (err) {
        log_warn("fleet", "cannot publish: %s", err->message);
    }
    strings_clear(&publisher->rows);
    strings_clear(&publisher->texts);
    engine_result_clear(&publisher->result);
    if (publisher->is_due || !is_done) { /* not done: another messenger has this node's place */
        publisher->is_due = false;
        member->look(member->context, !is_done);
    }
}

/* Only while alive/N is ours: what another life of this node has written is not overwritten. */
static void send_rows(struct publisher *publisher)
{
    struct member *member = publisher->member;
    cleanup_free char *alive_row = fleet_row(FLEET_KIND_ALIVE, member->config->node, NULL);
    cleanup_free char *alive = member_key(member, alive_row);
    const struct mirror_row *ours = mirror_get(member->mirror, alive_row);
    const struct engine_compare compare = {
        .condition = ENGINE_IF_REVISION, .key = alive, .revision = ours ? ours->mod_revision : 0};
    struct engine_write writes[WRITES_MAX];
    char *keys[WRITES_MAX];
    size_t n = publisher->rows.count;
    for (size_t i = 0; i < n; i++) {
        const char *text = publisher->texts.items[i];
        keys[i] = member_key(member, publisher->rows.items[i]);
        writes[i] = member_write(keys[i], text[0] ? text : NULL);
    }
    const struct engine_txn txn = {
        .compares = &compare, .n_compares = 1, .writes = writes, .n_writes = n};
    publisher->op =
        member->engine->ops->txn(member->engine, &txn, &publisher->result, on_published, publisher);
    for (size_t i = 0; i < n; i++) {
        free(keys[i]);
    }
}

void publisher_look(struct publisher *publisher)
{
    struct error err = {.code = ERR_NONE};
    if (publisher->op) {
        publisher->is_due = true;
        return;
    }
    if (find_differences(publisher, &err) < 0) {
        log_warn("fleet", "cannot read the VMs: %s", err.message);
    }
    if (publisher->rows.count > 0) {
        send_rows(publisher);
    }
}
