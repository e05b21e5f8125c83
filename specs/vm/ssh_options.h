/* SPDX-License-Identifier: MPL-2.0 */
/*
 * How ssh(1) reaches a guest, as keywords of ssh_config(5): for its command line, or for a Host
 * block. Where vmctl gave the guest its host key, it is pinned; else it is not checked, as the
 * address is on this host or given by the guest itself.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct buf;
struct paths;
struct vm_spec;
struct vm_status;

/* In ~/.ssh: what is tried when nothing is named, in this order. */
enum { SSH_STANDARD_KEYS = 3 };
extern const char *const ssh_standard_keys[SSH_STANDARD_KEYS];

struct ssh_option {
    const char *keyword; /* static */
    char *value;         /* quoted as that file wants it */
};

struct ssh_options {
    struct ssh_option *items; /* owned */
    size_t count;
};

void ssh_options_add(struct ssh_options *options, const char *keyword, char *value_take);
/* As a value: ssh expands '%' in paths, and splits at spaces outside of quotes. */
void ssh_options_add_path(struct ssh_options *options, const char *keyword, const char *path);
void ssh_options_clear(struct ssh_options *options);

/* Whether there is an address to reach it at. */
bool ssh_options_has_address(const struct vm_status *status);

/* All but the keys. `user` NULL: the VM's. Of a VM that has an address. */
void ssh_options_add_guest(struct ssh_options *options, const struct paths *paths,
    const struct vm_spec *spec, const struct vm_status *status, const char *user);

/* The keys by their paths, whether these exist or not: ssh passes over those that do not. It asks
 * no file system of the user's. */
void ssh_options_add_key_paths(
    struct ssh_options *options, const struct paths *paths, const struct vm_spec *spec);

/* The value with a line end, which that file cannot hold; NULL: there is none. */
const struct ssh_option *ssh_options_unfit(const struct ssh_options *options);

/* Appends "Host NAME" and the options. */
void ssh_options_print(struct buf *out, const char *name, const struct ssh_options *options);
