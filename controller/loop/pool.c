/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/loop/pool.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "controller/loop/loop.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"

/* A job is in one list at a time: waiting, then (on no list) running, then finished. */
struct job {
    struct op op; /* first: op_cancel() hands back its address */
    struct job *next;
    pool_work_fn *work;
    pool_free_fn *free_context;
    void *work_context;
    atomic_bool is_cancelled; /* set by the loop thread, read by the pool thread */
    int rc;
    struct error err;
};

struct job_list {
    struct job *head, **end;
};

struct pool {
    struct loop *loop;
    pthread_mutex_t mutex; /* guards what follows up to the blank line */
    pthread_cond_t work_waits;
    struct job_list waiting, finished;
    struct worker {
        struct pool *pool;
        pthread_t thread;
        struct job *running;
    } * workers;
    bool is_ending;

    unsigned n_workers;
    int finished_fd; /* eventfd(2): readable when `finished` has got something */
    struct loop_io *finished_io;
    struct loop_timer *turn; /* with 0 threads */
};

static void list_init(struct job_list *list)
{
    *list = (struct job_list){.end = &list->head};
}

static void list_append(struct job_list *list, struct job *job)
{
    job->next = NULL;
    *list->end = job;
    list->end = &job->next;
}

static struct job *list_take(struct job_list *list)
{
    struct job *job = list->head;
    if (job) {
        list->head = job->next;
        if (!list->head) {
            list->end = &list->head;
        }
    }
    return job;
}

/* ---- pool threads ---- */

static void run_work(struct job *job)
{
    if (!atomic_load(&job->is_cancelled)) {
        job->rc = job->work(job->work_context, &job->is_cancelled, &job->err);
    }
}

static void *worker_main(void *context)
{
    struct worker *worker = context;
    struct pool *pool = worker->pool;
    for (;;) {
        pthread_mutex_lock(&pool->mutex);
        while (!pool->is_ending && !pool->waiting.head) {
            pthread_cond_wait(&pool->work_waits, &pool->mutex);
        }
        struct job *job = pool->is_ending ? NULL : list_take(&pool->waiting);
        worker->running = job;
        pthread_mutex_unlock(&pool->mutex);
        if (!job) {
            return NULL;
        }
        run_work(job);
        pthread_mutex_lock(&pool->mutex);
        worker->running = NULL;
        list_append(&pool->finished, job);
        pthread_mutex_unlock(&pool->mutex);
        uint64_t one = 1;
        (void)!write(pool->finished_fd, &one, sizeof(one)); /* fails only when readable anyway */
    }
}

/* ---- the loop thread ---- */

static void job_free(struct job *job)
{
    if (job->free_context) {
        job->free_context(job->work_context);
    }
    free(job);
}

static void job_release(struct op *op)
{
    free(op);
}

/* What the work left in its context is `done`'s to read: that one goes last. */
static void complete(struct job *job)
{
    pool_free_fn *free_context = job->free_context;
    void *work_context = job->work_context;
    if (atomic_load(&job->is_cancelled)) {
        job_free(job);
        return;
    }
    job->op.cancel = job_release;
    op_finish(&job->op, job->rc < 0 ? &job->err : NULL);
    if (free_context) {
        free_context(work_context);
    }
}

static void on_finished(void *context, int fd, unsigned ready)
{
    struct pool *pool = context;
    (void)ready;
    uint64_t count;
    (void)!read(fd, &count, sizeof(count)); /* before the list: what comes later rings again */
    for (;;) {
        pthread_mutex_lock(&pool->mutex);
        struct job *job = list_take(&pool->finished);
        pthread_mutex_unlock(&pool->mutex);
        if (!job) {
            return;
        }
        complete(job);
    }
}

static void on_turn(void *context)
{
    struct pool *pool = context;
    struct job *job = list_take(&pool->waiting);
    if (job) {
        if (pool->waiting.head) {
            loop_timer_start(pool->turn, 0);
        }
        run_work(job);
        complete(job);
    }
}

/* The work may still be running, so the memory goes when it comes back finished. */
static void job_cancel(struct op *op)
{
    struct job *job = (struct job *)(void *)op;
    atomic_store(&job->is_cancelled, true);
}

struct op *pool_start(struct pool *pool, pool_work_fn *work, pool_free_fn *free_context,
    void *work_context, op_done_fn *done, void *done_context)
{
    struct job *job = mem_new(struct job);
    job->op = (struct op){job_cancel, done, done_context};
    job->work = work;
    job->free_context = free_context;
    job->work_context = work_context;
    atomic_init(&job->is_cancelled, false);
    pthread_mutex_lock(&pool->mutex);
    list_append(&pool->waiting, job);
    pthread_cond_signal(&pool->work_waits);
    pthread_mutex_unlock(&pool->mutex);
    if (pool->turn) {
        loop_timer_start(pool->turn, 0);
    }
    return &job->op;
}

/* ---- life ---- */

/* Signals are the loop thread's business: it reads them from a descriptor. */
static int start_workers(struct pool *pool, unsigned threads, struct error *err)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pool->workers = mem_calloc(threads, sizeof(*pool->workers));
    int rc = 0;
    while (rc == 0 && pool->n_workers < threads) {
        struct worker *worker = &pool->workers[pool->n_workers];
        worker->pool = pool;
        rc = pthread_create(&worker->thread, NULL, worker_main, worker);
        pool->n_workers += rc == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc == 0 ? 0 : error_set_errno(err, ERR_IO, rc, "cannot start a worker thread");
}

static int start_pool(struct pool *pool, unsigned threads, struct error *err)
{
    if (threads == 0) {
        pool->turn = loop_timer_new(pool->loop, on_turn, pool);
        return 0;
    }
    pool->finished_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (pool->finished_fd < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot make an eventfd");
    }
    pool->finished_io = loop_io_new(pool->loop, pool->finished_fd, LOOP_READ, on_finished, pool);
    return start_workers(pool, threads, err);
}

int pool_new(struct loop *loop, unsigned threads, struct pool **ret, struct error *err)
{
    struct pool *pool = mem_new(struct pool);
    pool->loop = loop;
    pool->finished_fd = -1;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->work_waits, NULL);
    list_init(&pool->waiting);
    list_init(&pool->finished);
    int rc = start_pool(pool, threads, err);
    if (rc < 0) {
        pool_free(pool);
        return rc;
    }
    *ret = pool;
    return 0;
}

static void end_workers(struct pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    pool->is_ending = true;
    for (unsigned i = 0; i < pool->n_workers; i++) {
        if (pool->workers[i].running) {
            atomic_store(&pool->workers[i].running->is_cancelled, true);
        }
    }
    pthread_cond_broadcast(&pool->work_waits);
    pthread_mutex_unlock(&pool->mutex);
    for (unsigned i = 0; i < pool->n_workers; i++) {
        pthread_join(pool->workers[i].thread, NULL);
    }
    free(pool->workers);
}

static void drop_jobs(struct job_list *list)
{
    for (struct job *job; (job = list_take(list)) != NULL;) {
        job_free(job);
    }
}

void pool_free(struct pool *pool)
{
    if (!pool) {
        return;
    }
    end_workers(pool);
    drop_jobs(&pool->waiting);
    drop_jobs(&pool->finished);
    loop_io_free(pool->finished_io);
    loop_timer_free(pool->turn);
    cleanup_close_(&pool->finished_fd);
    pthread_cond_destroy(&pool->work_waits);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}
