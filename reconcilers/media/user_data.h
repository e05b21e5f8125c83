/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The texts of a NoCloud seed: cloud-config user-data and meta-data (docs.cloudinit.io, "NoCloud",
 * modules "Users and Groups" and "SSH"). Pure. Every value is a quoted YAML scalar (YAML 1.2,
 * 7.3.1), so that none can break out of its place.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct buf;
struct bytes;
struct vm_spec;

struct user_data {
    const char *hostname;
    const char *user;
    const char *authorized_keys; /* public keys, one a line; '#' lines and empty ones are skipped */
    const char *host_key_private; /* OpenSSH's PEM text: the guest gets the identity we expect */
    const char *host_key_public;
    bool is_clone; /* the guest makes itself a machine-id of its own, once */
};

/* Appends the host name (RFC 1123) of a VM that was given none: its name, with '-' for '_', and
 * without what no label may begin or end with. The name is one that vm_spec_name_is_valid(). */
void host_name_write(const char *vm_name, struct buf *out);
void user_data_write(const struct user_data *data, struct buf *out);
/* cloud-init's network configuration, version 2, of a VM on several networks, whose spec has the
 * MAC addresses of its cards: eth0, eth1 … in the order of the networks, the default route by the
 * first. Nothing for a VM on one, which its image sets up. */
void network_config_write(const struct vm_spec *spec, struct buf *out);
/*
 * Appends the user's files, at least one, and our cloud-config as parts of one MIME message (RFC
 * 2046). Of what several say, cloud-init keeps what the first says, and all of lists, so that
 * `users` has theirs and ours. MIME of the user's becomes a part as it is, and cloud-init unpacks a
 * part that is gzip: what those say takes the place of what is before them.
 */
void user_data_join(const struct bytes *theirs, size_t n_theirs, const char *ours, struct buf *out);
void meta_data_write(const char *instance_id, const char *hostname, struct buf *out);
