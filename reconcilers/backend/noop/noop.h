/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The noop backend: a machine is a file, and every operation succeeds at once. It lets users try a
 * VMFile without a hypervisor and tests simulate the whole controller: like a process, a "running"
 * machine survives the controller.
 *
 * Tests edit or remove these files to simulate outside events:
 *
 *   vms/NAME/noop.json    the machine, which observe() reads: {"runState": "shutdown",
 *                         "iid": "…", "bootId": "…", "resets": 1, "isChanged": true}
 *   vms/NAME/noop.disk    the disk; its text is the time it was created
 *   vms/NAME/noop.used    a guest has run on the disk, which is a clone of a template
 *   vms/NAME/noop.frozen  the guest's file systems are frozen; how often thawing was tried
 *   noop/images/DIGEST    a cached image, named by the digest of its location
 *   noop/ruined           memory was loaded onto a disk on which a guest had run: never
 *
 * "resets" counts the guest's resets; "isChanged" stands for a change that boot() reverts,
 * "isShareLost" for the end of a shared folder's server, "isTpmLost", "isNetworkLost" for that of
 * its network's switch, which boot() repairs.
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
    bool is_share_lost;
    bool is_tpm_lost;
    bool is_network_lost;
};

/* Replaces the beginning of the file at once, but waits for no disk: what a power cut takes is a
 * machine of an earlier boot, or media without content. */
void noop_write_file(const char *path, const char *text);

/* Without a file of this boot of the host the machine does not exist. */
struct noop_state noop_state_read(const struct reconciler_host *host, const char *vm_name);
void noop_state_write(
    const struct reconciler_host *host, const char *vm_name, const struct noop_state *state);

/* One operation of a noop machine. */
struct noop_call {
    struct reconciler_host *host;
    const char *vm_name;
    const char *ms_key;            /* noop_script.h: the duration */
    const char *fail_key;          /* how many tries fail; NULL: all */
    enum error_code code;          /* of the failure */
    uint32_t *tries;               /* counts them */
    void (*effect)(void *context); /* called just before a success; NULL: none */
    void *effect_context;
};

struct op *noop_start(const struct noop_call *call, op_done_fn *done, void *context);

/* "noop.used". free() it. */
char *noop_path_of_use(const struct reconciler_host *host, const char *vm_name);

extern const struct machine_ops noop_machine_ops;
extern const struct media_ops noop_media_ops;
extern const struct guest_ops noop_guest_ops;
extern const struct tunnel_ops noop_tunnel_ops;
