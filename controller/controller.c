/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/controller.h"

#include <stdlib.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "controller/controller_internal.h"
#include "controller/loop/loop.h"
#include "controller/queue/desired_watch.h"
#include "controller/secrets.h"
#include "specs/base/error.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/proc_stat.h"
#include "store/batch.h"
#include "store/session.h"
#include "store/store.h"
#include "store/writer.h"

/* A pass takes 0.1 ms, or more than 1 ms if it starts a process, which then waits for the commit at
 * the end of the turn. */
enum { KEYS_A_TURN = 16 };
enum { RESYNC_MS = 10 * 60 * 1000 /* ± half of it, by the dice */, META_RETRY_MS = 1000 };

/* ---- work ---- */

/* One that waits for a guest does not count as a fleet that starts. */
static bool are_many_under_way(const struct controller *controller)
{
    enum { FEW = 16 };
    const struct reconciler *vms = controller->reconcilers[KEY_VM];
    return vms && vms->count_under_way && vms->count_under_way(vms) > FEW;
}

/* After the work on a fleet its whole store is in memory, and most of the heap is free but not
 * given back: nothing needs them any more. Not before its end: each page comes back as a fault. */
static void rest(struct controller *controller)
{
    enum { MANY = 128 };
    if (controller->n_read >= MANY && controller_is_quiet(controller) &&
        !are_many_under_way(controller) && store_unload(controller->host.store)) {
        controller->n_read = 0;
#ifdef __GLIBC__ /* musl gives back what is free by itself */
        (void)malloc_trim(0);
#endif
    }
}

static void on_work(void *context)
{
    struct controller *controller = context;
    int64_t now_ms = loop_now_ms(controller->host.loop);
    store_writer_hold(controller->writer, true); /* one commit, not one a VM */
    for (int i = 0; i < KEYS_A_TURN; i++) {
        if (i > 0 && loop_turn_is_long(controller->host.loop)) {
            break; /* never the first: a busy host's turns are all long before it */
        }
        struct key key = workqueue_take(controller->queue, now_ms);
        if (!key.name) {
            break;
        }
        controller_pass(controller, key);
    }
    store_writer_hold(controller->writer, false);
    rest(controller);
}

/* Completions requeue one key after the other: the timer is set once, at the end. */
static void on_commits(void *context, int fd, unsigned ready)
{
    struct controller *controller = context;
    (void)fd;
    (void)ready;
    workqueue_hold(controller->queue, true);
    store_writer_dispatch(controller->writer);
    workqueue_hold(controller->queue, false);
    rest(controller);
}

/* ---- what to look at ---- */

static void on_seen(void *context, const char *name, bool is_changed)
{
    struct controller *controller = context;
    controller->n_read++;
    if (controller->is_starting) {
        char *owned = mem_strdup(name);
        name_map_add(&controller->unobserved, owned, owned);
    }
    if (controller->is_starting) { /* each once, before what the first looks lead to */
        workqueue_add(controller->queue, key_of(KEY_VM, name), WORK_EVENT);
    } else if (controller->is_listing_all) {
        workqueue_add(controller->queue, key_of(KEY_VM, name), WORK_BACKGROUND);
    } else if (is_changed) {
        workqueue_add(controller->queue, key_of(KEY_VM, name), WORK_USER);
    }
}

static void on_scanned(void *context)
{
    struct controller *controller = context;
    for (int kind = 0; kind < KEY_KIND_COUNT_; kind++) {
        struct reconciler *reconciler = controller->reconcilers[kind];
        if (reconciler && reconciler->list) {
            reconciler->list(reconciler);
        }
    }
    rest(controller);
}

static int list_all(struct controller *controller, struct error *err)
{
    controller->is_listing_all = true;
    int rc = desired_watch_scan(controller->desired_watch, err);
    controller->is_listing_all = false;
    return rc;
}

static void start_resync_timer(struct controller *controller)
{
    uint32_t rng = controller->host.rng(&controller->host) % RESYNC_MS;
    loop_timer_start(controller->resync_timer, RESYNC_MS / 2 + (int64_t)rng);
}

static void on_resync(void *context)
{
    struct controller *controller = context;
    struct error err = {0};
    if (list_all(controller, &err) < 0) {
        log_error("controller", "cannot list the VMs: %s", err.message);
    }
    start_resync_timer(controller);
}

/* ---- life ---- */

/* Without the record nobody trusts a status of ours: it is written as soon as the store can be. */
static void on_meta_written(void *context, int rc, const struct error *err)
{
    struct controller *controller = context;
    if (rc < 0) {
        log_error("controller", "cannot record that the controller runs: %s", err->message);
        loop_timer_start(controller->meta_timer, META_RETRY_MS);
    }
}

/* For `vmctl controller status`, and for a newer vmctl to find and replace this one. */
static void write_meta(void *context)
{
    struct controller *controller = context;
    cleanup_json json_t *record = session_record(controller->host.paths, controller->host.session,
        controller->start_ticks, controller->host.clock);
    struct store_batch *batch = store_batch_new();
    json_put_flag(record, SESSION_OBSERVED_ALL, controller->unobserved.count == 0);
    store_batch_put_json(batch, STORE_META, "controller", record);
    store_writer_submit(controller->writer, batch, on_meta_written, controller);
}

void controller_note_observed(struct controller *controller, struct key key)
{
    if (key.kind != KEY_VM || controller->unobserved.count == 0) {
        return;
    }
    free(name_map_remove(&controller->unobserved, key.name));
    if (controller->unobserved.count == 0) {
        write_meta(controller);
    }
}

struct controller *controller_new(const struct controller_options *options)
{
    struct controller *controller = mem_new(struct controller);
    controller_host_init(controller, options);
    controller->host.secrets = secrets_new();
    (void)proc_stat_start_ticks(getpid(), &controller->start_ticks);
    controller->writer = options->writer;
    controller->queue = workqueue_new();
    controller->resync_timer = loop_timer_new(options->loop, on_resync, controller);
    controller->meta_timer = loop_timer_new(options->loop, write_meta, controller);
    controller->writer_io = loop_io_new(
        options->loop, store_writer_fd(options->writer), LOOP_READ, on_commits, controller);
    return controller;
}

struct reconciler_host *controller_host(struct controller *controller)
{
    return &controller->host;
}

/* What the record of this process and of every machine it starts is distinguished by. One without
 * it would be trusted by no command, and would take its own machines for those of an earlier boot.
 */
static int check_identity(const struct controller *controller, struct error *err)
{
    if (!clock_boot_id(controller->host.clock)[0]) {
        return error_set(err, ERR_IO, "cannot read /proc/sys/kernel/random/boot_id");
    }
    if (controller->start_ticks == 0) {
        return error_set(err, ERR_IO, "cannot read /proc/%d/stat", (int)getpid());
    }
    return 0;
}

void controller_add(struct controller *controller, struct reconciler *reconciler_take)
{
    controller->reconcilers[reconciler_take->kind] = reconciler_take;
}

int controller_start(struct controller *controller, struct error *err)
{
    controller->desired_watch = desired_watch_new(controller->host.loop, controller->host.paths,
        controller->host.store, on_seen, on_scanned, controller);
    int rc = check_identity(controller, err);
    controller->is_starting = true;
    if (rc < 0 || (rc = list_all(controller, err)) < 0) {
        return rc;
    }
    controller->is_starting = false;
    write_meta(controller);
    for (int kind = 0; kind < KEY_KIND_COUNT_; kind++) {
        struct reconciler *reconciler = controller->reconcilers[kind];
        if (reconciler && reconciler->find_orphans) {
            reconciler->find_orphans(reconciler);
        }
    }
    start_resync_timer(controller);
    workqueue_serve(controller->queue, controller->host.loop, on_work, controller);
    return 0;
}

void controller_end_machines(struct controller *controller)
{
    struct reconciler *vms = controller->reconcilers[KEY_VM];
    if (vms && vms->end_machines) {
        vms->end_machines(vms);
    }
}

void controller_stop(struct controller *controller)
{
    workqueue_stop_serving(controller->queue);
    desired_watch_free(controller->desired_watch);
    loop_io_free(controller->writer_io);
    loop_timer_free(controller->resync_timer);
    loop_timer_free(controller->meta_timer);
    controller->desired_watch = NULL;
    controller->writer_io = NULL;
    controller->resync_timer = NULL;
    controller->meta_timer = NULL;
}

void controller_free(struct controller *controller)
{
    if (!controller) {
        return;
    }
    controller_stop(controller);
    for (int kind = KEY_KIND_COUNT_ - 1; kind >= 0; kind--) {
        if (controller->reconcilers[kind]) {
            controller->reconcilers[kind]->free(controller->reconcilers[kind]);
        }
    }
    controller_drop_passes(controller);
    for (size_t i = 0; i < controller->unobserved.capacity; i++) {
        free(controller->unobserved.slots[i].value);
    }
    name_map_clear(&controller->unobserved);
    workqueue_free(controller->queue);
    secrets_free(controller->host.secrets);
    free(controller->lease_answer);
    free(controller);
}

bool controller_is_quiet(const struct controller *controller)
{
    int64_t now_ms = loop_now_ms(controller->host.loop);
    return !controller->passes && workqueue_next_due(controller->queue, now_ms) != now_ms;
}

uint64_t controller_pass_count(const struct controller *controller)
{
    return controller->n_passes;
}
