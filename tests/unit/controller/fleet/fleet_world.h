/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Nodes of a fleet in one process: each with a store, a messenger on the engine in memory, and a
 * vmctld that is pretended: what is desired is so at once.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "controller/fleet/messenger.h"
#include "controller/loop/loop.h"
#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/proc_stat.h"
#include "specs/fleet/fleet_ask.h"
#include "specs/fleet/fleet_config.h"
#include "specs/fleet/fleet_keys.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"
#include "store/batch.h"
#include "store/desired/change.h"
#include "store/desired/change_json.h"
#include "store/lmdb/store_internal.h"
#include "store/session.h"
#include "store/store.h"
#include "tests/support/engine_fake.h"
#include "tests/support/loop_fake.h"

enum { WORLD_NODES = 3 };

struct world_node {
    struct world *world;
    char *dir;
    struct paths paths;
    struct store *store;
    struct fleet_config *config;
    struct engine *engine;
    struct messenger *messenger;
    struct loop_timer *machines;
    uint64_t n_asks;
    bool is_off; /* no machine is looked after */
};

struct world {
    struct loop *loop;
    struct engine_fake *fake;
    struct world_node nodes[WORLD_NODES];
    size_t count;
    bool fetches; /* nodes fetch the disks of VMs that move to them */
};

static inline void world_must(int rc, const struct error *err)
{
    if (rc < 0) {
        fail_msg("%s", err->message);
    }
}

/* ---- a pretended vmctld ---- */

static inline void world_run_machine(struct world_node *node, const struct vm_record *record)
{
    struct error err = {.code = ERR_NONE};
    struct store_batch *batch = store_batch_new();
    const struct vm_desired *desired = record->desired;
    bool is_seen = record->status && record->status->observed_generation == desired->generation;
    if (desired->is_deleting) {
        store_batch_forget_vm(batch, record->name, desired->uid);
    } else if (!is_seen) {
        struct vm_status *status = vm_status_new(desired->uid);
        bool runs = desired->power == POWER_RUNNING;
        strcpy(status->observer, "session");
        status->observed_generation = desired->generation;
        memcpy(status->handled_recreate_token, desired->recreate_token, TEXT_ID_SIZE);
        memcpy(status->handled_snapshot_token, desired->snapshot.token, TEXT_ID_SIZE);
        vm_status_set(status, CONDITION_READY, runs ? CONDITION_TRUE : CONDITION_FALSE,
            runs ? REASON_READY : REASON_STOPPED, NULL, 1);
        store_batch_put_status(batch, record->name, status);
        vm_status_free(status);
    }
    int rc = store_batch_is_empty(batch) ? 0 : store_commit(node->store, batch, &err);
    world_must(rc == -ERR_STORE_STALE ? 0 : rc, &err);
    if (!store_batch_is_empty(batch) && node->messenger) {
        messenger_ring(node->messenger);
    }
    store_batch_free(batch);
}

/* Every disk that is offered to the node is there. */
static inline void world_fetch(struct world_node *node)
{
    struct error err = {.code = ERR_NONE};
    struct store_batch *batch = store_batch_new();
    cleanup_json json_t *rows = NULL;
    const char *row;
    json_t *value;
    world_must(store_list_json_below(node->store, STORE_FLEET, "in/", &rows, &err), &err);
    json_object_foreach(rows, row, value)
    {
        struct fleet_key key = fleet_row_parse(row);
        if (text_eq(key.first, node->config->node) && json_flag(value, "offered", false)) {
            cleanup_free char *fetched = fleet_row(FLEET_KIND_FETCHED, key.second, NULL);
            cleanup_json json_t *done = json_object();
            json_put_text(done, "token", json_text(value, "token"));
            json_put_flag(done, "isDone", true);
            store_batch_put_json(batch, STORE_FLEET, fetched, done);
        }
        fleet_key_clear(&key);
    }
    world_must(store_batch_is_empty(batch) ? 0 : store_commit(node->store, batch, &err), &err);
    if (!store_batch_is_empty(batch) && node->messenger) {
        messenger_ring(node->messenger);
    }
    store_batch_free(batch);
}

static inline void world_run_machines(void *context)
{
    struct world_node *node = context;
    struct error err = {.code = ERR_NONE};
    struct vm_list list = {.count = 0};
    world_must(store_list(node->store, &list, &err), &err);
    for (size_t i = 0; i < list.count && !node->is_off; i++) {
        if (list.records[i].desired) {
            world_run_machine(node, &list.records[i]);
        }
    }
    vm_list_clear(&list);
    if (!node->is_off && node->world->fetches) {
        world_fetch(node);
    }
    loop_timer_start(node->machines, 500);
}

/* ---- the nodes ---- */

static inline void world_start(struct world_node *node)
{
    const struct messenger_options options = {.loop = node->world->loop,
        .store = node->store,
        .paths = &node->paths,
        .engine = node->engine,
        .config = node->config,
        .seed = 7};
    node->messenger = messenger_new(&options);
}

/* It is killed: its requests under way are not heard of again. */
static inline void world_kill(struct world_node *node)
{
    messenger_free(TAKE_PTR(node->messenger));
}

static inline void world_make_node(struct world *world, size_t i)
{
    struct world_node *node = &world->nodes[i];
    struct error err = {.code = ERR_NONE};
    struct proc_look look;
    struct store_batch *batch = store_batch_new();
    node->world = world;
    bool has_memory = access("/dev/shm", W_OK) == 0; /* where a commit waits for no disk */
    node->dir = mem_printf("%s/vmctl-test-fleet-XXXXXX", has_memory ? "/dev/shm" : "/tmp");
    node->paths.data_dir = mem_strdup(mkdtemp(node->dir));
    cleanup_free char *directory = paths_path(&node->paths, "fleet");
    world_must(fs_make_dirs(directory, 0700, &err), &err);
    world_must(store_open(&node->paths, &node->store, &err), &err);
    assert_true(proc_stat_look(getpid(), &look));
    cleanup_json json_t *session =
        session_record(&node->paths, "session", look.start_ticks, clock_system());
    json_put_flag(session, SESSION_OBSERVED_ALL, true);
    store_batch_put_json(batch, STORE_META, "controller", session);
    world_must(store_commit(node->store, batch, &err), &err);
    store_batch_free(batch);
    cleanup_free char *config = mem_printf("{\"fleet\":\"home\",\"uid\":\"f-1\",\"node\":\"%c\","
                                           "\"ssh\":\"me@%c\",\"endpoints\":[\"http://x\"]}",
        (char)('a' + i), (char)('a' + i));
    node->config = fleet_config_read(config, strlen(config), &err);
    assert_non_null(node->config);
    node->engine = engine_fake_connect(world->fake);
    node->machines = loop_timer_new(world->loop, world_run_machines, node);
    loop_timer_start(node->machines, 500);
    world_start(node);
}

static inline struct world *world_new(size_t count)
{
    struct world *world = mem_new(struct world);
    struct error err = {.code = ERR_NONE};
    world_must(loop_new(&world->loop, &err), &err);
    world->fake = engine_fake_new(world->loop);
    engine_fake_put(world->fake, FLEET_ROOT "home/fleet", "{\"v\":1,\"uid\":\"f-1\"}");
    world->count = count;
    for (size_t i = 0; i < count; i++) {
        world_make_node(world, i);
    }
    return world;
}

static inline void world_free(struct world *world)
{
    struct error err = {.code = ERR_NONE};
    for (size_t i = 0; i < world->count; i++) {
        struct world_node *node = &world->nodes[i];
        world_kill(node);
        loop_timer_free(node->machines);
        engine_close(node->engine);
        store_close(node->store);
        fleet_config_free(node->config);
        (void)fs_remove_tree(node->dir, &err);
        free(node->dir);
        paths_clear(&node->paths);
    }
    engine_fake_free(world->fake);
    loop_free(world->loop);
    free(world);
}

static inline void world_advance(struct world *world, int64_t s)
{
    loop_fake_advance(world->loop, s * 1000);
}

/* For cmocka: two nodes, a and b, that have registered. */
static inline int world_set_up(void **state)
{
    struct world *world = world_new(2);
    world_advance(world, 10);
    *state = world;
    return 0;
}

static inline int world_tear_down(void **state)
{
    world_free(*state);
    return 0;
}

/* ---- what a command does, and sees ---- */

/* A request for one VM, on `other` if `where` does not take it (NULL: on no other); free() its row.
 */
static inline char *world_ask_either(
    struct world_node *node, const struct change *change, const char *where, const char *other)
{
    struct error err = {.code = ERR_NONE};
    struct store_batch *batch = store_batch_new();
    cleanup_json json_t *ask = fleet_ask_new(clock_wall_ms(loop_clock(node->world->loop)));
    cleanup_free char *id =
        mem_printf("%s-%llu", node->config->node, (unsigned long long)node->n_asks++);
    char *row = fleet_row(FLEET_KIND_ASK, id, NULL);
    fleet_ask_add(ask, where, change_to_json(change));
    if (other) {
        fleet_ask_add_other(ask, other);
    }
    store_batch_put_json(batch, STORE_FLEET, row, ask);
    world_must(store_commit(node->store, batch, &err), &err);
    store_batch_free(batch);
    if (node->messenger) {
        messenger_ring(node->messenger);
    }
    return row;
}

static inline char *world_ask(
    struct world_node *node, const struct change *change, const char *where)
{
    return world_ask_either(node, change, where, NULL);
}

/* A request for a VM's node. */
static inline char *world_ask_move(struct world_node *node, const struct fleet_move *move)
{
    struct error err = {.code = ERR_NONE};
    struct store_batch *batch = store_batch_new();
    cleanup_json json_t *json =
        fleet_ask_new_move(clock_wall_ms(loop_clock(node->world->loop)), move);
    cleanup_free char *id =
        mem_printf("%s-%llu", node->config->node, (unsigned long long)node->n_asks++);
    char *row = fleet_row(FLEET_KIND_ASK, id, NULL);
    store_batch_put_json(batch, STORE_FLEET, row, json);
    world_must(store_commit(node->store, batch, &err), &err);
    store_batch_free(batch);
    if (node->messenger) {
        messenger_ring(node->messenger);
    }
    return row;
}

static inline json_t *world_row(const struct world_node *node, const char *row)
{
    struct error err = {.code = ERR_NONE};
    json_t *json = NULL;
    world_must(store_get_json(node->store, STORE_FLEET, row, &json, &err), &err);
    return json;
}

/* The first answer to a request; NULL: there is none yet. Caller owns. */
static inline json_t *world_answer(const struct world_node *node, const char *row)
{
    cleanup_json json_t *ask = world_row(node, row);
    return json_incref(json_array_get(fleet_ask_answers(ask), 0));
}

static inline char *world_place(struct world_node *node, const char *name, const char *where)
{
    struct vm_spec *spec = vm_spec_new(name);
    spec->backend = BACKEND_NOOP;
    const struct change change = {.name = name,
        .spec = spec,
        .source = "//a/VMFile.kdl",
        .starts_new = true,
        .sets_power = true,
        .power = POWER_RUNNING};
    char *row = world_ask(node, &change, where);
    vm_spec_free(spec);
    return row;
}

static inline struct vm_record world_record(const struct world_node *node, const char *name)
{
    struct error err = {.code = ERR_NONE};
    struct vm_record record;
    world_must(store_get(node->store, name, &record, &err), &err);
    return record;
}

static inline bool world_has(const struct world_node *node, const char *name)
{
    cleanup_with(vm_record_clear) struct vm_record record = world_record(node, name);
    return record.desired != NULL;
}

static inline bool world_link_is(const struct world_node *node, const char *state)
{
    cleanup_json json_t *link = world_row(node, "link");
    return text_eq(json_text(link, "state"), state);
}
