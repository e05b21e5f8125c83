/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Makes the process that becomes QEMU, up to the point where it waits for a word on its "go"
 * socket:
 *
 *   alive.lock taken -> sockets bound, log opened -> fork -> child waits -> 'g' -> exec
 *
 * The child inherits the lock, so it is held exactly as long as the instance lives. If this process
 * ends before 'g' is sent, the child sees the end of the stream and exits: between fork and the
 * record of its pid no QEMU can run.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

struct error;
struct paths;
struct vm_spec;

struct spawn_request {
    const struct paths *paths;
    const struct vm_spec *spec;
    const char *instance_id;
    const char *accel; /* "kvm" or "tcg" */
    const char *mac;   /* NULL: QEMU's own choice */
    int tap_fd;        /* borrowed; -1: none, its network is not "tap" */
    int64_t wall_ms;   /* for the log */
};

struct spawned {
    pid_t pid;
    uint64_t start_ticks;
    int start_pipe; /* owned by the caller: spawn_release(), or close() to call it off */
};

/* ERR_VM_CONFLICT: a process of this VM lives. ERR_QEMU_SPAWN: something is not installed or not
 * permitted. ERR_BACKEND_UNAVAILABLE: the spec's network is not of this platform. */
int spawn_qemu(const struct spawn_request *request, struct spawned *ret, struct error *err);

/* Sends the word and closes the socket. A child that is gone meanwhile is fine. */
void spawn_release(int start_pipe_take);
