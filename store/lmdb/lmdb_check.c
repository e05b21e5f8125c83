/* SPDX-License-Identifier: MPL-2.0 */
#include "store/lmdb/lmdb_env.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/vm_name.h"

enum { CHECK_TIMEOUT_S = 60, FREE_TABLE = 0 /* where LMDB keeps its free pages: mdb_stat.c */ };

/* How the child ends, if it does not crash. */
enum {
    WHOLE = 0,
    DAMAGED = 1,
    UNKNOWN = 2 /* it could not check: opening the store will report why */
};

/* Reads every byte, so that a page behind the end of the file is touched here and not later. */
static void touch(MDB_val value)
{
    const volatile unsigned char *bytes = value.mv_data;
    for (size_t i = 0; i < value.mv_size; i++) {
        (void)bytes[i];
    }
}

bool lmdb_is_vm_name(struct bytes key)
{
    char name[VM_FULL_NAME_MAX + 1];
    if (key.n >= sizeof(name) || memchr(key.data, '\0', key.n)) {
        return false;
    }
    memcpy(name, key.data, key.n);
    name[key.n] = '\0';
    return vm_name_is_valid(name) || vm_spec_name_is_of_template(name);
}

/* A page of another time lacks records, or has some too many, that its tree counts otherwise. */
static int read_table(MDB_txn *txn, MDB_dbi table, bool is_of_vms)
{
    MDB_cursor *cursor = NULL;
    MDB_val key, value, before = {0};
    MDB_stat stat;
    size_t count = 0;
    int rc = mdb_cursor_open(txn, table, &cursor);
    while (rc == 0 && (rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        touch(key);
        touch(value);
        if (count > 0 && mdb_cmp(txn, table, &before, &key) >= 0) {
            return MDB_CORRUPTED;
        }
        before = key;
        count++;
        if (is_of_vms && !lmdb_is_vm_name(lmdb_bytes(key))) {
            return MDB_CORRUPTED;
        }
    }
    if (rc != MDB_NOTFOUND || (rc = mdb_stat(txn, table, &stat)) != 0) {
        return rc;
    }
    return count == stat.ms_entries ? 0 : MDB_CORRUPTED;
}

static int check_layout(MDB_env *env, MDB_txn *txn)
{
    struct stat st;
    int fd;
    int rc = mdb_env_get_fd(env, &fd);
    if (rc != 0 || fstat(fd, &st) < 0) {
        return rc != 0 ? rc : errno;
    }
    size_t n = (size_t)st.st_size;
    const void *map = mmap(NULL, n, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        return errno;
    }
    return lmdb_pages_are_sound(map, n, mdb_txn_id(txn)) ? 0 : MDB_CORRUPTED;
}

/* A store that an older vmctl made has none: see lmdb_index.h. */
static int read_index(MDB_txn *txn)
{
    static const char *const names[] = {
        LMDB_INDEX_NAME, LMDB_CHANGES_NAME, LMDB_HELD_NAME, LMDB_BLOCKS_NAME};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(names); i++) {
        MDB_dbi table;
        rc = mdb_dbi_open(txn, names[i], 0, &table);
        rc = rc == 0 ? read_table(txn, table, false) : rc == MDB_NOTFOUND ? 0 : rc;
    }
    return rc;
}

static int read_everything(const char *path)
{
    MDB_env *env = NULL;
    MDB_txn *txn = NULL;
    MDB_dbi table;
    int rc = mdb_env_create(&env);
    if (rc != 0 || (rc = mdb_env_set_maxdbs(env, LMDB_TABLES_MAX)) != 0 ||
        (rc = mdb_env_open(env, path, MDB_RDONLY, 0600)) != 0 ||
        (rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn)) != 0 ||
        (rc = check_layout(env, txn)) != 0 || (rc = read_table(txn, FREE_TABLE, false)) != 0 ||
        (rc = mdb_dbi_open(txn, NULL, 0, &table)) != 0 ||
        (rc = read_table(txn, table, false)) != 0) {
        return rc;
    }
    for (int i = 0; rc == 0 && i < STORE_TABLE_COUNT_; i++) {
        rc = mdb_dbi_open(txn, lmdb_table_name((enum store_table)i), 0, &table);
        if (rc == 0) {
            rc = read_table(txn, table, i == STORE_DESIRED || i == STORE_STATUS);
        } else if (rc == MDB_NOTFOUND) {
            rc = lmdb_has_tables(txn, true) && i != STORE_FLEET ? MDB_CORRUPTED : 0;
        }
    }
    return rc == 0 ? read_index(txn) : rc;
}

/* In the child. It may die of SIGBUS or of LMDB's own assertions: quietly. */
static _Noreturn void check_and_exit(const char *path)
{
    static const int deadly[] = {SIGBUS, SIGSEGV, SIGABRT, SIGALRM};
    sigset_t none;
    (void)sigemptyset(&none);
    for (size_t i = 0; i < ARRAY_LEN(deadly); i++) {
        (void)signal(deadly[i], SIG_DFL);
    }
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)prctl(PR_SET_DUMPABLE, 0);
    int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null_fd >= 0) {
        (void)dup2(null_fd, STDERR_FILENO);
    }
    (void)alarm(CHECK_TIMEOUT_S);
    int rc = read_everything(path);
    _exit(rc == 0 ? WHOLE : rc < 0 ? DAMAGED : UNKNOWN);
}

int lmdb_check_pages(const char *path)
{
    int status = 0;
    pid_t pid = fork();
    if (pid < 0) {
        return errno;
    }
    if (pid == 0) {
        check_and_exit(path);
    }
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) {
            return errno;
        }
    }
    /* Damaged pages raise these signals; a child that was killed from outside, or took too long on
     * a busy machine, proves nothing. */
    int number = WIFEXITED(status) ? 0 : WTERMSIG(status);
    bool is_damaged = number == SIGBUS || number == SIGSEGV || number == SIGABRT ||
                      (number == 0 && WEXITSTATUS(status) == DAMAGED);
    return is_damaged ? MDB_CORRUPTED : 0;
}
