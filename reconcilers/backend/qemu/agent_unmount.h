/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Unmounts a volume through the guest agent, before its disk is detached:
 *
 *   guest-exec of release_volume.sh -> (guest-exec-status -> wait)* -> done
 *
 * Success: nothing is mounted any more, as far as the agent reports; an agent that may not run
 * commands reports nothing. ERR_MOUNT: the guest uses the volume, with its message; or the command
 * was, or may have been, started and its end is unknown: data that the guest has not written would
 * be lost.
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
