/* SPDX-License-Identifier: MPL-2.0 */
/* A store in a directory of its own, and short ways to put things into it. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "store/batch.h"
#include "store/lmdb/store_internal.h"
#include "store/store.h"

struct fixture {
    char *dir;
    struct paths paths;
    struct store *store; /* NULL until opened */
};

static inline int fixture_set_up(void **state)
{
    struct fixture *f = mem_new(struct fixture);
    f->dir = mem_strdup("/tmp/vmctl-test-store-XXXXXX");
    f->paths.data_dir = mem_strdup(mkdtemp(f->dir));
    *state = f;
    return 0;
}

static inline void must(int rc, const struct error *err)
{
    if (rc != 0) {
        fail_msg("%s", err->message);
    }
}

static inline struct store *open_store(const struct fixture *f)
{
    struct store *store = NULL;
    struct error err = {0};
    must(store_open(&f->paths, &store, &err), &err);
    return store;
}

static inline int fixture_set_up_open(void **state)
{
    (void)fixture_set_up(state);
    struct fixture *f = *state;
    f->store = open_store(f);
    return 0;
}

static inline int fixture_tear_down(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    store_close(f->store);
    must(fs_remove_tree(f->dir, &err), &err);
    paths_clear(&f->paths);
    free(f->dir);
    free(f);
    return 0;
}

static inline struct vm_desired *a_desired(const char *name, uint32_t vcpus)
{
    struct vm_spec *spec = vm_spec_new(name);
    spec->image.location = mem_strdup("/images/base.qcow2");
    spec->vcpus = vcpus;
    return vm_desired_new(spec, 1700000000000);
}

/* Commits and frees; the code, 0 or negative. */
static inline int commit(struct store *store, struct store_batch *batch)
{
    struct error err = {0};
    int rc = store_commit(store, batch, &err);
    assert_int_equal(rc, -(int)err.code);
    store_batch_free(batch);
    return rc;
}

static inline int put_desired(
    struct store *store, const struct vm_desired *desired, uint64_t expected)
{
    struct store_batch *batch = store_batch_new();
    store_batch_put_desired(batch, desired, expected);
    return commit(store, batch);
}

/* A new VM; its uid is written to `ret_uid` (TEXT_ID_SIZE bytes) unless NULL. */
static inline int create_vm(struct store *store, const char *name, char *ret_uid)
{
    struct vm_desired *desired = a_desired(name, 1);
    if (ret_uid) {
        strcpy(ret_uid, desired->uid);
    }
    int rc = put_desired(store, desired, 0);
    vm_desired_free(desired);
    return rc;
}

static inline int put_status(
    struct store *store, const char *name, const char *uid, uint64_t generation)
{
    struct vm_status *status = vm_status_new(uid);
    struct store_batch *batch = store_batch_new();
    status->observed_generation = generation;
    store_batch_put_status(batch, name, status);
    vm_status_free(status);
    return commit(store, batch);
}

static inline struct vm_record get_vm(struct store *store, const char *name)
{
    struct vm_record record = {0};
    struct error err = {0};
    must(store_get(store, name, &record, &err), &err);
    return record;
}

/* Runs `body` in a child process, which must not use the parent's store. Its exit status is 0 when
 * the body returns and 1 when it fails. */
static inline pid_t start_child(
    void (*body)(const struct fixture *f, int number), const struct fixture *f, int number)
{
    pid_t pid = fork();
    if (pid == 0) {
        body(f, number);
        _exit(0);
    }
    assert_true(pid > 0);
    return pid;
}

static inline int wait_for_child(pid_t pid)
{
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

/* In a child: cmocka's asserts would longjmp into the parent's stack. */
#define child_must(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "child: %s:%d: %s\n", __FILE__, __LINE__, #condition);                 \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)
