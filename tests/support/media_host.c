/* SPDX-License-Identifier: MPL-2.0 */
#include "tests/support/media_host.h"

#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "controller/loop/loop.h"
#include "controller/loop/pool.h"
#include "reconcilers/media/media.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"

extern char **environ;

enum { DEADLINE_MS = 30 * 1000, POLL_MS = 5 };

static struct media_host *of_host(struct reconciler_host *host)
{
    return (struct media_host *)host; /* its first member */
}

static json_t *image_record(struct reconciler_host *host, const char *key)
{
    return json_incref(json_object_get(of_host(host)->records, key));
}

static void wake(struct reconciler_host *host, struct key key, enum work_priority priority)
{
    (void)host;
    (void)key;
    (void)priority;
}

static void must(int rc, const struct error *err)
{
    if (rc < 0) {
        fprintf(stderr, "%s\n", err->message);
        abort();
    }
}

void media_host_setup(struct media_host *m)
{
    struct error err = {0};
    *m = (struct media_host){.records = json_object()};
    snprintf(m->dir, sizeof(m->dir), "/tmp/vmctl-media-XXXXXX");
    if (!mkdtemp(m->dir)) {
        abort();
    }
    cleanup_free char *data = fs_join(m->dir, "data");
    must(paths_init(&m->paths, data, &err), &err);
    must(loop_new(&m->host.loop, &err), &err);
    must(pool_new(m->host.loop, 4, &m->host.pool, &err), &err);
    m->host.paths = &m->paths;
    m->host.clock = clock_system();
    m->host.image_record = image_record;
    m->host.wake = wake;
}

void media_host_teardown(struct media_host *m)
{
    struct error err = {0};
    media_free(&m->host);
    pool_free(m->host.pool);
    loop_free(m->host.loop);
    paths_clear(&m->paths);
    json_decref(m->records);
    must(fs_remove_tree(m->dir, &err), &err);
}

void media_host_done(void *context, const struct error *err)
{
    struct media_host *m = context;
    if (err) {
        m->error = *err;
    }
    if (--m->n_waiting == 0) {
        loop_stop(m->host.loop);
    }
}

static void on_deadline(void *context)
{
    struct media_host *m = context;
    m->is_too_late = true;
    loop_stop(m->host.loop);
}

enum error_code media_host_wait(struct media_host *m, size_t n)
{
    struct loop_timer *deadline = loop_timer_new(m->host.loop, on_deadline, m);
    loop_timer_start(deadline, DEADLINE_MS);
    m->n_waiting = n;
    m->is_too_late = false;
    error_clear(&m->error);
    loop_run(m->host.loop);
    loop_timer_free(deadline);
    return m->is_too_late ? ERR_TIMEOUT : m->error.code;
}

struct condition_wait {
    struct media_host *m;
    struct loop_timer *timer;
    bool (*is_true)(void *context);
    void *context;
};

static void look(void *context)
{
    struct condition_wait *wait = context;
    if (wait->is_true(wait->context)) {
        loop_stop(wait->m->host.loop);
    } else {
        loop_timer_start(wait->timer, POLL_MS);
    }
}

bool media_host_wait_for(struct media_host *m, bool (*is_true)(void *context), void *context)
{
    struct condition_wait wait = {.m = m, .is_true = is_true, .context = context};
    struct loop_timer *deadline = loop_timer_new(m->host.loop, on_deadline, m);
    wait.timer = loop_timer_new(m->host.loop, look, &wait);
    loop_timer_start(deadline, DEADLINE_MS);
    loop_timer_start(wait.timer, 0);
    m->is_too_late = false;
    loop_run(m->host.loop);
    loop_timer_free(wait.timer);
    loop_timer_free(deadline);
    return !m->is_too_late;
}

char *media_host_path(const struct media_host *m, const char *name)
{
    return fs_join(m->dir, name);
}

char *media_host_file(const struct media_host *m, const char *name, const void *bytes, size_t n)
{
    struct error err = {0};
    char *path = media_host_path(m, name);
    must(fs_write_file(path, bytes, n, 0600, &err), &err);
    return path;
}

uint8_t *media_host_bytes(size_t n, uint32_t seed)
{
    uint8_t *bytes = mem_calloc(1, n);
    uint32_t x = seed * 2654435761u + 1;
    for (size_t i = 0; i < n; i++) {
        x ^= x << 13; /* xorshift32 */
        x ^= x >> 17;
        x ^= x << 5;
        bytes[i] = (uint8_t)x;
    }
    return bytes;
}

bool media_host_run(const char *const *argv)
{
    pid_t pid;
    int status = -1;
    char *const *spawn_argv = (char *const *)(const void *)argv;
    if (posix_spawnp(&pid, argv[0], NULL, NULL, spawn_argv, environ) != 0) {
        return false;
    }
    return waitpid(pid, &status, 0) == pid && status == 0;
}
