/* SPDX-License-Identifier: MPL-2.0 */
/* Shared by the tests of controller/: a directory of one's own, and waiting on a real loop. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controller/loop/loop.h"
#include "specs/base/buf.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"

/* Far beyond what anything here takes, also on a busy machine: only a hanging test meets it. */
enum { TEST_DEADLINE_MS = 30000 };

/* cmocka setup and teardown: *state is the path of a fresh directory. */
static inline int make_scratch_dir(void **state)
{
    char path[] = "/tmp/vmctl-test-XXXXXX";
    *state = mkdtemp(path) ? mem_strdup(path) : NULL;
    return *state ? 0 : -1;
}

static inline int remove_scratch_dir(void **state)
{
    struct error err = {0};
    int rc = fs_remove_tree(*state, &err);
    free(*state);
    return rc;
}

/* Runs a real loop until `is_done` is set by some callback. */
struct test_wait {
    struct loop *loop;
    struct loop_timer *tick, *deadline;
    bool (*is_done)(void *context);
    void *context;
    bool is_late;
};

static inline void test_wait_tick(void *context)
{
    struct test_wait *wait = context;
    if (wait->is_done(wait->context)) {
        loop_stop(wait->loop);
    } else {
        loop_timer_start(wait->tick, 1);
    }
}

static inline void test_wait_late(void *context)
{
    struct test_wait *wait = context;
    wait->is_late = true;
    loop_stop(wait->loop);
}

/* False when the deadline passed first. */
static inline bool run_until(struct loop *loop, bool (*is_done)(void *context), void *context)
{
    struct test_wait wait = {.loop = loop, .is_done = is_done, .context = context};
    wait.tick = loop_timer_new(loop, test_wait_tick, &wait);
    wait.deadline = loop_timer_new(loop, test_wait_late, &wait);
    loop_timer_start(wait.tick, 0);
    loop_timer_start(wait.deadline, TEST_DEADLINE_MS);
    loop_run(loop);
    loop_timer_free(wait.tick);
    loop_timer_free(wait.deadline);
    return !wait.is_late;
}

static inline bool is_set(void *flag)
{
    return *(bool *)flag;
}

static inline struct loop *new_loop(void)
{
    struct error err = {0};
    struct loop *loop = NULL;
    assert_int_equal(loop_new(&loop, &err), 0);
    return loop;
}
