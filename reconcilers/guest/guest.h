/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Reaches a VM's guest: address, user and keys. guest.c is `struct guest_ops` (backend/backend.h)
 * over SSH; a handle keeps its session between a probe and the steps that follow, and drops it when
 * it was idle for 10 s (10 s longer than the period of `ready` or `live` probes that use it), or
 * when the VM's address, instance, user or keys changed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "reconcilers/ssh/ssh.h"

struct error;
struct paths;
struct vm_env;

/* What a session depends on; strings owned. */
struct guest_address {
    char *host; /* NULL: the VM has no address yet */
    uint16_t port;
    char *user;
    char *instance_id;
    char *host_key_path; /* NULL: any host key */
    struct ssh_key keys[SSH_KEYS_MAX];
    size_t n_keys;
};

/*
 * User: the spec's, else "vm". Keys in this order: the VM's generated key, the spec's
 * private-key, the one beside its ssh-key, ~/.ssh/id_ed25519, id_ecdsa, id_rsa. The host key is
 * pinned when it is the one that our own cloud-init seed gives the guest.
 */
void guest_address_init(struct guest_address *address, const struct vm_env *env);
void guest_address_clear(struct guest_address *address);
/* Returns the delay before the next login after one that failed with `err`, in a guest that has
 * accepted none for `failing_ms`. A guest whose kernel refuses the connection may listen any
 * moment; a silent one has already cost the time for a banner; all others cost its sshd a process.
 */
int64_t guest_pause_ms(const struct error *err, int64_t failing_ms);

/* How long a connection may take to the server's first line, after `n_silent` in a row that had
 * none, the first of them `silent_ms` ago. Most try for a moment only, because what a connection
 * waits for may have been lost before the guest listened; a few try for as long as a slow guest
 * needs. Pure. */
int64_t guest_banner_ms(unsigned n_silent, int64_t silent_ms);
bool guest_address_equal(const struct guest_address *a, const struct guest_address *b);
