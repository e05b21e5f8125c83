/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Whether the agent in a guest answers, and which it is. QEMU reports that a program in the guest
 * has opened the port (monitor.h); only then it is asked, so that a guest without an agent costs
 * nothing. One that does not answer is asked again, at growing intervals.
 */
#pragma once

#include <stdbool.h>

struct agent_watch;
struct loop;

/* `changed` is called when the result of a function below has changed. */
struct agent_watch *agent_watch_new(struct loop *loop, const char *vm_name, const char *socket_path,
    void (*changed)(void *context), void *context);
void agent_watch_free(struct agent_watch *watch); /* NULL is fine, for the others too */

/* As QEMU reports it now; false: also of a guest that stands still. */
void agent_watch_note(struct agent_watch *watch, bool is_open);
/* It did not answer what somebody else asked: it is asked who it is again. */
void agent_watch_doubt(struct agent_watch *watch);

/* Sent without waiting for what comes of it; not to an agent that does not answer. */
enum agent_order {
    AGENT_ORDER_THAW,
    AGENT_ORDER_SHUTDOWN,
    AGENT_ORDERS_,
};
void agent_watch_order(struct agent_watch *watch, enum agent_order order);

/* Asks for the address of the interface with this MAC address, until there is one; NULL: it is not
 * wanted. */
void agent_watch_find_address(struct agent_watch *watch, const char *mac);
/* NULL: none was found. Borrowed. */
const char *agent_watch_address(const struct agent_watch *watch);

/* The version of the one that answers, a word; NULL: none does. Borrowed. */
const char *agent_watch_version(const struct agent_watch *watch);
/* One may be there, and was not asked yet. */
bool agent_watch_is_asking(const struct agent_watch *watch);
