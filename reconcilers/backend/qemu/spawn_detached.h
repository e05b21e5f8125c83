/* SPDX-License-Identifier: MPL-2.0 */
#pragma once

#include <sys/types.h>

/*
 * fork(2) out of a program with threads and signal handlers: the child starts with every signal at
 * its default and none blocked, and cannot run a handler of the parent's in between (libev's would
 * write into the parent's own wake-up descriptor). As fork(): 0 in the child, -1 on failure. Until
 * it executes another program the child may only make async-signal-safe calls (signal-safety(7)).
 */
pid_t spawn_detached(void);
