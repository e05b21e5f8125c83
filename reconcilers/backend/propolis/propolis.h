/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The Propolis backend of illumos: a VM is a zone of the same name, which the administrator has
 * configured and installed (brand nebula-vm); its disk is a ZFS clone; propolis-server runs in the
 * zone and gets its instance over HTTP. Only one VM can run at a time: all have one address
 * (specs/vm/propolis.h), and a server that runs another instance is left alone.
 *
 * Environment of vmctld: VMCTL_ZFS_POOL (rpool), VMCTL_PROPOLIS_ADDRESS (127.0.0.1:12400),
 * VMCTL_PROPOLIS_TIMEOUT (60: seconds from the start of the zone until the guest must run).
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
