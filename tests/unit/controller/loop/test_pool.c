/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/loop/pool.h"

#include <pthread.h>
#include <semaphore.h>

#include "tests/unit/controller/test_support.h"

enum { JOBS = 50 };

struct fixture {
    struct loop *loop;
    struct pool *pool;
    int n_done, n_failed, n_freed;
    bool is_done;
};

struct work {
    struct fixture *f;
    int number;
    int result;
    pthread_t thread;
    sem_t started, may_end; /* of the work that waits */
    bool saw_cancel;
    struct op *op;
};

static void begin(struct fixture *f, unsigned threads)
{
    struct error err = {0};
    *f = (struct fixture){.loop = new_loop()};
    assert_int_equal(pool_new(f->loop, threads, &f->pool, &err), 0);
}

static void end(struct fixture *f)
{
    pool_free(f->pool);
    loop_free(f->loop);
}

static int square(void *context, const atomic_bool *is_cancelled, struct error *err)
{
    struct work *work = context;
    (void)is_cancelled;
    (void)err;
    work->result = work->number * work->number;
    work->thread = pthread_self();
    return 0;
}

static int fill_the_disk(void *context, const atomic_bool *is_cancelled, struct error *err)
{
    (void)context;
    (void)is_cancelled;
    return error_set(err, ERR_NO_SPACE, "the disk is full");
}

static int wait_to_be_let_go(void *context, const atomic_bool *is_cancelled, struct error *err)
{
    struct work *work = context;
    (void)err;
    sem_post(&work->started);
    sem_wait(&work->may_end);
    work->saw_cancel = atomic_load(is_cancelled);
    return 0;
}

static int work_until_cancelled(void *context, const atomic_bool *is_cancelled, struct error *err)
{
    struct work *work = context;
    sem_post(&work->started);
    while (!atomic_load(is_cancelled)) {
    }
    return error_set(err, ERR_CANCELLED, "cancelled");
}

static void on_done(void *context, const struct error *err)
{
    struct work *work = context;
    assert_null(err);
    assert_int_equal(work->result, work->number * work->number);
    assert_false(pthread_equal(work->thread, pthread_self()));
    work->f->is_done = ++work->f->n_done == JOBS;
}

static void on_failed(void *context, const struct error *err)
{
    struct fixture *f = context;
    assert_non_null(err);
    assert_int_equal(err->code, ERR_NO_SPACE);
    assert_string_equal(err->message, "the disk is full");
    f->n_failed++;
    f->is_done = true;
}

static void must_not_be_called(void *context, const struct error *err)
{
    (void)context;
    (void)err;
    fail_msg("a cancelled operation completed");
}

static void on_freed(void *context)
{
    struct work *work = context;
    work->f->n_freed++;
    work->f->is_done = true;
}

static void all_work_is_done_on_other_threads_and_told_on_this_one(void **state)
{
    (void)state;
    struct fixture f;
    struct work work[JOBS];
    begin(&f, 4);
    for (int i = 0; i < JOBS; i++) {
        work[i] = (struct work){.f = &f, .number = i};
        pool_start(f.pool, square, NULL, &work[i], on_done, &work[i]);
    }
    assert_int_equal(f.n_done, 0); /* never from inside the call that started it */
    assert_true(run_until(f.loop, is_set, &f.is_done));
    assert_int_equal(f.n_done, JOBS);
    end(&f);
}

static void a_failure_arrives_with_its_error(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 1);
    pool_start(f.pool, fill_the_disk, NULL, NULL, on_failed, &f);
    assert_true(run_until(f.loop, is_set, &f.is_done));
    assert_int_equal(f.n_failed, 1);
    end(&f);
}

static void cancelled_work_keeps_its_context_until_it_has_really_ended(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 1);
    struct work work = {.f = &f};
    sem_init(&work.started, 0, 0);
    sem_init(&work.may_end, 0, 0);
    struct op *op =
        pool_start(f.pool, wait_to_be_let_go, on_freed, &work, must_not_be_called, NULL);
    sem_wait(&work.started);
    op_cancel(op);
    assert_int_equal(f.n_freed, 0);
    sem_post(&work.may_end);
    assert_true(run_until(f.loop, is_set, &f.is_done));
    assert_int_equal(f.n_freed, 1);
    assert_true(work.saw_cancel);
    end(&f);
    sem_destroy(&work.started);
    sem_destroy(&work.may_end);
}

static void work_cancelled_while_it_waits_is_never_begun(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 1);
    struct work first = {.f = &f}, second = {.f = &f, .number = 3};
    sem_init(&first.started, 0, 0);
    sem_init(&first.may_end, 0, 0);
    pool_start(f.pool, wait_to_be_let_go, NULL, &first, on_done, &first);
    sem_wait(&first.started);
    op_cancel(pool_start(f.pool, square, on_freed, &second, must_not_be_called, NULL));
    first.thread = 0;
    sem_post(&first.may_end);
    assert_true(run_until(f.loop, is_set, &f.is_done));
    assert_int_equal(second.result, 0);
    end(&f);
    sem_destroy(&first.started);
    sem_destroy(&first.may_end);
}

static void ignore_done(void *context, const struct error *err)
{
    (void)context;
    (void)err;
}

static void a_read_that_never_ends_keeps_nobody_waiting_in_another_lane(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 1);
    struct work blocked[] = {{.f = &f}, {.f = &f}}, quick[] = {{.f = &f}, {.f = &f}};
    for (int i = 0; i < 2; i++) {
        enum pool_lane lane = i == 0 ? POOL_SOURCE : POOL_BULK;
        sem_init(&blocked[i].started, 0, 0);
        sem_init(&blocked[i].may_end, 0, 0);
        (void)pool_start_in(
            f.pool, lane, wait_to_be_let_go, NULL, &blocked[i], must_not_be_called, NULL);
        sem_wait(&blocked[i].started);
        (void)pool_start(f.pool, square, on_freed, &quick[i], ignore_done, NULL);
        f.is_done = false;
        assert_true(run_until(f.loop, is_set, &f.is_done));
    }
    assert_int_equal(f.n_freed, 2);
    for (int i = 0; i < 2; i++) {
        sem_post(&blocked[i].may_end);
    }
    end(&f);
    for (int i = 0; i < 2; i++) {
        sem_destroy(&blocked[i].started);
        sem_destroy(&blocked[i].may_end);
    }
}

static void on_stopped(void *context, const struct error *err)
{
    struct work *work = context;
    assert_non_null(err);
    assert_int_equal(err->code, ERR_CANCELLED);
    work->f->is_done = ++work->f->n_done == 2;
}

static void work_that_is_stopped_is_told(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 1);
    struct work running = {.f = &f}, waiting = {.f = &f};
    sem_init(&running.started, 0, 0);
    struct op *first =
        pool_start(f.pool, work_until_cancelled, NULL, &running, on_stopped, &running);
    struct op *second = pool_start(f.pool, square, NULL, &waiting, on_stopped, &waiting);
    sem_wait(&running.started);
    pool_stop(second);
    pool_stop(first);
    assert_true(run_until(f.loop, is_set, &f.is_done));
    end(&f);
    sem_destroy(&running.started);
}

static void freeing_the_pool_cancels_what_runs_and_what_waits(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 1);
    struct work running = {.f = &f}, waiting = {.f = &f};
    sem_init(&running.started, 0, 0);
    pool_start(f.pool, work_until_cancelled, on_freed, &running, must_not_be_called, NULL);
    pool_start(f.pool, square, on_freed, &waiting, must_not_be_called, NULL);
    sem_wait(&running.started);
    end(&f);
    assert_int_equal(f.n_freed, 2);
    sem_destroy(&running.started);
}

static void on_done_here(void *context, const struct error *err)
{
    struct work *work = context;
    assert_null(err);
    assert_true(pthread_equal(work->thread, pthread_self()));
    assert_int_equal(work->number, work->f->n_done);
    work->f->is_done = ++work->f->n_done == 3;
}

static void without_threads_work_is_done_in_order_on_the_loop(void **state)
{
    (void)state;
    struct fixture f;
    struct work work[4];
    begin(&f, 0);
    for (int i = 0; i < 4; i++) {
        work[i] = (struct work){.f = &f, .number = i};
        work[i].op = pool_start(f.pool, square, NULL, &work[i], on_done_here, &work[i]);
    }
    op_cancel(work[3].op);
    assert_int_equal(f.n_done, 0);
    assert_true(run_until(f.loop, is_set, &f.is_done));
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_work_is_done_on_other_threads_and_told_on_this_one),
        cmocka_unit_test(a_failure_arrives_with_its_error),
        cmocka_unit_test(cancelled_work_keeps_its_context_until_it_has_really_ended),
        cmocka_unit_test(work_cancelled_while_it_waits_is_never_begun),
        cmocka_unit_test(a_read_that_never_ends_keeps_nobody_waiting_in_another_lane),
        cmocka_unit_test(work_that_is_stopped_is_told),
        cmocka_unit_test(freeing_the_pool_cancels_what_runs_and_what_waits),
        cmocka_unit_test(without_threads_work_is_done_in_order_on_the_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
