/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/fleet/fleet_vms.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/fleet/fleet_view.h"
#include "cli/show/output.h"
#include "cli/show/result.h"
#include "cli/show/vm_rows.h"
#include "cli/wait/wait_loop.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/digest.h"
#include "specs/base/enum_names.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/fleet/fleet_ask.h"
#include "specs/fleet/fleet_config.h"
#include "specs/fleet/fleet_keys.h"
#include "store/batch.h"
#include "store/bell.h"
#include "store/desired/change_json.h"
#include "store/store.h"

enum { ANSWER_MS = 30 * 1000, LOST_MS = 15 * 1000 /* besides the TTL of the node */ };

/* ---- the request ---- */

struct asking {
    struct cli *cli;
    char *row;
    json_t *ask;
    json_t *answered; /* the row with the answers; NULL: there are none yet */
    int64_t limit_ms;
};

static int put_ask(struct asking *asking, const json_t *value, struct error *err)
{
    struct error ignored = {.code = ERR_NONE};
    struct store_batch *batch = store_batch_new();
    if (!value && !asking->answered) {
        store_batch_expect_json(batch, STORE_FLEET, asking->row, asking->ask);
    }
    store_batch_put_json(batch, STORE_FLEET, asking->row, value);
    int rc = store_commit(asking->cli->store, batch, err);
    store_batch_free(batch);
    if (rc == 0 && value) {
        (void)bell_ring(&asking->cli->paths, BELL_FLEET, &ignored); /* costs a delay */
    }
    return rc;
}

static int check_answer(void *context, bool *ret_is_done, struct error *err)
{
    struct asking *asking = context;
    cleanup_json json_t *row = NULL;
    int rc = store_get_json(asking->cli->store, STORE_FLEET, asking->row, &row, err);
    *ret_is_done = rc == 0 && fleet_ask_answers(row);
    asking->answered = *ret_is_done ? TAKE_PTR(row) : NULL;
    return rc;
}

static int refuse_unanswered(void *context, struct error *err)
{
    (void)context;
    return error_set(
        err, ERR_FLEET_UNREACHABLE, "the fleet's messenger on this host does not answer");
}

/* Withdraws a request without an answer: it might be carried out much later. */
static int await_answers(struct asking *asking, struct error *err)
{
    struct wait_loop loop = {.cli = asking->cli,
        .needs_controller = true,
        .check = check_answer,
        .time_out = refuse_unanswered,
        .context = asking};
    struct error ignored = {.code = ERR_NONE};
    wait_loop_open(&loop, asking->limit_ms);
    int rc = put_ask(asking, asking->ask, err);
    rc = rc == 0 ? wait_loop_run(&loop, err) : rc;
    wait_loop_close(&loop);
    bool is_late = put_ask(asking, NULL, &ignored) == -ERR_STORE_STALE;
    if (rc != 0 && is_late) { /* it was answered in between */
        bool is_done = false;
        struct error again = {.code = ERR_NONE};
        if (check_answer(asking, &is_done, &again) == 0 && is_done) {
            error_clear(err);
            rc = put_ask(asking, NULL, err);
        }
    }
    return rc;
}

/* ---- what became of it ---- */

struct followed {
    const struct fleet_order *order;
    char *node;
    char uid[TEXT_ID_SIZE];
    uint64_t generation;
    enum goal_result result;
    struct error error;
    bool is_seen;     /* its row has come to this host's copy */
    const char *word; /* the state that was printed last; NULL: none */
    bool is_loss_noted;
    bool is_on_its_way; /* of FLEET_MOVE_BEGIN: its row was seen */
    char *shown;        /* … and this was said of it last; NULL: nothing */
};

struct following {
    struct cli *cli;
    struct followed *items;
    size_t count;
    int64_t begun_ms;
};

static void fail_item(const struct cli *cli, struct followed *item)
{
    item->result = GOAL_FAILED;
    cli_print_error(cli, &item->error);
}

static void take_outcome(struct cli *cli, struct followed *item, const json_t *answer)
{
    const char *result = json_text(answer, "result"), *uid = json_text(answer, "uid");
    struct change_outcome outcome = {.result = CHANGE_REQUESTED};
    item->node = json_copy_text(answer, "node");
    item->generation = (uint64_t)json_int(answer, "generation", 0);
    (void)snprintf(item->uid, sizeof(item->uid), "%s", uid ? uid : "");
    if (fleet_answer_error(answer, &item->error) < 0) {
        fail_item(cli, item);
        return;
    }
    if (item->order->move && item->order->move->verb == FLEET_MOVE_DESTROY) {
        item->result = GOAL_REACHED; /* its node is off: there is nothing to be followed */
        result_print(cli, item->order->change.name, "destroyed");
        return;
    }
    int known = enum_names_find(&change_result_words, result);
    outcome.result = known < 0 ? CHANGE_REQUESTED : (enum change_result)known;
    cleanup_free char *text =
        mem_printf("%s (node %s)", result ? result : "requested", item->node ? item->node : "?");
    result_outcome(cli, item->order->change.name, &outcome);
    if (outcome.result != CHANGE_DELETED && outcome.result != CHANGE_STOPPED) {
        result_print(cli, item->order->change.name, text);
    }
}

static int read_rows(struct following *following, const struct followed *item,
    struct fleet_view *ret, struct error *err)
{
    const char *name = item->order->change.name;
    const struct {
        enum fleet_kind kind;
        const char *first, *second;
    } rows[] = {{FLEET_KIND_VM, item->node, name}, {FLEET_KIND_STATUS, item->node, name},
        {FLEET_KIND_IN, item->node, name}, {FLEET_KIND_ALIVE, item->node, NULL},
        {FLEET_KIND_NODE, item->node, NULL}, {FLEET_KIND_LOST, item->node, NULL},
        {FLEET_KIND_LINK, NULL, NULL}};
    int rc = 0;
    ret->rows = json_object();
    ret->contact_ms = fleet_view_contact(following->cli);
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(rows); i++) {
        cleanup_free char *row = fleet_row(rows[i].kind, rows[i].first, rows[i].second);
        json_t *json = NULL;
        rc = store_get_json(following->cli->store, STORE_FLEET, row, &json, err);
        if (json) {
            json_put(ret->rows, row, json);
        }
    }
    return rc;
}

/* The row of a change that was just made may be on its way. */
static bool is_behind(const struct followed *item, const struct vm_record *record)
{
    bool deletes = item->order->goal.kind == GOAL_DELETED;
    return record->desired ? record->desired->generation < item->generation
                           : !item->is_seen && !deletes;
}

static void show_state(
    const struct following *following, struct followed *item, const struct vm_record *record)
{
    struct vm_row row = vm_row_of_record(record);
    const char *word = vm_row_state(&row);
    if (word != item->word) {
        cli_note(following->cli, "%s: %s", record->name, word);
        item->word = word;
    }
}

static void note_loss(struct following *following, struct followed *item,
    const struct fleet_view *view, int64_t lost_ms)
{
    cleanup_free char *row = fleet_row(FLEET_KIND_NODE, item->node, NULL);
    int64_t ttl_s = json_int(fleet_view_row(view, row), "ttl", FLEET_TTL_S);
    int64_t silent_ms = clock_monotonic_ms(clock_system()) - following->begun_ms;
    char age[DURATION_SIZE];
    duration_format(clock_wall_ms(clock_system()) - lost_ms, age);
    if (!item->is_loss_noted) {
        item->is_loss_noted = true;
        cli_note(following->cli, "%s: waiting for node %s (lost %s%s)", item->order->change.name,
            item->node, lost_ms ? age : "", lost_ms ? " ago" : "");
    }
    if (silent_ms > ttl_s * 1000 + LOST_MS) {
        (void)error_set(&item->error, ERR_FLEET_NODE_LOST,
            "unknown whether vm '%s' is %s: node '%s' is offline", item->order->change.name,
            goal_word(&item->order->goal), item->node);
        (void)error_help(
            &item->error, "it takes effect when the node is back; see: vmctl node list");
        fail_item(following->cli, item);
    }
}

/* Made there after the fleet had chosen: a node's own VM is published with what it is. */
static bool has_other(const struct fleet_view *view, const struct followed *item)
{
    cleanup_free char *row = fleet_row(FLEET_KIND_STATUS, item->node, item->order->change.name);
    const json_t *own = json_object_get(fleet_view_row(view, row), "desired");
    return own && !text_eq(json_text(own, "uid"), item->uid);
}

/* What the running VM does not have yet. */
static void note_waiting(
    const struct following *following, const struct condition *synced, const char *name)
{
    const char *message = synced->message ? synced->message : "";
    if (synced->state == CONDITION_FALSE && synced->reason == REASON_RESTART_REQUIRED) {
        cli_note(
            following->cli, "%s: restart required: %s (vmctl restart %s)", name, message, name);
    } else if (synced->state == CONDITION_FALSE) {
        cli_note(following->cli, "%s: waits: %s", name, message);
    }
}

/* Until the other node has its disk. Then what is known of it is the same as of any. */
static void check_move(
    const struct following *following, struct followed *item, const struct fleet_view *view)
{
    const char *name = item->order->change.name;
    cleanup_free char *in_row = fleet_row(FLEET_KIND_IN, item->node, name);
    cleanup_free char *vm_row = fleet_row(FLEET_KIND_VM, item->node, name);
    const json_t *incoming = fleet_view_row(view, in_row);
    const char *error = json_text(incoming, "error");
    if (fleet_view_row(view, vm_row)) {
        return;
    }
    if (!incoming && item->is_on_its_way) {
        (void)error_set(&item->error, ERR_VM_CONFLICT, "vm '%s' is no longer moving to node '%s'",
            name, item->node);
        fail_item(following->cli, item);
        return;
    }
    item->is_on_its_way |= incoming != NULL;
    cleanup_free char *text =
        error ? mem_printf("node %s: %s; trying again", item->node, error)
        : json_object_get(incoming, "percent")
            ? mem_printf("%lld %%", (long long)json_int(incoming, "percent", 0))
            : NULL;
    if (text && !text_eq(text, item->shown)) {
        cli_note(following->cli, "%s: %s", name, text);
        free(item->shown);
        item->shown = TAKE_PTR(text);
    }
}

static int check_item(struct following *following, struct followed *item, struct error *err)
{
    cleanup_with(fleet_view_clear) struct fleet_view view = {.config = NULL};
    const char *name = item->order->change.name;
    bool is_current;
    int64_t lost_ms;
    int rc = read_rows(following, item, &view, err);
    if (rc < 0) {
        return rc;
    }
    cleanup_with(vm_record_clear) struct vm_record record =
        fleet_view_record(&view, item->node, name, &is_current);
    bool is_heard = fleet_view_hears(&view, item->node, &lost_ms);
    if (has_other(&view, item)) {
        (void)error_set(&item->error, ERR_FLEET_NAME_TAKEN,
            "node '%s' has its own vm '%s', which is not the fleet's", item->node, name);
        fail_item(following->cli, item);
        return 0;
    }
    if (item->order->move && item->order->move->verb == FLEET_MOVE_BEGIN) {
        check_move(following, item, &view);
    }
    if (item->result == GOAL_FAILED) {
        return 0;
    }
    const struct goal_subject subject = {
        name, item->uid, item->generation, is_current && is_heard ? "current" : "", true, false};
    if (!is_behind(item, &record)) {
        item->is_seen = true;
        item->result = goal_check(&item->order->goal, &subject, &record, &item->error);
        if (is_current && is_heard && record.desired &&
            record.status->observed_generation >= item->generation) {
            show_state(following, item, &record);
        }
    }
    if (item->result == GOAL_FAILED) {
        (void)error_wrap(&item->error, "node '%s'", item->node);
        fail_item(following->cli, item);
    } else if (item->result == GOAL_PENDING && !is_heard) {
        note_loss(following, item, &view, lost_ms);
    } else if (item->result == GOAL_REACHED && item->order->goal.kind == GOAL_READY) {
        cli_note(following->cli, "%s: ready (node %s)", name, item->node);
        note_waiting(following, &record.status->conditions[CONDITION_SYNCED], name);
    } else if (item->result == GOAL_REACHED && item->order->done) {
        result_print(following->cli, name, item->order->done);
    }
    return 0;
}

static int worst_status(const struct following *following)
{
    int worst = 0;
    for (size_t i = 0; i < following->count; i++) {
        int status =
            following->items[i].error.code ? error_exit_status(following->items[i].error.code) : 0;
        worst = status > worst ? status : worst;
    }
    return worst;
}

static int check_items(void *context, bool *ret_is_done, struct error *err)
{
    struct following *following = context;
    *ret_is_done = true;
    for (size_t i = 0; i < following->count; i++) {
        struct followed *item = &following->items[i];
        int rc = item->result == GOAL_PENDING ? check_item(following, item, err) : 0;
        if (rc < 0) {
            return rc;
        }
        *ret_is_done &= item->result != GOAL_PENDING;
    }
    return *ret_is_done ? worst_status(following) : 0;
}

static int report_late(void *context, struct error *err)
{
    struct following *following = context;
    (void)err; /* each VM has its own */
    for (size_t i = 0; i < following->count; i++) {
        struct followed *item = &following->items[i];
        if (item->result == GOAL_PENDING) {
            (void)error_set(&item->error, ERR_TIMEOUT, "vm '%s' is not %s yet",
                item->order->change.name, goal_word(&item->order->goal));
            (void)error_help(&item->error, "it continues; see: vmctl list -A");
            cli_print_error(following->cli, &item->error);
        }
    }
    return worst_status(following);
}

static void note_interrupt(void *context)
{
    const struct following *following = context;
    cli_note(following->cli, "interrupted; it continues in the background: vmctl list -A");
}

static int follow_items(
    struct following *following, bool is_detached, int64_t timeout_ms, struct error *err)
{
    static const char *const results[] = {
        [GOAL_PENDING] = "pending", [GOAL_REACHED] = "done", [GOAL_FAILED] = "failed"};
    struct wait_loop loop = {.cli = following->cli,
        .needs_controller = true,
        .check = check_items,
        .time_out = report_late,
        .interrupted = note_interrupt,
        .context = following};
    int rc = worst_status(following);
    if (!is_detached) {
        (void)fflush(stdout);
        wait_loop_open(&loop, timeout_ms);
        rc = wait_loop_run(&loop, err);
        wait_loop_close(&loop);
    }
    for (size_t i = 0; i < following->count; i++) {
        const struct followed *item = &following->items[i];
        result_followed(following->cli, item->order->change.name, goal_word(&item->order->goal),
            results[item->result], &item->error);
    }
    return rc;
}

static json_t *make_ask(const struct fleet_order *orders, size_t count)
{
    int64_t now_ms = clock_wall_ms(clock_system());
    if (orders[0].move) {
        return fleet_ask_new_move(now_ms, orders[0].move);
    }
    if (orders[0].republishes) {
        json_t *names = fleet_ask_new_republish(now_ms);
        for (size_t i = 0; i < count; i++) {
            fleet_ask_add_republish(names, orders[i].change.name);
        }
        return names;
    }
    json_t *ask = fleet_ask_new(now_ms);
    for (size_t i = 0; i < count; i++) {
        const struct strings *nodes = &orders[i].nodes;
        fleet_ask_add(
            ask, nodes->count > 0 ? nodes->items[0] : NULL, change_to_json(&orders[i].change));
        for (size_t k = 1; k < nodes->count; k++) {
            fleet_ask_add_other(ask, nodes->items[k]);
        }
        json_put(ask, "files", json_incref(orders[i].files));
    }
    return ask;
}

int fleet_request_run(struct cli *cli, const struct fleet_order *orders, size_t count,
    bool is_detached, int64_t timeout_ms, struct error *err)
{
    char id[TEXT_ID_SIZE];
    digest_random_id(id);
    struct asking asking = {.cli = cli,
        .row = fleet_row(FLEET_KIND_ASK, id, NULL),
        .ask = make_ask(orders, count),
        .limit_ms = ANSWER_MS + orders[0].move_ms};
    struct following following = {.cli = cli,
        .items = mem_calloc(count, sizeof(*following.items)),
        .count = count,
        .begun_ms = clock_monotonic_ms(clock_system())};
    int rc = cli_open_store(cli, err);
    rc = rc == 0 ? await_answers(&asking, err) : rc;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        following.items[i].order = &orders[i];
        take_outcome(
            cli, &following.items[i], json_array_get(fleet_ask_answers(asking.answered), i));
    }
    rc = rc == 0 ? follow_items(&following, is_detached, timeout_ms, err) : rc;
    for (size_t i = 0; i < count; i++) {
        free(following.items[i].node);
        free(following.items[i].shown);
    }
    free(following.items);
    free(asking.row);
    json_decref(asking.ask);
    json_decref(asking.answered);
    return rc;
}

/* ---- without a request ---- */

/* The VM as it is now is the one that is waited for. */
static void take_present(struct cli *cli, const struct fleet_view *view, struct followed *item)
{
    const char *name = item->order->change.name;
    cleanup_free char *row = fleet_row(FLEET_KIND_NAME, name, NULL);
    bool is_current;
    item->node = json_copy_text(fleet_view_row(view, row), "node");
    if (!item->node) { /* it has just gone */
        item->result = GOAL_REACHED;
        if (item->order->goal.kind != GOAL_DELETED) {
            (void)error_set(
                &item->error, ERR_VM_NOT_FOUND, "there is no vm '%s' in the fleet", name);
            fail_item(cli, item);
        }
        return;
    }
    cleanup_with(vm_record_clear) struct vm_record record =
        fleet_view_record(view, item->node, name, &is_current);
    if (record.desired) {
        memcpy(item->uid, record.desired->uid, TEXT_ID_SIZE);
        item->generation = record.desired->generation;
    }
}

static void print_waited(const struct following *following)
{
    cleanup_json json_t *array = json_array();
    for (size_t i = 0; i < following->count; i++) {
        const struct followed *item = &following->items[i];
        json_t *json = json_object();
        output_put_name(json, item->order->change.name);
        json_put_text(json, "goal", goal_word(&item->order->goal));
        json_put_flag(json, "reached", item->result == GOAL_REACHED);
        if (item->error.code != ERR_NONE) {
            json_put_text(json, "code", error_code_name(item->error.code));
            json_put_text(json, "message", item->error.message);
            json_put_text(json, "help", error_help_text(&item->error));
        }
        (void)json_array_append_new(array, json);
    }
    output_print(following->cli, array);
}

int fleet_wait_run(struct cli *cli, const struct fleet_order *orders, size_t count,
    int64_t timeout_ms, struct error *err)
{
    cleanup_with(fleet_view_clear) struct fleet_view view = {.config = NULL};
    struct following following = {.cli = cli,
        .items = mem_calloc(count, sizeof(*following.items)),
        .count = count,
        .begun_ms = clock_monotonic_ms(clock_system())};
    int rc = fleet_view_read(cli, &view, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        following.items[i].order = &orders[i];
        take_present(cli, &view, &following.items[i]);
    }
    rc = rc == 0 ? follow_items(&following, false, timeout_ms, err) : rc;
    if (rc >= 0 && output_is_data(cli)) {
        print_waited(&following);
    }
    for (size_t i = 0; i < count; i++) {
        free(following.items[i].node);
    }
    free(following.items);
    return rc;
}
