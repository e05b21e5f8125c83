/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The noop backend: a machine that is a file. vms/NAME/noop.json holds what observe() answers;
 * every operation succeeds at once. So a VMFile can be tried without a hypervisor, and the whole
 * controller can be simulated: what "runs" survives the controller, as a process would.
 *
 * Scripting: DATA/noop/NAME.json, else DATA/noop/default.json, is read at the start of each
 * operation, so that a test changes the world by writing a file:
 *
 *   {"fetchMs": 5, "prepareMs": 5, "launchMs": 5, "bootMs": 5, "probeMs": 5, "stepMs": 5,
 *    "failFetch": 2, "failPrepare": 0, "failLaunch": 0, "failBoot": 0, "failProbe": 3, "failStep":
 * 0, "checkMs": 5, "failReady": 0, "failLive": 0, "ignorePowerdown": true, "ignoreQuit": false,
 *    "ignoreTerminate": false, "powerdownMs": 100, "imageChanged": false, "silent": false,
 *    "freeMib": 0, "loseConnection": false, "loseStep": false, "takenPorts": 0}
 *
 * "…Ms" is how long an operation takes; "fail…": N makes the first N tries of it fail, counted
 * since the controller opened the VM (fetch and prepare fail for as long as the script says so,
 * whatever the number); "freeMib": room for the disk, plenty when not said; "silent": the machine
 * lives but does not answer; "loseConnection": a step that fails does so by its connection;
 * "loseStep": or because it is gone without a result; "takenPorts": so many boots find the SSH port
 * taken by another program. The files may be edited or removed too, as the world would:
 *
 *   vms/NAME/noop.json    the machine: {"runState": "shutdown", "iid": "…", "bootId": "…",
 *                         "resets": 1, "isChanged": true}: how often it was reset, and that somebody
 *                         changed what boot() puts right
 *   vms/NAME/noop.disk    the disk; its text tells when it was made
 *   noop/images/DIGEST    a cached image, named by the digest of its location
 */
#pragma once

#include "reconcilers/backend/backend.h"
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

/* A number or flag of the VM's script, `otherwise` when it is not said. */
int64_t noop_script_int(
    const struct reconciler_host *host, const char *vm_name, const char *key, int64_t otherwise);
bool noop_script_flag(const struct reconciler_host *host, const char *vm_name, const char *key);

/*
 * An operation that completes after the script's `ms_key`, failing with `code` for the first
 * `fail_key` times (NULL: always); *tries counts them. `effect` (may be NULL) runs just before a
 * success.
 */
struct op *noop_op(struct reconciler_host *host, const char *vm_name, const char *ms_key,
    const char *fail_key, enum error_code code, uint32_t *tries, void (*effect)(void *context),
    void *effect_context, op_done_fn *done, void *context);

extern const struct machine_ops noop_machine_ops;
extern const struct media_ops noop_media_ops;
extern const struct guest_ops noop_guest_ops;
