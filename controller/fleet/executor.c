/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/fleet/parts.h"

#include <stdlib.h>
#include <string.h>

#include "controller/fleet/engine.h"
#include "controller/fleet/files.h"
#include "controller/fleet/fleet_decide.h"
#include "controller/fleet/hold.h"
#include "controller/fleet/member.h"
#include "controller/fleet/mirror.h"
#include "controller/fleet/refused.h"
#include "controller/loop/loop.h"
#include "controller/fleet/tombstone.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/lockfile.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/proxies.h"
#include "specs/base/strings.h"
#include "specs/fleet/fleet_config.h"
#include "specs/fleet/fleet_files.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"
#include "store/batch.h"
#include "store/bell.h"
#include "store/desired/pending.h"
#include "store/store.h"

enum { ROWS_MAX = 8, COMPARES_MAX = 4 };

struct executor {
    struct member *member;
    struct op *op; /* a transaction on its way; NULL: none */
    struct engine_result result;
    char *hold_row;             /* of this node */
    char *erased;               /* prefix of keys that it deletes besides; NULL: none */
    struct strings rows, texts; /* that it writes; "": deleted */
    struct strings unchanged;   /* that have to be as they are known */
    struct strings reported;    /* "web NameTaken": said once */
    bool has_marks;             /* of this node, for any VM: mostly there are none */
    struct files *files;
    json_t *refused; /* found by this look: member.refused in its end */
};

struct executor *executor_new(struct member *member)
{
    struct executor *executor = mem_new(struct executor);
    executor->member = member;
    executor->files = files_new(member);
    executor->hold_row = fleet_row(FLEET_KIND_HOLD, member->config->node, NULL);
    return executor;
}

void executor_free(struct executor *executor)
{
    if (executor) {
        op_cancel(executor->op);
        files_free(executor->files);
        engine_result_clear(&executor->result);
        free(executor->hold_row);
        strings_clear(&executor->rows);
        strings_clear(&executor->texts);
        strings_clear(&executor->unchanged);
        strings_clear(&executor->reported);
        free(executor);
    }
}

/* One VM: its row of etcd, and what is here. */
struct subject {
    const char *name;
    char *row;
    char *in_row;              /* of the node that it moves to; NULL: it does not */
    struct vm_desired *object; /* NULL: there is none */
    struct vm_record record;
    struct tombstone tombstone;
    struct fleet_situation situation;
};

static void subject_clear(struct subject *subject)
{
    free(subject->row);
    free(subject->in_row);
    vm_desired_free(subject->object);
    vm_record_clear(&subject->record);
    tombstone_clear(&subject->tombstone);
}

static void look_at_machine(const struct member *member, struct subject *subject)
{
    cleanup_free char *directory = paths_vm(member->paths, subject->name, VM_DIR);
    cleanup_free char *lock = paths_vm(member->paths, subject->name, VM_ALIVE_LOCK);
    subject->situation.has_directory = fs_exists(directory);
    subject->situation.is_locked = lockfile_is_held(lock);
}

static void look_at_move(const struct member *member, struct subject *subject)
{
    const struct vm_desired *object = subject->object;
    const char *to = object ? object->fleet.move_to : NULL;
    subject->in_row = to ? fleet_row(FLEET_KIND_IN, to, subject->name) : NULL;
    cleanup_json json_t *incoming = to ? mirror_json(member->mirror, subject->in_row) : NULL;
    subject->situation.is_moving = to != NULL;
    subject->situation.is_offered = to && json_flag(incoming, "offered", false) &&
                                    text_eq(json_text(incoming, "token"), object->fleet.moved);
    subject->situation.is_settled = record_is_at_rest(&subject->record);
}

/* From DATA/imports/ID, as intake.c has it, and nowhere else. */
static bool is_fetched(const struct vm_origin *origin)
{
    const char *id = origin->import;
    return id && strlen(id) == TEXT_ID_SIZE - 1 && strspn(id, "0123456789abcdef") == strlen(id) &&
           !origin->snapshot.prepared.image_path;
}

/* Every user of etcd who may write there could have written it. */
static int check_object(const struct vm_desired *object, const char *name, struct error *err)
{
    if (!text_eq(object->spec->name, name)) {
        return error_set(err, ERR_STORE, "its spec has the name of another VM");
    }
    return object->origin && !is_fetched(object->origin) && !object->is_deleting
               ? error_set(err, ERR_STORE, "its record names a disk outside the fleet's imports")
               : 0;
}

/* Without a record here it may be the one that was. */
static bool is_same_vm(const struct vm_desired *vm, const struct vm_desired *here)
{
    return !here || text_eq(vm->uid, here->uid);
}

/* Of a VM that is this host's alone, and was never the fleet's, other nodes see the uid: a row with
 * that uid makes it no more the fleet's than one with its name. */
static bool is_objects(const struct vm_desired *here, const struct vm_desired *object)
{
    return here && object && text_eq(here->uid, object->uid) &&
           (here->fleet.epoch || here->fleet.home);
}

/* A store that was put back from a backup has a VM again which was given away since, and whose mark
 * is gone: of the same VM the later epoch counts, as it stands in name/V. */
static void look_at_owner(const struct member *member, struct subject *subject)
{
    const struct vm_desired *here = subject->record.desired;
    if (subject->object || subject->tombstone.row || !here || !here->fleet.epoch) {
        return;
    }
    cleanup_free char *row = fleet_row(FLEET_KIND_NAME, subject->name, NULL);
    cleanup_json json_t *owner = mirror_json(member->mirror, row);
    const char *node = json_text(owner, "node");
    if (node && !text_eq(node, member->config->node) &&
        text_eq(json_text(owner, "uid"), here->uid) &&
        json_int(owner, "epoch", 0) > (int64_t)here->fleet.epoch) {
        subject->tombstone = (struct tombstone){
            .epoch = here->fleet.epoch, .to = mem_strdup(node), .vm = vm_desired_copy(here)};
    }
}

/* An error: its row, or its record, cannot be read, and nothing is done about it. */
static int subject_read(
    const struct executor *executor, const char *name, struct subject *ret, struct error *err)
{
    const struct member *member = executor->member;
    ret->name = name;
    ret->row = fleet_row(FLEET_KIND_VM, member->config->node, name);
    const struct mirror_row *row = mirror_get(member->mirror, ret->row);
    int rc = store_get(member->store, name, &ret->record, err);
    if (rc == 0 && row) {
        ret->object = vm_desired_read((struct bytes){row->text, strlen(row->text)}, err);
        rc = ret->object ? check_object(ret->object, name, err) : -(int)err->code;
    }
    if (rc < 0) {
        return rc;
    }
    const struct vm_desired *object = ret->object, *here = ret->record.desired;
    if (executor->has_marks) {
        tombstone_find(member, name, here, &ret->tombstone);
    }
    look_at_owner(member, ret);
    ret->situation = (struct fleet_situation){
        .is_read = true,
        .has_object = object != NULL,
        .is_object_deleting = object && object->is_deleting,
        .object_epoch = object ? object->fleet.epoch : 0,
        .object_generation = object ? object->generation : 0,
        .has_tombstone = ret->tombstone.vm && is_same_vm(ret->tombstone.vm, here),
        .has_spent_tombstone = ret->tombstone.vm && !is_same_vm(ret->tombstone.vm, here),
        .tombstone_epoch = ret->tombstone.epoch,
        .has_record = here != NULL,
        .is_fenced = here && here->fleet.is_fenced,
        .is_fleets = here && here->fleet.epoch > 0,
        .is_same_vm = is_objects(here, object),
        .is_ahead = here && here->fleet.is_ahead,
        .epoch = here ? here->fleet.epoch : 0,
        .generation = here ? here->generation : 0,
        .base = here ? here->fleet.base : 0,
    };
    look_at_machine(member, ret);
    look_at_move(member, ret);
    return 0;
}

/* ---- in this host's store ---- */

/* What only counts here stays as it is. */
static int write_record(
    const struct member *member, const struct subject *subject, struct error *err)
{
    const struct vm_desired *here = subject->record.desired;
    struct error ignored = {.code = ERR_NONE};
    struct store_batch *batch = store_batch_new();
    struct vm_desired *next = vm_desired_copy(subject->object);
    next->fleet.is_ahead = false;
    next->fleet.base = 0;
    next->fleet.is_fenced = false; /* a mark says that, and no record of etcd */
    if (!here && subject->situation.has_directory) {
        vm_desired_drop_requests(next); /* its record was lost, and with it that they were done */
    }
    fleet_files_place(next->spec, member->paths->data_dir);
    if (here) {
        next->halt_owner = here->halt_owner;
        memcpy(next->halt_boot, here->halt_boot, CLOCK_BOOT_ID_SIZE);
        proxies_assign(&next->proxies, &here->proxies);
    }
    if (here && here->fleet.is_ahead && here->power != next->power) {
        store_batch_add_event(batch, subject->name, true, REASON_OVERRIDE_DROPPED,
            "changed here while etcd was unreachable, and elsewhere since: the other change wins",
            clock_wall_ms(loop_clock(member->loop)));
    }
    store_batch_put_desired(batch, next, here ? here->revision : 0);
    int rc = store_commit(member->store, batch, err);
    if (rc == 0) {
        log_info("fleet", "%s: generation %llu of the fleet", subject->name,
            (unsigned long long)next->generation);
        (void)bell_ring(member->paths, BELL_DESIRED, &ignored); /* costs a delay */
    }
    vm_desired_free(next);
    store_batch_free(batch);
    return rc;
}

/* The spec that is here was taken before, whatever the node takes now. */
static int write_if_taken(
    struct executor *executor, const struct subject *subject, struct error *err)
{
    struct member *member = executor->member;
    const struct vm_desired *here = subject->record.desired;
    struct vm_spec *placed = vm_spec_copy(subject->object->spec);
    fleet_files_place(placed, member->paths->data_dir);
    bool is_known = here && subject->situation.is_same_vm && vm_spec_equal(here->spec, placed);
    vm_spec_free(placed);
    int64_t revision = mirror_get(member->mirror, subject->row)->mod_revision;
    bool needs_files = !is_known && !subject->object->is_deleting;
    int rc = is_known ? 0 : refused_check(member, subject->object, err);
    rc = rc == 0 && needs_files
             ? files_have(executor->files, subject->name, subject->object->spec, revision, err)
             : rc;
    if (rc == -ERR_FLEET_NO_NODE) {
        const json_t *before = json_object_get(member->refused, subject->name);
        json_put(executor->refused, subject->name,
            refused_entry(subject->object, err, before, clock_wall_ms(loop_clock(member->loop))));
    }
    return rc < 0 ? rc : rc > 0 ? 0 : write_record(member, subject, err);
}

/* ---- in etcd ---- */

static void on_written(void *context, const struct error *err)
{
    struct executor *executor = context;
    struct member *member = executor->member;
    bool is_done = executor->result.outcome == ENGINE_SUCCEEDED;
    executor->op = NULL;
    if (is_done) {
        member_note_rows(member, &executor->rows, &executor->texts, executor->result.revision);
    }
    if (err) {
        log_warn("fleet", "cannot write: %s", err->message);
    }
    strings_clear(&executor->rows);
    strings_clear(&executor->texts);
    strings_clear(&executor->unchanged);
    engine_result_clear(&executor->result);
    member->look(member->context, err != NULL);
}

/* Writes the rows that were added, if those are still as they were when it was decided. */
static void write_rows(struct executor *executor)
{
    struct member *member = executor->member;
    struct engine_write writes[ROWS_MAX + 1];
    struct engine_compare compares[COMPARES_MAX];
    char *keys[ROWS_MAX], *compared[COMPARES_MAX];
    size_t n = executor->rows.count, n_compared = executor->unchanged.count;
    for (size_t i = 0; i < n_compared; i++) {
        const char *row = executor->unchanged.items[i];
        compared[i] = member_key(member, row);
        compares[i] = member_if_unchanged(member, row, compared[i]);
    }
    for (size_t i = 0; i < n; i++) {
        const char *text = executor->texts.items[i];
        keys[i] = member_key(member, executor->rows.items[i]);
        writes[i] = member_write(keys[i], text[0] ? text : NULL);
    }
    cleanup_free char *erased = TAKE_PTR(executor->erased);
    writes[n] = (struct engine_write){.kind = ENGINE_DELETE_PREFIX, .key = erased};
    const struct engine_txn txn = {.compares = compares,
        .n_compares = n_compared,
        .writes = writes,
        .n_writes = n + (erased ? 1 : 0)};
    executor->op =
        member->engine->ops->txn(member->engine, &txn, &executor->result, on_written, executor);
    for (size_t i = 0; i < n; i++) {
        free(keys[i]);
    }
    for (size_t i = 0; i < n_compared; i++) {
        free(compared[i]);
    }
}

static void executor_add_row(struct executor *executor, const char *row, const char *text)
{
    strings_append(&executor->rows, row);
    strings_append(&executor->texts, text);
}

static void push_change(struct executor *executor, const struct subject *subject)
{
    struct vm_desired *next = vm_desired_copy(subject->record.desired);
    uint64_t theirs = subject->object->generation;
    next->generation = (next->generation > theirs ? next->generation : theirs) + 1;
    next->revision = 0;
    vm_spec_free(
        next->spec); /* which is as the fleet has it: only what it is asked to do differs */
    next->spec = vm_spec_copy(subject->object->spec);
    next->halt_owner = 0;
    next->halt_boot[0] = '\0';
    next->fleet.epoch = subject->object->fleet.epoch;
    next->fleet.is_ahead = false;
    next->fleet.base = 0;
    cleanup_json json_t *json = vm_desired_to_json(next);
    cleanup_free char *text = json_dumps(json, JSON_COMPACT);
    executor_add_row(executor, subject->row, text);
    strings_append(&executor->unchanged, subject->row);
    write_rows(executor);
    vm_desired_free(next);
}

/* Nor does it go anywhere. */
static void end_move_of(struct executor *executor, const struct subject *subject)
{
    const struct member *member = executor->member;
    const char *to = subject->object->fleet.move_to;
    executor_add_row(executor, subject->in_row, "");
    if (!text_eq(to, member->config->node)) {
        cleanup_free char *hold_row = fleet_row(FLEET_KIND_HOLD, to, NULL);
        cleanup_free char *hold = hold_text(member, to, subject->name, NULL);
        executor_add_row(executor, hold_row, hold);
        strings_append(&executor->unchanged, hold_row);
    }
}

static void commit_destroyed(struct executor *executor, const struct subject *subject)
{
    const struct member *member = executor->member;
    cleanup_free char *name = fleet_row(FLEET_KIND_NAME, subject->name, NULL);
    cleanup_free char *status = fleet_row(FLEET_KIND_STATUS, member->config->node, subject->name);
    cleanup_json json_t *owner = mirror_json(member->mirror, name);
    cleanup_free char *rest = hold_text(member, member->config->node, subject->name, NULL);
    executor_add_row(executor, subject->row, "");
    executor_add_row(executor, status, "");
    if (text_eq(json_text(owner, "uid"), subject->object->uid)) {
        executor_add_row(executor, name, "");
        executor->erased = files_prefix(member, subject->name);
    }
    if (subject->object->fleet.move_to) {
        end_move_of(executor, subject);
    }
    executor_add_row(executor, executor->hold_row, rest);
    strings_append(&executor->unchanged, subject->row);
    strings_append(&executor->unchanged, executor->hold_row);
    log_info("fleet", "%s: destroyed", subject->name);
    write_rows(executor);
}

/* The other node may fetch it. Also that it shall, if etcd has lost that. */
static void offer(struct executor *executor, const struct subject *subject)
{
    const struct member *member = executor->member;
    cleanup_json json_t *known = mirror_json(member->mirror, subject->in_row);
    cleanup_json json_t *incoming = known ? json_deep_copy(known) : json_object();
    json_put_text(incoming, "from", member->config->node);
    json_put_text(incoming, "uid", subject->object->uid);
    json_put_int(incoming, "epoch", (int64_t)subject->object->fleet.epoch);
    json_put_text(incoming, "token", subject->object->fleet.moved);
    json_put_flag(incoming, "offered", true);
    cleanup_free char *text = json_dumps(incoming, JSON_COMPACT);
    executor_add_row(executor, subject->in_row, text);
    strings_append(&executor->unchanged, subject->in_row);
    strings_append(&executor->unchanged, subject->row);
    write_rows(executor);
}

static void remove_tombstone(struct executor *executor, const struct subject *subject)
{
    executor_add_row(executor, subject->tombstone.row, "");
    strings_append(&executor->unchanged, subject->tombstone.row);
    write_rows(executor);
}

static void write_to_etcd(
    struct executor *executor, enum fleet_action action, const struct subject *subject)
{
    switch (action) {
    case FLEET_PUSH:
        push_change(executor, subject);
        break;
    case FLEET_COMMIT_DESTROYED:
        commit_destroyed(executor, subject);
        break;
    case FLEET_OFFER:
        offer(executor, subject);
        break;
    default:
        remove_tombstone(executor, subject);
    }
}

/* ---- all VMs ---- */

/* It runs on; said once by each messenger. */
static int report_orphaned(struct executor *executor, const char *name, struct error *err)
{
    const struct member *member = executor->member;
    cleanup_free char *text = mem_printf("%s: missing from etcd", name);
    if (strings_have(&executor->reported, text)) {
        return 0;
    }
    strings_add(&executor->reported, text);
    struct store_batch *batch = store_batch_new();
    store_batch_add_event(batch, name, true, REASON_FLEET_RECORD_MISSING,
        "etcd lost its record; it keeps running; to restore it: vmctl fleet republish",
        clock_wall_ms(loop_clock(member->loop)));
    int rc = store_commit(member->store, batch, err);
    store_batch_free(batch);
    return rc;
}

/* Until something else is to be said of the VM, or the messenger is another one. */
static void report_once(struct executor *executor, const char *name, const char *what)
{
    cleanup_free char *text = mem_printf("%s: %s", name, what);
    if (!strings_have(&executor->reported, text)) {
        strings_add(&executor->reported, text);
        log_warn("fleet", "leaving vm '%s' as it is: %s", name, what);
    }
}

static int executor_act(struct executor *executor, const struct subject *subject, struct error *err)
{
    enum fleet_action action = fleet_decide(&subject->situation);
    switch (action) {
    case FLEET_WRITE_NEW:
    case FLEET_WRITE_CHANGE:
    case FLEET_DROP_OVERRIDE:
        return write_if_taken(executor, subject, err);
    case FLEET_PUSH:
    case FLEET_COMMIT_DESTROYED:
    case FLEET_REMOVE_TOMBSTONE:
    case FLEET_OFFER:
        if (!executor->op) { /* else after that one */
            write_to_etcd(executor, action, subject);
        }
        return 0;
    case FLEET_FENCE:
        return tombstone_fence(executor->member, &subject->record, &subject->tombstone, err);
    case FLEET_REPORT_ORPHANED:
        return report_orphaned(executor, subject->name, err);
    case FLEET_AWAIT_CLEARED:
    case FLEET_AWAIT_STOP:
    case FLEET_NOTHING:
    case FLEET_WAIT:
        return 0;
    default:
        report_once(executor, subject->name, fleet_action_name(action));
        return 0;
    }
}

struct names {
    const struct member *member;
    struct strings strings;
    bool has_marks;
};

static void add_object(void *context, const struct fleet_key *key, const struct mirror_row *row)
{
    struct names *names = context;
    (void)row;
    strings_append(&names->strings, key->second);
}

static void add_tombstone(void *context, const struct fleet_key *key, const struct mirror_row *row)
{
    struct names *names = context;
    cleanup_json json_t *json = mirror_json(names->member->mirror, row->row);
    const char *name = json_text(json_object_get(json_object_get(json, "vm"), "spec"), "name");
    (void)key;
    names->has_marks = true;
    if (name && vm_name_is_valid(name)) {
        strings_add(&names->strings, name);
    }
}

/* Those of etcd, and those of the fleet that are here, or were. */
static int find_names(struct names *names, struct error *err)
{
    struct vm_list list = {.count = 0};
    int rc = store_list(names->member->store, &list, err);
    const struct member *member = names->member;
    mirror_each_of(member->mirror, FLEET_KIND_VM, member->config->node, add_object, names);
    mirror_each_of(member->mirror, FLEET_KIND_GONE, member->config->node, add_tombstone, names);
    for (size_t i = 0; i < list.count; i++) {
        if (list.records[i].desired && list.records[i].desired->fleet.epoch) {
            strings_add(&names->strings, list.records[i].name);
        }
    }
    vm_list_clear(&list);
    return rc;
}

void executor_look(struct executor *executor)
{
    struct error err = {.code = ERR_NONE};
    struct names names = {.member = executor->member};
    executor->refused = json_object();
    if (find_names(&names, &err) < 0) {
        log_warn("fleet", "cannot read the VMs: %s", err.message);
    }
    executor->has_marks = names.has_marks;
    for (size_t i = 0; i < names.strings.count; i++) {
        struct subject subject = {.name = NULL};
        error_clear(&err);
        int rc = subject_read(executor, names.strings.items[i], &subject, &err);
        rc = rc == 0 ? executor_act(executor, &subject, &err) : rc;
        if (rc == -ERR_STORE_STALE) { /* a command was faster */
            executor->member->look(executor->member->context, false);
        } else if (rc < 0) {
            report_once(executor, names.strings.items[i], err.message);
        }
        subject_clear(&subject);
    }
    json_decref(executor->member->refused);
    executor->member->refused = TAKE_PTR(executor->refused);
    strings_clear(&names.strings);
}
