/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The volumes of a VM: whose they are, and whether they are mounted. A volume is one VM's from the
 * commit that begins a start, or that attaches it to a running machine, until the machine is gone
 * or the volume detached: a lease in the store says so. Mounting is done once in each boot of the
 * guest, and when the list has changed; status.mounted is the digest of what was done. Shared
 * folders are mounted with them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct error;
struct pass;

/* Fills the situation's is_volume_due, is_mount_due and is_unmount_due. */
void volumes_assess(struct pass *pass);

/* Leases those of the spec, in the patch. -ERR_VOLUME_IN_USE: one is another VM's. */
int volumes_lease(struct pass *pass, struct error *err);
bool volumes_are_held(const struct pass *pass);

/* The VM has ended: records how long the files are that it wrote to. */
void volumes_record_ended(struct pass *pass);

/* The conditions Mounted and Shared; after Running. */
void volumes_describe(struct pass *pass);

/* ACTION_MAKE_VOLUMES and ACTION_MOUNT, as pass_act(); and the outcome of the latter. */
int64_t volumes_act_make(struct pass *pass);
int64_t volumes_act_mount(struct pass *pass);
bool volumes_record_mounted(struct pass *pass);
