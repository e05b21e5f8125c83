/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Creates the process that becomes QEMU and that first waits for a byte on its start socket:
 *
 *   alive.lock taken -> sockets bound, log opened -> fork -> child waits -> 'g' -> exec
 *
 * The child inherits the lock, so the lock is held exactly as long as the instance lives. If this
 * process ends before it sends 'g', the child sees the end of the stream and exits: no QEMU can run
 * before its pid is recorded.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct error;
struct firmware_build;
struct paths;
struct share_program;
struct vm_spec;

struct spawn_request {
    const struct paths *paths;
    const struct vm_spec *spec;
    const char *instance_id;
    const char *machine; /* "q35" or a version of it */
    const char *accel;   /* "kvm" or "tcg" */
    char *const *macs;   /* as in qemu_config */
    const int *tap_fds;  /* borrowed, of NETWORKS_MAX networks; -1: that is not "tap" */
    const struct share_program *share_program; /* what serves shares; its path NULL: QEMU, by 9p */
    const char *share_user;                    /* as vm_status.share_user; NULL: not known */
    const struct firmware_build *firmware;     /* as in qemu_config; its variables are there */
    const char *memory;                        /* as in qemu_config … */
    bool is_woken;
    bool has_agent;
    int64_t wall_ms; /* for the log */
};

struct spawned {
    pid_t pid;
    uint64_t start_ticks;
    int start_pipe; /* owned by the caller: spawn_release() it, or close() it to cancel */
};

/*
 * QEMU gets an environment of its own, which holds nothing of the controller's but a few settings,
 * the guard (guard_preload.c) where its guest is on network "user", no capability, and under root
 * another user (host_files.h).
 *
 * ERR_VM_CONFLICT: a process of this VM lives. ERR_QEMU_SPAWN: something is not installed or not
 * permitted. ERR_BACKEND_UNAVAILABLE: this platform does not support the spec's network, or the
 * guard is not installed.
 */
int spawn_qemu(const struct spawn_request *request, struct spawned *ret, struct error *err);

/* Sends 'g' and closes the socket. The child may have exited. */
void spawn_release(int start_pipe_take);
