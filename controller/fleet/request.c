/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/fleet/parts.h"

#include <stdlib.h>
#include <string.h>

#include "controller/fleet/engine.h"
#include "controller/fleet/files.h"
#include "controller/fleet/hold.h"
#include "controller/fleet/member.h"
#include "controller/fleet/mirror.h"
#include "controller/fleet/refused.h"
#include "controller/loop/loop.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/enum_names.h"
#include "specs/base/error.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/fleet/fleet_ask.h"
#include "specs/fleet/fleet_config.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"
#include "store/batch.h"
#include "store/bell.h"
#include "store/desired/change_json.h"
#include "store/store.h"

enum {
    LOST_RACES_MAX = 100,
    LOST_RACE_MS = 100, /* at most: those who lost to each other do not meet again */
    TROUBLE_MS = 5000,  /* so long a request waits for a link that was lost */
};

/* One change of a request: where its VM is, or shall be, and what becomes of it. */
struct work {
    struct change_copy copy;
    char *node;
    char *name_row, *vm_row, *hold_row;
    struct vm_record record; /* of etcd */
    struct vm_desired *next;
    struct change_outcome outcome;
    char *text; /* of vm/N/V */
    char *hold; /* of hold/N; NULL: it stays */
    struct file_writes files;
};

struct requests {
    struct member *member;
    struct op *op; /* a transaction on its way; NULL: none */
    struct engine_result result;
    struct loop_timer *again;
    char *row;    /* the request that is carried out; NULL: none */
    json_t *ask;  /* … as the command wrote it */
    json_t *done; /* the answers so far */
    struct work work;
    unsigned n_lost; /* races of this change */
};

/* All but what the request says. */
static void work_forget_node(struct work *work)
{
    free(TAKE_PTR(work->node));
    free(TAKE_PTR(work->vm_row));
    free(TAKE_PTR(work->hold_row));
    free(TAKE_PTR(work->text));
    free(TAKE_PTR(work->hold));
    file_writes_clear(&work->files);
    vm_record_clear(&work->record);
    vm_desired_free(TAKE_PTR(work->next));
    change_outcome_clear(&work->outcome);
    work->outcome = (struct change_outcome){.result = 0};
}

static void work_clear(struct work *work)
{
    work_forget_node(work);
    change_copy_clear(&work->copy);
    free(work->name_row);
    *work = (struct work){.node = NULL};
}

static void request_clear(struct requests *requests)
{
    work_clear(&requests->work);
    free(TAKE_PTR(requests->row));
    json_decref(TAKE_PTR(requests->ask));
    json_decref(TAKE_PTR(requests->done));
    requests->n_lost = 0;
}

void requests_free(struct requests *requests)
{
    if (requests) {
        op_cancel(requests->op);
        engine_result_clear(&requests->result);
        loop_timer_free(requests->again);
        request_clear(requests);
        free(requests);
    }
}

/* ---- which one ---- */

/* Those whose commands were killed are cleared away; *ret_row is the oldest that has no answer. */
static int find_request(struct requests *requests, char **ret_row, json_t **ret, struct error *err)
{
    const struct member *member = requests->member;
    int64_t now_ms = clock_wall_ms(loop_clock(member->loop));
    cleanup_json json_t *asks = NULL;
    struct store_batch *batch = store_batch_new();
    const char *row;
    json_t *ask;
    int rc = store_list_json_below(member->store, STORE_FLEET, "ask/", &asks, err);
    json_object_foreach(asks, row, ask)
    {
        bool is_stale = now_ms - json_int(ask, "at", 0) > FLEET_ASK_KEPT_MS;
        bool is_older = !*ret || json_int(ask, "at", 0) < json_int(*ret, "at", 0);
        if (is_stale) {
            store_batch_put_json(batch, STORE_FLEET, row, NULL);
        } else if (!fleet_ask_answers(ask) && !fleet_ask_is_move(ask) &&
                   !fleet_ask_is_republish(ask) && is_older) {
            free(*ret_row);
            json_decref(*ret);
            *ret_row = mem_strdup(row);
            *ret = json_incref(ask);
        }
    }
    if (rc == 0 && !store_batch_is_empty(batch)) {
        rc = store_commit(member->store, batch, err);
    }
    store_batch_free(batch);
    return rc;
}

/* ---- the answer ---- */

static bool answer_all(struct requests *requests)
{
    bool is_kept = member_answer(requests->member, requests->row, requests->ask, requests->done);
    request_clear(requests);
    return is_kept;
}

static void answer_done(struct requests *requests)
{
    const struct work *work = &requests->work;
    json_t *answer = json_object();
    json_put_text(answer, "name", work->copy.name);
    json_put_text(answer, "node", work->node);
    json_put_text(answer, "uid", work->next->uid);
    json_put_int(answer, "generation", (int64_t)work->next->generation);
    json_put_text(answer, "result", enum_names_at(&change_result_words, work->outcome.result));
    (void)json_array_append_new(requests->done, answer);
    work_clear(&requests->work);
    requests->n_lost = 0;
}

static void answer_refused(struct requests *requests, const struct error *err)
{
    const struct work *work = &requests->work;
    (void)json_array_append_new(
        requests->done, fleet_answer_of_error(work->copy.name, work->node, err));
    work_clear(&requests->work);
    requests->n_lost = 0;
}

/* ---- where ---- */

static int find_owner(const struct member *member, struct work *work, const char *asked,
    const json_t *owner, struct error *err)
{
    const char *name = work->copy.name, *node = json_text(owner, "node");
    if (!owner && !work->copy.spec) {
        return error_set(err, ERR_VM_NOT_FOUND, "there is no vm '%s' in the fleet", name);
    }
    if (owner && asked && !text_eq(asked, node)) {
        work->node = mem_strdup(node);
        (void)error_set(err, ERR_FLEET_NAME_TAKEN, "vm '%s' is on node '%s', not on '%s'", name,
            node ? node : "?", asked);
        return error_help(err, "to move it there: vmctl move %s --to %s", name, asked);
    }
    work->node = mem_strdup(owner ? node : asked);
    if (!work->node) {
        return error_set(err, ERR_FLEET_NO_NODE, "no node is given for vm '%s'", name);
    }
    if (owner) {
        return 0;
    }
    cleanup_free char *status = fleet_row(FLEET_KIND_STATUS, work->node, name);
    int rc = member_check_node(member, work->node, err);
    if (rc == 0 && mirror_get(member->mirror, status)) {
        rc = error_set(err, ERR_FLEET_NAME_TAKEN,
            "node '%s' has its own vm '%s', which is not the fleet's", work->node, name);
    }
    return rc;
}

/* ---- what ---- */

static int no_volume(void *context, const struct vm_desired *desired,
    const struct spec_volume *volume, struct error *err)
{
    (void)context;
    (void)desired;
    (void)volume;
    return error_set(err, ERR_VM_INVALID_STATE, "volumes are attached on the VM's node");
}

/* Of the request and the VM's place in it: the same when it is carried out once more. */
static void make_token(const struct requests *requests, char *ret)
{
    char digest[DIGEST_SIZE];
    cleanup_free char *text = mem_printf("%s %zu", requests->row, json_array_size(requests->done));
    digest_text(text, digest);
    memcpy(ret, digest, TEXT_ID_SIZE - 1);
    ret[TEXT_ID_SIZE - 1] = '\0';
}

static void take_token(char *next, const char *before, const char *token)
{
    if (!text_eq(next, before)) {
        memcpy(next, token, TEXT_ID_SIZE);
    }
}

/* It was carried out before, by a messenger that was killed, or was not answered. */
static bool is_done_already(const struct vm_desired *object, const char *token)
{
    return object &&
           (text_eq(object->uid, token) || text_eq(object->restart_token, token) ||
               text_eq(object->recreate_token, token) || text_eq(object->provision_token, token));
}

static int read_record(const struct member *member, struct work *work, struct error *err)
{
    cleanup_free char *status_row = fleet_row(FLEET_KIND_STATUS, work->node, work->copy.name);
    const struct mirror_row *row = mirror_get(member->mirror, work->vm_row);
    cleanup_json json_t *json = mirror_json(member->mirror, status_row);
    cleanup_free char *status =
        json ? json_dumps(json_object_get(json, "status"), JSON_COMPACT) : NULL;
    struct error ignored = {.code = ERR_NONE};
    work->record.name = mem_strdup(work->copy.name);
    if (row) {
        work->record.desired = vm_desired_read((struct bytes){row->text, strlen(row->text)}, err);
    }
    if (row && status) {
        work->record.status = vm_status_read((struct bytes){status, strlen(status)}, &ignored);
    }
    return row && !work->record.desired ? -(int)err->code : 0;
}

static int decide_change(struct requests *requests, struct error *err)
{
    /* Its node takes the ports when it starts. */
    static const struct change_host host = {.check_attach = no_volume};
    const struct member *member = requests->member;
    struct work *work = &requests->work;
    const struct vm_desired *before = work->record.desired;
    char token[TEXT_ID_SIZE];
    make_token(requests, token);
    const struct change_input input = {.change = &work->copy.change,
        .record = &work->record,
        .host = &host,
        .now_ms = clock_wall_ms(loop_clock(member->loop)),
        .is_of_fleet = true};
    if (is_done_already(before, token)) {
        work->next = vm_desired_copy(before);
        work->outcome.result = text_eq(before->uid, token) ? CHANGE_CREATED : CHANGE_REQUESTED;
        return 0;
    }
    int rc = change_decide(&input, &work->next, &work->outcome, err);
    if (rc < 0) {
        return rc;
    }
    if (!before) {
        memcpy(work->next->uid, token, TEXT_ID_SIZE);
        work->next->fleet.epoch = 1;
        work->next->fleet.home = mem_strdup(member->config->node);
    }
    take_token(work->next->restart_token, before ? before->restart_token : "", token);
    take_token(work->next->recreate_token, before ? before->recreate_token : "", token);
    take_token(work->next->provision_token, before ? before->provision_token : "", token);
    return 0;
}

/* ---- the transaction ---- */

static void carry_on(struct requests *requests);

static int64_t pause_of(const struct requests *requests)
{
    const char *session = requests->member->session; /* another one on each node */
    unsigned odd = (unsigned char)session[requests->n_lost % (TEXT_ID_SIZE - 1)];
    return 1 + odd * 37 % LOST_RACE_MS;
}

static void carry_on_later(void *context)
{
    carry_on(context);
}

static void on_committed(void *context, const struct error *err)
{
    struct requests *requests = context;
    struct member *member = requests->member;
    enum engine_outcome outcome = requests->result.outcome;
    int64_t revision = requests->result.revision;
    requests->op = NULL;
    engine_result_clear(&requests->result);
    if (outcome == ENGINE_SUCCEEDED) {
        mirror_note(member->mirror, requests->work.vm_row, requests->work.text, revision);
        if (requests->work.hold) {
            mirror_note(member->mirror, requests->work.hold_row, requests->work.hold, revision);
        }
        answer_done(requests);
        carry_on(requests);
    } else if (outcome == ENGINE_FAILED && ++requests->n_lost < LOST_RACES_MAX) {
        work_clear(&requests->work); /* the watch is about to show what was faster */
        loop_timer_start(requests->again, pause_of(requests));
    } else if (outcome == ENGINE_FAILED) {
        struct error lost = {.code = ERR_NONE};
        (void)error_set(&lost, ERR_VM_CONFLICT, "vm '%s' keeps being changed by other commands",
            requests->work.copy.name);
        answer_refused(requests, &lost);
        carry_on(requests);
    } else if (outcome == ENGINE_NOT_DONE && err) {
        answer_refused(requests, err);
        carry_on(requests);
    } else { /* whether it was done shows when all is read again */
        request_clear(requests);
        member->look(member->context, true);
    }
}

static void commit_change(struct requests *requests)
{
    struct member *member = requests->member;
    struct work *work = &requests->work;
    const struct mirror_row *row = mirror_get(member->mirror, work->vm_row);
    cleanup_free char *name = member_key(member, work->name_row);
    cleanup_free char *vm = member_key(member, work->vm_row);
    cleanup_free char *hold = member_key(member, work->hold_row);
    cleanup_json json_t *owner = json_object(), *json = vm_desired_to_json(work->next);
    json_put_text(owner, "node", work->node);
    json_put_text(owner, "uid", work->next->uid);
    json_put_int(owner, "epoch", (int64_t)work->next->fleet.epoch);
    cleanup_free char *owner_text = json_dumps(owner, JSON_COMPACT);
    work->text = json_dumps(json, JSON_COMPACT);
    const struct engine_compare compares[] = {member_if_unchanged(member, work->vm_row, vm),
        {.condition = row ? ENGINE_IF_PRESENT : ENGINE_IF_ABSENT, .key = name},
        member_if_unchanged(member, work->hold_row, hold)};
    struct engine_write *writes = mem_calloc(3 + work->files.n, sizeof(*writes));
    size_t n_writes = 1;
    writes[0] = member_write(vm, work->text);
    if (!row) {
        writes[n_writes++] = member_write(name, owner_text);
    }
    if (work->hold) {
        writes[n_writes++] = member_write(hold, work->hold);
    }
    for (size_t i = 0; i < work->files.n; i++) {
        writes[n_writes++] = work->files.items[i];
    }
    const struct engine_txn txn = {.compares = compares,
        .n_compares = work->hold ? 3 : 2,
        .writes = writes,
        .n_writes = n_writes};
    requests->op =
        member->engine->ops->txn(member->engine, &txn, &requests->result, on_committed, requests);
    free(writes);
}

/* A VM that is new, or of another size. */
static int check_size(const struct member *member, struct work *work, struct error *err)
{
    const struct vm_desired *before = work->record.desired;
    const struct vm_spec *spec = work->next->spec, *old = before ? before->spec : NULL;
    bool grows = !old || spec->memory_mib > old->memory_mib;
    if (old && spec->memory_mib == old->memory_mib && spec->vcpus == old->vcpus) {
        return 0;
    }
    work->hold = hold_text(member, work->node, spec->name, spec);
    return grows ? hold_check(member, work->node, spec, err) : 0;
}

/* What shall be where the VM is, or is to be by the request. */
static int decide_there(
    struct requests *requests, const char *asked, const json_t *owner, struct error *err)
{
    const struct member *member = requests->member;
    struct work *work = &requests->work;
    int rc = find_owner(member, work, asked, owner, err);
    if (rc < 0) {
        return rc;
    }
    work->vm_row = fleet_row(FLEET_KIND_VM, work->node, work->copy.name);
    work->hold_row = fleet_row(FLEET_KIND_HOLD, work->node, NULL);
    rc = read_record(member, work, err);
    rc = rc == 0 ? decide_change(requests, err) : rc;
    rc = rc == 0 && work->copy.spec ? refused_foresee(member, work->node, work->next, err) : rc;
    return rc == 0 ? check_size(member, work, err) : rc;
}

/* The node that is asked for; of a VM that is on another one of those named, that one. */
static const char *asked_node(const json_t *item, const json_t *owner)
{
    const json_t *others = json_object_get(item, "others");
    const char *node = json_text(owner, "node");
    for (size_t i = 0; node && i < json_array_size(others); i++) {
        if (text_eq(json_string_value(json_array_get(others, i)), node)) {
            return node;
        }
    }
    return json_text(item, "node");
}

/* Of a new VM, on the first node that takes it. The error is that of all of them. */
static int decide_somewhere(
    struct requests *requests, const json_t *item, const json_t *owner, struct error *err)
{
    struct work *work = &requests->work;
    const json_t *others = owner ? NULL : json_object_get(item, "others");
    cleanup_buf struct buf reasons = BUF_INIT(0);
    int rc = decide_there(requests, asked_node(item, owner), owner, err);
    for (size_t i = 0; rc < 0 && i < json_array_size(others); i++) {
        const char *other = json_string_value(json_array_get(others, i));
        if (!other || (rc != -ERR_FLEET_NO_NODE && rc != -ERR_FLEET_NODE_LOST)) {
            return rc;
        }
        buf_printf(&reasons, "%s; ", err->message);
        error_clear(err);
        work_forget_node(work);
        rc = decide_there(requests, other, owner, err);
    }
    bool is_nowhere = rc == -ERR_FLEET_NO_NODE || rc == -ERR_FLEET_NODE_LOST;
    if (is_nowhere && reasons.len > 0) {
        buf_add_str(&reasons, err->message);
        error_clear(err);
        rc = error_set(err, ERR_FLEET_NO_NODE, "no node can take vm '%s': %s", work->copy.name,
            buf_str(&reasons));
    }
    return rc;
}

/* Begins a transaction, or answers at once. */
static int begin_change(struct requests *requests, const json_t *item, struct error *err)
{
    const struct member *member = requests->member;
    struct work *work = &requests->work;
    int rc = change_from_json(json_object_get(item, "change"), &work->copy, err);
    if (rc < 0) {
        return rc;
    }
    work->name_row = fleet_row(FLEET_KIND_NAME, work->copy.name, NULL);
    cleanup_json json_t *owner = mirror_json(member->mirror, work->name_row);
    rc = decide_somewhere(requests, item, owner, err);
    if (rc < 0) {
        return rc;
    }
    const struct vm_desired *before = work->record.desired;
    rc = file_writes_plan(member, work->copy.name, before ? before->spec : NULL, work->next->spec,
        json_object_get(requests->ask, "files"), &work->files, err);
    if (rc < 0) {
        return rc;
    }
    if (work->record.desired && vm_desired_equal(work->record.desired, work->next)) {
        answer_done(requests);
    } else {
        commit_change(requests);
    }
    return 0;
}

static void carry_on(struct requests *requests)
{
    const json_t *changes = json_object_get(requests->ask, "changes");
    while (!requests->op && requests->row &&
           json_array_size(requests->done) < json_array_size(changes)) {
        const json_t *item = json_array_get(changes, json_array_size(requests->done));
        struct error err = {.code = ERR_NONE};
        if (begin_change(requests, item, &err) < 0) {
            answer_refused(requests, &err);
        }
    }
    if (!requests->op && requests->row && answer_all(requests)) {
        requests_look(requests);
    }
}

/* Nothing is asked of a fleet that is out of reach. */
static void refuse_all(struct requests *requests)
{
    const json_t *changes = json_object_get(requests->ask, "changes");
    while (json_array_size(requests->done) < json_array_size(changes)) {
        const json_t *item = json_array_get(changes, json_array_size(requests->done));
        requests->work.copy.name = json_copy_text(json_object_get(item, "change"), "name");
        answer_refused(requests, &requests->member->trouble);
    }
    if (answer_all(requests)) {
        requests_look(requests);
    }
}

void requests_look(struct requests *requests)
{
    const struct member *member = requests->member;
    struct error err = {.code = ERR_NONE};
    int64_t troubled_ms = loop_now_ms(member->loop) - member->trouble_ms;
    bool is_frozen = member->trouble.code == ERR_FLEET_FROZEN;
    bool is_lasting = member->trouble.code != ERR_NONE && troubled_ms >= TROUBLE_MS;
    bool may_come = !member->is_up && !is_frozen && !is_lasting;
    if (requests->op || requests->row || may_come) {
        return;
    }
    if (find_request(requests, &requests->row, &requests->ask, &err) < 0) {
        log_warn("fleet", "cannot read the requests: %s", err.message);
    }
    if (!requests->row) {
        return;
    }
    requests->done = json_array();
    if (member->is_up) {
        carry_on(requests);
    } else {
        refuse_all(requests);
    }
}

struct requests *requests_new(struct member *member)
{
    struct requests *requests = mem_new(struct requests);
    requests->member = member;
    requests->again = loop_timer_new(member->loop, carry_on_later, requests);
    return requests;
}
