/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The last resort for a store with damaged pages. LMDB trusts its pages: reading a damaged one
 * ends in an assertion, or in SIGBUS or SIGSEGV in the map, or behind it, where a damaged size
 * leads to. When that happens the process prints that the store is damaged and how to move it
 * aside, and ends with the exit status of that error instead of a crash. A fault anywhere else is a
 * bug of the process and stays a crash, also inside a transaction: the user would move a sound
 * store aside.
 *
 * It cannot detect damage that still has the form of pages, such as a list of free pages that
 * names used ones. vmctld therefore reads the whole store before it opens it (store_check()).
 */
#pragma once

#include <lmdb.h>

/* Around everything that reads pages, on the thread that does it; may be nested. */
void guard_enter(void);
void guard_leave(void);

/* Watches the map of `env`, in place of any earlier; again after each change of the map's size. */
void guard_watch(MDB_env *env, const char *store_path);
/* Before the map goes. */
void guard_forget(void);
