/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A world in which the whole controller runs: real store and reconcilers, the noop backend, a
 * virtual clock. Everything happens in the calling thread and in an order that only the seed
 * decides, so a history replays exactly. A function that cannot do its part fails the test.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "controller/controller.h"
#include "specs/base/error.h"
#include "specs/base/json.h"
#include "specs/base/paths.h"
#include "store/desired/change.h"
#include "store/store.h"

enum { SECOND_MS = 1000, MINUTE_MS = 60 * SECOND_MS };

struct sim {
    struct paths paths;
    struct loop *loop;
    struct store *store; /* the user's and the controller's: it survives both */
    uint64_t seed;
    unsigned boots;    /* of the host */
    struct pool *pool; /* these three are the controller process: NULL while there is none */
    struct store_writer *writer;
    struct controller *controller;
};

/* A fresh data directory, no controller yet. */
struct sim *sim_new(uint64_t seed);
void sim_free(struct sim *sim);

/* For cmocka: a world with a running controller, which is checked (sim_check) at the end. */
int sim_set_up(void **state);
int sim_tear_down(void **state);
#define SIM_TEST(name) cmocka_unit_test_setup_teardown(name, sim_set_up, sim_tear_down)

/* ---- the controller process ---- */

void sim_start(struct sim *sim);
/* kill -9: what is in memory is gone, nothing more is written. */
void sim_kill(struct sim *sim);
/* The host goes down with everything in it and comes up with another boot id; no controller yet. */
void sim_reboot_host(struct sim *sim);

/* ---- the user ---- */

/* A noop VM of image "/images/base.qcow2", without a network: ready as soon as it runs. */
struct vm_spec *sim_spec(const char *name);
/* The same with user networking, reached over SSH, with `n_steps` provision steps. */
struct vm_spec *sim_spec_with_steps(const char *name, size_t n_steps);

/* Applies one wish as a command would; its result. */
enum change_result sim_change(struct sim *sim, const struct change *change);
/* The error of a wish that must fail. */
enum error_code sim_change_failing(struct sim *sim, const struct change *change);

/* `vmctl up`, with and without changes; frees the spec. */
enum change_result sim_up(struct sim *sim, struct vm_spec *spec_take);
/* The same until it is ready and the controller at rest. */
void sim_bring_up(struct sim *sim, struct vm_spec *spec_take);
enum change_result sim_power(struct sim *sim, const char *name, enum power power);
enum change_result sim_delete(struct sim *sim, const char *name);

/* ---- the world ---- */

/* Writes noop/NAME.json ("default": for all); NULL removes it. */
void sim_script(struct sim *sim, const char *name, const char *json);
/* Another run state of the machine, as if the guest or QEMU had changed it. */
void sim_set_run_state(struct sim *sim, const char *name, const char *run_state);
/* The server of a shared folder ends. */
void sim_lose_share(struct sim *sim, const char *name);
/* The guest is reset, by itself or by somebody. */
void sim_reset_guest(struct sim *sim, const char *name);
/* Another value in the machine's state (noop.h), of which nobody is told. */
void sim_edit_machine(struct sim *sim, const char *name, const char *key, json_t *value_take);
/* kill -9 of the VM's process. */
void sim_kill_vm(struct sim *sim, const char *name);
/* Removes a file of the VM's directory, as somebody with rm would. */
void sim_lose_file(struct sim *sim, const char *name, const char *file);
void sim_lose_images(struct sim *sim);
/* The machine's instance id, "" when it does not live. `out` holds TEXT_ID_SIZE bytes. */
void sim_living_instance_id(struct sim *sim, const char *name, char *out);
/* "running", "paused" …; "" when it does not live. Static text. */
const char *sim_run_state(struct sim *sim, const char *name);
bool sim_has_dir(struct sim *sim, const char *name);
/* What the disk holds: two disks differ. -1: there is none. */
int64_t sim_disk_birth(struct sim *sim, const char *name);

/* ---- time ---- */

typedef bool sim_predicate(struct sim *sim, const char *name);

/* Runs until it holds; fails the test when it does not within so much virtual time. */
void sim_wait(struct sim *sim, const char *name, sim_predicate *predicate, int64_t within_ms);
void sim_advance(struct sim *sim, int64_t ms);
int64_t sim_now(const struct sim *sim);
/* Runs what can run without time passing. */
void sim_settle(struct sim *sim);

bool sim_is_ready(struct sim *sim, const char *name);
bool sim_is_stopped(struct sim *sim, const char *name);
bool sim_is_suspended(struct sim *sim, const char *name);
bool sim_is_gone(struct sim *sim, const char *name); /* records, directory, leases */
bool sim_is_stalled(struct sim *sim, const char *name);
bool sim_is_alive(struct sim *sim, const char *name);
bool sim_is_dead(struct sim *sim, const char *name);

/* ---- the records ---- */

/* vm_record_clear() it. */
struct vm_record sim_record(struct sim *sim, const char *name);
enum reason sim_reason(struct sim *sim, const char *name, enum condition_type type);
enum condition_state sim_state(struct sim *sim, const char *name, enum condition_type type);
/* Of the whole store: two are the same when nothing was written in between. `out`: DIGEST_SIZE. */
void sim_store_digest(struct sim *sim, char *out);
size_t sim_count_leases(struct sim *sim);
/* Events with this reason, counting repetitions. */
unsigned sim_count_events(struct sim *sim, const char *name, enum reason reason);

/* Fails the test when something holds that never may: see sim.c. */
void sim_check(struct sim *sim);
