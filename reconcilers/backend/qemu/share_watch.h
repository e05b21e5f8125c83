/* SPDX-License-Identifier: MPL-2.0 */
/* Whether the servers of a machine's shared folders and the emulator of its TPM live: by the pipes
 * in the VM's directory. */
#pragma once

#include <stdbool.h>

struct loop;
struct share_watch;
struct vm_spec;

/* `spec`: of the machine that runs. `changed` is called when one of them has ended. */
struct share_watch *share_watch_new(struct loop *loop, const char *vm_dir,
    const struct vm_spec *spec, void (*changed)(void *context), void *context);
void share_watch_free(struct share_watch *watch); /* NULL is fine */

/* Where the guest sees the first folder whose server has ended. NULL: all live. Borrowed. */
const char *share_watch_lost(const struct share_watch *watch);
/* Whether the TPM's emulator has ended. False: it lives, or there is none. */
bool share_watch_is_tpm_lost(const struct share_watch *watch);
