/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What a C library that we build with may not have: glibc before 2.36, and musl. Programs need no
 * symbol of glibc that is newer than 2.34, whichever they are built with (tests/lint/glibc.sh).
 * Linux has all of it, since 5.11.
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <search.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#ifndef MOUNT_ATTR_RDONLY
#include <linux/mount.h> /* behind <sys/mount.h>, whose names it makes macros of */
#endif

/* In place of <sys/pidfd.h>, of glibc 2.36. */
static inline int pidfd_open(pid_t pid, unsigned flags)
{
    return (int)syscall(SYS_pidfd_open, pid, flags);
}

static inline int pidfd_send_signal(int pidfd, int signal, siginfo_t *info, unsigned flags)
{
    return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, info, flags);
}

#ifndef __GLIBC__

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE (1U << 0)
#endif

static inline int close_range(unsigned first, unsigned last, int flags)
{
    return (int)syscall(SYS_close_range, first, last, flags);
}

static inline int renameat2(
    int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
}

/* Its strerror() is as safe in a signal handler, and in a child. */
static inline const char *strerrordesc_np(int number)
{
    return strerror(number);
}

/* "TERM"; NULL: one that no program is ended by in practice. */
static inline const char *sigabbrev_np(int number)
{
    static const char *const names[] = {[SIGHUP] = "HUP",
        [SIGINT] = "INT",
        [SIGQUIT] = "QUIT",
        [SIGILL] = "ILL",
        [SIGTRAP] = "TRAP",
        [SIGABRT] = "ABRT",
        [SIGBUS] = "BUS",
        [SIGFPE] = "FPE",
        [SIGKILL] = "KILL",
        [SIGUSR1] = "USR1",
        [SIGSEGV] = "SEGV",
        [SIGUSR2] = "USR2",
        [SIGPIPE] = "PIPE",
        [SIGALRM] = "ALRM",
        [SIGTERM] = "TERM",
        [SIGXCPU] = "XCPU",
        [SIGXFSZ] = "XFSZ",
        [SIGSYS] = "SYS"};
    return number > 0 && (size_t)number < sizeof(names) / sizeof(names[0]) ? names[number] : NULL;
}

/* In this process they become what is closed in a program: all that vmctl opens is so anyway, and
 * the child's actions make copies that are not. */
static inline int posix_spawn_file_actions_addclosefrom_np(
    posix_spawn_file_actions_t *actions, int first)
{
    (void)actions;
    return close_range((unsigned)first, ~0U, CLOSE_RANGE_CLOEXEC) < 0 ? errno : 0;
}

static _Thread_local struct {
    void (*visit)(const void *node, VISIT order, void *closure);
    void *closure;
} compat_walk __attribute__((unused));

static inline void compat_walk_visit(const void *node, VISIT order, int depth)
{
    (void)depth;
    compat_walk.visit(node, order, compat_walk.closure);
}

/* One walk at a time. */
static inline void twalk_r(
    const void *root, void (*visit)(const void *node, VISIT order, void *closure), void *closure)
{
    compat_walk.visit = visit;
    compat_walk.closure = closure;
    twalk(root, compat_walk_visit);
}

#endif
