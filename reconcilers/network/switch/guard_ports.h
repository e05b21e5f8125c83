/* SPDX-License-Identifier: MPL-2.0 */
/* Of the guard (reconcilers/backend/qemu/guard_preload.c), where it is linked into a program. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Replaces the ports of this host that may be connected to. */
void guard_set_ports(const uint16_t *ports, size_t n);

/* Whether what libraries call by these names is the guard's. */
int guard_is_in_place(void);
