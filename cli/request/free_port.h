/* SPDX-License-Identifier: MPL-2.0 */
/* Host ports of 127.0.0.1 for forwards that nobody chose one for. */
#pragma once

#include <stdint.h>

#include "specs/vm/vm_spec.h"

/*
 * Below the ports that Linux gives to outgoing connections (net.ipv4.ip_local_port_range, 32768 and
 * up): what is free now is then likely to be so when the machine boots. Above those of SSH.
 */
enum { FREE_PORT_FIRST = 20000, FREE_PORT_COUNT = 12000 };

/*
 * The next port after place *cursor (any number; moved on behind it, so that no call returns the
 * same again) on which no program listens now. Among VMs only a lease makes it exclusive. When all
 * are taken: one of them, which QEMU then complains of.
 */
uint16_t free_port_next(enum forward_protocol protocol, uint32_t *cursor);
