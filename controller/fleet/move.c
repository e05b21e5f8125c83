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
#include "controller/fleet/tombstone.h"
#include "controller/loop/loop.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/strings.h"
#include "specs/fleet/fleet_ask.h"
#include "specs/fleet/fleet_config.h"
#include "specs/fleet/fleet_spec.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"
#include "store/store.h"

enum {
    ROWS_MAX = 10,
    COMPARES_MAX = 9,
    LOST_RACES_MAX = 20,
    RACE_MS = 100,
    TROUBLE_MS = 5000, /* so long a request waits for a link that was lost */
};

/* A node that is offline, while a request waits for that to last. */
struct absence {
    char *node;
    int64_t reg_revision; /* of reg/N, 0: there is none */
    int64_t since_ms;     /* by the loop's clock, since when both are seen to be so */
};

struct moves {
    struct member *member;
    struct op *op; /* the transaction of `plan` on its way; NULL: none */
    struct engine_result result;
    struct move_plan plan;
    unsigned n_lost; /* races, one after another */
    struct loop_timer *again;
    struct absence *absences;
    size_t n_absences;
};

static void look_again(void *context)
{
    moves_look(context);
}

struct moves *moves_new(struct member *member)
{
    struct moves *moves = mem_new(struct moves);
    moves->member = member;
    moves->again = loop_timer_new(member->loop, look_again, moves);
    return moves;
}

void moves_free(struct moves *moves)
{
    if (moves) {
        op_cancel(moves->op);
        engine_result_clear(&moves->result);
        loop_timer_free(moves->again);
        move_plan_clear(&moves->plan);
        for (size_t i = 0; i < moves->n_absences; i++) {
            free(moves->absences[i].node);
        }
        free(moves->absences);
        free(moves);
    }
}

/* ---- answers ---- */

static const char *const words[] = {
    [FLEET_MOVE_BEGIN] = "moving",
    [FLEET_MOVE_CANCEL] = "cancelled",
    [FLEET_MOVE_RECREATE] = "moved",
    [FLEET_MOVE_DESTROY] = "deleted",
};

static void answer_move(struct moves *moves, json_t *answer_take)
{
    cleanup_json json_t *answers = json_array();
    (void)json_array_append_new(answers, answer_take);
    (void)member_answer(moves->member, moves->plan.row, moves->plan.ask, answers);
    move_plan_clear(&moves->plan);
    moves->n_lost = 0;
}

static void refuse_move(struct moves *moves, const struct error *err)
{
    answer_move(moves, fleet_answer_of_error(moves->plan.move.name, moves->plan.from, err));
}

static void confirm_move(struct moves *moves, const char *node, const struct vm_desired *vm)
{
    json_t *answer = json_object();
    json_put_text(answer, "name", moves->plan.move.name);
    json_put_text(answer, "node", node);
    json_put_text(answer, "uid", vm ? vm->uid : NULL);
    json_put_int(answer, "generation", vm ? (int64_t)vm->generation : 0);
    json_put_text(answer, "result", words[moves->plan.move.verb]);
    answer_move(moves, answer);
}

/* ---- how long a node is missing ---- */

static int64_t revision_of(const struct member *member, const char *row)
{
    const struct mirror_row *known = mirror_get(member->mirror, row);
    return known ? known->mod_revision : 0;
}

static struct absence *absence_of(struct moves *moves, const char *node)
{
    cleanup_free char *reg = fleet_row(FLEET_KIND_REG, node, NULL);
    int64_t revision = revision_of(moves->member, reg);
    struct absence *absence = NULL;
    for (size_t i = 0; i < moves->n_absences && !absence; i++) {
        absence = text_eq(moves->absences[i].node, node) ? &moves->absences[i] : NULL;
    }
    if (!absence) {
        mem_grow(moves->absences, moves->n_absences);
        absence = &moves->absences[moves->n_absences++];
        *absence = (struct absence){.node = mem_strdup(node), .reg_revision = -1};
    }
    if (absence->reg_revision != revision) { /* it was online in between */
        absence->reg_revision = revision;
        absence->since_ms = loop_now_ms(moves->member->loop);
    }
    return absence;
}

/* Its lease's, as it was joined; of a vmctl that does not say it, what that has. */
static int64_t ttl_ms_of(const struct member *member, const char *node)
{
    cleanup_free char *row = fleet_row(FLEET_KIND_NODE, node, NULL);
    cleanup_json json_t *json = mirror_json(member->mirror, row);
    int64_t ttl_s = json_int(json, "ttl", FLEET_TTL_S);
    ttl_s = ttl_s < FLEET_TTL_MIN_S ? FLEET_TTL_MIN_S : ttl_s;
    return (ttl_s > FLEET_TTL_MAX_S ? FLEET_TTL_MAX_S : ttl_s) * 1000;
}

/* Once it is online, its next absence is counted from its own start. */
static void forget_absence(struct moves *moves, const char *node)
{
    for (size_t i = 0; i < moves->n_absences; i++) {
        if (text_eq(moves->absences[i].node, node)) {
            moves->absences[i].reg_revision = -1;
        }
    }
}

/* ---- what is asked ---- */

static bool is_heard(const struct member *member, const char *node)
{
    cleanup_free char *alive = fleet_row(FLEET_KIND_ALIVE, node, NULL);
    return mirror_get(member->mirror, alive) != NULL;
}

static int refuse_heard(struct moves *moves, struct error *err)
{
    const struct move_plan *plan = &moves->plan;
    const char *name = plan->move.name;
    forget_absence(moves, plan->from);
    (void)error_set(
        err, ERR_VM_INVALID_STATE, "node '%s' is online, and has vm '%s'", plan->from, name);
    return plan->move.is_off ? error_help(err, "if it was just switched off, try again in %lld s",
                                   (long long)(ttl_ms_of(moves->member, plan->from) / 1000))
           : plan->move.verb == FLEET_MOVE_DESTROY
               ? error_help(err, "destroy it there: vmctl destroy %s", name)
               : error_help(err, "reload gives it a new disk there: vmctl reload %s", name);
}

static int refuse_bond(const struct move_plan *plan, const char *bond, struct error *err)
{
    const char *name = plan->move.name;
    (void)error_set(err, ERR_VM_INVALID_STATE, "vm '%s' has %s, which exists only on node '%s'",
        name, bond, plan->from);
    return plan->move.verb == FLEET_MOVE_RECREATE
               ? error_help(
                     err, "to make it again elsewhere, first: vmctl destroy --node-is-off %s", name)
               : error_help(err, "remove that from its block first, or create the VM again there");
}

static int check_target(const struct moves *moves, struct error *err)
{
    const struct move_plan *plan = &moves->plan;
    const struct member *member = moves->member;
    const char *name = plan->move.name, *to = plan->move.to;
    cleanup_free char *bond = fleet_spec_bond(plan->vm);
    cleanup_free char *status = fleet_row(FLEET_KIND_STATUS, to, name);
    if (plan->vm->is_deleting) {
        (void)error_set(err, ERR_VM_DELETING, "vm '%s' is being deleted", name);
        return error_help(err, "if its node is off: vmctl destroy --node-is-off %s", name);
    }
    if (plan->vm->spec->backend == BACKEND_PROPOLIS) {
        return error_set(err, ERR_VM_INVALID_STATE,
            "vm '%s' is a zone of its host: backend \"propolis\" cannot move", name);
    }
    if (bond) {
        return refuse_bond(plan, bond, err);
    }
    int rc = member_check_node(member, to, err);
    rc = rc == 0 ? refused_foresee(member, to, plan->vm, err) : rc;
    rc = rc == 0 ? hold_check(member, to, plan->vm->spec, err) : rc;
    if (rc == 0 && mirror_get(member->mirror, status)) {
        rc = error_set(err, ERR_FLEET_NAME_TAKEN,
            "node '%s' has its own vm '%s', which is not the fleet's", to, name);
    }
    return rc;
}

/* Reads the VM of the plan. */
static int find_vm(struct moves *moves, const char *node, struct error *err)
{
    struct move_plan *plan = &moves->plan;
    cleanup_free char *row = fleet_row(FLEET_KIND_VM, node, plan->move.name);
    const struct mirror_row *known = mirror_get(moves->member->mirror, row);
    plan->from = mem_strdup(node);
    plan->vm =
        known ? vm_desired_read((struct bytes){known->text, strlen(known->text)}, err) : NULL;
    if (!known) {
        return error_set(
            err, ERR_VM_NOT_FOUND, "there is no vm '%s' in the fleet", plan->move.name);
    }
    return plan->vm ? 0 : -(int)err->code;
}

/* ---- the transaction ---- */

static void on_committed(void *context, const struct error *err)
{
    struct moves *moves = context;
    struct member *member = moves->member;
    struct move_plan *plan = &moves->plan;
    enum engine_outcome outcome = moves->result.outcome;
    struct error lost = {.code = ERR_NONE};
    moves->op = NULL;
    int64_t revision = moves->result.revision;
    engine_result_clear(&moves->result);
    if (outcome == ENGINE_SUCCEEDED) {
        member_note_rows(member, &plan->rows, &plan->texts, revision);
        const char *node = plan->next && plan->move.to ? plan->move.to : plan->from;
        log_info(
            "fleet", "%s, of node '%s': %s", plan->move.name, plan->from, words[plan->move.verb]);
        confirm_move(moves, node, plan->next);
        member->look(member->context, false);
    } else if (outcome == ENGINE_FAILED && ++moves->n_lost < LOST_RACES_MAX) {
        move_plan_clear(plan); /* the watch is about to show what was faster */
        loop_timer_start(moves->again, RACE_MS);
    } else if (outcome == ENGINE_FAILED) {
        (void)error_set(&lost, ERR_VM_CONFLICT, "vm '%s' keeps being changed by other commands",
            plan->move.name);
        refuse_move(moves, &lost);
        loop_timer_start(moves->again, 0);
    } else if (outcome == ENGINE_NOT_DONE && err) {
        refuse_move(moves, err);
        loop_timer_start(moves->again, 0);
    } else { /* whether it was done shows when all is read again */
        move_plan_clear(plan);
        member->look(member->context, true);
    }
}

/* Lives as long as the list. */
static const char *keep_key(const struct member *member, struct strings *keys, const char *row)
{
    cleanup_free char *key = member_key(member, row);
    strings_append(keys, key);
    return keys->items[keys->count - 1];
}

static void commit_plan(struct moves *moves)
{
    struct member *member = moves->member;
    struct move_plan *plan = &moves->plan;
    struct engine_compare compares[COMPARES_MAX];
    struct engine_write writes[ROWS_MAX];
    cleanup_with(strings_clear) struct strings keys = {.count = 0};
    size_t n_compares = 0, n = plan->rows.count;
    for (size_t i = 0; i < plan->unchanged.count; i++) {
        const char *row = plan->unchanged.items[i];
        compares[n_compares++] = member_if_unchanged(member, row, keep_key(member, &keys, row));
    }
    if (plan->absent) {
        compares[n_compares++] = (struct engine_compare){
            .condition = ENGINE_IF_ABSENT, .key = keep_key(member, &keys, plan->absent)};
    }
    if (plan->present) {
        compares[n_compares++] = (struct engine_compare){
            .condition = ENGINE_IF_PRESENT, .key = keep_key(member, &keys, plan->present)};
    }
    for (size_t i = 0; i < n; i++) {
        const char *text = plan->texts.items[i];
        writes[i] =
            member_write(keep_key(member, &keys, plan->rows.items[i]), text[0] ? text : NULL);
    }
    cleanup_free char *files =
        files_prefix(member, plan->move.name); /* it has them elsewhere, too */
    if (plan->move.verb == FLEET_MOVE_DESTROY) {
        writes[n++] = (struct engine_write){.kind = ENGINE_DELETE_PREFIX, .key = files};
    }
    const struct engine_txn txn = {
        .compares = compares, .n_compares = n_compares, .writes = writes, .n_writes = n};
    moves->op = member->engine->ops->txn(member->engine, &txn, &moves->result, on_committed, moves);
}

/* ---- one request ---- */

/* Whether the node is missing for as long as it has to be. Else *ret_wait_ms is how long it lacks,
 * or it is an error. */
static int check_absence(struct moves *moves, int64_t *ret_wait_ms, struct error *err)
{
    const struct move_plan *plan = &moves->plan;
    *ret_wait_ms = 0;
    if (is_heard(moves->member, plan->from)) {
        return refuse_heard(moves, err);
    }
    if (!plan->move.is_off) {
        int64_t since_ms = absence_of(moves, plan->from)->since_ms;
        int64_t ttl_ms = ttl_ms_of(moves->member, plan->from);
        *ret_wait_ms = since_ms + ttl_ms + ttl_ms / 100 - loop_now_ms(moves->member->loop);
    }
    return 0;
}

/* It was carried out before, by a messenger that was killed, or was not answered. */
static bool was_destroyed(struct moves *moves, const char *node)
{
    const struct move_plan *plan = &moves->plan;
    bool is = plan->move.verb == FLEET_MOVE_DESTROY && !node &&
              tombstone_is_of(moves->member, plan->move.name, plan->token);
    if (is) {
        confirm_move(moves, NULL, NULL);
    }
    return is;
}

static bool was_moved(struct moves *moves)
{
    struct move_plan *plan = &moves->plan;
    const char *to = plan->move.to;
    bool is_there = to && text_eq(plan->from, to) && !plan->vm->fleet.move_to;
    bool is_on_its_way =
        plan->move.verb == FLEET_MOVE_BEGIN && text_eq(plan->vm->fleet.move_to, to);
    bool is = is_there || is_on_its_way || text_eq(plan->vm->fleet.moved, plan->token);
    if (is) {
        confirm_move(moves, to ? to : plan->from, plan->vm);
    }
    return is;
}

/* As its node has published them. Those of a node that does not say it are found when it is to send
 * the disk. */
static int check_snapshots(const struct moves *moves, struct error *err)
{
    const struct move_plan *plan = &moves->plan;
    const char *name = plan->move.name, *to = plan->move.to;
    cleanup_free char *row = fleet_row(FLEET_KIND_STATUS, plan->from, name);
    cleanup_json json_t *published = mirror_json(moves->member->mirror, row);
    const json_t *snapshots = json_object_get(published, "snapshots");
    cleanup_buf struct buf names = BUF_INIT(0);
    size_t n = plan->move.leaves_snapshots ? 0 : json_array_size(snapshots);
    for (size_t i = 0; i < n; i++) {
        const char *snapshot = json_string_value(json_array_get(snapshots, i));
        buf_printf(&names, "%s%s", i ? ", " : "", snapshot ? snapshot : "?");
    }
    if (n == 0) {
        return 0;
    }
    (void)error_set(err, ERR_VM_INVALID_STATE,
        "vm '%s' has snapshots, which a move leaves behind: %s", name, buf_str(&names));
    return error_help(err,
        "to leave them there, in quarantine/: vmctl move %s --to %s%s --without-snapshots", name,
        to, plan->move.stops ? " --stop" : "");
}

/* Of a VM with its disk. */
static int check_begin(const struct moves *moves, struct error *err)
{
    const struct move_plan *plan = &moves->plan;
    const char *name = plan->move.name, *to = plan->move.to;
    const struct vm_desired *vm = plan->vm;
    if (!is_heard(moves->member, plan->from)) {
        (void)error_set(err, ERR_FLEET_NODE_LOST,
            "node '%s', which has the disk of vm '%s', is offline", plan->from, name);
        return error_help(
            err, "to make it again with a new disk: vmctl move %s --to %s --recreate", name, to);
    }
    if (vm->fleet.move_to) {
        (void)error_set(err, ERR_VM_CONFLICT, "vm '%s' is already moving to node '%s'", name,
            vm->fleet.move_to);
        return error_help(err, "cancel that first: vmctl move --cancel %s", name);
    }
    if (vm->power == POWER_SUSPENDED) {
        (void)error_set(
            err, ERR_VM_INVALID_STATE, "vm '%s' is suspended: its memory cannot be moved", name);
        return error_help(err, "resume or stop it first: vmctl stop %s", name);
    }
    if (vm->power == POWER_RUNNING && !plan->move.stops) {
        (void)error_set(err, ERR_VM_INVALID_STATE,
            "vm '%s' is running: it can be moved only while it is off", name);
        return error_help(
            err, "to stop it, and start it there: vmctl move %s --to %s --stop", name, to);
    }
    return check_snapshots(moves, err);
}

static int check_cancel(const struct move_plan *plan, struct error *err)
{
    return plan->vm->fleet.move_to
               ? 0
               : error_set(err, ERR_VM_INVALID_STATE, "vm '%s' is not moving", plan->move.name);
}

/* Its node would set the disk aside, and the VM have another one, or none. */
static int check_protected(const struct move_plan *plan, struct error *err)
{
    const char *name = plan->move.name, *source = plan->vm->source;
    if (!plan->vm->spec->is_protected || plan->vm->is_deleting) {
        return 0;
    }
    (void)error_set(err, ERR_VM_INVALID_STATE, "vm '%s' is protected, and keeps its disk", name);
    return error_help(err, "take `protect` out of its block, then: vmctl apply --detach %s%s%s",
        name, source ? " --file " : "", source ? source : "");
}

/* Whether it can be done. Else *ret_wait_ms is when it may be, or it is an error. */
static int check_move(struct moves *moves, int64_t *ret_wait_ms, struct error *err)
{
    const enum fleet_move_verb verb = moves->plan.move.verb;
    int rc = 0;
    if (verb == FLEET_MOVE_CANCEL) {
        return check_cancel(&moves->plan, err);
    }
    if (verb == FLEET_MOVE_BEGIN) {
        rc = check_begin(moves, err);
        return rc == 0 ? check_target(moves, err) : rc;
    }
    rc = check_protected(&moves->plan, err);
    rc = rc == 0 && verb == FLEET_MOVE_RECREATE ? check_target(moves, err) : rc;
    return rc == 0 ? check_absence(moves, ret_wait_ms, err) : rc;
}

/* Begins the transaction, answers, or leaves it for later: then *ret_wait_ms is when. */
static int try_move(struct moves *moves, int64_t *ret_wait_ms, struct error *err)
{
    struct move_plan *plan = &moves->plan;
    const struct member *member = moves->member;
    cleanup_free char *name_row = fleet_row(FLEET_KIND_NAME, plan->move.name, NULL);
    cleanup_json json_t *owner = mirror_json(member->mirror, name_row);
    const char *node = json_text(owner, "node");
    if (was_destroyed(moves, node)) {
        return 0;
    }
    if (!node) {
        return error_set(
            err, ERR_VM_NOT_FOUND, "there is no vm '%s' in the fleet", plan->move.name);
    }
    int rc = find_vm(moves, node, err);
    if (rc == 0 && was_moved(moves)) {
        return 0;
    }
    rc = rc == 0 ? check_move(moves, ret_wait_ms, err) : rc;
    if (rc < 0 || *ret_wait_ms > 0) {
        return rc;
    }
    if (plan->move.verb == FLEET_MOVE_BEGIN) {
        move_plan_begin(member, plan);
    } else if (plan->move.verb == FLEET_MOVE_CANCEL) {
        move_plan_cancel(member, plan);
    } else {
        move_plan_loss(member, plan);
    }
    commit_plan(moves);
    return 0;
}

static void make_token(struct move_plan *plan)
{
    char digest[DIGEST_SIZE];
    digest_text(plan->row, digest);
    memcpy(plan->token, digest, TEXT_ID_SIZE - 1);
}

static void try_ask(struct moves *moves, const char *row, json_t *ask, int64_t *ret_wait_ms)
{
    const struct member *member = moves->member;
    struct move_plan *plan = &moves->plan;
    struct error err = {.code = ERR_NONE};
    plan->row = mem_strdup(row);
    plan->ask = json_incref(ask);
    make_token(plan);
    *ret_wait_ms = 0;
    int rc = fleet_ask_read_move(ask, &plan->move)
                 ? 0
                 : error_set(&err, ERR_USAGE, "the request is from another version of vmctl");
    if (rc == 0 && !member->is_up) {
        err = member->trouble;
        rc = -(int)err.code;
    }
    rc = rc == 0 ? try_move(moves, ret_wait_ms, &err) : rc;
    if (rc < 0) {
        refuse_move(moves, &err);
    } else if (*ret_wait_ms > 0) {
        move_plan_clear(plan);
    }
}

/* ---- all of them ---- */

void moves_look(struct moves *moves)
{
    const struct member *member = moves->member;
    struct error err = {.code = ERR_NONE};
    cleanup_json json_t *asks = NULL;
    const char *row;
    json_t *ask;
    int64_t troubled_ms = loop_now_ms(member->loop) - member->trouble_ms, next_ms = INT64_MAX;
    bool is_lasting = member->trouble.code == ERR_FLEET_FROZEN ||
                      (member->trouble.code != ERR_NONE && troubled_ms >= TROUBLE_MS);
    if (moves->op || (!member->is_up && !is_lasting)) {
        return;
    }
    if (store_list_json_below(member->store, STORE_FLEET, "ask/", &asks, &err) < 0) {
        log_warn("fleet", "cannot read the requests: %s", err.message);
    }
    json_object_foreach(asks, row, ask)
    {
        int64_t wait_ms = 0;
        if (!moves->op && fleet_ask_is_move(ask) && !fleet_ask_answers(ask)) {
            try_ask(moves, row, ask, &wait_ms);
        }
        next_ms = wait_ms > 0 && wait_ms < next_ms ? wait_ms : next_ms;
    }
    if (next_ms < INT64_MAX) {
        loop_timer_start(moves->again, next_ms);
    }
}
