/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The NoCloud seed of a VM (cloud-init's data source): seed.iso with user-data and meta-data, and
 * known_hosts, which holds the host key that user-data gives the guest. Both by temporary file,
 * fsync and rename. The key pairs must be there before.
 */
#pragma once

#include <stdbool.h>

#include "controller/loop/op.h"
#include "reconcilers/media/keys.h"
#include "specs/base/paths.h"

struct buf;
struct error;
struct reconciler_host;
struct vm_spec;
struct vm_status;

/* The name that known_hosts gives the guest (HostKeyAlias of ssh_config(5)). free() it. */
char *seed_host_alias(const char *vm_name);

/* known_hosts gets the key that the guest on the VM's disk has: the trusted one, else vmctl's.
 * Errors: -ERR_SEED, -ERR_NO_SPACE. It waits for the disk. */
int seed_write_known_hosts(const struct paths *paths, const char *vm_name, struct error *err);

/* The public keys of those who may log in: the VM's own, and those of the spec's ssh-key file.
 * -ERR_SEED, -ERR_KEY_UNREADABLE. It waits for the disk. */
int seed_read_authorized_keys(
    const struct paths *paths, const struct vm_spec *spec, struct buf *out, struct error *err);
/* The host name of the guest. free() it. */
char *seed_hostname(const struct vm_spec *spec);

/* Gives the networks of a spec that has several the MAC addresses of their cards, by which the seed
 * names them. */
void seed_name_cards(struct vm_spec *spec, const struct vm_status *status);

/* `uid` becomes the instance-id; `is_clone`: the disk was another VM's (user_data.h); `file` is
 * VM_SEED or VM_NEXT_SEED. Errors: -ERR_SEED, -ERR_KEY_UNREADABLE (the ssh-key file),
 * -ERR_NO_SPACE. */
struct op *seed_make(struct reconciler_host *host, const struct vm_spec *spec, const char *uid,
    bool is_clone, enum vm_file file, op_done_fn *done, void *context);
