/* SPDX-License-Identifier: MPL-2.0 */
/* Host forwards of QEMU's user network in the syntax of its human monitor. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "specs/vm/vm_spec.h"

enum { FORWARD_GUEST_SSH_PORT = 22 };

/* The forwards that an instance needs: `ssh_port` (0: none) to the guest's port 22, then the
 * spec's. Empty unless the network has forwards. Caller frees *ret. */
size_t forward_list(const struct vm_spec *spec, uint16_t ssh_port, struct spec_forward **ret);

/* The forwards in the output of `info usernet`: lines "TCP[HOST_FORWARD] FD 127.0.0.1 10022
 * 10.0.2.15 22 …"; others are skipped. Caller frees *ret. */
size_t forward_parse(const char *info_usernet, struct spec_forward **ret);

bool forward_is_in(const struct spec_forward *forward, const struct spec_forward *list, size_t n);

/* "hostfwd_add net0 tcp:127.0.0.1:10022-:22", "hostfwd_remove net0 tcp:127.0.0.1:10022". free()
 * them. */
char *forward_add_line(const struct spec_forward *forward);
char *forward_remove_line(const struct spec_forward *forward);
