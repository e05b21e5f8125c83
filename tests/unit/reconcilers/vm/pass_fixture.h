/* SPDX-License-Identifier: MPL-2.0 */
/* One pass over a VM "web" that needs no store, no loop and no backend: its facts are set by hand.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reconcilers/vm/pass.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"

#define FIXTURE_NOW_MS INT64_C(1000000)
#define FIXTURE_WALL_MS INT64_C(1767225600000)
#define FIXTURE_BOOT_ID "00000000-0000-4000-8000-000000000001"

struct lease_row {
    const char *key;
    const char *holder;
};

struct pass_fixture {
    struct reconciler_host host; /* first: its functions are given its address */
    struct clock clock;
    struct paths paths;
    const struct lease_row *leases; /* ends with a NULL key */
    size_t n_lookups;               /* in it, by key */
    struct vm_desired *desired;
    struct vm_status *status; /* as committed */
    struct vm_patch patch;
    struct vm_view view;
    struct vm vm;
    struct pass pass;
};

static inline int64_t fixture_now(const struct clock *clock)
{
    (void)clock;
    return FIXTURE_NOW_MS;
}

static inline int64_t fixture_wall(const struct clock *clock)
{
    (void)clock;
    return FIXTURE_WALL_MS;
}

static inline int64_t fixture_slept(const struct clock *clock)
{
    (void)clock;
    return 0;
}

static inline const char *fixture_boot_id(const struct clock *clock)
{
    (void)clock;
    return FIXTURE_BOOT_ID;
}

static inline uint32_t fixture_rng(struct reconciler_host *host)
{
    (void)host;
    return 0; /* no jitter */
}

static inline const char *fixture_lease_holder(struct reconciler_host *host, const char *key)
{
    struct pass_fixture *f = (void *)host;
    f->n_lookups++;
    for (const struct lease_row *row = f->leases; row && row->key; row++) {
        if (text_eq(row->key, key)) {
            return row->holder;
        }
    }
    return NULL;
}

static inline void fixture_each_lease_between(struct reconciler_host *host, const char *first,
    const char *last, void (*each)(void *context, const char *key), void *context)
{
    const struct pass_fixture *f = (const void *)host;
    for (const struct lease_row *row = f->leases; row && row->key; row++) {
        if (strcmp(row->key, first) >= 0 && strcmp(row->key, last) <= 0) {
            each(context, row->key);
        }
    }
}

static inline void fixture_each_lease(struct reconciler_host *host, const char *vm_name,
    void (*each)(void *context, const char *key), void *context)
{
    const struct pass_fixture *f = (const void *)host;
    for (const struct lease_row *row = f->leases; row && row->key; row++) {
        if (text_eq(row->holder, vm_name)) {
            each(context, row->key);
        }
    }
}

/* A VM that is meant to run, with image and disk, and no process. */
static inline int pass_fixture_set_up(void **state)
{
    struct pass_fixture *f = mem_new(struct pass_fixture);
    f->clock = (struct clock){fixture_now, fixture_wall, fixture_slept, fixture_boot_id};
    f->host = (struct reconciler_host){.clock = &f->clock,
        .rng = fixture_rng,
        .lease_holder = fixture_lease_holder,
        .each_lease_between = fixture_each_lease_between,
        .each_lease = fixture_each_lease};
    f->paths.data_dir = mem_strdup("/nowhere");
    f->host.paths = &f->paths;
    struct vm_spec *spec = vm_spec_new("web");
    spec->image.location = mem_strdup("/images/base.qcow2");
    f->desired = vm_desired_new(spec, FIXTURE_WALL_MS);
    f->desired->generation = 1;
    f->desired->power = POWER_RUNNING;
    f->status = vm_status_new(f->desired->uid);
    f->status->observed_generation = 1;
    f->vm = (struct vm){.name = mem_strdup("web"), .host = &f->host, .backend = backend_noop()};
    *state = f;
    return 0;
}

/* Begins the pass: from now on the committed status is not changed any more. */
static inline struct pass *begin(struct pass_fixture *f)
{
    vm_patch_clear(&f->patch);
    f->patch = (struct vm_patch){.status = vm_status_copy(f->status)};
    f->view = (struct vm_view){.name = "web", .desired = f->desired, .status = f->status};
    f->pass = (struct pass){
        .vm = &f->vm,
        .view = &f->view,
        .patch = &f->patch,
        .env = {.host = &f->host,
            .name = "web",
            .spec = f->desired->spec,
            .uid = f->desired->uid,
            .status = f->status},
        .media = {.has_dir = true, .has_image = true, .disk = DISK_READY, .free_bytes = INT64_MAX},
        .machine = {.exit_status = -1},
        .now_ms = FIXTURE_NOW_MS,
        .wall_ms = FIXTURE_WALL_MS,
        .situation = {.is_desired = true,
            .power = f->desired->power,
            .has_dir = true,
            .has_image = true,
            .disk = DISK_READY,
            .expects_ssh = vm_spec_expects_ssh(f->desired->spec)},
    };
    return &f->pass;
}

/* An operation has just ended, with an error of the code unless that is ERR_NONE. */
static inline void pass_fixture_end_op(
    struct pass_fixture *f, enum action action, enum error_code code, const char *message)
{
    struct error err = {.code = ERR_NONE};
    vm_begin(&f->vm, action, f->desired->generation);
    if (code != ERR_NONE) {
        (void)error_set(&err, code, "%s", message);
        f->vm.outcome->error = mem_dup(&err, sizeof(err));
    }
}

static inline int pass_fixture_tear_down(void **state)
{
    struct pass_fixture *f = *state;
    vm_patch_clear(&f->patch);
    vm_status_free(f->status);
    vm_desired_free(f->desired);
    vm_forget_comparison(&f->vm);
    vm_forget_outcome(&f->vm);
    vm_failure_clear(&f->vm.failure);
    vm_failure_clear(&f->vm.put_off);
    vm_forget_checks(&f->vm);
    free(f->vm.steps);
    free(f->vm.name);
    paths_clear(&f->paths);
    free(f);
    return 0;
}
