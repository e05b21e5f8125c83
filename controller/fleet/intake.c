/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/fleet/parts.h"

#include <stdlib.h>
#include <string.h>

#include "controller/fleet/engine.h"
#include "controller/fleet/hold.h"
#include "controller/fleet/member.h"
#include "controller/fleet/mirror.h"
#include "controller/fleet/refused.h"
#include "controller/fleet/tombstone.h"
#include "controller/loop/child.h"
#include "controller/loop/loop.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fields.h"
#include "specs/base/fs.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/strings.h"
#include "specs/fleet/fleet_config.h"
#include "specs/vm/record_fields.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"
#include "store/batch.h"
#include "store/store.h"

enum {
    WRITES_MAX = 8,
    COMPARES_MAX = 6,
    FETCH_MS = 24 * 3600 * 1000,
    RETRY_FIRST_MS = 5000,
    RETRY_MAX_MS = 60 * 1000,
};

struct intake {
    struct member *member;
    char *program; /* NULL: nothing is fetched */
    struct op *op; /* a transaction on its way; NULL: none */
    struct engine_result result;
    struct strings rows, texts; /* that it writes; "": deleted */
    struct strings unchanged;   /* that have to be as they are known */
    struct op *fetch;           /* the program; NULL: none runs */
    char *fetched;              /* the VM that it fetches, or that was fetched last */
    char *token;                /* … for this request */
    json_t *failed;  /* by name, those that are fetched again: {"token", "pauseMs", "atMs"} */
    int64_t wait_ms; /* until the next of them is; INT64_MAX: there is none */
    struct loop_timer *again;
};

static void look_again(void *context)
{
    intake_look(context);
}

struct intake *intake_new(struct member *member, const char *program)
{
    struct intake *intake = mem_new(struct intake);
    intake->member = member;
    intake->program = mem_strdup(program);
    intake->failed = json_object();
    intake->again = loop_timer_new(member->loop, look_again, intake);
    return intake;
}

static void clear_rows(struct intake *intake)
{
    strings_clear(&intake->rows);
    strings_clear(&intake->texts);
    strings_clear(&intake->unchanged);
}

void intake_free(struct intake *intake)
{
    if (intake) {
        op_cancel(intake->op);
        op_cancel(intake->fetch);
        engine_result_clear(&intake->result);
        clear_rows(intake);
        loop_timer_free(intake->again);
        json_decref(intake->failed);
        free(intake->program);
        free(intake->fetched);
        free(intake->token);
        free(intake);
    }
}

/* ---- one VM that is to come ---- */

struct arrival {
    const char *name;
    char *in_row, *vm_row;
    json_t *incoming; /* in/N/V */
    json_t *progress; /* fetched/V, if it is of the same request; NULL: none */
    const char *from; /* borrows from `incoming`, as the next */
    const char *token;
    struct vm_desired *vm; /* as its node has it; NULL: it is not to come any more */
};

static void arrival_clear(struct arrival *arrival)
{
    free(arrival->in_row);
    free(arrival->vm_row);
    json_decref(arrival->incoming);
    json_decref(arrival->progress);
    vm_desired_free(arrival->vm);
}

/* Its node still has it, and says the same: any user of etcd may have written in/N/V. */
static struct vm_desired *read_vm(const struct member *member, const struct arrival *arrival)
{
    struct error ignored = {.code = ERR_NONE};
    const struct mirror_row *row = mirror_get(member->mirror, arrival->vm_row);
    struct vm_desired *vm =
        row ? vm_desired_read((struct bytes){row->text, strlen(row->text)}, &ignored) : NULL;
    bool is_so = vm && !vm->is_deleting && text_eq(vm->spec->name, arrival->name) &&
                 text_eq(vm->fleet.move_to, member->config->node) &&
                 text_eq(vm->fleet.moved, arrival->token);
    if (!is_so) {
        vm_desired_free(vm);
        return NULL;
    }
    return vm;
}

static void arrival_read(const struct member *member, const char *name, struct arrival *ret)
{
    struct error err = {.code = ERR_NONE};
    cleanup_free char *progress_row = fleet_row(FLEET_KIND_FETCHED, name, NULL);
    *ret = (struct arrival){
        .name = name, .in_row = fleet_row(FLEET_KIND_IN, member->config->node, name)};
    ret->incoming = mirror_json(member->mirror, ret->in_row);
    ret->from = json_text(ret->incoming, "from");
    ret->token = json_text(ret->incoming, "token");
    ret->vm_row = fleet_row(FLEET_KIND_VM, ret->from ? ret->from : "", name);
    ret->vm = ret->from && ret->token ? read_vm(member, ret) : NULL;
    if (store_get_json(member->store, STORE_FLEET, progress_row, &ret->progress, &err) < 0) {
        log_warn("fleet", "%s", err.message);
    }
    if (!text_eq(json_text(ret->progress, "token"), ret->token)) {
        json_decref(TAKE_PTR(ret->progress));
    }
}

/* ---- what is written to etcd ---- */

static void on_written(void *context, const struct error *err)
{
    struct intake *intake = context;
    struct member *member = intake->member;
    bool is_done = intake->result.outcome == ENGINE_SUCCEEDED;
    intake->op = NULL;
    if (is_done) {
        member_note_rows(member, &intake->rows, &intake->texts, intake->result.revision);
    }
    if (err) {
        log_warn("fleet", "cannot write: %s", err->message);
    }
    clear_rows(intake);
    engine_result_clear(&intake->result);
    member->look(member->context, err != NULL);
}

static void intake_add_row(struct intake *intake, const char *row, const char *text)
{
    strings_append(&intake->rows, row);
    strings_append(&intake->texts, text);
}

static void add_json(struct intake *intake, const char *row, const json_t *json)
{
    cleanup_free char *text = json_dumps(json, JSON_COMPACT);
    intake_add_row(intake, row, text);
}

static void write_rows(struct intake *intake)
{
    struct member *member = intake->member;
    struct engine_write writes[WRITES_MAX];
    struct engine_compare compares[COMPARES_MAX];
    char *keys[WRITES_MAX], *compared[COMPARES_MAX];
    size_t n = intake->rows.count, n_compared = intake->unchanged.count;
    for (size_t i = 0; i < n_compared; i++) {
        compared[i] = member_key(member, intake->unchanged.items[i]);
        compares[i] = member_if_unchanged(member, intake->unchanged.items[i], compared[i]);
    }
    for (size_t i = 0; i < n; i++) {
        const char *text = intake->texts.items[i];
        keys[i] = member_key(member, intake->rows.items[i]);
        writes[i] = member_write(keys[i], text[0] ? text : NULL);
    }
    const struct engine_txn txn = {
        .compares = compares, .n_compares = n_compared, .writes = writes, .n_writes = n};
    intake->op =
        member->engine->ops->txn(member->engine, &txn, &intake->result, on_written, intake);
    for (size_t i = 0; i < n; i++) {
        free(keys[i]);
    }
    for (size_t i = 0; i < n_compared; i++) {
        free(compared[i]);
    }
}

/* For everybody to see. */
static void show_progress(struct intake *intake, const struct arrival *arrival)
{
    static const char *const members[] = {"percent", "error"};
    cleanup_json json_t *next = json_deep_copy(arrival->incoming);
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        json_t *value = json_object_get(arrival->progress, members[i]);
        (void)(value ? json_object_set(next, members[i], value)
                     : json_object_del(next, members[i]));
    }
    if (arrival->progress && !json_equal(next, arrival->incoming)) {
        add_json(intake, arrival->in_row, next);
        strings_append(&intake->unchanged, arrival->in_row);
        write_rows(intake);
    }
}

/* Its life here. */
static struct vm_desired *make_next(const struct arrival *arrival)
{
    const json_t *origin = json_object_get(arrival->progress, "origin");
    struct vm_desired *next = vm_desired_copy(arrival->vm);
    next->generation++;
    next->fleet.epoch++;
    next->fleet.is_ahead = false;
    next->fleet.base = 0;
    next->power = next->fleet.starts_after ? POWER_RUNNING : next->power;
    next->fleet.starts_after = false;
    free(TAKE_PTR(next->fleet.move_to));
    vm_desired_drop_requests(next); /* they were done there, or are not done any more */
    fields_free(&vm_origin_fields, TAKE_PTR(next->origin));
    next->n_origins = 0;
    if (origin) {
        struct error ignored = {.code = ERR_NONE};
        struct vm_origin *made = fields_new(&vm_origin_fields);
        (void)fields_from_json(&vm_origin_fields, origin, made, &ignored);
        next->origin = made;
        next->n_origins = 1;
        next->wants_prepared = true; /* also if it is to be off: the files are its own then */
    }
    return next;
}

/* The VM is this node's. */
static void end_move(struct intake *intake, const struct arrival *arrival)
{
    const struct member *member = intake->member;
    const char *own = member->config->node, *from = arrival->from, *name = arrival->name;
    struct vm_desired *next = make_next(arrival);
    cleanup_free char *vm_row = fleet_row(FLEET_KIND_VM, own, name);
    cleanup_free char *name_row = fleet_row(FLEET_KIND_NAME, name, NULL);
    cleanup_free char *status_row = fleet_row(FLEET_KIND_STATUS, from, name);
    cleanup_free char *alive_row = fleet_row(FLEET_KIND_ALIVE, own, NULL);
    cleanup_free char *hold_row = fleet_row(FLEET_KIND_HOLD, own, NULL);
    cleanup_free char *rest_row = fleet_row(FLEET_KIND_HOLD, from, NULL);
    cleanup_free char *hold = hold_text(member, own, name, next->spec);
    cleanup_free char *rest = hold_text(member, from, name, NULL);
    cleanup_free char *mark_row = tombstone_row(from, next->uid);
    cleanup_free char *mark = tombstone_text(member, arrival->vm, own, arrival->token);
    cleanup_json json_t *owner = json_object(), *json = vm_desired_to_json(next);
    json_put_text(owner, "node", own);
    json_put_text(owner, "uid", next->uid);
    json_put_int(owner, "epoch", (int64_t)next->fleet.epoch);
    intake_add_row(intake, arrival->vm_row, "");
    intake_add_row(intake, status_row, "");
    intake_add_row(intake, arrival->in_row, "");
    add_json(intake, vm_row, json);
    add_json(intake, name_row, owner);
    intake_add_row(intake, mark_row, mark);
    intake_add_row(intake, hold_row, hold);
    intake_add_row(intake, rest_row, rest);
    const char *const unchanged[] = {
        arrival->vm_row, arrival->in_row, name_row, alive_row, hold_row, rest_row};
    for (size_t i = 0; i < ARRAY_LEN(unchanged); i++) {
        strings_append(&intake->unchanged, unchanged[i]);
    }
    log_info("fleet", "%s: arrived from node '%s'", name, from);
    write_rows(intake);
    vm_desired_free(next);
}

/* ---- what is fetched ---- */

static void put_progress(const struct member *member, const char *name, const json_t *json)
{
    struct error err = {.code = ERR_NONE};
    cleanup_free char *row = fleet_row(FLEET_KIND_FETCHED, name, NULL);
    struct store_batch *batch = store_batch_new();
    store_batch_put_json(batch, STORE_FLEET, row, json);
    if (store_commit(member->store, batch, &err) < 0) {
        log_warn("fleet", "%s", err.message);
    }
    store_batch_free(batch);
}

/* What it says itself in fetched/V is better than how it ended. */
static void record_failure(const struct intake *intake, const struct error *err)
{
    cleanup_free char *row = fleet_row(FLEET_KIND_FETCHED, intake->fetched, NULL);
    cleanup_json json_t *known = NULL;
    struct error ignored = {.code = ERR_NONE};
    (void)store_get_json(intake->member->store, STORE_FLEET, row, &known, &ignored);
    bool is_ours = text_eq(json_text(known, "token"), intake->token);
    if (!is_ours || !json_text(known, "error")) {
        cleanup_json json_t *failed = json_object();
        json_put_text(failed, "token", intake->token);
        json_put_text(failed, "error", err->message);
        put_progress(intake->member, intake->fetched, failed);
    }
}

/* Each has a pause of its own: two that fail do not take turns without one. */
static void note_failure(struct intake *intake)
{
    const json_t *before = json_object_get(intake->failed, intake->fetched);
    bool is_again = text_eq(json_text(before, "token"), intake->token);
    int64_t pause_ms = is_again ? json_int(before, "pauseMs", 0) * 2 : RETRY_FIRST_MS;
    json_t *failure = json_object();
    pause_ms = pause_ms > RETRY_MAX_MS ? RETRY_MAX_MS : pause_ms;
    json_put_text(failure, "token", intake->token);
    json_put_int(failure, "pauseMs", pause_ms);
    json_put_int(failure, "atMs", loop_now_ms(intake->member->loop) + pause_ms);
    json_put(intake->failed, intake->fetched, failure);
}

static void on_fetched(void *context, const struct error *err, const char *output)
{
    struct intake *intake = context;
    struct member *member = intake->member;
    (void)output;
    intake->fetch = NULL;
    if (err) {
        note_failure(intake);
        log_warn("fleet", "%s: not fetched: %s", intake->fetched, err->message);
        record_failure(intake, err);
    }
    member->look(member->context, false);
}

static void start_fetch(struct intake *intake, const struct arrival *arrival)
{
    const char *const argv[] = {intake->program, "--quiet", "--data-dir",
        intake->member->paths->data_dir, "fleet", "fetch", arrival->name, NULL};
    const struct child_request request = {.argv = argv, .timeout_ms = FETCH_MS};
    const json_t *failure = json_object_get(intake->failed, arrival->name);
    bool has_failed = text_eq(json_text(failure, "token"), arrival->token);
    int64_t wait_ms =
        has_failed ? json_int(failure, "atMs", 0) - loop_now_ms(intake->member->loop) : 0;
    if (wait_ms > 0) {
        intake->wait_ms = wait_ms < intake->wait_ms ? wait_ms : intake->wait_ms;
        return;
    }
    free(intake->fetched);
    free(intake->token);
    intake->fetched = mem_strdup(arrival->name);
    intake->token = mem_strdup(arrival->token);
    log_info("fleet", "%s: fetching its disk from node '%s'", arrival->name, arrival->from);
    intake->fetch = child_start(intake->member->loop, &request, on_fetched, intake);
}

/* Its files were removed by hand, or it has come before: then it is fetched again. */
static bool is_complete(const struct member *member, const struct arrival *arrival)
{
    const char *id = json_text(json_object_get(arrival->progress, "origin"), "import");
    cleanup_free char *relative = id ? mem_printf("imports/%s", id) : NULL;
    cleanup_free char *path = id ? paths_path(member->paths, relative) : NULL;
    return json_flag(arrival->progress, "isDone", false) && (!path || fs_exists(path));
}

/* It would be nowhere, if it were given to a node that does not take it. */
static int check_taken(
    const struct member *member, const struct arrival *arrival, struct error *err)
{
    bool has = false;
    int rc = store_has(member->store, arrival->name, &has, err);
    if (rc == 0 && has) {
        return error_set(err, ERR_FLEET_NAME_TAKEN, "this host has its own VM of that name");
    }
    cleanup_free char *directory = paths_vm(member->paths, arrival->name, VM_DIR);
    if (fs_exists(directory)) { /* its files would be in the way, once it is here */
        return error_set(err, ERR_FLEET_NAME_TAKEN,
            "the directory '%s' belongs to no known VM: move it away", directory);
    }
    return rc == 0 ? refused_check(member, arrival->vm, err) : rc;
}

static void take_in(struct intake *intake, const struct arrival *arrival)
{
    const struct member *member = intake->member;
    bool is_coming = arrival->vm && json_flag(arrival->incoming, "offered", false);
    struct error err = {.code = ERR_NONE};
    if (!is_coming) {
        return;
    }
    if (!is_complete(member, arrival)) {
        if (!intake->op) {
            show_progress(intake, arrival);
        }
        if (!intake->fetch && intake->program) {
            start_fetch(intake, arrival);
        }
    } else if (!intake->op && check_taken(member, arrival, &err) < 0) {
        json_put_text(arrival->progress, "error", err.message);
        show_progress(intake, arrival);
    } else if (!intake->op) {
        end_move(intake, arrival);
    }
}

/* ---- what is not to come any more, or is here ---- */

/* Whether the VM, as etcd has it here, needs what was fetched, and does not say so here yet. */
static bool is_due(const struct member *member, const char *name, const char *import)
{
    struct error ignored = {.code = ERR_NONE};
    cleanup_free char *vm_row = fleet_row(FLEET_KIND_VM, member->config->node, name);
    cleanup_json json_t *vm = mirror_json(member->mirror, vm_row);
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    const char *wanted = json_text(json_array_get(json_object_get(vm, "origin"), 0), "import");
    if (!text_eq(wanted, import) || !import) {
        return false;
    }
    return store_get(member->store, name, &record, &ignored) < 0 || !record.desired ||
           !text_eq(record.desired->uid, json_text(vm, "uid"));
}

/* Or not yet. */
static bool is_needed(const struct member *member, const char *import)
{
    struct vm_list list = {.count = 0};
    struct error ignored = {.code = ERR_NONE};
    bool is = store_list(member->store, &list, &ignored) < 0;
    for (size_t i = 0; i < list.count && !is; i++) {
        const struct vm_desired *desired = list.records[i].desired;
        is = list.records[i].is_damaged ||
             (desired && desired->origin && text_eq(desired->origin->import, import));
    }
    vm_list_clear(&list);
    return is;
}

static void forget_one(struct intake *intake, const char *name, const json_t *progress)
{
    const struct member *member = intake->member;
    struct error ignored = {.code = ERR_NONE};
    const char *import = json_text(json_object_get(progress, "origin"), "import");
    struct arrival arrival;
    arrival_read(member, name, &arrival);
    bool is_wanted = (arrival.vm && arrival.progress) || is_due(member, name, import);
    arrival_clear(&arrival);
    if (is_wanted) {
        return;
    }
    if (import && !is_needed(member, import)) {
        (void)fs_remove_beneath(member->paths->data_dir, "imports", import, &ignored);
    }
    put_progress(member, name, NULL);
}

static void forget_others(struct intake *intake)
{
    struct error ignored = {.code = ERR_NONE};
    cleanup_json json_t *rows = NULL;
    const char *row;
    json_t *value;
    (void)store_list_json_below(intake->member->store, STORE_FLEET, "fetched/", &rows, &ignored);
    json_object_foreach(rows, row, value)
    {
        struct fleet_key key = fleet_row_parse(row);
        if (key.kind == FLEET_KIND_FETCHED) {
            forget_one(intake, key.first, value);
        }
        fleet_key_clear(&key);
    }
}

/* ---- all of them ---- */

static void add_name(void *context, const struct fleet_key *key, const struct mirror_row *row)
{
    (void)row;
    strings_add(context, key->second);
}

/* It was cancelled, destroyed, or requested once more. */
static void end_unwanted_fetch(struct intake *intake)
{
    struct arrival arrival;
    if (intake->fetch) {
        arrival_read(intake->member, intake->fetched, &arrival);
        if (!arrival.vm || !text_eq(arrival.token, intake->token)) {
            op_cancel(TAKE_PTR(intake->fetch));
        }
        arrival_clear(&arrival);
    }
}

void intake_look(struct intake *intake)
{
    const struct member *member = intake->member;
    struct strings names = {.count = 0};
    const char *name;
    json_t *failure;
    void *next;
    intake->wait_ms = INT64_MAX;
    end_unwanted_fetch(intake);
    mirror_each_of(member->mirror, FLEET_KIND_IN, member->config->node, add_name, &names);
    for (size_t i = 0; i < names.count; i++) {
        struct arrival arrival;
        arrival_read(member, names.items[i], &arrival);
        take_in(intake, &arrival);
        arrival_clear(&arrival);
    }
    if (intake->wait_ms < INT64_MAX) {
        loop_timer_start(intake->again, intake->wait_ms);
    }
    json_object_foreach_safe(intake->failed, next, name, failure)
    {
        if (!strings_have(&names, name)) {
            (void)json_object_del(intake->failed, name);
        }
    }
    forget_others(intake);
    strings_clear(&names);
}
