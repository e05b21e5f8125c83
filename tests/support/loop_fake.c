/* SPDX-License-Identifier: MPL-2.0 */
#include "tests/support/loop_fake.h"

#include <assert.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "specs/base/error.h"
#include "specs/base/mem.h"

/* 2026-01-01T00:00:00Z when virtual time is 0. */
#define WALL_OFFSET_MS INT64_C(1767225600000)

struct loop_io {
    struct loop *loop;
    struct loop_io *next;
    uint64_t id;
    int fd;
    unsigned interest;
    loop_io_fn *fn;
    void *context;
    loop_last_fn *last; /* a lingering descriptor: ours */
};

struct loop_timer {
    struct loop *loop;
    struct loop_timer *next;
    int64_t due_ms; /* -1: not running */
    loop_timer_fn *fn;
    void *context;
};

struct loop {
    struct clock clock;
    int64_t now_ms;
    int64_t wall_offset_ms;
    int64_t slept_ms;
    char boot_id[CLOCK_BOOT_ID_SIZE];
    uint64_t last_id;
    struct loop_io *ios; /* both lists are in order of creation */
    struct loop_timer *timers;
    bool is_stopped;
    bool is_long;
};

/* What one run goes by. */
struct run {
    loop_fake_predicate *predicate; /* NULL: never */
    void *context;
    int64_t deadline_ms;
};

/* ---- the clock ---- */

static const struct loop *loop_of_clock(const struct clock *clock)
{
    return (const void *)((const char *)clock - offsetof(struct loop, clock));
}

static int64_t virtual_monotonic_ms(const struct clock *clock)
{
    return loop_of_clock(clock)->now_ms;
}

static int64_t virtual_wall_ms(const struct clock *clock)
{
    return loop_of_clock(clock)->now_ms + loop_of_clock(clock)->wall_offset_ms;
}

static int64_t virtual_slept_ms(const struct clock *clock)
{
    return loop_of_clock(clock)->slept_ms;
}

static const char *virtual_boot_id(const struct clock *clock)
{
    return loop_of_clock(clock)->boot_id;
}

const struct clock *loop_clock(const struct loop *loop)
{
    return &loop->clock;
}

int64_t loop_now_ms(const struct loop *loop)
{
    return loop->now_ms;
}

bool loop_turn_is_long(const struct loop *loop)
{
    return loop->is_long;
}

void loop_fake_make_long(struct loop *loop)
{
    loop->is_long = true;
}

int64_t loop_fake_now(const struct loop *loop)
{
    return loop->now_ms;
}

void loop_fake_set_boot_id(struct loop *loop, const char *boot_id)
{
    snprintf(loop->boot_id, sizeof(loop->boot_id), "%s", boot_id);
}

void loop_fake_shift_wall(struct loop *loop, int64_t ms)
{
    loop->wall_offset_ms += ms;
}

void loop_fake_sleep(struct loop *loop, int64_t ms)
{
    loop->slept_ms += ms;
    loop->wall_offset_ms += ms;
}

/* ---- watchers ---- */

int loop_new(struct loop **ret, struct error *err)
{
    (void)err;
    struct loop *loop = mem_new(struct loop);
    loop->clock = (struct clock){
        .monotonic_ms = virtual_monotonic_ms,
        .wall_ms = virtual_wall_ms,
        .slept_ms = virtual_slept_ms,
        .boot_id = virtual_boot_id,
    };
    loop->now_ms = LOOP_FAKE_START_MS;
    loop->wall_offset_ms = WALL_OFFSET_MS;
    loop_fake_set_boot_id(loop, LOOP_FAKE_BOOT_ID);
    *ret = loop;
    return 0;
}

static struct loop_io *add_io(struct loop *loop, int fd, unsigned interest)
{
    struct loop_io *io = mem_new(struct loop_io);
    io->loop = loop;
    io->id = ++loop->last_id;
    io->fd = fd;
    io->interest = interest;
    struct loop_io **end = &loop->ios;
    while (*end) {
        end = &(*end)->next;
    }
    return *end = io;
}

struct loop_io *loop_io_new(
    struct loop *loop, int fd, unsigned interest, loop_io_fn *fn, void *context)
{
    struct loop_io *io = add_io(loop, fd, interest);
    io->fn = fn;
    io->context = context;
    return io;
}

void loop_linger(struct loop *loop, int fd_take, loop_last_fn *last)
{
    add_io(loop, fd_take, LOOP_READ)->last = last;
}

void loop_io_set(struct loop_io *io, unsigned interest)
{
    io->interest = interest;
}

void loop_io_free(struct loop_io *io)
{
    if (!io) {
        return;
    }
    struct loop_io **link = &io->loop->ios;
    while (*link != io) {
        link = &(*link)->next;
    }
    *link = io->next;
    free(io);
}

struct loop_timer *loop_timer_new(struct loop *loop, loop_timer_fn *fn, void *context)
{
    struct loop_timer *timer = mem_new(struct loop_timer);
    timer->loop = loop;
    timer->due_ms = -1;
    timer->fn = fn;
    timer->context = context;
    struct loop_timer **end = &loop->timers;
    while (*end) {
        end = &(*end)->next;
    }
    return *end = timer;
}

void loop_timer_start(struct loop_timer *timer, int64_t delay_ms)
{
    assert(delay_ms >= 0);
    timer->due_ms = timer->loop->now_ms + delay_ms;
}

void loop_timer_stop(struct loop_timer *timer)
{
    timer->due_ms = -1;
}

void loop_timer_free(struct loop_timer *timer)
{
    if (!timer) {
        return;
    }
    struct loop_timer **link = &timer->loop->timers;
    while (*link != timer) {
        link = &(*link)->next;
    }
    *link = timer->next;
    free(timer);
}

static void free_lingering(struct loop_io *io)
{
    int fd = io->fd;
    loop_io_free(io);
    close(fd);
}

void loop_free(struct loop *loop)
{
    if (!loop) {
        return;
    }
    while (loop->ios && loop->ios->last) {
        free_lingering(loop->ios);
    }
    assert(!loop->ios && !loop->timers);
    free(loop);
}

/* ---- running ---- */

static struct loop_io *io_by_id(struct loop *loop, uint64_t id)
{
    struct loop_io *io = loop->ios;
    while (io && io->id != id) {
        io = io->next;
    }
    return io;
}

static bool is_over(struct loop *loop, const struct run *run)
{
    return loop->is_stopped || (run->predicate && run->predicate(run->context));
}

static void serve(struct loop_io *io, unsigned ready)
{
    if (io->last) {
        io->last(io->fd);
        free_lingering(io);
    } else {
        io->fn(io->context, io->fd, ready);
    }
}

/* As libev: an error or a hang-up is readable and writable. */
static unsigned ready_bits(short revents)
{
    unsigned both = revents & (POLLERR | POLLHUP | POLLNVAL) ? LOOP_READ | LOOP_WRITE : 0;
    return both | (revents & POLLIN ? LOOP_READ : 0u) | (revents & POLLOUT ? LOOP_WRITE : 0u);
}

static nfds_t list_fds(struct loop *loop, struct pollfd **ret_fds, uint64_t **ret_ids)
{
    size_t n = 0;
    *ret_fds = NULL;
    *ret_ids = NULL;
    for (struct loop_io *io = loop->ios; io; io = io->next) {
        if (io->interest) {
            *ret_fds = mem_resize(*ret_fds, n + 1, sizeof(**ret_fds));
            *ret_ids = mem_resize(*ret_ids, n + 1, sizeof(**ret_ids));
            (*ret_fds)[n] = (struct pollfd){
                .fd = io->fd,
                .events = (short)((io->interest & LOOP_READ ? POLLIN : 0) |
                                  (io->interest & LOOP_WRITE ? POLLOUT : 0)),
            };
            (*ret_ids)[n++] = io->id;
        }
    }
    return n;
}

/* Serves what is ready now; a watcher freed by an earlier callback of the turn is skipped. */
static bool run_descriptors(struct loop *loop, const struct run *run, int timeout_ms)
{
    struct pollfd *fds;
    uint64_t *ids;
    bool did_work = false;
    nfds_t n = list_fds(loop, &fds, &ids);
    int n_ready = poll(fds, n, timeout_ms);
    for (nfds_t i = 0; n_ready > 0 && i < n && !is_over(loop, run); i++) {
        struct loop_io *io = fds[i].revents ? io_by_id(loop, ids[i]) : NULL;
        unsigned ready = io ? ready_bits(fds[i].revents) & io->interest : 0;
        if (ready) {
            serve(io, ready);
            did_work = true;
        }
    }
    free(fds);
    free(ids);
    return did_work;
}

/* Strictly earlier wins, so that among equals the oldest does. */
static struct loop_timer *next_timer(const struct loop *loop)
{
    struct loop_timer *next = NULL;
    for (struct loop_timer *timer = loop->timers; timer; timer = timer->next) {
        if (timer->due_ms >= 0 && (!next || timer->due_ms < next->due_ms)) {
            next = timer;
        }
    }
    return next;
}

int64_t loop_fake_next_timer(const struct loop *loop)
{
    const struct loop_timer *timer = next_timer(loop);
    return timer ? timer->due_ms : -1;
}

/* One timer, jumping to it when it lies ahead but not beyond the deadline. */
static bool run_timer(struct loop *loop, int64_t deadline_ms)
{
    struct loop_timer *timer = next_timer(loop);
    if (!timer || timer->due_ms > deadline_ms) {
        return false;
    }
    if (timer->due_ms > loop->now_ms) {
        loop->now_ms = timer->due_ms;
    }
    timer->due_ms = -1;
    timer->fn(timer->context);
    return true;
}

/* A descriptor that is always ready must not starve the timers that are due, nor a timer that
 * starts itself again at once the descriptors: they take turns. */
static bool run_turn(struct loop *loop, const struct run *run)
{
    bool did_work = run_descriptors(loop, run, 0);
    if (is_over(loop, run)) {
        return true;
    }
    return run_timer(loop, did_work ? loop->now_ms : run->deadline_ms) || did_work;
}

static bool run_until(struct loop *loop, const struct run *run)
{
    while (!is_over(loop, run)) {
        if (!run_turn(loop, run)) {
            loop->now_ms = run->deadline_ms > loop->now_ms ? run->deadline_ms : loop->now_ms;
            return false;
        }
    }
    return !loop->is_stopped;
}

bool loop_fake_run_until(
    struct loop *loop, loop_fake_predicate *predicate, void *context, int64_t deadline_ms)
{
    struct run run = {.predicate = predicate, .context = context, .deadline_ms = deadline_ms};
    bool holds = run_until(loop, &run);
    loop->is_stopped = false;
    return holds;
}

void loop_fake_advance(struct loop *loop, int64_t ms)
{
    struct run run = {.deadline_ms = loop->now_ms + ms};
    run_until(loop, &run);
    loop->is_stopped = false;
}

/* Without any timer only the outside world can make something happen: this waits for it. */
void loop_run(struct loop *loop)
{
    struct run run = {.deadline_ms = INT64_MAX};
    while (!loop->is_stopped) {
        if (!run_turn(loop, &run)) {
            run_descriptors(loop, &run, -1);
        }
    }
    loop->is_stopped = false;
}

void loop_stop(struct loop *loop)
{
    loop->is_stopped = true;
}
