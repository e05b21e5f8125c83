/* SPDX-License-Identifier: MPL-2.0 */
/* The TCP ports that a guest listens on, as guest_ports.sh prints them there. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "reconcilers/backend/backend.h"

struct guest_ports;
struct reconciler_host;

/* Pure. Each once, in ascending order, with the address that is the surest to reach it within the
 * guest; not those of the guest's own resolver (127.0.0.53), nor of one link alone. What is not
 * understood is passed over. Returns how many. */
size_t guest_ports_parse(const char *line, struct tunnel_port ret[TUNNEL_PORTS_MAX]);

/* Watches them over the login of the VM's tunnel; when the guest's side ends, it is started again
 * after a while. `changed`: what guest_ports_get() says is another; however often the guest says
 * so, at most twice a second. */
struct guest_ports *guest_ports_new(struct reconciler_host *host, const char *vm_name,
    void (*changed)(void *context), void *context);
void guest_ports_free(struct guest_ports *ports); /* NULL is fine */

/* Those of the facts; `ports` NULL: they are not known. Borrowed until the loop runs. */
void guest_ports_get(const struct guest_ports *ports, struct tunnel_facts *ret);
