/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/loop/pool.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "controller/loop/loop.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"

enum { END_GRACE_S = 2 };

/* A job is in one list at a time: waiting, then (on no list) running, then finished. */
struct job {
    struct op op; /* first: op_cancel() hands back its address */
    struct job *next;
    pool_work_fn *work;
    pool_free_fn *free_context;
    void *work_context;
    atomic_bool is_cancelled; /* set by the loop thread, read by the pool thread */
    bool is_silent;           /* nobody hears of its end; the loop thread's alone */
    int rc;
    struct error err;
};

struct job_list {
    struct job *head, **end;
};

struct pool {
    struct loop *loop;
    pthread_mutex_t mutex; /* guards what follows up to the blank line */
    struct lane {
        pthread_cond_t work_waits;
        struct job_list waiting;
        unsigned n_idle;
        struct worker {
            struct pool *pool;
            struct lane *lane;
            pthread_t thread;
            struct job *running;
        } * workers;
        unsigned n_workers; /* started so far, … */
        unsigned n_max;     /* … of so many */
    } lanes[POOL_LANE_COUNT_];
    struct job_list finished;
    bool is_ending;

    int finished_fd; /* eventfd(2): readable when `finished` has got something */
    struct loop_io *finished_io;
    struct loop_timer *turn; /* with 0 threads */
};

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
    job->rc = atomic_load(&job->is_cancelled)
                  ? error_set(&job->err, ERR_CANCELLED, "cancelled before it started")
                  : job->work(job->work_context, &job->is_cancelled, &job->err);
}

static void *worker_main(void *context)
{
    struct worker *worker = context;
    struct pool *pool = worker->pool;
    struct lane *lane = worker->lane;
    for (;;) {
        pthread_mutex_lock(&pool->mutex);
        while (!pool->is_ending && !lane->waiting.head) {
            lane->n_idle++;
            pthread_cond_wait(&lane->work_waits, &pool->mutex);
            lane->n_idle--;
        }
        struct job *job = pool->is_ending ? NULL : list_take(&lane->waiting);
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
    if (job->is_silent) {
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
    struct lane *only = &pool->lanes[POOL_PREPARE];
    struct job *job = list_take(&only->waiting);
    if (job) {
        if (only->waiting.head) {
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
    job->is_silent = true;
    atomic_store(&job->is_cancelled, true);
}

void pool_stop(struct op *op)
{
    struct job *job = (struct job *)(void *)op;
    atomic_store(&job->is_cancelled, true);
}

/* Signals are the loop thread's business: it reads them from a descriptor. Without a thread the
 * work waits for those there are; the first of a lane must start. */
static int start_worker(struct pool *pool, struct lane *lane, struct error *err)
{
    sigset_t all, before;
    struct worker *worker = &lane->workers[lane->n_workers];
    worker->pool = pool;
    worker->lane = lane;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&worker->thread, NULL, worker_main, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    lane->n_workers += rc == 0;
    return rc == 0 ? 0 : error_set_start(err, ERR_IO, rc, "cannot start a worker thread");
}

struct op *pool_start_in(struct pool *pool, enum pool_lane lane_name, pool_work_fn *work,
    pool_free_fn *free_context, void *work_context, op_done_fn *done, void *done_context)
{
    struct lane *lane = &pool->lanes[pool->turn ? POOL_PREPARE : lane_name];
    struct error ignored = {.code = ERR_NONE};
    struct job *job = mem_new(struct job);
    job->op = (struct op){job_cancel, done, done_context};
    job->work = work;
    job->free_context = free_context;
    job->work_context = work_context;
    atomic_init(&job->is_cancelled, false);
    pthread_mutex_lock(&pool->mutex);
    list_append(&lane->waiting, job);
    if (!pool->turn && lane->n_idle == 0 && lane->n_workers < lane->n_max) {
        (void)start_worker(pool, lane, &ignored);
    }
    pthread_cond_signal(&lane->work_waits);
    pthread_mutex_unlock(&pool->mutex);
    if (pool->turn) {
        loop_timer_start(pool->turn, 0);
    }
    return &job->op;
}

struct op *pool_start(struct pool *pool, pool_work_fn *work, pool_free_fn *free_context,
    void *work_context, op_done_fn *done, void *done_context)
{
    return pool_start_in(pool, POOL_PREPARE, work, free_context, work_context, done, done_context);
}

/* ---- life ---- */

static int start_pool(struct pool *pool, unsigned threads, struct error *err)
{
    if (threads == 0) {
        pool->turn = loop_timer_new(pool->loop, on_turn, pool);
        return 0;
    }
    pool->finished_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (pool->finished_fd < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot create an eventfd");
    }
    pool->finished_io = loop_io_new(pool->loop, pool->finished_fd, LOOP_READ, on_finished, pool);
    int rc = 0;
    for (int i = 0; rc == 0 && i < POOL_LANE_COUNT_; i++) {
        struct lane *lane = &pool->lanes[i];
        bool is_heavy = i == POOL_BULK || i == POOL_IMAGE;
        lane->n_max = is_heavy && threads > 1 ? threads / 2 : threads;
        lane->workers = mem_calloc(lane->n_max, sizeof(*lane->workers));
        rc = start_worker(pool, lane, err);
    }
    return rc;
}

int pool_new(struct loop *loop, unsigned threads, struct pool **ret, struct error *err)
{
    struct pool *pool = mem_new(struct pool);
    pool->loop = loop;
    pool->finished_fd = -1;
    pthread_mutex_init(&pool->mutex, NULL);
    for (int i = 0; i < POOL_LANE_COUNT_; i++) {
        pthread_cond_init(&pool->lanes[i].work_waits, NULL);
        pool->lanes[i].waiting.end = &pool->lanes[i].waiting.head;
    }
    pool->finished.end = &pool->finished.head;
    int rc = start_pool(pool, threads, err);
    if (rc < 0) {
        pool_free(pool);
        return rc;
    }
    *ret = pool;
    return 0;
}

static bool end_workers(struct pool *pool)
{
    struct timespec deadline;
    bool have_ended = true;
    pthread_mutex_lock(&pool->mutex);
    pool->is_ending = true;
    for (int i = 0; i < POOL_LANE_COUNT_; i++) {
        struct lane *lane = &pool->lanes[i];
        for (unsigned k = 0; k < lane->n_workers; k++) {
            if (lane->workers[k].running) {
                atomic_store(&lane->workers[k].running->is_cancelled, true);
            }
        }
        pthread_cond_broadcast(&lane->work_waits);
    }
    pthread_mutex_unlock(&pool->mutex);
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += END_GRACE_S;
    for (int i = 0; i < POOL_LANE_COUNT_; i++) {
        const struct lane *lane = &pool->lanes[i];
        for (unsigned k = 0; k < lane->n_workers; k++) {
            have_ended &= pthread_timedjoin_np(lane->workers[k].thread, NULL, &deadline) == 0;
        }
    }
    return have_ended;
}

static void drop_jobs(struct job_list *list)
{
    for (struct job *job; (job = list_take(list)) != NULL;) {
        job_free(job);
    }
}

bool pool_free(struct pool *pool)
{
    if (!pool) {
        return true;
    }
    bool have_ended = end_workers(pool);
    loop_io_free(pool->finished_io);
    loop_timer_free(pool->turn);
    if (!have_ended) {
        return false;
    }
    for (int i = 0; i < POOL_LANE_COUNT_; i++) {
        drop_jobs(&pool->lanes[i].waiting);
        free(pool->lanes[i].workers);
        pthread_cond_destroy(&pool->lanes[i].work_waits);
    }
    drop_jobs(&pool->finished);
    cleanup_close_(&pool->finished_fd);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
    return true;
}
