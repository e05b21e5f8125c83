/* SPDX-License-Identifier: MPL-2.0 */
/* sd_notify(3) without libsystemd: one datagram to the socket named by NOTIFY_SOCKET. */
#pragma once

/* `state` is "READY=1", "STOPPING=1" …; without a NOTIFY_SOCKET nothing happens. */
void notify_service_manager(const char *state);
