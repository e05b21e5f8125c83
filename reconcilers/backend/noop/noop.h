/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The noop backend: a machine that is a file. vms/NAME/noop.json holds what observe() answers;
 * every operation succeeds at once. So a VMFile can be tried without a hypervisor, and the whole
 * controller can be simulated: what "runs" survives the controller, as a process would.
 *
 * The files may be edited or removed, as the world would:
 *
 *   vms/NAME/noop.json    the machine: {"runState": "shutdown", "iid": "…", "bootId": "…",
 *                         "resets": 1, "isChanged": true}: how often it was reset, and that
 * somebody changed what boot() puts right vms/NAME/noop.disk    the disk; its text tells when it
 * was made noop/images/DIGEST    a cached image, named by the digest of its location
 */
#pragma once

#include "reconcilers/backend/backend.h"
#include "reconcilers/backend/noop/noop_script.h"
#include "specs/base/error.h"

/* The state of one machine: written by noop_machine.c, read by observe(). */
struct noop_state {
    bool is_alive;
    enum run_state run_state;
    char instance_id[TEXT_ID_SIZE];
    uint32_t n_resets;
    bool is_changed;
};

/* No file, or one of another boot of the host: a machine that does not exist. */
struct noop_state noop_state_read(const struct reconciler_host *host, const char *vm_name);
void noop_state_write(
    const struct reconciler_host *host, const char *vm_name, const struct noop_state *state);

/* One operation of a noop machine. */
struct noop_call {
    struct reconciler_host *host;
    const char *vm_name;
    const char *ms_key;            /* noop_script.h: how long it takes */
    const char *fail_key;          /* how many tries fail; NULL: it fails */
    enum error_code code;          /* with which it fails */
    uint32_t *tries;               /* counts them */
    void (*effect)(void *context); /* just before a success; NULL: none */
    void *effect_context;
};

struct op *noop_start(const struct noop_call *call, op_done_fn *done, void *context);

extern const struct machine_ops noop_machine_ops;
extern const struct media_ops noop_media_ops;
extern const struct guest_ops noop_guest_ops;
