/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The address of propolis-server: VMCTL_PROPOLIS_ADDRESS (HOST:PORT), else 127.0.0.1:12400. vmctld
 * connects to it, vmctl prints its console's address; each reads its own environment.
 */
#pragma once

const char *propolis_address(void); /* borrowed until the environment changes */
char *propolis_console_url(void);   /* free() it */
