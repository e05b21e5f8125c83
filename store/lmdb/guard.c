/* SPDX-License-Identifier: MPL-2.0 */
#include "store/lmdb/guard.h"

#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "store/store.h"

/*
 * A signal handler has no context of its own: these belong to the process, which opens one store.
 * They are written while no transaction is open and read in the middle of one.
 */
static struct {
    volatile uintptr_t start, end; /* of the map; 0: none */
    char message[2048];
    struct sigaction before_bus, before_segv;
} guard;

static _Thread_local volatile sig_atomic_t depth; /* of transactions on this thread */

static _Noreturn void give_up(void)
{
    (void)!write(STDERR_FILENO, guard.message, strlen(guard.message));
    _exit(error_exit_status(ERR_STORE));
}

/* A size in a damaged page has 32 bits, and leads that far behind the map. A fault anywhere else is
 * no matter of the store, also in the middle of a transaction. */
static bool is_of_store(uintptr_t at)
{
    return at >= guard.start && (at < guard.end || (depth > 0 && at - guard.end <= UINT32_MAX));
}

/* A fault outside the store is raised again, under the previous handler. */
static void on_fault(int number, siginfo_t *info, void *machine)
{
    (void)machine;
    if (guard.message[0] && guard.end && is_of_store((uintptr_t)info->si_addr)) {
        give_up();
    }
    (void)sigaction(number, number == SIGBUS ? &guard.before_bus : &guard.before_segv, NULL);
}

static void on_assertion(MDB_env *env, const char *text)
{
    (void)env;
    (void)text; /* of LMDB's source: no help for the user */
    give_up();
}

void store_guard(void)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGBUS, &action, &guard.before_bus);
    (void)sigaction(SIGSEGV, &action, &guard.before_segv);
}

void guard_enter(void)
{
    depth++;
}

void guard_leave(void)
{
    depth--;
}

/* LMDB itself knows the address only of a map that it was asked to put there. */
static void find_map(int fd)
{
    struct stat st;
    char *line = NULL;
    size_t capacity = 0;
    FILE *maps = fstat(fd, &st) == 0 ? fopen("/proc/self/maps", "re") : NULL;
    while (maps && !guard.start && getline(&line, &capacity, maps) > 0) {
        uintptr_t start = 0, end = 0;
        unsigned long inode = 0;
        int n = sscanf(
            line, "%" SCNxPTR "-%" SCNxPTR " %*s %*s %*s %lu", &start, &end, &inode); // NOLINT
        if (n == 3 && inode == st.st_ino && strstr(line, "/data.mdb")) {
            guard.end = end;
            guard.start = start;
        }
    }
    free(line);
    (void)(maps && fclose(maps));
}

void guard_watch(MDB_env *env, const char *store_path)
{
    int fd = -1;
    guard_forget();
    if (mdb_env_get_fd(env, &fd) != 0) {
        return;
    }
    (void)snprintf(guard.message, sizeof(guard.message),
        "error[%s]: the store in '%s' is damaged\n"
        "  help: move it aside (the disks in vms/ stay untouched): mv %s %s.broken\n",
        error_code_name(ERR_STORE), store_path, store_path, store_path);
    (void)mdb_env_set_assert(env, on_assertion);
    find_map(fd);
}

void guard_forget(void)
{
    guard.start = guard.end = 0;
}
