/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The Propolis backend of illumos: a VM is a zone of the same name, which the administrator has
 * configured and installed (brand nebula-vm, share/vmctl/propolis); its disk is a ZFS clone;
 * propolis-server runs in the zone and gets its instance over HTTP, the NoCloud seed with it.
 *
 * Each VM's server has its own address: `propolis-server` of the VMFile, else
 * VMCTL_PROPOLIS_ADDRESS, else the zone's address by zonecfg(8), else 127.0.0.1; port 12400. It is
 * recorded with the instance. A server that runs another VM's instance is left alone.
 *
 * The guest's address for SSH is `address` of the VMFile's network, else the one that zonecfg(8)
 * allows on its VNIC.
 *
 * Environment of vmctld: VMCTL_ZFS_POOL (rpool), VMCTL_PROPOLIS_ADDRESS, VMCTL_PROPOLIS_TIMEOUT
 * (60: seconds from the start of the zone until the guest must run).
 */
#pragma once

#include "reconcilers/backend/backend.h"

enum { PROPOLIS_TOOL_TIMEOUT_MS = 60000 };

const char *propolis_pool(void);
int64_t propolis_timeout_ms(void);

/* The dataset of the VM's disk: the one that prepare() recorded, else a name in the current pool.
 * free() it. */
char *propolis_dataset(const struct vm_env *env);

extern const struct machine_ops propolis_machine_ops;
extern const struct media_ops propolis_media_ops;
