/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Watches whether a guest agent answers, and its version. QEMU reports when a program in the guest
 * has opened the port (monitor.h); only then the agent is asked, so that a guest without one costs
 * nothing. An agent that does not answer is asked again at growing intervals.
 */
#pragma once

#include <stdbool.h>

struct agent_watch;
struct loop;

/* `changed` is called when the result of a function below has changed. */
struct agent_watch *agent_watch_new(struct loop *loop, const char *vm_name, const char *socket_path,
    void (*changed)(void *context), void *context);
void agent_watch_free(struct agent_watch *watch); /* NULL is fine, for the others too */

/* Passes on the state that QEMU reports; false also for a guest that is stopped. */
void agent_watch_note(struct agent_watch *watch, bool is_open);
/* Call when the agent did not answer another caller: its version is asked for again. */
void agent_watch_doubt(struct agent_watch *watch);

/* Commands sent without waiting for a result; never to an agent that does not answer. */
enum agent_order {
    AGENT_ORDER_THAW,
    AGENT_ORDER_SHUTDOWN,
    AGENT_ORDERS_,
};
void agent_watch_order(struct agent_watch *watch, enum agent_order order);

/* Asks for the address of the interface with this MAC address until there is one; NULL: stops
 * asking. */
void agent_watch_find_address(struct agent_watch *watch, const char *mac);
/* Returns the address found; NULL: none. Borrowed. */
const char *agent_watch_address(const struct agent_watch *watch);

/* Returns the version of the agent that answers, one word; NULL: none does. Borrowed. */
const char *agent_watch_version(const struct agent_watch *watch);
/* Returns whether an agent may exist that was not asked yet. */
bool agent_watch_is_asking(const struct agent_watch *watch);
