/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/fleet/tombstone.h"

#include <stdlib.h>
#include <string.h>

#include "controller/fleet/member.h"
#include "controller/fleet/mirror.h"
#include "controller/loop/loop.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/fleet/fleet_config.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"
#include "store/batch.h"
#include "store/bell.h"
#include "store/store.h"

void tombstone_clear(struct tombstone *tombstone)
{
    free(tombstone->row);
    free(tombstone->to);
    vm_desired_free(tombstone->vm);
    *tombstone = (struct tombstone){.row = NULL};
}

/* ---- reading ---- */

/* Any peer of the fleet may have written it. NULL: it is none. */
static struct vm_desired *read_vm(const json_t *json, const char *uid)
{
    struct error ignored = {.code = ERR_NONE};
    const json_t *object = json_object_get(json, "vm");
    cleanup_free char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    struct vm_desired *vm =
        text ? vm_desired_read((struct bytes){text, strlen(text)}, &ignored) : NULL;
    if (vm && !text_eq(vm->uid, uid)) {
        vm_desired_free(vm);
        return NULL;
    }
    return vm;
}

struct wanted {
    const struct member *member;
    const char *name;
    const char *uid; /* NULL: any */
    struct tombstone *ret;
};

static void take_tombstone(void *context, const struct fleet_key *key, const struct mirror_row *row)
{
    const struct wanted *wanted = context;
    const struct member *member = wanted->member;
    if (wanted->ret->row || (wanted->uid && !text_eq(key->second, wanted->uid))) {
        return;
    }
    cleanup_json json_t *json = mirror_json(member->mirror, row->row);
    struct vm_desired *vm = read_vm(json, key->second);
    if (!vm || !text_eq(vm->spec->name, wanted->name)) {
        vm_desired_free(vm);
        return;
    }
    *wanted->ret = (struct tombstone){.row = mem_strdup(row->row),
        .epoch = (uint64_t)json_int(json, "epoch", 0),
        .to = json_copy_text(json, "to"),
        .vm = vm};
}

void tombstone_find(const struct member *member, const char *name,
    const struct vm_desired *desired_here, struct tombstone *ret)
{
    const char *uid = desired_here ? desired_here->uid : NULL;
    struct wanted wanted = {member, name, uid, ret};
    *ret = (struct tombstone){.row = NULL};
    mirror_each_of(member->mirror, FLEET_KIND_GONE, member->config->node, take_tombstone, &wanted);
    if (!ret->row && uid) { /* of an earlier VM of the name, which is not here any more */
        wanted.uid = NULL;
        mirror_each_of(
            member->mirror, FLEET_KIND_GONE, member->config->node, take_tombstone, &wanted);
    }
}

struct asked {
    const struct member *member;
    const char *name, *token;
    bool is_found;
};

static void compare_token(void *context, const struct fleet_key *key, const struct mirror_row *row)
{
    struct asked *asked = context;
    cleanup_json json_t *json = mirror_json(asked->member->mirror, row->row);
    const json_t *spec = json_object_get(json_object_get(json, "vm"), "spec");
    (void)key;
    asked->is_found |= text_eq(json_text(json, "token"), asked->token) &&
                       text_eq(json_text(spec, "name"), asked->name);
}

bool tombstone_is_of(const struct member *member, const char *name, const char *token)
{
    struct asked asked = {member, name, token, false};
    mirror_each(member->mirror, FLEET_KIND_GONE, compare_token, &asked);
    return asked.is_found;
}

/* ---- writing ---- */

char *tombstone_row(const char *node, const char *uid)
{
    return fleet_row(FLEET_KIND_GONE, node, uid);
}

char *tombstone_text(
    const struct member *member, const struct vm_desired *vm, const char *to, const char *token)
{
    cleanup_json json_t *json = json_object();
    json_put_int(json, "epoch", (int64_t)vm->fleet.epoch);
    json_put_text(json, "to", to);
    json_put_int(json, "at", clock_wall_ms(loop_clock(member->loop)));
    json_put_text(json, "token", token);
    json_put(json, "vm", vm_desired_to_json(vm));
    return json_dumps(json, JSON_COMPACT);
}

/* ---- what its node does ---- */

int tombstone_fence(const struct member *member, const struct vm_record *record,
    const struct tombstone *tombstone, struct error *err)
{
    const struct vm_desired *here = record->desired;
    const char *name = tombstone->vm->spec->name;
    struct error ignored = {.code = ERR_NONE};
    struct store_batch *batch = store_batch_new();
    struct vm_desired *next = vm_desired_copy(here ? here : tombstone->vm);
    cleanup_free char *message = tombstone->to ? mem_printf("node %s has it now", tombstone->to)
                                               : mem_strdup("it was destroyed from another node");
    next->generation++;
    next->is_deleting = true;
    next->fleet.is_fenced = true;
    next->fleet.is_ahead = false;
    next->fleet.base = 0;
    next->fleet.epoch = next->fleet.epoch ? next->fleet.epoch : tombstone->epoch;
    store_batch_put_desired(batch, next, here ? here->revision : 0);
    store_batch_add_event(
        batch, name, true, REASON_MOVED_AWAY, message, clock_wall_ms(loop_clock(member->loop)));
    int rc = store_commit(member->store, batch, err);
    if (rc == 0) {
        log_warn("fleet", "%s: ended, files moved to quarantine/: %s", name, message);
        (void)bell_ring(member->paths, BELL_DESIRED, &ignored); /* costs a delay */
    }
    vm_desired_free(next);
    store_batch_free(batch);
    return rc;
}
