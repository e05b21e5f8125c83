/* SPDX-License-Identifier: MPL-2.0 */
/* What the controller offers to the reconcilers: struct reconciler_host. */
#include "controller/controller_internal.h"

#include <stdlib.h>

#include "controller/loop/loop.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "store/batch.h"
#include "store/store.h"

static struct controller *controller_of(struct reconciler_host *host)
{
    return (struct controller *)(void *)host;
}

static void wake(struct reconciler_host *host, struct key key, enum work_priority priority)
{
    workqueue_add(controller_of(host)->queue, key, priority);
}

/* The VMs of one turn would all choose the same free port, and all but one lose what else their
 * passes found out: what is about to be committed counts. */
static const char *lease_holder(struct reconciler_host *host, const char *key)
{
    struct controller *controller = controller_of(host);
    char uid[TEXT_ID_SIZE];
    struct error err = {0};
    free(TAKE_PTR(controller->lease_answer));
    const struct pass *pass = name_map_get(&controller->pending_leases, key);
    if (pass) {
        return controller->lease_answer = mem_strdup(pass->name);
    }
    if (store_lease_holder(host->store, key, uid, &controller->lease_answer, &err) < 0) {
        log_error("controller", "cannot read the lease '%s': %s", key, err.message);
    }
    return controller->lease_answer;
}

static void each_lease_between(struct reconciler_host *host, const char *first, const char *last,
    void (*each)(void *context, const char *key), void *context)
{
    struct error err = {0};
    if (store_each_lease_between(host->store, first, last, each, context, &err) < 0) {
        log_error("controller", "%s", err.message);
    }
}

static void each_lease(struct reconciler_host *host, const char *vm_name,
    void (*each)(void *context, const char *key), void *context)
{
    cleanup_with(lease_list_clear) struct lease_list leases = {.count = 0};
    struct error err = {0};
    if (store_list_leases(host->store, vm_name, &leases, &err) < 0) {
        log_error("controller", "cannot read the leases: %s", err.message);
    }
    for (size_t i = 0; i < leases.count; i++) {
        each(context, leases.items[i].key);
    }
}

/* A status that this controller has not looked at yet may be Ready, but says nothing of what will
 * not be. */
static enum dependency_state dependency(
    struct reconciler_host *host, const char *name, struct error *err)
{
    cleanup_with(vm_record_clear) struct vm_record record = {0};
    if (store_get(host->store, name, &record, err) < 0) {
        log_error("controller", "cannot read vm '%s': %s", name, err->message);
        return DEPENDENCY_COMING;
    }
    enum dependency_state state = dependency_state(name, record.desired, record.status, err);
    bool is_old = record.desired && record.desired->power == POWER_RUNNING &&
                  name_map_get(&controller_of(host)->unobserved, name);
    return state > DEPENDENCY_COMING && is_old ? DEPENDENCY_COMING : state;
}

static json_t *image_record(struct reconciler_host *host, const char *key)
{
    struct error err = {0};
    json_t *record = NULL;
    if (store_get_json(host->store, STORE_IMAGES, key, &record, &err) < 0) {
        log_error("controller", "cannot read the record of image '%s': %s", key, err.message);
    }
    return record;
}

static int each_vm(struct reconciler_host *host,
    void (*each)(void *context, const struct vm_view *view), void *context, struct error *err)
{
    cleanup_with(vm_list_clear) struct vm_list list = {0};
    int rc = store_list(host->store, &list, err);
    for (size_t i = 0; rc == 0 && i < list.count; i++) {
        const struct vm_record *record = &list.records[i];
        if (record->is_damaged) {
            return error_set(err, ERR_STORE, "the records of vm '%s' cannot be read", record->name);
        }
        struct vm_status *fresh = record->status ? NULL : vm_status_new("");
        struct vm_view view = {.name = record->name,
            .desired = record->desired,
            .status = fresh ? fresh : record->status};
        each(context, &view);
        vm_status_free(fresh);
    }
    return rc;
}

/* xorshift64* (Vigna 2016): good enough for jitter, and the same history for the same seed. */
static uint32_t rng(struct reconciler_host *host)
{
    uint64_t *state = &controller_of(host)->rng_state;
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (uint32_t)((*state * UINT64_C(0x2545f4914f6cdd1d)) >> 32);
}

void controller_host_init(struct controller *controller, const struct controller_options *options)
{
    /* The state must not be 0, and small seeds must not give small first numbers. */
    controller->rng_state = (options->seed * UINT64_C(0x9e3779b97f4a7c15)) | 1;
    controller->host = (struct reconciler_host){
        .loop = options->loop,
        .pool = options->pool,
        .paths = options->paths,
        .store = options->store,
        .clock = loop_clock(options->loop),
        .wake = wake,
        .lease_holder = lease_holder,
        .each_lease_between = each_lease_between,
        .each_lease = each_lease,
        .dependency = dependency,
        .image_record = image_record,
        .each_vm = each_vm,
        .rng = rng,
    };
    digest_random_id(controller->host.session);
}
