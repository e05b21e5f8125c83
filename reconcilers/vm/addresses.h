/* SPDX-License-Identifier: MPL-2.0 */
/* Chooses the addresses of a VM's next instance and takes leases on them, so that no other VM gets
 * the same. */
#pragma once

#include <stdbool.h>

struct error;
struct pass;

/*
 * Puts MAC address, SSH host and port into the patch's status, with leases for them and for the
 * spec's host ports and addresses; those the spec no longer has are dropped.
 * -ERR_PORT_TAKEN, -ERR_VM_CONFLICT: another VM holds a host port (an address) that the spec
 * declares; only the user can choose.
 */
int addresses_choose(struct pass *pass, struct error *err);

/* For a VM on several networks, whose seed names its cards: puts their MAC addresses into the
 * patch's status, as addresses_choose() would. Returns true if it did; commit before using them. */
bool addresses_name_cards(struct pass *pass);

/* Returns whether this VM already holds the leases of the spec's host ports. */
bool addresses_are_held(const struct pass *pass);

/* Releases all host ports but SSH's: a stopped VM needs none. */
void addresses_release_forwards(struct pass *pass);

/* Releases the leases that neither the desired spec nor the running machine uses. */
void addresses_release_undeclared(struct pass *pass);

/* With network "tap": puts the guest's current addresses into the patch's status. Returns true if
 * one changed; commit before using it. */
bool addresses_discover(struct pass *pass);
