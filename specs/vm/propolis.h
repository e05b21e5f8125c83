/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Where propolis-server answers: 127.0.0.1:12400, else what VMCTL_PROPOLIS_ADDRESS (HOST:PORT)
 * says. vmctld talks to it, vmctl tells its console's address; both read their own environment.
 */
#pragma once

const char *propolis_address(void); /* borrowed until the environment changes */
char *propolis_console_url(void);   /* free() it */
