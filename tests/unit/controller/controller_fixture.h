/* SPDX-License-Identifier: MPL-2.0 */
/* A controller on virtual time, over a real store, with a reconciler that does as it is told. */
#pragma once

#include "controller/controller.h"
#include "controller/loop/pool.h"
#include "reconcilers/vm/vm_patch.h"
#include "specs/base/cleanup.h"
#include "specs/base/log.h"
#include "specs/base/paths.h"
#include "store/batch.h"
#include "store/bell.h"
#include "store/store.h"
#include "store/writer.h"
#include "tests/support/loop_fake.h"
#include "tests/unit/controller/test_support.h"

enum { MINUTE_MS = 60 * 1000, PASSES_MAX = 512 };

struct fixture;
typedef struct verdict script_fn(
    struct fixture *f, const struct vm_view *view, struct vm_patch *patch);

struct fixture {
    struct reconciler reconciler; /* first: reconcile() is given its address */
    char *dir;
    struct paths paths;
    struct loop *loop;
    struct pool *pool;
    struct store *store;
    struct store_writer *writer;
    struct controller *controller;
    struct reconciler_host *host;
    struct bell_watch status_bell;

    script_fn *script;      /* NULL: observe the generation and do nothing */
    struct vm_record known; /* of the VM that was last passed over */
    int n_passes;
    struct seen_pass {
        char name[32];
        int64_t at_ms;
        bool has_desired;
        uint64_t generation;
    } passes[PASSES_MAX];
    int passes_before_orphans; /* -1: orphans were not looked for */
    bool is_freed;
    int step; /* for scripts */
};

static const struct verdict when_woken = {.requeue_ms = VERDICT_WHEN_WOKEN};

/* ---- the reconciler ---- */

/* Whether it was read or kept from the last pass. */
static inline void assert_is_stored(const struct fixture *f, const struct vm_view *view)
{
    cleanup_with(vm_record_clear) struct vm_record stored = {.name = NULL};
    struct error err = {.code = ERR_NONE};
    assert_int_equal(store_get(f->store, view->name, &stored, &err), 0);
    bool has_status =
        stored.status && (!stored.desired || text_eq(stored.status->uid, stored.desired->uid));
    assert_true(vm_desired_equal(stored.desired, view->desired));
    assert_true(!has_status || vm_status_equal(stored.status, view->status));
}

static inline struct verdict look_at(
    void *context, const struct vm_view *view, struct vm_patch *patch)
{
    struct fixture *f = context;
    assert_true(f->n_passes < PASSES_MAX);
    struct seen_pass *pass = &f->passes[f->n_passes++];
    snprintf(pass->name, sizeof(pass->name), "%s", view->name);
    pass->at_ms = loop_fake_now(f->loop) - LOOP_FAKE_START_MS;
    pass->has_desired = view->desired;
    pass->generation = view->desired ? view->desired->generation : 0;
    assert_non_null(view->status);
    assert_true(vm_status_equal(view->status, patch->status));
    assert_is_stored(f, view);
    if (!f->script) {
        patch->status->observed_generation = pass->generation;
    }
    return f->script ? f->script(f, view, patch) : when_woken;
}

static inline struct verdict reconcile(
    struct reconciler *self, const char *name, struct patch *patch)
{
    struct fixture *f = (struct fixture *)(void *)self;
    if (!text_eq(f->known.name, name)) {
        vm_record_clear(&f->known);
    }
    return vm_patch_make(f->host, name, &f->known, look_at, f, &patch->batch);
}

static inline void find_orphans(struct reconciler *self)
{
    struct fixture *f = (struct fixture *)(void *)self;
    f->passes_before_orphans = f->n_passes;
}

static inline void let_go(struct reconciler *self)
{
    struct fixture *f = (struct fixture *)(void *)self;
    vm_record_clear(&f->known);
    f->is_freed = true;
}

/* ---- the world around ---- */

static inline int set_up_with(void **state, enum store_writer_mode mode)
{
    struct fixture *f = mem_new(struct fixture);
    struct error err = {0};
    *state = f;
    f->passes_before_orphans = -1;
    f->reconciler =
        (struct reconciler){.reconcile = reconcile, .find_orphans = find_orphans, .free = let_go};
    assert_int_equal(make_scratch_dir((void **)&f->dir), 0);
    assert_int_equal(paths_init(&f->paths, f->dir, &err), 0);
    assert_int_equal(store_open(&f->paths, &f->store, &err), 0);
    f->loop = new_loop();
    assert_int_equal(pool_new(f->loop, 0, &f->pool, &err), 0);
    assert_int_equal(store_writer_start(f->store, mode, &f->writer, &err), 0);
    assert_int_equal(bell_watch_open(&f->status_bell, &f->paths, BELL_STATUS, &err), 0);
    f->controller = controller_new(&(struct controller_options){
        .loop = f->loop,
        .pool = f->pool,
        .paths = &f->paths,
        .store = f->store,
        .writer = f->writer,
        .seed = 42,
    });
    f->host = controller_host(f->controller);
    controller_add(f->controller, &f->reconciler);
    return 0;
}

static inline int set_up(void **state)
{
    return set_up_with(state, STORE_WRITER_INLINE);
}

static inline int tear_down(void **state)
{
    struct fixture *f = *state;
    controller_stop(f->controller);
    store_writer_stop(f->writer);
    controller_free(f->controller);
    bell_watch_close(&f->status_bell);
    pool_free(f->pool);
    loop_free(f->loop);
    store_close(f->store);
    paths_clear(&f->paths);
    int rc = remove_scratch_dir((void **)&f->dir);
    free(f);
    return rc;
}

static inline void commit(struct fixture *f, struct store_batch *batch)
{
    struct error err = {0};
    if (store_commit(f->store, batch, &err) < 0) {
        fail_msg("%s", err.message);
    }
    store_batch_free(batch);
}

static inline struct vm_record get(struct fixture *f, const char *name)
{
    struct vm_record record = {0};
    struct error err = {0};
    assert_int_equal(store_get(f->store, name, &record, &err), 0);
    return record;
}

/* As a CLI's `up`, without the bell. */
static inline void create_vm(struct fixture *f, const char *name)
{
    struct vm_desired *desired = vm_desired_new(vm_spec_new(name), 1);
    desired->generation = 1;
    struct store_batch *batch = store_batch_new();
    store_batch_put_desired(batch, desired, 0);
    commit(f, batch);
    vm_desired_free(desired);
}

static inline void ring(struct fixture *f)
{
    struct error err = {0};
    assert_int_equal(bell_ring(&f->paths, BELL_DESIRED, &err), 0);
}

typedef void change_fn(struct vm_desired *desired);

static inline void change_vm(struct fixture *f, const char *name, change_fn *change)
{
    cleanup_with(vm_record_clear) struct vm_record record = get(f, name);
    struct store_batch *batch = store_batch_new();
    change(record.desired);
    store_batch_put_desired(batch, record.desired, record.desired->revision);
    commit(f, batch);
}

static inline void new_generation(struct vm_desired *desired)
{
    desired->generation++;
}

static inline void delete (struct vm_desired *desired)
{
    desired->is_deleting = true;
}

static inline void shorten_the_stop(struct vm_desired *desired)
{
    desired->stop_timeout_s = 5;
}

static inline void start(struct fixture *f)
{
    struct error err = {0};
    assert_int_equal(controller_start(f->controller, &err), 0);
}

/* All that happens at this moment of virtual time. */
static inline void settle(struct fixture *f)
{
    loop_fake_advance(f->loop, 0);
    assert_true(controller_is_quiet(f->controller));
}

static inline void start_and_settle(struct fixture *f)
{
    start(f);
    settle(f);
    f->n_passes = 0;
    bell_watch_drain(&f->status_bell);
}

static inline void assert_passes(struct fixture *f, int n, const char *name)
{
    assert_int_equal(f->n_passes, n);
    for (int i = 0; i < n && name; i++) {
        assert_string_equal(f->passes[i].name, name);
    }
}

/* A script that has something to write, once. */
static inline struct verdict set_ready(
    struct fixture *f, const struct vm_view *view, struct vm_patch *patch)
{
    (void)f;
    patch->status->observed_generation = view->desired ? view->desired->generation : 0;
    vm_status_set(patch->status, CONDITION_READY, CONDITION_TRUE, REASON_READY, NULL, 5);
    return when_woken;
}
