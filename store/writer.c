/* SPDX-License-Identifier: MPL-2.0 */
#include "store/writer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "specs/base/error.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "store/bell.h"
#include "store/lmdb/lmdb_batch.h"

/* One submission: in `queue` until it is committed, in `finished` until it is dispatched. */
struct job {
    struct job *next;
    struct store_batch *batch;
    store_writer_done *done;
    void *context;
    struct error *failure; /* owned; NULL: none */
};

struct job_list {
    struct job *first;
    struct job **end; /* where the next one goes */
    size_t n;
};

struct store_writer {
    struct store *store; /* borrowed: closed after the writer has stopped */
    enum store_writer_mode mode;
    int fd; /* eventfd: readable while `finished` is not empty */
    pthread_t thread;
    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t wake;
    struct job_list queue, finished;
    bool is_held, is_stopping;
};

/* ---- lists ---- */

static void list_init(struct job_list *list)
{
    *list = (struct job_list){.end = &list->first};
}

static void list_add(struct job_list *list, struct job *job)
{
    job->next = NULL;
    *list->end = job;
    list->end = &job->next;
    list->n++;
}

static void list_append(struct job_list *list, struct job_list *tail)
{
    if (tail->first) {
        *list->end = tail->first;
        list->end = tail->end;
        list->n += tail->n;
        list_init(tail);
    }
}

/* Moves the first `max` jobs, or all, to `ret`, which is empty. */
static void list_take(struct job_list *list, size_t max, struct job_list *ret)
{
    while (list->first && ret->n < max) {
        struct job *job = list->first;
        list->first = job->next;
        list->n--;
        list_add(ret, job);
    }
    if (!list->first) {
        list_init(list);
    }
}

static void list_free(struct job_list *list)
{
    struct job *next;
    for (struct job *job = list->first; job; job = next) {
        next = job->next;
        store_batch_free(job->batch);
        free(job->failure);
        free(job);
    }
    list_init(list);
}

/* ---- committing ---- */

static void commit(struct store_writer *writer, struct job_list *jobs)
{
    const struct store_batch **batches = mem_calloc(jobs->n, sizeof(const struct store_batch *));
    struct error *results = mem_resize(NULL, jobs->n, sizeof(*results));
    size_t i = 0, committed = 0;
    for (struct job *job = jobs->first; job; job = job->next) {
        batches[i++] = job->batch;
    }
    lmdb_commit_group(writer->store, batches, results, jobs->n);
    i = 0;
    for (struct job *job = jobs->first; job; job = job->next) {
        const struct error *result = &results[i++];
        job->failure = result->code ? mem_dup(result, sizeof(*result)) : NULL;
        committed += !job->failure;
    }
    free(batches);
    free(results);
    if (committed > 0) {
        struct error err = {0};
        if (bell_ring(store_paths(writer->store), BELL_STATUS, &err) < 0) {
            log_warn("store", "%s", err.message); /* waiting commands poll as well */
        }
    }
}

static void publish_finished(struct store_writer *writer, struct job_list *jobs)
{
    static const uint64_t one = 1;
    (void)pthread_mutex_lock(&writer->mutex);
    list_append(&writer->finished, jobs);
    (void)pthread_mutex_unlock(&writer->mutex);
    (void)!write(writer->fd, &one, sizeof(one)); /* EAGAIN would need 2^64 undelivered ones */
}

/* False when the writer stops and all is written. A group is no larger because LMDB keeps as many
 * pages as the largest transaction wrote, and others wait for its end. */
static bool wait_for_jobs(struct store_writer *writer, struct job_list *ret)
{
    enum { GROUP_MAX = 256 };
    (void)pthread_mutex_lock(&writer->mutex);
    while ((!writer->queue.first || writer->is_held) && !writer->is_stopping) {
        (void)pthread_cond_wait(&writer->wake, &writer->mutex);
    }
    list_init(ret);
    list_take(&writer->queue, GROUP_MAX, ret);
    (void)pthread_mutex_unlock(&writer->mutex);
    return ret->first;
}

static void *writer_run(void *context)
{
    struct store_writer *writer = context;
    struct job_list jobs;
    while (wait_for_jobs(writer, &jobs)) {
        commit(writer, &jobs);
        publish_finished(writer, &jobs);
    }
    return NULL;
}

/* ---- interface ---- */

/* The loop's thread gets the signals: here they would only interrupt a commit. */
static int start_thread(struct store_writer *writer)
{
    sigset_t all, previous;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &previous);
    int rc = pthread_create(&writer->thread, NULL, writer_run, writer);
    (void)pthread_sigmask(SIG_SETMASK, &previous, NULL);
    return rc;
}

int store_writer_start(
    struct store *store, enum store_writer_mode mode, struct store_writer **ret, struct error *err)
{
    struct store_writer *writer = mem_new(struct store_writer);
    writer->store = store;
    writer->mode = STORE_WRITER_INLINE; /* until there is a thread to join */
    writer->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    list_init(&writer->queue);
    list_init(&writer->finished);
    (void)pthread_mutex_init(&writer->mutex, NULL);
    (void)pthread_cond_init(&writer->wake, NULL);
    int failure = writer->fd < 0 ? errno : 0;
    if (failure == 0) {
        lmdb_relax(store);
        failure = mode == STORE_WRITER_THREAD ? start_thread(writer) : 0;
    }
    if (failure) {
        store_writer_stop(writer);
        return error_set_start(err, ERR_STORE, failure, "cannot start the store's writer");
    }
    writer->mode = mode;
    *ret = writer;
    return 0;
}

int store_writer_fd(const struct store_writer *writer)
{
    return writer->fd;
}

void store_writer_submit(struct store_writer *writer, struct store_batch *batch_take,
    store_writer_done *done, void *context)
{
    struct job *job = mem_new(struct job);
    job->batch = batch_take;
    job->done = done;
    job->context = context;
    if (writer->mode == STORE_WRITER_INLINE) {
        struct job_list jobs;
        list_init(&jobs);
        list_add(&jobs, job);
        commit(writer, &jobs);
        publish_finished(writer, &jobs);
        return;
    }
    (void)pthread_mutex_lock(&writer->mutex);
    list_add(&writer->queue, job);
    if (!writer->is_held) {
        (void)pthread_cond_signal(&writer->wake);
    }
    (void)pthread_mutex_unlock(&writer->mutex);
}

void store_writer_hold(struct store_writer *writer, bool is_held)
{
    (void)pthread_mutex_lock(&writer->mutex);
    writer->is_held = is_held;
    if (!is_held && writer->queue.first) {
        (void)pthread_cond_signal(&writer->wake);
    }
    (void)pthread_mutex_unlock(&writer->mutex);
}

void store_writer_dispatch(struct store_writer *writer)
{
    static const struct error none = {.code = ERR_NONE};
    uint64_t count;
    struct job_list jobs;
    (void)!read(writer->fd, &count, sizeof(count)); /* before the list is taken: none is missed */
    (void)pthread_mutex_lock(&writer->mutex);
    list_init(&jobs);
    list_append(&jobs, &writer->finished);
    (void)pthread_mutex_unlock(&writer->mutex);
    for (struct job *job = jobs.first; job; job = job->next) {
        if (job->done) {
            const struct error *err = job->failure ? job->failure : &none;
            job->done(job->context, -(int)err->code, err);
        }
    }
    list_free(&jobs);
}

void store_writer_stop(struct store_writer *writer)
{
    if (!writer) {
        return;
    }
    if (writer->mode == STORE_WRITER_THREAD) {
        (void)pthread_mutex_lock(&writer->mutex);
        writer->is_stopping = true;
        (void)pthread_cond_signal(&writer->wake);
        (void)pthread_mutex_unlock(&writer->mutex);
        (void)pthread_join(writer->thread, NULL);
    }
    list_free(&writer->queue);
    list_free(&writer->finished);
    (void)pthread_cond_destroy(&writer->wake);
    (void)pthread_mutex_destroy(&writer->mutex);
    if (writer->fd >= 0) {
        close(writer->fd);
    }
    free(writer);
}
