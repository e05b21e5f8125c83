/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Unmounting a volume by the guest's agent, before its disk is taken away:
 *
 *   guest-exec of release_volume.sh -> (guest-exec-status -> wait)* -> done
 *
 * Without an error nothing is mounted any more, as far as the agent says; one that may not run
 * commands says nothing. ERR_MOUNT: the guest uses it, with its words; or the command was begun, or
 * may have been, and its end is not known: what the guest has not written yet would be lost.
 */
#pragma once

struct agent_unmount;
struct error;
struct loop;

/* `done` is called once, from the loop, and may free it. */
struct agent_unmount *agent_unmount_start(struct loop *loop, const char *socket_path,
    const char *vm_name, const char *volume, void (*done)(void *context, const struct error *err),
    void *context);
void agent_unmount_free(struct agent_unmount *self); /* NULL is fine; the command continues */
