/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Identity of a long-lived process that may not be our child: pid, start time and boot id name it
 * forever; a pidfd names it while we look. kill(pid, 0) is never used: a zombie would count as
 * alive and a recycled pid as ours.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct error;
struct loop;
struct process;

typedef void process_exited_fn(void *context);

/*
 * Opens the process if it is still the one recorded (same start time, read after pidfd_open, then
 * the pidfd checked again) and watches its end: `exited` is called once from the loop. Returns 0,
 * or -ERR_VM_NOT_FOUND when that process is gone.
 */
int process_watch(struct loop *loop, pid_t pid, uint64_t start_ticks, process_exited_fn *exited,
    void *context, struct process **ret, struct error *err);

bool process_is_alive(const struct process *process);
/* Reaps a killed child that has no waiter, once it has ended, which may take long (a disk that
 * hangs). */
void process_reap_later(struct loop *loop, int pidfd_take);

/* By pidfd_send_signal(2). A process that is gone is fine. */
void process_signal(const struct process *process, int signal);
/*
 * How it ended, once it has: a wait status as of waitpid(2), or -1 when the kernel does not report
 * it (not our child, and no PIDFD_GET_INFO before Linux 6.15). Reaps it if it is our child.
 */
int process_exit_status(struct process *process);
void process_close(struct process *process); /* does not signal it; NULL is fine */
